/**
 * A reader of the embedded log: range reads in offset order, partition after partition, starting each poll with
 * another partition so that a busy one cannot starve the rest. It checks that batches follow each other without a hole.
 */
import type { DatabaseSync } from 'node:sqlite'
import type { BroadcastChannel } from 'node:worker_threads'
import { dataLossSuspected, topicUnknown } from '#io/log-errors.ts'
import type { FetchedBatch, LogReader } from '#io/ports.ts'

/** A wake-up is lost only when a thread dies between its commit and its announcement; then this many ms pass. */
const SAFETY_NET_MS = 250

interface PartitionPosition {
  readonly partition: number
  /** Next offset to read. */
  offset: number
  /** Inside a batch perhaps: only before the first read. */
  aligned: boolean
}

/** What a reader is made of; it owns the channel and shares the connection with its log. */
export interface SqliteReaderParts {
  readonly db: DatabaseSync
  readonly topic: string
  readonly topicId: number
  readonly positions: readonly { partition: number; offset: number }[]
  /** Receives a message whenever the topic has grown. */
  readonly channel: BroadcastChannel
  readonly onClose: () => void
}

/** Opens a reader; see {@link LogReader}. */
export function createSqliteReader(parts: SqliteReaderParts): LogReader {
  const { db, topic, topicId, channel } = parts
  const places: PartitionPosition[] = parts.positions.map(({ partition, offset }) => ({
    partition,
    offset,
    aligned: false,
  }))
  const getBounds = db.prepare('SELECT start_offset, next_offset FROM partitions WHERE topic_id = ? AND partition = ?')
  const getBatchStart = db.prepare(
    'SELECT max(base_offset) FROM batches WHERE topic_id = ? AND partition = ? AND base_offset <= ?',
  )
  const range = db.prepare(
    `SELECT base_offset, last_offset, bytes FROM batches
     WHERE topic_id = ? AND partition = ? AND base_offset >= ? ORDER BY base_offset`,
  )
  for (const statement of [getBounds, getBatchStart, range]) statement.setReturnArrays(true)

  let first = 0
  let closed = false
  /** Set by a message while nobody waits, so that a commit between the read and the wait is not missed. */
  let grown = false
  let wake: (() => void) | null = null
  channel.unref()
  channel.onmessage = () => {
    grown = true
    wake?.()
  }

  /** Reads from `place` up to `maxBytes` (at least one batch) into `out` without moving it; the offset it would move to and the bytes read. */
  function readRange(place: PartitionPosition, maxBytes: number, out: FetchedBatch[]): { next: number; bytes: number } {
    const { partition, offset } = place
    const bounds = getBounds.get(topicId, partition) as unknown as [number, number] | undefined
    if (bounds === undefined) throw topicUnknown(topic, partition)
    const [startOffset, nextOffset] = bounds
    if (offset < startOffset || offset > nextOffset)
      throw dataLossSuspected(topic, partition, offset, startOffset, nextOffset)
    let next = offset
    let bytes = 0
    if (offset === nextOffset || maxBytes <= 0) return { next, bytes }
    const [found] = place.aligned
      ? [offset]
      : (getBatchStart.get(topicId, partition, offset) as unknown as [number | null])
    for (const row of range.iterate(topicId, partition, found ?? offset)) {
      const [baseOffset, lastOffset, batch] = row as unknown as [number, number, Uint8Array]
      // A sweep between the two statements, or a hole in the file: records would be skipped in silence.
      if (baseOffset > next) throw dataLossSuspected(topic, partition, next, baseOffset, nextOffset)
      out.push({ partition, baseOffset, lastOffset, bytes: batch })
      next = lastOffset + 1
      bytes += batch.byteLength
      if (bytes >= maxBytes) break
    }
    return { next, bytes }
  }

  /** One pass over the partitions; positions move only when all of them could be read. */
  function read(maxBytes: number): FetchedBatch[] {
    const out: FetchedBatch[] = []
    const moves: { place: PartitionPosition; next: number }[] = []
    let left = maxBytes
    for (let i = 0; i < places.length; i++) {
      const place = places[(first + i) % places.length]!
      const { next, bytes } = readRange(place, left, out)
      left -= bytes
      if (next > place.offset) moves.push({ place, next })
    }
    for (const { place, next } of moves) {
      place.offset = next
      place.aligned = true
    }
    if (places.length > 0) first = (first + 1) % places.length
    return out
  }

  function waitForGrowth(ms: number): Promise<void> {
    if (grown || ms <= 0) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(() => done(), ms)
      const done = (): void => {
        clearTimeout(timer)
        wake = null
        resolve()
      }
      wake = done
    })
  }

  return {
    async poll({ maxWaitMs, maxBytes }) {
      const deadline = performance.now() + maxWaitMs
      while (!closed) {
        grown = false
        const found = read(Math.max(1, maxBytes))
        if (found.length > 0) return found
        const leftMs = deadline - performance.now()
        if (leftMs <= 0) return found
        await waitForGrowth(Math.min(leftMs, SAFETY_NET_MS))
      }
      return []
    },
    async close() {
      if (closed) return
      closed = true
      channel.close()
      wake?.()
      parts.onClose()
    },
  }
}
