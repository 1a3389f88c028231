/**
 * Own-data scenarios: a real data set of ../shared/datasets through a definitions directory, events over HTTP, a build in the
 * middle, more events after it; then every (window, group, measure) of the merged answer against DuckDB over the original Parquet file,
 * which never went through the platform.
 */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { DuckDBDecimalValue } from '@duckdb/node-api'
import { type Cell, type DuckDb, openDuckDb, sqlText } from '#io/duckdb.ts'
import type { QueryAnswer, TestPlatform } from '#testkit/embedded.ts'

/** A Parquet file of the shared data sets, or why it cannot be used. */
export type DataSet = { readonly path: string; readonly skip: null } | { readonly path: null; readonly skip: string }

/** Finds a data set; prints the reason when it is absent. */
export function dataSet(folder: string, file: string): DataSet {
  const path = resolve('../shared/datasets', folder, file)
  if (existsSync(path)) return { path, skip: null }
  const skip = `../shared/datasets/${folder}/${file} is not here`
  process.stderr.write(`skipped, own data ${folder}: ${skip}\n`)
  return { path: null, skip }
}

/** The original: the file as relation `source`, with its row number `n` from 0. */
export async function openOriginal(path: string): Promise<DuckDb> {
  const duckdb = await openDuckDb({ threads: 2, memoryMb: 1_000, temporaryDirectory: null })
  await duckdb.run(
    `CREATE VIEW source AS SELECT *, file_row_number AS n FROM read_parquet(${sqlText(path)}, file_row_number = true)`,
  )
  return duckdb
}

/**
 * Events `[from, until)` of the original as NDJSON bodies of `rows` events, in order. `select` lists the stream's fields
 * over `source`.
 */
async function* bodiesOf(
  duckdb: DuckDb,
  select: string,
  range: { from: number; until: number },
  rows = 5_000,
): AsyncGenerator<string> {
  for (let from = range.from; from < range.until; from += rows) {
    const until = Math.min(from + rows, range.until)
    const [row] = await duckdb.query(
      `SELECT string_agg(to_json(event)::VARCHAR, chr(10) ORDER BY n) AS body
       FROM (SELECT n, struct_pack(${select}) AS event FROM source WHERE n >= ${from} AND n < ${until})`,
    )
    yield row!['body'] as string
  }
}

/** Sends a range of the original, the next body being made while one is taken; returns how many events there were. */
export async function sendRange(
  platform: TestPlatform,
  duckdb: DuckDb,
  source: { stream: string; select: string },
  range: { from: number; until: number },
): Promise<number> {
  let sent = 0
  let sending: Promise<number> = Promise.resolve(0)
  for await (const body of bodiesOf(duckdb, source.select, range)) {
    sent += await sending
    sending = platform.send(source.stream, body)
  }
  return sent + (await sending)
}

/** Rows by `[from, group…]`, values as text: decimals with all their digits, integers in full. */
export type Cells = ReadonlyMap<string, Readonly<Record<string, string | null>>>

const textOf = (value: string | number | boolean | null): string | null => (value === null ? null : String(value))

/** Every cell of an answer. */
export function cellsOf(answer: QueryAnswer): Cells {
  return new Map(
    answer.rows.map(({ from, group, values }) => [
      JSON.stringify([from, ...Object.values(group)]),
      Object.fromEntries(Object.entries(values).map(([name, value]) => [name, textOf(value)])),
    ]),
  )
}

const plain = (cell: Cell): string | number | boolean | null =>
  typeof cell === 'bigint' || cell instanceof DuckDBDecimalValue
    ? String(cell)
    : (cell as string | number | boolean | null)

/** Every cell of an oracle's rows: column `at` (epoch ms) and the dimensions make the key, the rest are measures. */
export async function cellsBySql(duckdb: DuckDb, sql: string, dimensions: readonly string[]): Promise<Cells> {
  const rows = await duckdb.query(sql)
  return new Map(
    rows.map((row) => {
      const { at, ...rest } = row
      const group = dimensions.map((name) => plain(rest[name]!))
      const measures = Object.entries(rest).filter(([name]) => !dimensions.includes(name))
      return [
        JSON.stringify([new Date(Number(at)).toISOString(), ...group]),
        Object.fromEntries(measures.map(([name, cell]) => [name, textOf(plain(cell))])),
      ]
    }),
  )
}

/** Cells that are not the same, in words; the first ten. Empty = equal. */
export function differences(found: Cells, expected: Cells): string[] {
  const out: string[] = []
  for (const key of new Set([...expected.keys(), ...found.keys()])) {
    const [a, b] = [found.get(key), expected.get(key)]
    if (a === undefined || b === undefined) out.push(`${key}: ${a === undefined ? 'missing' : 'not in the original'}`)
    else {
      for (const name of Object.keys(b)) {
        if (a[name] !== b[name]) out.push(`${key} ${name}: ${a[name]} instead of ${b[name]}`)
      }
    }
  }
  return out.slice(0, 10)
}

/** The sum of a measure over an answer's cells, exact; decimals as text with `scale` digits. */
export function total(cells: Cells, measure: string, scale = 0): string {
  let sum = 0n
  for (const values of cells.values()) {
    const value = values[measure]
    if (value !== null && value !== undefined) sum += BigInt(value.replace('.', ''))
  }
  if (scale === 0) return sum.toString()
  const digits = (sum < 0n ? -sum : sum).toString().padStart(scale + 1, '0')
  return `${sum < 0n ? '-' : ''}${digits.slice(0, -scale)}.${digits.slice(-scale)}`
}

/** A whole answer with every cell at the metric's own window, numbers as text. */
export async function wholeAnswer(platform: TestPlatform, metric: string): Promise<QueryAnswer> {
  const { layout } = platform.parts.definitions.metrics.find(({ name }) => name === metric)!
  return platform.query(metric, {
    group_by: layout.dimensions.map(({ name }) => name),
    numbers: 'string',
    limit: 1_000_000,
  })
}
