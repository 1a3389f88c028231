/**
 * The projector against avsc, its oracle, and against the slow reader: random schemas, values, resolutions and damage.
 * Method: records are encoded by avsc, put into batches, projected, and every cell is compared with avsc's decode; damaged bytes must
 * be a row or a dead record exactly as the slow reader says, and every offset is accounted for once.
 */
import avsc from 'avsc'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CHUNK_ROWS, type Column, type ColumnChunk } from '#core/columns.ts'
import type { DeadRecord } from '#core/outcome.ts'
import { EVENT_TIME_MAX_MS, EVENT_TIME_MIN_MS } from '#core/time.ts'
import { POISON_SCHEMA, type PoisonOptions, poisonBatches, poisonRecords, resealed } from '#testkit/poison.ts'
import { runs } from '#testkit/runs.ts'
import { faultOf, readDecimal } from './avro-faults.ts'
import { allocateChunk, compileProjector, findFrame, resetChunk, SchemaMismatch } from './avro-projector.ts'
import { parseFlatSchema } from './avro-schema.ts'
import { frame } from './confluent.ts'
import type { Projector, ProjectorOptions, Stop } from './projector.ts'
import { encodeBatch, openBatch, type RecordInput, readRecord, stampBatch } from './record-batch.ts'

const ID = 7
const utf8 = new TextEncoder()

/** Longs as bigint, for schemas whose values leave 2^53. */
const BigLong = avsc.types.LongType.__with({
  fromBuffer: (buffer: Buffer) => buffer.readBigInt64LE(),
  toBuffer(value: bigint) {
    const buffer = Buffer.alloc(8)
    buffer.writeBigInt64LE(BigInt(value))
    return buffer
  },
  fromJSON: BigInt,
  toJSON: String,
  isValid: (value: unknown) => typeof value === 'bigint' || Number.isSafeInteger(value),
  compare: (a: bigint, b: bigint) => (a === b ? 0 : a < b ? -1 : 1),
})
const avscType = (schema: unknown): avsc.Type => {
  // The registry is asked for plain names only, so a long with a logical type is written as one.
  const plain = JSON.parse(JSON.stringify(schema), (_, json: unknown) =>
    (json as { type?: unknown } | null)?.type === 'long' && !('name' in (json as object)) ? 'long' : json,
  ) as avsc.Schema
  return avsc.Type.forSchema(plain, { registry: { long: BigLong }, wrapUnions: false })
}

type Cell = string | number | bigint | boolean | null

function cellOf(column: Column, row: number): Cell {
  if (column.valid !== null && column.valid[row] === 0) return null
  const { kind } = column.spec
  if (kind === 'string') return Buffer.from(column.bytes.subarray(column.from[row]!, column.until[row]!)).toString()
  if (kind === 'bytes') return Buffer.from(column.bytes.subarray(column.from[row]!, column.until[row]!)).toString('hex')
  if (kind === 'bool') return column.f64[row] === 1
  if (kind === 'float64') return column.f64[row]!
  if (column.wide !== null) {
    expect(Number(column.wide[row])).toBe(column.f64[row])
    return column.wide[row]!
  }
  expect(Number.isSafeInteger(column.f64[row])).toBe(true)
  return BigInt(column.f64[row]!)
}

/** What avsc read, in the words of `cellOf`. */
function expected(spec: Column['spec'], value: unknown): Cell {
  if (value === null) return null
  if (spec.kind === 'decimal') return readDecimal(value as Uint8Array, 0, (value as Uint8Array).length)
  if (spec.kind === 'bytes') return Buffer.from(value as Uint8Array).toString('hex')
  if (spec.kind === 'string') return value instanceof Uint8Array ? Buffer.from(value).toString() : (value as string)
  if (spec.kind === 'int64') return BigInt(value as number)
  return spec.kind === 'float64' ? Number(value) : (value as boolean)
}

interface Seen {
  readonly rows: { offset: number; time: number; cells: Cell[]; key: Cell; headers: Cell }[]
  readonly dead: DeadRecord[]
  readonly stops: Stop[]
}

/** Reads a batch to its end; records at which the projector stops for a schema or a barrier are taken off one by one. */
function project(projector: Projector, batch: Uint8Array, skipBelow = 0, envelope = false): Seen {
  const opened = openBatch(batch, skipBelow)
  if ('dead' in opened) throw new Error(opened.dead)
  const { cursor } = opened
  const chunk = allocateChunk(projector.columns, envelope)
  const seen: Seen = { rows: [], dead: [], stops: [] }
  for (;;) {
    const stop = projector.project(cursor, chunk, seen.dead)
    seen.stops.push(stop)
    if (stop === 'full' || stop === 'end') drain(chunk, seen)
    if (stop === 'end') return seen
    if (stop === 'barrier') readRecord(cursor)
    if (stop === 'schema') {
      const { offset, key, value } = readRecord(cursor)!
      seen.dead.push({ offset, reason: 'unknown-schema', schemaId: cursor.schemaId, key, value })
    }
  }
}

