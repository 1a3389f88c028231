/**
 * CRC32C (Castagnoli), the checksum of record batches. Native where the platform's prebuilt module loads, a table in
 * JavaScript elsewhere (ten times slower, same numbers). It is always verified: natively it is the first touch of the
 * bytes and so nearly free.
 */
import { createRequire } from 'node:module'

type Checksum = (bytes: Uint8Array) => number

const TABLE = new Int32Array(256)
for (let i = 0; i < 256; i++) {
  let value = i
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1
  TABLE[i] = value
}

/** The table-driven fallback; exported so that a test can hold it against the native one. Returns a uint32. */
export function crc32cTable(bytes: Uint8Array): number {
  let crc = -1
  for (let i = 0; i < bytes.length; i++) crc = TABLE[(crc ^ bytes[i]!) & 255]! ^ (crc >>> 8)
  return ~crc >>> 0
}

function loadNative(): Checksum | null {
  try {
    return (createRequire(import.meta.url)('@node-rs/crc32') as { crc32c: Checksum }).crc32c
  } catch {
    // No prebuilt module for this platform: the table gives the same numbers.
    return null
  }
}

const native = loadNative()

/** True when checksums run at native speed; for start-up reports. */
export const crc32cIsNative = native !== null

/** CRC32C of all bytes, a uint32. */
export const crc32c: Checksum = native ?? crc32cTable
