/**
 * One stream's intake: items in, one record batch per partition out. No wait inside: encoder and builders are shared by all requests.
 *
 *   partition   of the key, as JVM producers choose it (D3). A null key: of the event id, so that the same event sent again
 *               meets itself in the same partition and is removed as a duplicate; without an id: round robin per request
 */
import { LIMITS } from '#core/limits.ts'
import { partitionOf } from '#core/partitioner.ts'
import { compileEncoder, type EventEncoder, type ItemProblem } from '#format/avro-encoder.ts'
import { readLong } from '#format/avro-faults.ts'
import { valueWriter } from '#format/avro-json.ts'
import type { FlatField } from '#format/avro-schema.ts'
import { AvroWriter } from '#format/avro-writer.ts'
import { type KeyType, serializeKey } from '#format/confluent.ts'
import { BatchBuilder } from '#format/record-batch.ts'
import type { StreamDefinition } from '#metrics/definition.ts'
import { BadItem, type Items } from './items.ts'

/** One item that was not taken. */
export interface Rejection {
  readonly index: number
  readonly code: ItemProblem['code']
  readonly reason: string
  readonly field?: string
}

/** What a body came to. accepted + rejected = received. */
export interface Taken {
  readonly accepted: number
  readonly rejected: readonly Rejection[]
  /** Record batches per partition, in order; few are more than one long. */
  readonly batches: ReadonlyMap<number, readonly Uint8Array[]>
}

/** Bytes of a record besides key and value, at most. */
const RECORD_OVERHEAD = 32

/** Makes batches of a stream's events. */
export class Intake {
  readonly stream: StreamDefinition
  readonly schemaId: number
  readonly partitions: number
  readonly #encoder: EventEncoder
  readonly #builders: readonly BatchBuilder[]
  readonly #key: KeyReader | null
  readonly #id: KeyReader | null
  #turn = 0

  /** `partitions` is the topic's count, which may be more than the definition's. @throws SchemaProblem */
  constructor(stream: StreamDefinition, schemaId: number, partitions: number) {
    this.stream = stream
    this.schemaId = schemaId
    this.partitions = partitions
    this.#encoder = compileEncoder(stream.schema, schemaId, { eventTime: stream.eventTime })
    this.#builders = Array.from({ length: partitions }, () => new BatchBuilder())
    const readerOf = (name: string | null) => {
      const field = this.#encoder.schema.fields.find((each) => each.name === name)
      return field === undefined ? null : keyReader(field, stream.eventTime)
    }
    this.#key = readerOf(stream.key)
    this.#id = readerOf(stream.id)
  }

  /** Encodes a body's items. `nowMs` is the records' create time; their arrival time is the log's. */
  take(items: Items, nowMs: number): Taken {
    const rejected: Rejection[] = []
    const batches = new Map<number, Uint8Array[]>()
    const turn = this.#turn++ % this.partitions
    const encoder = this.#encoder
    for (const builder of this.#builders) builder.reset(nowMs)
    for (const [at, value] of items.values.entries()) {
      const problem = value instanceof BadItem ? value.problem : encoder.encode(value)
      if (problem !== null) {
        const { code, reason, field } = problem
        const index = items.indexes?.[at] ?? at
        rejected.push(field === null ? { index, code, reason } : { index, code, reason, field })
        continue
      }
      const event = value as Readonly<Record<string, unknown>>
      const key = this.#key?.(event) ?? null
      const spread = key ?? this.#id?.(event) ?? null
      const partition = spread === null ? turn : partitionOf(spread, this.partitions)
      const builder = this.#builders[partition]!
      if (builder.byteLength + encoder.length + (key?.length ?? 0) + RECORD_OVERHEAD > LIMITS.batchBytes) {
        this.#finish(partition, batches)
        builder.reset(nowMs)
      }
      builder.addRanges(key, 0, key?.length ?? 0, encoder.bytes, 0, encoder.length)
    }
    for (let partition = 0; partition < this.partitions; partition++) this.#finish(partition, batches)
    return { accepted: items.values.length - rejected.length, rejected, batches }
  }

  #finish(partition: number, batches: Map<number, Uint8Array[]>): void {
    const builder = this.#builders[partition]!
    if (builder.count === 0) return
    const batch = builder.finish()
    const list = batches.get(partition)
    if (list === undefined) batches.set(partition, [batch])
    else list.push(batch)
  }
}

/** Key bytes of an event that the encoder took; null for a null key. */
type KeyReader = (event: Readonly<Record<string, unknown>>) => Uint8Array | null

function keyReader(field: FlatField, eventTime: StreamDefinition['eventTime']): KeyReader {
  const type = field.avro
  const isInteger = type === 'int' || type === 'long'
  const writer = new AvroWriter(32)
  const write = valueWriter(field, eventTime.field === field.name ? eventTime.unit : null)
  return (event) => {
    const value = Object.hasOwn(event, field.name) ? event[field.name] : field.default
    if (value === null || value === undefined) return null
    if (isInteger && typeof value !== 'number') {
      // Digits, an ISO instant or a day: the integer is what the encoder made of it.
      writer.at = 0
      writer.reserve(0)
      write(value, writer)
      return serializeKey(readLong(writer.bytes, 0), type)
    }
    return serializeKey(value as string | number, (isInteger || type === 'enum' ? type : 'string') satisfies KeyType)
  }
}