function drain(chunk: ColumnChunk, { rows }: Seen): void {
  for (let row = 0; row < chunk.count; row++) {
    rows.push({
      offset: chunk.offsets[row]!,
      time: chunk.eventTimes[row]!,
      cells: chunk.columns.map((column) => cellOf(column, row)),
      key: chunk.keys && cellOf(chunk.keys, row),
      headers: chunk.headers && cellOf(chunk.headers, row),
    })
  }
  for (const column of chunk.columns) {
    if (column.valid !== null) expect(column.valid.subarray(0, chunk.count).includes(0)).toBe(true)
  }
  resetChunk(chunk)
}

const batchOf = (values: readonly Uint8Array[], base = 0): Uint8Array => {
  const batch = encodeBatch(
    values.map((value) => ({ key: null, value })),
    1,
  )
  stampBatch(batch, base, 2)
  return batch
}

const int64 = fc.oneof(
  fc.integer({ min: -200, max: 200 }).map(BigInt),
  fc.bigInt({ min: -(2n ** 53n) - 2n, max: 2n ** 53n + 2n }),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.constantFrom(2n ** 53n - 1n, 2n ** 53n, -(2n ** 53n) + 1n, -(2n ** 53n), 2n ** 63n - 1n, -(2n ** 63n)),
)
const anyString = fc.oneof(fc.string({ unit: 'binary', maxLength: 20 }), fc.string({ maxLength: 200, size: 'max' }))

/** Two's complement, with `padding` more sign bytes than needed. */
function decimalBytes(value: bigint, padding: number): Buffer {
  const bytes: number[] = []
  let rest = value
  do {
    bytes.unshift(Number(rest & 255n))
    rest >>= 8n
  } while (!(rest === 0n && bytes[0]! < 128) && !(rest === -1n && bytes[0]! >= 128))
  return Buffer.from([...Array.from({ length: padding }, () => (value < 0n ? 255 : 0)), ...bytes])
}

const decimalOf = (precision: number): fc.Arbitrary<bigint> =>
  fc.oneof(
    fc.bigInt({ min: -(10n ** BigInt(precision)) + 1n, max: 10n ** BigInt(precision) - 1n }),
    fc.constantFrom(10n ** BigInt(precision) - 1n, 1n - 10n ** BigInt(precision), 0n, -1n),
  )

interface Typed {
  readonly type: unknown
  readonly values: fc.Arbitrary<unknown>
}

/** A type with values for it. `name` makes names of enums and fixed unique. */
function typed(name: string): fc.Arbitrary<Typed> {
  return fc.oneof(
    fc.constant<Typed>({ type: 'boolean', values: fc.boolean() }),
    fc.constant<Typed>({ type: 'int', values: fc.integer() }),
    fc.constant<Typed>({ type: 'long', values: int64 }),
    fc.constant<Typed>({ type: 'float', values: fc.float({ noNaN: true, noDefaultInfinity: true }) }),
    fc.constant<Typed>({ type: 'double', values: fc.double({ noNaN: true, noDefaultInfinity: true }) }),
    fc.constant<Typed>({ type: 'string', values: anyString }),
    fc.constant<Typed>({ type: 'bytes', values: fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes)) }),
    fc.integer({ min: 1, max: 300 }).map<Typed>((size) => ({
      type: { type: 'enum', name: `${name}_enum`, symbols: Array.from({ length: size }, (_, i) => `S${i}`) },
      values: fc.nat({ max: size - 1 }).map((i) => `S${i}`),
    })),
    fc.integer({ min: 1, max: 40 }).map<Typed>((size) => ({
      type: { type: 'fixed', name: `${name}_fixed`, size },
      values: fc.uint8Array({ minLength: size, maxLength: size }).map((bytes) => Buffer.from(bytes)),
    })),
    fc.integer({ min: 1, max: 18 }).map<Typed>((precision) => ({
      type: { type: 'bytes', logicalType: 'decimal', precision, scale: 0 },
      values: fc
        .tuple(decimalOf(precision), fc.nat({ max: 9 }))
        .map(([value, padding]) => decimalBytes(value, padding)),
    })),
    fc.integer({ min: 1, max: 18 }).map<Typed>((precision) => ({
      type: { type: 'fixed', name: `${name}_money`, size: 16, logicalType: 'decimal', precision, scale: 0 },
      values: decimalOf(precision).map((value) => {
        const short = decimalBytes(value, 0)
        return decimalBytes(value, 16 - short.length)
      }),
    })),
  )
}

interface Field {
  readonly json: { name: string; type: unknown }
  readonly values: fc.Arbitrary<unknown>
}

function field(name: string): fc.Arbitrary<Field> {
  return fc
    .tuple(typed(name), fc.constantFrom('plain', 'null first', 'null last'))
    .map(([{ type, values }, shape]) => ({
      json: { name, type: shape === 'plain' ? type : shape === 'null first' ? ['null', type] : [type, 'null'] },
      values: shape === 'plain' ? values : fc.option(values, { freq: 3 }),
    }))
}

