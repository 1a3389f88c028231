/**
 * Goal: whatever columns go in, DuckDB reads the same cells back, and equal input gives equal bytes.
 * Method: seeded random columns of every type, appended in random slices, read back through DuckDB and compared cell by cell.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { allocateColumn, CHUNK_ROWS, type Column, type ColumnKind } from '#core/columns.ts'
import { random } from '#core/random.ts'
import { type DuckDb, openDuckDb } from '#io/duckdb.ts'
import { SEED } from '#testkit/runs.ts'
import type { ParquetColumn } from './parquet-column.ts'
import { createParquetWriter, ROW_GROUP_ROWS } from './parquet-writer.ts'

const folder = mkdtempSync(join(tmpdir(), 'parquet-'))
let duck: DuckDb
beforeAll(async () => {
  duck = await openDuckDb({ threads: 1, memoryMb: 512, temporaryDirectory: null })
})
afterAll(() => {
  duck.close()
  rmSync(folder, { recursive: true })
})

type Value = number | bigint | string | Uint8Array | boolean | null

const column = (name: string, type: ParquetColumn['type'], nullable = true): ParquetColumn => ({
  name,
  type,
  nullable,
  precision: type === 'decimal' ? 18 : 0,
  scale: type === 'decimal' ? 3 : 0,
})
const KINDS: Record<ParquetColumn['type'], ColumnKind> = {
  boolean: 'bool',
  int32: 'int64',
  int64: 'int64',
  double: 'float64',
  string: 'string',
  bytes: 'bytes',
  decimal: 'decimal',
}

/** Puts values into a chunk's column as the projector would. */
function columnOf(spec: ParquetColumn, values: readonly Value[]): Column {
  const made = allocateColumn({ ...spec, kind: KINDS[spec.type] }, values.length)
  if (values.includes(null)) made.valid = Uint8Array.from(values, (value) => (value === null ? 0 : 1))
  if (values.some((value) => typeof value === 'bigint' && (value > 2n ** 53n || value < -(2n ** 53n)))) {
    made.wide = BigInt64Array.from(values, (value) => BigInt((value ?? 0) as bigint))
  } else if (spec.type === 'string' || spec.type === 'bytes') {
    const parts = values.map((value) =>
      typeof value === 'string' ? Buffer.from(value) : ((value as Uint8Array | null) ?? Buffer.alloc(0)),
    )
    made.bytes = Buffer.concat(parts)
    let at = 0
    for (const [row, part] of parts.entries()) {
      made.from[row] = at
      at += part.length
      made.until[row] = at
    }
  } else for (const [row, value] of values.entries()) made.f64[row] = Number(value)
  return made
}

async function fileOf(
  columns: readonly ParquetColumn[],
  rows: readonly (readonly Value[])[],
  slice: () => number,
): Promise<Buffer> {
  const parts: Buffer[] = []
  const writer = createParquetWriter(columns, { write: async (bytes) => void parts.push(Buffer.from(bytes)) })
  for (let at = 0; at < rows.length; ) {
    const end = Math.min(rows.length, at + slice())
    for (const [index, spec] of columns.entries()) {
      writer.columns[index]!.appendColumn(
        columnOf(
          spec,
          rows.slice(at, end).map((row) => row[index]!),
        ),
        0,
        end - at,
      )
    }
    await writer.endRows(end - at)
    at = end
  }
  await writer.finish()
  return Buffer.concat(parts)
}

async function readBack(bytes: Buffer): Promise<Value[][]> {
  const path = join(folder, 'file.parquet')
  writeFileSync(path, bytes)
  const rows = await duck.query(`SELECT * FROM read_parquet('${path}')`)
  return rows.map((row) =>
    Object.values(row).map((cell) => {
      if (cell !== null && typeof cell === 'object')
        return 'bytes' in cell ? new Uint8Array(cell.bytes as Uint8Array) : (cell as { value: bigint }).value
      return cell
    }),
  )
}

const plain = (value: Value): Value => (value instanceof Uint8Array ? new Uint8Array(value) : value)
const asRead = (columns: readonly ParquetColumn[], rows: readonly (readonly Value[])[]): Value[][] =>
  rows.map((row) =>
    row.map((value, index) => {
      const type = columns[index]!.type
      return (type === 'int64' || type === 'decimal') && typeof value === 'number' ? BigInt(value) : plain(value)
    }),
  )

const ALL: ParquetColumn[] = [
  column('flag', 'boolean'),
  column('small', 'int32'),
  column('big', 'int64'),
  column('amount', 'decimal'),
  column('ratio', 'double'),
  column('low', 'string'),
  column('high', 'string'),
  column('blob', 'bytes'),
  column('offset', 'int64', false),
  column('kind', 'string', false),
]

