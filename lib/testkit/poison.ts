/**
 * The poison corpus: records and batches that try to stop a partition, to vanish, or to become a plausible number, each with what must
 * become of it. Works on any flat schema; cases that need a kind of field exist when the schema has one (POISON_SCHEMA has all).
 * Rule: poison never stops a partition and never disappears.
 */
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { LIMITS } from '#core/limits.ts'
import type { DeadReason } from '#core/outcome.ts'
import { type FlatField, parseFlatSchema } from '#format/avro-schema.ts'
import { frame } from '#format/confluent.ts'
import { crc32c } from '#format/crc32c.ts'
import { BATCH_HEADER_BYTES, encodeBatch, type RecordInput } from '#format/record-batch.ts'
import { BARRIER_HEADER } from '#schemas/topics.ts'

/** A record and its fate: the reason of its dead letter, `row` when it is odd but good, `barrier` when it stops the projector. */
export interface PoisonRecord {
  readonly name: string
  readonly record: RecordInput
  readonly fate: DeadReason | 'row' | 'barrier'
}

/** A batch that is dead as a whole. Base offset 0; every batch of the corpus claims at least one offset. */
export interface PoisonBatch {
  readonly name: string
  readonly batch: Uint8Array
  readonly fate: Extract<DeadReason, 'damaged-batch' | 'unknown-codec' | 'too-large'>
}

/** The schema that the poison pretends to follow, and an id that no registry has. */
export interface PoisonOptions {
  readonly schema: string
  readonly schemaId: number
  readonly unknownId: number
  readonly eventTime: { readonly field: string; readonly unit: 'ms' | 's' | 'us' | 'iso' }
}

/** A flat schema with a field of every kind; event time `at`, ms, nullable. */
export const POISON_SCHEMA = JSON.stringify({
  type: 'record',
  name: 'Poison',
  fields: [
    { name: 'name', type: 'string' },
    { name: 'at', type: ['null', { type: 'long', logicalType: 'timestamp-millis' }] },
    { name: 'count', type: 'int' },
    { name: 'total', type: 'long' },
    { name: 'ratio', type: 'double' },
    { name: 'share', type: 'float' },
    { name: 'valid', type: 'boolean' },
    { name: 'colour', type: { type: 'enum', name: 'Colour', symbols: ['RED', 'GREEN'] } },
    { name: 'price', type: { type: 'bytes', logicalType: 'decimal', precision: 9, scale: 2 } },
    {
      name: 'weight',
      type: { type: 'fixed', name: 'Weight', size: 16, logicalType: 'decimal', precision: 18, scale: 3 },
    },
    { name: 'raw', type: 'bytes' },
    { name: 'digest', type: { type: 'fixed', name: 'Digest', size: 4 } },
    { name: 'note', type: ['null', 'string'] },
  ],
})

const utf8 = new TextEncoder()

/** A zigzag varint of any integer. */
export function varint(value: number | bigint): number[] {
  let zigzag = BigInt.asUintN(64, BigInt(value) << 1n) ^ BigInt.asUintN(64, BigInt(value) >> 63n)
  const out: number[] = []
  for (; zigzag > 127n; zigzag >>= 7n) out.push(Number(zigzag & 127n) | 128)
  return [...out, Number(zigzag)]
}

const concat = (parts: readonly (readonly number[])[]): Uint8Array => Uint8Array.from(parts.flat())
const text = (content: string): number[] => [...varint(utf8.encode(content).length), ...utf8.encode(content)]
const union = (field: FlatField, value: readonly number[]): number[] =>
  field.nullable ? [2 * field.valueIndex, ...value] : [...value]

/** Event time of every good record: 2026-01-01T00:00:00Z. */
const GOOD_MS = 1_767_225_600_000
const PER_UNIT = { ms: (ms: number) => ms, s: (ms: number) => ms / 1000, us: (ms: number) => ms * 1000 } as const

function goodValue(field: FlatField, { eventTime }: PoisonOptions): number[] {
  if (field.name === eventTime.field) {
    return eventTime.unit === 'iso' ? text('2026-01-01T00:00:00Z') : varint(PER_UNIT[eventTime.unit](GOOD_MS))
  }
  switch (field.avro) {
    case 'string':
      return text('Zoë')
    case 'bytes':
      return [2, 7]
    case 'fixed':
      return Array.from({ length: field.size }, () => 0)
    case 'float':
      return [0, 0, 0, 63]
    case 'double':
      return [0, 0, 0, 0, 0, 0, 224, 63]
    case 'boolean':
      return [1]
    case 'enum':
      return [0]
    case 'int':
    case 'long':
      return varint(3)
  }
}

