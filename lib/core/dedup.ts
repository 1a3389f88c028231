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
  let capacity = CAPACITY_MIN
  let scale = capacity / TWO_32
  let keys = new Int32Array(capacity * width)
  let epochs = new Int32Array(capacity) // epoch + 1 (ids stay below 2^31); 0 = free
  let size = 0

  /** Where an id is looked for first: its hash scaled to the capacity, so the order of hashes is the order of slots. */
  const homeOf = (k0: number, k1: number, k2: number, k3: number): number =>
    Math.floor((fmix(k0 ^ Math.imul(k1, 0x9e3779b1) ^ k2 ^ Math.imul(k3, 0x85ebca6b)) >>> 0) * scale)
  const slotOf = (k0: number, k1: number, k2: number, k3: number): number => {
    const end = capacity
    let slot = homeOf(k0, k1, k2, k3)
    if (width === 2) {
      while (epochs[slot] !== 0 && (keys[slot * 2] !== k0 || keys[slot * 2 + 1] !== k1)) if (++slot === end) slot = 0
    } else {
      while (
        epochs[slot] !== 0 &&
        (keys[slot * 4] !== k0 || keys[slot * 4 + 1] !== k1 || keys[slot * 4 + 2] !== k2 || keys[slot * 4 + 3] !== k3)
      ) {
        if (++slot === end) slot = 0
      }
    }
    return slot
  }
  const put = (slot: number, k0: number, k1: number, k2: number, k3: number, epoch: number): void => {
    keys[slot * width] = k0
    keys[slot * width + 1] = k1
    if (width === 4) {
      keys[slot * 4 + 2] = k2
      keys[slot * 4 + 3] = k3
    }
    epochs[slot] = epoch + 1
  }
  /**
   * Rebuilds the table with only the ids of epochs > oldest and room for `more`, filled to LOAD_REBUILT. Old slots are in the order
   * of hashes, and so are the new ones: the pass writes as sequentially as it reads.
   */
  const rebuild = (oldest: number, more = 0): void => {
    const [oldKeys, oldEpochs, oldCapacity] = [keys, epochs, capacity]
    // A free slot is older than anything, also while epochs are younger than the horizon.
    const free = Math.max(0, oldest + 1)
    let kept = 0
    for (let slot = 0; slot < oldCapacity; slot++) if (oldEpochs[slot]! > free) kept++
    capacity = Math.max(CAPACITY_MIN, Math.ceil((kept + more) / LOAD_REBUILT))
    scale = capacity / TWO_32
    keys = new Int32Array(capacity * width)
    epochs = new Int32Array(capacity)
    for (let slot = 0; slot < oldCapacity; slot++) {
      const stamp = oldEpochs[slot]!
      if (stamp <= free) continue
      const at = slot * width
      const [k0, k1] = [oldKeys[at]!, oldKeys[at + 1]!]
      const [k2, k3] = width === 4 ? [oldKeys[at + 2]!, oldKeys[at + 3]!] : [0, 0]
      put(slotOf(k0, k1, k2, k3), k0, k1, k2, k3, stamp - 1)
    }
    size = kept
  }
  /** Notes an occurrence; true when an earlier one lies within the horizon. */
  const occurred = (k0: number, k1: number, k2: number, k3: number, epoch: number): boolean => {
    const slot = slotOf(k0, k1, k2, k3)
    const before = epochs[slot]! - 1
    if (before >= 0) {
      epochs[slot] = epoch + 1
      return before > epoch - options.horizonEpochs
    }
    put(slot, k0, k1, k2, k3, epoch)
    size++
    if (size > capacity * LOAD_MAX) {
      rebuild(epoch - options.horizonEpochs)
      if (size > options.idsMax) throw new RangeError(`DEDUP_LIMIT more than ${options.idsMax} ids within the horizon`)
    }
    return false
  }

  return {
    get size() {
      return size
    },
    get bytes() {
      return keys.byteLength + epochs.byteLength
    },
    mark(chunk, id, epoch, verdicts) {
      assert((id.spec.kind === 'string') === (width === 4), 'the id column has the kind of the ring')
      let duplicates = 0
      for (let i = 0; i < chunk.count; i++) {
        if (verdicts[i] !== ACCEPTED || (id.valid !== null && id.valid[i] === 0)) continue
        let seen: boolean
        if (width === 4) {
          identify(id.bytes, id.from[i]!, id.until[i]!)
          seen = occurred(words[0]!, words[1]!, words[2]!, words[3]!, epoch)
        } else if (id.wide !== null) {
          const value = id.wide[i]!
          seen = occurred(Number(BigInt.asIntN(32, value)), Number(BigInt.asIntN(32, value >> 32n)), 0, 0, epoch)
        } else {
          const value = id.f64[i]!
          seen = occurred(value | 0, Math.floor(value / 4_294_967_296) | 0, 0, 0, epoch)
        }
        if (seen) {
          verdicts[i] = DUPLICATE
          duplicates++
        }
      }
      return duplicates
    },
    expire(epoch) {
      // Rebuilding costs a pass over the table, so it waits until a quarter could go; growth expires by itself.
      if (size < 4096) return
      const oldest = epoch - options.horizonEpochs
      let stale = 0
      for (let slot = 0; slot < capacity; slot++) if (epochs[slot]! !== 0 && epochs[slot]! - 1 <= oldest) stale++
      if (stale * 4 > size) rebuild(oldest)
    },
    segment(epoch) {
      let found = 0
      for (let slot = 0; slot < capacity; slot++) if (epochs[slot] === epoch + 1) found++
      const segment = new Int32Array(found * width)
      let at = 0
      for (let slot = 0; slot < capacity; slot++) {
        if (epochs[slot] !== epoch + 1) continue
        for (let w = 0; w < width; w++) segment[at++] = keys[slot * width + w]!
      }
      return segment
    },
    restore(epoch, segment) {
      const more = segment.length / width
      if (size + more > capacity * LOAD_MAX) rebuild(Number.NEGATIVE_INFINITY, more)
      for (let at = 0; at < segment.length; at += width) {
        const [k0, k1] = [segment[at]!, segment[at + 1]!]
        const [k2, k3] = width === 4 ? [segment[at + 2]!, segment[at + 3]!] : [0, 0]
        const slot = slotOf(k0, k1, k2, k3)
        if (epochs[slot] === 0) size++
        put(slot, k0, k1, k2, k3, epoch)
      }
    },
  }
}
