/**
 * Law 6 with both readers: the view at a cut is what DuckDB makes of the metric's SQL, the partials from the cut on are what
 * the stream engine publishes, and their merge is the oracle's recompute of everything. For every cut of random histories.
 * A failure prints its seed; repeat with SEED=… vitest run --project differential test/differential/merge.test.ts
 */
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { MergeStore } from '#core/merge.ts'
import { type DuckDb, openDuckDb, sqlText } from '#io/duckdb.ts'
import type { MetricDefinition } from '#metrics/definition.ts'
import type { OracleValue } from '#testkit/oracle.ts'
import { tableOf } from '#testkit/partials.ts'
import { random, runs } from '#testkit/runs.ts'
import { divide, partitionHistories, type Reading, readHistory } from '#testkit/simulator-history.ts'
import { answerOf, cutsOf, exactAnswer, runOwner, viewAt } from '#testkit/simulator-merge.ts'
import { loadVisits, spellTable } from '#testkit/simulator-stream.ts'

let db: DuckDb
let metrics: MetricDefinition[]

beforeAll(async () => {
  db = await openDuckDb({ threads: 1, memoryMb: 128, temporaryDirectory: null })
  const { metric } = await loadVisits()
  metrics = [metric('by_place'), metric('paid')]
})
afterAll(() => db.close())

/** The accepted records below the offsets, as rows of the archive without duplicates. */
function relationOf(readings: readonly Reading[], offsets: readonly number[]): string {
  const rows = readings.flatMap(({ judged }, partition) =>
    judged
      .filter(({ event, verdict }) => verdict === 'accepted' && event.offset < offsets[partition]!)
      .map(({ event: { eventTime, id, row }, watermark }) => {
        const text = (value: OracleValue) => (value === null ? 'NULL' : sqlText(String(value)))
        const amount = row['amount'] === null ? 'NULL' : `${row['amount']}::DECIMAL(14,0) / 100`
        const cells = [text(id), eventTime, text(row['place']!), row['score'] ?? 'NULL', amount, `'${row['ratio']}'`]
        return `('event', ${eventTime}, ${watermark ?? 'NULL'}, ${cells.join(', ')})`
      }),
  )
  const columns = `_kind, _event_time::BIGINT _event_time, _watermark::BIGINT _watermark, id::VARCHAR id, "at"::BIGINT "at",
    place::VARCHAR place, score::BIGINT score, amount::DECIMAL(12,2) amount, ratio::DOUBLE ratio`
  const names = '_kind, _event_time, _watermark, id, "at", place, score, amount, ratio'
  const none = `(SELECT 'event', 0, 0, '', 0, '', 0, 0, 0 WHERE false)`
  const values = rows.length === 0 ? none : `(VALUES ${rows.join(', ')})`
  return `(SELECT ${columns} FROM ${values} AS r(${names}))`
}

/** The view's rows as a table, from DuckDB's answer. */
async function sqlTable(metric: MetricDefinition, relation: string) {
  const rows = await db.query(metric.toSql({ relation, windows: null }))
  /** DuckDB's DECIMAL(38,0) comes as an object, BIGINT as a bigint. */
  const exact = (cell: unknown): bigint =>
    typeof cell === 'object' && cell !== null && 'value' in cell ? (cell.value as bigint) : BigInt(cell as bigint)
  return tableOf(
    metric.layout,
    rows.map((row) => ({
      from: Number(row['window_from']),
      group: metric.layout.dimensions.map(({ name }) => row[`d_${name}`] as string | null),
      cells: [
        ...metric.layout.measures.flatMap(({ name, kind, float }) => {
          if (kind === 'count') return [Number(row[`${name}_n`])]
          if (kind === 'sum' || kind === 'avg') {
            const sum = exact(row[`${name}_s`])
            return [Number(row[`${name}_n`]), Number(sum >> 32n), Number(sum & 0xffff_ffffn)]
          }
          const value = row[`${name}_v`] ?? null
          if (value === null) return [kind === 'min' ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY, 0]
          return float ? [value as number, 0] : [Number(value), Number(exact(value) - BigInt(Number(value)))]
        }),
        Number(row['late']),
      ],
    })),
  )
}

test('[B2] [T5] [X6] view by SQL at any cut, merged with the partials of the stream engine from it on, is the recompute of everything', async () => {
  let merged = 0
  await fc.assert(
    fc.asyncProperty(partitionHistories, fc.nat(2 ** 31), async (histories, seed) => {
      const next = random(seed)
      const readings = histories.map((history, partition) => readHistory(partition, history))
      for (const metric of metrics) {
        const published = histories.flatMap((history, partition) => {
          const owner = runOwner(metric, partition, divide(history, next, 0.5), null, () => true)
          return [...owner.sealed, ...owner.live]
        })
        for (const cut of cutsOf(readings)) {
          const expected = viewAt(readings, metric, cut)
          const table = await sqlTable(metric, relationOf(readings, expected.offsets))
          expect(spellTable(table)).toEqual(spellTable(expected.table))
          const store = new MergeStore({
            layout: metric.layout,
            partitions: histories.length,
            generation: metric.generation,
          })
          store.publish({ ...expected, table })
          for (const record of published) store.apply(record.tags, record.table)
          expect(store.refusal()).toBeNull()
          expect(store.state().offsets).toEqual(readings.map(({ end }) => end))
          expect(answerOf(store, metric)).toEqual(
            exactAnswer(
              readings,
              metric,
              readings.map(({ end }) => end),
            ),
          )
          merged++
        }
      }
    }),
    runs(25, 'differential/merge'),
  )
  expect(merged).toBeGreaterThan(0)
})
