/**
 * kafkajs, imported here and in kafkajs-requests.ts only: its connections, without its consumer, producer and cluster.
 *
 * Its consumer adds groups, rebalances and a silent offset reset, its producer reuses sequence numbers after a failure
 * (tulios/kafkajs#1119 among others). Here a broker is one socket, and what goes over it is framed both ways by kafka-frames, so
 * that a batch is copied once. The pinned version has no `exports` map, so its inner modules resolve.
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

/** How to reach a cluster. */
export interface KafkaConnection {
  readonly brokers: readonly string[]
  readonly clientId: string
  /** Ms after which a request that has no answer is given up. */
  readonly requestTimeoutMs: number
  /** Rewrites the address of a broker before connecting: tunnels, and proxies in tests. */
  readonly route: (address: KafkaAddress) => KafkaAddress
}

interface Encoded {
  readonly buffer: Buffer
}

/** What kafkajs asks to be framed: its own requests give an encoder, ours may give a finished tail beside it. */
interface FramedRequest {
  readonly correlationId: number
  readonly clientId: string
  readonly request: {
    readonly apiKey: number
    readonly apiVersion: number
    encode(): Promise<Encoded | { readonly head: Encoded; readonly tail: Uint8Array }>
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

const Broker = require('kafkajs/src/broker') as new (options: object) => KafkaBroker
const ConnectionPool = require('kafkajs/src/network/connectionPool') as new (options: object) => object
const loggers = require('kafkajs/src/loggers') as { createLogger(options: object): object }
const Connection = require('kafkajs/src/network/connection') as { prototype: ConnectionInternals }
const RequestQueue = require('kafkajs/src/network/requestQueue') as { prototype: QueueInternals }

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

/** Sends a request on the broker's one socket: kafkajs would keep a second one for fetches. @throws Error of kafkajs */
export const sendTo = (broker: KafkaBroker, protocol: object): Promise<unknown> =>
  broker.connectionPool.pool[0]!.send(protocol)
