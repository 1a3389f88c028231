/**
 * Roll-up: cells of several layers → the partial rows of an answer. Selects windows and groups, folds windows into coarser
 * buckets and dimensions away, always by `combine`, so a coarser number is computed from partials and never from numbers.
 *
 * A row's bucket `[from, until)` is whole: a coarse bucket whose start lies in the range takes part with all its windows.
 */
import type { CellTable } from './cells.ts'
import { combinerOf } from './combiner.ts'
import type { GroupDictionary } from './group-key.ts'
import { type GroupValue, type PartialLayout, writeZero } from './partial.ts'
import { type DurationMs, floorTo, type InstantMs } from './time.ts'

/** Weeks begin on Monday: 1970-01-05. */
const MONDAY_MS = 4 * 86_400_000
const WEEK_MS = 604_800_000
/** Groups that are looked up in each window at most. */
const FEW_GROUPS = 1_000
/** What a look-up costs, in entries gone through. */
const LOOKUP_COST = 4

/** What to select. */
export interface RollupQuery {
  /** Buckets whose start lies in [from, until); ±Infinity = unbounded. */
  readonly from: InstantMs
  readonly until: InstantMs
  /** Bucket size; a multiple of the window's. */
  readonly grainMs: DurationMs
  /** Start of one bucket, see {@link originOf}. */
  readonly originMs: InstantMs
  /** Dimensions kept, by index, in the answer's order. */
  readonly groupBy: readonly number[]
  /** Accepted canonical values per dimension; a group must match all of them. */
  readonly filters: readonly { readonly dimension: number; readonly values: readonly GroupValue[] }[]
  /** More rows than this give null. */
  readonly rowsMax: number
}

/** Partial rows of an answer, ordered by bucket; parallel arrays. */
export interface RollupRows {
  readonly count: number
  readonly from: Float64Array
  /** Per row: any source group that fell into it; its value in a kept dimension is the row's. */
  readonly group: Int32Array
  readonly cells: Float64Array
  /** Per row: 1 when a speed cell took part. */
  readonly speed: Uint8Array
  /** Source cells combined, per layer. */
  readonly shares: { readonly batch: number; readonly speed: number }
}

/** Where buckets are aligned: 1970-01-01 UTC; whole weeks of shorter windows at a Monday. Windows are aligned at 1970-01-01, whatever their size. */
export const originOf = (sizeMs: DurationMs, grainMs: DurationMs): InstantMs =>
  grainMs % WEEK_MS === 0 && grainMs !== sizeMs ? MONDAY_MS : 0

/** Start of the bucket that holds an instant. */
export const bucketOf = (
  instant: InstantMs,
  { grainMs, originMs }: Pick<RollupQuery, 'grainMs' | 'originMs'>,
): InstantMs => floorTo(instant - originMs, grainMs) + originMs

/** True when windows of `sizeMs` fall wholly into buckets of `grainMs`. */
export const nests = (sizeMs: DurationMs, grainMs: DurationMs): boolean =>
  grainMs % sizeMs === 0 && originOf(sizeMs, grainMs) % sizeMs === 0

/** Combines the selected cells. `base` is the batch layer, `speed` the rest; either may be empty. Null: more than `rowsMax` rows. */
export function rollUp(
  layout: PartialLayout,
  groups: GroupDictionary,
  layers: { readonly base: CellTable | null; readonly speed: readonly CellTable[] },
  query: RollupQuery,
): RollupRows | null {
  const sources = [...(layers.base === null ? [] : [layers.base]), ...layers.speed].filter(({ count }) => count > 0)
  const windows = selectWindows(sources, query)
  const outOf = projection(groups, query)
  const rowOf = new Int32Array(groups.count).fill(-1)
  const out = new Rows(layout)
  const combine = combinerOf(layout)
  const { width } = layout
  const shares = { batch: 0, speed: 0 }
  const few = query.filters.length === 0 ? null : fewGroups(outOf)
  let bucket = Number.NaN
  let bucketFirst = 0
  /** Combines an entry into its row; false when the row would be one too many. */
  const fold = (source: CellTable, entry: number): boolean => {
    const group = source.group[entry]!
    const projected = outOf[group]!
    if (projected < 0) return true
    let row = rowOf[projected]!
    if (row < 0) {
      if (out.count === query.rowsMax) return false
      row = out.add(bucket, group)
      rowOf[projected] = row
    }
    combine(out.cells, row * width, source.cells, entry * width)
    if (source === layers.base) shares.batch++
    else {
      out.speed[row] = 1
      shares.speed++
    }
    return true
  }
  for (const window of windows) {
    const at = bucketOf(window, query)
    if (at !== bucket) {
      for (let row = bucketFirst; row < out.count; row++) rowOf[outOf[out.group[row]!]!] = -1
      bucket = at
      bucketFirst = out.count
    }
    for (const source of sources) {
      // Few groups are looked up one by one; otherwise all entries of the window are gone through.
      if (few !== null && few.length * LOOKUP_COST * source.windowFrom.length < source.count) {
        for (const group of few) {
          const entry = source.find(window, group)
          if (entry !== -1 && !fold(source, entry)) return null
        }
      } else {
        for (let entry = source.first(window); entry !== -1; entry = source.next[entry]!)
          if (!fold(source, entry)) return null
      }
    }
  }
  return { count: out.count, from: out.from, group: out.group, cells: out.cells, speed: out.speed, shares }
}

