/**
 * JobQueue on BullMQ, whatever its backend. BullMQ keeps waiting, active, delayed, completed and failed; pause and cancel of
 * one job are ours, a `control` word in the job's data:
 *
 *   waiting ── worker ──▶ active ──▶ completed | failed (code, message, hint as JSON in failedReason)
 *      │ pause               │ pause: the handler waits inside `progress`; a dead worker's paused job is held when taken up
 *      ▼                     │ cancel: the signal aborts (here at once, elsewhere within `controlPollMs`)
 *   held (delayed for ever, │                                             failed with CANCELLED is shown as `cancelled`
 *   shown as `paused`) ──────┴─ resume promotes it
 *
 * Errors are classified: retry `never` fails the job, `now` and `later` go back with back-off up to `attemptsMax`.
 * Missed runs: a schedule that is already there is left alone, so its overdue run is taken up at once by the next worker.
 */
import type { BackendClasses, IQueueBackend } from 'bullmq'
import { nextRun } from './cron.ts'
import { OperatingError } from './errors.ts'
import {
  type Control,
  canonical,
  failureOf,
  jobIdOf,
  type Payload,
  queueFailed,
  type Stored,
  viewOf,
} from './jobs-model.ts'
import { promote, RunningJobs } from './jobs-running.ts'
import type { Clock, JobHandler, JobQueue, JobState, JobType, JobView } from './ports.ts'

/** Settings that both openers take; the defaults suit production, tests shorten the times. */
export interface JobsOptions {
  readonly clock: Clock
  /** Told of every failure that no caller sees (lost connection, lost lock). */
  readonly onError?: (error: OperatingError) => void
  /** A worker that has not renewed its lock for so long counts as dead. */
  readonly lockMs?: number
  /** How long `close` waits for handlers to see the abort before it leaves their jobs to be taken up later. */
  readonly closeMs?: number
  /** How often a running job looks whether another process paused or cancelled it. */
  readonly controlPollMs?: number
  /** Attempts of a job whose error says `now` or `later`. */
  readonly attemptsMax?: number
  /** First back-off; doubles to at most a minute. */
  readonly backoffMs?: number
  /** Name of the queue; one per platform. */
  readonly queue?: string
}

/** Finished jobs kept: enough for months of nightly runs, small enough to list. */
const KEPT = { count: 2_000 }
const BACKOFF_MS_MAX = 60_000
/** Times a job may be taken up after its worker died; then it has killed enough workers. */
const STALLS_MAX = 5
const STATES = ['active', 'waiting', 'prioritized', 'delayed', 'completed', 'failed'] as const

/** The queue; made by `openEmbeddedJobs` and `openRedisJobs`. */
export class JobsOnBullMq<B extends IQueueBackend, C> implements JobQueue {
  readonly #classes: BackendClasses<B, C>
  readonly #connections: { producer: C; worker: C }
  readonly #options: Required<Omit<JobsOptions, 'onError'>> & Pick<JobsOptions, 'onError'>
  readonly #disconnect: () => Promise<void>
  readonly #queue
  readonly #running: RunningJobs
  #worker: { pause(doNotWaitActive: boolean): Promise<void>; close(force: boolean): Promise<void> } | null = null
  #closing: Promise<void> | null = null

