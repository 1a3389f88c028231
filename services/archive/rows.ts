/**
 * Rows of one archive file: what became of each offset, as columns of schemas/archive.ts. No object per event.
 * Every call appends to all columns, so that a row is whole or not there. What a writer knows beyond the stream's fields gets
 * columns with its first event: the file's columns are a function of its rows.
 */
import { CHUNK_ROWS, type Column, type ColumnChunk, type ColumnKind, type ColumnSpec } from '#core/columns.ts'
import type { DeadRecord } from '#core/outcome.ts'
import type { ParquetColumn, ParquetType } from '#format/parquet-column.ts'
import { type ByteSink, createParquetWriter, type ParquetWriter } from '#format/parquet-writer.ts'
import type { RawRecord } from '#format/record-batch.ts'
import { type ARCHIVE_COLUMNS, type ArchiveWriter, WRITERS_KEY } from '#schemas/archive.ts'
import type { Writer } from './writers.ts'

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

const columnOf = ({ name, kind, precision, scale }: ColumnSpec): ParquetColumn => ({
  name,
  type: TYPES[kind],
  nullable: true,
  precision,
  scale,
})

const utf8 = new TextEncoder()
const text = new TextDecoder('utf-8', { ignoreBOM: true })
const KINDS: Record<RowKind, Uint8Array> = {
  event: utf8.encode('event'),
  quarantined: utf8.encode('quarantined'),
  barrier: utf8.encode('barrier'),
  dead: utf8.encode('dead'),
  control: utf8.encode('control'),
}
/** Schema ids are uint32 on the wire and INTEGER in the lake; ids that no registry gives out come out negative. */
const schemaCell = (id: number): number => id | 0

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

/** A writer in a file: its id as `_schema_id` has it, and the file's columns for those of its projector. */
interface WriterPlace {
  readonly id: number
  readonly cells: readonly number[]
  readonly filled: ReadonlySet<number>
}

/** The rows of a file under construction. */
export class ArchiveRows {
  readonly #writer: ParquetWriter
  readonly #partition: number
  /** Columns that every writer fills: the archive's own and the stream's fields. */
  readonly #common: number
  /** Names of the columns in small letters: DuckDB knows no others. */
  readonly #names: string[]
  readonly #writers = new Map<Writer, WriterPlace>()
  #widest = 0
  readonly #scratch = new Float64Array(CHUNK_ROWS)
  readonly #flags = new Uint8Array(CHUNK_ROWS)

  constructor(options: { partition: number; fields: readonly ColumnSpec[]; sink: ByteSink }) {
    const columns = [...OWN, ...options.fields.map(columnOf)]
    this.#writer = createParquetWriter(columns, options.sink)
    this.#partition = options.partition
    this.#common = columns.length
    this.#names = columns.map(({ name }) => name.toLowerCase())
  }

  get count(): number {
    return this.#writer.rows
  }

  /** Encoded bytes before compression: a function of the rows only. */
  get encodedBytes(): number {
    return this.#writer.encodedBytes
  }

