/**
 * Admission: what becomes of each decoded row before any metric sees it. One rule for the speed layer, the archive and
 * replays, so they always agree: a function of the row, the partition's clock and the stream's policy.
 * Conservation (law 8): every row gets exactly one verdict.
 */
import type { ColumnChunk } from './columns.ts'
import type { DurationMs } from './time.ts'
import type { PartitionClock } from './watermark.ts'

/** The row counts. */
export const ACCEPTED = 0
/** The same id occurred earlier in this partition within the horizon. */
export const DUPLICATE = 1
/** Event time beyond arrival time + future tolerance: kept aside, never moves the watermark. */
export const QUARANTINED = 2

/** Time policy of a stream. */
export interface AdmissionPolicy {
  readonly disorderMs: DurationMs
  /** null: no future check. */
  readonly futureToleranceMs: DurationMs | null
}

/**
 * Judges the rows of a chunk and moves the clock over them. Writes `verdicts[i]` (ACCEPTED or QUARANTINED; dedup comes
 * after) and `watermarks[i]`, the partition's watermark just BEFORE row i. Returns the number of quarantined rows.
 */
export function admit(
  chunk: ColumnChunk,
  clock: PartitionClock,
  policy: AdmissionPolicy,
  verdicts: Uint8Array,
  watermarks: Float64Array,
): number {
  const { eventTimes, count } = chunk
  const disorder = policy.disorderMs
  const latest =
    policy.futureToleranceMs === null ? Number.POSITIVE_INFINITY : chunk.arrivalMs + policy.futureToleranceMs
  let watermark = clock.watermark
  let quarantined = 0
  for (let i = 0; i < count; i++) {
    const time = eventTimes[i]!
    watermarks[i] = watermark
    if (time > latest) {
      verdicts[i] = QUARANTINED
      quarantined++
      continue
    }
    verdicts[i] = ACCEPTED
    if (time - disorder > watermark) watermark = time - disorder
  }
  clock.watermark = watermark
  clock.events += count - quarantined
  return quarantined
}
