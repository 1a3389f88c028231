/**
 * Law 4 for conditions: rows that pass `where` and a measure's `filter`, and what is summed of them, in both readers.
 *
 * Goal: DuckDB treats conditions otherwise than values. It splits a conjunction, moves parts of it into the Parquet scan, turns
 * comparisons round and leaves row groups out by their statistics; none of it may show. Method: random conditions over a few
 * rows per Parquet file, so that statistics decide often; one window per row says which rows passed.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseFlatSchema } from '#format/avro-schema.ts'
import { type DuckDb, openDuckDb, sqlText } from '#io/duckdb.ts'
import { BindProblem, bindCondition, bindScalar, type Scope, scopeOf } from '#metrics/bind.ts'
import { fieldsOf } from '#metrics/expression.ts'
import { compileReader } from '#metrics/to-columns.ts'
import { type BoundMetric, toSql } from '#metrics/to-sql.ts'
import { isGate, random, runs } from '#testkit/runs.ts'
import { ExpressionGenerator } from './expression-generator.ts'
import { chunkFrom, drawRows, relationFrom, SCHEMA, type SmallRow } from './rows.ts'

const ROWS = 96
const ROWS_PER_FILE = 6
const METRICS_PER_TABLE = 40
const POLICY = { window: { kind: 'tumbling', sizeMs: 1_000 }, allowedLatenessMs: 0 } as const

let db: DuckDb
let scope: Scope
let directory: string
beforeAll(async () => {
  db = await openDuckDb({ threads: 1, memoryMb: 512, temporaryDirectory: null })
  scope = scopeOf(parseFlatSchema(SCHEMA).fields)
  directory = await mkdtemp(join(tmpdir(), 'tidemark-conditions-'))
})
afterAll(async () => {
  db.close()
  await rm(directory, { recursive: true, force: true })
})

/** Per row that passed: its number, rows that the filter let through, values summed, sum, least. Null: the reader refused. */
type Passed = readonly string[] | null

async function bySql(metric: BoundMetric, relation: string): Promise<Passed> {
  try {
    const rows = await db.query(toSql(metric, POLICY, { relation, windows: null }))
    return rows.map((row) =>
      [Number(row['window_from']) / 1_000, row['f_n'], row['s_n'], (row['s_s'] as { value: bigint }).value, row['lo_v']]
        .map(String)
        .join(' '),
    )
  } catch (error) {
    expect(String(error)).toMatch(/Out of Range|Conversion Error|MEASURE_OVERFLOW|Overflow/)
    return null
  }
}

function byColumns(metric: BoundMetric, rows: readonly SmallRow[]): Passed {
  const nodes = metric.measures.flatMap(({ argument, filter }) => [argument, filter].filter((node) => node !== null))
  try {
    const read = compileReader(metric, fieldsOf([metric.where!, ...nodes]))()(chunkFrom(rows))
    const argument = read.arguments[1]!
    const passes = read.filters[0]!
    return rows.flatMap((_, i) => {
      if (read.where![i] === 0) return []
      const isNull = argument.valid !== null && argument.valid[i] === 0
      const value = isNull ? null : argument.wide === null ? BigInt(argument.f64[i]!) : argument.wide[i]!
      const summed = passes[i] === 1 && value !== null
      return [[i, passes[i], summed ? 1 : 0, summed ? value : 0, value].map(String).join(' ')]
    })
  } catch (error) {
    if (error instanceof RangeError && error.message.startsWith('MEASURE_OVERFLOW ')) return null
    throw error
  }
}

test('[W8] random conditions let the same rows pass in both readers', async () => {
  const { seed, numRuns } = runs(6, 'differential/conditions')
  const next = random(seed)
  const generator = new ExpressionGenerator(next)
  const condition = (): string => {
    const parts = Array.from({ length: 1 + Math.floor(next() * 3) }, () =>
      generator.boolean(1 + Math.floor(next() * 3)),
    )
    return parts.join(next() < 0.7 ? ' AND ' : ' OR ')
  }
  const counts = { compared: 0, some: 0, refused: 0 }
  for (let table = 0; table < numRuns; table++) {
    const drawn = drawRows(next, ROWS, table % 2 === 0 ? 'tame' : 'wild', { nulls: table % 3 !== 2 })
    const rows = drawn.map((row, at) => ({ ...row, eventTime: at * 1_000 }))
    const files: string[] = []
    for (let at = 0; at < rows.length; at += ROWS_PER_FILE) {
      const file = sqlText(join(directory, `${table}-${at}.parquet`))
      await db.run(`COPY ${relationFrom(rows.slice(at, at + ROWS_PER_FILE))} TO ${file} (FORMAT parquet)`)
      files.push(file)
    }
    const relation = `read_parquet([${files.join(', ')}], hive_partitioning = false)`
    for (let n = 0; n < METRICS_PER_TABLE; ) {
      const texts = { where: condition(), filter: condition(), argument: generator.number(2) }
      let metric: BoundMetric
      try {
        const filter = await bindCondition(db, scope, texts.filter)
        const argument = await bindScalar(db, scope, texts.argument)
        if (argument.type.base === 'float') continue
        metric = {
          where: await bindCondition(db, scope, texts.where),
          dimensions: [],
          measures: [
            { name: 'f', kind: 'count', argument: null, filter },
            { name: 's', kind: 'sum', argument, filter },
            { name: 'lo', kind: 'min', argument, filter: null },
          ],
        }
      } catch (error) {
        if (error instanceof BindProblem) continue
        throw error
      }
      n++
      const columns = byColumns(metric, rows)
      const sql = await bySql(metric, relation)
      // Which rows a condition is asked about is DuckDB's choice, so one reader may refuse what the other never computed.
      if (columns === null || sql === null) {
        counts.refused++
        continue
      }
      expect(sql, JSON.stringify(texts)).toEqual(columns)
      counts.compared++
      if (columns.length > 0 && columns.length < rows.length) counts.some++
    }
  }
  process.stdout.write(`differential/conditions: ${JSON.stringify(counts)}\n`)
  if (isGate) expect(counts.some).toBeGreaterThan(40)
}, 120_000)
