/**
 * Rows of one archive file: what became of each offset, as columns of schemas/archive.ts. No object per event.
 * Every call appends to all columns, so that a row is whole or not there.
 */
import { CHUNK_ROWS, type Column, type ColumnChunk, type ColumnKind, type ColumnSpec } from '#core/columns.ts'
import type { DeadRecord } from '#core/outcome.ts'
import type { ParquetColumn, ParquetType } from '#format/parquet-column.ts'
import { type ByteSink, createParquetWriter, type ParquetWriter } from '#format/parquet-writer.ts'
import type { RawRecord } from '#format/record-batch.ts'
import type { ARCHIVE_COLUMNS } from '#schemas/archive.ts'

/** Value of `_kind`. */
export type RowKind = 'event' | 'quarantined' | 'barrier' | 'dead' | 'control'

/** What rows of one call share. */
export interface RowPlace {
  readonly epoch: number
  readonly arrivalMs: number
}

const own = (name: (typeof ARCHIVE_COLUMNS)[number], type: ParquetType, nullable: boolean): ParquetColumn => ({
  name,
  type,
  nullable,
  precision: 0,
  scale: 0,
})
const OWN: readonly ParquetColumn[] = [
  own('_partition', 'int32', false),
  own('_offset', 'int64', false),
  own('_epoch', 'int64', false),
  own('_arrival', 'int64', false),
  own('_kind', 'string', false),
  own('_reason', 'string', true),
  own('_schema_id', 'int32', true),
  own('_key', 'bytes', true),
  own('_headers', 'string', true),
  own('_raw', 'bytes', true),
  own('_event_time', 'int64', true),
  own('_watermark', 'int64', true),
]
const TYPES: Record<ColumnKind, ParquetType> = {
  int64: 'int64',
  decimal: 'decimal',
  float64: 'double',
  bool: 'boolean',
  string: 'string',
  bytes: 'bytes',
}

/** Columns of a stream's archive files: the archive's own, then the event's fields, all nullable. */
export function archiveColumns(fields: readonly ColumnSpec[]): ParquetColumn[] {
  return [
    ...OWN,
    ...fields.map(({ name, kind, precision, scale }) => ({
      name,
      type: TYPES[kind],
      nullable: true,
      precision,
      scale,
    })),
  ]
}

const utf8 = new TextEncoder()
const text = new TextDecoder()
const KINDS: Record<RowKind, Uint8Array> = {
  event: utf8.encode('event'),
  quarantined: utf8.encode('quarantined'),
  barrier: utf8.encode('barrier'),
  dead: utf8.encode('dead'),
  control: utf8.encode('control'),
}
/** Schema ids are uint32 on the wire and INTEGER in the lake; ids that no registry gives out come out negative. */
const schemaCell = (id: number | null): number | null => (id === null ? null : id | 0)
const watermarkCell = (watermark: number): number | null => (Number.isFinite(watermark) ? watermark : null)

/** Headers as the archive keeps them: JSON `[[name, base64 or null]…]`; null without headers. */
export function headersJson(headers: RawRecord['headers']): Uint8Array | null {
  if (headers.length === 0) return null
  const pairs = headers.map(([name, value]) => [name, value === null ? null : Buffer.from(value).toString('base64')])
  return utf8.encode(JSON.stringify(pairs))
}

/** Reads the raw header block of a record that was found well formed: count varint, then headers. */
function readHeaderBlock(bytes: Uint8Array, from: number, until: number): RawRecord['headers'] {
  let at = from
  const varint = (): number => {
    let zigzag = 0
    for (let shift = 0; at < until; shift += 7) {
      const byte = bytes[at++]!
      zigzag |= (byte & 127) << shift
      if (byte < 128) break
    }
    return (zigzag >>> 1) ^ -(zigzag & 1)
  }
  const headers: (readonly [string, Uint8Array | null])[] = []
  for (let left = varint(); left > 0 && at < until; left--) {
    const nameLength = varint()
    const name = text.decode(bytes.subarray(at, at + nameLength))
    at += nameLength
    const length = varint()
    headers.push([name, length < 0 ? null : bytes.slice(at, at + length)])
    at += Math.max(0, length)
  }
  return headers
}

/** The rows of a file under construction. */
export class ArchiveRows {
  readonly #writer: ParquetWriter
  readonly #partition: number
  readonly #fields: number
  readonly #scratch = new Float64Array(CHUNK_ROWS)
  readonly #flags = new Uint8Array(CHUNK_ROWS)

  constructor(options: { partition: number; fields: readonly ColumnSpec[]; sink: ByteSink }) {
    this.#writer = createParquetWriter(archiveColumns(options.fields), options.sink)
    this.#partition = options.partition
    this.#fields = options.fields.length
  }

  get count(): number {
    return this.#writer.rows
  }

