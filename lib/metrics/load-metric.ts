/**
 * One `metrics/*.yaml` on its stream → a MetricDefinition, or problems: every expression is bound, also when another one failed.
 */
import { createHash } from 'node:crypto'
import { LIMITS } from '#core/limits.ts'
import { type AggregateKind, layoutOf } from '#core/partial.ts'
import { BindProblem, type BoundAggregate, bindAggregate, bindCondition, bindScalar } from './bind.ts'
import type { DerivedDefinition, MeasureDefinition, MetricDefinition, WindowSpec } from './definition.ts'
import { bindDerived } from './derived.ts'
import { fieldsOf, type Node } from './expression.ts'
import type { StreamDraft } from './load-stream.ts'
import { printSql } from './print-sql.ts'
import type { SqlEngine } from './sql-engine.ts'
import { didYouMean } from './suggest.ts'
import { compileReader } from './to-columns.ts'
import { type BoundMetric, toSql } from './to-sql.ts'
import { type Located, Section, type YamlFile } from './yaml-file.ts'

const KEYS = [
  'metric',
  'doc',
  'stream',
  'where',
  'window',
  'allowed_lateness',
  'dimensions',
  'measures',
  'derived',
  'mode',
  'tolerance',
]
const WINDOWS_LATER = ['hopping', 'session', 'global', 'calendar']

/** A checked metric; `definition` is null when it or its stream has problems. */
export interface MetricDraft {
  readonly name: string
  readonly at: Located
  readonly definition: MetricDefinition | null
}

/** Checks one metric file. null when not even its name is known. */
export async function loadMetric(
  file: YamlFile,
  streams: ReadonlyMap<string, StreamDraft>,
  sql: SqlEngine,
): Promise<MetricDraft | null> {
  if (file.root === null) return null
  const section = new Section(file, file.root, 'a metric', KEYS)
  const name = section.name('metric')
  const stream = loadStreamOf(section, streams)
  const window = loadWindow(section)
  const allowedLatenessMs = section.duration('allowed_lateness', 0)
  const tolerance = section.number('tolerance', { min: 0, max: Number.MAX_SAFE_INTEGER, whole: false, fallback: 0 })
  const mode = loadMode(section)
  const whereText = section.text('where')
  const dimensionTexts = section.expressions('dimensions', 'dimension')
  const measureTexts = section.expressions('measures', 'measure', true)
  const derivedTexts = section.expressions('derived', 'derived measure')
  if (section.isMap('measures') && section.section('measures', null)!.map.items.length === 0) {
    file.problem(section.at('measures'), {
      code: 'KEY_MISSING',
      message: 'a metric needs a measure',
      advice: 'Add one: events: count(*).',
    })
  }
  checkNames(file, [...dimensionTexts, ...measureTexts, ...derivedTexts])

  const derived: DerivedDefinition[] = []
  const measureNames = measureTexts.map((measure) => measure.name)
  for (const { name: derivedName, sql: text } of derivedTexts) {
    const evaluate = await attempt(file, text, () => bindDerived(sql, text.text, measureNames))
    if (evaluate !== null) derived.push({ name: derivedName, sql: text.text, evaluate })
  }
  const scope = stream?.scope ?? null
  if (scope === null) return name === null ? null : { name: name.text, at: name, definition: null }

  const where =
    whereText === null ? null : await attempt(file, whereText, () => bindCondition(sql, scope, whereText.text))
  const dimensions: { name: string; sql: string; node: Node }[] = []
  for (const { name: dimension, sql: text } of dimensionTexts) {
    const node = await attempt(file, text, () => bindScalar(sql, scope, text.text))
    if (node !== null) dimensions.push({ name: dimension, sql: text.text, node })
  }
  const measures: (BoundAggregate & { name: string; sql: string })[] = []
  for (const { name: measure, sql: text } of measureTexts) {
    const bound = await attempt(file, text, () => bindAggregate(sql, scope, text.text))
    if (bound !== null) measures.push({ name: measure, sql: text.text, ...bound })
  }
  if (name === null) return null
  const whole =
    window !== null &&
    allowedLatenessMs !== null &&
    tolerance !== null &&
    mode !== null &&
    stream!.definition !== null &&
    (where === null) === (whereText === null) &&
    dimensions.length === dimensionTexts.length &&
    measures.length === measureTexts.length &&
    derived.length === derivedTexts.length
  if (!whole) return { name: name.text, at: name, definition: null }

  const metric: BoundMetric = { where, dimensions, measures }
  const fields = fieldsOf([
    ...(where === null ? [] : [where]),
    ...dimensions.map(({ node }) => node),
    ...measures.flatMap(({ argument, filter }) => [argument, filter].filter((node) => node !== null)),
  ])
  const layout = layoutOf(
    dimensions.map(({ name: dimension, node }) => ({
      name: dimension,
      kind: KINDS[node.type.base],
      scale: node.type.scale,
    })),
    measures.map(({ name: measure, kind, argument }) => ({
      name: measure,
      kind,
      scale: argument?.type.scale ?? 0,
      float: argument?.type.base === 'float' && kind !== 'count',
    })),
  )
  const hash = hashOf(stream!.definition!, name.text, metric, window, allowedLatenessMs)
  const policy = { window, allowedLatenessMs }
  const definition: MetricDefinition = {
    name: name.text,
    doc: section.text('doc')?.text ?? '',
    file: file.path,
    stream: stream!.definition!,
    mode,
    where: whereText?.text ?? null,
    window,
    allowedLatenessMs,
    layout,
    dimensions: dimensions.map(({ name: dimension, sql: text }) => ({ name: dimension, sql: text })),
    measures: measures.map(presentedAs),
    derived,
    tolerance,
    fields,
    hash,
    generation: hash.slice(0, 12),
    createReader: compileReader(metric, fields),
    toSql: (input) => toSql(metric, policy, input),
  }
  return { name: name.text, at: name, definition }
}

