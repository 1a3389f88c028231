/**
 * The requests that carry records, and the one that says where they go: one request and one answer each. Record batches go over the
 * wire as they are, both ways, for kafkajs's own record codecs make an object per record.
 *
 *   Metadata v5  both ends here: kafkajs fails the whole answer when one topic has a fault
 *   Fetch v11    its own request encoder, response decoded here into whole batches (a partial last one is left for later)
 *   Produce v7   request encoded here around a finished batch, its own response decoder
 */
import { createRequire } from 'node:module'
// Before anything of kafkajs is loaded: its framing is replaced there.
import { type KafkaAddress, type KafkaBroker, sendTo } from './kafkajs-raw.ts'

const require = createRequire(import.meta.url)

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

const Decoder = require('kafkajs/src/protocol/decoder') as new (raw: Buffer) => KafkajsDecoder
const Encoder = require('kafkajs/src/protocol/encoder') as new (sizeBytes: number) => KafkajsEncoder
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

const FETCH_KEY = 1
const FETCH_VERSION = 11
const PRODUCE_KEY = 0
const PRODUCE_VERSION = 7
const METADATA_KEY = 3
const METADATA_VERSION = 5
const HEADER_BYTES = 61

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
  const { brokers, controllerId, topicMetadata } = (await sendTo(broker, protocol)) as MetadataAnswer
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
  const answer = (await sendTo(broker, protocol)) as Answer
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
  const answer = (await sendTo(broker, protocol)) as ProduceAnswer
  const { baseOffset, logAppendTime } = answer.topics[0]!.partitions[0]!
  return { baseOffset: Number(baseOffset), logAppendTimeMs: Number(logAppendTime) }
}
