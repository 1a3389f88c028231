/**
 * Kafka v2 record batches: read, written and stamped in place. The one form in which the log holds and hands over records.
 *
 *   RecordBatch   0 baseOffset int64 · 8 batchLength int32 (bytes after this field) · 12 partitionLeaderEpoch int32 · 16 magic int8 (2)
 *                17 crc uint32 (CRC32C of 21..end) · 21 attributes int16 · 23 lastOffsetDelta int32 · 27 baseTimestamp int64
 *                35 maxTimestamp int64 · 43 producerId int64 · 51 producerEpoch int16 · 53 baseSequence int32 · 57 recordCount int32
 *                61 records (one compressed block when a codec is set)
 *   attributes   bits 0-2 codec (0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd) · 3 log append time · 4 transactional · 5 control
 *   Record       length varint (bytes after it) · attributes int8 · timestampDelta varlong · offsetDelta varint
 *                keyLength varint (-1 null) key · valueLength varint (-1 null) value
 *                headerCount varint, (keyLength varint, key UTF-8, valueLength varint (-1 null), value)*
 *
 * Integers are big-endian, varints zigzag LEB128. `openBatch` checks the CRC, the codec and the frame of every record (lengths
 * tile the batch, count is true, offset deltas grow), so a batch is either dead as a whole or well framed: what follows
 * never runs out of the buffer and accounts for every offset (law 8). Garbage is a value here, never an exception.
 */
import { assert } from '#core/assert.ts'
import type { DeadReason } from '#core/outcome.ts'
import { BATCH_HEADER_BYTES, BATCH_MAGIC } from './batch-builder.ts'
import { inflate } from './codecs.ts'
import { crc32c } from './crc32c.ts'
import type { RecordCursor } from './projector.ts'

export { BATCH_HEADER_BYTES, BatchBuilder, encodeBatch, type RecordInput } from './batch-builder.ts'

const LOG_APPEND = 8
const TRANSACTIONAL = 16
const CONTROL = 32
/** length, attributes, two deltas, two lengths, header count: one byte each. */
const RECORD_BYTES_MIN = 7
const TWO_32 = 4_294_967_296

/** What a batch says about itself. Instants are UTC ms, offsets safe integers, `lastOffset` inclusive (also after compaction). */
export interface BatchHeader {
  readonly baseOffset: number
  readonly lastOffset: number
  /** Records in the batch; less than lastOffset - baseOffset + 1 after compaction. */
  readonly count: number
  /** Size of the whole batch, header included, as it states. */
  readonly byteLength: number
  readonly magic: number
  readonly crc: number
  /** Number of the codec (codecs.ts); 5 to 7 are unknown. */
  readonly codec: number
  readonly timestampType: 'create' | 'append'
  readonly transactional: boolean
  readonly control: boolean
  readonly baseTimestamp: number
  /** With `append`: the arrival time of every record. */
  readonly maxTimestamp: number
  /** -1 = none. */
  readonly producerId: number
}

/** A record out of the hot path. All bytes are copies. */
export interface RawRecord {
  readonly offset: number
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers: readonly (readonly [string, Uint8Array | null])[]
  /** True when key, value and headers do not tile the record: `value` then holds the whole record behind its length, key is null. */
  readonly damaged: boolean
}

/** A batch ready for reading, or why it is dead as a whole. */
export type OpenedBatch =
  | { readonly cursor: RecordCursor; readonly control: boolean; readonly header: BatchHeader }
  | {
      readonly dead: Extract<DeadReason, 'damaged-batch' | 'unknown-codec' | 'too-large'>
      readonly header: BatchHeader
    }

const text = new TextDecoder('utf-8', { ignoreBOM: true })

/** Reads the header leniently: missing bytes count as 0, an int64 beyond 2^53 is rounded. */
function parseHeader(bytes: Uint8Array): BatchHeader {
  let head = bytes
  if (bytes.length < BATCH_HEADER_BYTES) {
    head = new Uint8Array(BATCH_HEADER_BYTES)
    head.set(bytes)
  }
  const view = new DataView(head.buffer, head.byteOffset, BATCH_HEADER_BYTES)
  const int64 = (at: number): number => view.getInt32(at) * TWO_32 + view.getUint32(at + 4)
  const attributes = view.getInt16(21)
  const baseOffset = int64(0)
  return {
    baseOffset,
    lastOffset: baseOffset + view.getInt32(23),
    count: view.getInt32(57),
    byteLength: view.getInt32(8) + 12,
    magic: view.getInt8(16),
    crc: view.getUint32(17),
    codec: attributes & 7,
    timestampType: attributes & LOG_APPEND ? 'append' : 'create',
    transactional: (attributes & TRANSACTIONAL) !== 0,
    control: (attributes & CONTROL) !== 0,
    baseTimestamp: int64(27),
    maxTimestamp: int64(35),
    producerId: int64(43),
  }
}

