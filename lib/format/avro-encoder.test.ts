import avsc from 'avsc'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LIMITS } from '#core/limits.ts'
import { runs } from '#testkit/runs.ts'
import { compileEncoder } from './avro-encoder.ts'
import { SchemaProblem } from './avro-schema.ts'

const many = runs(400, 'avro-encoder')

const schemaOf = (...fields: object[]) => JSON.stringify({ type: 'record', name: 'E', fields })
const decimal = (precision: number, scale: number) => ({ type: 'bytes', logicalType: 'decimal', precision, scale })

/** Body bytes of one event, or the problem. */
function bodyOf(schema: string, event: unknown, options: Parameters<typeof compileEncoder>[2] = {}) {
  const encoder = compileEncoder(schema, 7, options)
  const problem = encoder.encode(event)
  if (problem !== null) return problem
  expect([...encoder.bytes.subarray(0, 5)]).toEqual([0, 0, 0, 0, 7])
  return Buffer.from(encoder.bytes.subarray(5, encoder.length))
}

/** Two's complement of an unscaled integer, the oracle's way: through hex. */
class DecimalType extends avsc.types.LogicalType {
  protected override _fromValue(bytes: Buffer) {
    return BigInt.asIntN(bytes.length * 8, BigInt(`0x${bytes.toString('hex')}`))
  }
  protected override _toValue(value: bigint) {
    for (let length = 1; ; length++) {
      if (BigInt.asIntN(length * 8, value) !== value) continue
      return Buffer.from(
        BigInt.asUintN(length * 8, value)
          .toString(16)
          .padStart(length * 2, '0'),
        'hex',
      )
    }
  }
}
const longType = avsc.types.LongType.__with({
  fromBuffer: (buffer: Buffer) => buffer.readBigInt64LE(),
  toBuffer: (value: bigint) => {
    const buffer = Buffer.alloc(8)
    buffer.writeBigInt64LE(value)
    return buffer
  },
  fromJSON: BigInt,
  toJSON: Number,
  isValid: (value: unknown) => typeof value === 'bigint',
  compare: (a: bigint, b: bigint) => (a < b ? -1 : a > b ? 1 : 0),
})

const everything = schemaOf(
  { name: 'flag', type: 'boolean' },
  { name: 'small', type: 'int' },
  { name: 'big', type: 'long' },
  { name: 'single', type: 'float' },
  { name: 'real', type: 'double' },
  { name: 'text', type: 'string' },
  { name: 'maybe', type: ['null', 'string'], default: null },
  { name: 'maybe_big', type: ['long', 'null'] },
  { name: 'kind', type: { type: 'enum', name: 'K', symbols: ['A', 'B', 'C'] } },
  { name: 'money', type: decimal(18, 4) },
  { name: 'four', type: { type: 'fixed', name: 'F', size: 4 } },
  { name: 'raw', type: 'bytes' },
)
const oracle = avsc.Type.forSchema(JSON.parse(everything) as avsc.Schema, {
  logicalTypes: { decimal: DecimalType },
  registry: { long: longType },
})

const int64 = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.maxSafeInteger().map(BigInt),
  fc.constantFrom(
    0n,
    -1n,
    1n,
    63n,
    64n,
    -64n,
    -65n,
    2n ** 31n,
    2n ** 53n - 1n,
    -(2n ** 53n) + 1n,
    2n ** 63n - 1n,
    -(2n ** 63n),
  ),
)
const text = fc.oneof(
  fc.string({ maxLength: 100 }),
  fc.string({ unit: 'grapheme', maxLength: 80 }),
  fc.constantFrom('', 'x'.repeat(63), 'x'.repeat(64), 'é'.repeat(63), '😀'.repeat(40)),
)
const latin1 = (min: number, max: number) => fc.uint8Array({ minLength: min, maxLength: max })
const finite = fc.double({ noNaN: true, noDefaultInfinity: true })

const events = fc.record({
  flag: fc.boolean(),
  small: fc.integer(),
  big: int64,
  single: fc.float({ noNaN: true, noDefaultInfinity: true }),
  real: finite,
  text,
  maybe: fc.option(text),
  maybe_big: fc.option(int64),
  kind: fc.constantFrom('A', 'B', 'C'),
  money: fc.bigInt({ min: -(10n ** 18n) + 1n, max: 10n ** 18n - 1n }),
  four: latin1(4, 4),
  raw: latin1(0, 20),
})