const TIME = { name: 'at', type: { type: 'long', logicalType: 'timestamp-millis' } }
const time = fc.oneof(
  fc.integer({ min: EVENT_TIME_MIN_MS, max: EVENT_TIME_MAX_MS }),
  fc.constantFrom(EVENT_TIME_MIN_MS, EVENT_TIME_MAX_MS, 0, -1, 1_767_225_600_000),
)

const dataset = fc
  .nat({ max: 9 })
  .chain((count) => fc.tuple(...Array.from({ length: count }, (_, i) => field(`f${i}`)), fc.nat({ max: count })))
  .chain((drawn) => {
    const timeAt = drawn.at(-1) as number
    const fields = drawn.slice(0, -1) as Field[]
    const all = fields.toSpliced(timeAt, 0, { json: TIME, values: time.map(BigInt) })
    const row = fc.record(Object.fromEntries(all.map(({ json, values }) => [json.name, values])))
    return fc.record({
      schema: fc.constant({ type: 'record', name: 'R', fields: all.map(({ json }) => json) }),
      rows: fc.array(row, { minLength: 1, maxLength: 25 }),
    })
  })

const optionsFor = (
  schema: unknown,
  fields: readonly string[],
  more: Partial<ProjectorOptions> = {},
): ProjectorOptions => ({
  writer: JSON.stringify(schema),
  writerId: ID,
  reader: JSON.stringify(schema),
  fields,
  eventTime: { field: 'at', unit: 'ms' },
  envelope: false,
  ...more,
})

describe('projector = avsc', () => {
  test('[R5] random schemas and values, wide longs, decimals and nulls among them', () => {
    const property = fc.property(
      dataset,
      fc.boolean(),
      fc.infiniteStream(fc.boolean()),
      fc.nat({ max: 30 }),
      ({ schema, rows }, envelope, take, skip) => {
        const type = avscType(schema)
        const names = schema.fields.map(({ name }) => name).filter(() => take.next().value)
        const projector = compileProjector(optionsFor(schema, names, { envelope }))
        const encoded = rows.map((row) => frame(ID, type.toBuffer(row)))
        const seen = project(projector, batchOf(encoded, 1000), 1000 + skip, envelope)
        expect(seen.dead).toEqual([])
        expect(seen.stops).toEqual(['end'])
        const decoded = encoded.map(
          (value) => type.fromBuffer(Buffer.from(value.subarray(5))) as Record<string, unknown>,
        )
        expect(seen.rows).toEqual(
          decoded.slice(skip).map((row, i) => ({
            offset: 1000 + skip + i,
            time: Number(row['at']),
            cells: projector.columns.map((spec) => expected(spec, row[spec.name])),
            key: null,
            headers: null,
          })),
        )
      },
    )
    fc.assert(property, runs(300, 'projector = avsc'))
  })

  test('[R5] damaged values are rows or dead exactly as the slow reader says, and no offset is lost', () => {
    const damage = fc.record({
      row: fc.nat(),
      at: fc.nat(),
      byte: fc.nat({ max: 255 }),
      how: fc.constantFrom('set', 'cut', 'insert', 'random'),
    })
    const property = fc.property(
      dataset,
      fc.array(damage, { minLength: 1, maxLength: 40 }),
      fc.uint8Array({ maxLength: 60 }),
      fc.infiniteStream(fc.boolean()),
      ({ schema, rows }, damages, noise, take) => {
        const type = avscType(schema)
        const text = JSON.stringify(schema)
        const { fields } = parseFlatSchema(text)
        const bodies = rows.map((row) => [...type.toBuffer(row)])
        for (const { row, at, byte, how } of damages) {
          const body = bodies[row % bodies.length]!
          const place = body.length === 0 ? 0 : at % body.length
          if (how === 'set') body[place] = byte
          else if (how === 'cut') body.length = place
          else if (how === 'insert') body.splice(place, 0, byte)
          else body.splice(0, body.length, ...noise)
        }
        const names = schema.fields.map(({ name }) => name).filter(() => take.next().value)
        const projector = compileProjector(optionsFor(schema, names))
        const { rows: good, dead } = project(projector, batchOf(bodies.map((body) => frame(ID, Uint8Array.from(body)))))
        const alive = new Set(good.map(({ offset }) => offset))
        expect(good.length + dead.length).toBe(bodies.length)
        expect(new Set([...alive, ...dead.map(({ offset }) => offset)]).size).toBe(bodies.length)
        for (const [offset, body] of bodies.entries()) {
          const starts: number[] = []
          const fault = faultOf(
            fields,
            fields.map(({ avro }) => avro === 'string'),
            Uint8Array.from(body),
            0,
            starts,
          )
          const reason = dead.find((record) => record.offset === offset)?.reason
          // A sound body may still be dead, but only for its event time.
          if (fault === null && reason !== undefined) expect(reason).toBe('event-time-range')
          else expect(reason ?? null).toBe(fault)
        }
      },
    )
    fc.assert(property, runs(400, 'damaged values'))
  })

  test('random bytes as values and as records never throw', () => {
    const projector = compileProjector(poisonProjector())
    const property = fc.property(
      fc.array(fc.uint8Array({ maxLength: 80 }), { minLength: 1, maxLength: 30 }),
      fc.boolean(),
      (values, framed) => {
        const { rows, dead } = project(projector, batchOf(values.map((value) => (framed ? frame(ID, value) : value))))
        expect(rows.length + dead.length).toBe(values.length)
      },
    )
    fc.assert(property, runs(300, 'random bytes'))
  })
})