/** Bad spellings of one field's value. Those that end the body early are marked by `last`: nothing follows them. */
function badValues(field: FlatField): [string, number[], DeadReason | 'row', 'last'?][] {
  switch (field.avro) {
    case 'string':
      return [
        ['claims 1 GB', varint(2 ** 30), 'truncated', 'last'],
        ['has a negative length', varint(-1), 'bad-length'],
        ['has a length of six bytes', varint(2 ** 40), 'bad-length'],
        ['is invalid UTF-8', [4, 0xc3, 0x28], 'bad-utf8'],
        ['is an overlong slash', [4, 0xc0, 0xaf], 'bad-utf8'],
        ['is a lone surrogate', [6, 0xed, 0xa0, 0x80], 'bad-utf8'],
        [
          'is long and ends in a cut character',
          [...varint(200), ...Array.from({ length: 199 }, () => 97), 0xc3],
          'bad-utf8',
        ],
        ['is empty', [0], 'row'],
        ['is right to left with a zero byte', text('שלום\u0000'), 'row'],
      ]
    case 'bytes':
      if (field.kind === 'decimal') {
        const bound = 10n ** BigInt(field.precision)
        const width = Math.ceil((bound.toString(2).length + 1) / 8)
        const bytes = Array.from({ length: width }, (_, i) => Number((bound >> BigInt(8 * (width - 1 - i))) & 255n))
        return [
          ['is one beyond its precision', [...varint(width), ...bytes], 'decimal-range'],
          ['is a decimal of 40 bytes', [...varint(40), 1, ...Array.from({ length: 39 }, () => 0)], 'decimal-range'],
          [
            'is 2^64 - 1, which is -1 in its last eight bytes',
            [...varint(9), 0, 255, 255, 255, 255, 255, 255, 255, 255],
            'decimal-range',
          ],
          ['is a decimal of no bytes', [0], 'bad-length'],
          ['is a decimal padded to 40 bytes', [...varint(40), ...Array.from({ length: 40 }, () => 255)], 'row'],
        ]
      }
      return [
        ['claims 1 GB', varint(2 ** 30), 'truncated', 'last'],
        ['has a negative length', varint(-7), 'bad-length'],
      ]
    case 'fixed':
      if (field.kind === 'decimal' && field.size > 8) {
        return [
          [
            'is a decimal beyond int64',
            Array.from({ length: field.size }, (_, i) => (i === field.size - 9 ? 1 : 0)),
            'decimal-range',
          ],
        ]
      }
      return [['is cut off', [], 'truncated', 'last']]
    case 'float':
      return [['is NaN', [0, 0, 192, 127], 'not-finite']]
    case 'double':
      return [
        ['is NaN', [0, 0, 0, 0, 0, 0, 248, 127], 'not-finite'],
        ['is -Infinity', [0, 0, 0, 0, 0, 0, 240, 255], 'not-finite'],
        ['is cut off', [0, 0, 0], 'truncated', 'last'],
      ]
    case 'boolean':
      return [['is the byte 7', [7], 'row']]
    case 'enum':
      return [
        ['names a symbol too many', varint(field.symbols.length), 'bad-enum'],
        ['is symbol -1', varint(-1), 'bad-enum'],
      ]
    case 'int':
      return [
        ['is beyond 32 bits', varint(2 ** 31), 'bad-length'],
        ['is a varint of six bytes', [128, 128, 128, 128, 128, 0], 'bad-length'],
      ]
    case 'long':
      return [
        ['is a varint of eleven bytes', [128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 0], 'bad-length'],
        ['is beyond 64 bits', [255, 255, 255, 255, 255, 255, 255, 255, 255, 2], 'bad-length'],
        ['is the smallest int64', varint(-(2n ** 63n)), 'row'],
        ['is 2^53 + 1', varint(2n ** 53n + 1n), 'row'],
      ]
  }
}

