/**
 * The epoch table: all state of one metric in one (partition, epoch). Columns in, partials out; a seal drops it whole.
 *
 *   group ids (dense)      panes: window → page table ─┐
 *   0 "ATL" 1 "ORD" …      [10:00) [11:00) …           ▼ page of 64 groups → entry number (+1)
 *                                         entries: rows of `width` doubles, in order of first appearance
 *
 * Everything is a function of the partition's accepted rows in offset order: no poll size, clock or hash seed shows in what
 * it exports (law 1). At a limit it throws RangeError `METRIC_LIMIT …`; the caller refuses the metric, nothing else stops.
 */
import { ACCEPTED } from './admission.ts'
import { CHUNK_ROWS, type Column, type ColumnChunk, type MetricColumns } from './columns.ts'
import { dictionaryOf } from './dictionary.ts'
import { createGroups } from './groups.ts'
import { LIMITS } from './limits.ts'
import { addExact, type PartialLayout, type PartialRows, type PartialTable } from './partial.ts'
import { partsOf } from './table-parts.ts'
import { type DurationMs, floorTo, type InstantMs } from './time.ts'

const PAGE_BITS = 6
const PAGE = 1 << PAGE_BITS

interface Pane {
  readonly windowFrom: InstantMs
  /** First int of each page in the pool, +1; 0 = none. Index = group >> PAGE_BITS. */
  pages: Int32Array
}

/** What to build a table for. Windows are tumbling, aligned to the epoch. */
export interface EpochTableOptions {
  readonly layout: PartialLayout
  readonly windowSizeMs: DurationMs
  readonly allowedLatenessMs: DurationMs
  /** Entries it may hold. */
  readonly entriesMax: number
}

/** The state of one metric in the open epoch of one partition. */
export interface EpochTable {
  /** (window, group) entries. */
  readonly entries: number
  /** Approximate bytes held. */
  readonly bytes: number
  /** Adds the accepted rows of a chunk. `watermarks[i]` is the partition's watermark before row i. */
  add(chunk: ColumnChunk, columns: MetricColumns, verdicts: Uint8Array, watermarks: Float64Array): void
  /** Entries that changed since the last call; forgets them as changed. Values are absolute, as of when they are read. */
  takeChanged(): PartialRows
  /** All entries; their tables are views on this one, so for a table to which nothing is added any more. */
  all(): PartialRows
}

