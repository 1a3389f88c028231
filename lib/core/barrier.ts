/**
 * Barriers, epochs, cuts. A barrier is a record of the log that ends an epoch in its partition:
 *
 *   offsets  0 1 2 3 4 5 6 7 8 9        epoch 0 = offsets 0..2 and the barrier at 3
 *   records  e e e B e e B b e e        epoch 7 = offsets 4..6; `b` (id 8 again) is ignored and belongs to epoch 8
 *   ids            7     8 8            epoch 8 = from offset 7 on
 *
 * An epoch bears the id of the barrier that opened it, 0 for the first. Ids only grow: a barrier whose id is not greater
 * than the partition's last is ignored by every reader, so two tickers, retries and zombies are harmless (law 7).
 * A cut is a barrier id that every partition has accepted; its exclusive bound in a partition is the barrier's offset + 1.
 */
import type { InstantMs } from './time.ts'

/** A barrier as its record says it. */
export interface Barrier {
  readonly stream: string
  /** Positive safe integer. */
  readonly id: number
  /** Partition count of the topic when the barrier was made. */
  readonly partitions: number
  readonly createdMs: InstantMs
  /** Put on demand: the archive closes its files at it. */
  readonly demand: boolean
}

/** Whether a partition whose last accepted barrier is `lastId` (0 = none) takes a barrier with `id`. */
export function isAccepted(lastId: number, id: number): boolean {
  return id > lastId
}

/**
 * Exclusive offset bounds of cut `id`, or null when some partition has not accepted it. `accepted[p]` maps barrier id to
 * the barrier's offset. A partition that was added after the barrier (index ≥ the barrier's partition count) stands at 0.
 */
export function cutOffsets(
  id: number,
  partitionsAtBarrier: number,
  accepted: readonly ReadonlyMap<number, number>[],
): number[] | null {
  const offsets: number[] = []
  for (const [partition, barriers] of accepted.entries()) {
    const offset = barriers.get(id)
    if (offset !== undefined) offsets.push(offset + 1)
    else if (partition >= partitionsAtBarrier) offsets.push(0)
    else return null
  }
  return offsets
}