  /** Columns that keep what the stream's fields do not, of all writers and of the widest one. */
  get kept(): { readonly columns: number; readonly widest: number } {
    return { columns: this.#writer.columns.length - this.#common, widest: this.#widest }
  }

  /** Appends decoded rows [from, until) of a writer's chunk (one kind, consecutive offsets); `watermarks` per row of the chunk. */
  async events(
    kind: 'event' | 'quarantined',
    writer: Writer,
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
    at[5]!.appendNulls(count)
    this.#repeat(6, schemaCell(chunk.schemaId), count)
    at[7]!.appendColumn(chunk.keys!, from, until)
    this.#headers(chunk.headers!, from, until)
    at[9]!.appendNulls(count)
    at[10]!.appendNumbers(chunk.eventTimes, null, from, until)
    // The watermark only grows: when the first row has one, all have.
    const valid = Number.isFinite(watermarks[from]!) ? null : this.#flags
    if (valid !== null) for (let i = from; i < until; i++) valid[i] = Number.isFinite(watermarks[i]!) ? 1 : 0
    at[11]!.appendNumbers(watermarks, valid, from, until)
    const { cells, filled } = this.#placeOf(writer, chunk.schemaId)
    for (const [index, column] of chunk.columns.entries()) at[cells[index]!]!.appendColumn(column, from, until)
    for (let other = this.#common; other < at.length; other++) if (!filled.has(other)) at[other]!.appendNulls(count)
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

  /** Writes what is left and the footer, which tells where each writer's fields are. */
  finish(): Promise<void> {
    const writers = [...this.#writers].map(([{ schema, fields }, { id, cells }]): ArchiveWriter => {
      const columns = fields.map((field) => this.#writer.columns[cells[field]!]!.spec.name)
      return { id, schema, columns }
    })
    return this.#writer.finish(new Map([[WRITERS_KEY, JSON.stringify(writers)]]))
  }

  /** Where a writer's columns go in this file; makes those that are not there yet. */
  #placeOf(writer: Writer, schemaId: number): WriterPlace {
    const known = this.#writers.get(writer)
    if (known !== undefined) return known
    const fields = this.#common - OWN.length
    const filled = new Set<number>()
    const cells = writer.projector.columns.map((spec, index) => {
      const cell = index < fields ? OWN.length + index : this.#columnFor(columnOf(spec), filled)
      filled.add(cell)
      return cell
    })
    this.#widest = Math.max(this.#widest, cells.length - fields)
    const place = { id: schemaCell(schemaId), cells, filled }
    this.#writers.set(writer, place)
    return place
  }

  /** A kept column of that name and type which the writer does not fill already, or a new one under a name that is free. */
  #columnFor(column: ParquetColumn, filled: ReadonlySet<number>): number {
    for (let n = 1; ; n++) {
      const name = n === 1 ? column.name : `${column.name}_${n}`
      const at = this.#names.indexOf(name.toLowerCase())
      if (at < 0) {
        this.#names.push(name.toLowerCase())
        return this.#writer.addColumn({ ...column, name })
      }
      const { type, precision, scale } = this.#writer.columns[at]!.spec
      const isSame = type === column.type && precision === column.precision && scale === column.scale
      if (at >= this.#common && isSame && !filled.has(at)) return at
    }
  }

  #repeat(column: number, value: number, count: number): void {
    this.#scratch.fill(value, 0, count)
    this.#writer.columns[column]!.appendNumbers(this.#scratch, null, 0, count)
  }

  #headers(column: Column, from: number, until: number): void {
    const target = this.#writer.columns[8]!
    const { valid } = column
    let nulls = 0
    for (let row = from; row < until; row++) {
      const isNull = valid !== null && valid[row] === 0
      const json = isNull ? null : headersJson(readHeaderBlock(column.bytes, column.from[row]!, column.until[row]!))
      if (json === null) {
        nulls++
        continue
      }
      target.appendNulls(nulls)
      target.appendBytes(json, 1)
      nulls = 0
    }
    target.appendNulls(nulls)
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
    const bytes = (column: number, value: Uint8Array | null): void => {
      if (value === null) at[column]!.appendNulls(1)
      else at[column]!.appendBytes(value, 1)
    }
    this.#repeat(0, this.#partition, 1)
    this.#repeat(1, row.offset, 1)
    this.#repeat(2, row.epoch, 1)
    this.#repeat(3, row.arrivalMs, 1)
    bytes(4, KINDS[kind])
    bytes(5, row.reason)
    if (row.schemaId === null) at[6]!.appendNulls(1)
    else this.#repeat(6, schemaCell(row.schemaId), 1)
    bytes(7, row.key)
    bytes(8, row.headers)
    bytes(9, row.raw)
    at[10]!.appendNulls(1)
    if (Number.isFinite(row.watermark)) this.#repeat(11, row.watermark, 1)
    else at[11]!.appendNulls(1)
    for (let field = OWN.length; field < at.length; field++) at[field]!.appendNulls(1)
    await this.#writer.endRows(1)
  }
}