/** Creates an empty table. */
export function createEpochTable(options: EpochTableOptions): EpochTable {
  const { layout, windowSizeMs, allowedLatenessMs, entriesMax } = options
  const { width, measures } = layout
  const closeAfter = windowSizeMs + allowedLatenessMs
  const groups = createGroups(layout.dimensions)
  const panes = new Map<number, Pane>()
  let pool = new Int32Array(PAGE * 16)
  let poolUsed = 0
  let cells = new Float64Array(width * 64)
  let windowOf = new Float64Array(64)
  let groupOf = new Int32Array(64)
  let dirty = new Uint8Array(64)
  let changed = new Int32Array(64)
  let changedCount = 0
  let entries = 0
  // Only then can a group have more than it may.
  let hasLongTexts = false
  // First double of each row's entry; -1 = the row is not counted.
  const rowAt = new Int32Array(CHUNK_ROWS)
  // Fresh cells are 0 already; only extremes begin elsewhere.
  const extremes = measures.filter(({ kind }) => kind === 'min' || kind === 'max')

  const growEntries = (): void => {
    const capacity = windowOf.length * 2
    const copy = <T extends Float64Array | Int32Array | Uint8Array>(next: T, old: T): T => {
      next.set(old as never)
      return next
    }
    cells = copy(new Float64Array(capacity * width), cells)
    windowOf = copy(new Float64Array(capacity), windowOf)
    groupOf = copy(new Int32Array(capacity), groupOf)
    dirty = copy(new Uint8Array(capacity), dirty)
    changed = copy(new Int32Array(capacity), changed)
  }
  const paneAt = (windowFrom: InstantMs): Pane => {
    let pane = panes.get(windowFrom)
    if (pane === undefined) {
      pane = { windowFrom, pages: new Int32Array(4) }
      panes.set(windowFrom, pane)
    }
    return pane
  }
  /** Makes the entry of (pane, group); returns its number. */
  const newEntry = (pane: Pane, group: number): number => {
    if (entries >= entriesMax) {
      throw new RangeError(`METRIC_LIMIT more than ${entriesMax} (window, group) entries in one epoch of one partition`)
    }
    if (hasLongTexts && groups.textBytesOf(group) > LIMITS.groupBytes) {
      throw new RangeError(`METRIC_LIMIT a group with more than ${LIMITS.groupBytes} bytes of texts`)
    }
    const page = group >> PAGE_BITS
    if (page >= pane.pages.length) {
      const bigger = new Int32Array(Math.max(pane.pages.length * 2, page + 1))
      bigger.set(pane.pages)
      pane.pages = bigger
    }
    if (pane.pages[page] === 0) {
      if (poolUsed + PAGE > pool.length) {
        const bigger = new Int32Array(pool.length * 2)
        bigger.set(pool)
        pool = bigger
      }
      pane.pages[page] = poolUsed + 1
      poolUsed += PAGE
    }
    if (entries === windowOf.length) growEntries()
    pool[pane.pages[page]! - 1 + (group & (PAGE - 1))] = entries + 1
    for (let m = 0; m < extremes.length; m++) {
      cells[entries * width + extremes[m]!.slot] =
        extremes[m]!.kind === 'min' ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY
    }
    windowOf[entries] = pane.windowFrom
    groupOf[entries] = group
    return entries++
  }

  /** Finds the entry of every counted row. */
  const locate = (
    chunk: ColumnChunk,
    where: Uint8Array | null,
    verdicts: Uint8Array,
    watermarks: Float64Array,
    ids: Int32Array,
  ): void => {
    const { eventTimes, count } = chunk
    const late = layout.late
    let pane: Pane | null = null
    let windowFrom = 0
    let windowUntil = Number.NEGATIVE_INFINITY
    for (let i = 0; i < count; i++) {
      if (verdicts[i] !== ACCEPTED || (where !== null && where[i] === 0)) {
        rowAt[i] = -1
        continue
      }
      const time = eventTimes[i]!
      if (pane === null || time < windowFrom || time >= windowUntil) {
        windowFrom = floorTo(time, windowSizeMs)
        windowUntil = windowFrom + windowSizeMs
        pane = paneAt(windowFrom)
      }
      const group = ids[i]!
      const page = pane.pages[group >> PAGE_BITS]
      let entry = page === undefined || page === 0 ? -1 : pool[page - 1 + (group & (PAGE - 1))]! - 1
      if (entry < 0) entry = newEntry(pane, group)
      if (dirty[entry] === 0) {
        dirty[entry] = 1
        changed[changedCount++] = entry
      }
      const at = entry * width
      rowAt[i] = at
      if (watermarks[i]! >= windowFrom + closeAfter) cells[at + late] = cells[at + late]! + 1
    }
  }

  /** Groups of the entries `numbers`, of entries [from, until) when null. */
  const groupsOf = (numbers: Int32Array | null, from: number, until: number): Int32Array =>
    numbers === null ? groupOf.subarray(from, until) : gather(groupOf, numbers, new Int32Array(until - from), 1)
  /** Entries `numbers[from, until)` as a table; entries [from, until) themselves, as views, when null. */
  const tableOf = (all: Int32Array | null, from: number, until: number): PartialTable => {
    const count = until - from
    const numbers = all === null ? null : all.subarray(from, until)
    const ids = groups.valueIds(groupsOf(numbers, from, until))
    return {
      layout,
      count,
      windowFrom:
        numbers === null ? windowOf.subarray(from, until) : gather(windowOf, numbers, new Float64Array(count), 1),
      cells:
        numbers === null
          ? cells.subarray(from * width, until * width)
          : gather(cells, numbers, new Float64Array(count * width), width),
      dimensions: groups.interners.map((interner, d) => dictionaryOf(interner, ids[d]!)),
    }
  }
  const rowsOf = (numbers: Int32Array | null, count: number): PartialRows => ({
    layout,
    count,
    table: (from, until) => tableOf(numbers, from, until),
    parts: (bounds) => partsOf(groups, count, () => groupsOf(numbers, 0, count), bounds),
  })

  return {
    get entries() {
      return entries
    },
    get bytes() {
      return cells.byteLength + windowOf.byteLength * 2 + pool.byteLength + groups.bytes + panes.size * 64
    },
    add(chunk, columns, verdicts, watermarks) {
      const ids = groups.intern(columns.dimensions, chunk.count)
      hasLongTexts = groups.textBytesMost > LIMITS.groupBytes
      locate(chunk, columns.where, verdicts, watermarks, ids)
      for (let m = 0; m < measures.length; m++) {
        const { kind, slot } = measures[m]!
        const argument = columns.arguments[m] ?? null
        const filter = columns.filters[m] ?? null
        if (kind === 'count') addCounts(cells, rowAt, chunk.count, slot, argument, filter)
        else if (kind === 'sum' || kind === 'avg') addSums(cells, rowAt, chunk.count, slot, argument!, filter)
        else addExtremes(cells, rowAt, chunk.count, slot, argument!, filter, kind === 'min' ? -1 : 1)
      }
    },
    takeChanged() {
      const numbers = changed.slice(0, changedCount)
      for (let i = 0; i < changedCount; i++) dirty[numbers[i]!] = 0
      changedCount = 0
      return rowsOf(numbers, numbers.length)
    },
    all: () => rowsOf(null, entries),
  }
}

