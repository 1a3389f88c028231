/**
 * Definitions directory → checked definitions, or every problem at once with file, line, column and advice.
 * The files come as texts (lib/io/definition-files.ts reads them); the SQL engine only parses and binds, it runs nothing.
 */
import type { Definitions, Problem } from './definition.ts'
import { loadMetric, type MetricDraft } from './load-metric.ts'
import { loadSchema, loadStream, type SchemaFile, type StreamDraft } from './load-stream.ts'
import type { SqlEngine } from './sql-engine.ts'
import { YamlFile } from './yaml-file.ts'

/** The texts of a definitions directory; `path` is relative to it, with `/`. */
export interface DefinitionSources {
  readonly directory: string
  readonly files: readonly { readonly path: string; readonly text: string }[]
}

/** What loading comes to. Problems are ordered by file and line; each `file` is `<directory>/<path>`. */
export type LoadOutcome =
  | { readonly ok: true; readonly definitions: Definitions }
  | { readonly ok: false; readonly problems: readonly Problem[] }

const isYaml = (path: string): boolean => /\.ya?ml$/.test(path)

/** Checks a definitions directory whole. Bad definitions are values; only a failing engine throws. */
export async function loadDefinitions(sources: DefinitionSources, sql: SqlEngine): Promise<LoadOutcome> {
  const problems: Problem[] = []
  const files = [...sources.files].sort((a, b) => (a.path < b.path ? -1 : 1))
  const full = (path: string): string =>
    sources.directory === '' ? path : `${sources.directory.replace(/\/$/, '')}/${path}`
  const schemas = new Map<string, SchemaFile>()
  for (const { path, text } of files)
    if (path.endsWith('.avsc')) schemas.set(path, loadSchema(full(path), text, problems))
  reportMisplaced(files, full, problems)

  const streams = new Map<string, StreamDraft>()
  for (const { path, text } of files) {
    if (!path.startsWith('streams/') || !isYaml(path)) continue
    const file = new YamlFile(full(path), text, problems)
    const find = { find: (name: string) => findSchema(schemas, path, name), names: [...schemas.keys()] }
    const stream = loadStream(file, find)
    if (stream === null) continue
    if (streams.has(stream.name)) {
      file.problem(file.root, {
        code: 'NAME_DUPLICATE',
        message: `there are two streams ${stream.name}`,
        advice: 'Rename one.',
      })
    } else streams.set(stream.name, stream)
  }
  if (!files.some(({ path }) => path.startsWith('streams/') && isYaml(path))) {
    problems.push({
      file: sources.directory,
      line: null,
      column: null,
      code: 'STREAMS_MISSING',
      message: 'the directory defines no stream',
      advice: 'Add streams/<name>.yaml and its .avsc schema.',
    })
  }

  const metrics = new Map<string, MetricDraft>()
  for (const { path, text } of files) {
    if (!path.startsWith('metrics/') || !isYaml(path)) continue
    const file = new YamlFile(full(path), text, problems)
    const metric = await loadMetric(file, streams, sql)
    if (metric === null) continue
    if (metrics.has(metric.name)) {
      file.problem(metric.at.at, {
        code: 'NAME_DUPLICATE',
        message: `there are two metrics ${metric.name}`,
        advice: 'Rename one.',
      })
    } else metrics.set(metric.name, metric)
  }

  if (problems.length > 0) return { ok: false, problems: problems.sort(byPlace) }
  return {
    ok: true,
    definitions: {
      directory: sources.directory,
      streams: [...streams.values()].map(({ definition }) => definition!),
      metrics: [...metrics.values()].map(({ definition }) => definition!),
    },
  }
}

/** A problem as one line for a terminal: `file:line:column: message (advice)`. */
export function formatProblem({ file, line, column, code, message, advice }: Problem): string {
  return `${file}${line === null ? '' : `:${line}:${column ?? 1}`}: ${code} ${message}${message.endsWith('?') ? '' : '.'} ${advice}`
}

function byPlace(a: Problem, b: Problem): number {
  if (a.file !== b.file) return a.file < b.file ? -1 : 1
  return (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0)
}

/**
 * The path among `paths` of the schema that a stream's file names: looked for beside the stream, then from the directory's root,
 * then by its bare file name; null when it is not there.
 */
export function schemaPathOf(paths: readonly string[], stream: string, name: string): string | null {
  const beside = normalise(`${stream.slice(0, stream.lastIndexOf('/') + 1)}${name}`)
  const exact = [beside, normalise(name)].find((path) => paths.includes(path))
  if (exact !== undefined) return exact
  const bare = paths.filter((path) => path.slice(path.lastIndexOf('/') + 1) === name)
  return bare.length === 1 ? bare[0]! : null
}

function findSchema(schemas: ReadonlyMap<string, SchemaFile>, stream: string, name: string): SchemaFile | null {
  const path = schemaPathOf([...schemas.keys()], stream, name)
  return path === null ? null : schemas.get(path)!
}

/** Resolves `.` and `..` of a relative path. */
function normalise(path: string): string {
  const parts: string[] = []
  for (const part of path.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '.' && part !== '') parts.push(part)
  }
  return parts.join('/')
}

/** Files that look like definitions but would not be read are problems, never ignored. */
function reportMisplaced(files: DefinitionSources['files'], full: (path: string) => string, problems: Problem[]): void {
  for (const { path, text } of files) {
    if (!isYaml(path) || path.startsWith('streams/') || path.startsWith('metrics/')) continue
    const later = /^(tables|rules)\//.exec(path)
    const kind = /^(stream|metric):/m.exec(text)
    if (later === null && kind === null) continue
    problems.push({
      file: full(path),
      line: 1,
      column: 1,
      code: later === null ? 'FILE_MISPLACED' : 'FILE_UNSUPPORTED',
      message: later === null ? `a ${kind![1]} is defined outside ${kind![1]}s/` : `${later[1]} are not supported yet`,
      advice: later === null ? `Move the file into ${kind![1]}s/.` : 'Remove the file.',
    })
  }
}
