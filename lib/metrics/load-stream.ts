/**
 * One `streams/*.yaml` with its Avro schema → a StreamDefinition, or problems. A stream with a problem still yields its
 * fields where the schema is sound, so that the metrics on it are checked in the same run.
 */
import type { ColumnSpec } from '#core/columns.ts'
import { LIMITS } from '#core/limits.ts'
import { columnSpecOf, type FlatField, type FlatSchema, parseFlatSchema, SchemaProblem } from '#format/avro-schema.ts'
import { type Scope, scopeOf } from './bind.ts'
import type { EventTimeSpec, Problem, StreamDefinition } from './definition.ts'
import { didYouMean } from './suggest.ts'
import { type Located, Section, type YamlFile } from './yaml-file.ts'

/** What is known of a stream after checking; null members had problems. */
export interface StreamDraft {
  readonly name: string
  readonly scope: Scope | null
  readonly definition: StreamDefinition | null
}

/** A schema file of the directory, checked. `schema` is null when it had problems. */
export interface SchemaFile {
  readonly text: string
  readonly schema: FlatSchema | null
}

const KEYS = [
  'stream',
  'doc',
  'schema',
  'key',
  'id',
  'event_time',
  'disorder',
  'future_tolerance',
  'dedup',
  'partitions',
  'retention',
]

/** Checks one stream file. null when not even its name is known. */
export function loadStream(
  file: YamlFile,
  schemas: { find(name: string, from: string): SchemaFile | null; names: readonly string[] },
): StreamDraft | null {
  if (file.root === null) return null
  const section = new Section(file, file.root, 'a stream', KEYS)
  const name = section.name('stream')
  const schemaName = section.text('schema', true)
  const schema = schemaName === null ? null : schemas.find(schemaName.text, file.path)
  if (schemaName !== null && schema === null) {
    file.problem(schemaName.at, {
      code: 'SCHEMA_UNKNOWN',
      message: `there is no schema file ${schemaName.text}${didYouMean(schemaName.text, schemas.names)}`,
      advice: `Put it into the definitions directory. Schemas: ${schemas.names.join(', ') || 'none'}.`,
    })
  }
  const fields = schema?.schema?.fields ?? null
  const key = fieldOf(section, 'key', fields, KEY_KINDS)
  const id = fieldOf(section, 'id', fields, KEY_KINDS)
  const eventTime = loadEventTime(section, fields)
  const disorderMs = section.duration('disorder', 0)
  const futureToleranceMs = section.duration('future_tolerance', null)
  const retentionMs = section.duration('retention', null)
  const partitions = section.number('partitions', { min: 1, max: LIMITS.streamPartitions, whole: true, fallback: 1 })
  const dedup = section.section('dedup', ['horizon'])
  const horizon =
    dedup?.number('horizon', { min: 1, max: LIMITS.dedupHorizonEpochs, whole: true, fallback: null, required: true }) ??
    null
  if (dedup !== null && !section.has('id')) {
    file.problem(section.at('dedup'), {
      code: 'DEDUP_WITHOUT_ID',
      message: 'dedup needs to know which field identifies an event',
      advice: 'Add id: <field>.',
    })
  }
  if (name === null) return null
  const scope = fields === null ? null : scopeOf(fields)
  if (fields === null || eventTime === null || disorderMs === null || partitions === null)
    return { name: name.text, scope, definition: null }
  const definition: StreamDefinition = {
    name: name.text,
    doc: section.text('doc')?.text ?? '',
    file: file.path,
    schema: schema!.text,
    fields: fields.map(columnSpecOf),
    key,
    id: horizon === null ? null : id,
    eventTime,
    disorderMs,
    futureToleranceMs,
    dedupHorizonEpochs: horizon,
    partitions,
    retentionMs,
  }
  return { name: name.text, scope, definition }
}

const KEY_KINDS: readonly ColumnSpec['kind'][] = ['string', 'int64']