test.each(Array.from({ length: 18 }, (_, i) => i + 1))(
  '[R5] decimals of precision %i end exactly at their bound',
  (precision) => {
    const bound = 10n ** BigInt(precision)
    for (const type of ['bytes', { type: 'fixed', name: 'F', size: 9 }]) {
      const decimal = { ...(typeof type === 'string' ? { type } : type), logicalType: 'decimal', precision, scale: 0 }
      const schema = { type: 'record', name: 'R', fields: [TIME, { name: 'a', type: decimal }] }
      const values = [bound - 1n, 1n - bound, bound, -bound].map((value) => {
        const short = decimalBytes(value, 0)
        return typeof type === 'string' ? short : decimalBytes(value, 9 - short.length)
      })
      const encoded = values.map((a) => frame(ID, avscType(schema).toBuffer({ at: 0n, a })))
      for (const fields of [['a'], []]) {
        const { rows, dead } = project(compileProjector(optionsFor(schema, fields)), batchOf(encoded))
        expect(rows.map(({ cells }) => cells)).toEqual(
          [[bound - 1n], [1n - bound]].map((cells) => cells.slice(0, fields.length)),
        )
        expect(dead.map(({ offset, reason }) => [offset, reason])).toEqual([
          [2, 'decimal-range'],
          [3, 'decimal-range'],
        ])
      }
    }
  },
)

