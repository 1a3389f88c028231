/**
 * One set of connections to a Kafka cluster that can be thrown away: any doubt about a connection ends in `reset`, and
 * the next request connects anew. Readers have a link each, since a waiting fetch holds up what follows on its connection.
 */
import { OperatingError } from '#io/errors.ts'
import {
  connectBroker,
  dropBroker,
  type KafkaAddress,
  type KafkaBroker,
  type KafkaConnection,
  type KafkaError,
} from '#io/kafkajs-raw.ts'
import { type ClusterMetadata, fetchMetadata, speaksOurVersions } from '#io/kafkajs-requests.ts'
import { topicUnknown } from '#io/log-errors.ts'
import type { Clock } from '#io/ports.ts'

/** The protocol error names inside an error of kafkajs, outermost first; also of what it wraps. */
export function errorTypes(error: unknown): string[] {
  const types: string[] = []
  const visit = (one: unknown, depth: number): void => {
    if (one === null || typeof one !== 'object' || depth > 5) return
    const { type, name, cause, originalError, errors } = one as KafkaError
    if (typeof type === 'string') types.push(type)
    else if (typeof name === 'string') types.push(name)
    for (const inner of [cause, originalError, ...(errors ?? [])]) visit(inner, depth + 1)
  }
  visit(error, 0)
  return types
}

/** True when the broker said that the topic or partition is not there. */
export const saysUnknownTopic = (error: unknown): boolean => errorTypes(error).includes('UNKNOWN_TOPIC_OR_PARTITION')

/** An error of the cluster as callers see it; operating errors pass through. */
export function clusterError(error: unknown, operation: string, brokers: readonly string[]): OperatingError {
  if (error instanceof OperatingError) return error
  const message = error instanceof Error ? error.message : String(error)
  const context = { operation, brokers: brokers.join(',') }
  return new OperatingError('LOG_UNREACHABLE', `Kafka cannot ${operation}: ${message}`, context, { cause: error })
}

/** A fresh broker may deny a topic it is about to learn of: ask again this often, this far apart. */
const UNKNOWN_TOPIC_TRIES = 3
const UNKNOWN_TOPIC_WAIT_MS = 30
const UNKNOWN_TOPIC_CODE = 3
const INVALID_TOPIC_CODE = 17
/** Timestamps of ListOffsets that mean the first retained and the next offset. */
const EARLIEST = '-2'
const LATEST = '-1'

const keyOf = ({ host, port }: KafkaAddress): string => `${host}:${port}`

function addressOf(text: string): KafkaAddress {
  const at = text.lastIndexOf(':')
  return at < 0 ? { host: text, port: 9092 } : { host: text.slice(0, at), port: Number(text.slice(at + 1)) }
}

/** A link; connects on first use. */
export class KafkaLink {
  readonly connection: KafkaConnection
  readonly #clock: Clock
  /** Connected or connecting, by address. */
  #brokers = new Map<string, Promise<KafkaBroker>>()
  #nodes = new Map<number, KafkaAddress>()
  #controllerId = -1
  /** Leaders per topic, until a reset or a fresh look. */
  #leaders = new Map<string, readonly number[]>()
  #closed = false

  constructor(connection: KafkaConnection, clock: Clock) {
    this.connection = connection
    this.#clock = clock
  }

  /** How many brokers the cluster has, as far as is known. */
  get brokerCount(): number {
    return this.#nodes.size
  }

  /** Throws the connections away; requests on them fail at once. */
  reset(): void {
    const brokers = this.#brokers
    this.#brokers = new Map()
    this.#leaders = new Map()
    const reason = new Error('the connection was given up')
    for (const connecting of brokers.values())
      void connecting.then((broker) => dropBroker(broker, reason)).catch(() => {})
  }

  /** Ends the link for good. */
  close(): void {
    this.#closed = true
    this.reset()
  }

  /** Asks any broker. @throws OperatingError LOG_UNREACHABLE when none can be reached */
  async metadata(topics: readonly string[] | null): Promise<ClusterMetadata> {
    const metadata = await fetchMetadata(await this.anyBroker(), topics)
    this.#nodes = new Map(metadata.brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }]))
    this.#controllerId = metadata.controllerId
    return metadata
  }

  /** Leader of each partition of a topic, or null when there is no such topic; `fresh` asks the cluster again. */
  async leaders(topic: string, fresh: boolean): Promise<readonly number[] | null> {
    const known = this.#leaders.get(topic)
    if (known !== undefined && !fresh) return known
    for (let attempt = 1; attempt <= UNKNOWN_TOPIC_TRIES; attempt++) {
      const found = (await this.metadata([topic])).topics.find((one) => one.topic === topic)
      const errorCode = found?.errorCode ?? UNKNOWN_TOPIC_CODE
      if (errorCode === 0 && found !== undefined && found.leaders.length > 0) {
        this.#leaders.set(topic, found.leaders)
        return found.leaders
      }
      if (errorCode === INVALID_TOPIC_CODE) break
      if (errorCode !== UNKNOWN_TOPIC_CODE) throw new Error(`the broker answers ${errorCode} for ${topic}`)
      await this.#clock.sleep(UNKNOWN_TOPIC_WAIT_MS)
    }
    this.#leaders.delete(topic)
    return null
  }

