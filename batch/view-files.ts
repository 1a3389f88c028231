/**
 * A view's files: a Parquet file per block of days (view-blocks.ts), from a table of partials in DuckDB. Both arms write here.
 *
 * The same rows give the same bytes: rows are ordered by window and dimensions, written by one thread, with nothing in the
 * file that depends on the run. So a repeated job publishes files that exist already, and finds them equal. Files are synced
 * and published while the next one is computed; all are before this returns, so before any manifest entry names them.
 */
import { type DuckDb, sqlName, sqlText } from '#io/duckdb.ts'
import { failpoint } from '#io/failpoints.ts'
import type { Lake } from '#io/ports.ts'
import { type ViewDraft, viewFilePath } from '#io/views.ts'
import type { ViewArm } from '#schemas/view.ts'
import { columnNames, type ViewColumn, viewOrder } from './sql-types.ts'
import { type Block, blocksOf, DAY_MS, type DayRange, dayName } from './view-blocks.ts'

/** Files being synced while the next one is written. */
const PUBLISHED_AT_ONCE = 4

/** A multiple of a day that lifts every window start above 0, where // rounds down. */
const LIFT_MS = 800_000 * DAY_MS

/** One file of a view. */
export type ViewFile = ViewDraft['files'][number]

/** What {@link writeFiles} writes, and how much of it. */
export interface ViewSource {
  readonly view: { readonly metric: string; readonly arm: ViewArm; readonly generation: string; readonly cut: number }
  readonly columns: readonly ViewColumn[]
  /** Table with a view's columns: all rows of the days that have no file yet. */
  readonly table: string
  /** Files that the view has already: carried over, or written by earlier calls. */
  readonly there: readonly DayRange[]
  /** Days from here on may get more rows: files that reach beyond wait, their rows stay in the table. UTC ms or infinity. */
  readonly until: number
  readonly rowsMax: number
  /** Told the share done before each file; throws to stop. */
  readonly onFile: (done: number) => Promise<void>
}

/**
 * Writes and publishes the files of the blocks that are complete, and takes their rows out of the table while others wait.
 * `days`: days with rows that the table had.
 * @throws OperatingError DUCKDB_FAILED, LAKE_DISK_FULL, LAKE_DAMAGED
 */
export async function writeFiles(
  db: DuckDb,
  lake: Lake,
  source: ViewSource,
): Promise<{ files: ViewFile[]; days: number }> {
  const counts = await db.query(
    `SELECT ((window_from + ${LIFT_MS}) // ${DAY_MS}) * ${DAY_MS} - ${LIFT_MS} AS day, count(*) AS n FROM ${source.table} GROUP BY 1 ORDER BY 1`,
  )
  const days = counts.map((row) => ({ from: Number(row['day']), rows: Number(row['n']) }))
  const blocks = blocksOf(days, source.there, source)
  const files: Promise<ViewFile>[] = []
  try {
    for (const [at, block] of blocks.entries()) {
      await source.onFile(at / blocks.length)
      const temporary = await lake.temporaryPath()
      await writeBlock(db, source, block, temporary)
      const published = publishBlock(lake, source, block, temporary)
      // It is awaited a few files later, or below; until then a failure must not count as unhandled.
      published.catch(() => undefined)
      files.push(published)
      if (files.length >= PUBLISHED_AT_ONCE) await files[files.length - PUBLISHED_AT_ONCE]
    }
    if (source.until !== Number.POSITIVE_INFINITY && blocks.length > 0) {
      await db.run(`DELETE FROM ${source.table} WHERE ${blocks.map(within).join(' OR ')}`)
    }
    return { files: await Promise.all(files), days: days.length }
  } finally {
    await Promise.allSettled(files)
  }
}

const within = ({ from, until }: DayRange): string => `(window_from >= ${from} AND window_from < ${until})`

function writeBlock(db: DuckDb, { columns, table }: ViewSource, block: Block, path: string): Promise<void> {
  return db.run(
    `COPY (SELECT ${columnNames(columns)} FROM ${table} WHERE ${within(block)} ORDER BY ${viewOrder(columns)})
     TO ${sqlText(path)} (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE 122880)`,
  )
}

async function publishBlock(lake: Lake, { view }: ViewSource, block: Block, temporary: string): Promise<ViewFile> {
  const days = { from_day: dayName(block.from), until_day: dayName(block.until) }
  const path = viewFilePath(view, days)
  const { sha256, bytes } = await lake.publishFile(temporary, path)
  failpoint('batch.view-file')
  return { ...days, path, sha256, bytes, rows: block.rows }
}

/** Creates table `name` with a view's columns from a SELECT that yields at least them, in any types that cast exactly. */
export async function createViewTable(
  db: DuckDb,
  name: string,
  columns: readonly ViewColumn[],
  select: string | null,
): Promise<void> {
  const from = select === null ? 'WHERE false' : `FROM (${select})`
  await db.run(`CREATE OR REPLACE TEMP TABLE ${name} AS SELECT ${castList(columns, select !== null)} ${from}`)
}

/** Adds the rows of a SELECT as {@link createViewTable} takes it. */
export const insertViewRows = (
  db: DuckDb,
  name: string,
  columns: readonly ViewColumn[],
  select: string,
): Promise<void> => db.run(`INSERT INTO ${name} SELECT ${castList(columns, true)} FROM (${select})`)

const castList = (columns: readonly ViewColumn[], hasRows: boolean): string =>
  columns.map(({ name, type }) => `CAST(${hasRows ? sqlName(name) : 'NULL'} AS ${type}) AS ${sqlName(name)}`).join(', ')