describe('resolution', () => {
  const record = (...fields: unknown[]): string =>
    JSON.stringify({ type: 'record', name: 'R', fields: [TIME, ...fields] })
  /** The cells of one record that `writer` wrote and `reader` reads, and avsc's reading of it. */
  const readAs = (writer: string, reader: string, value: Record<string, unknown>): [Cell[], Cell[]] => {
    const from = avscType(JSON.parse(writer))
    const into = avscType(JSON.parse(reader))
    const fields = (JSON.parse(reader) as { fields: { name: string }[] }).fields.map(({ name }) => name)
    const projector = compileProjector({ ...optionsFor(null, fields), writer, reader })
    const body = from.toBuffer({ at: 5n, ...value })
    const { rows, dead } = project(projector, batchOf([frame(ID, body)]))
    expect(dead).toEqual([])
    const oracle = into.fromBuffer(body, into.createResolver(from)) as Record<string, unknown>
    return [rows[0]!.cells, projector.columns.map((spec) => expected(spec, oracle[spec.name]))]
  }

  test.each<[string, unknown, unknown, Record<string, unknown>, Cell]>([
    ['int → long', { name: 'a', type: 'int' }, { name: 'a', type: 'long' }, { a: -5 }, -5n],
    ['int → float', { name: 'a', type: 'int' }, { name: 'a', type: 'float' }, { a: 3 }, 3],
    ['int → double', { name: 'a', type: 'int' }, { name: 'a', type: 'double' }, { a: 3 }, 3],
    ['long → double', { name: 'a', type: 'long' }, { name: 'a', type: 'double' }, { a: 2n ** 60n }, 2 ** 60],
    ['float → double', { name: 'a', type: 'float' }, { name: 'a', type: 'double' }, { a: 0.5 }, 0.5],
    ['string → bytes', { name: 'a', type: 'string' }, { name: 'a', type: 'bytes' }, { a: 'Zoë' }, '5a6fc3ab'],
    ['bytes → string', { name: 'a', type: 'bytes' }, { name: 'a', type: 'string' }, { a: Buffer.from('Zoë') }, 'Zoë'],
    ['plain → nullable', { name: 'a', type: 'int' }, { name: 'a', type: ['null', 'long'] }, { a: 4 }, 4n],
    ['null order', { name: 'a', type: ['string', 'null'] }, { name: 'a', type: ['null', 'string'] }, { a: null }, null],
    ['alias', { name: 'old', type: 'int' }, { name: 'a', type: 'int', aliases: ['old'] }, { old: 9 }, 9n],
    [
      'decimal → its bytes',
      { name: 'a', type: ['null', { type: 'bytes', logicalType: 'decimal', precision: 9, scale: 2 }] },
      { name: 'a', type: ['null', 'bytes'] },
      { a: Buffer.from([0x01, 0x02]) },
      '0102',
    ],
    [
      'long decimal on fixed → its bytes',
      { name: 'a', type: { type: 'fixed', name: 'F', size: 8, logicalType: 'decimal', precision: 18, scale: 2 } },
      { name: 'a', type: { type: 'fixed', name: 'F', size: 8 } },
      { a: Buffer.from([0, 0, 0, 1, 2, 3, 4, 5]) },
      '0000000102030405',
    ],
    [
      'decimal → wider decimal',
      { name: 'a', type: { type: 'bytes', logicalType: 'decimal', precision: 9, scale: 2 } },
      { name: 'a', type: { type: 'bytes', logicalType: 'decimal', precision: 18, scale: 2 } },
      { a: Buffer.from([0x01, 0x02]) },
      258n,
    ],
    [
      'default null',
      { name: 'z', type: 'int' },
      { name: 'a', type: ['null', 'string'], default: null },
      { z: 1 },
      null,
    ],
    ['default string', { name: 'z', type: 'int' }, { name: 'a', type: 'string', default: 'dé' }, { z: 1 }, 'dé'],
    ['default long', { name: 'z', type: 'int' }, { name: 'a', type: 'int', default: -3 }, { z: 1 }, -3n],
    ['default bool', { name: 'z', type: 'int' }, { name: 'a', type: 'boolean', default: true }, { z: 1 }, true],
    ['default double', { name: 'z', type: 'int' }, { name: 'a', type: 'double', default: 1.5 }, { z: 1 }, 1.5],
    [
      'default bytes',
      { name: 'z', type: 'int' },
      { name: 'a', type: 'bytes', default: '\u0001\u00ff' },
      { z: 1 },
      '01ff',
    ],
    [
      'enum symbols by name, unknown ones by the default',
      { name: 'a', type: { type: 'enum', name: 'E', symbols: ['X', 'Y', 'Z'] } },
      { name: 'a', type: { type: 'enum', name: 'E', symbols: ['Y', 'OTHER'], default: 'OTHER' } },
      { a: 'Z' },
      'OTHER',
    ],
    [
      'enum order',
      { name: 'a', type: { type: 'enum', name: 'E', symbols: ['X', 'Y'] } },
      { name: 'a', type: { type: 'enum', name: 'E', symbols: ['Y', 'X'] } },
      { a: 'X' },
      'X',
    ],
  ])('[R2] %s', (name, from, into, value, cell) => {
    const [cells, oracle] = readAs(record(from), record(into), value)
    expect(cells[1]).toBe(cell)
    // avsc knows no enum defaults in resolution.
    if (!name.includes('default') || !name.startsWith('enum')) expect(cells).toEqual(oracle)
  })

  test.each<[string, unknown, unknown]>([
    ['no default', { name: 'z', type: 'int' }, { name: 'a', type: 'int' }],
    ['long → int', { name: 'a', type: 'long' }, { name: 'a', type: 'int' }],
    ['double → float', { name: 'a', type: 'double' }, { name: 'a', type: 'float' }],
    ['string → int', { name: 'a', type: 'string' }, { name: 'a', type: 'int' }],
    ['nullable → plain', { name: 'a', type: ['null', 'int'] }, { name: 'a', type: 'int' }],
    [
      'unknown enum symbol',
      { name: 'a', type: { type: 'enum', name: 'E', symbols: ['X'] } },
      { name: 'a', type: { type: 'enum', name: 'E', symbols: ['Y'] } },
    ],
    [
      'other fixed size',
      { name: 'a', type: { type: 'fixed', name: 'F', size: 3 } },
      { name: 'a', type: { type: 'fixed', name: 'F', size: 4 } },
    ],
    [
      'other decimal scale',
      { name: 'a', type: { type: 'bytes', logicalType: 'decimal', precision: 9, scale: 2 } },
      { name: 'a', type: { type: 'bytes', logicalType: 'decimal', precision: 9, scale: 3 } },
    ],
    [
      'bytes → decimal',
      { name: 'a', type: 'bytes' },
      { name: 'a', type: { type: 'bytes', logicalType: 'decimal', precision: 9, scale: 2 } },
    ],
    [
      'micros → millis',
      { name: 'a', type: { type: 'long', logicalType: 'timestamp-micros' } },
      { name: 'a', type: { type: 'long', logicalType: 'timestamp-millis' } },
    ],
    [
      'decimal of a narrower precision',
      { name: 'a', type: { type: 'bytes', logicalType: 'decimal', precision: 9, scale: 2 } },
      { name: 'a', type: { type: 'bytes', logicalType: 'decimal', precision: 8, scale: 2 } },
    ],
    [
      'decimal → string',
      { name: 'a', type: { type: 'bytes', logicalType: 'decimal', precision: 9, scale: 2 } },
      { name: 'a', type: 'string' },
    ],
    [
      'date → timestamp',
      { name: 'a', type: { type: 'int', logicalType: 'date' } },
      { name: 'a', type: { type: 'long', logicalType: 'timestamp-millis' } },
    ],
    ['inexact default', { name: 'z', type: 'int' }, { name: 'a', type: 'long', default: 2 ** 60 }],
    ['nested writer', { name: 'a', type: { type: 'array', items: 'int' } }, { name: 'b', type: 'int', default: 1 }],
  ])('[R2] refused as a whole: %s', (_, from, into) => {
    expect(() => compileProjector({ ...optionsFor(null, ['at']), writer: record(from), reader: record(into) })).toThrow(
      SchemaMismatch,
    )
  })

  test('[R2] an enum is known by its name after its definition, on both sides', () => {
    const symbols = (...list: string[]) => ({ type: 'enum', name: 'n.E', symbols: list, default: 'Y' })
    const writer = record({ name: 'a', type: symbols('X', 'Y') }, { name: 'b', type: ['null', 'n.E'] })
    const reader = record({ name: 'c', type: ['null', symbols('Y', 'X')], aliases: ['b'] }, { name: 'a', type: 'n.E' })
    expect(readAs(writer, reader, { a: 'X', b: 'Y' })[0].slice(1)).toEqual(['Y', 'X'])
  })

  test('[R2] refused as a whole: a field that is two of the writer', () => {
    const writer = record({ name: 'a', type: 'int' }, { name: 'z', type: 'int' })
    const reader = record({ name: 'a', type: 'int', aliases: ['z'] })
    expect(() => compileProjector({ ...optionsFor(null, ['at']), writer, reader })).toThrow(
      'field a: it is several fields of the writer: a, z',
    )
  })

  test('[R5] bytes read as a string must be UTF-8, also when nobody wants the field', () => {
    const projector = compileProjector({
      ...optionsFor(null, ['at']),
      writer: record({ name: 'a', type: 'bytes' }),
      reader: record({ name: 'a', type: 'string' }),
    })
    const { dead } = project(projector, batchOf([frame(ID, Uint8Array.of(10, 2, 0xff))]))
    expect(dead[0]!.reason).toBe('bad-utf8')
  })
})