function badTimes(unit: PoisonOptions['eventTime']['unit']): [string, number[], DeadReason | 'row'][] {
  if (unit === 'iso') {
    return [
      ['has no offset', text('2026-01-01T00:00:00'), 'event-time-format'],
      ['is 30 February', text('2026-02-30T00:00:00Z'), 'event-time-format'],
      ['is a word', text('yesterday, at about noon'), 'event-time-format'],
      ['is in the year 0000', text('0000-12-31T23:59:59Z'), 'event-time-range'],
    ]
  }
  const scale = { ms: 1n, s: 1000n, us: 1n }[unit]
  const top = unit === 'us' ? 253_402_300_800_000_000n : 253_402_300_800_000n / scale
  return [
    ['is in the year 10000', varint(top), 'event-time-range'],
    ['is one unit before the year 10000', varint(top - 1n), 'row'],
    ['is in the year 292278994', varint(2n ** 63n - 1n), 'event-time-range'],
    ['is far before the year 1', varint(-(2n ** 62n)), 'event-time-range'],
  ]
}

/** A good record's value, framed: what every case starts from. */
export function goodRecord(options: PoisonOptions): Uint8Array {
  const { fields } = parseFlatSchema(options.schema)
  return frame(options.schemaId, concat(fields.map((field) => union(field, goodValue(field, options)))))
}

/** Every record of the corpus that the schema allows for, in a fixed order. */
export function poisonRecords(options: PoisonOptions): PoisonRecord[] {
  const { fields } = parseFlatSchema(options.schema)
  const { schemaId, eventTime } = options
  const good = goodRecord(options)
  const key = utf8.encode('key')
  const cases: PoisonRecord[] = []
  const add = (
    name: string,
    value: Uint8Array | null,
    fate: PoisonRecord['fate'],
    more: Partial<RecordInput> = {},
  ): void => {
    cases.push({ name, record: { key, value, ...more }, fate })
  }
  /** The good body with field i spelled as `bytes`. */
  const bodyWith = (i: number, bytes: readonly number[], last: boolean): Uint8Array => {
    const parts = fields.map((field, j) => (j === i ? [...bytes] : union(field, goodValue(field, options))))
    return frame(schemaId, concat(last ? parts.slice(0, i + 1) : parts))
  }

  add('a good record', good, 'row')
  add('a tombstone', null, 'no-frame')
  add('an empty value', new Uint8Array(0), 'truncated')
  add('the magic byte alone', Uint8Array.of(0), 'truncated')
  add('a frame cut inside the id', good.subarray(0, 4), 'truncated')
  add('a frame without a body', good.subarray(0, 5), 'truncated')
  add(
    'a wrong magic byte',
    Uint8Array.from(good, (byte, i) => (i === 0 ? 1 : byte)),
    'wrong-magic',
  )
  add('JSON instead of Avro', utf8.encode('{"name": "Zoë"}'), 'wrong-magic')
  add('an unknown schema id', frame(options.unknownId, good.subarray(5)), 'unknown-schema')
  add('schema id 0', frame(0, good.subarray(5)), schemaId === 0 ? 'row' : 'unknown-schema')
  add('schema id 2^31', frame(2 ** 31, good.subarray(5)), 'unknown-schema')
  add('one trailing byte', concat([[...good], [0]]), 'trailing-bytes')
  add('a body doubled', concat([[...good], [...good.subarray(5)]]), 'trailing-bytes')
  add('a body cut by one byte', good.subarray(0, -1), 'truncated')
  add('a null key', good, 'row', { key: null })
  add('an empty key', good, 'row', { key: new Uint8Array(0) })
  add('a key of four zero bytes', good, 'row', { key: new Uint8Array(4) })
  add('a key that is no UTF-8', good, 'row', { key: Uint8Array.of(0xff, 0xfe) })
  add('10,000 headers', good, 'row', {
    headers: Array.from({ length: 10_000 }, (_, i) => [`h${i % 9}`, Uint8Array.of(1)] as const),
  })
  add('a header of 512 KiB', good, 'row', { headers: [['big', new Uint8Array(512 * 1024)]] })
  add('a header named almost like a barrier', good, 'row', { headers: [[`${BARRIER_HEADER}s`, new Uint8Array(0)]] })
  add('a forged barrier header over an event', good, 'barrier', { headers: [[BARRIER_HEADER, new Uint8Array(0)]] })
  add('a barrier header behind others over nothing', null, 'barrier', {
    headers: [
      ['trace', Uint8Array.of(1)],
      [BARRIER_HEADER, new Uint8Array(0)],
    ],
  })

  for (const [i, field] of fields.entries()) {
    if (field.nullable) {
      add(`${field.name}: union index 2`, bodyWith(i, [4, ...goodValue(field, options)], false), 'bad-union')
      add(`${field.name}: union index -1`, bodyWith(i, [1, ...goodValue(field, options)], false), 'bad-union')
      const nullFate = field.name === eventTime.field ? 'event-time-missing' : 'row'
      add(`${field.name}: null`, bodyWith(i, [2 * field.nullIndex], false), nullFate)
    }
    const isTime = field.name === eventTime.field
    for (const [name, bytes, fate, last] of badValues(field)) {
      // What is merely odd in another field says something else in the event time; badTimes covers it.
      if (isTime && fate === 'row') continue
      add(`${field.name} ${name}`, bodyWith(i, union(field, bytes), last === 'last'), fate)
    }
    if (isTime) {
      for (const [name, bytes, fate] of badTimes(eventTime.unit))
        add(`${field.name} ${name}`, bodyWith(i, union(field, bytes), false), fate)
    }
  }
  return cases
}

