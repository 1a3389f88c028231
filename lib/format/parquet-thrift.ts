/**
 * Thrift compact protocol, writing side: what Parquet page headers and footers are written in.
 *
 *   struct  = field* 0x00
 *   field   = (id delta << 4 | type) value              delta 1..15; else type byte, then zigzag varint id
 *   varint  = 7 bits per byte, least significant first, top bit = more follows
 *   i16/i32/i64 = zigzag varint · binary = varint length, bytes · list = (size << 4 | type), or 0xf_ and a varint size
 *   bool as a field = type 1 (true) or 2 (false), no value
 * Source: Apache Thrift, doc/specs/thrift-compact-protocol.md
 */

const TRUE = 1
const FALSE = 2
const I32 = 5
const I64 = 6
const BINARY = 8
const LIST = 9
const STRUCT = 12

/** Builds one struct. Field ids must be given in growing order within a struct. */
export interface ThriftWriter {
  bool(id: number, value: boolean): void
  i32(id: number, value: number): void
  /** A safe integer. */
  i64(id: number, value: number): void
  binary(id: number, value: Uint8Array): void
  text(id: number, value: string): void
  struct(id: number, write: () => void): void
  /** A list of structs, written one by one. */
  structs<T>(id: number, items: readonly T[], write: (item: T) => void): void
  i32s(id: number, items: readonly number[]): void
  texts(id: number, items: readonly string[]): void
  /** Ends the outermost struct and returns its bytes. */
  finish(): Uint8Array
}

const utf8 = new TextEncoder()

/** A writer of one top-level struct. */
export function createThriftWriter(): ThriftWriter {
  let bytes = new Uint8Array(256)
  let length = 0
  let lastId = 0

  const byte = (value: number): void => {
    if (length === bytes.length) {
      const grown = new Uint8Array(length * 2)
      grown.set(bytes)
      bytes = grown
    }
    bytes[length++] = value
  }
  /** Division instead of shifts: values go beyond 32 bits. */
  const varint = (value: number): void => {
    while (value >= 128) {
      byte((value % 128) | 128)
      value = Math.floor(value / 128)
    }
    byte(value)
  }
  const bigVarint = (value: bigint): void => {
    while (value >= 128n) {
      byte(Number(value & 127n) | 128)
      value >>= 7n
    }
    byte(Number(value))
  }
  const zigzag = (value: number): void => {
    // Doubling leaves the safe range beyond ±2^52; those few take the exact path.
    if (Math.abs(value) > 2 ** 51) bigVarint(value < 0 ? -2n * BigInt(value) - 1n : 2n * BigInt(value))
    else varint(value < 0 ? -2 * value - 1 : 2 * value)
  }
  const raw = (value: Uint8Array): void => {
    varint(value.length)
    for (const one of value) byte(one)
  }
  const field = (id: number, type: number): void => {
    const delta = id - lastId
    if (delta > 0 && delta < 16) byte((delta << 4) | type)
    else {
      byte(type)
      zigzag(id)
    }
    lastId = id
  }
  const listHead = (id: number, type: number, size: number): void => {
    field(id, LIST)
    if (size < 15) byte((size << 4) | type)
    else {
      byte(0xf0 | type)
      varint(size)
    }
  }
  const body = (write: () => void): void => {
    const outer = lastId
    lastId = 0
    write()
    byte(0)
    lastId = outer
  }

  return {
    bool: (id, value) => field(id, value ? TRUE : FALSE),
    i32(id, value) {
      field(id, I32)
      zigzag(value)
    },
    i64(id, value) {
      field(id, I64)
      zigzag(value)
    },
    binary(id, value) {
      field(id, BINARY)
      raw(value)
    },
    text(id, value) {
      field(id, BINARY)
      raw(utf8.encode(value))
    },
    struct(id, write) {
      field(id, STRUCT)
      body(write)
    },
    structs(id, items, write) {
      listHead(id, STRUCT, items.length)
      for (const item of items) body(() => write(item))
    },
    i32s(id, items) {
      listHead(id, I32, items.length)
      for (const item of items) zigzag(item)
    },
    texts(id, items) {
      listHead(id, BINARY, items.length)
      for (const item of items) raw(utf8.encode(item))
    },
    finish() {
      byte(0)
      return bytes.slice(0, length)
    },
  }
}