  /** The broker that leads a partition. @throws OperatingError LOG_TOPIC_UNKNOWN, LOG_UNREACHABLE */
  async leader(topic: string, partition: number, fresh: boolean): Promise<KafkaBroker> {
    let leaders = await this.leaders(topic, fresh)
    // The partition may have been added since the leaders were asked for.
    if (leaders !== null && leaders[partition] === undefined && !fresh) leaders = await this.leaders(topic, true)
    if (leaders === null) throw topicUnknown(topic)
    const nodeId = leaders[partition]
    if (nodeId === undefined) throw topicUnknown(topic, partition)
    return this.broker(nodeId)
  }

  /** The broker with this node id, connected. */
  async broker(nodeId: number): Promise<KafkaBroker> {
    if (!this.#nodes.has(nodeId)) await this.metadata([])
    const address = this.#nodes.get(nodeId)
    if (address === undefined) throw new Error(`node ${nodeId} is not in the cluster now`)
    return this.#connect(address)
  }

  /** The broker that creates topics. */
  async controller(): Promise<KafkaBroker> {
    await this.metadata([])
    return this.broker(this.#controllerId)
  }

  /** The broker that keeps a group's offsets. */
  async coordinator(groupId: string): Promise<KafkaBroker> {
    const { coordinator } = await (await this.anyBroker()).findGroupCoordinator({ groupId, coordinatorType: 0 })
    return this.#connect(coordinator)
  }

  /** Any broker that answers: known ones first, then the configured addresses. @throws OperatingError LOG_UNREACHABLE */
  async anyBroker(): Promise<KafkaBroker> {
    const addresses = new Map<string, KafkaAddress>()
    for (const address of [...this.#nodes.values(), ...this.connection.brokers.map(addressOf)]) {
      addresses.set(keyOf(address), address)
    }
    let failed: unknown = new Error('no broker address is configured')
    for (const address of addresses.values()) {
      try {
        return await this.#connect(address)
      } catch (error) {
        failed = error
      }
    }
    throw clusterError(failed, 'be reached', this.connection.brokers)
  }

  /** First retained or next offset of each partition. @throws OperatingError LOG_TOPIC_UNKNOWN, LOG_UNREACHABLE */
  async offsets(topic: string, which: 'start' | 'end', fresh = true): Promise<number[]> {
    const leaders = await this.leaders(topic, fresh)
    if (leaders === null) throw topicUnknown(topic)
    const timestamp = which === 'start' ? EARLIEST : LATEST
    const offsets: number[] = []
    for (const nodeId of new Set(leaders)) {
      const partitions = leaders.flatMap((leader, partition) => (leader === nodeId ? [{ partition, timestamp }] : []))
      const broker = await this.broker(nodeId)
      // Uncommitted: the end of the log, not of the last transaction that ended.
      const { responses } = await broker.listOffsets({
        replicaId: -1,
        isolationLevel: 0,
        topics: [{ topic, partitions }],
      })
      for (const { partition, offset } of responses[0]!.partitions) offsets[partition] = Number(offset)
    }
    return offsets
  }

  /**
   * Repeats `work` on fresh connections until it succeeds or `forMs` are over. For requests that may be repeated.
   * @throws OperatingError LOG_UNREACHABLE, or what `work` throws of its own
   */
  async persist<T>(operation: string, forMs: number, work: () => Promise<T>): Promise<T> {
    const deadline = this.#clock.monotonic() + forMs
    for (let waitMs = 50; ; waitMs = Math.min(waitMs * 2, 1_000)) {
      try {
        return await work()
      } catch (error) {
        if (error instanceof OperatingError && error.code !== 'LOG_UNREACHABLE') throw error
        if (this.#closed || this.#clock.monotonic() + waitMs >= deadline) {
          throw clusterError(error, operation, this.connection.brokers)
        }
        // A broker that answered, if only with a refusal, keeps its connection.
        if ((error as KafkaError).name !== 'KafkaJSProtocolError') this.reset()
        await this.#clock.sleep(waitMs)
      }
    }
  }

  #connect(address: KafkaAddress): Promise<KafkaBroker> {
    if (this.#closed) {
      return Promise.reject(new OperatingError('LOG_UNREACHABLE', 'the log is closed', { operation: 'connect' }))
    }
    const key = keyOf(address)
    const known = this.#brokers.get(key)
    if (known !== undefined) return known
    const brokers = this.#brokers
    const connecting = connectBroker(this.connection, address).then((broker) => {
      if (speaksOurVersions(broker)) return broker
      dropBroker(broker, new Error('the broker is too old'))
      const hint = 'Use Apache Kafka 2.3 or later.'
      throw new OperatingError(
        'LOG_UNREACHABLE',
        `broker ${key} lacks Fetch v11 or Produce v7`,
        { broker: key },
        { hint },
      )
    })
    connecting.catch(() => brokers.delete(key))
    brokers.set(key, connecting)
    return connecting
  }
}
