/**
 * Record batches: what is written is read back, stamping keeps the content, and no byte sequence breaks the reader or loses an offset.
 * Method: round trips over generated records, every codec against its own compressor, bit flips, truncation, lying counts.
 */
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { lz4Compress, snappyCompress } from '@platformatic/wasm-utils'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { LIMITS } from '#core/limits.ts'
import { recompressed, resealed } from '#testkit/poison.ts'
import { SEED as seed } from '#testkit/runs.ts'
import { crc32c, crc32cIsNative, crc32cTable } from './crc32c.ts'
import {
  BATCH_HEADER_BYTES,
  BatchBuilder,
  encodeBatch,
  openBatch,
  type RawRecord,
  type RecordInput,
  readHeader,
  readRecord,
  stampBatch,
} from './record-batch.ts'

const bytes = (content: string): Uint8Array => new TextEncoder().encode(content)

function readAll(batch: Uint8Array, skipBelow = 0): RawRecord[] | string {
  const opened = openBatch(batch, skipBelow)
  if ('dead' in opened) return opened.dead
  const records: RawRecord[] = []
  for (let record = readRecord(opened.cursor); record !== null; record = readRecord(opened.cursor)) records.push(record)
  return records
}

const record = fc.record<RecordInput>({
  key: fc.option(fc.uint8Array({ maxLength: 40 })),
  value: fc.option(fc.uint8Array({ maxLength: 300 })),
  headers: fc.array(
    fc.tuple(
      fc.string({ unit: 'grapheme', maxLength: 8 }),
      fc.option<Uint8Array | null>(fc.uint8Array({ maxLength: 200 })),
    ),
    {
      maxLength: 3,
    },
  ),
})