const KINDS = {
  int: 'int64',
  decimal: 'decimal',
  float: 'float64',
  bool: 'bool',
  text: 'string',
  bytes: 'string',
} as const

function presentedAs({ name, sql, kind, argument }: BoundAggregate & { name: string; sql: string }): MeasureDefinition {
  const base = argument?.type.base
  const types: Record<AggregateKind, MeasureDefinition['type']> = {
    count: 'int64',
    avg: 'float64',
    sum: base === 'decimal' ? 'decimal' : 'int64',
    min: base === 'decimal' ? 'decimal' : base === 'float' ? 'float64' : 'int64',
    max: base === 'decimal' ? 'decimal' : base === 'float' ? 'float64' : 'int64',
  }
  const type = types[kind]
  return { name, sql, type, scale: type === 'decimal' ? argument!.type.scale : 0 }
}

/** Runs a binding; a BindProblem becomes a problem at the expression. */
async function attempt<T>(file: YamlFile, text: Located, bind: () => Promise<T>): Promise<T | null> {
  try {
    return await bind()
  } catch (error) {
    if (!(error instanceof BindProblem)) throw error
    // Offsets count from the SELECT that the text was parsed behind.
    const shift = error.offset === null ? 0 : Math.max(0, error.offset - 'SELECT '.length)
    file.problem(text.at, error, shift)
    return null
  }
}

function loadStreamOf(section: Section, streams: ReadonlyMap<string, StreamDraft>): StreamDraft | null {
  const value = section.text('stream', true)
  if (value === null) return null
  const stream = streams.get(value.text)
  if (stream !== undefined) return stream
  section.file.problem(value.at, {
    code: 'STREAM_UNKNOWN',
    message: `there is no stream ${value.text}${didYouMean(value.text, streams.keys())}`,
    advice: `Streams: ${[...streams.keys()].join(', ') || 'none; add streams/*.yaml'}.`,
  })
  return null
}

