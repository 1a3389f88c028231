/**
 * Answers: one normalised query over one state of a metric → rows and envelope.
 *
 *   answer = present(combine(view(k), partials of epochs ≥ k)); k, offsets and cells are read once, in one synchronous step.
 *
 * `shares` counts the source cells, that is (layer, window, group) partials, that were combined per layer before rows were
 * left out by finality or limit. Refuses instead of truncating: RANGE_TOO_WIDE, NUMBER_INEXACT, and what the store refuses.
 */
import type { CellTable } from '#core/cells.ts'
import { type Finality, finalityOf, reaches } from '#core/finality.ts'
import { LIMITS } from '#core/limits.ts'
import type { GroupValue, MeasureLayout } from '#core/partial.ts'
import { INEXACT, type Presented, present, presentDouble, presentExact, unscaledOf } from '#core/present.ts'
import { type RollupRows, rollUp } from '#core/rollup.ts'
import { NO_WATERMARK } from '#core/time.ts'
import { ERRORS, type ErrorCode, OperatingError } from '#io/errors.ts'
import type { MetricDefinition } from '#metrics/definition.ts'
import { firstOf } from './first-of.ts'
import type { Layer, MetricQuery } from './request.ts'
import type { BatchLayer, ServedMetric } from './served-metric.ts'

/** A presented row. */
export interface AnswerRow {
  /** ISO 8601 UTC. */
  readonly from: string
  readonly until: string
  readonly group: Readonly<Record<string, Presented | boolean>>
  readonly values: Readonly<Record<string, Presented>>
  readonly finality: Finality
}

/** What an answer says about itself. */
export interface Envelope {
  readonly metric: string
  readonly generation: string
  readonly layer: Layer
  /** Cut of the view; 0 = none. */
  readonly cut: number
  /** Next offset per partition: the answer is a function of the records before it. */
  readonly offsets: readonly number[]
  /** ISO 8601 UTC; null = none yet. */
  readonly watermark: string | null
  readonly shares: { readonly batch: number; readonly speed: number }
  /** Relative error bounds of approximate measures by name; empty when all are exact. */
  readonly bounds: Readonly<Record<string, number>>
}

/** Rows and envelope. */
export interface AnswerTable {
  readonly rows: readonly AnswerRow[]
  readonly envelope: Envelope
}

/**
 * Computes an answer. `batch` is the view's layer when the query asks for `layer=batch`, else null.
 * @throws OperatingError see the header
 */
export function computeAnswer(served: ServedMetric, query: MetricQuery, batch: BatchLayer | null): AnswerTable {
  const { definition, store } = served
  const { layout } = definition
  const { groups, base, speed } = store.sources()
  const state = store.state()
  const layers: { base: CellTable | null; speed: readonly CellTable[] } =
    batch !== null ? { base: batch.cells, speed: [] } : { base: query.layer === 'speed' ? null : base, speed }
  const watermark = batch === null ? state.watermark : (batch.entry.watermark ?? NO_WATERMARK)
  const viewWatermark = batch === null ? state.viewWatermark : watermark
  // Rows that finality leaves out do not count against the limit, so they must be seen first.
  const everyRowCounts = query.order === null && query.minFinality === 'provisional'
  const rowsMax = everyRowCounts ? query.limit : LIMITS.answerRows
  const rows = rollUp(layout, groups, layers, { ...query, rowsMax })
  if (rows === null) throw tooWide(rowsMax)
  const finality = (row: number): Finality =>
    finalityOf({
      until: rows.from[row]! + query.grainMs,
      allowedLatenessMs: definition.allowedLatenessMs,
      watermark,
      viewWatermark,
      late: rows.cells[row * layout.width + layout.late]!,
      speed: rows.speed[row] === 1,
    })
  const picked: number[] = []
  for (let row = 0; row < rows.count; row++) {
    if (query.minFinality === 'provisional' || reaches(finality(row), query.minFinality)) picked.push(row)
  }
  if (query.order === null && picked.length > query.limit) throw tooWide(query.limit)
  const byPlace = placeOrder(rows, query, (group, dimension) => groups.valueOf(group, dimension))
  const order = query.order === null ? byPlace : valueOrder(rows, query.order, definition, byPlace)
  const dimensions = query.groupBy.map((at) => ({
    at,
    name: layout.dimensions[at]!.name,
    scale: layout.dimensions[at]!.scale,
  }))
  const values = valuesReader(rows, query, definition)
  const instant = instantTexts()
  return {
    rows: firstOf(picked, query.limit, order).map((row) => {
      const group: Record<string, Presented | boolean> = {}
      for (const dimension of dimensions)
        group[dimension.name] = presentGroup(groups.valueOf(rows.group[row]!, dimension.at), dimension, query.strings)
      return {
        from: instant(rows.from[row]!),
        until: instant(rows.from[row]! + query.grainMs),
        group,
        values: values(row),
        finality: finality(row),
      }
    }),
    envelope: {
      metric: definition.name,
      generation: definition.generation,
      layer: query.layer,
      cut: batch?.entry.cut ?? state.cut,
      offsets: batch?.entry.offsets ?? state.offsets,
      watermark: watermark === NO_WATERMARK ? null : new Date(watermark).toISOString(),
      shares: rows.shares,
      bounds: {},
    },
  }
}

