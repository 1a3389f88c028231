/**
 * One schema read as another, and the event time in all its spellings.
 * Method: what avsc's resolver reads is what the projector reads; what would be misread is refused as a whole.
 */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { EVENT_TIME_MAX_MS, EVENT_TIME_MIN_MS } from '#core/time.ts'
import {
  avscCell,
  avscType,
  batchOf,
  type Cell,
  optionsFor,
  project,
  type Seen,
  TIME_FIELD,
  WRITER_ID,
} from '#testkit/projected.ts'
import { runs } from '#testkit/runs.ts'
import { compileProjector, SchemaMismatch } from './avro-projector.ts'
import { frame } from './confluent.ts'
import type { ProjectorOptions } from './projector.ts'

describe('resolution', () => {
  const record = (...fields: unknown[]): string =>
    JSON.stringify({ type: 'record', name: 'R', fields: [TIME_FIELD, ...fields] })
  /** The cells of one record that `writer` wrote and `reader` reads, and avsc's reading of it. */
  const readAs = (writer: string, reader: string, value: Record<string, unknown>): [Cell[], Cell[]] => {
    const from = avscType(JSON.parse(writer))
    const into = avscType(JSON.parse(reader))
    const fields = (JSON.parse(reader) as { fields: { name: string }[] }).fields.map(({ name }) => name)
    const projector = compileProjector({ ...optionsFor(null, fields), writer, reader })
    const body = from.toBuffer({ at: 5n, ...value })
    const { rows, dead } = project(projector, batchOf([frame(WRITER_ID, body)]))
    expect(dead).toEqual([])
    const oracle = into.fromBuffer(body, into.createResolver(from)) as Record<string, unknown>
    return [rows[0]!.cells, projector.columns.map((spec) => avscCell(spec, oracle[spec.name]))]
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
    const { dead } = project(projector, batchOf([frame(WRITER_ID, Uint8Array.of(10, 2, 0xff))]))
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
    const { rows, dead } = project(projector, batchOf([frame(WRITER_ID, avscType(schema).toBuffer({ at: value }))]))
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
      const { rows } = project(
        projector,
        batchOf(values.map((at) => frame(WRITER_ID, avscType(schema).toBuffer({ at })))),
      )
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
    const batch = batchOf([frame(WRITER_ID, Uint8Array.of(2))])
    const compiled = (extra: object): Seen =>
      project(compileProjector({ ...optionsFor(null, ['at']), writer, reader: reader(extra) }), batch)
    expect(compiled({ type: 'long', default: 77 }).rows[0]).toMatchObject({ time: 77, cells: [77n] })
    expect(compiled({ type: ['null', 'long'], default: null }).dead[0]!.reason).toBe('event-time-missing')
  })
})