  /** Encoded bytes before compression: a function of the rows only. */
  get encodedBytes(): number {
    return this.#writer.encodedBytes
  }

  /** Appends decoded rows [from, until) of a chunk (one kind, consecutive offsets); `watermarks` per row of the chunk. */
  async events(
    kind: 'event' | 'quarantined',
    chunk: ColumnChunk,
    rows: { from: number; until: number; watermarks: Float64Array },
    epoch: number,
  ): Promise<void> {
    const { from, until, watermarks } = rows
    const count = until - from
    const at = this.#writer.columns
    this.#repeat(0, this.#partition, count)
    at[1]!.appendNumbers(chunk.offsets, null, from, until)
    this.#repeat(2, epoch, count)
    this.#repeat(3, chunk.arrivalMs, count)
    at[4]!.appendBytes(KINDS[kind], count)
    at[5]!.appendBytes(null, count)
    this.#repeat(6, chunk.schemaId | 0, count)
    at[7]!.appendColumn(chunk.keys!, from, until)
    this.#headers(chunk.headers!, from, until)
    at[9]!.appendBytes(null, count)
    at[10]!.appendNumbers(chunk.eventTimes, null, from, until)
    // The watermark only grows: when the first row has one, all have.
    const valid = Number.isFinite(watermarks[from]!) ? null : this.#flags
    if (valid !== null) for (let i = from; i < until; i++) valid[i] = Number.isFinite(watermarks[i]!) ? 1 : 0
    at[11]!.appendNumbers(watermarks, valid, from, until)
    for (const [index, column] of chunk.columns.entries()) at[12 + index]!.appendColumn(column, from, until)
    await this.#writer.endRows(count)
  }

  /** Appends a barrier's row. */
  async barrier(record: RawRecord, place: RowPlace & { schemaId: number | null; watermark: number }): Promise<void> {
    const { offset, key, value, headers } = record
    await this.#single('barrier', { ...place, offset, key, headers: headersJson(headers), raw: value, reason: null })
  }

  /** Appends a record that could not be used, with its bytes. */
  async dead(record: DeadRecord, place: RowPlace & { watermark: number; headers: Uint8Array | null }): Promise<void> {
    const { offset, key, value, schemaId, reason } = record
    await this.#single('dead', { ...place, offset, key, schemaId, raw: value, reason: utf8.encode(reason) })
  }

  /** Appends offsets [from, until) that hold no producer's record. */
  async control(from: number, until: number, place: RowPlace & { watermark: number }): Promise<void> {
    for (let offset = from; offset < until; offset++) {
      await this.#single('control', {
        ...place,
        offset,
        key: null,
        headers: null,
        raw: null,
        reason: null,
        schemaId: null,
      })
    }
  }

  /** Writes what is left and the footer. */
  finish(): Promise<void> {
    return this.#writer.finish()
  }

  #repeat(column: number, value: number, count: number): void {
    this.#scratch.fill(value, 0, count)
    this.#writer.columns[column]!.appendNumbers(this.#scratch, null, 0, count)
  }

  #headers(column: Column, from: number, until: number): void {
    const target = this.#writer.columns[8]!
    const { valid } = column
    if (valid !== null && !valid.subarray(from, until).includes(1)) {
      target.appendBytes(null, until - from)
      return
    }
    for (let row = from; row < until; row++) {
      const isNull = valid !== null && valid[row] === 0
      const headers = isNull ? [] : readHeaderBlock(column.bytes, column.from[row]!, column.until[row]!)
      target.appendBytes(headersJson(headers), 1)
    }
  }

  async #single(
    kind: RowKind,
    row: RowPlace & {
      offset: number
      key: Uint8Array | null
      headers: Uint8Array | null
      raw: Uint8Array | null
      reason: Uint8Array | null
      schemaId: number | null
      watermark: number
    },
  ): Promise<void> {
    const at = this.#writer.columns
    at[0]!.appendNumber(this.#partition, 1)
    at[1]!.appendNumber(row.offset, 1)
    at[2]!.appendNumber(row.epoch, 1)
    at[3]!.appendNumber(row.arrivalMs, 1)
    at[4]!.appendBytes(KINDS[kind], 1)
    at[5]!.appendBytes(row.reason, 1)
    at[6]!.appendNumber(schemaCell(row.schemaId), 1)
    at[7]!.appendBytes(row.key, 1)
    at[8]!.appendBytes(row.headers, 1)
    at[9]!.appendBytes(row.raw, 1)
    at[10]!.appendNumber(null, 1)
    at[11]!.appendNumber(watermarkCell(row.watermark), 1)
    for (let index = 0; index < this.#fields; index++) {
      const column = at[12 + index]!
      if (column.spec.type === 'string' || column.spec.type === 'bytes') column.appendBytes(null, 1)
      else column.appendNumber(null, 1)
    }
    await this.#writer.endRows(1)
  }
}
