/** Positions in the log. Offsets are safe integers inside (Kafka's int64 is checked at the door) and bigint at the edge. */

/** Next offset to read per partition, exclusive bound of what has been read; index = partition. */
export type Offsets = readonly number[]

/** Where a record stands; for errors, dead letters and reports. */
export interface Position {
  readonly topic: string
  readonly partition: number
  readonly offset: number
}

/** A half-open range of offsets of one partition. */
export interface OffsetRange {
  readonly partition: number
  readonly from: number
  readonly until: number
}
