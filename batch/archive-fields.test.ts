/** Every change of a field that Avro's schema resolution reads, over real Parquet columns; and what it does not read is refused. */
import { expect, test } from 'vitest'
import { parseFlatSchema } from '#format/avro-schema.ts'
import { openDuckDb } from '#io/duckdb.ts'
import { fieldsOf } from './archive-fields.ts'

const enumOf = (symbols: string[], more: object = {}) => ({ type: 'enum', name: 'E', symbols, ...more })
const decimalOf = (precision: number, scale: number) => ({ type: 'bytes', logicalType: 'decimal', precision, scale })

/** [what, field of today, the file's columns as SQL, the value as text]; null expects a refusal. */
const CASES: readonly (readonly [string, object, string, string | null])[] = [
  ['as it is', { type: 'long' }, '7::BIGINT AS f', '7'],
  ['an alias', { type: 'long', aliases: ['was'] }, '7::BIGINT AS was', '7'],
  ['an older alias', { type: 'long', aliases: ['was', 'once'] }, '7::BIGINT AS once', '7'],
  ['two of its names at once', { type: 'long', aliases: ['was'] }, '7::BIGINT AS was, 8::BIGINT AS f', null],
  ['not there, with a default', { type: 'string', default: "Côte d'Ivoire" }, '1 AS other', "Côte d'Ivoire"],
  ['int as double', { type: 'double' }, '9007199254740991::BIGINT AS f', '9007199254740991.0'],
  ['int as float: rounded to single precision', { type: 'float' }, '16777217::BIGINT AS f', '16777216.0'],
  ['double as int', { type: 'long' }, '1.5::DOUBLE AS f', null],
  ['string as bytes: its UTF-8', { type: 'bytes' }, "'é\\x' AS f", '\\xC3\\xA9\\x5Cx'],
  ['bytes as string', { type: 'string' }, "'\\xC3\\xA9'::BLOB AS f", 'é'],
  ['int as string', { type: 'string' }, '7::BIGINT AS f', null],
  ['a decimal of more digits', { type: decimalOf(18, 2) }, '1.25::DECIMAL(9,2) AS f', '1.25'],
  ['a decimal of another scale', { type: decimalOf(18, 3) }, '1.25::DECIMAL(9,2) AS f', null],
  ['a symbol that is gone', { type: enumOf(['A', 'B'], { default: 'A' }) }, "'C' AS f", 'A'],
  ['a symbol that is there', { type: enumOf(['A', 'B'], { default: 'A' }) }, "'B' AS f", 'B'],
  ['null of an enum', { type: ['null', enumOf(['A'], { default: 'A' })] }, 'NULL::VARCHAR AS f', null],
]

test('[R5] a column of an older file is read as the field of today, or refused', async () => {
  const db = await openDuckDb({ threads: 1, memoryMb: 64, temporaryDirectory: null })
  for (const [what, field, columns, expected] of CASES) {
    const schema = JSON.stringify({ type: 'record', name: 'R', fields: [{ name: 'f', ...field }] })
    const described = await db.query(`DESCRIBE SELECT ${columns}`)
    const types = new Map(described.map((row) => [row['column_name'] as string, row['column_type'] as string]))
    const read = async () => {
      const [sql] = fieldsOf(parseFlatSchema(schema), { columns: types, writers: null })
      const [row] = await db.query(`SELECT (${sql})::VARCHAR AS value FROM (SELECT ${columns})`)
      return row!['value']
    }
    if (expected === null && what !== 'null of an enum') {
      await expect(read(), what).rejects.toMatchObject({ code: 'SCHEMA_INCOMPATIBLE', context: { field: 'f' } })
    } else expect(await read(), what).toBe(expected)
  }
  db.close()
})
