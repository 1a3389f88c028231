/**
 * Dedup: an event is a duplicate if the same id occurred earlier in the same partition in an epoch greater than
 * (its own epoch - horizon). The rule is stated on the log; DuckDB applies it with a window function, the speed layer with
 * this table: one open-addressed map from id to the last epoch it occurred in, O(1) per event whatever the horizon is.
 *
 * An id is 2 words (int64, exact) or 4 words: texts of up to 15 bytes are packed exactly, longer ones by a 128-bit hash
 * (two different ids of a 20-million ring collide with probability below 10^-24).
 * Source: MurmurHash3_x86_128 (Austin Appleby, public domain) for the hash.
 */

import { ACCEPTED, DUPLICATE } from './admission.ts'
import { assert } from './assert.ts'
import type { Column, ColumnChunk } from './columns.ts'

const scratch = new DataView(new ArrayBuffer(16))
const words = new Int32Array(4)

const rotl = (x: number, r: number): number => (x << r) | (x >>> (32 - r))
const fmix = (h: number): number => {
  h ^= h >>> 16
  h = Math.imul(h, 0x85ebca6b)
  h ^= h >>> 13
  h = Math.imul(h, 0xc2b2ae35)
  return h ^ (h >>> 16)
}

/** Writes the 128-bit identity of a byte range into `words`. */
function identify(bytes: Uint8Array, from: number, until: number): void {
  const length = until - from
  if (length <= 15) {
    for (let i = 0; i < 16; i++) scratch.setUint8(i, i < length ? bytes[from + i]! : 0)
    scratch.setUint8(15, length)
    for (let w = 0; w < 4; w++) words[w] = scratch.getInt32(w * 4, true)
    return
  }
  let [h1, h2, h3, h4] = [length, length ^ 0x9747b28c, length ^ 0x5bd1e995, length ^ 0x1b873593]
  for (let at = from; at < until; at += 4) {
    let k = bytes[at]!
    if (at + 1 < until) k |= bytes[at + 1]! << 8
    if (at + 2 < until) k |= bytes[at + 2]! << 16
    if (at + 3 < until) k |= bytes[at + 3]! << 24
    h1 = Math.imul(rotl(h1 ^ Math.imul(rotl(Math.imul(k, 0x239b961b), 15), 0xab0e9789), 19) + h2, 5) + 0x561ccd1b
    h2 = Math.imul(rotl(h2 ^ Math.imul(rotl(Math.imul(k, 0xab0e9789), 16), 0x38b34ae5), 17) + h3, 5) + 0x0bcaa747
    h3 = Math.imul(rotl(h3 ^ Math.imul(rotl(Math.imul(k, 0x38b34ae5), 17), 0xa1e38b93), 15) + h4, 5) + 0x96cd1c35
    h4 = Math.imul(rotl(h4 ^ Math.imul(rotl(Math.imul(k, 0xa1e38b93), 18), 0x239b961b), 13) + h1, 5) + 0x32ac3b17
  }
  h1 = (h1 + h2 + h3 + h4) | 0
  words[0] = fmix(h1)
  words[1] = fmix((h2 + h1) | 0)
  words[2] = fmix((h3 + h1) | 0)
  // The length byte of packed ids is at most 15; a set top bit keeps hashed ids apart from all of them.
  words[3] = fmix((h4 + h1) | 0) | 0x80000000
}

/** Ids of one partition over its horizon. */
export interface DedupRing {
  /** Ids held now, and the bytes of the table. */
  readonly size: number
  readonly bytes: number
  /** Turns ACCEPTED verdicts of repeated ids into DUPLICATE; returns how many. A null id is never a duplicate. */
  mark(chunk: ColumnChunk, id: Column, epoch: number, verdicts: Uint8Array): number
  /** Drops ids that no later event can meet; call when an epoch opens. */
  expire(epoch: number): void
  /** Ids whose last occurrence is in `epoch`, as they are stored: the segment a checkpoint writes at the seal. */
  segment(epoch: number): Int32Array
  /** Puts a segment back; segments are given in the order of their epochs. */
  restore(epoch: number, segment: Int32Array): void
}

