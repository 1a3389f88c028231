/**
 * Job build-view: the view at a cut by DuckDB SQL over exactly the archive files that the cut covers.
 *
 *   barrier ─▶ archive covers it ─▶ days touched since the last view ─▶ toSql per chunk of days ─▶ files ─▶ one entry
 *                files with a touched day lend the rows of their other days ──────────────────────┘            │
 *                the other files are carried over by reference ────────────────────────────────────────────────┘
 *
 * A pure function of (archive below the cut, definition): running it twice gives the same bytes, an incremental run the same
 * files as a full one [B2]. Nothing is visible before the one manifest entry [B3]. Pause and cancel act between files.
 */
import { floorTo } from '#core/time.ts'
import type { DuckDb } from '#io/duckdb.ts'
import { OperatingError } from '#io/errors.ts'
import type { JobContext } from '#io/ports.ts'
import { publishView, readViews, sweepViews, type ViewDraft } from '#io/views.ts'
import type { MetricDefinition, StreamDefinition } from '#metrics/definition.ts'
import type { ViewEntry } from '#schemas/view.ts'
import {
  type ArchiveAtCut,
  type ArchiveFile,
  archiveRelation,
  fileList,
  findDuplicates,
  verifyFiles,
} from '../archive-input.ts'
import { awaitCut } from '../await-cut.ts'
import type { BatchDeps } from '../deps.ts'
import { columnNames, type ViewColumn, viewColumns } from '../sql-types.ts'
import { DAY_MS, type DayRange, dayStart, FILE_ROWS, rangeOf } from '../view-blocks.ts'
import { createViewTable, insertViewRows, type ViewFile, writeFiles } from '../view-files.ts'

/** Events that one query recomputes at most, unless a single day has more: bounds memory and the time to a pause. */
const CHUNK_EVENTS = 4_000_000

/** Which days to recompute. */
export type Days = 'touched' | 'all'

/** What became of one metric. */
export interface BuiltView {
  /** What is published: the built view, or the one that has overtaken it. */
  readonly view: ViewEntry
  /** What was built, at the cut that was asked for. Not published, its files stay only under a cut that the other arm published. */
  readonly draft: ViewDraft
  /** Days that were recomputed; the others were carried over. */
  readonly days: number
}

/**
 * Builds and publishes views of metrics of one stream at one cut; `cut` null puts a barrier for it.
 * @throws OperatingError ARCHIVE_BEHIND, LAKE_DAMAGED, MEASURE_OVERFLOW, DUCKDB_FAILED
 */
export async function buildViews(
  deps: BatchDeps,
  stream: StreamDefinition,
  metrics: readonly MetricDefinition[],
  options: { cut: number | null; days: Days },
  job: JobContext,
): Promise<BuiltView[]> {
  const archive = await awaitCut(deps, stream, options.cut, job)
  return withDuckDb(deps, job, async (db) => {
    const plans: Plan[] = []
    for (const metric of metrics) plans.push(await planView(deps, db, metric, archive, options.days))
    const read = archive.files.filter((file) => plans.some((plan) => plan.files.has(file)))
    // The horizon before the files is read as well; verifying the lot once is simpler and remembered.
    await verifyFiles(
      deps.lake,
      archive.files.map(({ entry }) => entry.file),
      job.signal,
    )
    const unique = await findDuplicates(db, deps.lake, stream, archive, read)
    const built: BuiltView[] = []
    for (const [at, plan] of plans.entries()) {
      const progress = (fraction: number) => job.progress((at + fraction) / plans.length)
      built.push(await buildOne(deps, db, archive, plan, unique, job, progress))
    }
    return built
  })
}

/** Runs `work` with a database that a cancel interrupts. */
export async function withDuckDb<T>(deps: BatchDeps, job: JobContext, work: (db: DuckDb) => Promise<T>): Promise<T> {
  const db = await deps.openDuckDb()
  const interrupt = () => db.interrupt()
  job.signal.addEventListener('abort', interrupt)
  try {
    return await work(db)
  } catch (error) {
    if (
      error instanceof OperatingError &&
      error.code === 'DUCKDB_FAILED' &&
      /MEASURE_OVERFLOW|overflow|out of range/i.test(error.message)
    ) {
      throw new OperatingError('MEASURE_OVERFLOW', error.message, error.context, { cause: error })
    }
    throw error
  } finally {
    job.signal.removeEventListener('abort', interrupt)
    db.close()
  }
}

/** Days that one query recomputes: a range of window starts, and which days of it when not all are meant. */
interface Chunk {
  readonly from: number
  readonly until: number
  /** Starts of the days; null = every day of the range. */
  readonly days: readonly number[] | null
  /** Everything there is: nobody has looked which days have events. */
  readonly isWhole: boolean
}

interface Plan {
  readonly metric: MetricDefinition
  /** The view whose untouched days are carried over; null builds all days. */
  readonly previous: ViewEntry | null
  readonly chunks: readonly Chunk[]
  /** Files that hold events of these days. */
  readonly files: ReadonlySet<ArchiveFile>
}

