/**
 * Dead letters and quarantined events as records (schemas/dead-letter.avsc): position, reason and original bytes.
 * Off the hot path, so the library avsc encodes them.
 */
import { createHash } from 'node:crypto'
import avro from 'avsc'
import type { DeadReason } from '#core/outcome.ts'

/** One dead letter. Identity: (topic, partition, offset). */
export interface DeadLetter {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly arrivalMs: number
  /** `future` for quarantined events. */
  readonly reason: DeadReason | 'future'
  /** null when the record had no frame. */
  readonly schemaId: number | null
  readonly key: Uint8Array | null
  /** Value bytes as they stood on the log; null for a tombstone, and for a value too big to be sent again. */
  readonly value: Uint8Array | null
  /** SHA-256 (hex) of the value's bytes as they stood on the log; of no bytes for a tombstone. */
  readonly sha256: string
}

/** Writes and reads dead letters. */
export interface DeadLetterCodec {
  encode(letter: DeadLetter): Uint8Array
  /** The letter of an Avro body (behind the frame). @throws Error when the bytes are no dead letter */
  decode(body: Uint8Array): DeadLetter
}

/** SHA-256 (hex) of a value, as a dead letter states it. */
export const valueHash = (value: Uint8Array | null): string =>
  createHash('sha256')
    .update(value ?? new Uint8Array(0))
    .digest('hex')

const bufferOf = (bytes: Uint8Array | null): Buffer | null =>
  bytes === null ? null : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)

/** The codec of the schema text in schemas/dead-letter.avsc. */
export function createDeadLetterCodec(schema: string): DeadLetterCodec {
  const type = avro.Type.forSchema(JSON.parse(schema))
  return {
    encode(letter) {
      return type.toBuffer({
        topic: letter.topic,
        partition: letter.partition,
        offset: letter.offset,
        arrival_ms: letter.arrivalMs,
        reason: letter.reason,
        // Avro's int is signed, ids on the wire are not: the same 32 bits.
        schema_id: letter.schemaId === null ? null : letter.schemaId | 0,
        key: bufferOf(letter.key),
        value: bufferOf(letter.value),
        sha256: letter.sha256,
      })
    },
    decode(body) {
      const read = type.fromBuffer(Buffer.from(body.buffer, body.byteOffset, body.length))
      return {
        topic: read.topic,
        partition: read.partition,
        offset: read.offset,
        arrivalMs: read.arrival_ms,
        reason: read.reason,
        schemaId: read.schema_id === null ? null : read.schema_id >>> 0,
        key: read.key,
        value: read.value,
        sha256: read.sha256,
      }
    },
  }
}