  constructor(
    classes: BackendClasses<B, C>,
    connections: { producer: C; worker: C },
    options: JobsOptions,
    disconnect: () => Promise<void>,
  ) {
    this.#classes = classes
    this.#connections = connections
    this.#options = {
      lockMs: 30_000,
      closeMs: 5_000,
      controlPollMs: 500,
      attemptsMax: 20,
      backoffMs: 1_000,
      queue: 'tidemark',
      ...options,
    }
    this.#disconnect = disconnect
    this.#queue = new classes.Queue<Payload, unknown>(this.#options.queue, {
      connection: connections.producer,
      settings: { repeatStrategy },
    })
    this.#queue.on('error', (error) => this.#report(error))
    this.#running = new RunningJobs({
      clock: this.#options.clock,
      controlPollMs: this.#options.controlPollMs,
      controlOf: async (id) => (await this.#queue.getJob(id))?.data.control,
      onError: (error) => this.#report(error),
    })
  }

  async add(type: JobType, data: Readonly<Record<string, unknown>>, options: { key?: string } = {}): Promise<JobView> {
    const jobId = options.key === undefined ? {} : { jobId: jobIdOf(type, options.key) }
    return this.#ask(async () => {
      const job = await this.#queue.add(type, { input: data, control: 'run' }, { ...jobId, ...this.#jobOptions() })
      return (await this.#view(job.id!))!
    })
  }

  get(id: string): Promise<JobView | null> {
    return this.#ask(() => this.#view(id))
  }

  list(options: { type?: JobType; limit?: number } = {}): Promise<JobView[]> {
    const limit = options.limit ?? 100
    return this.#ask(async () => {
      const views: JobView[] = []
      for (const state of STATES) {
        const jobs = await this.#queue.getJobs([state], 0, options.type === undefined ? limit - 1 : -1)
        for (const job of jobs as Stored[]) {
          if (options.type === undefined || job.name === options.type)
            views.push(viewOf(job, state, this.#options.clock.now()))
        }
      }
      return views
        .sort((a, b) => (a.created_at < b.created_at ? 1 : a.created_at > b.created_at ? -1 : 0))
        .slice(0, limit)
    })
  }

  pause(id: string): Promise<JobView> {
    return this.#change(id, async (job, state) => {
      if (state === 'paused') return
      if (state !== 'waiting' && state !== 'active') throw wrongState(id, 'pause', state)
      await this.#control(job, 'pause')
    })
  }

  resume(id: string): Promise<JobView> {
    return this.#change(id, async (job, state) => {
      if (state !== 'paused') throw wrongState(id, 'resume', state)
      await this.#control(job, 'run')
      if ((await job.getState()) === 'delayed') await promote(job)
    })
  }

  cancel(id: string): Promise<JobView> {
    return this.#change(id, async (job, state) => {
      if (state === 'cancelled') return
      if (state === 'completed' || state === 'failed') throw wrongState(id, 'cancel', state)
      await this.#control(job, 'cancel')
      if ((await job.getState()) === 'delayed') await promote(job)
    })
  }

  retry(id: string): Promise<JobView> {
    return this.#change(id, async (job, state) => {
      if (state !== 'failed' && state !== 'cancelled') throw wrongState(id, 'retry', state)
      await this.#control(job, 'run')
      if ((await job.getState()) === 'failed') {
        await job.updateProgress(0)
        await job.retry('failed', { resetAttemptsMade: true, resetAttemptsStarted: true })
      }
    })
  }

  logs(id: string): Promise<string[]> {
    return this.#ask(async () => {
      if ((await this.#view(id)) === null) throw unknownJob(id)
      return (await this.#queue.getJobLogs(id, 0, -1)).logs
    })
  }

  schedule(
    id: string,
    schedule: { pattern: string; zone: string; type: JobType; data: Readonly<Record<string, unknown>> } | null,
  ): Promise<void> {
    return this.#ask(async () => {
      if (schedule === null) {
        await this.#queue.removeJobScheduler(id)
        return
      }
      const there = await this.#queue.getJobScheduler(id)
      const payload: Payload = { input: schedule.data, control: 'run' }
      const same =
        there?.pattern === schedule.pattern &&
        there.tz === schedule.zone &&
        there.name === schedule.type &&
        canonical(there.template?.data) === canonical(payload)
      // Upserting again would replace the overdue run of a platform that was down by the next regular one.
      if (same) return
      await this.#queue.upsertJobScheduler(
        id,
        { pattern: schedule.pattern, tz: schedule.zone },
        { name: schedule.type, data: payload, opts: this.#jobOptions() },
      )
    })
  }

  async work(handlers: Partial<Record<JobType, JobHandler>>, options: { concurrency: number }): Promise<void> {
    const { lockMs, backoffMs } = this.#options
    const worker = new this.#classes.Worker<Payload, unknown>(
      this.#options.queue,
      (job, token, signal) => this.#running.run(job as Stored, token ?? '', signal, handlers[job.name as JobType]),
      {
        connection: this.#connections.worker,
        concurrency: options.concurrency,
        lockDuration: lockMs,
        stalledInterval: lockMs,
        maxStalledCount: STALLS_MAX,
        settings: {
          repeatStrategy,
          backoffStrategy: (attempts, _type, error) =>
            failureOf(error)?.retry === 'now'
              ? 0
              : Math.min(BACKOFF_MS_MAX, backoffMs * 2 ** Math.min(attempts - 1, 16)),
        },
      },
    )
    worker.on('error', (error) => this.#report(error))
    worker.on('lockRenewalFailed', (ids) => {
      for (const id of ids) this.#running.lost(id)
    })
    await this.#ask(() => worker.waitUntilReady())
    this.#worker = worker
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#running.stop()
    const worker = this.#worker
    if (worker !== null) {
      await worker.pause(true)
      const { clock, closeMs } = this.#options
      const endMs = clock.monotonic() + closeMs
      while (this.#running.size > 0 && clock.monotonic() < endMs) await clock.sleep(10)
      // A handler that did not stop keeps its lock until it runs out; then its job is taken up like a dead worker's.
      await worker.close(this.#running.size > 0)
    }
    await this.#queue.close()
    await this.#disconnect()
  }

  async #control(job: Stored, control: Control): Promise<void> {
    await job.updateData({ input: job.data.input, control })
    this.#running.steer(job.id!, control)
  }

  #change(id: string, change: (job: Stored, state: JobState) => Promise<void>): Promise<JobView> {
    return this.#ask(async () => {
      const stored = await this.#queue.getJobState(id)
      const job = (await this.#queue.getJob(id)) as Stored | undefined
      if (job === undefined) throw unknownJob(id)
      await change(job, viewOf(job, stored, this.#options.clock.now()).state)
      return (await this.#view(id))!
    })
  }

  async #view(id: string): Promise<JobView | null> {
    // State first: what a state promises (a result, an error) is then surely in the job that is read behind it.
    const state = await this.#queue.getJobState(id)
    const job = (await this.#queue.getJob(id)) as Stored | undefined
    return job === undefined ? null : viewOf(job, state, this.#options.clock.now())
  }

  #jobOptions() {
    const { attemptsMax } = this.#options
    return {
      attempts: attemptsMax,
      backoff: { type: 'custom' },
      removeOnComplete: KEPT,
      removeOnFail: KEPT,
      stackTraceLimit: 1,
    }
  }

  /** Runs one request; what is not ours already is the queue's failure. */
  async #ask<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw error instanceof OperatingError ? error : queueFailed(error)
    }
  }

  #report(error: unknown): void {
    this.#options.onError?.(error instanceof OperatingError ? error : queueFailed(error))
  }
}

/** When a schedule runs next, for BullMQ: see cron.ts on why not its own. */
const repeatStrategy = (after: number, options: { pattern?: string; tz?: string }): number =>
  nextRun({ pattern: options.pattern!, zone: options.tz! }, after)

const unknownJob = (id: string) => new OperatingError('JOB_UNKNOWN', `there is no job ${id}`, { job: id })
const wrongState = (id: string, operation: string, state: JobState) =>
  new OperatingError('JOB_STATE', `cannot ${operation} job ${id}: it is ${state}`, { job: id, operation, state })