function fieldOf(
  section: Section,
  key: string,
  fields: readonly FlatField[] | null,
  kinds: readonly ColumnSpec['kind'][],
): string | null {
  const value = section.text(key)
  if (value === null || fields === null) return null
  const field = findField(section, key, value, fields)
  if (field === null) return null
  if (kinds.includes(field.kind)) return field.name
  section.file.problem(value.at, {
    code: 'FIELD_TYPE',
    message: `${key}: ${field.name} is a ${describe(field)}`,
    advice: 'Use a string, int or long field.',
  })
  return null
}

function findField(section: Section, key: string, value: Located, fields: readonly FlatField[]): FlatField | null {
  const field = fields.find(({ name }) => name === value.text)
  if (field !== undefined) return field
  const names = fields.map(({ name }) => name)
  section.file.problem(value.at, {
    code: 'FIELD_UNKNOWN',
    message: `${key}: the schema has no field ${value.text}${didYouMean(value.text, names)}`,
    advice: `Fields: ${names.join(', ')}.`,
  })
  return null
}

const describe = (field: FlatField): string =>
  field.logical === null ? field.avro : `${field.logical} (${field.avro})`

const UNITS = ['ms', 's', 'us', 'iso'] as const
const LOGICAL_UNITS: Readonly<Record<string, EventTimeSpec['unit']>> = {
  'timestamp-millis': 'ms',
  'local-timestamp-millis': 'ms',
  'timestamp-micros': 'us',
  'local-timestamp-micros': 'us',
}

/** `event_time: field` or `event_time: {field, unit}`; the unit must fit the field's type. */
function loadEventTime(section: Section, fields: readonly FlatField[] | null): EventTimeSpec | null {
  const inner = section.isMap('event_time') ? section.section('event_time', ['field', 'unit'], true) : null
  const value = inner === null ? section.text('event_time', true) : inner.text('field', true)
  const unitText = inner?.text('unit') ?? null
  const unit = UNITS.find((candidate) => candidate === unitText?.text) ?? null
  if (unitText !== null && unit === null) {
    section.file.problem(unitText.at, {
      code: 'EVENT_TIME_UNIT',
      message: `${unitText.text} is no unit of event time`,
      advice: 'Use ms, s, us or iso.',
    })
    return null
  }
  if (value === null || fields === null) return null
  const field = findField(section, 'event_time', value, fields)
  if (field === null) return null
  const refuse = (message: string, advice: string): null => {
    section.file.problem((unitText ?? value).at, { code: 'EVENT_TIME_UNIT', message, advice })
    return null
  }
  const logicalUnit =
    field.logical !== null && Object.hasOwn(LOGICAL_UNITS, field.logical) ? LOGICAL_UNITS[field.logical]! : null
  if (field.kind === 'string' && field.avro === 'string') {
    if (unit !== null && unit !== 'iso')
      return refuse(`${field.name} is a string, which is never ${unit}`, 'Use unit: iso.')
    return { field: field.name, unit: 'iso' }
  }
  if (field.kind !== 'int64' || (field.logical !== null && logicalUnit === null)) {
    return refuse(
      `event_time: ${field.name} is a ${describe(field)}`,
      'Use a long of ms (timestamp-millis), of us (timestamp-micros), of s, or an ISO 8601 string.',
    )
  }
  if (unit === 'iso') return refuse(`${field.name} is a ${describe(field)}, not a text`, 'Use unit: ms, s or us.')
  if (logicalUnit !== null && unit !== null && unit !== logicalUnit) {
    return refuse(
      `${field.name} is a ${describe(field)}, which is in ${logicalUnit}, not ${unit}`,
      `Use unit: ${logicalUnit}, or leave it out.`,
    )
  }
  if (field.avro === 'int' && unit === null)
    return refuse(`${field.name} is an int, too short for ms`, 'Write event_time: { field, unit: s }.')
  return { field: field.name, unit: unit ?? logicalUnit ?? 'ms' }
}

