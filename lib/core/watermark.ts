/**
 * Watermarks. Per partition: running maximum of event time minus the stream's disorder bound, a function of the
 * partition's records only. Dead and quarantined records never move it; duplicates do (they are records of the log).
 *
 * Per stream, for finality only: the minimum over partitions that are not idle. A partition is idle in an epoch that held
 * no event of it. When every partition is idle, the watermark moves on by the time between the two barriers, so the last
 * windows of a quiet night close and a replayed history is not thrown into the present. It never goes back (law 7).
 */
import { assert } from './assert.ts'
import { type DurationMs, type InstantMs, NO_WATERMARK } from './time.ts'

/** State of one partition that outlives its records; plain data, mutable, owned by its reader. */
export interface PartitionClock {
  /** Id of the barrier that opened the current epoch; 0 = the first epoch. */
  epoch: number
  /** First offset of the current epoch. */
  epochFirst: number
  /** Creation time of the barrier that opened the epoch; 0 for the first. */
  openedMs: InstantMs
  /** NO_WATERMARK before the first event. */
  watermark: InstantMs
  /** Events admitted in the current epoch, duplicates included. */
  events: number
}

/** The clock of a partition nobody has read yet. */
export const newPartitionClock = (): PartitionClock => ({
  epoch: 0,
  epochFirst: 0,
  openedMs: 0,
  watermark: NO_WATERMARK,
  events: 0,
})

/** Moves the clock over an accepted barrier. */
export function openEpoch(clock: PartitionClock, barrier: { id: number; createdMs: InstantMs }, offset: number): void {
  assert(barrier.id > clock.epoch, `barrier ids only grow: ${clock.epoch} → ${barrier.id}`)
  clock.epoch = barrier.id
  clock.epochFirst = offset + 1
  clock.openedMs = barrier.createdMs
  clock.events = 0
}

/** What one partition contributes to the stream's watermark in one epoch. */
export interface EpochActivity {
  readonly watermark: InstantMs
  /** 0 = idle. */
  readonly events: number
}

/**
 * The stream's watermark after an epoch, from the one before it and every partition's activity in the epoch.
 * `elapsedMs` is the time between the epoch's two barriers (0 while it is open).
 */
export function foldWatermark(
  previous: InstantMs,
  partitions: readonly EpochActivity[],
  elapsedMs: DurationMs,
): InstantMs {
  let least = Number.POSITIVE_INFINITY
  for (const { watermark, events } of partitions) if (events > 0 && watermark < least) least = watermark
  const next = least === Number.POSITIVE_INFINITY ? previous + Math.max(0, elapsedMs) : least
  return next > previous ? next : previous
}
