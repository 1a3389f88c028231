/**
 * Cells: partial rows of many windows and groups in typed arrays, for the serving store. No object per entry.
 *
 *   hash (window, group) → entry      cells[entry * width …]      per window a chain of its entries, in order of insertion
 *
 * One entry costs `width * 8 + 12` bytes of rows and links plus 8 to 16 bytes of hash slots. Nothing is ever removed:
 * a table is dropped whole (DESIGN idea 5).
 */
import { type Combiner, combinerOf } from './combiner.ts'
import { type PartialLayout, type PartialTable, writeZero } from './partial.ts'
import type { InstantMs } from './time.ts'

const EMPTY = -1

/** Partials by (window start, group id). */
export class CellTable {
  readonly layout: PartialLayout
  /** Entries held. */
  count = 0
  /** Window starts by ordinal, in order of first appearance. */
  readonly windowFrom: number[] = []
  cells: Float64Array
  /** Per entry: group id, window ordinal, next entry of the same window (-1 = last). */
  group: Int32Array
  window: Int32Array
  next: Int32Array
  readonly #ordinals = new Map<number, number>()
  readonly #heads: number[] = []
  readonly #tails: number[] = []
  #slots: Int32Array
  readonly #combine: Combiner
  #sorted: Float64Array | null = null

  constructor(layout: PartialLayout, expected = 64) {
    this.layout = layout
    this.#combine = combinerOf(layout)
    const room = Math.max(16, expected)
    this.cells = new Float64Array(room * layout.width)
    this.group = new Int32Array(room)
    this.window = new Int32Array(room)
    this.next = new Int32Array(room)
    let slots = 32
    while (slots < room * 1.5) slots *= 2
    this.#slots = new Int32Array(slots).fill(EMPTY)
  }

  /** First entry of the window that starts at `from`, or -1; follow `next`. */
  first(from: InstantMs): number {
    const ordinal = this.#ordinals.get(from)
    return ordinal === undefined ? EMPTY : this.#heads[ordinal]!
  }

  /** Entry of (window, group), or -1. */
  find(from: InstantMs, group: number): number {
    const ordinal = this.#ordinals.get(from)
    if (ordinal === undefined) return EMPTY
    const mask = this.#slots.length - 1
    for (let slot = hash(ordinal, group) & mask; ; slot = (slot + 1) & mask) {
      const entry = this.#slots[slot]!
      if (entry === EMPTY || (this.group[entry] === group && this.window[entry] === ordinal)) return entry
    }
  }

  /** Starts of the windows held, ascending. */
  windows(): Float64Array {
    this.#sorted ??= Float64Array.from(this.windowFrom).sort()
    return this.#sorted
  }

  /** row := row ⊕ the table's row, for every row of `table`; `groups` are its rows' group ids. */
  combine(table: PartialTable, groups: Int32Array): void {
    const { width } = this.layout
    for (let row = 0; row < table.count; row++) {
      const entry = this.#entry(table.windowFrom[row]!, groups[row]!)
      this.#combine(this.cells, entry * width, table.cells, row * width)
    }
  }

  /** row := the table's row, for every row of `table`: absolute values. */
  replace(table: PartialTable, groups: Int32Array): void {
    const { width } = this.layout
    for (let row = 0; row < table.count; row++) {
      const entry = this.#entry(table.windowFrom[row]!, groups[row]!)
      const at = row * width
      const into = entry * width
      for (let slot = 0; slot < width; slot++) this.cells[into + slot] = table.cells[at + slot]!
    }
  }

  /** Bytes of the typed arrays, spare room included, and about 64 per window. */
  bytes(): number {
    return (
      this.cells.byteLength +
      this.group.byteLength +
      this.window.byteLength +
      this.next.byteLength +
      this.#slots.byteLength +
      this.windowFrom.length * 64
    )
  }

  /** Entry of (window, group); a new one holds the monoid's zero. */
  #entry(from: InstantMs, group: number): number {
    let ordinal = this.#ordinals.get(from)
    if (ordinal === undefined) {
      ordinal = this.windowFrom.length
      this.#ordinals.set(from, ordinal)
      this.windowFrom.push(from)
      this.#heads.push(EMPTY)
      this.#tails.push(EMPTY)
      this.#sorted = null
    }
    const mask = this.#slots.length - 1
    let slot = hash(ordinal, group) & mask
    for (let entry = this.#slots[slot]!; entry !== EMPTY; entry = this.#slots[slot]!) {
      if (this.group[entry] === group && this.window[entry] === ordinal) return entry
      slot = (slot + 1) & mask
    }
    return this.#add(ordinal, group, slot)
  }

  #add(ordinal: number, group: number, slot: number): number {
    const entry = this.count++
    if (entry === this.group.length) this.#growRows()
    this.group[entry] = group
    this.window[entry] = ordinal
    this.next[entry] = EMPTY
    writeZero(this.layout, this.cells, entry * this.layout.width)
    const tail = this.#tails[ordinal]!
    if (tail === EMPTY) this.#heads[ordinal] = entry
    else this.next[tail] = entry
    this.#tails[ordinal] = entry
    this.#slots[slot] = entry
    if (this.count * 1.5 > this.#slots.length) this.#growSlots()
    return entry
  }

  #growRows(): void {
    const room = Math.ceil(this.group.length * 1.6)
    const cells = new Float64Array(room * this.layout.width)
    cells.set(this.cells)
    this.cells = cells
    this.group = grown(this.group, room)
    this.window = grown(this.window, room)
    this.next = grown(this.next, room)
  }

  #growSlots(): void {
    const slots = new Int32Array(this.#slots.length * 2).fill(EMPTY)
    const mask = slots.length - 1
    for (let entry = 0; entry < this.count; entry++) {
      let slot = hash(this.window[entry]!, this.group[entry]!) & mask
      while (slots[slot] !== EMPTY) slot = (slot + 1) & mask
      slots[slot] = entry
    }
    this.#slots = slots
  }
}

function grown(array: Int32Array, room: number): Int32Array {
  const larger = new Int32Array(room)
  larger.set(array)
  return larger
}

/** Mixes both numbers into all bits; the multipliers are those of MurmurHash3's finaliser. */
function hash(window: number, group: number): number {
  let mixed = Math.imul(window, 0x9e3779b1) ^ group
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return mixed ^ (mixed >>> 16)
}
