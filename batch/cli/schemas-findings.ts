/**
 * A registry's compatibility messages → findings: what is wrong, at which path and line, what stands there in the reader and in the
 * writer, and what to do. Messages of another form are shown as they came. Source: message format of Confluent Platform 8.1.
 */

/** One reason why a schema does not fit. */
export interface Finding {
  /** SchemaIncompatibilityType of Avro, or INCOMPATIBLE when the registry does not say. */
  readonly type: string
  /** JSON pointer into the reader; below a union, into the writer's branches. null when it is not said. */
  readonly path: string | null
  /** JSON pointer into the file, as far as it has the place; null when unknown. */
  readonly filePath: string | null
  readonly reader: Side
  readonly writer: Side
  readonly message: string
  readonly advice: string
}

/** One of the two schemas: `name` is `this file` or `version 3`; `at` what stands at the place, undefined when nothing does. */
export interface Side {
  readonly name: string
  readonly at: unknown
}

/** What the messages say together. */
export interface Findings {
  /** The version that it does not fit. */
  readonly version: number | null
  readonly findings: readonly Finding[]
}

/** Reads messages. `schema` is the file's text; `versionOf` the text of an old version when the messages do not carry it. */
export function readMessages(messages: readonly string[], schema: string, level: string): Findings {
  const version = Number(firstMatch(messages, /^\{oldSchemaVersion: (\d+)\}$/) ?? Number.NaN)
  const oldText = firstMatch(messages, /^\{oldSchema: '(.*)'\}$/s)
  const old = { name: Number.isNaN(version) ? 'the registered one' : `version ${version}`, json: parse(oldText) }
  const mine = { name: 'this file', json: parse(schema) }
  const findings = messages.flatMap((message) => {
    if (/^\{(oldSchemaVersion|oldSchema|validateFields|compatibility|schemaVersion)\b/.test(message)) return []
    const parts = /^\{errorType:'(\w+)', description:'(.*)', additionalInfo:'(.*)'\}$/s.exec(message)
    if (parts === null) return [unread(message, mine.name, old.name)]
    const [, type, description, info] = parts as unknown as [string, string, string, string]
    const path = /path '([^']*)'/.exec(description)?.[1] ?? null
    const who = /\bthe (new|old) schema\b/i.exec(description)?.[1]
    const isMineReading = who === undefined ? !level.startsWith('FORWARD') : who === 'new'
    const [reader, writer] = isMineReading ? [mine, old] : [old, mine]
    const place = path === null ? null : locate(reader.json, writer.json, path)
    return [
      {
        type,
        path,
        filePath: (isMineReading ? path : place?.writerPath) ?? null,
        reader: { name: reader.name, at: place?.reader },
        writer: { name: writer.name, at: place?.writer },
        message: `${description}.`,
        advice: adviceFor(type, { info, isMineReading, old: old.name, place }),
      },
    ]
  })
  return { version: Number.isNaN(version) ? null : version, findings }
}

const firstMatch = (texts: readonly string[], pattern: RegExp): string | null => {
  for (const text of texts) {
    const found = pattern.exec(text)?.[1]
    if (found !== undefined) return found
  }
  return null
}

const unread = (message: string, reader: string, writer: string): Finding => ({
  type: 'INCOMPATIBLE',
  path: null,
  filePath: null,
  reader: { name: reader, at: undefined },
  writer: { name: writer, at: undefined },
  message,
  advice: 'See what changed with: tidemark schemas diff',
})

function parse(text: string | null): unknown {
  try {
    return text === null ? undefined : JSON.parse(text)
  } catch {
    return undefined
  }
}

interface Place {
  readonly reader: unknown
  readonly writer: unknown
  /** Pointer to `writer`; as far as it goes when there is none. */
  readonly writerPath: string
  /** The record that the place is in, in the writer. */
  readonly writerRecord: unknown
  readonly readerRecord: unknown
}

type Json = Readonly<Record<string, unknown>>
const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)
const fieldsOf = (record: unknown): Json[] =>
  isObject(record) && Array.isArray(record['fields']) ? record['fields'].filter(isObject) : []