/** The JSON a sender would write: numbers when they are safe and the sender likes, texts else. */
function jsonOf(
  event: typeof events extends fc.Arbitrary<infer E> ? E : never,
  asText: boolean,
): Record<string, unknown> {
  const number = (value: bigint) =>
    asText || BigInt(Number.MAX_SAFE_INTEGER) < (value < 0n ? -value : value) ? String(value) : Number(value)
  const sign = event.money < 0n ? '-' : ''
  const digits = String(event.money < 0n ? -event.money : event.money).padStart(5, '0')
  const money = `${sign}${digits.slice(0, -4)}.${digits.slice(-4)}`
  return JSON.parse(
    JSON.stringify({
      ...event,
      big: number(event.big),
      maybe_big: event.maybe_big === null ? null : number(event.maybe_big),
      money: asText || digits.length > 15 ? money : Number(money),
      four: Buffer.from(event.four).toString('latin1'),
      raw: Buffer.from(event.raw).toString('latin1'),
      real: event.real,
    }),
  ) as Record<string, unknown>
}

describe('[R5] bytes are what any Avro implementation writes', () => {
  // Goal: equality with avsc over every type. Method: generated events as JSON text, avsc (BigInt longs, own decimals) as oracle.
  it('encodes as avsc does', () => {
    const encoder = compileEncoder(everything, 7)
    fc.assert(
      fc.property(events, fc.boolean(), (event, asText) => {
        expect(encoder.encode(jsonOf(event, asText))).toBeNull()
        // JSON has no -0, so neither has the oracle's event.
        const expected = {
          ...event,
          real: event.real === 0 ? 0 : event.real,
          single: event.single === 0 ? 0 : event.single,
        }
        const bytes = oracle.toBuffer({ ...expected, four: Buffer.from(event.four), raw: Buffer.from(event.raw) })
        expect(Buffer.from(encoder.bytes.subarray(5, encoder.length)).equals(bytes)).toBe(true)
      }),
      many,
    )
  })

  it('fills defaults as avsc does', () => {
    const fields = [
      { name: 'a', type: 'long', default: -70 },
      { name: 'b', type: ['null', 'long'], default: null },
      { name: 'c', type: ['string', 'null'], default: 'x' },
      { name: 'd', type: { type: 'enum', name: 'K', symbols: ['A', 'B'] }, default: 'B' },
      { name: 'e', type: 'bytes', default: 'ÿ\u0000' },
      { name: 'f', type: 'double', default: 1.5 },
    ]
    const reference = avsc.Type.forSchema(JSON.parse(schemaOf(...fields)) as avsc.Schema)
    expect(bodyOf(schemaOf(...fields), {})).toEqual(reference.toBuffer({}))
    expect(bodyOf(schemaOf({ name: 'm', type: decimal(6, 2), default: '\u0004\u00d2' }), {})).toEqual(
      Buffer.from([4, 4, 0xd2]),
    )
  })

  it('is one buffer: a bad event between good ones leaves no trace', () => {
    const encoder = compileEncoder(schemaOf({ name: 'a', type: 'string' }, { name: 'b', type: 'int' }), 1)
    expect(encoder.encode({ a: 'x'.repeat(100_000), b: 1 })).toBeNull()
    expect(encoder.encode({ a: 'long text', b: 'no' })).toMatchObject({ code: 'WRONG_TYPE' })
    expect(encoder.encode({ a: 'y', b: 2 })).toBeNull()
    expect([...encoder.bytes.subarray(0, encoder.length)]).toEqual([0, 0, 0, 0, 1, 2, 121, 4])
  })

  it('never throws, whatever JSON comes', () => {
    const encoder = compileEncoder(everything, 7, { eventTime: { field: 'big', unit: 'ms' } })
    const keys = [
      'flag',
      'small',
      'big',
      'single',
      'real',
      'text',
      'maybe',
      'maybe_big',
      'kind',
      'money',
      'four',
      'raw',
      '__proto__',
    ]
    const anything = fc.oneof(fc.jsonValue(), fc.dictionary(fc.constantFrom(...keys), fc.jsonValue()))
    fc.assert(
      fc.property(anything, (value) => {
        const problem = encoder.encode(value)
        if (problem !== null) expect(problem.reason.length).toBeLessThan(400)
      }),
      many,
    )
  })
})

