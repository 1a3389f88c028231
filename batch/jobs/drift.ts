/**
 * Job drift: the SQL view against the stream view over the same cut, cell by cell, in DuckDB.
 *
 * Keys are grouped, not joined, so that a row that one arm has twice shows as well. The report is written once under
 * `drift/<metric>/<cut>.json`; a repeated run writes `<cut>-2.json` and so on, for a report is evidence and is not replaced.
 */

import { DuckDBDecimalValue } from '@duckdb/node-api'
import { type DifferingRow, type DriftDifference, differencesOf } from '#core/drift.ts'
import type { GroupValue } from '#core/partial.ts'
import { canonicalJson } from '#format/canonical-json.ts'
import type { Cell, DuckDb, Row } from '#io/duckdb.ts'
import { OperatingError } from '#io/errors.ts'
import { failpoint } from '#io/failpoints.ts'
import type { JobContext } from '#io/ports.ts'
import { latestView, type ViewDraft } from '#io/views.ts'
import type { MetricDefinition } from '#metrics/definition.ts'
import { type DriftReport, driftPath, type ReportedCell, type ReportedDifference } from '#schemas/drift.ts'
import { fileList, verifyFiles } from '../archive-input.ts'
import { archiveAt } from '../await-cut.ts'
import type { BatchDeps } from '../deps.ts'
import { type ViewColumn, viewColumns } from '../sql-types.ts'
import { commonRanges, type DayRange, rangeOf } from '../view-blocks.ts'
import { buildViews, withDuckDb } from './build-view.ts'
import { streamViewAt } from './stream-view.ts'

/** Differences that a report lists; the counts are over all of them. */
const LISTED = 100

/**
 * Compares the two arms at the cut of the view that is read, building the other arm there, and writes the report.
 * @throws OperatingError VIEW_UNKNOWN when nothing was built yet, and what building the other arm throws
 */
export async function runDrift(deps: BatchDeps, metric: MetricDefinition, job: JobContext): Promise<DriftReport> {
  const arms = await bothArms(deps, metric, job)
  const found = await compareViews(deps, metric, arms, job)
  const report: Omit<DriftReport, 'report'> = {
    format: 1,
    metric: metric.name,
    generation: metric.generation,
    cut: arms.sql.cut,
    offsets: arms.sql.offsets,
    cells_compared: found.cells,
    cells_different: found.different,
    unexplained: found.different,
    causes: [],
    differences: found.differences.map((difference) => reported(metric, difference)),
    revision: null,
    created: new Date(deps.clock.now()).toISOString(),
  }
  return writeReport(deps, report)
}

async function bothArms(
  deps: BatchDeps,
  metric: MetricDefinition,
  job: JobContext,
): Promise<{ sql: ViewDraft; stream: ViewDraft }> {
  const primary = metric.mode === 'kappa' ? 'stream' : 'sql'
  const view = await latestView(deps.lake, metric.name, primary)
  if (view === null || view.generation !== metric.generation) {
    throw new OperatingError('VIEW_UNKNOWN', `${metric.name} has no view of generation ${metric.generation} yet`, {
      metric: metric.name,
    })
  }
  if (primary === 'sql') return { sql: view, stream: await streamViewAt(deps, metric, view, job) }
  if ((await archiveAt(deps.lake, metric.stream.name, view.cut)) === null) {
    throw new OperatingError('ARCHIVE_BEHIND', `the archive does not cover cut ${view.cut} of ${metric.name}`, {
      cut: view.cut,
    })
  }
  const [built] = await buildViews(deps, metric.stream, [metric], { cut: view.cut, days: 'touched' }, job)
  return { sql: built!.draft, stream: view }
}

/** Counts over all cells, and the first differences in order of window and group. */
export async function compareViews(
  deps: BatchDeps,
  metric: MetricDefinition,
  arms: { sql: ViewDraft; stream: ViewDraft },
  job: JobContext,
): Promise<{ cells: number; different: number; differences: DriftDifference[] }> {
  const columns = viewColumns(metric.layout)
  const measures = measuresOf(columns)
  await verifyFiles(deps.lake, [...arms.sql.files, ...arms.stream.files], job.signal)
  const ranges = commonRanges([...arms.sql.files, ...arms.stream.files].map(rangeOf))
  return withDuckDb(deps, job, async (db) => {
    let groups = 0
    let different = 0
    const differences: DriftDifference[] = []
    for (const [at, range] of ranges.entries()) {
      await job.progress(at / ranges.length)
      await db.run(`CREATE OR REPLACE TEMP TABLE compared AS ${comparison(deps, columns, arms, range)}`)
      const changed = measures.map(
        (measure) =>
          `(rows_a <> 1 OR rows_b <> 1 OR ${measure.columns.map((name) => `"a_${name}" IS DISTINCT FROM "b_${name}"`).join(' OR ')})`,
      )
      const [counts] = await db.query(
        `SELECT count(*) AS n, ${changed.map((sql, i) => `count(*) FILTER (WHERE ${sql}) AS c${i}`).join(', ')} FROM compared`,
      )
      groups += Number(counts!['n'])
      const here = measures.reduce((sum, _, i) => sum + Number(counts![`c${i}`]), 0)
      different += here
      if (here > 0 && differences.length < LISTED) differences.push(...(await listed(db, columns, changed)))
    }
    return { cells: groups * measures.length, different, differences: differences.slice(0, LISTED) }
  })
}

