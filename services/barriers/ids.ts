/**
 * Barrier ids, given out by the log: the topic `tidemark.barriers` holds one reservation per id, and every ticker folds it the
 * same way, so two tickers, a restart or a zombie never hold the same id of a stream. Each stream counts by itself: a horizon of
 * so many epochs is one of so many of the stream's own.
 *
 *   offset       0      1      2      3      4         A and B both knew 2 as a's last id and wrote 3;
 *   stream       a      a      b      a      a         the log decides: A has 3, B has 4
 *   written id   1      2      3      3(A)   3(B)
 *   given id     1      2      3      3      4         given(o) = max(written(o), the stream's last given + 1)
 *
 * No id is above its offset + 1. So a stream of which no reservation is left, or that is new, begins above the end of the topic
 * (b above), and never below an id that it had. A reservation that leads to no barrier costs nothing but its number.
 */
import type { Barrier } from '#core/barrier.ts'
import { encodeBarrier, readBarrier } from '#format/barrier.ts'
import { openBatch, readRecord } from '#format/record-batch.ts'
import { OperatingError } from '#io/errors.ts'
import type { EventLog, FetchedBatch, LogReader } from '#io/ports.ts'
import { BARRIERS_TOPIC } from '#schemas/topics.ts'

/** Reservations that a new ticker reads back: enough for each stream's last ones. A stream that is not among them skips some numbers. */
const TAIL_RECORDS = 2_000
const PARTITION = 0
/** Reservations are of no use once later ones exist. */
const RETENTION_MS = 7 * 86_400_000

/** Gives out ids. Calls are served one after another. */
export interface BarrierIds {
  /** An id of the stream that no other ticker has or will get, greater than all its ids before. @throws OperatingError of the log, OVERLOADED once closed */
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
        const id = Math.max(barrier.id, (lastOf.get(barrier.stream) ?? 0) + 1)
        lastOf.set(barrier.stream, id)
        reserved.set(record.offset, id)
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
        if (!lastOf.has(barrier.stream)) await readUntil(await endOffset())
        const id = (lastOf.get(barrier.stream) ?? next) + 1
        const { baseOffset } = await log.append(BARRIERS_TOPIC, PARTITION, encodeBarrier({ ...barrier, id }, schemaId))
        await readUntil(baseOffset + 1)
        const given = reserved.get(baseOffset)!
        reserved.clear()
        return given
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