describe('event time', () => {
  const timed = (
    type: unknown,
    unit: ProjectorOptions['eventTime']['unit'],
    value: unknown,
    extra: object = {},
  ): number | string => {
    const schema = { type: 'record', name: 'R', fields: [{ name: 'at', type, ...extra }] }
    const projector = compileProjector(optionsFor(schema, [], { eventTime: { field: 'at', unit } }))
    const { rows, dead } = project(projector, batchOf([frame(ID, avscType(schema).toBuffer({ at: value }))]))
    return rows[0]?.time ?? dead[0]!.reason
  }

  test.each<[unknown, 'ms' | 's' | 'us' | 'iso', unknown, number | string]>([
    ['int', 's', -2, -2000],
    ['long', 's', 253_402_300_799n, 253_402_300_799_000],
    ['long', 's', 253_402_300_800n, 'event-time-range'],
    ['long', 'us', -1n, -1],
    ['long', 'us', 1999n, 1],
    ['long', 'us', 253_402_300_799_999_999n, EVENT_TIME_MAX_MS],
    ['long', 'us', 253_402_300_800_000_000n, 'event-time-range'],
    ['long', 'us', -62_135_596_800_000_001n, 'event-time-range'],
    ['long', 'us', 8_999_999_999_999_999n, 8_999_999_999_999],
    ['long', 'ms', BigInt(EVENT_TIME_MIN_MS), EVENT_TIME_MIN_MS],
    ['long', 'ms', BigInt(EVENT_TIME_MIN_MS) - 1n, 'event-time-range'],
    ['long', 'ms', 2n ** 63n - 1n, 'event-time-range'],
    [['null', 'long'], 'ms', null, 'event-time-missing'],
    ['string', 'iso', '2026-01-01T00:00:00.123999+02:00', Date.UTC(2025, 11, 31, 22, 0, 0, 123)],
    ['string', 'iso', '2026-01-01', 'event-time-format'],
    [['null', 'string'], 'iso', null, 'event-time-missing'],
  ])('[T1] %s in %s: %s → %s', (type, unit, value, result) => {
    expect(timed(type, unit, value)).toBe(result)
  })

  test('[T1] microseconds are floored exactly over the whole range', () => {
    const micros = fc.bigInt({ min: BigInt(EVENT_TIME_MIN_MS) * 1000n, max: BigInt(EVENT_TIME_MAX_MS) * 1000n })
    const schema = { type: 'record', name: 'R', fields: [{ name: 'at', type: 'long' }] }
    const projector = compileProjector(optionsFor(schema, [], { eventTime: { field: 'at', unit: 'us' } }))
    const property = fc.property(fc.array(micros, { minLength: 1, maxLength: 50 }), (values) => {
      const { rows } = project(projector, batchOf(values.map((at) => frame(ID, avscType(schema).toBuffer({ at })))))
      expect(rows.map(({ time: ms }) => ms)).toEqual(
        values.map((value) => Number((value - (((value % 1000n) + 1000n) % 1000n)) / 1000n)),
      )
    })
    fc.assert(property, runs(50, 'microseconds'))
  })

  test('a writer without the field: the default, or dead', () => {
    const writer = JSON.stringify({ type: 'record', name: 'R', fields: [{ name: 'a', type: 'int' }] })
    const reader = (extra: object): string =>
      JSON.stringify({ type: 'record', name: 'R', fields: [{ name: 'at', ...extra }] })
    const batch = batchOf([frame(ID, Uint8Array.of(2))])
    const compiled = (extra: object): Seen =>
      project(compileProjector({ ...optionsFor(null, ['at']), writer, reader: reader(extra) }), batch)
    expect(compiled({ type: 'long', default: 77 }).rows[0]).toMatchObject({ time: 77, cells: [77n] })
    expect(compiled({ type: ['null', 'long'], default: null }).dead[0]!.reason).toBe('event-time-missing')
  })
})

