/**
 * Interning: dimension values become dense int32 ids, so that panes can be flat arrays. Open addressing; an entry is eight
 * words in one cache line: hash, id + 1, length and the first 20 bytes of the key, so most look-ups touch memory once.
 * Longer keys are compared in the arena. Ids are given in order of first appearance: a function of the records alone.
 * Source: notes on key interning (32-byte entries) and Abseil's flat hash tables for keeping keys inline.
 */
import type { Column } from './columns.ts'
import { LIMITS } from './limits.ts'
import type { GroupValue } from './partial.ts'

/** Dense ids of the values of one dimension. */
export interface Interner {
  /** Ids given so far. */
  readonly size: number
  /** Approximate bytes held. */
  readonly bytes: number
  /** Writes the id of each of the first `count` rows of the column to `ids`. Null has an id of its own. */
  intern(column: Column, count: number, ids: Int32Array): void
  /** Value of an id. */
  value(id: number): GroupValue
  /** The text of an id: bytes [starts[id], starts[id + 1]) of the arena, null for id `nullId`. Null for other kinds. */
  readonly text: { readonly arena: Uint8Array; readonly starts: Int32Array; readonly nullId: number } | null
  /** Bytes of the longest text; 0 for other kinds. */
  readonly longest: number
}

const INLINE = 20
// A text may begin with U+FEFF, which a decoder takes for a byte order mark and drops unless it is told not to.
const utf8 = new TextDecoder('utf-8', { ignoreBOM: true })

