/**
 * The nightly build: what it does, and whether the last one was missed.
 */
import type { InstantMs } from '#core/time.ts'
import { type CronSchedule, lastRun } from '#io/cron.ts'

/** When the nightly build is due. */
export type Nightly = CronSchedule

/** Id of the schedule in the queue. */
export const NIGHTLY_ID = 'nightly'
/** What the nightly job does. */
export const NIGHTLY_DATA = { metric: '*', days: 'touched' } as const

/**
 * The due time of a run that did not happen although it should have: the queue was lost or its database deleted. null when
 * nothing was built yet (nothing to catch up), when the last build is younger, or within `graceMs`, in which the queue
 * itself takes up a run that was missed while the platform was down.
 */
export function missedRun(
  nightly: Nightly,
  state: { lastBuiltMs: InstantMs | null; nowMs: InstantMs; graceMs: number },
): InstantMs | null {
  const { lastBuiltMs, nowMs, graceMs } = state
  if (lastBuiltMs === null) return null
  const due = lastRun(nightly, nowMs)
  return due > lastBuiltMs && nowMs - due >= graceMs ? due : null
}
