/**
 * The barrier record: how an epoch's end stands on the log. One record in a batch of its own.
 *
 *   key     null
 *   header  tidemark-barrier: the id as decimal text       what readers look for
 *   value   0x00, schema id int32, Avro of schemas/barrier.avsc
 *
 * A foreign Avro consumer decodes the value under its own schema id and skips it. A record that bears the header but does not
 * read back as a barrier is forged or damaged: null here, a dead record for its reader. Off the hot path, so avsc encodes it.
 */
import avro from 'avsc'
import type { Barrier } from '#core/barrier.ts'
import { BARRIER_HEADER } from '#schemas/topics.ts'
import { encodeBatch } from './record-batch.ts'

/** The fields of schemas/barrier.avsc; a test holds the two together. */
const TYPE = avro.Type.forSchema({
  type: 'record',
  name: 'Barrier',
  namespace: 'tidemark',
  fields: [
    { name: 'stream', type: 'string' },
    { name: 'id', type: 'long' },
    { name: 'partitions', type: 'int' },
    { name: 'created_ms', type: { type: 'long', logicalType: 'timestamp-millis' } },
    { name: 'demand', type: 'boolean' },
  ],
})
const FRAME_BYTES = 5

/** The framed value of a barrier. */
export function encodeBarrierValue(barrier: Barrier, schemaId: number): Buffer {
  const body = TYPE.toBuffer({
    stream: barrier.stream,
    id: barrier.id,
    partitions: barrier.partitions,
    created_ms: barrier.createdMs,
    demand: barrier.demand,
  })
  const frame = Buffer.alloc(FRAME_BYTES)
  frame.writeInt32BE(schemaId, 1)
  return Buffer.concat([frame, body])
}

/** A record batch with one barrier record, ready for `EventLog.append`. */
export function encodeBarrier(barrier: Barrier, schemaId: number): Uint8Array {
  const header = [BARRIER_HEADER, Buffer.from(String(barrier.id))] as const
  return encodeBatch(
    [{ key: null, value: encodeBarrierValue(barrier, schemaId), headers: [header] }],
    barrier.createdMs,
  )
}

/** The barrier of a record that bears the header; null when it is forged or damaged. Total: never throws. */
export function readBarrier(record: {
  readonly value: Uint8Array | null
  readonly headers: readonly (readonly [string, Uint8Array | null])[]
}): Barrier | null {
  const header = record.headers.find(([name]) => name === BARRIER_HEADER)?.[1]
  const { value } = record
  if (header === undefined || header === null || value === null || value.length <= FRAME_BYTES || value[0] !== 0)
    return null
  try {
    const read = TYPE.fromBuffer(Buffer.from(value.subarray(FRAME_BYTES))) as {
      stream: string
      id: number
      partitions: number
      created_ms: number
      demand: boolean
    }
    const isWhole =
      Number.isSafeInteger(read.id) &&
      read.id > 0 &&
      read.partitions > 0 &&
      Buffer.from(header).toString('latin1') === String(read.id)
    return isWhole
      ? {
          stream: read.stream,
          id: read.id,
          partitions: read.partitions,
          createdMs: read.created_ms,
          demand: read.demand,
        }
      : null
  } catch {
    return null
  }
}
