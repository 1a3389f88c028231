/** What is archived of a stream, kept as entries come, and whoever waits for a barrier to be covered. */
import { barriersOf } from '#io/archive-reader.ts'
import type { OperatingError } from '#io/errors.ts'
import type { ArchivedBarrier, ArchiveEntry } from '#schemas/archive.ts'

/** One partition's archive. */
export interface PartitionCoverage {
  /** Exclusive bound of what is archived. */
  readonly nextOffset: number
  /** Archived barriers in offset order. */
  readonly barriers: readonly ArchivedBarrier[]
  /** Id of the last archived barrier; 0 = none. */
  readonly lastBarrier: number
  /** Partition's watermark at `nextOffset`, UTC ms; null = no event yet. */
  readonly watermark: number | null
}

/** Coverage of one stream. */
export interface StreamCoverage {
  readonly partitions: ReadonlyMap<number, PartitionCoverage>
  /** States a partition's whole archive. */
  set(partition: number, nextOffset: number, entries: readonly ArchiveEntry[]): void
  /** Adds an entry. */
  append(entry: ArchiveEntry): void
  /** Rejects everyone who waits, now and later. */
  fail(error: OperatingError): void
  /** Resolves when every known partition has archived barrier `id` or a later one. */
  waitForBarrier(id: number, signal: AbortSignal): Promise<void>
}

/** Nothing archived, nobody waiting. */
export function createCoverage(): StreamCoverage {
  const partitions = new Map<number, PartitionCoverage>()
  const waiting = new Set<() => void>()
  let failure: OperatingError | null = null
  const wake = (): void => {
    for (const look of [...waiting]) look()
  }
  const isCovered = (id: number): boolean =>
    partitions.size > 0 && [...partitions.values()].every((partition) => partition.lastBarrier >= id)

  return {
    partitions,
    set(partition, nextOffset, entries) {
      const last = entries.at(-1)
      partitions.set(partition, {
        nextOffset,
        barriers: barriersOf(entries),
        lastBarrier: last?.last_barrier ?? 0,
        watermark: last?.watermark ?? null,
      })
      wake()
    },
    append(entry) {
      partitions.set(entry.partition, {
        nextOffset: entry.next_offset,
        barriers: [...(partitions.get(entry.partition)?.barriers ?? []), ...entry.barriers],
        lastBarrier: entry.last_barrier,
        watermark: entry.watermark,
      })
      wake()
    },
    fail(error) {
      failure ??= error
      wake()
    },
    waitForBarrier(id, signal) {
      return new Promise((resolve, reject) => {
        const end = (settle: () => void): void => {
          waiting.delete(look)
          signal.removeEventListener('abort', look)
          settle()
        }
        const look = (): void => {
          if (isCovered(id)) end(resolve)
          else if (failure !== null) end(() => reject(failure as OperatingError))
          else if (signal.aborted) end(() => reject(signal.reason as Error))
        }
        waiting.add(look)
        signal.addEventListener('abort', look)
        look()
      })
    },
  }
}