/** Checks a schema file; every bad field is a problem of it. */
export function loadSchema(path: string, text: string, problems: Problem[]): SchemaFile {
  const before = problems.length
  const fault = jsonFault(text)
  if (fault !== null) {
    const message = `not JSON: ${fault.message}`
    problems.push({
      file: path,
      ...lineAndColumn(text, fault.offset),
      code: 'SCHEMA_INVALID',
      message,
      advice: JSON_ADVICE,
    })
    return { text, schema: null }
  }
  const report = (field: string, code: string, message: string, advice: string) => {
    const place = field === '' ? null : placeOf(text, field)
    const prefix = field === '' || field === 'name' || field === 'fields' ? '' : `${field}: `
    problems.push({
      file: path,
      line: place?.line ?? null,
      column: place?.column ?? null,
      code,
      message: `${prefix}${message}`,
      advice,
    })
  }
  let schema: FlatSchema | null = null
  try {
    schema = parseFlatSchema(text)
  } catch (error) {
    if (!(error instanceof SchemaProblem)) throw error
    const others = problemsByField(text)
    for (const problem of others.length > 0 ? others : [error])
      report(problem.path, 'SCHEMA_INVALID', problem.message, problem.advice)
  }
  const seen = new Map<string, string>()
  for (const { name } of schema?.fields ?? []) {
    if (name.startsWith('_')) {
      report(
        name,
        'FIELD_NAME_RESERVED',
        "names that start with _ are the archive's",
        'Rename the field; keep the old name as an alias.',
      )
    }
    const other = seen.get(name.toLowerCase())
    if (other !== undefined)
      report(
        name,
        'FIELD_NAME_CASE',
        `differs from ${other} only in upper and lower case, which SQL does not tell apart`,
        'Rename one.',
      )
    seen.set(name.toLowerCase(), name)
  }
  return { text, schema: problems.length === before ? schema : null }
}

/** parseFlatSchema stops at the first bad field; this asks it about each one. */
function problemsByField(text: string): SchemaProblem[] {
  let json: { fields?: unknown } | null = null
  try {
    json = JSON.parse(text) as { fields?: unknown } | null
  } catch {
    return []
  }
  if (json === null || !Array.isArray(json.fields)) return []
  return json.fields.flatMap((field) => {
    try {
      parseFlatSchema(JSON.stringify({ type: 'record', name: 'one', fields: [field] }))
      return []
    } catch (error) {
      return error instanceof SchemaProblem ? [error] : []
    }
  })
}

/** Where the schema names the field. */
function placeOf(text: string, field: string): { line: number; column: number } | null {
  const match = new RegExp(`"name"\\s*:\\s*"${field.replaceAll(/[^\w]/g, '.')}"`).exec(text)
  return match === null ? null : lineAndColumn(text, match.index)
}

function lineAndColumn(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset)
  return { line: before.split('\n').length, column: offset - before.lastIndexOf('\n') }
}

const JSON_ADVICE = 'Write the schema as an Avro record in JSON: no comments, no comma after the last item.'

/** What JSON.parse says of a text that it refuses, in one line. */
function refusalOf(text: string): string | null {
  try {
    JSON.parse(text)
    return null
  } catch (error) {
    return (error as Error).message
  }
}

/** Why a text is not JSON, and where; null when it is. */
function jsonFault(text: string): { message: string; offset: number } | null {
  const refusal = refusalOf(text)
  if (refusal === null) return null
  const placed = /^(.+) (?:in|after) JSON at position (\d+)/.exec(refusal)
  if (placed !== null) return { message: placed[1]!, offset: Number(placed[2]) }
  const token = /^Unexpected token '[\s\S]+?'(?=, )/.exec(refusal)
  if (token === null) return { message: 'it ends too early', offset: text.length }
  // V8 quotes the surroundings of an unexpected token but not its place: that is the end of the shortest beginning which is refused for it.
  let [least, most] = [0, text.length]
  while (least + 1 < most) {
    const middle = (least + most) >> 1
    if (refusalOf(text.slice(0, middle))?.startsWith('Unexpected token') === true) most = middle
    else least = middle
  }
  return { message: token[0].replaceAll(/\s+/g, ' '), offset: most - 1 }
}
