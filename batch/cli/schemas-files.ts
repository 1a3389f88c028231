/**
 * The schemas of a folder and the subjects they belong to. A stream's schema belongs to the value of its topic, as the platform
 * registers it; a file that only other files refer to belongs to none; any other to the subject of its own name (`orders-value.avsc`
 * → `orders-value`). Types that one file uses and another defines are put in, so that a text stands for itself.
 */
import { basename, dirname, isAbsolute, relative } from 'node:path'
import { LineCounter, parseDocument, parse as parseYaml } from 'yaml'
import { inlineReferences, undefinedNames } from '#format/avro-inline.ts'
import { readDefinitionFiles } from '#io/definition-files.ts'
import { schemaPathOf } from '#metrics/load.ts'
import { eventsTopic } from '#schemas/topics.ts'
import { CliError } from './client.ts'

/** A schema file and one subject that it belongs to. */
export interface LocalSchema {
  /** As a terminal can open it. */
  readonly file: string
  readonly subject: string
  /** As it stands in the file. */
  readonly source: string
  /** With the types of other files put in. */
  readonly text: string
}

const usage = (detail: string, hint: string): CliError => new CliError({ code: 'USAGE', detail, hint }, 2)

/**
 * The schemas of a folder, or of one file in it.
 * @throws CliError USAGE when there are none, several for one `subject`, or two for the same; OperatingError DEFINITIONS_INVALID for an unreadable folder
 */
export async function localSchemas(
  path: string,
  { subject, definitions }: { readonly subject: string | null; readonly definitions: string },
): Promise<LocalSchema[]> {
  const { directory, only } = placeOf(path, definitions)
  const files = await readDefinitionFiles(directory)
  const schemas = files.filter((file) => file.path.endsWith('.avsc'))
  const shown = (inner: string): string => (directory === '.' ? inner : `${directory}/${inner}`)
  const chosen = schemas.filter((file) => only === null || file.path === only)
  if (chosen.length === 0)
    throw usage(
      `There is no ${only ?? '*.avsc'} in ${directory}.`,
      'Name a folder with *.avsc files, or one such file.',
    )
  if (subject !== null && chosen.length > 1)
    throw usage(`--subject is for one schema, and ${directory} has ${chosen.length}.`, 'Name the file instead.')

  const subjects = streamSubjects(files)
  const used = new Set(schemas.flatMap(({ text }) => namesUsed(text)))
  const list = chosen.flatMap(({ path: inner, text }) => {
    const others = schemas.filter((file) => file.path !== inner).map((file) => file.text)
    const local = { file: shown(inner), source: text, text: inlined(text, others) }
    if (subject !== null) return [{ ...local, subject }]
    const ofStreams = subjects.get(inner) ?? []
    if (ofStreams.length > 0) return ofStreams.map((each) => ({ ...local, subject: each }))
    return only === null && used.has(nameOf(text) ?? '') ? [] : [{ ...local, subject: basename(inner, '.avsc') }]
  })
  requireOneEach(list)
  return list.sort((a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : a.subject < b.subject ? -1 : 1))
}

/** Each would pass for itself, and the second be registered over the first. @throws CliError USAGE */
function requireOneEach(list: readonly LocalSchema[]): void {
  const bySubject = new Map<string, LocalSchema>()
  for (const local of list) {
    const other = bySubject.get(local.subject)
    if (other !== undefined && other.text !== local.text)
      throw usage(
        `${other.file} and ${local.file} are different schemas of one subject, ${local.subject}.`,
        'Name one of the files, or give each its own name.',
      )
    bySubject.set(local.subject, local)
  }
}

/** The folder to read, and the one file of it when `path` is one. A file of the definitions is read with them, for their streams. */
function placeOf(path: string, definitions: string): { directory: string; only: string | null } {
  if (!path.endsWith('.avsc')) return { directory: path.replace(/(?<=.)\/+$/, ''), only: null }
  const inner = relative(definitions, path)
  const isInside = !inner.startsWith('..') && !isAbsolute(inner)
  return isInside ? { directory: definitions, only: inner } : { directory: dirname(path), only: basename(path) }
}

/** Subjects by schema path, of the streams that name it. A stream file with mistakes is `definitions check`'s to report. */
function streamSubjects(files: readonly { path: string; text: string }[]): ReadonlyMap<string, string[]> {
  const paths = files.map(({ path }) => path).filter((path) => path.endsWith('.avsc'))
  const subjects = new Map<string, string[]>()
  for (const { path, text } of files) {
    if (!/^streams\/.*\.ya?ml$/.test(path)) continue
    const { stream, schema } = (parsed(() => parseYaml(text) as unknown) ?? {}) as {
      stream?: unknown
      schema?: unknown
    }
    if (typeof stream !== 'string' || typeof schema !== 'string') continue
    const found = schemaPathOf(paths, path, schema)
    if (found !== null) subjects.set(found, [...(subjects.get(found) ?? []), `${eventsTopic(stream)}-value`])
  }
  return subjects
}

/** What is no JSON has no names; its own check says so. */
function parsed<T>(read: () => T): T | null {
  try {
    return read()
  } catch {
    return null
  }
}

const namesUsed = (text: string): string[] => parsed(() => undefinedNames(text)) ?? []

function inlined(text: string, others: readonly string[]): string {
  if (namesUsed(text).length === 0) return text
  const known = others.filter((other) => nameOf(other) !== null)
  return parsed(() => inlineReferences(text, known)) ?? text
}

/** Full name of the type that a text defines; null when it defines none. */
function nameOf(text: string): string | null {
  const type = parsed(() => JSON.parse(text) as unknown) as { name?: unknown; namespace?: unknown } | null
  if (typeof type?.name !== 'string') return null
  const qualified = type.name.includes('.') || typeof type.namespace !== 'string' || type.namespace === ''
  return qualified ? type.name : `${String(type.namespace)}.${type.name}`
}

/** The line of a JSON pointer in a file's text, from 1; of what encloses it when it is not there itself. */
export function lineOf(source: string, pointer: string): number | null {
  const counter = new LineCounter()
  const document = parseDocument(source, { lineCounter: counter })
  if (document.errors.length > 0) return null
  const steps = pointer.split('/').filter((step) => step !== '')
  for (let length = steps.length; length >= 0; length--) {
    const path = steps.slice(0, length).map((step) => (/^\d+$/.test(step) ? Number(step) : step))
    const node = (length === 0 ? document.contents : document.getIn(path, true)) as
      | { range?: [number] }
      | null
      | undefined
    if (node?.range !== undefined) return counter.linePos(node.range[0]).line
  }
  return null
}
