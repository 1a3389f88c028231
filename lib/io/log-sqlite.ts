/**
 * Event log in one SQLite file: a row is one Kafka v2 record batch exactly as a broker would hold it.
 *
 * Every thread of the process opens the directory for itself; a second process is refused (LOG_LOCKED). An append is
 * acknowledged after its commit, and all appends of one event-loop turn share one transaction, so one fsync. A commit
 * wakes the readers of its topics in every thread through a BroadcastChannel; a coarse poll is the safety net.
 * Durability `fsync` survives power loss, `os` survives the death of every process. Compacted topics are kept whole.
 *
 *   append ─┐                                   ┌─ reader (thread 1)
 *   append ─┼─ turn ends ─ BEGIN … COMMIT ─ wake ┼─ reader (thread 2)
 *   append ─┘                                   └─ …
 */
import { mkdirSync } from 'node:fs'
import { resolve as absolute } from 'node:path'
import { BroadcastChannel } from 'node:worker_threads'
import { assert } from '#core/assert.ts'
import { LIMITS } from '#core/limits.ts'
import { readHeader, stampBatch } from '#format/record-batch.ts'
import { OperatingError } from '#io/errors.ts'
import { appendUnknown, batchTooLarge, topicUnknown } from '#io/log-errors.ts'
import { createSqliteReader } from '#io/log-sqlite-reader.ts'
import { CommitFailed, type LogStore, openStore } from '#io/log-sqlite-store.ts'
import type { Appended, Clock, EventLog, LogReader, TopicSpec } from '#io/ports.ts'
import { lockDirectory } from '#io/process-lock.ts'

/** Where and how safely to keep the log. */
export interface SqliteLogOptions {
  /** Created when absent; holds `log.sqlite` and its companions. */
  readonly directory: string
  readonly clock: Clock
  /** `fsync`: an acknowledged append survives power loss. `os`: it survives kill -9 of every process, not power loss. */
  readonly durability: 'fsync' | 'os'
  /** Take the directory's process lock: the main thread does, its workers do not. */
  readonly lock: boolean
}

/** The embedded log; besides the port it can be told to apply retention. */
export interface SqliteLog extends EventLog {
  /** Deletes whole batches that arrived longer ago than their topic's retention; returns how many. */
  sweep(): Promise<number>
}

/** A topic as this connection knows it; partition counts only grow. */
interface Topic {
  readonly id: number
  readonly incarnation: string
  readonly partitions: number
}

interface PendingAppend {
  readonly topic: string
  readonly topicId: number
  readonly partition: number
  readonly batch: Uint8Array
  readonly resolve: (appended: Appended) => void
  readonly reject: (error: OperatingError) => void
}

/** Bytes after which a transaction is closed although more appends wait: bounds how long a commit holds the thread. */
const COMMIT_BYTES_MAX = 4 * 1024 * 1024
/** Batches deleted per transaction of a sweep. */
const SWEEP_BATCHES = 256
/**
 * Opens the log of a directory, creating it when absent.
 * @throws OperatingError LOG_LOCKED, DATA_DIR_UNWRITABLE
 */
