/**
 * Appends to Kafka, each batch exactly once or with an honest "unknown".
 *
 * A batch carries a claim: producer id, epoch and a sequence number per partition. One append per partition is
 * outstanding, and a try that fails is sent again with the same claim, so the broker answers a batch it already has with
 * the place it has it at. When tries run out, or the broker has lost count, the log is read back from the partition's
 * last known end for that very claim: found means appended. Not found means unknown, since a request may still be on
 * its way; then the producer id is given up for good, so a sequence number is never used for two batches.
 */
import { LIMITS } from '#core/limits.ts'
import { readHeader } from '#format/record-batch.ts'
import { OperatingError } from '#io/errors.ts'
import { fetchBatches, type Produced, produceBatch } from '#io/kafkajs-requests.ts'
import { appendUnknown, batchTooLarge, topicUnknown } from '#io/log-errors.ts'
import { type Claim, carriesClaim, claimBatch } from '#io/log-kafka-batches.ts'
import { clusterError, errorTypes, type KafkaLink, saysUnknownTopic } from '#io/log-kafka-link.ts'
import type { Appended, Clock } from '#io/ports.ts'

/** Refusals after which the batch is surely not in the log (by this try). */
const NOT_APPENDED = new Set([
  'NOT_LEADER_FOR_PARTITION',
  'LEADER_NOT_AVAILABLE',
  'UNKNOWN_TOPIC_OR_PARTITION',
  'NOT_ENOUGH_REPLICAS',
  'CORRUPT_MESSAGE',
  'MESSAGE_TOO_LARGE',
  'RECORD_LIST_TOO_LARGE',
  'INVALID_RECORD',
  'POLICY_VIOLATION',
  'TOPIC_AUTHORIZATION_FAILED',
  'CLUSTER_AUTHORIZATION_FAILED',
  'KAFKA_STORAGE_ERROR',
  'THROTTLING_QUOTA_EXCEEDED',
])
/** The broker has lost count of the producer, or never knew it: only a new producer id helps. */
const PRODUCER_LOST = new Set([
  'OUT_OF_ORDER_SEQUENCE_NUMBER',
  'UNKNOWN_PRODUCER_ID',
  'INVALID_PRODUCER_EPOCH',
  'INVALID_PRODUCER_ID_MAPPING',
  'DUPLICATE_SEQUENCE_NUMBER',
])
const TOO_LARGE = new Set(['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE'])
const READ_BACK_BYTES = 4 * 1024 * 1024

interface Producer {
  readonly id: bigint
  readonly epoch: number
}

interface PartitionState {
  readonly topic: string
  readonly partition: number
  /** The last append in line; the next one waits for it. */
  tail: Promise<unknown>
  producer: Producer | null
  /** Sequence number of the next batch under `producer`. */
  sequence: number
  /** An offset the next batch cannot lie below; null before the first append. */
  knownEnd: number | null
}

/** Sends batches; one per log. */
export class KafkaWriter {
  readonly #link: KafkaLink
  readonly #clock: Clock
  readonly #deliveryTimeoutMs: number
  readonly #states = new Map<string, PartitionState>()
  #producer: Promise<Producer> | null = null

  constructor(link: KafkaLink, clock: Clock, deliveryTimeoutMs: number) {
    this.#link = link
    this.#clock = clock
    this.#deliveryTimeoutMs = deliveryTimeoutMs
  }

  /** Appends after all earlier appends to the partition; see EventLog. */
  append(topic: string, partition: number, batch: Uint8Array): Promise<Appended> {
    if (batch.byteLength > LIMITS.batchBytes) return Promise.reject(batchTooLarge(topic, partition, batch.byteLength))
    const key = `${topic}/${partition}`
    let state = this.#states.get(key)
    if (state === undefined) {
      state = { topic, partition, tail: Promise.resolve(), producer: null, sequence: 0, knownEnd: null }
      this.#states.set(key, state)
    }
    const place = state
    const appended = place.tail.then(() => this.#append(place, batch))
    place.tail = appended.catch(() => {})
    return appended
  }

  /** Ends when everything in line has been answered. */
  async drain(): Promise<void> {
    await Promise.all([...this.#states.values()].map((state) => state.tail))
  }

  async #append(state: PartitionState, batch: Uint8Array): Promise<Appended> {
    const { topic, partition } = state
    const deadline = this.#clock.monotonic() + this.#deliveryTimeoutMs
    let claim = await this.#prepare(state)
    let bytes = claimBatch(batch, claim)
    const { lastOffset } = readHeader(bytes)
    /** A try went out whose outcome nobody told. */
    let inDoubt = false
    for (let waitMs = 20, fresh = false; ; waitMs = Math.min(waitMs * 2, 1_000), fresh = true) {
      let sent = false
      let error: unknown
      let produced: Produced | null = null
      try {
        const broker = await this.#link.leader(topic, partition, fresh)
        sent = true
        const timeoutMs = this.#link.connection.requestTimeoutMs
        produced = await produceBatch(broker, { topic, partition, batch: bytes, timeoutMs })
      } catch (failed) {
        error = failed
      }
      if (produced !== null) {
        // Below 0 the broker knows the batch but no longer where it stands.
        if (produced.baseOffset < 0) return await this.#settle(state, claim, null)
        return this.#advance(state, lastOffset + 1, produced, bytes)
      }
      const types = errorTypes(error)
      // A refusal tells what became of this try; what became of an earlier one it does not tell.
      const told = types.some((type) => NOT_APPENDED.has(type) || PRODUCER_LOST.has(type))
      if (sent && !told) inDoubt = true
      if (!inDoubt && types.some((type) => TOO_LARGE.has(type))) throw batchTooLarge(topic, partition, batch.byteLength)
      if (!inDoubt && error instanceof OperatingError && error.retry === 'never') throw error
      if (types.some((type) => PRODUCER_LOST.has(type))) {
        if (inDoubt) return await this.#settle(state, claim, error)
        this.#dropProducer(state)
        claim = await this.#prepare(state)
        bytes = claimBatch(batch, claim)
      }
      if (this.#clock.monotonic() + waitMs > deadline) {
        if (inDoubt) return await this.#settle(state, claim, error)
        if (saysUnknownTopic(error)) throw topicUnknown(topic, partition)
        throw clusterError(error, `append to ${topic}/${partition}`, this.#link.connection.brokers)
      }
      if (!told) this.#link.reset()
      await this.#clock.sleep(waitMs)
    }
  }

  /** The claim of the next batch; asks for a producer id and the partition's end where they are not known. */
  async #prepare(state: PartitionState): Promise<Claim> {
    const { topic, partition } = state
    return this.#link.persist(`append to ${topic}/${partition}`, this.#deliveryTimeoutMs, async () => {
      state.knownEnd ??= await this.#endOffset(topic, partition)
      this.#producer ??= this.#newProducer()
      const producer = await this.#producer
      if (state.producer !== producer) {
        state.producer = producer
        state.sequence = 0
      }
      return { producerId: producer.id, producerEpoch: producer.epoch, sequence: state.sequence }
    })
  }

