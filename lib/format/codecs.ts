/**
 * Decompression of record batches, capped at `LIMITS.inflatedBatchBytes` (rule K13): a bomb costs at most the cap.
 * gzip and zstd are node:zlib's. Snappy and LZ4 are decoded here: the WASM packages trap on malformed input, and each trap
 * leaves their stack pointer displaced and their output allocated (measured: dead for good after 1,556 damaged blocks).
 * Bad input is a value here, never an exception.
 *
 *   snappy raw     varint inflated length, then elements: tag & 3 = 0 literal, 1..3 copy with 1, 2, 4 offset bytes
 *   snappy xerial  82 'SNAPPY' 00, version int32, compatible int32, then (length int32, raw snappy)*; what the JVM writes
 *   lz4 frame      04 22 4D 18, FLG, BD, [content size 8], [dictionary 4], HC, (size uint32 LE, block, [checksum 4])*, 0, [checksum 4]
 *   lz4 block      (token, [literal length…], literals, offset uint16 LE, [match length…])*, the last one ends after its literals
 */
import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import { LIMITS } from '#core/limits.ts'

/** Why bytes could not be inflated; a subset of the dead reasons. */
export type InflateProblem = 'damaged-batch' | 'unknown-codec' | 'too-large'

/** Output larger than a first guess is rare; chunks of this size keep zlib from stitching many small ones. */
const CHUNK_BYTES = 256 * 1024

/**
 * Inflates the records of a batch; `codec` is the number in its attributes: 0 none (gives the bytes back), 1 gzip, 2 snappy,
 * 3 lz4, 4 zstd. At most `cap` bytes come out.
 */
export function inflate(
  codec: number,
  bytes: Uint8Array,
  cap: number = LIMITS.inflatedBatchBytes,
): Uint8Array | InflateProblem {
  switch (codec) {
    case 0:
      return bytes
    case 1:
      return zlib(() => gunzipSync(bytes, { maxOutputLength: cap, chunkSize: CHUNK_BYTES }))
    case 2:
      return isXerial(bytes, 0) ? inflateXerial(bytes, cap) : inflateSnappy(bytes, cap)
    case 3:
      return inflateLz4(bytes, cap)
    case 4:
      return zlib(() => zstdDecompressSync(bytes, { maxOutputLength: cap, chunkSize: CHUNK_BYTES }))
    default:
      return 'unknown-codec'
  }
}

function zlib(run: () => Uint8Array): Uint8Array | InflateProblem {
  try {
    return run()
  } catch (error) {
    return (error as { code?: string }).code === 'ERR_BUFFER_TOO_LARGE' ? 'too-large' : 'damaged-batch'
  }
}

const XERIAL = [0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00] as const
const XERIAL_HEADER_BYTES = 16

function isXerial(bytes: Uint8Array, at: number): boolean {
  return bytes.length - at >= XERIAL_HEADER_BYTES && XERIAL.every((byte, i) => bytes[at + i] === byte)
}