export async function openSqliteLog(options: SqliteLogOptions): Promise<SqliteLog> {
  const { clock } = options
  const directory = absolute(options.directory)
  try {
    mkdirSync(directory, { recursive: true })
  } catch (error) {
    throw new OperatingError('DATA_DIR_UNWRITABLE', `cannot create ${directory}`, { path: directory }, { cause: error })
  }
  const lock = options.lock ? lockDirectory(directory, 'log') : null
  let store: LogStore
  try {
    store = openStore(directory, options.durability)
  } catch (error) {
    lock?.release()
    throw new OperatingError(
      'DATA_DIR_UNWRITABLE',
      `cannot open the log in ${directory}`,
      { path: directory },
      { cause: error },
    )
  }

  const { db, exclusively } = store

  const findTopic = db.prepare('SELECT id, incarnation, retention_ms, cleanup FROM topics WHERE topic = ?')
  const insertTopic = db.prepare('INSERT INTO topics (topic, incarnation, retention_ms, cleanup) VALUES (?, ?, ?, ?)')
  const updateTopic = db.prepare('UPDATE topics SET retention_ms = ?, cleanup = ? WHERE id = ?')
  const insertPartition = db.prepare('INSERT OR IGNORE INTO partitions (topic_id, partition) VALUES (?, ?)')
  const countPartitions = db.prepare('SELECT count(*) AS n FROM partitions WHERE topic_id = ?')
  const listBounds = db.prepare(
    'SELECT start_offset, next_offset FROM partitions WHERE topic_id = ? ORDER BY partition',
  )
  const getTail = db.prepare('SELECT next_offset, arrival_ms FROM partitions WHERE topic_id = ? AND partition = ?')
  const setTail = db.prepare(
    'UPDATE partitions SET next_offset = ?, arrival_ms = ? WHERE topic_id = ? AND partition = ?',
  )
  const setStart = db.prepare('UPDATE partitions SET start_offset = ? WHERE topic_id = ? AND partition = ?')
  const insertBatch = db.prepare('INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?)')
  const deleteBelow = db.prepare('DELETE FROM batches WHERE topic_id = ? AND partition = ? AND base_offset < ?')
  const listOldest = db.prepare(
    'SELECT last_offset, arrival_ms FROM batches WHERE topic_id = ? AND partition = ? ORDER BY base_offset LIMIT ?',
  )
  const listSwept = db.prepare(
    `SELECT id, topic, retention_ms FROM topics WHERE cleanup = 'delete' AND retention_ms IS NOT NULL`,
  )
  const listPositions = db.prepare('SELECT partition, next_offset FROM positions WHERE owner = ? AND topic = ?')
  const setPosition = db.prepare('INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?)')

  const topics = new Map<string, Topic>()
  const channels = new Map<string, BroadcastChannel>()
  const readers = new Set<LogReader>()
  let pending: PendingAppend[] = []
  let flushing: Promise<void> | null = null
  let closed = false

  const channelName = (topic: string): string => `tidemark-log:${directory}:${topic}`

  /** Tells the readers of every thread, this one included, that `topic` has grown. */
  function announce(topic: string): void {
    let channel = channels.get(topic)
    if (channel === undefined) {
      channel = new BroadcastChannel(channelName(topic))
      channel.unref()
      channels.set(topic, channel)
    }
    channel.postMessage(null)
  }

  /** The topic, read again when `partition` is beyond what this connection has seen. */
  function lookUp(topic: string, partition: number): Topic | null {
    const known = topics.get(topic)
    if (known !== undefined && partition < known.partitions) return known
    const row = findTopic.get(topic) as { id: number; incarnation: string } | undefined
    if (row === undefined) return null
    const { n } = countPartitions.get(row.id) as { n: number }
    const found = { id: row.id, incarnation: row.incarnation, partitions: n }
    topics.set(topic, found)
    return found
  }

  function need(topic: string, partition = 0): Topic {
    const found = lookUp(topic, partition)
    if (found === null) throw topicUnknown(topic)
    if (!(partition >= 0 && partition < found.partitions)) throw topicUnknown(topic, partition)
    return found
  }

  /** Writes the appends in call order; their offsets and arrival times. */
  function writeAll(appends: readonly PendingAppend[]): Appended[] {
    const tails = new Map<string, { topicId: number; partition: number; nextOffset: number; arrivalMs: number }>()
    const nowMs = clock.now()
    const results: Appended[] = []
    for (const { topicId, partition, batch } of appends) {
      const key = `${topicId}/${partition}`
      let tail = tails.get(key)
      if (tail === undefined) {
        const row = getTail.get(topicId, partition) as { next_offset: number; arrival_ms: number }
        tail = { topicId, partition, nextOffset: row.next_offset, arrivalMs: Math.max(row.arrival_ms, nowMs) }
        tails.set(key, tail)
      }
      const bytes = new Uint8Array(batch)
      const baseOffset = tail.nextOffset
      stampBatch(bytes, baseOffset, tail.arrivalMs)
      const { lastOffset } = readHeader(bytes)
      insertBatch.run(topicId, partition, baseOffset, lastOffset, tail.arrivalMs, bytes)
      tail.nextOffset = lastOffset + 1
      results.push({ baseOffset, nextOffset: tail.nextOffset, arrivalMs: tail.arrivalMs })
    }
    for (const { topicId, partition, nextOffset, arrivalMs } of tails.values()) {
      setTail.run(nextOffset, arrivalMs, topicId, partition)
    }
    return results
  }

  /** Takes what one transaction may hold off the front of the queue. */
  function takeGroup(): PendingAppend[] {
    let bytes = 0
    let count = 0
    while (count < pending.length && (count === 0 || bytes + pending[count]!.batch.byteLength <= COMMIT_BYTES_MAX)) {
      bytes += pending[count]!.batch.byteLength
      count++
    }
    const group = pending.slice(0, count)
    pending = pending.slice(count)
    return group
  }

  /** Ends when the queue is empty. Between two transactions the event loop turns once, so that more appends can join. */
  async function flush(): Promise<void> {
    while (pending.length > 0) {
      await new Promise((resolve) => setImmediate(resolve))
      const group = takeGroup()
      try {
        const results = await exclusively('append', () => writeAll(group))
        for (const topic of new Set(group.map((append) => append.topic))) announce(topic)
        for (let i = 0; i < group.length; i++) group[i]!.resolve(results[i]!)
      } catch (error) {
        // A commit that failed may still be found by crash recovery: the outcome is unknown.
        for (const append of group) {
          const unknown = error instanceof CommitFailed
          append.reject(
            unknown
              ? appendUnknown(append.topic, append.partition, `commit failed: ${error.message}`, error.cause)
              : (error as OperatingError),
          )
        }
      }
    }
    flushing = null
  }

  function bounds(topic: string): { start_offset: number; next_offset: number }[] {
    return listBounds.all(need(topic).id) as { start_offset: number; next_offset: number }[]
  }

  /** Deletes up to SWEEP_BATCHES batches that arrived before `cutoffMs`; how many. */
  function sweepSome(topicId: number, partition: number, cutoffMs: number): number {
    const oldest = listOldest.all(topicId, partition, SWEEP_BATCHES) as { last_offset: number; arrival_ms: number }[]
    const expired = oldest.findIndex((row) => row.arrival_ms >= cutoffMs)
    const count = expired < 0 ? oldest.length : expired
    if (count === 0) return 0
    const start = oldest[count - 1]!.last_offset + 1
    deleteBelow.run(topicId, partition, start)
    setStart.run(start, topicId, partition)
    return count
  }

  return {
    async createTopics(specs: readonly TopicSpec[]) {
      await exclusively('create topics', () => {
        for (const { topic, partitions, retentionMs, cleanup } of specs) {
          const row = findTopic.get(topic) as { id: number } | undefined
          if (row === undefined) insertTopic.run(topic, crypto.randomUUID(), retentionMs, cleanup)
          else updateTopic.run(retentionMs, cleanup, row.id)
          const { id } = findTopic.get(topic) as { id: number }
          for (let partition = 0; partition < partitions; partition++) insertPartition.run(id, partition)
        }
      })
      for (const { topic } of specs) topics.delete(topic)
    },
    async describeTopic(topic) {
      topics.delete(topic)
      const found = lookUp(topic, 0)
      return found === null ? null : { partitions: found.partitions, incarnation: found.incarnation }
    },
    append(topic, partition, batch) {
      return new Promise((resolve, reject) => {
        assert(!closed, 'the log is used after close')
        const { id } = need(topic, partition)
        if (batch.byteLength > LIMITS.batchBytes) throw batchTooLarge(topic, partition, batch.byteLength)
        pending.push({ topic, topicId: id, partition, batch, resolve, reject })
        flushing ??= flush()
      })
    },
    async open(topic, positions) {
      const reader = createSqliteReader({
        db,
        topic,
        topicId: need(topic, Math.max(0, ...positions.map((position) => position.partition))).id,
        positions,
        channel: new BroadcastChannel(channelName(topic)),
        onClose: () => readers.delete(reader),
      })
      readers.add(reader)
      return reader
    },
    async startOffsets(topic) {
      return bounds(topic).map((row) => row.start_offset)
    },
    async endOffsets(topic) {
      return bounds(topic).map((row) => row.next_offset)
    },
    async loadPositions(owner, topic) {
      const rows = listPositions.all(owner, topic) as { partition: number; next_offset: number }[]
      return new Map(rows.map((row) => [row.partition, row.next_offset]))
    },
    async storePositions(owner, topic, next) {
      await exclusively('store positions', () => {
        for (const [partition, offset] of next) setPosition.run(owner, topic, partition, offset)
      })
    },
    async sweep() {
      let swept = 0
      for (const row of listSwept.all() as { id: number; topic: string; retention_ms: number }[]) {
        const cutoffMs = clock.now() - row.retention_ms
        const { partitions } = need(row.topic)
        for (let partition = 0; partition < partitions; partition++) {
          for (let count = SWEEP_BATCHES; count === SWEEP_BATCHES; swept += count) {
            count = await exclusively('sweep', () => sweepSome(row.id, partition, cutoffMs))
          }
        }
      }
      return swept
    },
    async close() {
      if (closed) return
      await flushing
      for (const reader of [...readers]) await reader.close()
      for (const channel of channels.values()) channel.close()
      closed = true
      store.close()
      lock?.release()
    },
  }
}
