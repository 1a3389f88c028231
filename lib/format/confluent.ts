/**
 * Confluent wire format: which schema a value was written with, and keys as the JVM's serialisers write them.
 *
 *   frame   00 · schema id int32 big-endian · Avro binary body
 *
 * A null value (tombstone) is no frame at all. Ids are read as unsigned, so that a negative id is an unknown one.
 */
import { assert } from '#core/assert.ts'

/** Magic byte and schema id. */
export const FRAME_BYTES = 5

/** Schema id of a framed value, a uint32; null when it is too short or its magic byte is not 0. */
export function schemaIdOf(value: Uint8Array): number | null {
  if (value.length < FRAME_BYTES || value[0] !== 0) return null
  return ((value[1]! << 24) | (value[2]! << 16) | (value[3]! << 8) | value[4]!) >>> 0
}

/** The Avro body of a framed value, a view. */
export function bodyOf(value: Uint8Array): Uint8Array {
  return value.subarray(FRAME_BYTES)
}

/** Puts the frame before an Avro body; a new array. */
export function frame(schemaId: number, body: Uint8Array): Uint8Array {
  const out = new Uint8Array(FRAME_BYTES + body.length)
  writeFrame(out, 0, schemaId)
  out.set(body, FRAME_BYTES)
  return out
}

/** Writes magic byte and id at `at`; returns where the body begins. For encoders that write in place. */
export function writeFrame(out: Uint8Array, at: number, schemaId: number): number {
  assert(Number.isInteger(schemaId) && schemaId >= 0 && schemaId <= 0xffff_ffff, 'a schema id is a uint32')
  out[at] = 0
  out[at + 1] = schemaId >>> 24
  out[at + 2] = schemaId >>> 16
  out[at + 3] = schemaId >>> 8
  out[at + 4] = schemaId
  return at + FRAME_BYTES
}

const utf8 = new TextEncoder()

/** Avro types a key field may have. */
export type KeyType = 'string' | 'enum' | 'int' | 'long'

/**
 * A key as StringSerializer (string, enum: UTF-8), IntegerSerializer (int: 4 bytes) or LongSerializer (long: 8 bytes, both
 * big-endian) writes it. Asserts that the value has the type.
 */
export function serializeKey(value: string | number | bigint, type: KeyType): Uint8Array {
  if (type === 'string' || type === 'enum') {
    assert(typeof value === 'string', 'a string key is a string')
    return utf8.encode(value)
  }
  assert(typeof value === 'bigint' || Number.isSafeInteger(value), 'an integer key is a bigint or a safe integer')
  const integer = BigInt(value)
  const bits = type === 'int' ? 32 : 64
  assert(BigInt.asIntN(bits, integer) === integer, `a key of type ${type} fits ${bits} bits`)
  const out = new Uint8Array(bits / 8)
  const view = new DataView(out.buffer)
  if (type === 'int') view.setInt32(0, Number(integer))
  else view.setBigInt64(0, integer)
  return out
}
