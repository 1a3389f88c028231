import { expect, test } from 'vitest'
import { openDuckDb, sqlName, sqlText } from './duckdb.ts'

test('int64, HUGEINT and decimals arrive exact; names and texts are quoted', async () => {
  const db = await openDuckDb({ threads: 1, memoryMb: 256, temporaryDirectory: null })
  const [row] =
    await db.query(`select 9007199254740993::BIGINT as big, 170141183460469231731687303715884105727::HUGEINT as huge,
    1.25::DECIMAL(18,2) as money, ${sqlText("it's")} as ${sqlName('a"b')}`)
  expect(row!['big']).toBe(9007199254740993n)
  expect(row!['huge']).toBe(170141183460469231731687303715884105727n)
  expect(row!['money']).toMatchObject({ value: 125n, scale: 2 })
  expect(row!['a"b']).toBe("it's")
  await expect(db.query('select nonsense(')).rejects.toMatchObject({ code: 'DUCKDB_FAILED' })
  db.close()
})