/** The header of a batch that a log handed over. Asserts that there is one and that its offsets are safe integers. */
export function readHeader(bytes: Uint8Array): BatchHeader {
  assert(bytes.length >= BATCH_HEADER_BYTES, 'a record batch has a whole header')
  const header = parseHeader(bytes)
  assert(
    header.baseOffset >= 0 && Number.isSafeInteger(header.baseOffset) && Number.isSafeInteger(header.lastOffset),
    'offsets are safe integers',
  )
  return header
}

/**
 * Gives a batch its place in the log, in place: base offset, log append time, CRC. The last offset delta stays, so compacted
 * batches keep their length in offsets.
 */
export function stampBatch(bytes: Uint8Array, baseOffset: number, arrivalMs: number): void {
  assert(bytes.length >= BATCH_HEADER_BYTES, 'a record batch has a whole header')
  assert(Number.isSafeInteger(baseOffset) && baseOffset >= 0, 'offsets are safe integers')
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  view.setBigInt64(0, BigInt(baseOffset))
  view.setInt16(21, view.getInt16(21) | LOG_APPEND)
  view.setBigInt64(35, BigInt(arrivalMs))
  view.setUint32(17, crc32c(bytes.subarray(21)))
}

/**
 * Checks and opens a batch for reading. Records below offset `skipBelow` are skipped by every reader of the cursor.
 * Dead as a whole: `damaged-batch` (wrong magic, length, CRC, count, framing, or compressed block), `unknown-codec`, `too-large`
 * (inflates beyond `LIMITS.inflatedBatchBytes`). Its offsets are then header.baseOffset..lastOffset, both only as good as
 * the header; the log's own `FetchedBatch` knows better. Native codecs free memory only on a turn of the event loop.
 */
export function openBatch(bytes: Uint8Array, skipBelow: number): OpenedBatch {
  const header = parseHeader(bytes)
  if (
    bytes.length < BATCH_HEADER_BYTES ||
    header.byteLength !== bytes.length ||
    header.magic !== BATCH_MAGIC ||
    header.crc !== crc32c(bytes.subarray(21)) ||
    header.baseOffset < 0 ||
    header.lastOffset < header.baseOffset ||
    !Number.isSafeInteger(header.lastOffset)
  ) {
    return { dead: 'damaged-batch', header }
  }
  let records = plain(bytes)
  let at = BATCH_HEADER_BYTES
  if (header.codec !== 0) {
    const inflated = inflate(header.codec, bytes.subarray(BATCH_HEADER_BYTES))
    if (typeof inflated === 'string') return { dead: inflated, header }
    records = plain(inflated)
    at = 0
  }
  const end = records.length
  if (!isWellFramed(records, at, end, header.count, header.lastOffset - header.baseOffset))
    return { dead: 'damaged-batch', header }
  const cursor: RecordCursor = {
    bytes: records,
    at,
    end,
    remaining: header.count,
    baseOffset: header.baseOffset,
    arrivalMs: header.maxTimestamp,
    skipBelow,
    schemaId: 0,
  }
  return { cursor, control: header.control, header }
}

/** A view without Buffer's prototype: hot loops stay monomorphic, and `slice` copies. */
function plain(bytes: Uint8Array): Uint8Array {
  return Buffer.isBuffer(bytes) ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length) : bytes
}

/**
 * True when `count` records tile [at, end) exactly and their offset deltas grow within 0..lastDelta. One look at four varints per
 * record (about 4 ns) makes the batch dead or alive as a whole; without it a lying count would leave offsets unaccounted.
 */