/** The store's refusal as an error; a code that is not ours is a limit of the metric. */
export function refusalError(metric: string, { code, reason }: { code: string; reason: string }): OperatingError {
  return new OperatingError(code in ERRORS ? (code as ErrorCode) : 'METRIC_LIMIT', `${metric}: ${reason}.`, { metric })
}

const tooWide = (rows: number): OperatingError =>
  new OperatingError('RANGE_TOO_WIDE', `The answer would have more than ${rows} rows.`, { rows })

const inexact = (name: string): OperatingError =>
  new OperatingError('NUMBER_INEXACT', `A value of ${name} has no exact JSON number.`, { name })

function presentGroup(
  value: GroupValue,
  { name, scale }: { name: string; scale: number },
  strings: boolean,
): Presented | boolean {
  if (typeof value !== 'bigint') return value
  const presented = presentExact(value, scale, strings)
  if (presented === INEXACT) throw inexact(name)
  return presented
}

/** Texts of instants, each made once: most rows of an answer share theirs with others. */
function instantTexts(): (instant: number) => string {
  const texts = new Map<number, string>()
  return (instant) => {
    let text = texts.get(instant)
    if (text === undefined) {
      text = new Date(instant).toISOString()
      texts.set(instant, text)
    }
    return text
  }
}

/** Presents the measures that were asked for, row by row. */
function valuesReader(
  rows: RollupRows,
  query: MetricQuery,
  { layout, derived }: MetricDefinition,
): (row: number) => Record<string, Presented> {
  const wanted = query.measures.map((name) => ({
    name,
    measure: layout.measures.find((one) => one.name === name),
    computed: derived.find((one) => one.name === name),
  }))
  return (row) => {
    const at = row * layout.width
    const values: Record<string, Presented> = {}
    let doubles: Record<string, number | null> | null = null
    for (const { name, measure, computed } of wanted) {
      if (measure === undefined) {
        doubles ??= doublesOf(layout.measures, rows.cells, at)
        values[name] = computed!.evaluate(doubles)
        continue
      }
      const presented = present(measure, rows.cells, at, query.strings)
      if (presented === INEXACT) throw inexact(name)
      values[name] = presented
    }
    return values
  }
}

const doublesOf = (
  measures: readonly MeasureLayout[],
  cells: Float64Array,
  at: number,
): Record<string, number | null> =>
  Object.fromEntries(measures.map((measure) => [measure.name, presentDouble(measure, cells, at)]))

type RowOrder = (a: number, b: number) => number

/** By bucket, then by the group's values: null first, false before true, numbers by size, text by code units. */
function placeOrder(
  rows: RollupRows,
  { groupBy }: MetricQuery,
  groupValue: (group: number, dimension: number) => GroupValue,
): RowOrder {
  return (a, b) => {
    if (rows.from[a] !== rows.from[b]) return rows.from[a]! - rows.from[b]!
    for (const dimension of groupBy) {
      const left = groupValue(rows.group[a]!, dimension)
      const right = groupValue(rows.group[b]!, dimension)
      if (left === right) continue
      if (left === null) return -1
      if (right === null) return 1
      return left < right ? -1 : 1
    }
    return 0
  }
}

/** By a measure; equal doubles are told apart by their exact values, equal values by place. Null last either way. */
function valueOrder(
  rows: RollupRows,
  order: NonNullable<MetricQuery['order']>,
  { layout, derived }: MetricDefinition,
  byPlace: RowOrder,
): RowOrder {
  const sign = order.descending ? -1 : 1
  if (order.by === 'from') return (a, b) => sign * (rows.from[a]! - rows.from[b]!) || byPlace(a, b)
  const measure = layout.measures.find(({ name }) => name === order.by)
  const computed = derived.find(({ name }) => name === order.by)
  const keys = new Float64Array(rows.count)
  for (let row = 0; row < rows.count; row++) {
    const at = row * layout.width
    const key =
      measure !== undefined
        ? presentDouble(measure, rows.cells, at)
        : computed!.evaluate(doublesOf(layout.measures, rows.cells, at))
    keys[row] = key ?? Number.NaN
  }
  const exact =
    measure !== undefined && !measure.float && measure.kind !== 'count' && measure.kind !== 'avg' ? measure : null
  return (a, b) => {
    const left = keys[a]!
    const right = keys[b]!
    if (Number.isNaN(left) || Number.isNaN(right)) {
      if (Number.isNaN(left) && Number.isNaN(right)) return byPlace(a, b)
      return Number.isNaN(left) ? 1 : -1
    }
    if (left !== right) return sign * (left < right ? -1 : 1)
    if (exact !== null && Math.abs(left) * 10 ** exact.scale > Number.MAX_SAFE_INTEGER) {
      const difference =
        unscaledOf(exact, rows.cells, a * layout.width)! - unscaledOf(exact, rows.cells, b * layout.width)!
      if (difference !== 0n) return sign * (difference < 0n ? -1 : 1)
    }
    return byPlace(a, b)
  }
}
