/** Every change of a field that Avro's schema resolution reads, over real Parquet columns; and what it does not read is refused. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseFlatSchema } from '#format/avro-schema.ts'
import { type DuckDb, openDuckDb } from '#io/duckdb.ts'
import type { ArchiveWriter } from '#schemas/archive.ts'
import { fieldsOf } from './archive-fields.ts'

const enumOf = (symbols: string[], more: object = {}) => ({ type: 'enum', name: 'E', symbols, ...more })
const decimalOf = (precision: number, scale: number) => ({ type: 'bytes', logicalType: 'decimal', precision, scale })

/** [what, field of today, the file's columns as SQL, the value as text]. */
const READ: readonly (readonly [string, object, string, string | null])[] = [
  ['as it is', { type: 'long' }, '7::BIGINT AS f', '7'],
  ['an alias', { type: 'long', aliases: ['was'] }, '7::BIGINT AS was', '7'],
  ['an older alias', { type: 'long', aliases: ['was', 'once'] }, '7::BIGINT AS once', '7'],
  ['not there, with a default', { type: 'string', default: "Côte d'Ivoire" }, '1 AS other', "Côte d'Ivoire"],
  ['not there, with a float default', { type: 'float', default: 0.1 }, '1 AS other', '0.10000000149011612'],
  ['not there, with a decimal default', { type: decimalOf(18, 4), default: '\u00ff' }, '1 AS other', '-0.0001'],
  ['not there, with a default of bytes', { type: 'bytes', default: '\u0000\u00ff' }, '1 AS other', '\\x00\\xFF'],
  ['not there, with a default that is true', { type: 'boolean', default: true }, '1 AS other', 'true'],
  ['not there, without a default', { type: 'boolean' }, '1 AS other', null],
  ['int as double', { type: 'double' }, '9007199254740991::BIGINT AS f', '9007199254740991.0'],
  ['int as float: rounded to single precision', { type: 'float' }, '16777217::BIGINT AS f', '16777216.0'],
  ['string as bytes: its UTF-8', { type: 'bytes' }, "'é\\x' AS f", '\\xC3\\xA9\\x5Cx'],
  ['bytes as string', { type: 'string' }, "'\\xC3\\xA9'::BLOB AS f", 'é'],
  ['a decimal of more digits', { type: decimalOf(18, 2) }, '1.25::DECIMAL(9,2) AS f', '1.25'],
  ['a symbol that is gone', { type: enumOf(['A', 'B'], { default: 'A' }) }, "'C' AS f", 'A'],
  ['a symbol that is there', { type: enumOf(['A', 'B'], { default: 'A' }) }, "'B' AS f", 'B'],
  ['null of an enum', { type: ['null', enumOf(['A'], { default: 'A' })] }, 'NULL::VARCHAR AS f', null],
]

/** [what, field of today, the file's columns as SQL]. */
const REFUSED: readonly (readonly [string, object, string])[] = [
  ['two of its names at once', { type: 'long', aliases: ['was'] }, '7::BIGINT AS was, 8::BIGINT AS f'],
  ['double as int', { type: 'long' }, '1.5::DOUBLE AS f'],
  ['int as string', { type: 'string' }, '7::BIGINT AS f'],
  ['a decimal of another scale', { type: decimalOf(18, 3) }, '1.25::DECIMAL(9,2) AS f'],
]

describe('[R5] a column of an older file is read as the field of today, or refused', () => {
  let db: DuckDb
  beforeAll(async () => {
    db = await openDuckDb({ threads: 1, memoryMb: 64, temporaryDirectory: null })
  })
  afterAll(() => db.close())

  async function read(field: object, columns: string) {
    const schema = JSON.stringify({ type: 'record', name: 'R', fields: [{ name: 'f', ...field }] })
    const described = await db.query(`DESCRIBE SELECT ${columns}`)
    const types = new Map(described.map((row) => [row['column_name'] as string, row['column_type'] as string]))
    const [sql] = fieldsOf(parseFlatSchema(schema), { columns: types, writers: null })
    const [row] = await db.query(`SELECT (${sql})::VARCHAR AS value FROM (SELECT ${columns})`)
    return row!['value']
  }

  test.each(READ)('%s', async (_, field, columns, value) => {
    expect(await read(field, columns)).toBe(value)
  })

  test.each(REFUSED)('%s: refused', async (_, field, columns) => {
    await expect(read(field, columns)).rejects.toMatchObject({ code: 'SCHEMA_INCOMPATIBLE', context: { field: 'f' } })
  })
})

test('[R5] a file tells its writers: each row is read by its own, and one that cannot be read is refused by name', () => {
  const record = (...fields: object[]) => JSON.stringify({ type: 'record', name: 'R', fields })
  const today = parseFlatSchema(record({ name: 'f', type: 'string', default: 'web', aliases: ['g'] }))
  const columns = new Map([
    ['f', 'VARCHAR'],
    ['g_2', 'BLOB'],
  ])
  const without = { id: 1, schema: record({ name: 'other', type: 'long' }), columns: ['other'] }
  const same = { id: 2, schema: record({ name: 'f', type: 'string' }), columns: ['f'] }
  const older = { id: -3, schema: record({ name: 'g', type: 'bytes' }), columns: ['g_2'] }
  const read = (...writers: ArchiveWriter[]) => fieldsOf(today, { columns, writers })
  expect(read(same)).toEqual(['"f"'])
  expect(read(same, { ...same, id: 9 })).toEqual(['"f"'])
  expect(read(without)).toEqual(["'web'"])
  expect(read(without, same, older)).toEqual([
    `CASE _schema_id WHEN 1 THEN 'web' WHEN 2 THEN "f" WHEN -3 THEN decode("g_2") END`,
  ])
  expect(read()).toEqual(['CAST(NULL AS VARCHAR)'])
  const unread = { id: 7, schema: record({ name: 'f', type: 'long' }), columns: ['f'] }
  expect(() => read(same, unread)).toThrowError(
    expect.objectContaining({ code: 'SCHEMA_INCOMPATIBLE', context: { field: 'f', schema: 7 } }),
  )
})