  async #endOffset(topic: string, partition: number): Promise<number> {
    // A producer begins with metadata that may be older than the partition.
    const ends = await this.#link.offsets(topic, 'end', false)
    const end = ends[partition] ?? (await this.#link.offsets(topic, 'end', true))[partition]
    if (end === undefined) throw topicUnknown(topic, partition)
    return end
  }

  async #newProducer(): Promise<Producer> {
    try {
      const broker = await this.#link.anyBroker()
      const { producerId, producerEpoch } = await broker.initProducerId({ transactionTimeout: 60_000 })
      return { id: BigInt(producerId), epoch: producerEpoch }
    } catch (error) {
      this.#producer = null
      throw error
    }
  }

  /** The next append of any partition gets a new producer id; others in flight finish under their own. */
  #dropProducer(state: PartitionState): void {
    this.#producer = null
    state.producer = null
  }

  /** Looks whether the batch of `claim` is in the log. @throws OperatingError LOG_APPEND_UNKNOWN when it is not seen there */
  async #settle(state: PartitionState, claim: Claim, cause: unknown): Promise<Appended> {
    this.#dropProducer(state)
    const { topic, partition } = state
    let found: Buffer | null
    try {
      found = await this.#readBack(state, claim)
    } catch (error) {
      throw appendUnknown(topic, partition, `no answer to an append to ${topic}/${partition}`, cause ?? error)
    }
    if (found === null) {
      throw appendUnknown(
        topic,
        partition,
        `no answer to an append to ${topic}/${partition}, not seen in the log`,
        cause,
      )
    }
    const { baseOffset, lastOffset, maxTimestamp } = readHeader(found)
    state.knownEnd = lastOffset + 1
    return { baseOffset, nextOffset: lastOffset + 1, arrivalMs: maxTimestamp }
  }

  async #readBack(state: PartitionState, claim: Claim): Promise<Buffer | null> {
    const { topic, partition } = state
    this.#link.reset()
    const end = (await this.#link.offsets(topic, 'end'))[partition]!
    const broker = await this.#link.leader(topic, partition, false)
    for (let offset = state.knownEnd!; offset < end; ) {
      const [fetched] = await fetchBatches(broker, {
        topic,
        partitions: [{ partition, offset }],
        maxWaitMs: 100,
        maxBytes: READ_BACK_BYTES,
        isolation: 'uncommitted',
      })
      const batches = fetched?.batches ?? []
      const found = batches.find((batch) => carriesClaim(batch, claim))
      if (found !== undefined) return found
      if (batches.length === 0) break
      offset = readHeader(batches.at(-1)!).lastOffset + 1
    }
    return null
  }

  #advance(state: PartitionState, recordCount: number, produced: Produced, bytes: Buffer): Appended {
    const { baseOffset, logAppendTimeMs } = produced
    if (baseOffset < (state.knownEnd ?? 0)) {
      const { topic, partition } = state
      const message = `${topic}/${partition} went back from ${state.knownEnd} to ${baseOffset}: it was cut or created again`
      throw new OperatingError('LOG_INCARNATION_CHANGED', message, { topic, partition, offset: baseOffset })
    }
    state.sequence = (state.sequence + recordCount) & 0x7fff_ffff
    state.knownEnd = baseOffset + recordCount
    const arrivalMs = logAppendTimeMs >= 0 ? logAppendTimeMs : readHeader(bytes).maxTimestamp
    return { baseOffset, nextOffset: baseOffset + recordCount, arrivalMs }
  }
}
