/**
 * A view's files: one Parquet file per UTC day of window start, from a table of partials in DuckDB. Both arms write here.
 *
 * The same rows give the same bytes: rows are ordered by window and dimensions, written by one thread, with nothing in the
 * file that depends on the run. So a repeated job publishes files that exist already, and finds them equal.
 */
import { type DuckDb, sqlName, sqlText } from '#io/duckdb.ts'
import { failpoint } from '#io/failpoints.ts'
import type { Lake } from '#io/ports.ts'
import { type ViewDraft, viewFilePath } from '#io/views.ts'
import type { ViewArm } from '#schemas/view.ts'
import { columnNames, type ViewColumn, viewOrder } from './sql-types.ts'

/** UTC ms of a day. */
export const DAY_MS = 86_400_000

/** `YYYY-MM-DD` of a UTC instant; years beyond 9999 do not occur (core/time). */
export const dayName = (instant: number): string => new Date(instant).toISOString().slice(0, 10)

/** Start of a named day, UTC ms. */
export const dayStart = (day: string): number => Date.parse(`${day}T00:00:00Z`)

/** Files being synced while the next day is written. */
const PUBLISHED_AT_ONCE = 4

/** One file of a view. */
export type ViewFile = ViewDraft['files'][number]

/**
 * Writes the days of table `source`, whose columns are a view's and whose windows start in days that no other call for
 * this view writes. Days without rows get no file. Tells `onDay` the share done before each file.
 */
export async function writeDays(
  db: DuckDb,
  lake: Lake,
  view: { metric: string; arm: ViewArm; generation: string; cut: number },
  columns: readonly ViewColumn[],
  source: string,
  onDay: (done: number) => Promise<void>,
): Promise<ViewFile[]> {
  // Aligned below: // rounds towards zero, so the first day is brought up to or above 0.
  const lift = 62_135_596_800_000
  const days = await db.query(
    `SELECT ((window_from + ${lift}) // ${DAY_MS}) * ${DAY_MS} - ${lift} AS day, count(*) AS n FROM ${source} GROUP BY 1 ORDER BY 1`,
  )
  const files: Promise<ViewFile>[] = []
  try {
    for (const [at, row] of days.entries()) {
      await onDay(at / days.length)
      const from = Number(row['day'])
      const temporary = await lake.temporaryPath()
      await db.run(
        `COPY (SELECT ${columnNames(columns)} FROM ${source} WHERE window_from >= ${from} AND window_from < ${from + DAY_MS}
         ORDER BY ${viewOrder(columns)}) TO ${sqlText(temporary)} (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE 122880)`,
      )
      const day = dayName(from)
      const path = viewFilePath(view, day)
      const published = lake.publishFile(temporary, path).then(({ sha256, bytes }) => {
        failpoint('batch.view-file')
        return { day, path, sha256, bytes, rows: Number(row['n']) }
      })
      // It is awaited a few days later, or below; until then a failure must not count as unhandled.
      published.catch(() => undefined)
      files.push(published)
      if (files.length >= PUBLISHED_AT_ONCE) await files[files.length - PUBLISHED_AT_ONCE]
    }
    return await Promise.all(files)
  } finally {
    await Promise.allSettled(files)
  }
}

/** Creates table `name` with a view's columns from a SELECT that yields at least them, in any types that cast exactly. */
export async function createViewTable(
  db: DuckDb,
  name: string,
  columns: readonly ViewColumn[],
  select: string | null,
): Promise<void> {
  const list = columns.map((column) =>
    select === null
      ? `NULL::${column.type} AS ${sqlName(column.name)}`
      : `CAST(${sqlName(column.name)} AS ${column.type}) AS ${sqlName(column.name)}`,
  )
  const from = select === null ? 'WHERE false' : `FROM (${select})`
  await db.run(`CREATE OR REPLACE TEMP TABLE ${name} AS SELECT ${list.join(', ')} ${from}`)
}
