/** Positions in the log. Offsets are safe integers inside (Kafka's int64 is checked at the door) and bigint at the edge. */

/** Next offset to read per partition, exclusive bound of what has been read; index = partition. */
export type Offsets = readonly number[]