const POISON: PoisonOptions = {
  schema: POISON_SCHEMA,
  schemaId: ID,
  unknownId: 999,
  eventTime: { field: 'at', unit: 'ms' },
}

function poisonProjector(envelope = false): ProjectorOptions {
  return {
    writer: POISON_SCHEMA,
    writerId: ID,
    reader: POISON_SCHEMA,
    fields: ['name', 'total', 'price', 'note'],
    eventTime: POISON.eventTime,
    envelope,
  }
}

describe('poison', () => {
  const projector = compileProjector(poisonProjector())
  const unwanted = compileProjector({ ...poisonProjector(), fields: [] })
  const records = poisonRecords(POISON)
  const batches = poisonBatches(POISON)

  test('the corpus is as large as promised and every case has a name of its own', () => {
    expect(records.length + batches.length).toBeGreaterThanOrEqual(90)
    expect(new Set([...records, ...batches].map(({ name }) => name)).size).toBe(records.length + batches.length)
  })

  test.each(records.map((poison) => [poison.name, poison] as const))('[D5] %s', (_, { record, fate }) => {
    const good = records[0]!.record
    const batch = encodeBatch([good, record, good], 1)
    const { rows, dead, stops } = project(projector, batch)
    const blind = project(unwanted, batch)
    expect([blind.rows.map(({ offset }) => offset), blind.dead, blind.stops]).toEqual([
      rows.map(({ offset }) => offset),
      dead,
      stops,
    ])
    const offsets = fate === 'row' ? [0, 1, 2] : [0, 2]
    expect(rows.map(({ offset }) => offset)).toEqual(offsets)
    expect(dead.map(({ offset, reason }) => [offset, reason])).toEqual(
      fate === 'row' || fate === 'barrier' ? [] : [[1, fate]],
    )
    expect(stops.includes('barrier')).toBe(fate === 'barrier')
    if (dead.length === 1) expect(dead[0]).toMatchObject({ key: record.key, value: record.value })
  })

  test.each(batches.map((poison) => [poison.name, poison] as const))('[D5] %s', (_, { batch, fate }) => {
    const opened = openBatch(batch, 0)
    expect('dead' in opened && opened.dead).toBe(fate)
  })

  test('an empty decimal takes no byte of its neighbour', () => {
    const decimal = { type: 'bytes', logicalType: 'decimal', precision: 9, scale: 0 }
    const schema = { type: 'record', name: 'R', fields: [{ name: 'a', type: decimal }, TIME] }
    const { rows, dead } = project(
      compileProjector(optionsFor(schema, ['a'])),
      batchOf([frame(ID, Uint8Array.of(0, 128, 1))]),
    )
    expect([rows.length, dead[0]!.reason]).toEqual([0, 'bad-length'])
  })

  test('a value length of -2 is damage, even before a barrier header', () => {
    const batch = encodeBatch([{ key: null, value: null, headers: [['tidemark-barrier', new Uint8Array(0)]] }], 1)
    // Record length, attributes, two deltas, key length, then the value length.
    const { dead, stops } = project(
      projector,
      resealed(batch, (view) => view.setUint8(61 + 5, 3)),
    )
    expect([dead.map(({ reason }) => reason), stops]).toEqual([['bad-length'], ['end']])
  })

  test('damaged envelopes are dead with their whole record', () => {
    const good = records[0]!.record
    const batch = encodeBatch([good, good, good], 1)
    const property = fc.property(fc.nat(), fc.nat({ max: 255 }), (at, byte) => {
      const damaged = Uint8Array.from(batch)
      damaged[61 + (at % (batch.length - 61))] = byte
      const opened = openBatch(resealed(damaged), 0)
      if ('dead' in opened) return
      const { rows, dead } = project(projector, resealed(damaged))
      expect(
        new Set([...rows, ...dead].map(({ offset }) => offset)).size +
          project(projector, resealed(damaged)).stops.filter((stop) => stop === 'barrier').length,
      ).toBe(3)
    })
    fc.assert(property, runs(1000, 'damaged envelopes'))
  })
})