/** The first rows that differ, as cells. */
async function listed(
  db: DuckDb,
  columns: readonly ViewColumn[],
  changed: readonly string[],
): Promise<DriftDifference[]> {
  const order = columns.filter(({ role }) => role === 'key').map(({ name }) => `"${name}" NULLS FIRST`)
  const rows = await db.query(
    `SELECT * FROM compared WHERE ${changed.join(' OR ')} ORDER BY ${order.join(', ')} LIMIT ${LISTED}`,
  )
  return rows.flatMap((row) => differencesOf(differing(row, columns)))
}

/** Both arms of some days, side by side: keys, rows per arm, and the combined columns of each. */
function comparison(
  deps: BatchDeps,
  columns: readonly ViewColumn[],
  arms: { sql: ViewDraft; stream: ViewDraft },
  range: DayRange,
): string {
  const keys = columns.filter(({ role }) => role === 'key').map(({ name }) => `"${name}"`)
  const values = columns.filter(({ combine }) => combine !== null)
  const side = (view: ViewDraft, arm: number): string[] => {
    const inRange = view.files.filter((file) => rangeOf(file).from >= range.from && rangeOf(file).until <= range.until)
    const paths = inRange.map((file) => file.path)
    const list = columns.map(({ name, type }) => `CAST("${name}" AS ${type}) AS "${name}"`).join(', ')
    return paths.length === 0
      ? []
      : [`SELECT ${arm} AS arm, ${list} FROM read_parquet(${fileList(deps.lake, paths)}, hive_partitioning = false)`]
  }
  const combined = ['a', 'b'].flatMap((prefix, arm) =>
    values.map(({ name, combine }) => `${combine}("${name}") FILTER (WHERE arm = ${arm}) AS "${prefix}_${name}"`),
  )
  return `SELECT ${keys.join(', ')}, count(*) FILTER (WHERE arm = 0) AS rows_a, count(*) FILTER (WHERE arm = 1) AS rows_b, ${combined.join(', ')}
    FROM (${[...side(arms.sql, 0), ...side(arms.stream, 1)].join(' UNION ALL ')}) GROUP BY ${keys.join(', ')}`
}

/** Measures with their columns, in order; `late` last. */
function measuresOf(columns: readonly ViewColumn[]): { measure: string; columns: string[] }[] {
  const measures: { measure: string; columns: string[] }[] = []
  for (const { name, measure, role } of columns) {
    if (measure === null) continue
    const last = measures.at(-1)
    if (last !== undefined && last.measure === measure && role !== 'late') last.columns.push(name)
    else measures.push({ measure, columns: [name] })
  }
  return measures
}

const suffix = (column: string): string => (column === 'late' ? 'n' : column.slice(column.lastIndexOf('_') + 1))

function differing(row: Row, columns: readonly ViewColumn[]): DifferingRow {
  const dimensions = columns.filter(({ role, name }) => role === 'key' && name !== 'window_from')
  const cell = (prefix: string, names: readonly string[]) =>
    Object.fromEntries(names.map((name) => [suffix(name), number(row[`${prefix}_${name}`] ?? null)]))
  return {
    windowFrom: Number(row['window_from']),
    group: Object.fromEntries(dimensions.map(({ name }) => [name.slice(2), groupValue(row[name] ?? null)])),
    sqlRows: Number(row['rows_a']),
    streamRows: Number(row['rows_b']),
    measures: measuresOf(columns).map(({ measure, columns: names }) => ({
      measure,
      sql: cell('a', names),
      stream: cell('b', names),
    })),
  }
}

const number = (cell: Cell): bigint | number | null =>
  cell instanceof DuckDBDecimalValue ? cell.value : (cell as bigint | number | null)

const groupValue = (cell: Cell): GroupValue => (cell instanceof DuckDBDecimalValue ? cell.value : (cell as GroupValue))

/** JSON form: numbers where JSON is exact, text where it is not; decimals of a group as decimal text. */
function reported(metric: MetricDefinition, difference: DriftDifference): ReportedDifference {
  const exact = (value: bigint | number | null): number | string | null => {
    if (typeof value !== 'bigint') return value
    const small = Number(value)
    return Number.isSafeInteger(small) ? small : value.toString()
  }
  const cell = (partial: DriftDifference['sql']): ReportedCell | null =>
    partial === null ? null : Object.fromEntries(Object.entries(partial).map(([key, value]) => [key, exact(value)]))
  const group = metric.layout.dimensions.map(({ name, kind, scale }) => {
    const value = difference.group[name] ?? null
    if (typeof value !== 'bigint') return [name, value] as const
    return [name, kind === 'decimal' ? new DuckDBDecimalValue(value, 38, scale).toString() : exact(value)] as const
  })
  return {
    window_from: new Date(difference.windowFrom).toISOString(),
    group: Object.fromEntries(group),
    measure: difference.measure,
    sql: cell(difference.sql),
    stream: cell(difference.stream),
  }
}

async function writeReport(deps: BatchDeps, report: Omit<DriftReport, 'report'>): Promise<DriftReport> {
  for (let attempt = 1; ; attempt++) {
    const name = attempt === 1 ? String(report.cut) : `${report.cut}-${attempt}`
    const named: DriftReport = { ...report, report: name }
    if (await deps.lake.createIfAbsent(driftPath(report.metric, name), canonicalJson(named))) {
      failpoint('batch.drift-report')
      return named
    }
  }
}
