/**
 * kafkajs, imported nowhere else: its connections and its request codecs, without its consumer, producer and cluster.
 *
 * Record batches go over the wire as they are, both ways. kafkajs's own record codecs make an object per record, its
 * consumer adds groups, rebalances and a silent offset reset, its producer reuses sequence numbers after a failure
 * (tulios/kafkajs#1119 among others). Here a fetch and a produce are one request each. The pinned version has no
 * `exports` map, so its inner modules resolve.
 *
 *   Metadata v5  both ends here: kafkajs fails the whole answer when one topic has a fault
 *   Fetch v11    its own request encoder, response decoded here into whole batches (a partial last one is left for later)
 *   Produce v7   request encoded here around a finished batch, its own response decoder
 *   frames       both ways by kafka-frames, so that a batch is copied once
 */
import { createRequire } from 'node:module'
import { connectFramed, frameRequest } from './kafka-frames.ts'

const require = createRequire(import.meta.url)

/** An error of kafkajs, by what it tells about itself. */
export interface KafkaError extends Error {
  /** Protocol error name, as OFFSET_OUT_OF_RANGE. */
  readonly type?: string
  readonly retriable?: boolean
  readonly partition?: number
  readonly cause?: unknown
  readonly originalError?: unknown
  readonly errors?: readonly KafkaError[]
}

/** A connected broker. */
export interface KafkaBroker {
  readonly versions: Readonly<Record<number, { minVersion: number; maxVersion: number }>>
  readonly connectionPool: { readonly pool: readonly KafkajsConnection[] }
  connect(): Promise<void>
  initProducerId(options: { transactionTimeout: number }): Promise<{ producerId: string; producerEpoch: number }>
  findGroupCoordinator(options: {
    groupId: string
    coordinatorType: number
  }): Promise<{ coordinator: { nodeId: number; host: string; port: number } }>
  joinGroup(join: {
    groupId: string
    sessionTimeout: number
    rebalanceTimeout: number
    /** Empty for a new member. */
    memberId: string
    protocolType: string
    groupProtocols: readonly { name: string; metadata: Buffer }[]
  }): Promise<JoinedGroup>
  syncGroup(sync: {
    groupId: string
    generationId: number
    memberId: string
    groupAssignment: readonly { memberId: string; memberAssignment: Buffer }[]
  }): Promise<{ memberAssignment: Buffer }>
  heartbeat(beat: { groupId: string; groupGenerationId: number; memberId: string }): Promise<unknown>
  leaveGroup(leave: { groupId: string; memberId: string }): Promise<unknown>
  offsetCommit(commit: {
    groupId: string
    groupGenerationId: number
    memberId: string
    topics: readonly { topic: string; partitions: readonly { partition: number; offset: string }[] }[]
  }): Promise<unknown>
  offsetFetch(fetch: {
    groupId: string
    topics: readonly { topic: string; partitions: readonly { partition: number }[] }[]
  }): Promise<{ responses: { topic: string; partitions: { partition: number; offset: string }[] }[] }>
  listOffsets(list: {
    replicaId: number
    isolationLevel: number
    topics: readonly { topic: string; partitions: readonly { partition: number; timestamp: string }[] }[]
  }): Promise<{ responses: { topic: string; partitions: { partition: number; offset: string }[] }[] }>
  createTopics(options: {
    topics: readonly {
      topic: string
      numPartitions: number
      replicationFactor: number
      configEntries: readonly { name: string; value: string }[]
    }[]
    timeout: number
  }): Promise<unknown>
  createPartitions(options: {
    topicPartitions: readonly { topic: string; count: number }[]
    timeout: number
  }): Promise<unknown>
}

/** A group as a member sees it that joined. */
export interface JoinedGroup {
  readonly generationId: number
  readonly memberId: string
  /** Member that gives every member its assignment; only it is told of the members. */
  readonly leaderId: string
  readonly members: readonly { readonly memberId: string; readonly memberMetadata: Buffer }[]
}

/** Address of a broker. */
export interface KafkaAddress {
  readonly host: string
  readonly port: number
}

/** What a broker tells of the cluster. */
export interface ClusterMetadata {
  readonly brokers: readonly (KafkaAddress & { readonly nodeId: number })[]
  readonly controllerId: number
  readonly topics: readonly {
    readonly topic: string
    /** 0 = fine, 3 = no such topic, else a passing fault. */
    readonly errorCode: number
    /** Leader's node id per partition; -1 while there is none. */
    readonly leaders: readonly number[]
  }[]
}

/** How to reach a cluster. */
export interface KafkaConnection {
  readonly brokers: readonly string[]
  readonly clientId: string
  /** Ms after which a request that has no answer is given up. */
  readonly requestTimeoutMs: number
  /** Rewrites the address of a broker before connecting: tunnels, and proxies in tests. */
  readonly route: (address: KafkaAddress) => KafkaAddress
}