/** The groups that the filters leave, or null when they are more than {@link FEW_GROUPS}. */
function fewGroups(outOf: Int32Array): readonly number[] | null {
  const groups: number[] = []
  for (let group = 0; group < outOf.length; group++) {
    if (outOf[group]! < 0) continue
    if (groups.length === FEW_GROUPS) return null
    groups.push(group)
  }
  return groups
}

/** Starts of the windows in the selected buckets, ascending, each once. */
function selectWindows(sources: readonly CellTable[], query: RollupQuery): Float64Array {
  const selected: Float64Array[] = []
  for (const source of sources) {
    const windows = source.windows()
    // A bucket starts at or before its windows, so those before `from` are out; the end is looked at by bucket.
    let first = lowerBound(windows, query.from)
    while (first < windows.length && bucketOf(windows[first]!, query) < query.from) first++
    let last = first
    if (query.until === Number.POSITIVE_INFINITY) last = windows.length
    else while (last < windows.length && bucketOf(windows[last]!, query) < query.until) last++
    selected.push(windows.subarray(first, last))
  }
  if (selected.length === 1) return selected[0]!
  const all = new Float64Array(selected.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const windows of selected) {
    all.set(windows, at)
    at += windows.length
  }
  all.sort()
  let kept = 0
  for (let index = 0; index < all.length; index++)
    if (index === 0 || all[index] !== all[index - 1]) all[kept++] = all[index]!
  return all.subarray(0, kept)
}

/** Index of the first element that is not below `value`. */
function lowerBound(sorted: Float64Array, value: number): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (sorted[middle]! < value) low = middle + 1
    else high = middle
  }
  return low
}

/** Per group: the lowest id of its answer group, or -1 when the filters leave it out. */
function projection(groups: GroupDictionary, { groupBy, filters }: RollupQuery): Int32Array {
  const out = new Int32Array(groups.count)
  const whole = groupBy.length === groups.dimensions.length
  if (whole) for (let group = 0; group < groups.count; group++) out[group] = group
  else if (groupBy.length > 0) projectTuples(groups, groupBy, out)
  for (const { dimension, values } of filters) {
    const accepted = new Uint8Array(groups.values[dimension]!.length)
    for (const value of values) {
      const id = groups.findValue(dimension, value)
      if (id >= 0) accepted[id] = 1
    }
    const column = groups.column(dimension)
    for (let group = 0; group < groups.count; group++) if (accepted[column[group]!] === 0) out[group] = -1
  }
  return out
}

function projectTuples(groups: GroupDictionary, groupBy: readonly number[], out: Int32Array): void {
  for (const [level, dimension] of groupBy.entries()) {
    const column = groups.column(dimension)
    const size = groups.values[dimension]!.length
    const seen = new Map<number, number>()
    for (let group = 0; group < groups.count; group++) {
      const key = (level === 0 ? 0 : out[group]!) * size + column[group]!
      const known = seen.get(key)
      if (known === undefined) seen.set(key, seen.size)
      out[group] = known ?? seen.size - 1
    }
  }
}

/** Growing output rows. */
class Rows {
  readonly layout: PartialLayout
  count = 0
  from = new Float64Array(256)
  group = new Int32Array(256)
  speed = new Uint8Array(256)
  cells: Float64Array

  constructor(layout: PartialLayout) {
    this.layout = layout
    this.cells = new Float64Array(256 * layout.width)
  }

  /** Adds a zero row and returns its index. */
  add(from: InstantMs, group: number): number {
    const row = this.count++
    if (row === this.from.length) this.#grow()
    this.from[row] = from
    this.group[row] = group
    writeZero(this.layout, this.cells, row * this.layout.width)
    return row
  }

  #grow(): void {
    const room = this.from.length * 2
    const from = new Float64Array(room)
    from.set(this.from)
    this.from = from
    const group = new Int32Array(room)
    group.set(this.group)
    this.group = group
    const speed = new Uint8Array(room)
    speed.set(this.speed)
    this.speed = speed
    const cells = new Float64Array(room * this.layout.width)
    cells.set(this.cells)
    this.cells = cells
  }
}
