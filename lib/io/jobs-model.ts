/**
 * The pure parts of the job queue: a job as it is stored and as it is shown, ids of keys, and errors as BullMQ can store them.
 */
import { createHash } from 'node:crypto'
import { type Job, UnrecoverableError } from 'bullmq'
import type { InstantMs } from '#core/time.ts'
import { OperatingError } from './errors.ts'
import type { JobState, JobType, JobView } from './ports.ts'

/** What was asked of a job; kept in its data. */
export type Control = 'run' | 'pause' | 'cancel'

/** A job's data as stored. */
export interface Payload {
  readonly input: Readonly<Record<string, unknown>>
  readonly control: Control
}

/** A job as BullMQ gives it out. */
export type Stored = Job<Payload>

/** Code of a job that was cancelled; shown as a state, never as an error. */
export const CANCELLED = 'CANCELLED'

/** A failure as it is stored: JSON in the message of the error that BullMQ keeps. */
export interface Failure {
  readonly code: string
  readonly message: string
  readonly hint: string
  readonly retry: 'now' | 'later' | 'never'
}

/** An id that BullMQ accepts (no colon, not a number) and that says nothing but type and key. */
export const jobIdOf = (type: JobType, key: string): string =>
  `k${createHash('sha256').update(`${type}\n${key}`).digest('hex').slice(0, 31)}`

/** State of the API, from BullMQ's and what was asked. */
function stateOf(stored: string, control: Control, cancelled: boolean): JobState {
  switch (stored) {
    case 'completed':
      return 'completed'
    case 'failed':
      return cancelled ? 'cancelled' : 'failed'
    case 'active':
      return control === 'pause' ? 'paused' : 'active'
    default:
      return control === 'pause' ? 'paused' : control === 'cancel' ? 'cancelled' : 'waiting'
  }
}

/** A job as it is shown at `nowMs`, from BullMQ's state and what it stores. */
export function viewOf(job: Stored, stored: string, nowMs: InstantMs): JobView {
  const error = stored === 'failed' ? readFailure(job.failedReason) : null
  const state = stateOf(stored, job.data.control, error?.code === CANCELLED)
  const report = job.progress as number | { fraction: number; eta_ms: number | null; at_ms: number }
  const eta = typeof report === 'object' && state === 'active' ? report.eta_ms : null
  const since = typeof report === 'object' ? nowMs - report.at_ms : 0
  return {
    id: job.id!,
    type: job.name as JobType,
    state,
    data: job.data.input,
    progress: state === 'completed' ? 1 : typeof report === 'object' ? report.fraction : 0,
    eta_ms: eta === null ? null : Math.max(0, eta - Math.max(0, since)),
    result: state === 'completed' ? (job.returnvalue ?? null) : null,
    error: state === 'failed' && error !== null ? { code: error.code, message: error.message, hint: error.hint } : null,
    created_at: new Date(job.timestamp).toISOString(),
    finished_at:
      job.finishedOn === undefined || job.finishedOn === null ? null : new Date(job.finishedOn).toISOString(),
  }
}

/** What is stored of an operating error. */
export const failure = (error: OperatingError): Failure => ({
  code: error.code,
  message: error.message,
  hint: error.hint,
  retry: error.retry,
})

/** The error that BullMQ stores: its message is the failure as JSON, its class decides about another attempt. */
export function failed(what: Failure): Error {
  const text = JSON.stringify(what)
  return what.retry === 'never' ? new UnrecoverableError(text) : new Error(text)
}

/** The failure that an error carries, if any. */
export const failureOf = (error: Error | undefined): Failure | null =>
  error === undefined ? null : readFailure(error.message)

/** Reads a stored failure; null when there is none. */
function readFailure(text: string | undefined): Failure | null {
  if (text === undefined || text === '') return null
  try {
    const json = JSON.parse(text) as Partial<Failure>
    if (typeof json.code === 'string') return json as Failure
  } catch {
    // BullMQ's own words, as for a job that stalled too often.
  }
  return { code: 'INTERNAL', message: text, hint: 'See the log of the worker that ran it.', retry: 'never' }
}

/** JSON with sorted keys: PostgreSQL's jsonb does not keep their order. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  )
}

/** PostgreSQL's disk_full: the embedded queue shares its disk with everything else, and Redis has nothing to do with it. */
const DISK_FULL = '53100'

/** An error of the queue's backend as ours. */
export function queueFailed(error: unknown): OperatingError {
  const isFull = (error as { code?: unknown } | null)?.code === DISK_FULL
  const message = error instanceof Error ? error.message : String(error)
  return new OperatingError(isFull ? 'LAKE_DISK_FULL' : 'QUEUE_UNREACHABLE', message, {}, { cause: error })
}
