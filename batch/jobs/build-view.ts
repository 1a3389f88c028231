/**
 * Job build-view: the view at a cut by DuckDB SQL over exactly the archive files that the cut covers.
 *
 *   barrier ─▶ archive covers it ─▶ days touched since the last view ─▶ toSql per chunk of days ─▶ a file per day ─▶ one entry
 *                                        untouched days' files are carried over by reference ────────────────────────┘
 *
 * A pure function of (archive below the cut, definition): running it twice gives the same bytes, an incremental run the same
 * rows as a full one [B2]. Nothing is visible before the one manifest entry [B3]. Pause and cancel act between days.
 */
import type { DuckDb } from '#io/duckdb.ts'
import { openDuckDb } from '#io/duckdb.ts'
import { OperatingError } from '#io/errors.ts'
import type { JobContext } from '#io/ports.ts'
import { publishView, readViews, type ViewDraft } from '#io/views.ts'
import type { MetricDefinition, StreamDefinition } from '#metrics/definition.ts'
import type { ViewEntry } from '#schemas/view.ts'
import { type ArchiveAtCut, type ArchiveFile, archiveRelation, findDuplicates, verifyFiles } from '../archive-input.ts'
import { awaitCut } from '../await-cut.ts'
import type { BatchDeps } from '../deps.ts'
import { viewColumns } from '../sql-types.ts'
import { createViewTable, DAY_MS, dayName, dayStart, type ViewFile, writeDays } from '../view-files.ts'

/** Events that one query recomputes at most, unless a single day has more: bounds memory and the time to a pause. */
const CHUNK_EVENTS = 4_000_000

/** Which days to recompute. */
export type Days = 'touched' | 'all'

/** What became of one metric. */
export interface BuiltView {
  readonly view: ViewEntry
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
      built.push({ view: await buildOne(deps, db, archive, plan, unique, job, progress), days: plan.days.length })
    }
    return built
  })
}

/** Runs `work` with a database of the job's limits that a cancel interrupts. */
export async function withDuckDb<T>(deps: BatchDeps, job: JobContext, work: (db: DuckDb) => Promise<T>): Promise<T> {
  const db = await openDuckDb({
    threads: deps.threads,
    memoryMb: deps.memoryMb,
    temporaryDirectory: deps.temporaryDirectory,
  })
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

interface Plan {
  readonly metric: MetricDefinition
  /** The view whose untouched days are carried over; null builds all days. */
  readonly previous: ViewEntry | null
  /** Days to recompute with the events they hold, ascending; a day without events is one that lost its rows to nothing. */
  readonly days: readonly { readonly from: number; readonly events: number }[]
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
  const rows = fresh.length === 0 ? [] : await touchedDays(deps, db, metric, archive, fresh, previous)
  const list = rows.map((row) => ({ from: Number(row['day']), events: Number(row['n']) }))
  const files = new Set(
    archive.files.filter((file) => list.some((day) => overlaps(file, day.from, day.from + DAY_MS, metric))),
  )
  return { metric, previous, days: list, files }
}

/** Whether a view may lend its untouched days to one at `cut`: same definition, and nothing in it that the cut does not cover. */
export const isBase = (view: ViewEntry, metric: MetricDefinition, cut: number): boolean =>
  view.generation === metric.generation && view.definition_hash === metric.hash && view.cut <= cut

function touchedDays(
  deps: BatchDeps,
  db: DuckDb,
  metric: MetricDefinition,
  archive: ArchiveAtCut,
  files: readonly ArchiveFile[],
  previous: ViewEntry | null,
) {
  const isNew = files
    .filter(({ entry }) => entry.first_offset < (previous?.offsets[entry.partition] ?? 0))
    .map(({ entry }) => `NOT (_partition = ${entry.partition} AND _offset < ${previous!.offsets[entry.partition]!})`)
  const relation = archiveRelation(
    db,
    deps.lake,
    metric.stream,
    archive,
    files,
    ["_kind = 'event'", ...isNew].join(' AND '),
  )
  return relation.then((from) =>
    db.query(`SELECT ${daySql(metric)} AS day, count(*) AS n FROM ${from} GROUP BY 1 ORDER BY 1`),
  )
}

/** UTC day of the start of an event's window, as SQL. */
function daySql(metric: MetricDefinition): string {
  const { sizeMs } = metric.window
  const lift = Math.ceil(62_135_596_800_000 / sizeMs) * sizeMs
  const window = `(((_event_time + ${lift}) // ${sizeMs}) * ${sizeMs} - ${lift})`
  const dayLift = 62_135_596_800_000 + Math.ceil(sizeMs / DAY_MS) * DAY_MS
  return `(((${window} + ${dayLift}) // ${DAY_MS}) * ${DAY_MS} - ${dayLift})`
}

function overlaps({ entry }: ArchiveFile, from: number, until: number, metric: MetricDefinition): boolean {
  if (entry.event_time_min === null || entry.event_time_max === null) return false
  return entry.event_time_max >= from && entry.event_time_min < until + metric.window.sizeMs
}

async function buildOne(
  deps: BatchDeps,
  db: DuckDb,
  archive: ArchiveAtCut,
  plan: Plan,
  unique: string | null,
  job: JobContext,
  progress: (fraction: number) => Promise<void>,
): Promise<ViewEntry> {
  const { metric, previous } = plan
  const view = { metric: metric.name, arm: 'sql' as const, generation: metric.generation, cut: archive.cut }
  const columns = viewColumns(metric.layout)
  const written: ViewFile[] = []
  let done = 0
  for (const chunk of chunksOf(plan.days)) {
    const from = chunk[0]!.from
    const until = chunk.at(-1)!.from + DAY_MS
    const files = archive.files.filter((file) => overlaps(file, from, until, metric))
    const gaps = (until - from) / DAY_MS > chunk.length
    const days = gaps ? `${daySql(metric)} IN (${chunk.map((day) => day.from).join(', ')})` : null
    const condition = [unique, days].filter((part) => part !== null).join(' AND ')
    const relation = await archiveRelation(
      db,
      deps.lake,
      metric.stream,
      archive,
      files,
      condition === '' ? null : condition,
    )
    await createViewTable(db, 'result', columns, metric.toSql({ relation, windows: { from, until } }))
    written.push(
      ...(await writeDays(db, deps.lake, view, columns, 'result', () =>
        progress(Math.min(0.99, done++ / plan.days.length)),
      )),
    )
  }
  job.signal.throwIfAborted()
  return publishView(
    deps.lake,
    viewDraft(view, metric, archive, carried(previous, plan.days), written, job.id, deps.clock.now()),
  )
}

/** Files of the previous view for the days that are not recomputed. */
function carried(previous: ViewEntry | null, days: Plan['days']): readonly ViewFile[] {
  if (previous === null) return []
  const recomputed = new Set(days.map((day) => dayName(day.from)))
  return previous.files.filter((file) => !recomputed.has(file.day))
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
  const files = [...kept, ...written].sort((a, b) => dayStart(a.day) - dayStart(b.day))
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

/** Days in runs of at most {@link CHUNK_EVENTS} events. */
function chunksOf(days: Plan['days']): Plan['days'][] {
  const chunks: { from: number; events: number }[][] = []
  let events = Number.POSITIVE_INFINITY
  for (const day of days) {
    if (events + day.events > CHUNK_EVENTS) {
      chunks.push([])
      events = 0
    }
    chunks.at(-1)!.push(day)
    events += day.events
  }
  return chunks
}
