/**
 * The jobs that run in this process: their handlers, what they are told, and how they are stopped.
 *
 *   pause     the handler waits inside `progress`; a paused job of a dead worker is held when taken up
 *   cancel    the signal aborts: here at once, elsewhere within `controlPollMs`; the job fails with CANCELLED
 *   close     the signal aborts and the job goes back to waiting
 *   lock      lost to another worker: the signal aborts, and the queue refuses what this one still reports
 */
import { DelayedError, WaitingError } from 'bullmq'
import { classify, OperatingError } from './errors.ts'
import { CANCELLED, type Control, failed, failure, type Stored } from './jobs-model.ts'
import type { Clock, JobContext, JobHandler } from './ports.ts'

/** A held job is delayed for ever, as far as BullMQ can. */
const HELD_MS = 5 * 365 * 86_400_000

/** A handler that runs in this process. */
interface Running {
  readonly abort: AbortController
  control: Control
  /** How often it was steered from this process: what is read meanwhile is older. */
  steered: number
  wake: () => void
}

/** Why a handler was aborted; it never reaches a reader. */
class Stopped extends Error {
  override readonly name = 'Stopped'
  readonly why: 'cancel' | 'close' | 'lock'
  constructor(why: 'cancel' | 'close' | 'lock') {
    super(why)
    this.why = why
  }
}

/** What running jobs need. */
export interface RunningJobsOptions {
  readonly clock: Clock
  readonly controlPollMs: number
  /** What was asked of a job, as stored now; undefined when there is no such job. */
  readonly controlOf: (id: string) => Promise<Control | undefined>
  /** Told of every failure that no caller sees. */
  readonly onError: (error: unknown) => void
}

/** The jobs that run in this process. */
export class RunningJobs {
  readonly #options: RunningJobsOptions
  readonly #running = new Map<string, Running>()
  #stopped = false

  constructor(options: RunningJobsOptions) {
    this.#options = options
  }

  /** How many handlers have not returned yet. */
  get size(): number {
    return this.#running.size
  }

  /** Tells a running handler what is asked of its job; nothing happens when it runs elsewhere or not at all. */
  steer(id: string, control: Control): void {
    const running = this.#running.get(id)
    if (running === undefined) return
    running.steered++
    steer(running, control)
  }

  /** Aborts the handler of a job whose lock was lost. */
  lost(id: string): void {
    this.#running.get(id)?.abort.abort(new Stopped('lock'))
  }

  /** Aborts all handlers, and those that begin from now on. */
  stop(): void {
    this.#stopped = true
    for (const running of this.#running.values()) running.abort.abort(new Stopped('close'))
  }

  /** Runs the handler of a job that this process has taken up; its result, or an error as BullMQ can store it. */
  async run(
    job: Stored,
    token: string,
    signal: AbortSignal | undefined,
    handler: JobHandler | undefined,
  ): Promise<unknown> {
    const id = job.id!
    const asked = await this.#options.controlOf(id)
    if (asked === 'cancel') throw cancelled()
    if (asked === 'pause') await this.#hold(job, token)
    if (handler === undefined)
      throw failed(failure(new OperatingError('REQUEST_INVALID', `no worker runs jobs of type ${job.name}`)))

    const running: Running = { abort: new AbortController(), control: 'run', steered: 0, wake: () => undefined }
    this.#running.set(id, running)
    signal?.addEventListener('abort', () => running.abort.abort(new Stopped('lock')))
    if (this.#stopped) running.abort.abort(new Stopped('close'))
    const finished = new AbortController()
    const watched = this.#watch(id, running, finished.signal)
    try {
      const result = await handler(job.data.input, this.#context(job, running))
      return result ?? null
    } catch (error) {
      const stopped = running.abort.signal.aborted ? (running.abort.signal.reason as Stopped).why : null
      if (stopped === 'cancel') throw cancelled()
      if (stopped === 'close') {
        await job.moveToWait(token)
        throw new WaitingError()
      }
      throw failed(failure(classify(error)))
    } finally {
      this.#running.delete(id)
      finished.abort()
      await watched
    }
  }

  /** Puts a paused job aside so that it takes no worker's place. Never returns. */
  async #hold(job: Stored, token: string): Promise<never> {
    await job.moveToDelayed(this.#options.clock.now() + HELD_MS, token)
    // Resumed between our read and the move: nobody else would promote it.
    const now = await this.#options.controlOf(job.id!)
    if (now !== undefined && now !== 'pause') await promote(job)
    throw new DelayedError()
  }

  #context(job: Stored, running: Running): JobContext {
    const { clock } = this.#options
    const signal = running.abort.signal
    const startedMs = clock.monotonic()
    let pausedMs = 0
    let writtenMs = Number.NEGATIVE_INFINITY
    const check = () => {
      if (signal.aborted) throw signal.reason
    }
    return {
      id: job.id!,
      signal,
      progress: async (fraction, note) => {
        check()
        if (note !== undefined) await job.log(this.#line(note))
        const now = clock.monotonic()
        // A hundred reports a second tell no more than ten, and each is a write.
        if (fraction >= 1 || note !== undefined || now - writtenMs >= 100) {
          writtenMs = now
          const elapsed = now - startedMs - pausedMs
          const etaMs = fraction > 0 ? Math.round((elapsed * (1 - fraction)) / fraction) : null
          await job.updateProgress({ fraction, eta_ms: etaMs, at_ms: clock.now() })
        }
        while (running.control === 'pause' && !signal.aborted)
          await new Promise<void>((resolve) => (running.wake = resolve))
        pausedMs += clock.monotonic() - now
        check()
      },
      log: async (line) => {
        check()
        await job.log(this.#line(line))
      },
    }
  }

  /** Follows what other processes ask of a running job. */
  async #watch(id: string, running: Running, finished: AbortSignal): Promise<void> {
    running.abort.signal.addEventListener('abort', () => running.wake())
    for (;;) {
      await this.#options.clock.sleep(this.#options.controlPollMs, finished)
      if (finished.aborted) return
      try {
        const { steered } = running
        const control = await this.#options.controlOf(id)
        // Asked before somebody here paused the job, answered behind it: the pause would be forgotten until the next look.
        if (control !== undefined && running.steered === steered) steer(running, control)
      } catch (error) {
        this.#options.onError(error)
      }
    }
  }

  #line(text: string): string {
    return `${new Date(this.#options.clock.now()).toISOString()} ${text}`
  }
}

const cancelled = () => failed({ code: CANCELLED, message: 'cancelled', hint: '', retry: 'never' })

function steer(running: Running, control: Control): void {
  running.control = control
  if (control === 'cancel') running.abort.abort(new Stopped('cancel'))
  if (control !== 'pause') running.wake()
}

/** Makes a held job runnable; a job that left the delayed state meanwhile needs no help. */
export async function promote(job: Stored): Promise<void> {
  try {
    await job.promote()
  } catch (error) {
    if ((await job.getState()) === 'delayed') throw error
  }
}