/** A partition's share of a fetch. */
export interface FetchedPartition {
  readonly partition: number
  readonly abortedTransactions: readonly { producerId: string; firstOffset: string }[] | null
  /** Whole record batches in offset order, views on the response's buffer. */
  readonly batches: readonly Buffer[]
}

/** Where a produced batch came to stand, as the broker says; -1 where it does not. */
export interface Produced {
  readonly baseOffset: number
  readonly logAppendTimeMs: number
}

interface KafkajsDecoder {
  readInt16(): number
  readInt32(): number
  readInt64(): { toString(): string }
  readString(): string
  readBytes(length: number): Buffer
  readArray<T>(read: (decoder: KafkajsDecoder) => T): T[]
}
interface KafkajsEncoder {
  readonly buffer: Buffer
  writeInt16(value: number): KafkajsEncoder
  writeInt32(value: number): KafkajsEncoder
  writeString(value: string | null): KafkajsEncoder
  writeBoolean(value: boolean): KafkajsEncoder
}
interface Protocol<Response> {
  readonly request: object
  readonly response: { decode(raw: Buffer): Promise<Response>; parse(data: Response): Promise<Response> }
  readonly requestTimeout?: number
}

/** What kafkajs asks to be framed: its own requests give an encoder, ours may give a finished tail beside it. */
interface FramedRequest {
  readonly correlationId: number
  readonly clientId: string
  readonly request: {
    readonly apiKey: number
    readonly apiVersion: number
    encode(): Promise<KafkajsEncoder | { readonly head: KafkajsEncoder; readonly tail: Uint8Array }>
  }
}

// Before anything that requires it is loaded: one copy into a buffer of the right size, for every request.
const framing = require.resolve('kafkajs/src/protocol/request')
require(framing)
require.cache[framing]!.exports = async ({ correlationId, clientId, request }: FramedRequest) => {
  const { apiKey, apiVersion } = request
  const encoded = await request.encode()
  const body =
    'tail' in encoded ? { head: encoded.head.buffer, tail: encoded.tail } : { head: encoded.buffer, tail: null }
  return { buffer: frameRequest({ apiKey, apiVersion, correlationId, clientId }, body) }
}

const Decoder = require('kafkajs/src/protocol/decoder') as new (raw: Buffer) => KafkajsDecoder
const Encoder = require('kafkajs/src/protocol/encoder') as new (sizeBytes: number) => KafkajsEncoder
const Broker = require('kafkajs/src/broker') as new (options: object) => KafkaBroker
const ConnectionPool = require('kafkajs/src/network/connectionPool') as new (options: object) => object
const loggers = require('kafkajs/src/loggers') as { createLogger(options: object): object }
const Connection = require('kafkajs/src/network/connection') as { prototype: ConnectionInternals }
const RequestQueue = require('kafkajs/src/network/requestQueue') as { prototype: QueueInternals }
const fetchRequest = require('kafkajs/src/protocol/requests/fetch/v11/request') as (options: object) => object
const fetchResponse = require('kafkajs/src/protocol/requests/fetch/v11/response') as Protocol<unknown>['response']
const produceResponse =
  require('kafkajs/src/protocol/requests/produce/v7/response') as Protocol<ProduceAnswer>['response']
const metadataResponse = require('kafkajs/src/protocol/requests/metadata/v5/response') as {
  decode(raw: Buffer): Promise<MetadataAnswer>
}

interface MetadataAnswer {
  readonly brokers: readonly { nodeId: number; host: string; port: number }[]
  readonly controllerId: number
  readonly topicMetadata: readonly {
    topicErrorCode: number
    topic: string
    partitionMetadata: readonly { partitionId: number; leader: number }[]
  }[]
}

interface ProduceAnswer {
  readonly topics: readonly { partitions: readonly { baseOffset: string; logAppendTime: string }[] }[]
}

interface KafkajsConnection {
  readonly socket?: { destroy(error: Error): void }
  send(protocol: object): Promise<unknown>
  rejectRequests(error: Error): void
  disconnect(): Promise<unknown>
}

interface ConnectionInternals {
  readonly socket: object
  readonly requestQueue: { fulfillRequest(answer: { size: number; correlationId: number; payload: Buffer }): void }
  processData: (this: ConnectionInternals, frame: Buffer) => void
}

interface QueueInternals {
  pending: unknown[]
  throttledUntil: number
  throttleCheckTimeoutId: NodeJS.Timeout | null
  checkPendingRequests(): void
  scheduleCheckPendingRequests(): void
}

