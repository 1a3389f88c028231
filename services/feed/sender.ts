/**
 * A producer for feeds: events into record batches, one per partition and slab, appended straight to the log as any producer would.
 *
 * One slab is on its way while the next is encoded, so memory is bounded by two. An append that may have happened is sent again:
 * events carry ids, and duplicates are the platform's daily bread.
 */
import { partitionOf } from '#core/partitioner.ts'
import { compileEncoder, type EventEncoder } from '#format/avro-encoder.ts'
import { BatchBuilder } from '#format/record-batch.ts'
import { classify, OperatingError } from '#io/errors.ts'
import type { Clock, EventLog, Registry } from '#io/ports.ts'
import type { StreamDefinition } from '#metrics/definition.ts'
import { eventsTopic } from '#schemas/topics.ts'

/** What a feed needs. */
export interface FeedDeps {
  readonly log: EventLog
  readonly registry: Registry
  readonly clock: Clock
  readonly logger?: { warn(context: object, message: string): void }
}

/** Bytes of one slab over all partitions: large enough for the log's throughput, small enough to yield every few ms. */
const SLAB_BYTES = 512 * 1024
const RETRY_MS = 500

/** Sends events of one stream, in order per partition. */
export interface Sender {
  readonly partitions: number
  /** Adds an event; `key` are its key bytes, null for round robin by slab. The event object may be reused. */
  add(event: object, key: Uint8Array | null): void
  /** True when the slab is full: `await flush()`. */
  readonly isFull: boolean
  /** Hands the slab to the log; resolves when the slab BEFORE it is there. @throws OperatingError that no retry helps */
  flush(): Promise<void>
  /** Resolves when everything is on the log. */
  drain(): Promise<void>
}

/**
 * Opens a sender on an existing topic and registers the stream's schema.
 * @throws OperatingError SCHEMA_INCOMPATIBLE, REGISTRY_*, LOG_TOPIC_UNKNOWN
 */
export async function openSender(deps: FeedDeps, stream: StreamDefinition, signal?: AbortSignal): Promise<Sender> {
  const { log, registry, clock, logger } = deps
  const topic = eventsTopic(stream.name)
  const schemaId = await registry.register(`${topic}-value`, stream.schema)
  const partitions = (await log.describeTopic(topic))?.partitions
  if (partitions === undefined)
    throw new OperatingError('LOG_TOPIC_UNKNOWN', `The topic ${topic} does not exist.`, { topic })
  const encoder: EventEncoder = compileEncoder(stream.schema, schemaId, { eventTime: stream.eventTime })
  const builders = Array.from({ length: partitions }, () => new BatchBuilder(clock.now()))
  const partitionByKey = new WeakMap<Uint8Array, number>()
  let bytes = 0
  let turn = 0
  let onTheWay: Promise<void> = Promise.resolve()

  async function append(partition: number, batch: Uint8Array): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      try {
        await log.append(topic, partition, batch.slice())
        return
      } catch (error) {
        const known = classify(error)
        if (known.retry === 'never' || signal?.aborted === true) throw known
        if (attempt === 0)
          logger?.warn({ topic, partition, code: known.code }, 'the feed sends again until the log takes it')
        await clock.sleep(RETRY_MS, signal)
      }
    }
  }

  function placeOf(key: Uint8Array | null): number {
    if (key === null) return turn
    let partition = partitionByKey.get(key)
    if (partition === undefined) {
      partition = partitionOf(key, partitions!)
      partitionByKey.set(key, partition)
    }
    return partition
  }

  async function flush(): Promise<void> {
    const slab: [number, Uint8Array][] = []
    for (const [partition, builder] of builders.entries()) {
      if (builder.count > 0) slab.push([partition, builder.finish()])
      builder.reset(clock.now())
    }
    bytes = 0
    turn = (turn + 1) % partitions!
    await onTheWay
    onTheWay = Promise.all(slab.map(([partition, batch]) => append(partition, batch))).then(() => {})
    // A failure is met at the next flush or drain; until then it must not count as unhandled.
    onTheWay.catch(() => {})
  }

  return {
    partitions,
    get isFull() {
      return bytes >= SLAB_BYTES
    },
    add(event, key) {
      const problem = encoder.encode(event)
      if (problem !== null) {
        const message = `The feed does not fit the stream ${stream.name}: ${problem.field ?? 'event'}: ${problem.code}, ${problem.reason}.`
        throw new OperatingError(
          'DEFINITIONS_INVALID',
          message,
          {},
          { hint: 'Use the demo definitions, or set TIDEMARK_FEED=none.' },
        )
      }
      builders[placeOf(key)]!.addRanges(key, 0, key?.length ?? 0, encoder.bytes, 0, encoder.length)
      bytes += encoder.length
    },
    flush,
    async drain() {
      await flush()
      await onTheWay
    },
  }
}
