/**
 * Barrier ids, given out by the log: the topic `tidemark.barriers` holds one reservation per id, and every ticker folds it the
 * same way, so two tickers, a restart or a zombie never hold the same id.
 *
 *   offset       0      1      2      3         A and B both knew 5 as the last id and wrote 6;
 *   written id   5      6(A)   6(B)   8         the log decides: A has 6, B has 7
 *   given id     5      6      7      8         given(o) = max(written(o), given(o - 1) + 1)
 *
 * A reservation that leads to no barrier costs nothing but its number.
 */
import type { Barrier } from '#core/barrier.ts'
import { encodeBarrier, readBarrier } from '#format/barrier.ts'
import { openBatch, readRecord } from '#format/record-batch.ts'
import { OperatingError } from '#io/errors.ts'
import type { EventLog, FetchedBatch, LogReader } from '#io/ports.ts'
import { BARRIERS_TOPIC } from '#schemas/topics.ts'

/** Reservations that a new ticker reads back: the last one would do, were it not for tickers that raced. */
const TAIL_RECORDS = 100
const PARTITION = 0
/** Reservations are of no use once later ones exist. */
const RETENTION_MS = 7 * 86_400_000

/** Gives out ids. Calls are served one after another. */
export interface BarrierIds {
  /** An id that no other ticker has or will get, greater than all before. @throws OperatingError of the log, OVERLOADED once closed */
  reserve(barrier: Omit<Barrier, 'id'>): Promise<number>
  /** Whether, as of now, `id` is the last one that anybody reserved for the stream. @throws OperatingError of the log */
  isLast(stream: string, id: number): Promise<boolean>
  /** Ends when the calls before it have. Called once. */
  close(): Promise<void>
}

/** Creates the topic where it is missing and reads its tail. */
export async function openBarrierIds(log: EventLog, schemaId: number): Promise<BarrierIds> {
  await log.createTopics([{ topic: BARRIERS_TOPIC, partitions: 1, retentionMs: RETENTION_MS, cleanup: 'delete' }])
  const lastOf = new Map<string, number>()
  const reserved = new Map<number, number>()
  let last = 0
  let next = Math.max(await startOffset(), (await endOffset()) - TAIL_RECORDS)
  let reader: LogReader | null = null
  let queue: Promise<unknown> = Promise.resolve()
  let closed = false

  async function startOffset(): Promise<number> {
    return (await log.startOffsets(BARRIERS_TOPIC))[PARTITION]!
  }
  async function endOffset(): Promise<number> {
    return (await log.endOffsets(BARRIERS_TOPIC))[PARTITION]!
  }

  function fold(batch: FetchedBatch): void {
    const opened = openBatch(batch.bytes, next)
    if (!('dead' in opened)) {
      for (let record = readRecord(opened.cursor); record !== null; record = readRecord(opened.cursor)) {
        const barrier = readBarrier(record)
        if (barrier === null) continue
        last = Math.max(barrier.id, last + 1)
        lastOf.set(barrier.stream, last)
        reserved.set(record.offset, last)
      }
    }
    next = Math.max(next, batch.lastOffset + 1)
  }

  /** Folds everything below `until`. A reader that failed is opened anew: the position is ours. */
  async function readUntil(until: number): Promise<void> {
    while (next < until) {
      try {
        if (reader === null) {
          next = Math.max(next, await startOffset())
          reader = await log.open(BARRIERS_TOPIC, [{ partition: PARTITION, offset: next }])
        }
        for (const batch of await reader.poll({ maxWaitMs: 1_000, maxBytes: 1024 * 1024 })) fold(batch)
      } catch (error) {
        await reader?.close()
        reader = null
        throw error
      }
    }
  }

  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    // A closed reader has no records and does not wait: who then waits for one to be read back would never end.
    if (closed)
      return Promise.reject(new OperatingError('OVERLOADED', 'This process is stopping and puts no more barriers.'))
    const turn = queue.then(work)
    queue = turn.catch(() => {})
    return turn
  }

  await readUntil(await endOffset())
  return {
    reserve: (barrier) =>
      inTurn(async () => {
        const { baseOffset } = await log.append(
          BARRIERS_TOPIC,
          PARTITION,
          encodeBarrier({ ...barrier, id: last + 1 }, schemaId),
        )
        await readUntil(baseOffset + 1)
        const id = reserved.get(baseOffset)!
        reserved.clear()
        return id
      }),
    isLast: (stream, id) =>
      inTurn(async () => {
        await readUntil(await endOffset())
        return lastOf.get(stream) === id
      }),
    close() {
      const turn = inTurn(async () => reader?.close())
      closed = true
      return turn
    },
  }
}
