/**
 * Builds record batches (grammar in record-batch.ts) byte by byte into one growing buffer, without an object per record.
 * Uncompressed, base offset 0, create time, no producer id: the log gives a batch its place and time (`stampBatch`).
 */
import { assert } from '#core/assert.ts'
import { crc32c } from './crc32c.ts'

/** Bytes before the first record. */
export const BATCH_HEADER_BYTES = 61
/** The only format of record batches that is known. */
export const BATCH_MAGIC = 2

/** A record to be written. A null key, value or header value is Kafka's null; headers keep their order. */
export interface RecordInput {
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers?: readonly (readonly [string, Uint8Array | null])[]
}

/** Bytes of a record besides its key, value and headers, at most. */
const RECORD_OVERHEAD = 32
/** Room for one header: a guess, a builder grows where it is wrong. */
const HEADER_ROOM = 1_024
const NO_BYTES = new Uint8Array(0)
const utf8 = new TextEncoder()

/** Bytes a zigzag varint of `value` (int32) takes. */
function varintSize(value: number): number {
  const zigzag = ((value << 1) ^ (value >> 31)) >>> 0
  return zigzag < 128 ? 1 : zigzag < 16_384 ? 2 : zigzag < 2_097_152 ? 3 : zigzag < 268_435_456 ? 4 : 5
}

/**
 * Builds one uncompressed batch without an object per record. Reusable after `reset`.
 * Base offset 0, create time, no producer id: the log sets offset, arrival time and CRC (`stampBatch`).
 */
export class BatchBuilder {
  #bytes: Uint8Array
  #at = BATCH_HEADER_BYTES
  #count = 0
  #timestampMs: number

  /** `capacityBytes` spares a batch whose size is about known from growing. */
  constructor(timestampMs = 0, capacityBytes = 64 * 1024) {
    this.#timestampMs = timestampMs
    this.#bytes = new Uint8Array(capacityBytes)
  }

  /** Records added since `reset`. */
  get count(): number {
    return this.#count
  }

  /** Size of the batch that `finish` would give. */
  get byteLength(): number {
    return this.#at
  }

  /** Begins a new batch whose records all carry `timestampMs` (create time, UTC ms). */
  reset(timestampMs: number): void {
    this.#at = BATCH_HEADER_BYTES
    this.#count = 0
    this.#timestampMs = timestampMs
  }

  /** Adds a record. */
  add(key: Uint8Array | null, value: Uint8Array | null, headers?: RecordInput['headers']): void {
    const block = headers === undefined || headers.length === 0 ? NO_BYTES : headerBlock(headers)
    this.#put(key, 0, key?.length ?? -1, value ?? NO_BYTES, 0, value?.length ?? -1, block)
  }

  /** Adds a record whose key and value are byte ranges `[from, until)`; a null `keyBytes` is a null key. */
  addRanges(
    keyBytes: Uint8Array | null,
    keyFrom: number,
    keyUntil: number,
    bytes: Uint8Array,
    from: number,
    until: number,
  ): void {
    this.#put(keyBytes, keyFrom, keyBytes === null ? -1 : keyUntil - keyFrom, bytes, from, until - from, NO_BYTES)
  }

  /** The batch as a copy, CRC set. A batch has at least one record. */
  finish(): Uint8Array {
    return this.#sealed(this.#bytes.slice(0, this.#at))
  }

  /** The batch without a copy: the builder gives its buffer away and is done. */
  take(): Uint8Array {
    const out = this.#sealed(this.#bytes.subarray(0, this.#at))
    this.#bytes = NO_BYTES
    this.reset(0)
    return out
  }

  #sealed(out: Uint8Array): Uint8Array {
    assert(this.#count > 0, 'a record batch has at least one record')
    const view = new DataView(out.buffer, out.byteOffset, out.length)
    view.setInt32(8, this.#at - 12)
    view.setInt32(12, -1)
    view.setInt8(16, BATCH_MAGIC)
    view.setInt16(21, 0)
    view.setInt32(23, this.#count - 1)
    view.setBigInt64(27, BigInt(this.#timestampMs))
    view.setBigInt64(35, BigInt(this.#timestampMs))
    view.setBigInt64(43, -1n)
    view.setInt16(51, -1)
    view.setInt32(53, -1)
    view.setInt32(57, this.#count)
    view.setBigInt64(0, 0n)
    view.setUint32(17, crc32c(out.subarray(21)))
    return out
  }

  #put(
    key: Uint8Array | null,
    keyFrom: number,
    keyLength: number,
    value: Uint8Array,
    from: number,
    length: number,
    headers: Uint8Array,
  ): void {
    const delta = this.#count
    const keyBytes = Math.max(0, keyLength)
    const valueBytes = Math.max(0, length)
    const headerBytes = Math.max(1, headers.length)
    const size =
      2 + varintSize(delta) + varintSize(keyLength) + keyBytes + varintSize(length) + valueBytes + headerBytes
    this.#reserve(size + 5)
    this.#varint(size)
    this.#bytes[this.#at++] = 0
    this.#bytes[this.#at++] = 0
    this.#varint(delta)
    this.#varint(keyLength)
    if (key !== null) this.#copy(key, keyFrom, keyBytes)
    this.#varint(length)
    this.#copy(value, from, valueBytes)
    if (headers.length === 0) this.#bytes[this.#at++] = 0
    else this.#copy(headers, 0, headers.length)
    this.#count++
  }

  #reserve(more: number): void {
    if (this.#at + more <= this.#bytes.length) return
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#at + more))
    grown.set(this.#bytes.subarray(0, this.#at))
    this.#bytes = grown
  }

  #copy(bytes: Uint8Array, from: number, length: number): void {
    // Below some tens of bytes a loop is cheaper than making a view.
    if (length > 48) this.#bytes.set(bytes.subarray(from, from + length), this.#at)
    else for (let i = 0; i < length; i++) this.#bytes[this.#at + i] = bytes[from + i]!
    this.#at += length
  }

  #varint(value: number): void {
    let zigzag = ((value << 1) ^ (value >> 31)) >>> 0
    while (zigzag > 127) {
      this.#bytes[this.#at++] = (zigzag & 127) | 128
      zigzag >>>= 7
    }
    this.#bytes[this.#at++] = zigzag
  }
}

/** Count varint and headers as they stand in a record. */
function headerBlock(headers: NonNullable<RecordInput['headers']>): Uint8Array {
  const parts: number[] = []
  const varint = (value: number): void => {
    let zigzag = value * 2
    while (zigzag > 127) {
      parts.push((zigzag & 127) | 128)
      zigzag = Math.floor(zigzag / 128)
    }
    parts.push(zigzag)
  }
  varint(headers.length)
  for (const [name, value] of headers) {
    const key = utf8.encode(name)
    varint(key.length)
    for (const byte of key) parts.push(byte)
    if (value === null) {
      parts.push(1)
      continue
    }
    varint(value.length)
    for (const byte of value) parts.push(byte)
  }
  return Uint8Array.from(parts)
}

/** One uncompressed batch of at least one record; all carry create time `timestampMs` (UTC ms). */
export function encodeBatch(records: readonly RecordInput[], timestampMs: number): Uint8Array {
  let bytes = BATCH_HEADER_BYTES
  for (const { key, value, headers } of records) {
    bytes += RECORD_OVERHEAD + (key?.length ?? 0) + (value?.length ?? 0) + (headers?.length ?? 0) * HEADER_ROOM
  }
  const builder = new BatchBuilder(timestampMs, bytes)
  for (const { key, value, headers } of records) builder.add(key, value, headers)
  return builder.take()
}
