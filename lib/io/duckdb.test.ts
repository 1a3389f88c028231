import { expect, test } from 'vitest'
import { type DuckDb, openDuckDb, shareDuckDb, sqlName, sqlText } from './duckdb.ts'

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

test('[E6] a shared database: one limit for all its connections, temporary tables apart, nothing left after the last', async () => {
  const open = shareDuckDb({ threads: 1, memoryMb: 64, temporaryDirectory: null })
  const [first, second] = [await open(), await open()]
  const held = async (db: DuckDb): Promise<number> => {
    const [row] = await db.query('SELECT sum(memory_usage_bytes)::BIGINT AS bytes FROM duckdb_memory()')
    return Number(row!['bytes'])
  }
  await first.run('CREATE TEMP TABLE filled AS SELECT sha256(range::VARCHAR) AS a FROM range(400000)')
  expect(await held(second)).toBeGreaterThan(20_000_000)
  await expect(second.query('SELECT count(*) AS n FROM filled')).rejects.toThrow(/filled/)
  first.close()
  second.close()
  const third = await open()
  expect(await held(third)).toBeLessThan(1_000_000)
  third.close()
})

test('without a folder to spill into, a query beyond the memory limit fails and writes nothing', async () => {
  const db = await openDuckDb({ threads: 1, memoryMb: 32, temporaryDirectory: null })
  await expect(db.run('CREATE TABLE filled AS SELECT sha256(range::VARCHAR) AS a FROM range(1000000)')).rejects.toThrow(
    /Out of Memory/,
  )
  const [spilled] = await db.query('SELECT count(*) AS files FROM duckdb_temporary_files()')
  expect(spilled!['files']).toBe(0n)
  db.close()
})