describe('stops', () => {
  const value = poisonRecords(POISON)[0]!.record.value!

  test('a full chunk is resumed, and chunks split nothing', () => {
    const projector = compileProjector(poisonProjector())
    const { rows, stops } = project(projector, batchOf(Array.from({ length: 2 * CHUNK_ROWS + 5 }, () => value)))
    expect(stops).toEqual(['full', 'full', 'end'])
    expect(rows.map(({ offset }) => offset)).toEqual(Array.from({ length: 2 * CHUNK_ROWS + 5 }, (_, i) => i))
    expect(project(projector, batchOf(Array.from({ length: CHUNK_ROWS }, () => value))).stops).toEqual(['end'])
  })

  test('another schema id stops with that id; another projector goes on where it stopped', () => {
    const first = compileProjector(poisonProjector())
    const second = compileProjector({ ...poisonProjector(), writerId: 8 })
    const opened = openBatch(batchOf([value, frame(8, value.subarray(5)), value]), 0)
    if ('dead' in opened) throw new Error(opened.dead)
    const chunk = allocateChunk(first.columns, false)
    expect(first.project(opened.cursor, chunk, [])).toBe('schema')
    expect([chunk.count, chunk.schemaId, opened.cursor.schemaId]).toEqual([1, ID, 8])
    expect(() => second.project(opened.cursor, chunk, [])).toThrow('one writer schema')
    resetChunk(chunk)
    expect(second.project(opened.cursor, chunk, [])).toBe('schema')
    expect([chunk.count, chunk.offsets[0], chunk.arrivalMs]).toEqual([1, 1, 2])
    resetChunk(chunk)
    expect(first.project(opened.cursor, chunk, [])).toBe('end')
    expect([chunk.count, chunk.offsets[0]]).toEqual([1, 2])
  })

  test('a barrier stops before itself and is read by readRecord', () => {
    const projector = compileProjector(poisonProjector())
    const barrier: RecordInput = {
      key: null,
      value: utf8.encode('b'),
      headers: [['tidemark-barrier', new Uint8Array(0)]],
    }
    const opened = openBatch(encodeBatch([{ key: null, value }, barrier, { key: null, value }], 1), 0)
    if ('dead' in opened) throw new Error(opened.dead)
    const chunk = allocateChunk(projector.columns, false)
    expect([projector.project(opened.cursor, chunk, []), chunk.count]).toEqual(['barrier', 1])
    expect(readRecord(opened.cursor)).toMatchObject({
      offset: 1,
      value: barrier.value,
      headers: [['tidemark-barrier', new Uint8Array(0)]],
    })
    expect([projector.project(opened.cursor, chunk, []), chunk.count]).toEqual(['end', 2])
  })

  test('records below the position leave no trace, not even bad ones', () => {
    const projector = compileProjector(poisonProjector())
    const { rows, dead } = project(projector, batchOf([Uint8Array.of(9), value, Uint8Array.of(9), value], 50), 52)
    expect([rows.map(({ offset }) => offset), dead.map(({ offset }) => offset)]).toEqual([[53], [52]])
  })

  test('findFrame finds the first schema, barrier or end without a projector', () => {
    const open = (records: RecordInput[]): [string, number, number, number[]] => {
      const opened = openBatch(encodeBatch(records, 1), 1)
      if ('dead' in opened) throw new Error(opened.dead)
      const dead: DeadRecord[] = []
      const stop = findFrame(opened.cursor, dead)
      return [stop, opened.cursor.schemaId, opened.cursor.remaining, dead.map(({ offset }) => offset)]
    }
    const none = { key: null, value: null }
    expect(open([none, none, { key: null, value }, none])).toEqual(['schema', ID, 2, [1]])
    expect(open([none, { ...none, headers: [['tidemark-barrier', new Uint8Array(0)]] }])).toEqual(['barrier', 0, 2, []])
    expect(open([none, none, none])).toEqual(['end', 0, 0, [1, 2]])
  })

  test('the envelope: keys and raw header blocks, null when there are none', () => {
    const projector = compileProjector(poisonProjector(true))
    const batch = encodeBatch(
      [
        { key: utf8.encode('k'), value },
        { key: null, value, headers: [['a', Uint8Array.of(255)]] },
        { key: new Uint8Array(0), value },
      ],
      1,
    )
    const { rows } = project(projector, batch, 0, true)
    expect(rows.map(({ key, headers }) => [key, headers])).toEqual([
      ['6b', null],
      [null, '02026102ff'],
      ['', null],
    ])
  })

  test('a null or a wide value in one chunk does not colour the next', () => {
    const projector = compileProjector(poisonProjector())
    const type = avscType(JSON.parse(POISON_SCHEMA))
    const base = type.fromBuffer(Buffer.from(value.subarray(5))) as Record<string, unknown>
    const odd = frame(ID, type.toBuffer({ ...base, note: null, total: 2n ** 62n }))
    const chunk = allocateChunk(projector.columns, false)
    const states = [value, odd, value].map((bytes) => {
      resetChunk(chunk)
      const opened = openBatch(batchOf([value, bytes, value]), 0)
      if ('dead' in opened) throw new Error(opened.dead)
      projector.project(opened.cursor, chunk, [])
      return [chunk.columns[1]!.wide?.slice(0, 3) ?? null, chunk.columns[3]!.valid?.slice(0, 3) ?? null]
    })
    expect(states).toEqual([
      [null, null],
      [BigInt64Array.of(3n, 2n ** 62n, 3n), Uint8Array.of(1, 0, 1)],
      [null, null],
    ])
  })
})
