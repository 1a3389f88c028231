/**
 * Event log on Apache Kafka (2.3 and later). Batches travel as they are; offsets and positions are ours, never a group's.
 *
 * Topics are created with log append time, which is what arrival time means, and with room for our largest batch. An
 * acknowledged append survives the death of every process; power loss only where replicas or the broker's flush settings
 * see to it. Kafka's metadata in the versions spoken here carry no topic id: `incarnation` is null, and who keeps
 * positions checks the content it has already (the archiver does).
 */
import type { KafkaConnection } from '#io/kafkajs-raw.ts'
import { topicUnknown } from '#io/log-errors.ts'
import { errorTypes, KafkaLink } from '#io/log-kafka-link.ts'
import { createKafkaReader } from '#io/log-kafka-reader.ts'
import { KafkaWriter } from '#io/log-kafka-writer.ts'
import type { Clock, EventLog, LogReader, TopicSpec } from '#io/ports.ts'

/** How to reach the cluster and how long to try. */
export interface KafkaLogOptions {
  /** `host:port` of some of the brokers. */
  readonly brokers: readonly string[]
  readonly clientId: string
  readonly clock: Clock
  /** Ms after which one request is given up and sent again (default 10 s). */
  readonly requestTimeoutMs?: number
  /** Ms after which an append is given up: LOG_UNREACHABLE, or LOG_APPEND_UNKNOWN when a try went out (default 30 s). */
  readonly deliveryTimeoutMs?: number
  /** Rewrites a broker's advertised address before connecting to it: tunnels, and proxies in tests. */
  readonly route?: KafkaConnection['route']
}

/** Above `LIMITS.batchBytes`, with room for a broker that counts headers differently. */
const TOPIC_BATCH_BYTES = 8 * 1024 * 1024
/** Bounds of a segment's age: many small files against late retention. */
const SEGMENT_MS_MIN = 60_000
const SEGMENT_MS_MAX = 7 * 86_400_000
const ADMIN_TIMEOUT_MS = 15_000
/** Without its topics no process starts; a broker that has just come up on a slow machine takes its time. */
const CREATE_TIMEOUT_MS = 60_000
const SETTLE_TRIES = 50
const SETTLE_WAIT_MS = 20
/** Fewer replicas where the cluster has fewer brokers. */
const REPLICAS_MAX = 3

function configEntries(spec: TopicSpec, replicas: number): { name: string; value: string }[] {
  return [
    { name: 'message.timestamp.type', value: 'LogAppendTime' },
    { name: 'max.message.bytes', value: String(TOPIC_BATCH_BYTES) },
    { name: 'cleanup.policy', value: spec.cleanup },
    { name: 'retention.ms', value: spec.retentionMs === null ? '-1' : String(spec.retentionMs) },
    // Retention drops whole segments: without this, a topic of one hour keeps its first week.
    ...(spec.retentionMs === null
      ? []
      : [
          {
            name: 'segment.ms',
            value: String(Math.min(SEGMENT_MS_MAX, Math.max(SEGMENT_MS_MIN, Math.floor(spec.retentionMs / 4)))),
          },
        ]),
    { name: 'min.insync.replicas', value: replicas > 2 ? '2' : '1' },
  ]
}

/**
 * Opens the log and checks that the cluster can be reached.
 * @throws OperatingError LOG_UNREACHABLE
 */