const FETCH_KEY = 1
const FETCH_VERSION = 11
const PRODUCE_KEY = 0
const PRODUCE_VERSION = 7
const METADATA_KEY = 3
const METADATA_VERSION = 5
const HEADER_BYTES = 61
const CONNECT_MS_MAX = 5_000
/** kafkajs's own wait before it looks at pending requests again. */
const PENDING_CHECK_MS = 10
const LOG_NOTHING = 0

/**
 * Idle burn: kafkajs re-arms a timer with a negative delay some 900 times a second on every idle connection (tulios/kafkajs#1751).
 * A check is needed only while requests are pending; a finished request looks at the queue by itself.
 */
RequestQueue.prototype.scheduleCheckPendingRequests = function (this: QueueInternals): void {
  if (this.pending.length === 0 || this.throttleCheckTimeoutId !== null) return
  const throttledMs = this.throttledUntil - Date.now()
  this.throttleCheckTimeoutId = setTimeout(
    () => {
      this.throttleCheckTimeoutId = null
      this.checkPendingRequests()
    },
    throttledMs > 0 ? throttledMs : PENDING_CHECK_MS,
  )
}

/** Sockets that give whole frames: ours. Another user of kafkajs in this process has sockets that give pieces. */
const framed = new WeakSet<object>()
const processPieces = Connection.prototype.processData

/** Our sockets give whole frames, and nobody logs in by SASL, so there is nothing to gather. */
Connection.prototype.processData = function (this: ConnectionInternals, frame: Buffer): void {
  if (!framed.has(this.socket)) {
    processPieces.call(this, frame)
    return
  }
  const answer = { size: frame.length - 4, correlationId: frame.readInt32BE(4), payload: frame.subarray(8) }
  this.requestQueue.fulfillRequest(answer)
}

/** Connects to one broker, by one socket. @throws Error of kafkajs */
export async function connectBroker(connection: KafkaConnection, address: KafkaAddress): Promise<KafkaBroker> {
  const { host, port } = address
  const logger = loggers.createLogger({ level: LOG_NOTHING, logCreator: () => () => {} })
  const broker = new Broker({
    logger,
    allowAutoTopicCreation: false,
    connectionPool: new ConnectionPool({
      host,
      port,
      logger,
      clientId: connection.clientId,
      connectionTimeout: Math.min(CONNECT_MS_MAX, connection.requestTimeoutMs),
      requestTimeout: connection.requestTimeoutMs,
      enforceRequestTimeout: true,
      maxInFlightRequests: null,
      socketFactory: ({ onConnect }: { onConnect: () => void }) => {
        const socket = connectFramed(connection.route({ host, port }), onConnect)
        framed.add(socket)
        return socket
      },
    }),
  })
  await broker.connect()
  return broker
}

/** Ends a broker's connections at once: what waits on them fails with `reason`. */
export function dropBroker(broker: KafkaBroker, reason: Error): void {
  for (const one of broker.connectionPool.pool) {
    one.socket?.destroy(reason)
    one.rejectRequests(reason)
    void one.disconnect().catch(() => {})
  }
}

/** kafkajs would keep a second socket for fetches; a link needs one. */
const send = (broker: KafkaBroker, protocol: object): Promise<unknown> => broker.connectionPool.pool[0]!.send(protocol)

/** Brokers, controller, and the named topics (null: all). Never throws for a topic's sake. */
export async function fetchMetadata(broker: KafkaBroker, topics: readonly string[] | null): Promise<ClusterMetadata> {
  const protocol: Protocol<MetadataAnswer> = {
    request: {
      apiKey: METADATA_KEY,
      apiVersion: METADATA_VERSION,
      apiName: 'Metadata',
      encode: async () => {
        const encoder = new Encoder(1024).writeInt32(topics === null ? -1 : topics.length)
        for (const topic of topics ?? []) encoder.writeString(topic)
        return encoder.writeBoolean(false) // create no topics
      },
    },
    response: { decode: (raw) => metadataResponse.decode(raw), parse: async (data) => data },
  }
  const { brokers, controllerId, topicMetadata } = (await send(broker, protocol)) as MetadataAnswer
  return {
    brokers,
    controllerId,
    topics: topicMetadata.map(({ topic, topicErrorCode, partitionMetadata }) => {
      const leaders: number[] = []
      for (const { partitionId, leader } of partitionMetadata) leaders[partitionId] = leader
      return { topic, errorCode: topicErrorCode, leaders }
    }),
  }
}

