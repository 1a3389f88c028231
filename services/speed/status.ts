/** What a speed worker tells about a partition, a few times a second; plain data that crosses threads. */
import type { EngineCounts } from '#metrics/partition-engine.ts'

/** State of one partition in the speed layer. */
export interface PartitionStatus {
  readonly stream: string
  readonly partition: number
  /** Next offset to read. */
  readonly next: number
  readonly epoch: number
  /** null = no event yet. */
  readonly watermark: number | null
  /** Arrival time of the last record batch read; 0 = none. */
  readonly arrivalMs: number
  readonly counts: EngineCounts
  readonly entries: number
  readonly bytes: number
  /** Has reached what stood in the log when it started. */
  readonly recovered: boolean
}