export async function openKafkaLog(options: KafkaLogOptions): Promise<EventLog> {
  const { clock, brokers } = options
  const connection: KafkaConnection = {
    brokers,
    clientId: options.clientId,
    requestTimeoutMs: options.requestTimeoutMs ?? 10_000,
    route: options.route ?? ((address) => address),
  }
  const deliveryTimeoutMs = options.deliveryTimeoutMs ?? 30_000
  const link = new KafkaLink(connection, clock)
  const writerLink = new KafkaLink(connection, clock)
  const writer = new KafkaWriter(writerLink, clock, deliveryTimeoutMs)
  const readers = new Set<LogReader>()
  await link.persist('be reached', connection.requestTimeoutMs, () => link.metadata([]))

  const leaders = (topic: string): Promise<readonly number[] | null> =>
    link.persist(`describe ${topic}`, ADMIN_TIMEOUT_MS, () => link.leaders(topic, true))

  async function createMissing(specs: readonly TopicSpec[]): Promise<void> {
    if (specs.length === 0) return
    const broker = await link.controller()
    const replicas = Math.min(REPLICAS_MAX, link.brokerCount)
    const topics = specs.map((spec) => ({
      topic: spec.topic,
      numPartitions: spec.partitions,
      replicationFactor: replicas,
      configEntries: configEntries(spec, replicas),
    }))
    try {
      await broker.createTopics({ topics, timeout: ADMIN_TIMEOUT_MS })
    } catch (error) {
      // Someone else was first with some of them; the check that follows sees which.
      if (!errorTypes(error).includes('TOPIC_ALREADY_EXISTS')) throw error
    }
  }

  async function grow(specs: readonly TopicSpec[]): Promise<void> {
    if (specs.length === 0) return
    const topicPartitions = specs.map(({ topic, partitions }) => ({ topic, count: partitions }))
    await (await link.controller()).createPartitions({ topicPartitions, timeout: ADMIN_TIMEOUT_MS })
  }

  /** Creates and grows until the brokers show all of it with leaders; they learn of a change a little later. */
  async function settleTopics(specs: readonly TopicSpec[]): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      const { topics } = await link.metadata(specs.map(({ topic }) => topic))
      const found = new Map(
        topics.filter(({ errorCode }) => errorCode === 0).map(({ topic, leaders }) => [topic, leaders]),
      )
      const missing = specs.filter(({ topic }) => !found.has(topic))
      const small = specs.filter(({ topic, partitions }) => (found.get(topic)?.length ?? partitions) < partitions)
      const unled = [...found.values()].some((each) => each.some((leader) => leader < 0))
      if (missing.length + small.length === 0 && !unled) return
      if (attempt === 0) {
        await createMissing(missing)
        await grow(small)
      } else if (attempt === SETTLE_TRIES) {
        throw new Error(`the brokers do not show ${[...missing, ...small].map(({ topic }) => topic).join(', ')}`)
      } else {
        await clock.sleep(SETTLE_WAIT_MS)
      }
    }
  }

  async function offsets(topic: string, which: 'start' | 'end'): Promise<number[]> {
    return link.persist(`list offsets of ${topic}`, ADMIN_TIMEOUT_MS, () => link.offsets(topic, which))
  }

  return {
    async createTopics(specs) {
      if (specs.length > 0) await link.persist('create topics', CREATE_TIMEOUT_MS, () => settleTopics(specs))
    },
    async describeTopic(topic) {
      const found = await leaders(topic)
      return found === null ? null : { partitions: found.length, incarnation: null }
    },
    append: (topic, partition, batch) => writer.append(topic, partition, batch),
    async open(topic, positions) {
      const found = await leaders(topic)
      if (found === null) throw topicUnknown(topic)
      for (const { partition } of positions) {
        if (found[partition] === undefined) throw topicUnknown(topic, partition)
      }
      const reader = createKafkaReader({
        link: new KafkaLink(connection, clock),
        clock,
        topic,
        positions,
        onClose: () => readers.delete(reader),
      })
      readers.add(reader)
      return reader
    },
    startOffsets: (topic) => offsets(topic, 'start'),
    endOffsets: (topic) => offsets(topic, 'end'),
    async loadPositions(owner, topic) {
      const found = await leaders(topic)
      if (found === null) throw topicUnknown(topic)
      return link.persist('load positions', deliveryTimeoutMs, async () => {
        const coordinator = await link.coordinator(owner)
        const partitions = found.map((_, partition) => ({ partition }))
        const { responses } = await coordinator.offsetFetch({ groupId: owner, topics: [{ topic, partitions }] })
        const known = (responses[0]?.partitions ?? []).map(
          ({ partition, offset }) => [partition, Number(offset)] as const,
        )
        return new Map(known.filter(([, offset]) => offset >= 0))
      })
    },
    async storePositions(owner, topic, next) {
      const partitions = [...next].map(([partition, offset]) => ({ partition, offset: String(offset) }))
      if (partitions.length === 0) return
      await link.persist('store positions', deliveryTimeoutMs, async () => {
        const coordinator = await link.coordinator(owner)
        // Outside any generation: nobody joins this group, it only carries the offsets for lag tools.
        const topics = [{ topic, partitions }]
        await coordinator.offsetCommit({ groupId: owner, groupGenerationId: -1, memberId: '', topics })
      })
    },
    async close() {
      for (const reader of [...readers]) await reader.close()
      await writer.drain()
      writerLink.close()
      link.close()
    },
  }
}