describe('[D2] each bad value has its code, field and reason', () => {
  const at = { eventTime: { field: 'at', unit: 'ms' as const } }
  const cases: [title: string, type: unknown, json: string, code: string, options?: typeof at][] = [
    ['unknown field', 'int', '{"v":1,"w":2}', 'UNKNOWN_FIELD'],
    ['missing field', 'int', '{}', 'MISSING_FIELD'],
    ['null where null is no value', 'int', '{"v":null}', 'MISSING_FIELD'],
    ['nullable but absent without a default', ['null', 'int'], '{}', 'MISSING_FIELD'],
    ['text for a number', 'double', '{"v":"12"}', 'WRONG_TYPE'],
    ['number for a text', 'string', '{"v":12}', 'WRONG_TYPE'],
    ['number for a boolean', 'boolean', '{"v":1}', 'WRONG_TYPE'],
    ['object', 'string', '{"v":{"string":"x"}}', 'WRONG_TYPE'],
    ['array', 'long', '{"v":[1]}', 'WRONG_TYPE'],
    ['fraction for an integer', 'long', '{"v":1.5}', 'WRONG_TYPE'],
    ['words for an integer', 'long', '{"v":"ten"}', 'WRONG_TYPE'],
    ['lone surrogate', 'string', '{"v":"\\ud800"}', 'WRONG_TYPE'],
    ['long lone surrogate', 'string', `{"v":"${'x'.repeat(100)}\\udc00"}`, 'WRONG_TYPE'],
    ['NaN as text', 'double', '{"v":"NaN"}', 'NOT_FINITE'],
    ['a number beyond double', 'double', '{"v":1e400}', 'NOT_FINITE'],
    ['a double beyond float', 'float', '{"v":1e39}', 'NOT_FINITE'],
    ['infinite integer', 'long', '{"v":1e400}', 'NOT_FINITE'],
    ['infinite decimal', decimal(10, 2), '{"v":-1e400}', 'NOT_FINITE'],
    ['beyond int', 'int', '{"v":2147483648}', 'INT_RANGE'],
    ['below int', 'int', '{"v":-2147483649}', 'INT_RANGE'],
    ['beyond long', 'long', '{"v":"9223372036854775808"}', 'INT_RANGE'],
    ['int64 beyond 2^53 as a number', 'long', '{"v":9007199254740993}', 'NUMBER_UNSAFE'],
    ['decimal of more than 15 digits as a number', decimal(18, 2), '{"v":1234567890123456.78}', 'NUMBER_UNSAFE'],
    ['decimal of more decimals', decimal(10, 2), '{"v":12.345}', 'DECIMAL_SCALE'],
    ['decimal text of more decimals', decimal(10, 2), '{"v":"12.345"}', 'DECIMAL_SCALE'],
    ['a sum of doubles', decimal(18, 2), '{"v":0.30000000000000004}', 'DECIMAL_SCALE'],
    ['decimal beyond its precision', decimal(4, 2), '{"v":"100.00"}', 'DECIMAL_RANGE'],
    ['decimal that is none', decimal(4, 2), '{"v":"."}', 'WRONG_TYPE'],
    ['symbol', { type: 'enum', name: 'K', symbols: ['A', 'B'] }, '{"v":"C"}', 'BAD_ENUM'],
    ['fixed of another size', { type: 'fixed', name: 'F', size: 2 }, '{"v":"abc"}', 'WRONG_TYPE'],
    ['not bytes', 'bytes', '{"v":"€"}', 'WRONG_TYPE'],
    ['not an object', 'int', '[1]', 'WRONG_TYPE'],
  ]
  it.each(cases)('%s', (_title, type, json, code) => {
    const problem = bodyOf(schemaOf({ name: 'v', type }), JSON.parse(json))
    expect(problem).toMatchObject({ code, reason: expect.any(String) as string })
    if (!json.startsWith('[')) expect(problem).toMatchObject({ field: code === 'UNKNOWN_FIELD' ? 'w' : 'v' })
  })

  it('a record beyond the limit', () => {
    const problem = bodyOf(schemaOf({ name: 'v', type: 'string' }), { v: 'x'.repeat(LIMITS.recordBytes) })
    expect(problem).toMatchObject({ code: 'RECORD_TOO_LARGE', field: null })
  })

  it('names that every object inherits are fields like others', () => {
    const schema = schemaOf({ name: 'constructor', type: 'string' }, { name: '__proto__', type: 'int' })
    expect(bodyOf(schema, {})).toMatchObject({ code: 'MISSING_FIELD', field: 'constructor' })
    expect(bodyOf(schema, JSON.parse('{"constructor":"a","__proto__":3}'))).toEqual(Buffer.from([2, 97, 6]))
  })

  it('a default of the wrong type is refused at compilation', () => {
    expect(() => compileEncoder(schemaOf({ name: 'v', type: 'int', default: 'x' }), 1)).toThrow(SchemaProblem)
  })
})