function loadWindow(section: Section): WindowSpec | null {
  const window = section.section('window', null, true)
  if (window === null) return null
  const later = WINDOWS_LATER.find((kind) => window.has(kind))
  if (later !== undefined) {
    section.file.problem(window.at(later), {
      code: 'WINDOW_UNSUPPORTED',
      message: `${later} windows are not supported yet`,
      advice: 'Use window: { tumbling: 1h }.',
    })
    return null
  }
  const inner = section.section('window', ['tumbling'])!
  if (!inner.has('tumbling')) {
    section.file.problem(inner.map, {
      code: 'KEY_MISSING',
      message: 'a window needs its kind',
      advice: 'Write window: { tumbling: 1h }.',
    })
    return null
  }
  const sizeMs = inner.duration('tumbling', null)
  if (sizeMs === null) return null
  if (sizeMs > 0 && sizeMs <= LIMITS.windowMs) return { kind: 'tumbling', sizeMs }
  section.file.problem(inner.at('tumbling'), {
    code: 'WINDOW_RANGE',
    message: 'a window is 1 ms to 366 days long',
    advice: 'Choose a size in that range.',
  })
  return null
}

function loadMode(section: Section): 'lambda' | 'kappa' | null {
  const value = section.text('mode')
  if (value === null) return section.isMap('mode') ? null : 'lambda'
  if (value.text === 'lambda' || value.text === 'kappa') return value.text
  section.file.problem(value.at, {
    code: 'VALUE_RANGE',
    message: `${value.text} is no mode`,
    advice: 'Use lambda or kappa.',
  })
  return null
}

/** Names of dimensions, measures and derived measures share one space; so do the columns that SQL makes of them. */
function checkNames(file: YamlFile, entries: readonly { name: string; at: Located['at'] }[]): void {
  const seen = new Set<string>()
  for (const { name, at } of entries) {
    if (seen.has(name)) {
      file.problem(at, {
        code: 'NAME_DUPLICATE',
        message: `${name} is there twice`,
        advice: 'Dimensions, measures and derived measures need names of their own.',
      })
    }
    seen.add(name)
  }
  for (const { name, at } of entries) {
    if (/^d_.*$/.test(name) && ['n', 's', 'v'].some((part) => seen.has(`${name.slice(2)}_${part}`))) {
      file.problem(at, {
        code: 'NAME_DUPLICATE',
        message: `the columns of ${name} and of another measure or dimension would have one name`,
        advice: 'Rename it.',
      })
    }
  }
}

/** Over everything that partials depend on; texts for people, tolerance, derived measures and partition counts are left out. */
function hashOf(
  stream: MetricDefinition['stream'],
  name: string,
  metric: BoundMetric,
  window: WindowSpec,
  allowedLatenessMs: number,
): string {
  const canonical = {
    format: 1,
    metric: name,
    window,
    allowedLatenessMs,
    where: metric.where === null ? null : printSql(metric.where),
    dimensions: metric.dimensions.map(({ name: dimension, node }) => [dimension, printSql(node), node.type]),
    measures: metric.measures.map(({ name: measure, kind, argument, filter }) => [
      measure,
      kind,
      argument === null ? null : printSql(argument),
      argument?.type ?? null,
      filter === null ? null : printSql(filter),
    ]),
    stream: stream.name,
    key: stream.key,
    id: stream.id,
    eventTime: [stream.eventTime.field, stream.eventTime.unit],
    disorderMs: stream.disorderMs,
    futureToleranceMs: stream.futureToleranceMs,
    dedupHorizonEpochs: stream.dedupHorizonEpochs,
    schema: JSON.parse(stream.schema) as unknown,
  }
  return createHash('sha256').update(JSON.stringify(canonical)).digest('hex')
}