describe(`record batches (SEED=${seed})`, () => {
  test('CRC32C: check value, and the fallback equals the native one', () => {
    expect(crc32cIsNative).toBe(true)
    expect(crc32c(bytes('123456789'))).toBe(0xe3069283)
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 999 }), (input) => crc32cTable(input) === crc32c(input)),
      { seed },
    )
  })

  test('what is encoded is read back, after stamping too', () => {
    fc.assert(
      fc.property(fc.array(record, { minLength: 1, maxLength: 200 }), fc.nat({ max: 2 ** 40 }), (records, base) => {
        const batch = encodeBatch(records, 1_700_000_000_000)
        stampBatch(batch, base, 1_800_000_000_000)
        expect(readHeader(batch)).toMatchObject({
          baseOffset: base,
          lastOffset: base + records.length - 1,
          count: records.length,
          byteLength: batch.length,
          codec: 0,
          timestampType: 'append',
          control: false,
          transactional: false,
          baseTimestamp: 1_700_000_000_000,
          maxTimestamp: 1_800_000_000_000,
          producerId: -1,
        })
        const read = readAll(batch) as RawRecord[]
        expect(read.length).toBe(records.length)
        for (const [i, { key, value, headers }] of records.entries()) {
          expect(read[i]).toEqual({ offset: base + i, key, value, headers: headers ?? [], damaged: false })
        }
      }),
      { seed, numRuns: 60 },
    )
  })

  test('ranges give the same bytes as copies; a builder is reusable', () => {
    const builder = new BatchBuilder(5)
    const source = bytes('..key.value..')
    builder.add(bytes('other'), null)
    builder.reset(7)
    builder.addRanges(source, 2, 5, source, 6, 11)
    builder.addRanges(null, 0, 0, source, 6, 6)
    expect([builder.count, builder.byteLength]).toEqual([2, builder.finish().length])
    expect(builder.finish()).toEqual(
      encodeBatch(
        [
          { key: bytes('key'), value: bytes('value') },
          { key: null, value: bytes('') },
        ],
        7,
      ),
    )
  })

  const payload = encodeBatch(
    Array.from({ length: 500 }, (_, i) => ({
      key: bytes(`k${i % 7}`),
      value: bytes(`value ${i % 50} ${'ab'.repeat(i % 90)}`),
    })),
    1,
  )
  const block = Buffer.from(payload.subarray(BATCH_HEADER_BYTES))
  const xerial = (parts: Uint8Array[]): Uint8Array =>
    Buffer.concat([
      Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1]),
      ...parts.flatMap((part) => {
        const length = Buffer.alloc(4)
        const packed = snappyCompress(Buffer.from(part))
        length.writeInt32BE(packed.length)
        return [length, packed]
      }),
    ])
  const codecs: [string, number, Uint8Array][] = [
    ['gzip', 1, gzipSync(block)],
    ['snappy', 2, snappyCompress(block)],
    ['snappy in xerial framing', 2, xerial([block.subarray(0, 1000), block.subarray(1000)])],
    ['lz4', 3, lz4Compress(block)],
    ['zstd', 4, zstdCompressSync(block)],
  ]

  test.each(codecs)('%s is inflated', (_, codec, packed) => {
    expect(readAll(recompressed(payload, codec, packed))).toEqual(readAll(payload))
  })

  test.each(codecs)('a damaged %s block is a dead batch or well framed, and never throws', (_, codec, packed) => {
    fc.assert(
      fc.property(
        fc.nat({ max: packed.length - 1 }),
        fc.integer({ min: 1, max: 255 }),
        fc.boolean(),
        (at, mask, cut) => {
          const damaged = cut
            ? packed.slice(0, at)
            : Uint8Array.from(packed, (byte, i) => (i === at ? byte ^ mask : byte))
          const read = readAll(recompressed(payload, codec, damaged))
          if (typeof read === 'string') expect(['damaged-batch', 'too-large']).toContain(read)
          else expect(read.length).toBe(500)
        },
      ),
      { seed, numRuns: 200 },
    )
  })

  test('random blocks of every size come through snappy and lz4', () => {
    const sizes = fc.oneof(
      fc.uint8Array({ maxLength: 5000, size: 'max' }),
      fc.array(fc.constantFrom(1, 2, 3), { maxLength: 5000, size: 'max' }),
    )
    fc.assert(
      fc.property(sizes, fc.integer({ min: 1, max: 60 }), (unit, times) => {
        const value = Uint8Array.from({ length: unit.length * times }, (_, i) => unit[i % unit.length]!)
        const batch = encodeBatch([{ key: null, value }], 1)
        const plain = Buffer.from(batch.subarray(BATCH_HEADER_BYTES))
        for (const [codec, packed] of [
          [2, snappyCompress(plain)],
          [3, lz4Compress(plain)],
        ] as const) {
          expect((readAll(recompressed(batch, codec, packed)) as RawRecord[])[0]!.value).toEqual(value)
        }
      }),
      { seed, numRuns: 40 },
    )
  })

  test('bombs are refused at the cap by every codec', () => {
    const bomb = Buffer.alloc(LIMITS.inflatedBatchBytes + 1)
    for (const [codec, packed] of [
      [1, gzipSync(bomb)],
      [2, snappyCompress(bomb)],
      [2, xerial([bomb.subarray(0, bomb.length / 2), bomb.subarray(bomb.length / 2)])],
      [3, lz4Compress(bomb)],
      [4, zstdCompressSync(bomb)],
    ] as const) {
      expect(readAll(recompressed(payload, codec, packed))).toBe('too-large')
    }
    expect(readAll(recompressed(payload, 5, block))).toBe('unknown-codec')
  })

  test('every flipped bit behind the base offset is found, also in the length', () => {
    const batch = encodeBatch([{ key: bytes('a'), value: bytes('payload') }], 1)
    for (let at = 8; at < batch.length; at++) {
      if (at >= 12 && at < 16) continue // The leader epoch is outside the checksum by design.
      for (let bit = 0; bit < 8; bit++) {
        const flipped = batch.slice()
        flipped[at]! ^= 1 << bit
        expect(readAll(flipped)).toBe('damaged-batch')
      }
    }
  })

  test('truncated, empty and random bytes are dead batches', () => {
    for (let length = 0; length < 200; length++) expect(readAll(payload.subarray(0, length))).toBe('damaged-batch')
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (input) => readAll(input) === 'damaged-batch'),
      { seed },
    )
  })

  test.each([
    ['count says more', (view: DataView) => view.setInt32(57, 501)],
    ['count says fewer', (view: DataView) => view.setInt32(57, 499)],
    ['count is negative', (view: DataView) => view.setInt32(57, -1)],
    ['count is absurd', (view: DataView) => view.setInt32(57, 2 ** 31 - 1)],
    ['last offset delta is too small', (view: DataView) => view.setInt32(23, 498)],
    ['last offset delta is negative', (view: DataView) => view.setInt32(23, -1)],
  ])('a true CRC over a lie: %s', (_, lie) => {
    expect(readAll(resealed(payload, lie))).toBe('damaged-batch')
  })

  test('damaged framing under a true CRC never throws and keeps every offset', () => {
    fc.assert(
      fc.property(fc.integer({ min: BATCH_HEADER_BYTES, max: 400 }), fc.nat({ max: 255 }), (at, byte) => {
        const read = readAll(resealed(payload, (view) => view.setUint8(at, byte)))
        if (typeof read !== 'string') expect(new Set(read.map(({ offset }) => offset)).size).toBe(500)
      }),
      { seed, numRuns: 500 },
    )
  })

  test('a compacted batch keeps its last offset; a fetch may begin inside it', () => {
    const compacted = resealed(payload, (view) => view.setInt32(23, 700))
    stampBatch(compacted, 1000, 9)
    expect(readHeader(compacted)).toMatchObject({ count: 500, lastOffset: 1700 })
    expect((readAll(compacted, 1490) as RawRecord[]).map(({ offset }) => offset)).toEqual([
      1490, 1491, 1492, 1493, 1494, 1495, 1496, 1497, 1498, 1499,
    ])
  })

  test('offsets beyond 2^53 are refused', () => {
    const batch = encodeBatch([{ key: null, value: null }], 1)
    new DataView(batch.buffer).setBigInt64(0, 2n ** 53n)
    expect(() => readHeader(batch)).toThrow('safe integers')
    expect(readAll(batch)).toBe('damaged-batch')
  })
})
