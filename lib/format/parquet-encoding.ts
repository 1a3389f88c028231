/**
 * Parquet's run-length / bit-packing hybrid, as definition levels and dictionary indexes are written, and zstd.
 *
 *   hybrid      = run*
 *   run         = varint (count << 1), value in ceil(width / 8) bytes, little endian        repeated
 *               | varint (groups << 1 | 1), groups * width bytes, 8 values each, LSB first   packed
 *   levels (V1) = u32 little endian length, hybrid of width 1
 *   indexes     = byte width, hybrid
 * Source: apache/parquet-format, Encodings.md
 */
import { constants, zstdCompress } from 'node:zlib'

/** Compresses with zstd level 1 on the thread pool: the event loop stays free. Deterministic for one zstd version. */
export function compressZstd(bytes: Uint8Array): Promise<Uint8Array> {
  // One output chunk that holds any result: each further chunk would cost a round trip through the pool.
  const chunkSize = bytes.length + (bytes.length >> 7) + 1024
  const params = { [constants.ZSTD_c_compressionLevel]: 1, [constants.ZSTD_c_contentSizeFlag]: 1 }
  return new Promise((resolve, reject) => {
    zstdCompress(bytes, { chunkSize, params }, (error, result) => (error === null ? resolve(result) : reject(error)))
  })
}

function varintAt(target: Uint8Array, at: number, value: number): number {
  while (value >= 128) {
    target[at++] = (value & 127) | 128
    value >>>= 7
  }
  target[at++] = value
  return at
}

/** Most bytes `writeHybrid` needs for `count` values of `width` bits. */
export const hybridBytesMax = (count: number, width: number): number => 10 + Math.ceil(count / 8) * width

/**
 * Writes `values[0..count)` (each below 2^width, width 1..16) at `at`: one repeated run when all are equal, else one packed
 * run. Returns the position behind it.
 */
export function writeHybrid(
  target: Uint8Array,
  at: number,
  values: Uint8Array | Int32Array,
  count: number,
  width: number,
): number {
  const first = values[0] ?? 0
  let same = 1
  while (same < count && values[same] === first) same++
  if (same >= count) {
    at = varintAt(target, at, count << 1)
    target[at++] = first & 255
    if (width > 8) target[at++] = first >>> 8
    return at
  }
  const groups = (count + 7) >> 3
  at = varintAt(target, at, (groups << 1) | 1)
  let held = 0
  let bits = 0
  for (let i = 0; i < groups * 8; i++) {
    held |= (i < count ? values[i]! : 0) << bits
    bits += width
    while (bits >= 8) {
      target[at++] = held & 255
      held >>>= 8
      bits -= 8
    }
  }
  return at
}

/** Bits that hold an index below `count`; at least 1, for readers differ on width 0. */
export function indexWidth(count: number): number {
  return Math.max(1, 32 - Math.clz32(Math.max(0, count - 1)))
}