function isWellFramed(bytes: Uint8Array, at: number, end: number, count: number, lastDelta: number): boolean {
  let p = at | 0
  const stop = end | 0
  if (count < 0 || count * RECORD_BYTES_MIN > stop - p) return false
  let previous = -1
  for (let i = 0; i < count; i++) {
    if (p >= stop) return false
    let byte = bytes[p++]!
    let zigzag = byte & 127
    for (let shift = 7; byte > 127; shift += 7) {
      if (p >= stop || shift > 28) return false
      byte = bytes[p++]!
      if (shift === 28 && byte > 15) return false
      zigzag |= (byte & 127) << shift
    }
    const length = (zigzag >>> 1) ^ -(zigzag & 1)
    if (length < RECORD_BYTES_MIN - 1 || length > stop - p) return false
    const next = (p + length) | 0
    p++
    // The timestamp delta is not used, but its bytes must be a varint of at most 10 bytes.
    const timestampEnd = p + 10
    while (p < next && p < timestampEnd && bytes[p]! > 127) p++
    if (p >= timestampEnd || ++p >= next) return false
    byte = bytes[p++]!
    zigzag = byte & 127
    for (let shift = 7; byte > 127; shift += 7) {
      if (p >= next || shift > 28) return false
      byte = bytes[p++]!
      if (shift === 28 && byte > 15) return false
      zigzag |= (byte & 127) << shift
    }
    const delta = (zigzag >>> 1) ^ -(zigzag & 1)
    if (delta <= previous || delta > lastDelta) return false
    previous = delta
    p = next
  }
  return p === stop
}

/** A place in the record that the slow reader works on; `p` is -1 once something did not fit. */
class Walk {
  readonly bytes: Uint8Array
  p: number
  end: number
  constructor(bytes: Uint8Array, p: number, end: number) {
    this.bytes = bytes
    this.p = p
    this.end = end
  }

  /** An int32 zigzag varint; 0 and `p` = -1 when it is cut off or too long. */
  varint(): number {
    let zigzag = 0
    for (let shift = 0; this.p >= 0 && this.p < this.end && shift <= 28; shift += 7) {
      const byte = this.bytes[this.p++]!
      if (shift === 28 && byte > 15) break
      zigzag |= (byte & 127) << shift
      if (byte < 128) return (zigzag >>> 1) ^ -(zigzag & 1)
    }
    this.p = -1
    return 0
  }

  /** Skips a varlong of at most ten bytes. */
  skipVarlong(): void {
    const bound = Math.min(this.end, this.p + 10)
    while (this.p < bound && this.bytes[this.p]! > 127) this.p++
    this.p = this.p < bound ? this.p + 1 : -1
  }

  /** A copy of the next `length` bytes; null for a length of -1 where that is allowed. */
  take(length: number, nullable: boolean): Uint8Array | null {
    if (this.p < 0) return null
    if (length === -1 && nullable) return null
    if (length < 0 || length > this.end - this.p) {
      this.p = -1
      return null
    }
    this.p += length
    return this.bytes.slice(this.p - length, this.p)
  }
}

/**
 * Takes the next record at or above `skipBelow` off the cursor, as copies; null when there is none left. For odd cases: barriers, dead letters,
 * restores, small topics. Never throws; see `RawRecord.damaged`.
 */
export function readRecord(cursor: RecordCursor): RawRecord | null {
  while (cursor.remaining > 0) {
    const walk = new Walk(cursor.bytes, cursor.at, cursor.end)
    const length = walk.varint()
    const from = walk.p
    const record = recordAt(cursor.bytes, from, from + length, cursor.baseOffset)
    cursor.at = from + length
    cursor.remaining--
    if (record.offset >= cursor.skipBelow) return record
  }
  return null
}

/** The record whose attributes stand at `from` and which ends at `until`, in a batch that `openBatch` found well framed. */
export function recordAt(bytes: Uint8Array, from: number, until: number, baseOffset: number): RawRecord {
  const walk = new Walk(bytes, from + 1, until)
  walk.skipVarlong()
  const offset = baseOffset + walk.varint()
  assert(walk.p >= 0, 'a cursor stands in a batch that openBatch found well framed')
  return readBody(walk, offset, from)
}

function readBody(walk: Walk, offset: number, from: number): RawRecord {
  const key = walk.take(walk.varint(), true)
  const value = walk.take(walk.varint(), true)
  const headers: (readonly [string, Uint8Array | null])[] = []
  const count = walk.varint()
  // Each header takes two bytes at least, so a lying count ends with the bytes.
  for (let i = 0; i < count && walk.p >= 0; i++) {
    const name = walk.take(walk.varint(), false)
    const content = walk.take(walk.varint(), true)
    if (name !== null) headers.push([text.decode(name), content])
  }
  if (walk.p !== walk.end || count < 0) {
    return { offset, key: null, value: walk.bytes.slice(from, walk.end), headers: [], damaged: true }
  }
  return { offset, key, value, headers, damaged: false }
}
