/**
 * When a cron pattern is due in an IANA zone. Daylight saving: a local time that is skipped runs when the clock has passed
 * it, one that comes twice runs once. BullMQ's own parser (cron-parser 5.10.3) stops for good with "loop limit exceeded" in
 * zones that shift by half an hour (Australia/Lord_Howe) and skips a day where clocks change at midnight, so the queue is
 * given this one as well.
 */
import { Cron } from 'croner'
import type { InstantMs } from '#core/time.ts'
import { OperatingError } from './errors.ts'

/** A cron pattern (5 fields, or 6 with seconds) in an IANA zone. */
export interface CronSchedule {
  readonly pattern: string
  readonly zone: string
}

function occurrence(schedule: CronSchedule, find: (cron: Cron) => Date | null | undefined): InstantMs {
  const { pattern, zone } = schedule
  let message = 'it never comes'
  try {
    const found = find(new Cron(pattern, { timezone: zone, paused: true }))
    if (found !== null && found !== undefined) return found.getTime()
  } catch (error) {
    message = error instanceof Error ? error.message : String(error)
  }
  throw new OperatingError('CONFIG_INVALID', `the schedule "${pattern}" in ${zone} is not valid: ${message}`, {
    pattern,
    zone,
  })
}

/** The first due time after `now`. @throws OperatingError CONFIG_INVALID for a wrong pattern or zone */
export const nextRun = (schedule: CronSchedule, now: InstantMs): InstantMs =>
  occurrence(schedule, (cron) => cron.nextRun(new Date(now)))

/** The last due time at or before `now`. @throws OperatingError CONFIG_INVALID for a wrong pattern or zone */
export const lastRun = (schedule: CronSchedule, now: InstantMs): InstantMs =>
  occurrence(schedule, (cron) => cron.previousRuns(1, new Date(Math.floor(now / 1_000) * 1_000 + 1_000))[0])
