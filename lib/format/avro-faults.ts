/**
 * Single Avro values, read slowly and exactly: what the generated projector hands over when a value leaves its fast path
 * (int64 beyond 2^53, decimals beyond six bytes), and the words for what is wrong with a record that it refused.
 * The generated code decides WHETHER a record is dead, `reasonOf` says WHY, from the record's own bytes only, so that the
 * same record has the same reason in every batch.
 */
import { isUtf8 } from 'node:buffer'
import type { DeadReason } from '#core/outcome.ts'
import type { FlatField } from './avro-schema.ts'

/** The long at `at`, which the caller knows to be well formed. */
export function readLong(bytes: Uint8Array, at: number): bigint {
  let zigzag = 0n
  let shift = 0n
  let byte: number
  do {
    byte = bytes[at++]!
    zigzag |= BigInt(byte & 127) << shift
    shift += 7n
  } while (byte > 127)
  return BigInt.asIntN(64, (zigzag >> 1n) ^ -(zigzag & 1n))
}

/** The two's complement big-endian integer in `length` bytes; null when there are none or it leaves int64 (padding is fine). */
export function readDecimal(bytes: Uint8Array, at: number, length: number): bigint | null {
  if (length === 0) return null
  const sign = bytes[at]! >= 128 ? 255 : 0
  const until = at + length
  while (at < until - 8 && bytes[at] === sign) at++
  if (until - at > 8) return null
  let value = BigInt((bytes[at]! << 24) >> 24)
  for (let i = at + 1; i < until; i++) value = (value << 8n) | BigInt(bytes[i]!)
  // Eight bytes that were cut out of a longer number must still carry its sign.
  return length > 8 && value < 0n !== (sign === 255) ? null : value
}

/** True when the unscaled integer has at most `precision` decimal digits. */
export function fitsPrecision(unscaled: bigint, precision: number): boolean {
  const bound = 10n ** BigInt(precision)
  return unscaled < bound && unscaled > -bound
}

type Fault = Extract<
  DeadReason,
  'truncated' | 'bad-length' | 'bad-union' | 'bad-enum' | 'trailing-bytes' | 'bad-utf8' | 'not-finite' | 'decimal-range'
>

/** One Avro body under inspection. */
class Body {
  readonly bytes: Uint8Array
  at: number
  constructor(bytes: Uint8Array, at: number) {
    this.bytes = bytes
    this.at = at
  }

  get left(): number {
    return this.bytes.length - this.at
  }

  /** A zigzag varint of at most `bits`; or what is wrong with it. */
  varint(bits: 32 | 64): bigint | Fault {
    const most = bits === 32 ? 5 : 10
    let value = 0n
    for (let i = 0; i < most; i++) {
      if (this.left === 0) return 'truncated'
      const byte = this.bytes[this.at++]!
      value |= BigInt(byte & 127) << BigInt(7 * i)
      if (byte < 128) return value >> BigInt(bits) === 0n ? (value >> 1n) ^ -(value & 1n) : 'bad-length'
    }
    return 'bad-length'
  }

  /** Moves over `length` bytes and returns where they began. */
  take(length: number): number | Fault {
    if (length > this.left) return 'truncated'
    this.at += length
    return this.at - length
  }
}

/**
 * What is wrong with the structure of an Avro body; null when nothing is.
 * `text[i]` says that field i must be UTF-8. `starts[i]` receives where the value of field i begins, -1 for null.
 */
export function faultOf(
  fields: readonly FlatField[],
  text: readonly boolean[],
  bytes: Uint8Array,
  at: number,
  starts: number[],
): Fault | null {
  const body = new Body(bytes, at)
  for (const [i, field] of fields.entries()) {
    if (field.nullable) {
      if (body.left === 0) return 'truncated'
      // Indices 0 and 1 are one byte; longer spellings of them are written by nobody and refused.
      const index = bytes[body.at++]!
      if (index === 2 * field.nullIndex) {
        starts[i] = -1
        continue
      }
      if (index !== 2 * field.valueIndex) return 'bad-union'
    }
    starts[i] = body.at
    const fault = valueFault(field, text[i]!, body)
    if (fault !== null) return fault
  }
  return body.left === 0 ? null : 'trailing-bytes'
}

function valueFault(field: FlatField, text: boolean, body: Body): Fault | null {
  switch (field.avro) {
    case 'boolean': {
      const at = body.take(1)
      return typeof at === 'string' ? at : null
    }
    case 'int':
    case 'long': {
      const value = body.varint(field.avro === 'int' ? 32 : 64)
      return typeof value === 'string' ? value : null
    }
    case 'float':
    case 'double': {
      const width = field.avro === 'float' ? 4 : 8
      const at = body.take(width)
      if (typeof at === 'string') return at
      const view = new DataView(body.bytes.buffer, body.bytes.byteOffset + at, width)
      return Number.isFinite(width === 4 ? view.getFloat32(0, true) : view.getFloat64(0, true)) ? null : 'not-finite'
    }
    case 'enum': {
      const index = body.varint(32)
      if (typeof index === 'string') return index
      return index >= 0n && index < BigInt(field.symbols.length) ? null : 'bad-enum'
    }
    case 'string':
    case 'bytes':
    case 'fixed': {
      const length = field.avro === 'fixed' ? BigInt(field.size) : body.varint(32)
      if (typeof length === 'string') return length
      if (length < 0n) return 'bad-length'
      const at = body.take(Number(length))
      if (typeof at === 'string') return at
      if (field.kind === 'decimal') return decimalFault(field, body.bytes, at, Number(length))
      return text && !isUtf8(body.bytes.subarray(at, body.at)) ? 'bad-utf8' : null
    }
  }
}

function decimalFault(field: FlatField, bytes: Uint8Array, at: number, length: number): Fault | null {
  if (length === 0) return 'bad-length'
  const value = readDecimal(bytes, at, length)
  return value !== null && fitsPrecision(value, field.precision) ? null : 'decimal-range'
}