async function planView(
  deps: BatchDeps,
  db: DuckDb,
  metric: MetricDefinition,
  archive: ArchiveAtCut,
  days: Days,
): Promise<Plan> {
  const views = days === 'all' ? [] : await readViews(deps.lake, metric.name, 'sql')
  const previous = views.findLast((view) => isBase(view, metric, archive.cut)) ?? null
  const fresh = archive.files.filter(
    ({ entry }) =>
      entry.events > 0 && (previous === null || entry.next_offset > (previous.offsets[entry.partition] ?? 0)),
  )
  const eventsMax = deps.limits?.chunkEvents ?? CHUNK_EVENTS
  const chunks =
    previous === null && eventsOf(fresh) <= eventsMax
      ? wholeRange(fresh, metric)
      : chunksOf(await touchedDays(deps, db, metric, archive, fresh, previous), eventsMax)
  const files = new Set(archive.files.filter((file) => chunks.some((chunk) => overlaps(file, chunk, metric))))
  return { metric, previous, chunks, files }
}

const eventsOf = (files: readonly ArchiveFile[]): number => files.reduce((sum, { entry }) => sum + entry.events, 0)

/** All days of a small archive, in one query: asking first which ones there are would cost as much as a metric. */
function wholeRange(files: readonly ArchiveFile[], metric: MetricDefinition): Chunk[] {
  const { sizeMs } = metric.window
  const from = Math.min(...files.map(({ entry }) => floorTo(entry.event_time_min!, sizeMs)))
  const until = Math.max(...files.map(({ entry }) => entry.event_time_max! + 1))
  return files.length === 0 ? [] : [{ from, until, days: null, isWhole: true }]
}

/** Whether a view may lend its untouched days to one at `cut`: same definition, and nothing in it that the cut does not cover. */
export const isBase = (view: ViewEntry, metric: MetricDefinition, cut: number): boolean =>
  view.generation === metric.generation && view.definition_hash === metric.hash && view.cut <= cut

/** Days in which windows of events behind the previous view start, with the number of these events, ascending. */
async function touchedDays(
  deps: BatchDeps,
  db: DuckDb,
  metric: MetricDefinition,
  archive: ArchiveAtCut,
  files: readonly ArchiveFile[],
  previous: ViewEntry | null,
): Promise<{ from: number; events: number }[]> {
  if (files.length === 0) return []
  const isNew = files
    .filter(({ entry }) => entry.first_offset < (previous?.offsets[entry.partition] ?? 0))
    .map(({ entry }) => `NOT (_partition = ${entry.partition} AND _offset < ${previous!.offsets[entry.partition]!})`)
  const condition = ["_kind = 'event'", ...isNew].join(' AND ')
  const relation = await archiveRelation(db, deps.lake, metric.stream, archive, files, condition)
  const rows = await db.query(`SELECT ${daySql(metric)} AS day, count(*) AS n FROM ${relation} GROUP BY 1 ORDER BY 1`)
  return rows.map((row) => ({ from: Number(row['day']), events: Number(row['n']) }))
}

/** UTC day of the start of an event's window, as SQL. */
function daySql(metric: MetricDefinition): string {
  const { sizeMs } = metric.window
  const lift = Math.ceil(62_135_596_800_000 / sizeMs) * sizeMs
  const window = `(((_event_time + ${lift}) // ${sizeMs}) * ${sizeMs} - ${lift})`
  const dayLift = 62_135_596_800_000 + Math.ceil(sizeMs / DAY_MS) * DAY_MS
  return `(((${window} + ${dayLift}) // ${DAY_MS}) * ${DAY_MS} - ${dayLift})`
}

function overlaps({ entry }: ArchiveFile, chunk: Chunk, metric: MetricDefinition): boolean {
  if (entry.event_time_min === null || entry.event_time_max === null) return false
  return entry.event_time_max >= chunk.from && entry.event_time_min < chunk.until + metric.window.sizeMs
}