function randomRow(draw: () => number, row: number, wide: boolean): Value[] {
  const maybe = (value: Value): Value => (draw() < 0.15 ? null : value)
  const big =
    wide && draw() < 0.3 ? (draw() < 0.5 ? 2n ** 63n - 1n : -(2n ** 63n)) : Math.floor((draw() - 0.5) * 2 ** 54)
  return [
    maybe(draw() < 0.5),
    maybe(Math.floor((draw() - 0.5) * 2 ** 32)),
    maybe(big),
    maybe(wide ? BigInt(Math.floor((draw() - 0.5) * 2 ** 52)) * 200n : Math.floor((draw() - 0.5) * 2 ** 40)),
    maybe((draw() - 0.5) * 10 ** Math.floor(draw() * 300 - 150)),
    maybe(['', 'Zürich', '東京', 'a', '😀'][Math.floor(draw() * 5)]!),
    maybe(`id-${row}-${'x'.repeat(Math.floor(draw() * 80))}`),
    maybe(Uint8Array.from({ length: Math.floor(draw() * 5) }, () => draw() * 256)),
    row,
    'event',
  ]
}

describe('parquet writer', () => {
  it(`DuckDB reads back every type, with nulls, UTF-8, wide integers and empty texts (SEED=${SEED})`, async () => {
    const draw = random(SEED)
    for (const count of [1, 7, 8, 9, 300, 6000]) {
      const rows = Array.from({ length: count }, (_, row) => randomRow(draw, row, row % 3 === 0 || count > 300))
      const bytes = await fileOf(ALL, rows, () => 1 + Math.floor(draw() * CHUNK_ROWS))
      expect(await readBack(bytes)).toEqual(asRead(ALL, rows))
    }
  })

  it('a file without rows has its columns', async () => {
    const bytes = await fileOf(ALL, [], () => 1)
    expect(await readBack(bytes)).toEqual([])
    const names = await duck.query(`DESCRIBE SELECT * FROM read_parquet('${join(folder, 'file.parquet')}')`)
    expect(names.map((row) => `${row['column_name'] as string} ${row['column_type'] as string}`)).toEqual([
      'flag BOOLEAN',
      'small INTEGER',
      'big BIGINT',
      'amount DECIMAL(18,3)',
      'ratio DOUBLE',
      'low VARCHAR',
      'high VARCHAR',
      'blob BLOB',
      'offset BIGINT',
      'kind VARCHAR',
    ])
  })

  it('columns of nulls alone, and a dictionary that overflows in the middle of a page', async () => {
    const columns = [
      column('none', 'string'),
      column('nothing', 'int64'),
      column('turns', 'string'),
      column('bits', 'boolean'),
    ]
    const rows = Array.from({ length: 25_000 }, (_, row): Value[] => [
      null,
      null,
      row < 3000 ? `low-${row % 7}` : row % 11 === 0 ? null : `high-${row}`,
      row % 3 === 0,
    ])
    const bytes = await fileOf(columns, rows, () => 1000)
    expect(await readBack(bytes)).toEqual(rows)
  })

  it('repeated values and nulls are what the same rows one by one would be', async () => {
    const columns = [column('a', 'string'), column('b', 'bytes')]
    const values = (row: number): Value[] => [row < 21_000 ? 'same' : null, row % 2 === 0 ? Uint8Array.of(1) : null]
    const rows = Array.from({ length: 45_000 }, (_, row) => values(row))
    rows.push([`long ${'x'.repeat(200)}`, Uint8Array.of(2)], ['same', null])
    const parts: Buffer[] = []
    const writer = createParquetWriter(columns, { write: async (bytes) => void parts.push(Buffer.from(bytes)) })
    for (let at = 0; at < rows.length; at += 1000) {
      const slice = rows.slice(at, at + 1000)
      for (const [index, target] of writer.columns.entries()) {
        for (let from = 0, until = 0; from < slice.length; from = until) {
          const value = slice[from]![index]!
          while (until < slice.length && slice[until]![index] === value) until++
          if (value === null) target.appendNulls(until - from)
          else target.appendBytes(typeof value === 'string' ? Buffer.from(value) : (value as Uint8Array), until - from)
        }
      }
      await writer.endRows(slice.length)
    }
    await writer.finish()
    expect(await readBack(Buffer.concat(parts))).toEqual(rows)
    expect(Buffer.concat(parts).equals(await fileOf(columns, rows, () => 1000))).toBe(true)
  })

  it('equal rows in equal slices give equal bytes', async () => {
    const rows = Array.from({ length: 3000 }, (_, row) => randomRow(random(row), row, false))
    expect((await fileOf(ALL, rows, () => 700)).equals(await fileOf(ALL, rows, () => 700))).toBe(true)
  })

  it('slices do not matter: pages are cut by rows and values', async () => {
    const rows = Array.from({ length: 25_000 }, (_, row): Value[] => [
      row,
      `v${row % 9000}`,
      row % 5 === 0 ? null : row,
    ])
    const columns = [column('a', 'int64', false), column('b', 'string'), column('c', 'int64')]
    expect((await fileOf(columns, rows, () => 1024)).equals(await fileOf(columns, rows, () => 313))).toBe(true)
  })

  it('several row groups, with min and max that DuckDB can prune by', async () => {
    const columns = [column('_offset', 'int64', false), column('v', 'int64')]
    const parts: Buffer[] = []
    const writer = createParquetWriter(columns, { write: async (bytes) => void parts.push(Buffer.from(bytes)) })
    const total = ROW_GROUP_ROWS * 2 + 500
    const values = new Float64Array(CHUNK_ROWS)
    for (let at = 0; at < total; at += CHUNK_ROWS) {
      const count = Math.min(CHUNK_ROWS, total - at)
      for (let i = 0; i < count; i++) values[i] = at + i
      writer.columns[0]!.appendNumbers(values, null, 0, count)
      if (at === 0) writer.columns[1]!.appendNulls(count)
      else writer.columns[1]!.appendNumbers(new Float64Array(count).fill(-5), null, 0, count)
      await writer.endRows(count)
    }
    await writer.finish()
    writeFileSync(join(folder, 'groups.parquet'), Buffer.concat(parts))
    const path = join(folder, 'groups.parquet')
    const [sums] = await duck.query(
      `SELECT count(*) AS n, sum(_offset)::BIGINT AS s, sum(v)::BIGINT AS v FROM read_parquet('${path}')`,
    )
    expect(sums).toEqual({
      n: BigInt(total),
      s: (BigInt(total) * BigInt(total - 1)) / 2n,
      v: -5n * BigInt(total - CHUNK_ROWS),
    })
    const bounds = await duck.query(
      `SELECT row_group_num_rows AS n, stats_min_value AS least, stats_max_value AS most, stats_null_count AS nulls
       FROM parquet_metadata('${path}') ORDER BY path_in_schema, row_group_id`,
    )
    expect(bounds).toEqual([
      { n: BigInt(ROW_GROUP_ROWS), least: '0', most: String(ROW_GROUP_ROWS - 1), nulls: 0n },
      { n: BigInt(ROW_GROUP_ROWS), least: String(ROW_GROUP_ROWS), most: String(ROW_GROUP_ROWS * 2 - 1), nulls: 0n },
      { n: 500n, least: String(ROW_GROUP_ROWS * 2), most: String(total - 1), nulls: 0n },
      { n: BigInt(ROW_GROUP_ROWS), least: '-5', most: '-5', nulls: BigInt(CHUNK_ROWS) },
      { n: BigInt(ROW_GROUP_ROWS), least: '-5', most: '-5', nulls: 0n },
      { n: 500n, least: '-5', most: '-5', nulls: 0n },
    ])
  })

  it('a column that is added on the way is null before, in groups that are written too; texts under keys', async () => {
    const parts: Buffer[] = []
    const writer = createParquetWriter([column('a', 'int64', false)], {
      write: async (bytes) => void parts.push(bytes as Buffer),
    })
    const total = ROW_GROUP_ROWS * 2 + 500
    const added = [ROW_GROUP_ROWS + CHUNK_ROWS, total - 10]
    const values = new Float64Array(CHUNK_ROWS)
    let at = 0
    const rows = async (until: number): Promise<void> => {
      while (at < until) {
        const count = Math.min(CHUNK_ROWS, until - at)
        for (let i = 0; i < count; i++) values[i] = at + i
        writer.columns[0]!.appendNumbers(values, null, 0, count)
        writer.columns[1]?.appendNumbers(values, null, 0, count)
        writer.columns[2]?.appendBytes(Buffer.from('x'), count)
        await writer.endRows(count)
        at += count
      }
    }
    await rows(added[0]!)
    expect(writer.addColumn(column('b', 'int64'))).toBe(1)
    await rows(added[1]!)
    expect(writer.addColumn(column('c', 'string'))).toBe(2)
    await rows(total)
    await writer.finish(
      new Map([
        ['who', 'Zoë'],
        ['empty', ''],
      ]),
    )
    const path = join(folder, 'added.parquet')
    writeFileSync(path, Buffer.concat(parts))
    const [counts] = await duck.query(
      `SELECT count(*) AS n, sum(a)::BIGINT AS a, min(b) AS b, count(b) AS bs, count(*) FILTER (b = a) AS same, count(c) AS c, min(a) FILTER (c = 'x') AS first
       FROM read_parquet('${path}')`,
    )
    expect(counts).toEqual({
      n: BigInt(total),
      a: (BigInt(total) * BigInt(total - 1)) / 2n,
      b: BigInt(added[0]!),
      bs: BigInt(total - added[0]!),
      same: BigInt(total - added[0]!),
      c: 10n,
      first: BigInt(added[1]!),
    })
    const texts = await duck.query(
      `SELECT decode(key) AS key, decode(value) AS value FROM parquet_kv_metadata('${path}')`,
    )
    expect(texts).toEqual([
      { key: 'who', value: 'Zoë' },
      { key: 'empty', value: '' },
    ])
  })
})