/** Follows a reader's path in both schemas: fields by name and alias, a number below a union into the writer's branches. */
function locate(readerRoot: unknown, writerRoot: unknown, path: string): Place {
  let place: Place = {
    reader: readerRoot,
    writer: writerRoot,
    writerPath: '',
    writerRecord: writerRoot,
    readerRecord: readerRoot,
  }
  const steps = path.split('/').filter((step) => step !== '')
  for (let at = 0; at < steps.length; at++) {
    const step = steps[at]!
    if (step === 'fields' && at + 1 < steps.length) {
      const index = Number(steps[++at])
      const reader = fieldsOf(place.reader)[index]
      const names = [reader?.['name'], ...(Array.isArray(reader?.['aliases']) ? (reader['aliases'] as unknown[]) : [])]
      const written = fieldsOf(place.writer)
      const found = names.map((name) => written.findIndex((field) => field['name'] === name)).find((each) => each >= 0)
      place = {
        reader,
        writer: found === undefined ? undefined : written[found],
        writerPath: found === undefined ? place.writerPath : `${place.writerPath}/fields/${found}`,
        writerRecord: place.writer,
        readerRecord: place.reader,
      }
    } else if (/^\d+$/.test(step)) {
      const [inReader, inWriter] = [place.reader, place.writer].map(Array.isArray)
      place = {
        ...place,
        reader: inReader === true && inWriter !== true ? (place.reader as unknown[])[Number(step)] : place.reader,
        writer: inWriter === true ? (place.writer as unknown[])[Number(step)] : place.writer,
        writerPath: inWriter === true ? `${place.writerPath}/${step}` : place.writerPath,
      }
    } else {
      const inside = (value: unknown): unknown => (isObject(value) ? value[step] : undefined)
      // A type may be written `{"type": {"type": "record", …}}`; the path of the registry does not say so.
      const [reader, writer] = [unwrapped(place.reader, step), unwrapped(place.writer, step)]
      const has = inside(writer) !== undefined
      const writerPath = `${place.writerPath}${writer === place.writer ? '' : '/type'}${has ? `/${step}` : ''}`
      place = { ...place, reader: inside(reader), writer: inside(writer), writerPath }
    }
  }
  return place
}

const unwrapped = (value: unknown, step: string): unknown =>
  isObject(value) && !(step in value) && isObject(value['type']) ? value['type'] : value

/** What to do. `NONE` is never the advice: it moves the failure to whoever reads the old records. */
function adviceFor(
  type: string,
  { info, isMineReading, old, place }: { info: string; isMineReading: boolean; old: string; place: Place | null },
): string {
  switch (type) {
    case 'READER_FIELD_MISSING_DEFAULT_VALUE':
      if (!isMineReading) return `Keep the field "${info}": readers with ${old} need it, and it has no default there.`
      return `Give the field "${info}" a default${renamedFrom(place)}.`
    case 'NAME_MISMATCH': {
      const name = /expected: (\S+)/.exec(info)?.[1] ?? 'the old name'
      return isMineReading
        ? `Keep the name, or add "aliases": ["${name}"] to the type.`
        : `Keep the name: readers with ${old} have no alias for another one.`
    }
    case 'MISSING_ENUM_SYMBOLS':
      return isMineReading
        ? `Keep the symbols ${info}, or give the enum a "default" symbol that stands for those that are gone.`
        : `Readers with ${old} do not know ${info}: give the enum a "default" in a version of its own first, then add symbols.`
    case 'FIXED_SIZE_MISMATCH':
      return 'Keep the size; a fixed of another size is another type: add it under a new name, in a new field with a default.'
    case 'MISSING_UNION_BRANCH':
      if (hasBranchNamed(place))
        return `The union has a branch of this name that cannot read it: see what changed in it with tidemark schemas diff, and undo that or give what is new a default.`
      return isMineReading
        ? 'Keep the branch in the union: there are records that hold it.'
        : `Keep to the branches of ${old}, or put what is new into a field of its own, with a default.`
    case 'TYPE_MISMATCH':
      if (isObject(place?.reader) && isObject(place.writer) && place.reader['type'] === place.writer['type'])
        return 'Keep the logical type and its scale, and let a precision only grow: anything else reads other values out of the same bytes; or add a field of the new type, with a default, beside this one.'
      return isMineReading
        ? 'Keep the type, or widen it as Avro promotes (int → long → float → double, string ↔ bytes); or add a field of the new type, with a default, beside this one.'
        : `Keep the type: readers with ${old} cannot read another; or add a field of the new type beside this one.`
    default:
      return 'See what changed with: tidemark schemas diff'
  }
}

/** Whether the reader's union holds a type of the writer's name: it is there, but differs. */
function hasBranchNamed(place: Place | null): boolean {
  const written = isObject(place?.writer) ? place.writer['name'] : undefined
  const branches = Array.isArray(place?.reader) ? (place.reader as unknown[]) : []
  return typeof written === 'string' && branches.some((branch) => isObject(branch) && branch['name'] === written)
}

/** A field of the same type that is gone may be the same field under its old name. */
function renamedFrom(place: Place | null): string {
  const reader = place?.reader
  if (place === null || !isObject(reader)) return ''
  const kept = new Set(fieldsOf(place.readerRecord).map((field) => field['name']))
  const gone = fieldsOf(place.writerRecord).filter(
    (field) => !kept.has(field['name']) && JSON.stringify(field['type']) === JSON.stringify(reader['type']),
  )
  return gone.length === 1
    ? `, or, if it is "${String(gone[0]!['name'])}" renamed, add "aliases": ["${String(gone[0]!['name'])}"]`
    : ''
}