async function buildOne(
  deps: BatchDeps,
  db: DuckDb,
  archive: ArchiveAtCut,
  plan: Plan,
  unique: string | null,
  job: JobContext,
  progress: (fraction: number) => Promise<void>,
): Promise<BuiltView> {
  const { metric, chunks } = plan
  const view = { metric: metric.name, arm: 'sql' as const, generation: metric.generation, cut: archive.cut }
  const columns = viewColumns(metric.layout)
  const { kept, touched } = partFiles(plan.previous, (range) => chunks.some((chunk) => touches(chunk, range)))
  await verifyFiles(deps.lake, touched, job.signal)
  const written: ViewFile[] = []
  const lent = new Set<ViewFile>()
  let days = 0
  for (const [at, chunk] of chunks.entries()) {
    const add = at === 0 ? createViewTable : insertViewRows
    await add(db, 'result', columns, await chunkSql(deps, db, archive, metric, unique, chunk))
    const lending = touched.filter((file) => !lent.has(file) && overlap(rangeOf(file), chunk))
    for (const file of lending) lent.add(file)
    if (lending.length > 0) await insertViewRows(db, 'result', columns, otherDays(deps, columns, lending, chunks))
    const done = await writeFiles(db, deps.lake, {
      view,
      columns,
      table: 'result',
      there: [...kept, ...written].map(rangeOf),
      until: chunks[at + 1]?.from ?? Number.POSITIVE_INFINITY,
      rowsMax: deps.limits?.fileRows ?? FILE_ROWS,
      onFile: (share) => progress(Math.min(0.99, (at + share) / chunks.length)),
    })
    written.push(...done.files)
    days += chunk.days?.length ?? (chunk.isWhole ? done.days : (chunk.until - chunk.from) / DAY_MS)
  }
  job.signal.throwIfAborted()
  const draft = viewDraft(view, metric, archive, kept, written, job.id, deps.clock.now())
  const published = await publishView(deps.lake, draft)
  await sweepViews(deps.lake, published)
  return { view: published, draft, days }
}

/** The partials of a chunk's days. */
async function chunkSql(
  deps: BatchDeps,
  db: DuckDb,
  archive: ArchiveAtCut,
  metric: MetricDefinition,
  unique: string | null,
  chunk: Chunk,
): Promise<string> {
  const files = archive.files.filter((file) => overlaps(file, chunk, metric))
  const conditions = unique === null ? [] : [unique]
  if (chunk.days !== null) conditions.push(`${daySql(metric)} IN (${chunk.days.join(', ')})`)
  const condition = conditions.length === 0 ? null : conditions.join(' AND ')
  const relation = await archiveRelation(db, deps.lake, metric.stream, archive, files, condition)
  return metric.toSql({ relation, windows: chunk.isWhole ? null : chunk, ordered: false })
}

/** The rows of previous files for the days that are not recomputed. */
function otherDays(
  deps: BatchDeps,
  columns: readonly ViewColumn[],
  files: readonly ViewFile[],
  chunks: readonly Chunk[],
): string {
  const ranges = chunks.flatMap(({ from, until, days }) =>
    days === null ? [{ from, until }] : days.map((day) => ({ from: day, until: day + DAY_MS })),
  )
  const recomputed = ranges
    .filter((range) => files.some((file) => overlap(rangeOf(file), range)))
    .map(({ from, until }) => `window_from >= ${from} AND window_from < ${until}`)
  const paths = files.map((file) => file.path)
  return `SELECT ${columnNames(columns)} FROM read_parquet(${fileList(deps.lake, paths)}, hive_partitioning = false)
    WHERE NOT (${recomputed.join(' OR ')})`
}

const overlap = (a: DayRange, b: DayRange): boolean => a.from < b.until && a.until > b.from

/** Whether a chunk recomputes a day of the range. */
const touches = (chunk: Chunk, range: DayRange): boolean =>
  chunk.days === null ? overlap(chunk, range) : chunk.days.some((day) => day >= range.from && day < range.until)

/** Files of the previous view that are rewritten because a day of theirs is touched, and those that are carried over. */
export function partFiles(
  previous: ViewEntry | null,
  isTouched: (range: DayRange) => boolean,
): { kept: ViewFile[]; touched: ViewFile[] } {
  const files = previous?.files ?? []
  const touched = new Set(files.filter((file) => isTouched(rangeOf(file))))
  return { kept: files.filter((file) => !touched.has(file)), touched: [...touched] }
}

/** The entry of a view made of carried and written files. */
export function viewDraft(
  view: Pick<ViewDraft, 'metric' | 'arm' | 'generation' | 'cut'>,
  metric: MetricDefinition,
  archive: Pick<ArchiveAtCut, 'offsets' | 'watermark'>,
  kept: readonly ViewFile[],
  written: readonly ViewFile[],
  job: string,
  publishedMs: number,
): ViewDraft {
  const files = [...kept, ...written].sort((a, b) => dayStart(a.from_day) - dayStart(b.from_day))
  return {
    ...view,
    definition_hash: metric.hash,
    offsets: archive.offsets,
    watermark: archive.watermark,
    files,
    rows: files.reduce((sum, file) => sum + file.rows, 0),
    job,
    published_ms: publishedMs,
  }
}

/** Days in runs of at most `eventsMax` events. */
function chunksOf(days: readonly { from: number; events: number }[], eventsMax: number): Chunk[] {
  const runs: { from: number; events: number }[][] = []
  let events = Number.POSITIVE_INFINITY
  for (const day of days) {
    if (events + day.events > eventsMax) {
      runs.push([])
      events = 0
    }
    runs.at(-1)!.push(day)
    events += day.events
  }
  return runs.map((run) => {
    const from = run[0]!.from
    const until = run.at(-1)!.from + DAY_MS
    const complete = (until - from) / DAY_MS === run.length
    return { from, until, days: complete ? null : run.map((day) => day.from), isWhole: false }
  })
}
