/**
 * A reader of a Kafka topic: one fetch in flight per leader, the next one sent while the last one is worked on. The
 * positions are ours, so there is no group, no rebalance and no reset: a position outside the log is DATA_LOSS_SUSPECTED.
 *
 * Batches of aborted transactions are handed over as control batches: their offsets are accounted for, their records
 * are not seen.
 */
import { OperatingError } from '#io/errors.ts'
import { recycleFrames } from '#io/kafka-frames.ts'
import { fetchBatches } from '#io/kafkajs-requests.ts'
import { dataLossSuspected, topicUnknown } from '#io/log-errors.ts'
import { judgeFetched } from '#io/log-kafka-batches.ts'
import { clusterError, errorTypes, type KafkaLink, saysUnknownTopic } from '#io/log-kafka-link.ts'
import type { Clock, FetchedBatch, LogReader } from '#io/ports.ts'

/** How long a fetch waits at the broker; longer polls send several. */
const FETCH_WAIT_MS = 500
/** Failing for so long is told to the caller; until then the reader reconnects by itself. */
const GIVE_UP_MS = 30_000
/** A topic that is denied for so long is gone. */
const UNKNOWN_TOPIC_MS = 5_000

/** What a reader is made of; it owns the link. */
export interface KafkaReaderParts {
  readonly link: KafkaLink
  readonly clock: Clock
  readonly topic: string
  readonly positions: readonly { partition: number; offset: number }[]
  readonly onClose: () => void
}

/** Opens a reader; see {@link LogReader}. */
export function createKafkaReader(parts: KafkaReaderParts): LogReader {
  const { link, clock, topic } = parts
  const next = new Map(parts.positions.map(({ partition, offset }) => [partition, offset]))
  /** Leaders whose fetch is on its way; their partitions have nothing in `ready`. */
  const fetching = new Set<number>()
  /** What came and was not polled yet: at most one answer per leader. */
  let ready: { nodeId: number; batches: FetchedBatch[] }[] = []
  /** What the last poll handed over: the caller's until the next one. */
  let polled: FetchedBatch[] = []
  let leaders: readonly number[] | null = null
  let maxBytes = 1
  let failure: OperatingError | null = null
  /** Monotonic ms since when nothing succeeds; null when all is well. */
  let failingSince: number | null = null
  let closed = false
  let wake: (() => void) | null = null

  function fail(error: OperatingError): void {
    failure = error
    wake?.()
  }

  /** After a failed fetch: gives up by name, or forgets the connections and leaders so that the next fetch begins anew. */
  async function recover(error: unknown): Promise<void> {
    if (closed) return
    failingSince ??= clock.monotonic()
    const failedMs = clock.monotonic() - failingSince
    if (errorTypes(error).includes('OFFSET_OUT_OF_RANGE')) {
      const lost = await lostPosition().catch(() => null)
      if (lost !== null) return fail(lost)
    }
    if (error instanceof OperatingError && error.retry === 'never') return fail(error)
    if (saysUnknownTopic(error) && failedMs > UNKNOWN_TOPIC_MS) return fail(topicUnknown(topic))
    if (failedMs > GIVE_UP_MS) return fail(clusterError(error, `fetch ${topic}`, link.connection.brokers))
    leaders = null
    link.reset()
    await clock.sleep(100)
  }

  /** The error for the first position outside the log, or null when all are inside. */
  async function lostPosition(): Promise<OperatingError | null> {
    const start = await link.offsets(topic, 'start')
    const end = await link.offsets(topic, 'end')
    for (const [partition, offset] of next) {
      const from = start[partition] ?? 0
      const until = end[partition] ?? 0
      if (offset < from || offset > until) return dataLossSuspected(topic, partition, offset, from, until)
    }
    return null
  }

  /** One fetch from one leader; positions move when its answer has come. */
  async function fetchFrom(nodeId: number): Promise<void> {
    fetching.add(nodeId)
    try {
      const partitions = [...next].filter(([partition]) => leaders?.[partition] === nodeId)
      const fetched = await fetchBatches(await link.broker(nodeId), {
        topic,
        partitions: partitions.map(([partition, offset]) => ({ partition, offset })),
        maxWaitMs: FETCH_WAIT_MS,
        maxBytes,
        isolation: 'committed',
      })
      const batches = fetched.flatMap((one) => judgeFetched(one, next.get(one.partition)!))
      for (const { partition, lastOffset } of batches) next.set(partition, lastOffset + 1)
      failingSince = null
      if (batches.length > 0) ready.push({ nodeId, batches })
    } catch (error) {
      await recover(error)
    } finally {
      fetching.delete(nodeId)
      wake?.()
    }
  }

  /** Sends a fetch to every leader that has none on its way and nothing waiting to be polled. */
  async function fetchAll(): Promise<void> {
    if (leaders === null) {
      try {
        leaders = await link.leaders(topic, true)
        if (leaders === null) throw topicUnknown(topic)
      } catch (error) {
        return recover(error)
      }
    }
    const nodes = new Set<number>()
    for (const partition of next.keys()) {
      const nodeId = leaders[partition]
      if (nodeId !== undefined) nodes.add(nodeId)
    }
    for (const nodeId of nodes) {
      if (!fetching.has(nodeId) && !ready.some((one) => one.nodeId === nodeId)) void fetchFrom(nodeId)
    }
  }

  return {
    async poll(options) {
      maxBytes = Math.max(1, options.maxBytes)
      recycleFrames(polled.map(({ bytes }) => bytes))
      polled = []
      const deadline = clock.monotonic() + options.maxWaitMs
      for (;;) {
        if (failure !== null) {
          const error = failure
          failure = null
          failingSince = null
          throw error
        }
        if (closed) return []
        const taken = ready
        ready = []
        await fetchAll()
        polled = taken.flatMap((one) => one.batches)
        if (polled.length > 0) return polled
        const leftMs = deadline - clock.monotonic()
        if (ready.length > 0 || failure !== null || closed) continue
        if (leftMs <= 0) return []
        const waiting = new AbortController()
        const woken = new Promise<void>((resolve) => {
          wake = resolve
        })
        await Promise.race([woken, clock.sleep(leftMs, waiting.signal)])
        waiting.abort()
        wake = null
      }
    },
    async close() {
      if (closed) return
      closed = true
      wake?.()
      link.close()
      parts.onClose()
    },
  }
}