describe('[T1] event times', () => {
  const long = schemaOf({ name: 'at', type: { type: 'long', logicalType: 'timestamp-millis' } })
  const plain = schemaOf({ name: 'at', type: 'long' })
  const encode = (schema: string, at: unknown, unit: 'ms' | 's' | 'us' | 'iso' = 'ms') =>
    bodyOf(schema, { at }, { eventTime: { field: 'at', unit } })
  const longBody = (value: number) => avsc.Type.forSchema('long').toBuffer(value)

  it('takes epoch milliseconds, digits, and ISO 8601 with an offset', () => {
    const ms = Date.UTC(2001, 2, 1, 8, 5, 0, 250)
    for (const at of [
      ms,
      String(ms),
      '2001-03-01T08:05:00.250Z',
      '2001-03-01T10:05:00.25+02:00',
      '2001-03-01 08:05:00.2509Z',
    ]) {
      expect(encode(long, at), String(at)).toEqual(longBody(ms))
      expect(encode(plain, at), String(at)).toEqual(longBody(ms))
    }
    expect(encode(plain, '2001-03-01T08:05:00.250999Z', 's')).toEqual(longBody(Math.floor(ms / 1_000)))
    expect(encode(plain, '2001-03-01T08:05:00.250999Z', 'us')).toEqual(longBody(ms * 1_000 + 999))
    expect(encode(plain, '1969-12-31T23:59:59.9995Z')).toEqual(longBody(-1))
    expect(encode(plain, '1969-12-31T23:59:59.9995Z', 'us')).toEqual(longBody(-500))
    for (const at of [0, 60_000, -1, -5_000_000_000_000]) expect(encode(long, at), String(at)).toEqual(longBody(at))
  })

  it.each([
    ['seconds', 1_767_225_600, 'ms', /looks like seconds; the stream wants milliseconds/],
    ['microseconds', 1_767_225_600_000_000, 'ms', /looks like microseconds; the stream wants milliseconds/],
    ['nanoseconds', 1_767_225_600_000_000_000, 'ms', /looks like nanoseconds/],
    ['microseconds as digits', '1767225600000000', 'ms', /looks like microseconds/],
    ['milliseconds for seconds', 1_767_225_600_000, 's', /looks like milliseconds; the stream wants seconds/],
    ['milliseconds for microseconds', 1_767_225_600_000, 'us', /looks like milliseconds/],
    ['the year 12000', 316_539_360_000_000, 'ms', /0001 to 9999/],
  ] as const)('wrong unit: %s', (_title, at, unit, reason) => {
    expect(encode(plain, at, unit)).toMatchObject({
      code: 'EVENT_TIME_RANGE',
      field: 'at',
      reason: expect.stringMatching(reason) as string,
    })
  })

  it.each(['yesterday', '2001-03-01', '2001-03-01T08:05:00', '2001-02-29T00:00:00Z', '0000-12-31T00:00:00Z', ''])(
    'no instant: %j',
    (at) => {
      expect(encode(long, at)).toMatchObject({ code: 'EVENT_TIME_FORMAT', field: 'at' })
      expect(encode(schemaOf({ name: 'at', type: 'string' }), at, 'iso')).toMatchObject({
        code: 'EVENT_TIME_FORMAT',
        field: 'at',
      })
    },
  )

  it('an event without an event time is refused even where the schema allows null', () => {
    const nullable = schemaOf({ name: 'at', type: ['null', 'long'], default: null })
    expect(encode(nullable, null)).toMatchObject({ code: 'MISSING_FIELD', field: 'at' })
    expect(bodyOf(nullable, {}, { eventTime: { field: 'at', unit: 'ms' } })).toMatchObject({
      code: 'MISSING_FIELD',
      field: 'at',
    })
  })

  it('other instants and days take texts too', () => {
    const schema = schemaOf(
      { name: 'a', type: { type: 'long', logicalType: 'timestamp-micros' } },
      { name: 'd', type: { type: 'int', logicalType: 'date' } },
    )
    expect(bodyOf(schema, { a: '1970-01-01T00:00:00.000002Z', d: '1970-01-03' })).toEqual(Buffer.from([4, 4]))
    expect(bodyOf(schema, { a: 5, d: '1970-02-30' })).toMatchObject({ code: 'WRONG_TYPE', field: 'd' })
  })
})
