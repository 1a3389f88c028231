/**
 * The batch worker: takes jobs from the queue and runs them, and keeps the nightly schedule.
 *
 *   nightly ─▶ build-view * ─▶ one barrier per stream ─▶ views of its metrics ─▶ a drift job per view
 *
 * Every job is idempotent: it publishes by one create-if-absent entry, so running it twice, here or elsewhere, does no harm.
 */
import { nextRun } from '#io/cron.ts'
import { shareDuckDb } from '#io/duckdb.ts'
import { classify, OperatingError } from '#io/errors.ts'
import type { Clock, EventLog, JobContext, JobHandler, JobQueue, Lake, Registry } from '#io/ports.ts'
import { latestView } from '#io/views.ts'
import type { Definitions } from '#metrics/definition.ts'
import type { ViewEntry } from '#schemas/view.ts'
import { awaitCut } from './await-cut.ts'
import { type BatchDeps, metricNamed, metricsByStream, streamNames } from './deps.ts'
import { buildViews, type Days } from './jobs/build-view.ts'
import { runDrift } from './jobs/drift.ts'
import { streamViewAt } from './jobs/stream-view.ts'
import { missedRun, NIGHTLY_DATA, NIGHTLY_ID, type Nightly } from './schedule.ts'

/** What a batch worker needs. */
export interface BatchWorkerDeps {
  readonly jobs: JobQueue
  readonly log: EventLog
  readonly lake: Lake
  readonly registry: Registry
  readonly definitions: Definitions
  readonly clock: Clock
  readonly logger: { info(fields: object, message: string): void; warn(fields: object, message: string): void }
  /** Puts a demand barrier into every partition of a stream. */
  readonly putBarrier: (stream: string) => Promise<{ readonly id: number }>
  /** Proves a stream's archive whole; `onProgress` is told the share done and may reject to stop. */
  readonly verify: (
    stream: string,
    options: { deep: boolean; onProgress: (fraction: number) => Promise<void> },
  ) => Promise<unknown>
  /** DuckDB's limits, of all jobs together. */
  readonly threads: number
  readonly memoryMb: number
  readonly temporaryDirectory: string | null
  /** null: no nightly build. */
  readonly nightly: Nightly | null
  /** Jobs at a time; default 2, so that a paused one does not stop the others. */
  readonly concurrency?: number
  /** How long a job waits for archive and speed layer before it goes back to the queue; default 60 s. */
  readonly waitMs?: number
}

/** How often the schedule is put right again should the queue have lost it. */
const TICK_MS = 60_000
const GRACE_MS = 5 * 60_000

/**
 * Starts working. `close` stops taking jobs and closes the queue; active jobs are handed back.
 * @throws OperatingError QUEUE_UNREACHABLE, CONFIG_INVALID (schedule)
 */
export async function startBatch(deps: BatchWorkerDeps): Promise<{ close(): Promise<void> }> {
  const { jobs, clock, logger, nightly } = deps
  if (nightly !== null)
    logger.info({ next: new Date(nextRun(nightly, clock.now())).toISOString(), ...nightly }, 'nightly build')
  await keepSchedule(deps)
  await jobs.work(handlersOf(deps), { concurrency: deps.concurrency ?? 2 })
  const stop = new AbortController()
  const ticking = (async () => {
    for (;;) {
      await clock.sleep(TICK_MS, stop.signal)
      if (stop.signal.aborted) return
      try {
        await keepSchedule(deps)
        await catchUp(deps)
      } catch (error) {
        const { code, message } = classify(error)
        logger.warn({ code, message }, 'the nightly schedule could not be checked')
      }
    }
  })()
  return {
    async close() {
      stop.abort()
      await ticking
      await jobs.close()
    },
  }
}

function keepSchedule({ jobs, nightly }: BatchWorkerDeps): Promise<void> {
  return jobs.schedule(NIGHTLY_ID, nightly === null ? null : { ...nightly, type: 'build-view', data: NIGHTLY_DATA })
}

/** Adds the nightly build that a lost queue forgot; its key makes it one job however many workers notice. */
async function catchUp({ jobs, lake, definitions, clock, logger, nightly }: BatchWorkerDeps): Promise<void> {
  if (nightly === null) return
  const views = await Promise.all(
    definitions.metrics.map((metric) => latestView(lake, metric.name, armOf(metric.mode))),
  )
  const built = views.flatMap((view) => (view === null ? [] : [view.published_ms]))
  const lastBuiltMs = built.length === 0 ? null : Math.max(...built)
  const due = missedRun(nightly, { lastBuiltMs, nowMs: clock.now(), graceMs: GRACE_MS })
  if (due === null) return
  const job = await jobs.add('build-view', NIGHTLY_DATA, { key: `${NIGHTLY_ID} ${new Date(due).toISOString()}` })
  if (job.state === 'waiting')
    logger.warn({ due: new Date(due).toISOString(), job: job.id }, 'a nightly build was missed')
}

