/**
 * Law 4, expressions: each has the same value in every row, whichever reader computes it.
 *
 * Method: random expressions over tiny domains; each is a dimension of a metric with one window per row, read by DuckDB and by the
 * generated loops, in the fast, exact, null and null-free variants. What leaves its type is refused by both, and only then.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseFlatSchema } from '#format/avro-schema.ts'
import { type DuckDb, openDuckDb } from '#io/duckdb.ts'
import { BindProblem, bindScalar, type Scope, scopeOf } from '#metrics/bind.ts'
import { fieldsOf, type Node, walk } from '#metrics/expression.ts'
import { compileReader } from '#metrics/to-columns.ts'
import { toSql } from '#metrics/to-sql.ts'
import type { OracleValue } from '#testkit/oracle.ts'
import { isGate, random, runs } from '#testkit/runs.ts'
import { ExpressionGenerator } from './expression-generator.ts'
import { chunkFrom, drawRows, oracleValue, relationFrom, SCHEMA, type SmallRow } from './rows.ts'

let db: DuckDb
let scope: Scope
beforeAll(async () => {
  db = await openDuckDb({ threads: 1, memoryMb: 512, temporaryDirectory: null })
  scope = scopeOf(parseFlatSchema(SCHEMA).fields)
})
afterAll(() => db.close())

const utf8 = new TextDecoder()
const REFUSED = 'refused'
type Values = OracleValue[] | typeof REFUSED

const metricOf = (node: Node) => ({
  where: null,
  dimensions: [{ name: 'x', node }],
  measures: [{ name: 'n', kind: 'count' as const, argument: null, filter: null }],
})

/** The expression's value in each row, by the generated loops. */
function byColumns(node: Node, rows: readonly SmallRow[]): Values {
  try {
    const column = compileReader(metricOf(node), fieldsOf([node]))()(chunkFrom(rows)).dimensions[0]!
    return rows.map((_, i) => {
      if (column.valid !== null && column.valid[i] === 0) return null
      if (column.spec.kind === 'string') return utf8.decode(column.bytes.subarray(column.from[i], column.until[i]))
      if (column.spec.kind === 'bool') return column.f64[i] === 1
      if (column.spec.kind === 'float64') return column.f64[i]!
      return column.wide === null ? BigInt(column.f64[i]!) : column.wide[i]!
    })
  } catch (error) {
    if (error instanceof RangeError && error.message.startsWith('MEASURE_OVERFLOW ')) return REFUSED
    throw error
  }
}

/** The same by DuckDB: one window per row brings the rows back in order. */
async function bySql(node: Node, rows: readonly SmallRow[]): Promise<Values> {
  const apart = rows.map((row, at) => ({ ...row, eventTime: at * 1000 }))
  const policy = { window: { kind: 'tumbling', sizeMs: 1000 } as const, allowedLatenessMs: 0 }
  const sql = toSql(metricOf(node), policy, { relation: relationFrom(apart), windows: null })
  try {
    return (await db.query(sql)).map((row) => oracleValue(row['d_x'], node.type.base === 'float'))
  } catch (error) {
    expect(String(error)).toMatch(/Out of Range|Conversion Error|MEASURE_OVERFLOW|Overflow/)
    return REFUSED
  }
}

/** DuckDB folds constant parts before any row is read, and with them the overflows they would have raised or hidden. */
const hasConstantPart = (root: Node): boolean =>
  [...walk(root)].some((node) =>
    node.op === 'literal' ? node.value === null || typeof node.value === 'boolean' : fieldsOf([node]).length === 0,
  )

test('[B2] [F2] an expression has one value, whichever reader computes it', async () => {
  const { seed, numRuns } = runs(250, 'differential/expressions')
  const next = random(seed)
  const generator = new ExpressionGenerator(next)
  let compared = 0
  let refusedByBoth = 0
  for (let run = 0; run < numRuns; run++) {
    const text = generator.any(1 + Math.floor(next() * 3))
    const node = await bindScalar(db, scope, text).catch((error: unknown) => {
      if (error instanceof BindProblem) return null
      throw error
    })
    if (node === null) continue
    for (const domain of ['tame', 'wild'] as const) {
      for (const nulls of [true, false]) {
        const rows = drawRows(next, 24, domain, { nulls })
        const columns = byColumns(node, rows)
        const sql = await bySql(node, rows)
        const place = `${text} over ${domain} rows, SEED=${seed}`
        if (columns === REFUSED || sql === REFUSED) {
          if (columns === sql) refusedByBoth++
          else
            expect(hasConstantPart(node), `${place}: ${columns === REFUSED ? 'columns' : 'sql'} alone refuse`).toBe(
              true,
            )
          continue
        }
        for (const [at, value] of columns.entries()) {
          if (!Object.is(value, sql[at]))
            expect.unreachable(
              `${place}: ${String(value)} ≠ ${String(sql[at])} in ${JSON.stringify(rows[at]!.row, (_, v: unknown) => (typeof v === 'bigint' ? `${v}n` : v))}`,
            )
        }
        compared++
      }
    }
  }
  expect(compared).toBeGreaterThan(numRuns)
  if (isGate) expect(refusedByBoth).toBeGreaterThan(0)
})