/** The batch after `change`, with true length and CRC: a lie that only a look inside finds. */
export function resealed(batch: Uint8Array, change?: (view: DataView) => void): Uint8Array {
  const out = Uint8Array.from(batch)
  const view = new DataView(out.buffer)
  view.setInt32(8, out.length - 12)
  change?.(view)
  view.setUint32(17, crc32c(out.subarray(21)))
  return out
}

/** The batch with its records replaced by a compressed block. */
export function recompressed(batch: Uint8Array, codec: number, block: Uint8Array): Uint8Array {
  const out = new Uint8Array(BATCH_HEADER_BYTES + block.length)
  out.set(batch.subarray(0, BATCH_HEADER_BYTES))
  out.set(block, BATCH_HEADER_BYTES)
  return resealed(out, (view) => view.setInt16(21, codec))
}

/** Batches that are dead as a whole; good bytes inside come from `options`. */
export function poisonBatches(options: PoisonOptions): PoisonBatch[] {
  const value = goodRecord(options)
  const good = encodeBatch(
    Array.from({ length: 20 }, (_, i) => ({ key: utf8.encode(`key ${i}`), value })),
    GOOD_MS,
  )
  const block = good.subarray(BATCH_HEADER_BYTES)
  const bomb = Buffer.alloc(LIMITS.inflatedBatchBytes + 1)
  const cut = (packed: Uint8Array): Uint8Array => packed.subarray(0, packed.length - 9)
  const flipped = good.slice()
  flipped[good.length - 3]! ^= 16
  const damaged: [string, Uint8Array][] = [
    ['a flipped bit', flipped],
    ['a batch cut short', good.subarray(0, good.length - 1)],
    ['a batch with bytes behind it', concat([[...good], [0]])],
    ['a header cut short', good.subarray(0, 40)],
    ['a message set of magic 1', resealed(good, (view) => view.setInt8(16, 1))],
    ['a length beyond the buffer', resealed(good, (view) => view.setInt32(8, 2 ** 30))],
    ['a negative length', resealed(good, (view) => view.setInt32(8, -1))],
    ['a record count that is one too high', resealed(good, (view) => view.setInt32(57, 21))],
    ['a record count that is one too low', resealed(good, (view) => view.setInt32(57, 19))],
    ['a record count of 2^31 - 1', resealed(good, (view) => view.setInt32(57, 2 ** 31 - 1))],
    ['a negative record count', resealed(good, (view) => view.setInt32(57, -20))],
    ['offsets beyond the last one', resealed(good, (view) => view.setInt32(23, 18))],
    ['a record length that leaves the batch', resealed(good, (view) => view.setUint8(BATCH_HEADER_BYTES, 0x7e))],
    ['a gzip block cut short', recompressed(good, 1, cut(gzipSync(block)))],
    ['a gzip block that is none', recompressed(good, 1, block)],
    ['a snappy block that is none', recompressed(good, 2, block)],
    ['an lz4 block that is none', recompressed(good, 3, block)],
    ['a zstd block cut short', recompressed(good, 4, cut(zstdCompressSync(block)))],
  ]
  return [
    ...damaged.map(([name, batch]) => ({ name, batch, fate: 'damaged-batch' as const })),
    ...[5, 6, 7].map((codec) => ({
      name: `codec ${codec}`,
      batch: recompressed(good, codec, block),
      fate: 'unknown-codec' as const,
    })),
    { name: 'a gzip bomb', batch: recompressed(good, 1, gzipSync(bomb)), fate: 'too-large' },
    { name: 'a zstd bomb', batch: recompressed(good, 4, zstdCompressSync(bomb)), fate: 'too-large' },
  ]
}