function inflateXerial(bytes: Uint8Array, cap: number): Uint8Array | InflateProblem {
  const blocks: Uint8Array[] = []
  let total = 0
  let at = 0
  while (at < bytes.length) {
    // Concatenated streams repeat the header; its magic can be no block length, which is never negative.
    if (isXerial(bytes, at)) {
      at += XERIAL_HEADER_BYTES
      continue
    }
    if (at + 4 > bytes.length) return 'damaged-batch'
    const length = (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!
    at += 4
    if (length < 0 || length > bytes.length - at) return 'damaged-batch'
    const block = inflateSnappy(bytes.subarray(at, at + length), cap - total)
    if (typeof block === 'string') return block
    blocks.push(block)
    total += block.length
    at += length
  }
  return blocks.length === 1 ? blocks[0]! : Buffer.concat(blocks, total)
}

function inflateSnappy(bytes: Uint8Array, cap: number): Uint8Array | InflateProblem {
  let at = 0
  let size = 0
  for (let shift = 0; ; shift += 7) {
    if (at >= bytes.length || shift > 28) return 'damaged-batch'
    const byte = bytes[at++]!
    size += (byte & 127) * 2 ** shift
    if (byte < 128) break
  }
  if (size > cap) return 'too-large'
  const out = new Uint8Array(size)
  let end = 0
  while (at < bytes.length) {
    const tag = bytes[at++]!
    let length: number
    if ((tag & 3) === 0) {
      length = (tag >>> 2) + 1
      if (length > 60) {
        const extra = length - 60
        length = littleEndian(bytes, at, extra) + 1
        at += extra
      }
      if (length > bytes.length - at || length > size - end) return 'damaged-batch'
      copyLiterals(out, end, bytes, at, length)
      at += length
    } else {
      let offset: number
      if ((tag & 3) === 1) {
        length = ((tag >>> 2) & 7) + 4
        offset = ((tag >>> 5) << 8) | littleEndian(bytes, at, 1)
        at += 1
      } else {
        const width = (tag & 3) === 2 ? 2 : 4
        length = (tag >>> 2) + 1
        offset = littleEndian(bytes, at, width)
        at += width
      }
      if (at > bytes.length || offset === 0 || offset > end || length > size - end) return 'damaged-batch'
      copyMatch(out, end, offset, length)
    }
    end += length
  }
  return end === size ? out : 'damaged-batch'
}

/** An unsigned little-endian integer of `width` bytes; bytes beyond the end count as 0, callers check bounds afterwards. */
function littleEndian(bytes: Uint8Array, at: number, width: number): number {
  let value = 0
  for (let i = width - 1; i >= 0; i--) value = value * 256 + (bytes[at + i] ?? 0)
  return value
}

function copyLiterals(out: Uint8Array, end: number, bytes: Uint8Array, at: number, length: number): void {
  if (length > 32) out.set(bytes.subarray(at, at + length), end)
  else for (let i = 0; i < length; i++) out[end + i] = bytes[at + i]!
}

/** Copies from `offset` bytes back; source and target overlap when the match repeats itself, hence the byte loop. */
function copyMatch(out: Uint8Array, end: number, offset: number, length: number): void {
  const from = end - offset
  if (length > 64 && offset >= length) out.copyWithin(end, from, from + length)
  else for (let i = 0; i < length; i++) out[end + i] = out[from + i]!
}

const LZ4_MAGIC = 0x184d2204

function inflateLz4(bytes: Uint8Array, cap: number): Uint8Array | InflateProblem {
  if (bytes.length < 7 || littleEndian(bytes, 0, 4) !== LZ4_MAGIC) return 'damaged-batch'
  const flags = bytes[4]!
  const blockMax = 256 << (2 * ((bytes[5]! >>> 4) & 7))
  if (flags >>> 6 !== 1 || blockMax < 65_536) return 'damaged-batch'
  let at = 7 + (flags & 8 ? 8 : 0) + (flags & 1 ? 4 : 0)
  let out = new Uint8Array(Math.min(cap, Math.max(blockMax, bytes.length * 3)))
  let end = 0
  for (;;) {
    if (at + 4 > bytes.length) return 'damaged-batch'
    const word = littleEndian(bytes, at, 4)
    at += 4
    if (word === 0) return out.subarray(0, end)
    const size = word & 0x7fffffff
    if (size > blockMax || size > bytes.length - at) return 'damaged-batch'
    if (out.length < Math.min(cap, end + blockMax)) {
      const grown = new Uint8Array(Math.min(cap, Math.max(out.length * 2, end + blockMax)))
      grown.set(out.subarray(0, end))
      out = grown
    }
    const next =
      word > 0x7fffffff ? storeBlock(bytes, at, size, out, end) : inflateBlock(bytes, at, at + size, out, end)
    // A block may inflate to at most blockMax bytes, for which there is room unless the cap is in the way.
    if (next === OVERFLOW) return out.length === cap ? 'too-large' : 'damaged-batch'
    if (next < 0) return 'damaged-batch'
    end = next
    at += size + (flags & 16 ? 4 : 0)
  }
}

const DAMAGED = -1
const OVERFLOW = -2

function storeBlock(bytes: Uint8Array, at: number, size: number, out: Uint8Array, end: number): number {
  if (size > out.length - end) return OVERFLOW
  out.set(bytes.subarray(at, at + size), end)
  return end + size
}

/** Inflates one LZ4 block behind `end`; returns the new end, DAMAGED or OVERFLOW. Matches may reach into earlier blocks. */
function inflateBlock(bytes: Uint8Array, at: number, until: number, out: Uint8Array, end: number): number {
  while (at < until) {
    const token = bytes[at++]!
    let length = token >>> 4
    if (length === 15) {
      let byte = 255
      while (byte === 255 && at < until) length += byte = bytes[at++]!
    }
    if (length > until - at) return DAMAGED
    if (length > out.length - end) return OVERFLOW
    copyLiterals(out, end, bytes, at, length)
    at += length
    end += length
    if (at === until) return end
    const offset = bytes[at]! | ((bytes[at + 1] ?? 0) << 8)
    at += 2
    let match = (token & 15) + 4
    if (match === 19) {
      let byte = 255
      while (byte === 255 && at < until) match += byte = bytes[at++]!
    }
    if (at >= until || offset === 0 || offset > end) return DAMAGED
    if (match > out.length - end) return OVERFLOW
    copyMatch(out, end, offset, match)
    end += match
  }
  return end
}