/** Interns byte ranges (strings). `intern` throws RangeError `METRIC_LIMIT …` when distinct values have more than `bytesMax` bytes. */
export function createStringInterner(bytesMax: number = LIMITS.dimensionBytes): Interner {
  let capacity = 256
  let table = new Int32Array(capacity * 8)
  let size = 0
  let nullId = -1
  let arena = new Uint8Array(4096)
  let used = 0
  let longest = 0
  let starts = new Int32Array(256) // start of each id in the arena; the next one's start ends it
  let view: DataView = new DataView(new ArrayBuffer(0))
  let viewed: Uint8Array | null = null

  const grow = (): void => {
    const old = table
    capacity *= 2
    table = new Int32Array(capacity * 8)
    const mask = capacity - 1
    for (let at = 0; at < old.length; at += 8) {
      if (old[at + 1] === 0) continue
      let slot = old[at]! & mask
      while (table[slot * 8 + 1] !== 0) slot = (slot + 1) & mask
      for (let w = 0; w < 8; w++) table[slot * 8 + w] = old[at + w]!
    }
  }
  const sameTail = (bytes: Uint8Array, from: number, length: number, id: number): boolean => {
    const start = starts[id]!
    for (let i = INLINE; i < length; i++) if (bytes[from + i] !== arena[start + i]) return false
    return true
  }
  const newId = (bytes: Uint8Array, from: number, length: number): number => {
    if (used + length > arena.length) {
      if (used + length > bytesMax) {
        throw new RangeError(
          `METRIC_LIMIT more than ${bytesMax} bytes of values of one dimension in one epoch of one partition`,
        )
      }
      const bigger = new Uint8Array(Math.max(arena.length * 2, used + length))
      bigger.set(arena.subarray(0, used))
      arena = bigger
    }
    if (size + 2 > starts.length) {
      const bigger = new Int32Array(starts.length * 2)
      bigger.set(starts)
      starts = bigger
    }
    for (let i = 0; i < length; i++) arena[used + i] = bytes[from + i]!
    starts[size] = used
    used += length
    if (length > longest) longest = length
    starts[size + 1] = used
    return size++
  }
  /** Slow reader of a word near the end of the buffer, where a 4-byte load would run out of it. */
  const word = (bytes: Uint8Array, from: number, until: number): number => {
    let w = 0
    for (let i = 0; i < 4 && from + i < until; i++) w |= bytes[from + i]! << (8 * i)
    return w
  }

  const internRange = (bytes: Uint8Array, from: number, until: number, limit: number): number => {
    from |= 0
    until |= 0
    const length = (until - from) | 0
    let k0 = 0
    let k1 = 0
    let k2 = 0
    let k3 = 0
    let k4 = 0
    let h = Math.imul(length, 0x9e3779b1) | 0
    if (from + INLINE + 4 <= limit) {
      // Whole-word loads, with the bytes beyond the key masked away.
      if (length > 0)
        k0 = length >= 4 ? view.getInt32(from, true) : view.getInt32(from, true) & ((1 << (8 * length)) - 1)
      if (length > 4)
        k1 =
          length >= 8 ? view.getInt32(from + 4, true) : view.getInt32(from + 4, true) & ((1 << (8 * (length - 4))) - 1)
      if (length > 8)
        k2 =
          length >= 12 ? view.getInt32(from + 8, true) : view.getInt32(from + 8, true) & ((1 << (8 * (length - 8))) - 1)
      if (length > 12)
        k3 =
          length >= 16
            ? view.getInt32(from + 12, true)
            : view.getInt32(from + 12, true) & ((1 << (8 * (length - 12))) - 1)
      if (length > 16)
        k4 =
          length >= 20
            ? view.getInt32(from + 16, true)
            : view.getInt32(from + 16, true) & ((1 << (8 * (length - 16))) - 1)
    } else {
      if (length > 0) k0 = word(bytes, from, until)
      if (length > 4) k1 = word(bytes, from + 4, until)
      if (length > 8) k2 = word(bytes, from + 8, until)
      if (length > 12) k3 = word(bytes, from + 12, until)
      if (length > 16) k4 = word(bytes, from + 16, until)
    }
    h = Math.imul(h ^ k0, 0x85ebca6b)
    h = Math.imul(h ^ (h >>> 15) ^ k1, 0xc2b2ae35)
    h = Math.imul(h ^ (h >>> 13) ^ k2, 0x27d4eb2f)
    if (length > 12) {
      h = Math.imul(h ^ (h >>> 15) ^ k3, 0x165667b1)
      h = Math.imul(h ^ (h >>> 13) ^ k4, 0x9e3779b1)
      for (let i = INLINE; i < length; i++) h = Math.imul(h ^ bytes[from + i]!, 0x01000193)
    }
    h = (h ^ (h >>> 16)) | 0
    const mask = capacity - 1
    let slot = h & mask
    for (;;) {
      const at = slot << 3
      const entry = table[at + 1]!
      if (entry === 0) {
        const id = newId(bytes, from, length)
        table[at] = h
        table[at + 1] = id + 1
        table[at + 2] = length
        table[at + 3] = k0
        table[at + 4] = k1
        table[at + 5] = k2
        table[at + 6] = k3
        table[at + 7] = k4
        if (size * 2 > capacity) grow()
        return id
      }
      if (
        table[at] === h &&
        table[at + 2] === length &&
        table[at + 3] === k0 &&
        table[at + 4] === k1 &&
        table[at + 5] === k2 &&
        table[at + 6] === k3 &&
        table[at + 7] === k4 &&
        (length <= INLINE || sameTail(bytes, from, length, entry - 1))
      ) {
        return entry - 1
      }
      slot = (slot + 1) & mask
    }
  }

  return {
    get size() {
      return size
    },
    get bytes() {
      return table.byteLength + arena.byteLength + starts.byteLength
    },
    intern(column, count, ids) {
      const { bytes, from, until, valid } = column
      if (viewed !== bytes) {
        view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
        viewed = bytes
      }
      const limit = bytes.length
      for (let i = 0; i < count; i++) {
        if (valid !== null && valid[i] === 0) {
          if (nullId < 0) nullId = newId(bytes, 0, 0)
          ids[i] = nullId
        } else {
          ids[i] = internRange(bytes, from[i]!, until[i]!, limit)
        }
      }
      viewed = null // The buffer is the reader's again after this call.
    },
    get text() {
      return { arena, starts, nullId }
    },
    get longest() {
      return longest
    },
    value(id) {
      return id === nullId ? null : utf8.decode(arena.subarray(starts[id], starts[id + 1]))
    },
  }
}

