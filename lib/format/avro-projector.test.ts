/**
 * The projector against avsc, its oracle, and against the slow reader: random schemas, values and damage.
 * Method: records are encoded by avsc, put into batches, projected, and every cell is compared with avsc's decode; damaged bytes must
 * be a row or a dead record exactly as the slow reader says, and every offset is accounted for once.
 */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { EVENT_TIME_MAX_MS, EVENT_TIME_MIN_MS } from '#core/time.ts'
import { avscCell, avscType, batchOf, optionsFor, project, TIME_FIELD, WRITER_ID } from '#testkit/projected.ts'
import { runs } from '#testkit/runs.ts'
import { faultOf } from './avro-faults.ts'
import { compileProjector } from './avro-projector.ts'
import { parseFlatSchema } from './avro-schema.ts'
import { frame } from './confluent.ts'

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

const int64 = fc.oneof(
  fc.integer({ min: -200, max: 200 }).map(BigInt),
  fc.bigInt({ min: -(2n ** 53n) - 2n, max: 2n ** 53n + 2n }),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.constantFrom(2n ** 53n - 1n, 2n ** 53n, -(2n ** 53n) + 1n, -(2n ** 53n), 2n ** 63n - 1n, -(2n ** 63n)),
)
const anyString = fc.oneof(fc.string({ unit: 'binary', maxLength: 20 }), fc.string({ maxLength: 200, size: 'max' }))

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
    const all = fields.toSpliced(timeAt, 0, { json: TIME_FIELD, values: time.map(BigInt) })
    const row = fc.record(Object.fromEntries(all.map(({ json, values }) => [json.name, values])))
    return fc.record({
      schema: fc.constant({ type: 'record', name: 'R', fields: all.map(({ json }) => json) }),
      rows: fc.array(row, { minLength: 1, maxLength: 25 }),
    })
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
        const encoded = rows.map((row) => frame(WRITER_ID, type.toBuffer(row)))
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
            cells: projector.columns.map((spec) => avscCell(spec, row[spec.name])),
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
        const { rows: good, dead } = project(
          projector,
          batchOf(bodies.map((body) => frame(WRITER_ID, Uint8Array.from(body)))),
        )
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
})

test.each(Array.from({ length: 18 }, (_, i) => i + 1))(
  '[R5] decimals of precision %i end exactly at their bound',
  (precision) => {
    const bound = 10n ** BigInt(precision)
    for (const type of ['bytes', { type: 'fixed', name: 'F', size: 9 }]) {
      const decimal = { ...(typeof type === 'string' ? { type } : type), logicalType: 'decimal', precision, scale: 0 }
      const schema = { type: 'record', name: 'R', fields: [TIME_FIELD, { name: 'a', type: decimal }] }
      const values = [bound - 1n, 1n - bound, bound, -bound].map((value) => {
        const short = decimalBytes(value, 0)
        return typeof type === 'string' ? short : decimalBytes(value, 9 - short.length)
      })
      const encoded = values.map((a) => frame(WRITER_ID, avscType(schema).toBuffer({ at: 0n, a })))
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
