/**
 * The pure parts of the job queue: names of states, ids of keys, and errors as BullMQ can store them.
 */
import { createHash } from 'node:crypto'
import { UnrecoverableError } from 'bullmq'
import type { OperatingError } from './errors.ts'
import type { JobState, JobType } from './ports.ts'

/** What was asked of a job; kept in its data. */
export type Control = 'run' | 'pause' | 'cancel'

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
export function stateOf(stored: string, control: Control, cancelled: boolean): JobState {
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
export function readFailure(text: string | undefined): Failure | null {
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