const TWO_32 = 4_294_967_296
const CAPACITY_MIN = 1024
/** A table grows at this load, to the other: between 16 and 24 bytes per int64 id, a third less than with doubling. */
const LOAD_MAX = 0.75
const LOAD_REBUILT = 0.5

/**
 * A ring for ids of `kind`. `idsMax` bounds it: beyond, `mark` throws RangeError `DEDUP_LIMIT`, for a wrong "not seen" would
 * count an event twice.
 */
export function createDedupRing(options: {
  kind: 'int64' | 'string'
  horizonEpochs: number
  idsMax: number
}): DedupRing {
  const width = options.kind === 'int64' ? 2 : 4
  /** A slot: the words of the id, then epoch + 1 (ids stay below 2^31); 0 = free. Side by side, so that a look costs one cache line. */
  const stride = width + 1
  let capacity = CAPACITY_MIN
  let scale = capacity / TWO_32
  let table = new Int32Array(capacity * stride)
  let size = 0
  /** A chunk's ids and where each is looked for first. */
  let ids = new Int32Array(0)
  let homes = new Int32Array(0)

  /** Where an id is looked for first: its hash scaled to the capacity, so the order of hashes is the order of slots. */
  const homeOf = (k0: number, k1: number, k2: number, k3: number): number =>
    Math.floor((fmix(k0 ^ Math.imul(k1, 0x9e3779b1) ^ k2 ^ Math.imul(k3, 0x85ebca6b)) >>> 0) * scale) * stride
  /** Place of an id in the table, or of the free slot it belongs into, looking from `at` on. */
  const find = (from: Int32Array, word: number, at: number): number => {
    const end = table.length
    if (width === 2) {
      const [k0, k1] = [from[word]!, from[word + 1]!]
      while (table[at + 2] !== 0 && (table[at] !== k0 || table[at + 1] !== k1)) {
        at += 3
        if (at === end) at = 0
      }
      return at
    }
    const [k0, k1, k2, k3] = [from[word]!, from[word + 1]!, from[word + 2]!, from[word + 3]!]
    while (
      table[at + 4] !== 0 &&
      (table[at] !== k0 || table[at + 1] !== k1 || table[at + 2] !== k2 || table[at + 3] !== k3)
    ) {
      at += 5
      if (at === end) at = 0
    }
    return at
  }
  const homeIn = (from: Int32Array, word: number): number =>
    width === 2
      ? homeOf(from[word]!, from[word + 1]!, 0, 0)
      : homeOf(from[word]!, from[word + 1]!, from[word + 2]!, from[word + 3]!)
  const put = (at: number, from: Int32Array, word: number, epoch: number): void => {
    for (let w = 0; w < width; w++) table[at + w] = from[word + w]!
    table[at + width] = epoch + 1
  }
  /**
   * Rebuilds the table with only the ids of epochs > oldest and room for `more`, filled to LOAD_REBUILT. Old slots are in the order
   * of hashes, and so are the new ones: the pass writes as sequentially as it reads.
   */
  const rebuild = (oldest: number, more: number): void => {
    const old = table
    // A free slot is older than anything, also while epochs are younger than the horizon.
    const free = Math.max(0, oldest + 1)
    let kept = 0
    for (let at = width; at < old.length; at += stride) if (old[at]! > free) kept++
    capacity = Math.max(CAPACITY_MIN, Math.ceil((kept + more) / LOAD_REBUILT))
    scale = capacity / TWO_32
    table = new Int32Array(capacity * stride)
    for (let at = 0; at < old.length; at += stride) {
      const stamp = old[at + width]!
      if (stamp > free) put(find(old, at, homeIn(old, at)), old, at, stamp - 1)
    }
    size = kept
  }
  /** Makes room for `more` ids, without those that no event of `epoch` or later can meet. */
  const makeRoom = (more: number, epoch: number): void => {
    if (size + more <= capacity * LOAD_MAX && size <= options.idsMax) return
    rebuild(epoch - options.horizonEpochs, more)
    if (size > options.idsMax) throw new RangeError(`DEDUP_LIMIT more than ${options.idsMax} ids within the horizon`)
  }
  /**
   * Reads the chunk's ids and touches the slot of each. Nothing waits for what is touched, so the misses of many slots overlap;
   * looked for one after another, each would cost the way to memory: three times the time at a million ids.
   */
  const touch = (chunk: ColumnChunk, id: Column, verdicts: Uint8Array): void => {
    if (homes.length <= chunk.count) {
      homes = new Int32Array(chunk.count + 1)
      ids = new Int32Array(chunk.count * width)
    }
    let touched = 0
    for (let i = 0; i < chunk.count; i++) {
      if (verdicts[i] !== ACCEPTED || (id.valid !== null && id.valid[i] === 0)) {
        homes[i] = -1
        continue
      }
      const word = i * width
      if (width === 4) {
        identify(id.bytes, id.from[i]!, id.until[i]!)
        ids.set(words, word)
      } else if (id.wide !== null) {
        const value = id.wide[i]!
        ids[word] = Number(BigInt.asIntN(32, value))
        ids[word + 1] = Number(BigInt.asIntN(32, value >> 32n))
      } else {
        const value = id.f64[i]!
        ids[word] = value | 0
        ids[word + 1] = Math.floor(value / TWO_32) | 0
      }
      const home = homeIn(ids, word)
      homes[i] = home
      touched ^= table[home + width]!
    }
    // Kept, so that the reads are not compiled away.
    homes[homes.length - 1] = touched
  }

  return {
    get size() {
      return size
    },
    get bytes() {
      return table.byteLength
    },
    mark(chunk, id, epoch, verdicts) {
      assert((id.spec.kind === 'string') === (width === 4), 'the id column has the kind of the ring')
      makeRoom(chunk.count, epoch)
      touch(chunk, id, verdicts)
      const oldest = epoch - options.horizonEpochs
      let duplicates = 0
      for (let i = 0; i < chunk.count; i++) {
        const home = homes[i]!
        if (home < 0) continue
        const at = find(ids, i * width, home)
        const before = table[at + width]! - 1
        if (before < 0) {
          put(at, ids, i * width, epoch)
          size++
          continue
        }
        table[at + width] = epoch + 1
        if (before <= oldest) continue
        verdicts[i] = DUPLICATE
        duplicates++
      }
      return duplicates
    },
    expire(epoch) {
      // Rebuilding costs a pass over the table, so it waits until a quarter could go; growth expires by itself.
      if (size < 4096) return
      const oldest = epoch - options.horizonEpochs
      let stale = 0
      for (let at = width; at < table.length; at += stride) if (table[at]! !== 0 && table[at]! - 1 <= oldest) stale++
      if (stale * 4 > size) rebuild(oldest, 0)
    },
    segment(epoch) {
      let found = 0
      for (let at = width; at < table.length; at += stride) if (table[at] === epoch + 1) found++
      const segment = new Int32Array(found * width)
      let to = 0
      for (let at = 0; at < table.length; at += stride) {
        if (table[at + width] !== epoch + 1) continue
        for (let w = 0; w < width; w++) segment[to++] = table[at + w]!
      }
      return segment
    },
    restore(epoch, segment) {
      const more = segment.length / width
      if (size + more > capacity * LOAD_MAX) rebuild(Number.NEGATIVE_INFINITY, more)
      for (let word = 0; word < segment.length; word += width) {
        const at = find(segment, word, homeIn(segment, word))
        if (table[at + width] === 0) size++
        put(at, segment, word, epoch)
      }
    },
  }
}