const armOf = (mode: 'lambda' | 'kappa') => (mode === 'kappa' ? 'stream' : 'sql')

/** The handlers by job type. */
function handlersOf(worker: BatchWorkerDeps): Partial<Record<'build-view' | 'drift' | 'verify', JobHandler>> {
  const { jobs, logger, waitMs = 60_000, ...rest } = worker
  const deps: BatchDeps = { ...rest, waitMs, openDuckDb: shareDuckDb(worker) }
  const logged =
    (type: string, handler: JobHandler): JobHandler =>
    async (data, job) => {
      const startedMs = deps.clock.monotonic()
      const took = () => ({ type, job: job.id, ms: Math.round(deps.clock.monotonic() - startedMs) })
      try {
        const result = await handler(data, job)
        logger.info({ ...took(), ...data }, 'job done')
        return result
      } catch (error) {
        const { code, message, retry } = classify(error)
        if (!job.signal.aborted) logger.warn({ ...took(), ...data, code, message, retry }, 'job failed')
        throw error
      }
    }
  return {
    'build-view': logged('build-view', async (data, job) => {
      const views: ReturnType<typeof summaryOf>[] = []
      for await (const { view, days } of buildAll(deps, data, job)) {
        views.push(summaryOf(view, days))
        const { metric, generation, cut } = view
        await job.log(`view of ${metric} at cut ${cut}: ${view.rows} rows, ${days} days recomputed`)
        await jobs.add('drift', { metric }, { key: `${metric} ${generation} ${cut}` })
      }
      return { views }
    }),
    drift: logged('drift', async (data, job) => {
      const reports = []
      for (const { metrics } of metricsByStream(deps.definitions, text(data, 'metric'))) {
        for (const metric of metrics) {
          const { differences: _, ...report } = await runDrift(deps, metric, job)
          if (report.cells_different > 0)
            logger.warn({ metric: metric.name, cut: report.cut, cells: report.cells_different }, 'drift')
          reports.push(report)
        }
      }
      return { reports }
    }),
    verify: logged('verify', async (data, job) => {
      const stream = text(data, 'stream')
      streamNames(deps.definitions, stream)
      return worker.verify(stream, { deep: data['deep'] === true, onProgress: (fraction) => job.progress(fraction) })
    }),
  }
}

/** Builds what a build-view job asks for, stream by stream, each at one cut. */
async function* buildAll(
  deps: BatchDeps,
  data: Readonly<Record<string, unknown>>,
  job: JobContext,
): AsyncGenerator<{ view: Pick<ViewEntry, 'metric' | 'arm' | 'generation' | 'cut' | 'rows' | 'files'>; days: number }> {
  const days: Days = data['days'] === 'all' ? 'all' : 'touched'
  const asked = typeof data['cut'] === 'number' ? data['cut'] : null
  const groups = metricsByStream(deps.definitions, text(data, 'metric'))
  for (const [at, { stream, metrics }] of groups.entries()) {
    const share: JobContext = {
      ...job,
      progress: (fraction, note) => job.progress((at + fraction) / groups.length, note),
    }
    const archive = await awaitCut(deps, stream, asked, share)
    const lambda = metrics.filter((metric) => metric.mode === 'lambda')
    if (lambda.length > 0) yield* await buildViews(deps, stream, lambda, { cut: archive.cut, days }, share)
    for (const metric of metrics) {
      if (metric.mode !== 'kappa') continue
      const view = await streamViewAt(deps, metric, archive, share)
      yield { view, days: view.files.length }
    }
  }
}

const summaryOf = (
  {
    metric,
    arm,
    generation,
    cut,
    rows,
    files,
  }: Pick<ViewEntry, 'metric' | 'arm' | 'generation' | 'cut' | 'rows' | 'files'>,
  days: number,
) => ({
  metric,
  arm,
  generation,
  cut,
  rows,
  files: files.length,
  days,
})

/** A text field of a job's data; the routes have checked it, a job that came another way may lack it. */
function text(data: Readonly<Record<string, unknown>>, field: string): string {
  const value = data[field]
  if (typeof value !== 'string') throw new OperatingError('REQUEST_INVALID', `the job has no ${field}`, { field })
  return value
}

/** Checks a job before it is added. @throws OperatingError METRIC_UNKNOWN, STREAM_UNKNOWN, REQUEST_INVALID */
export function checkJob(definitions: Definitions, type: string, data: Readonly<Record<string, unknown>>): void {
  if (type === 'verify') {
    streamNames(definitions, text(data, 'stream'))
    return
  }
  const metric = text(data, 'metric')
  if (metric !== '*') metricNamed(definitions, metric)
  if (metric === '*' && data['cut'] !== undefined && definitions.streams.length > 1) {
    throw new OperatingError('REQUEST_INVALID', 'a cut belongs to one stream: name the metric', { field: 'cut' })
  }
}
