/**
 * Partials: the mergeable state of a measure in one (window, group), as rows of doubles.
 * Both readers produce the same partials; `combine` (combiner.ts) is their only merge; `present` makes a number at the very end.
 *
 * One row = `layout.width` doubles, laid out measure by measure, then one slot `late`:
 *   count            [n]
 *   sum, avg         [n, hi, lo]        exact value = hi * 2^32 + lo, an unscaled integer; n = values that were not null
 *   min, max         [v, rest]          exact value = v + rest (rest is 0 unless |value| > 2^53); ±Infinity = no value yet
 *   late             [n]                events that came when their own partition's watermark had passed the window's close
 * Zero of the monoid: count/sum 0, min +Infinity, max -Infinity. Upholds laws 4 and 9.
 */

/** How a measure aggregates. */
export type AggregateKind = 'count' | 'sum' | 'avg' | 'min' | 'max'

/** One measure's place in the row. `scale` counts decimal digits of its integers; `float` marks min/max over doubles. */
export interface MeasureLayout {
  readonly name: string
  readonly kind: AggregateKind
  readonly scale: number
  readonly float: boolean
  /** First double of this measure in the row. */
  readonly slot: number
}

/** One dimension of the group. Text is compared by its UTF-8 bytes; null is a value of its own. */
export interface DimensionLayout {
  readonly name: string
  readonly kind: 'string' | 'int64' | 'decimal' | 'float64' | 'bool'
  readonly scale: number
}

/** Shape of a metric's partial rows; equal layouts can be combined. */
export interface PartialLayout {
  readonly dimensions: readonly DimensionLayout[]
  readonly measures: readonly MeasureLayout[]
  /** Slot of the late counter: the last one. */
  readonly late: number
  /** Doubles per row. */
  readonly width: number
}

/** A dimension value outside the hot path. int64 beyond 2^53 and decimals are bigint (unscaled). */
export type GroupValue = string | number | bigint | boolean | null

/** One dimension of a table. Text dictionaries made on the hot path also stand as UTF-8, so that nothing need be decoded. */
export interface DictionaryColumn {
  readonly values: readonly GroupValue[]
  readonly index: Int32Array
  /** `starts[i]` to `starts[i + 1]` are the bytes of value i; `nullId` is the entry that stands for null, -1 = none. */
  readonly utf8?: { readonly bytes: Uint8Array; readonly starts: Int32Array; readonly nullId: number }
}

/** What a part of a table may hold. */
export interface PartBounds {
  /** Bytes of a row without its texts. */
  readonly rowBytes: number
  /** Bytes of a part; one row may be more. */
  readonly bytesMax: number
}

/** Rows that a table can be made of, whole or in parts; reads the state at the time of the call. */
export interface PartialRows {
  readonly layout: PartialLayout
  readonly count: number
  /** Rows [from, until) as a table of its own, with dictionaries of what they use. */
  table(from: number, until: number): PartialTable
  /** Bounds of the parts that the rows are to be cut into, the first 0 and the last `count`: see table-parts.ts. */
  parts(bounds: PartBounds): readonly number[]
}

/**
 * Partials of one (metric, generation, partition range): parallel arrays, one element per (window, group).
 * The form that live and sealed partials, views and the serving store share.
 */
export interface PartialTable {
  readonly layout: PartialLayout
  readonly count: number
  /** Start of each row's window, UTC ms; the metric's window gives its end. */
  readonly windowFrom: Float64Array
  /** Per dimension: the dictionary and each row's index into it. */
  readonly dimensions: readonly DictionaryColumn[]
  /** `count * layout.width` doubles. */
  readonly cells: Float64Array
}

const WIDTHS: Record<AggregateKind, number> = { count: 1, sum: 3, avg: 3, min: 2, max: 2 }
const TWO_32 = 4_294_967_296

/** Lays out the measures one after another. */
export function layoutOf(
  dimensions: readonly DimensionLayout[],
  measures: readonly Omit<MeasureLayout, 'slot'>[],
): PartialLayout {
  let slot = 0
  const placed = measures.map((measure) => {
    const at = { ...measure, slot }
    slot += WIDTHS[measure.kind]
    return at
  })
  return { dimensions, measures: placed, late: slot, width: slot + 1 }
}

/** Writes the monoid's zero into the row at `at` (index of its first double). */
export function writeZero(layout: PartialLayout, cells: Float64Array, at: number): void {
  cells.fill(0, at, at + layout.width)
  for (const { kind, slot } of layout.measures) {
    if (kind === 'min') cells[at + slot] = Number.POSITIVE_INFINITY
    else if (kind === 'max') cells[at + slot] = Number.NEGATIVE_INFINITY
  }
}

/**
 * Adds a safe integer to a (hi, lo) pair. `lo` may grow to 2^52 before it is carried, so the fast path is one add and
 * one compare; every intermediate is an integer below 2^53, hence exact.
 */
export function addExact(cells: Float64Array, hiAt: number, value: number): void {
  const lo = cells[hiAt + 1]! + value
  if (lo > 4_503_599_627_370_496 || lo < -4_503_599_627_370_496) {
    const carry = Math.trunc(lo / TWO_32)
    cells[hiAt] = cells[hiAt]! + carry
    cells[hiAt + 1] = lo - carry * TWO_32
  } else {
    cells[hiAt + 1] = lo
  }
}

/** The exact integer of a (hi, lo) pair. */
export function exactOf(cells: Float64Array, hiAt: number): bigint {
  return (BigInt(cells[hiAt]!) << 32n) + BigInt(cells[hiAt + 1]!)
}