/** Interns numbers, booleans and exact integers. Wide int64 values are kept as bigint. */
export function createNumberInterner(kind: 'int64' | 'decimal' | 'float64' | 'bool'): Interner {
  const values: GroupValue[] = []
  const ids = new Map<number | bigint | null, number>()
  const idOf = (key: number | bigint | null): number => {
    let id = ids.get(key)
    if (id === undefined) {
      id = values.length
      ids.set(key, id)
      values.push(key === null ? null : kind === 'bool' ? key === 1 : kind === 'decimal' ? BigInt(key) : key)
    }
    return id
  }
  return {
    get size() {
      return values.length
    },
    get bytes() {
      return values.length * 64
    },
    intern(column, count, out) {
      const { f64, wide, valid } = column
      let lastKey: number | null = null
      let lastId = -1
      for (let i = 0; i < count; i++) {
        if (valid !== null && valid[i] === 0) out[i] = idOf(null)
        else if (wide !== null) {
          const exact = wide[i]!
          const asNumber = Number(exact)
          out[i] = idOf(Number.isSafeInteger(asNumber) ? asNumber : exact)
        } else {
          // -0 and 0 are one group, as in SQL.
          const key = f64[i]! + 0
          if (key !== lastKey) {
            lastKey = key
            lastId = idOf(key)
          }
          out[i] = lastId
        }
      }
    },
    value: (id) => values[id]!,
    text: null,
    longest: 0,
  }
}

/** Dense ids for pairs of dense ids: how the groups of several dimensions are made, two at a time. */
export interface PairInterner {
  readonly size: number
  readonly bytes: number
  /** out[i] := id of (a[i], b[i]). `out` may be `a`. */
  intern(a: Int32Array, b: Int32Array, count: number, out: Int32Array): void
  left(id: number): number
  right(id: number): number
}

/** Creates a pair interner; ids in order of first appearance. */
export function createPairInterner(): PairInterner {
  let capacity = 256
  let table = new Int32Array(capacity * 4) // a, b, id + 1, unused
  let pairs = new Int32Array(512)
  let size = 0
  const hash = (a: number, b: number): number => {
    let h = Math.imul(a, 0x9e3779b1) ^ Math.imul(b, 0x85ebca6b)
    h = Math.imul(h ^ (h >>> 15), 0xc2b2ae35)
    return h ^ (h >>> 13)
  }
  const grow = (): void => {
    capacity *= 2
    table = new Int32Array(capacity * 4)
    const mask = capacity - 1
    for (let id = 0; id < size; id++) {
      const [a, b] = [pairs[id * 2]!, pairs[id * 2 + 1]!]
      let slot = hash(a, b) & mask
      while (table[slot * 4 + 2] !== 0) slot = (slot + 1) & mask
      table[slot * 4] = a
      table[slot * 4 + 1] = b
      table[slot * 4 + 2] = id + 1
    }
  }
  const idOf = (a: number, b: number): number => {
    const mask = capacity - 1
    let slot = hash(a, b) & mask
    for (;;) {
      const at = slot << 2
      const entry = table[at + 2]!
      if (entry === 0) {
        table[at] = a
        table[at + 1] = b
        table[at + 2] = size + 1
        if (size * 2 + 2 > pairs.length) {
          const bigger = new Int32Array(pairs.length * 2)
          bigger.set(pairs)
          pairs = bigger
        }
        pairs[size * 2] = a
        pairs[size * 2 + 1] = b
        size++
        const id = size - 1
        if (size * 2 > capacity) grow()
        return id
      }
      if (table[at] === a && table[at + 1] === b) return entry - 1
      slot = (slot + 1) & mask
    }
  }
  return {
    get size() {
      return size
    },
    get bytes() {
      return table.byteLength + pairs.byteLength
    },
    intern(a, b, count, out) {
      for (let i = 0; i < count; i++) out[i] = idOf(a[i]!, b[i]!)
    },
    left: (id) => pairs[id * 2]!,
    right: (id) => pairs[id * 2 + 1]!,
  }
}
