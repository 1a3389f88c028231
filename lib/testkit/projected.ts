/**
 * Batches put through a projector and read back cell by cell, beside what avsc makes of the same bytes: for the tests of the projector.
 * Longs are BigInts on both sides.
 */
import avsc from 'avsc'
import { expect } from 'vitest'
import type { Column, ColumnChunk } from '#core/columns.ts'
import type { DeadRecord } from '#core/outcome.ts'
import { readDecimal } from '#format/avro-faults.ts'
import { allocateChunk, resetChunk } from '#format/avro-projector.ts'
import type { Projector, ProjectorOptions, Stop } from '#format/projector.ts'
import { encodeBatch, openBatch, readRecord, stampBatch } from '#format/record-batch.ts'

/** The schema id of what is written. */
export const WRITER_ID = 7

/** The field with the event time, ms. */
export const TIME_FIELD = { name: 'at', type: { type: 'long', logicalType: 'timestamp-millis' } }

/** Longs as bigint, for schemas whose values leave 2^53. */
const BigLong = avsc.types.LongType.__with({
  fromBuffer: (buffer: Buffer) => buffer.readBigInt64LE(),
  toBuffer(value: bigint) {
    const buffer = Buffer.alloc(8)
    buffer.writeBigInt64LE(BigInt(value))
    return buffer
  },
  fromJSON: BigInt,
  toJSON: String,
  isValid: (value: unknown) => typeof value === 'bigint' || Number.isSafeInteger(value),
  compare: (a: bigint, b: bigint) => (a === b ? 0 : a < b ? -1 : 1),
})

/** A schema as avsc reads and writes it. */
export const avscType = (schema: unknown): avsc.Type => {
  // The registry is asked for plain names only, so a long with a logical type is written as one.
  const plain = JSON.parse(JSON.stringify(schema), (_, json: unknown) =>
    (json as { type?: unknown } | null)?.type === 'long' && !('name' in (json as object)) ? 'long' : json,
  ) as avsc.Schema
  return avsc.Type.forSchema(plain, { registry: { long: BigLong }, wrapUnions: false })
}

/** What a cell holds: integers as BigInts, bytes in hex. */
export type Cell = string | number | bigint | boolean | null

function cellOf(column: Column, row: number): Cell {
  if (column.valid !== null && column.valid[row] === 0) return null
  const { kind } = column.spec
  if (kind === 'string') return Buffer.from(column.bytes.subarray(column.from[row]!, column.until[row]!)).toString()
  if (kind === 'bytes') return Buffer.from(column.bytes.subarray(column.from[row]!, column.until[row]!)).toString('hex')
  if (kind === 'bool') return column.f64[row] === 1
  if (kind === 'float64') return column.f64[row]!
  if (column.wide !== null) {
    expect(Number(column.wide[row])).toBe(column.f64[row])
    return column.wide[row]!
  }
  expect(Number.isSafeInteger(column.f64[row])).toBe(true)
  return BigInt(column.f64[row]!)
}

/** What avsc read, as a cell. */
export function avscCell(spec: Column['spec'], value: unknown): Cell {
  if (value === null) return null
  if (spec.kind === 'decimal') return readDecimal(value as Uint8Array, 0, (value as Uint8Array).length)
  if (spec.kind === 'bytes') return Buffer.from(value as Uint8Array).toString('hex')
  if (spec.kind === 'string') return value instanceof Uint8Array ? Buffer.from(value).toString() : (value as string)
  if (spec.kind === 'int64') return BigInt(value as number)
  return spec.kind === 'float64' ? Number(value) : (value as boolean)
}

/** What came out of a batch. */
export interface Seen {
  readonly rows: { offset: number; time: number; cells: Cell[]; key: Cell; headers: Cell }[]
  readonly dead: DeadRecord[]
  readonly stops: Stop[]
}

/** Reads a batch to its end; records at which the projector stops for a schema or a barrier are taken off one by one. */
export function project(projector: Projector, batch: Uint8Array, skipBelow = 0, envelope = false): Seen {
  const opened = openBatch(batch, skipBelow)
  if ('dead' in opened) throw new Error(opened.dead)
  const { cursor } = opened
  const chunk = allocateChunk(projector.columns, envelope)
  const seen: Seen = { rows: [], dead: [], stops: [] }
  for (;;) {
    const stop = projector.project(cursor, chunk, seen.dead)
    seen.stops.push(stop)
    if (stop === 'full' || stop === 'end') drain(chunk, seen)
    if (stop === 'end') return seen
    if (stop === 'barrier') readRecord(cursor)
    if (stop === 'schema') {
      const { offset, key, value } = readRecord(cursor)!
      seen.dead.push({ offset, reason: 'unknown-schema', schemaId: cursor.schemaId, key, value })
    }
  }
}

function drain(chunk: ColumnChunk, { rows }: Seen): void {
  for (let row = 0; row < chunk.count; row++) {
    rows.push({
      offset: chunk.offsets[row]!,
      time: chunk.eventTimes[row]!,
      cells: chunk.columns.map((column) => cellOf(column, row)),
      key: chunk.keys && cellOf(chunk.keys, row),
      headers: chunk.headers && cellOf(chunk.headers, row),
    })
  }
  for (const column of chunk.columns) {
    if (column.valid !== null) expect(column.valid.subarray(0, chunk.count).includes(0)).toBe(true)
  }
  resetChunk(chunk)
}

/** A stamped batch of values from offset `base` on, which arrived at 2. */
export const batchOf = (values: readonly Uint8Array[], base = 0): Uint8Array => {
  const batch = encodeBatch(
    values.map((value) => ({ key: null, value })),
    1,
  )
  stampBatch(batch, base, 2)
  return batch
}

/** A projector of a schema to some of its fields; read as it was written unless `more` says otherwise. */
export const optionsFor = (
  schema: unknown,
  fields: readonly string[],
  more: Partial<ProjectorOptions> = {},
): ProjectorOptions => ({
  writer: JSON.stringify(schema),
  writerId: WRITER_ID,
  reader: JSON.stringify(schema),
  fields,
  eventTime: { field: 'at', unit: 'ms' },
  envelope: false,
  ...more,
})