/** True when the broker speaks the versions this file speaks: Apache Kafka 2.3 and later, 4.x included. */
export function speaksOurVersions(broker: KafkaBroker): boolean {
  const speaks = (key: number, version: number): boolean => {
    const range = broker.versions[key]
    return range !== undefined && range.minVersion <= version && version <= range.maxVersion
  }
  return (
    speaks(FETCH_KEY, FETCH_VERSION) && speaks(PRODUCE_KEY, PRODUCE_VERSION) && speaks(METADATA_KEY, METADATA_VERSION)
  )
}

/** Cuts a record set into whole batches. @throws Error when it holds records of a format older than v2 */
export function splitBatches(records: Buffer): Buffer[] {
  const batches: Buffer[] = []
  for (let at = 0; at + HEADER_BYTES <= records.length; ) {
    const end = at + 12 + records.readInt32BE(at + 8)
    if (records.readInt8(at + 16) !== 2 || end < at + HEADER_BYTES) {
      throw new Error('the topic holds records of a format older than Kafka 0.11, which are not read')
    }
    if (end > records.length) break
    batches.push(records.subarray(at, end))
    at = end
  }
  return batches
}

/** One fetch from the leader of the partitions; waits at the broker up to `maxWaitMs` for the first byte. */
export async function fetchBatches(
  broker: KafkaBroker,
  fetch: {
    topic: string
    partitions: readonly { partition: number; offset: number }[]
    maxWaitMs: number
    maxBytes: number
    isolation: 'committed' | 'uncommitted'
  },
): Promise<FetchedPartition[]> {
  const { maxBytes, maxWaitMs } = fetch
  interface Answer {
    responses: { topicName: string; partitions: (FetchedPartition & { errorCode: number })[] }[]
  }
  const protocol: Protocol<Answer> = {
    request: fetchRequest({
      replicaId: -1,
      maxWaitTime: maxWaitMs,
      minBytes: 1,
      maxBytes,
      isolationLevel: fetch.isolation === 'committed' ? 1 : 0,
      topics: [
        {
          topic: fetch.topic,
          partitions: fetch.partitions.map(({ partition, offset }) => ({
            partition,
            fetchOffset: String(offset),
            maxBytes,
          })),
        },
      ],
    }),
    response: {
      decode: async (raw) => {
        const decoder = new Decoder(raw)
        decoder.readInt32() // throttle
        decoder.readInt16() // error of the fetch session, which is not used
        decoder.readInt32() // its id
        return { responses: decoder.readArray(readTopic) }
      },
      parse: async (data) => (await fetchResponse.parse(data)) as Answer,
    },
  }
  const answer = (await send(broker, protocol)) as Answer
  return answer.responses.flatMap((response) => response.partitions)
}

function readTopic(decoder: KafkajsDecoder): {
  topicName: string
  partitions: (FetchedPartition & { errorCode: number })[]
} {
  return { topicName: decoder.readString(), partitions: decoder.readArray(readPartition) }
}

function readPartition(decoder: KafkajsDecoder): FetchedPartition & { errorCode: number } {
  const partition = decoder.readInt32()
  const errorCode = decoder.readInt16()
  decoder.readInt64() // high watermark
  decoder.readInt64() // last stable offset
  decoder.readInt64() // log start offset
  const abortedTransactions = decoder.readArray((aborted) => ({
    producerId: aborted.readInt64().toString(),
    firstOffset: aborted.readInt64().toString(),
  }))
  decoder.readInt32() // preferred read replica
  const sizeBytes = decoder.readInt32()
  const batches = sizeBytes > 0 ? splitBatches(decoder.readBytes(sizeBytes)) : []
  return { partition, errorCode, abortedTransactions, batches }
}

/** Sends one finished record batch to the leader of its partition and waits until all in-sync replicas have it. */
export async function produceBatch(
  broker: KafkaBroker,
  produce: { topic: string; partition: number; batch: Buffer; timeoutMs: number },
): Promise<Produced> {
  const { topic, partition, batch, timeoutMs } = produce
  const protocol: Protocol<ProduceAnswer> = {
    request: {
      apiKey: PRODUCE_KEY,
      apiVersion: PRODUCE_VERSION,
      apiName: 'Produce',
      expectResponse: () => true,
      encode: async () => ({
        tail: batch,
        head: new Encoder(topic.length * 4 + 64)
          .writeString(null) // no transactional id
          .writeInt16(-1) // acks of all in-sync replicas
          .writeInt32(timeoutMs)
          .writeInt32(1) // topics
          .writeString(topic)
          .writeInt32(1) // partitions
          .writeInt32(partition)
          .writeInt32(batch.length),
      }),
    },
    response: produceResponse,
  }
  const answer = (await send(broker, protocol)) as ProduceAnswer
  const { baseOffset, logAppendTime } = answer.topics[0]!.partitions[0]!
  return { baseOffset: Number(baseOffset), logAppendTimeMs: Number(logAppendTime) }
}
