/**
 * Dictionary of a text column's row group: byte strings to dense indexes, in order of first occurrence.
 * Refuses (-1) a long value and everything new beyond its bounds; the column then goes on with plain pages.
 */

/** Entries beyond which a column counts as high-cardinality: 12-bit indexes. */
const ENTRIES_MAX = 4096
/** Longest value that is worth hashing, in bytes. */
const VALUE_BYTES_MAX = 96
/** Bytes of all entries together. */
const ARENA_BYTES_MAX = 128 * 1024
const SLOTS = ENTRIES_MAX * 4

/** Byte strings seen so far. */
export interface ByteDictionary {
  readonly count: number
  /** The entries as a PLAIN page: u32 little endian length, bytes. A copy. */
  plain(): Uint8Array
  /** Index of `bytes[from, until)`, adding it when new; -1 when it does not fit. */
  indexOf(bytes: Uint8Array, from: number, until: number): number
  clear(): void
}

/** An empty dictionary; its tables are allocated at first use. */
export function createByteDictionary(): ByteDictionary {
  let slots = new Int32Array(0) // index + 1; 0 = free
  let arena = new Uint8Array(0)
  let starts = new Int32Array(0)
  let ends = new Int32Array(0)
  let count = 0
  let used = 0
  let last = -1

  /** Whether entry `index` is exactly the range. */
  const isEntry = (index: number, bytes: Uint8Array, from: number, until: number): boolean => {
    const start = starts[index]!
    if (ends[index]! - start !== until - from) return false
    for (let i = from, j = start; i < until; i++, j++) if (bytes[i] !== arena[j]) return false
    return true
  }

  return {
    get count() {
      return count
    },
    plain: () => arena.slice(0, used),
    indexOf(bytes, from, until) {
      const length = until - from
      if (length > VALUE_BYTES_MAX) return -1
      if (last >= 0 && isEntry(last, bytes, from, until)) return last
      if (slots.length === 0) {
        slots = new Int32Array(SLOTS)
        arena = new Uint8Array(ARENA_BYTES_MAX)
        starts = new Int32Array(ENTRIES_MAX)
        ends = new Int32Array(ENTRIES_MAX)
      }
      let hash = length
      for (let i = from; i < until; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193)
      let slot = (hash ^ (hash >>> 15)) & (SLOTS - 1)
      for (let held = slots[slot]!; held !== 0; held = slots[slot]!) {
        if (isEntry(held - 1, bytes, from, until)) return (last = held - 1)
        slot = (slot + 1) & (SLOTS - 1)
      }
      if (count === ENTRIES_MAX || used + 4 + length > ARENA_BYTES_MAX) return -1
      arena[used] = length // below 256
      arena.fill(0, used + 1, used + 4)
      starts[count] = used + 4
      for (let i = from, j = used + 4; i < until; i++, j++) arena[j] = bytes[i]!
      used += 4 + length
      ends[count] = used
      slots[slot] = ++count
      return (last = count - 1)
    },
    clear() {
      slots.fill(0)
      count = 0
      used = 0
      last = -1
    },
  }
}