/** Copies the rows `numbers`, each `width` values, one behind the other. */
function gather<T extends Float64Array | Int32Array>(from: T, numbers: Int32Array, into: T, width: number): T {
  for (let row = 0, at = 0; row < numbers.length; row++) {
    const start = numbers[row]! * width
    for (let k = 0; k < width; k++) into[at++] = from[start + k]!
  }
  return into
}

/** Rows with a non-null argument (all rows for `count(*)`) that pass the filter, per entry. */
function addCounts(
  cells: Float64Array,
  rowAt: Int32Array,
  count: number,
  slot: number,
  argument: Column | null,
  filter: Uint8Array | null,
): void {
  const valid = argument === null ? null : argument.valid
  for (let i = 0; i < count; i++) {
    const at = rowAt[i]!
    if (at < 0 || (filter !== null && filter[i] === 0) || (valid !== null && valid[i] === 0)) continue
    cells[at + slot] = cells[at + slot]! + 1
  }
}

/** Exact sums: slot = n, slot + 1 = hi, slot + 2 = lo. */
function addSums(
  cells: Float64Array,
  rowAt: Int32Array,
  count: number,
  slot: number,
  argument: Column,
  filter: Uint8Array | null,
): void {
  const { f64, valid, wide } = argument
  for (let i = 0; i < count; i++) {
    const at = rowAt[i]!
    if (at < 0 || (filter !== null && filter[i] === 0) || (valid !== null && valid[i] === 0)) continue
    const n = at + slot
    cells[n] = cells[n]! + 1
    if (wide !== null) {
      const value = wide[i]!
      cells[n + 1] = cells[n + 1]! + Number(value >> 32n)
      addExact(cells, n + 1, Number(value & 0xffff_ffffn))
      continue
    }
    const value = f64[i]!
    const lo = cells[n + 2]! + value
    // Both operands are at most 2^52 and 2^53, so the sum is exact as long as it stays below 2^53.
    if (lo > 4_503_599_627_370_496 || lo < -4_503_599_627_370_496) {
      cells[n + 1] = cells[n + 1]! + Math.floor(value / 4_294_967_296)
      addExact(cells, n + 1, value - Math.floor(value / 4_294_967_296) * 4_294_967_296)
    } else {
      cells[n + 2] = lo
    }
  }
}

/** Minimum (sign -1) or maximum (sign 1): slot = value, slot + 1 = what a double could not hold of it. */
function addExtremes(
  cells: Float64Array,
  rowAt: Int32Array,
  count: number,
  slot: number,
  argument: Column,
  filter: Uint8Array | null,
  sign: 1 | -1,
): void {
  const { f64, valid, wide } = argument
  for (let i = 0; i < count; i++) {
    const at = rowAt[i]!
    if (at < 0 || (filter !== null && filter[i] === 0) || (valid !== null && valid[i] === 0)) continue
    const v = wide === null ? f64[i]! + 0 : Number(wide[i]!)
    const rest = wide === null ? 0 : Number(wide[i]! - BigInt(v))
    const held = cells[at + slot]!
    if (
      sign < 0
        ? v < held || (v === held && rest < cells[at + slot + 1]!)
        : v > held || (v === held && rest > cells[at + slot + 1]!)
    ) {
      cells[at + slot] = v
      cells[at + slot + 1] = rest
    }
  }
}
