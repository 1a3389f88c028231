/**
 * The generated Avro projector: one function per (writer schema, wanted fields) that walks a record batch in place and writes
 * typed-array columns. No object, closure or call per record on the way of a good one (recipe: notes on the hot path).
 *
 * The generated code only decides good or dead, by ONE test per record, `p === valueEnd`, plus bounds on lengths and the checks of
 * the contract in projector.ts; it may read past a bad record's end into the batch, never past a test. Why a record is dead
 * is then said by the slow reader from the record's own bytes (`deadRecord`). Every field is checked, wanted or not.
 *
 * Refuses by `SchemaMismatch` what cannot be resolved. Upholds law 8: every offset becomes a row, a dead record, a stop or a skip.
 */
import { isUtf8 } from 'node:buffer'
import { assert } from '#core/assert.ts'
import { allocateColumn, CHUNK_ROWS, type Column, type ColumnChunk, type ColumnSpec, SAFE_MAX } from '#core/columns.ts'
import type { DeadReason, DeadRecord } from '#core/outcome.ts'
import { EVENT_TIME_MAX_MS, EVENT_TIME_MIN_MS } from '#core/time.ts'
import { BARRIER_HEADER } from '#schemas/topics.ts'
import { generateProjector } from './avro-codegen.ts'
import { faultOf, fitsPrecision, readDecimal, readLong } from './avro-faults.ts'
import { type Resolution, resolve, SchemaMismatch, type Source } from './avro-resolution.ts'
import { columnSpecOf, type FlatSchema, parseFlatSchema, SchemaProblem } from './avro-schema.ts'
import { schemaIdOf } from './confluent.ts'
import { parseInstant } from './event-time.ts'
import type { Projector, ProjectorOptions, RecordCursor, Stop } from './projector.ts'
import { readRecord, recordAt } from './record-batch.ts'

export { SchemaMismatch } from './avro-resolution.ts'

/** A chunk for these columns (of a projector, in its order); `envelope` adds keys and headers. */
export function allocateChunk(columns: readonly ColumnSpec[], envelope: boolean): ColumnChunk {
  const bytes = (name: string): Column =>
    allocateColumn({ name, kind: 'bytes', nullable: true, precision: 0, scale: 0 })
  return {
    count: 0,
    offsets: new Float64Array(CHUNK_ROWS),
    arrivalMs: 0,
    schemaId: 0,
    eventTimes: new Float64Array(CHUNK_ROWS),
    columns: columns.map((spec) => allocateColumn(spec)),
    keys: envelope ? bytes('_key') : null,
    headers: envelope ? bytes('_headers') : null,
  }
}

/** Empties a chunk for the next rows. To be called whenever a chunk has been used, and between record batches. */
export function resetChunk(chunk: ColumnChunk): void {
  chunk.count = 0
  for (const column of chunk.columns) {
    column.valid = null
    column.wide = null
  }
  if (chunk.keys !== null) chunk.keys.valid = null
  if (chunk.headers !== null) chunk.headers.valid = null
}

/** The event time of a record for the slow path: what the generated code computes in place. */
interface EventTime {
  readonly source: Source
  readonly unit: ProjectorOptions['eventTime']['unit']
}

/** Everything that generated code and the slow reader share. */
interface Plan extends Resolution {
  readonly writerId: number
  readonly eventTime: EventTime
}

/**
 * Compiles a projector. Compile once per (writer, fields) and worker: it costs about a millisecond.
 * @throws SchemaMismatch when the writer's schema cannot be resolved to the reader's, or is no flat record
 * @throws SchemaProblem when the reader's schema is no flat record
 */
export function compileProjector(options: ProjectorOptions): Projector {
  const read = parseFlatSchema(options.reader)
  const resolution = withWritten(resolve(parseWriter(options.writer), read), options.written ?? [])
  const { reader } = resolution
  const at = (name: string): number => indexIn(read, name)
  const timeAt = at(options.eventTime.field)
  const { avro, kind } = reader.fields[timeAt]!
  assert(
    options.eventTime.unit === 'iso' ? avro === 'string' : kind === 'int64',
    `event time in ${options.eventTime.unit} is no ${avro}`,
  )
  const plan: Plan = {
    ...resolution,
    writerId: options.writerId,
    eventTime: { source: resolution.sources[timeAt]!, unit: options.eventTime.unit },
  }
  const beyond = reader.fields.length - read.fields.length
  const wanted = [...options.fields.map(at), ...Array.from({ length: beyond }, (_, i) => read.fields.length + i)]
  const tables = wanted.map((index) => tableOf(resolution.sources[index]!))
  const specs = wanted.map((index) => columnSpecOf(reader.fields[index]!))
  const { eventTime, writerId } = plan
  const code = generateProjector({ resolution, writerId, eventTime, wanted, specs, envelope: options.envelope })
  // The one place that compiles text; nothing of a schema but numbers is in it (avro-codegen.ts).
  // oxlint-disable-next-line typescript/no-implied-eval
  const make = new Function('H', 'PLAN', 'TABLES', 'TIME', `'use strict'\n${code}`) as (
    helpers: typeof HELPERS,
    plan: Plan,
    tables: readonly (Table | null)[],
    time: number,
  ) => Projector['project']
  const project = make(HELPERS, plan, tables, constantTime(eventTime))
  return {
    writerId: options.writerId,
    columns: specs,
    project(cursor, chunk, dead) {
      assert(chunk.count === 0 || chunk.schemaId === options.writerId, 'a chunk holds rows of one writer schema')
      assert(
        chunk.columns.length === specs.length && (chunk.keys !== null) === options.envelope,
        'the chunk was allocated for this projector',
      )
      chunk.schemaId = options.writerId
      chunk.arrivalMs = cursor.arrivalMs
      return project(cursor, chunk, dead)
    },
  }
}

/** What is wanted as it was written: as if the reader had these fields as well, of the writer's types. */
function withWritten(resolution: Resolution, names: readonly string[]): Resolution {
  const { writer, reader, sources } = resolution
  const indexes = names.map((name) => indexIn(writer, name))
  const asWritten = (field: number): Source => {
    const { avro, symbols } = writer.fields[field]!
    return { field, constant: null, symbols: avro === 'enum' ? symbols : null, single: false }
  }
  return {
    ...resolution,
    reader: { ...reader, fields: [...reader.fields, ...indexes.map((index) => writer.fields[index]!)] },
    sources: [...sources, ...indexes.map(asWritten)],
  }
}

function indexIn(schema: FlatSchema, name: string): number {
  const index = schema.fields.findIndex((field) => field.name === name)
  assert(index >= 0, `the schema ${schema.name} has the field ${name}`)
  return index
}

function parseWriter(text: string): FlatSchema {
  try {
    return parseFlatSchema(text)
  } catch (error) {
    if (error instanceof SchemaProblem) throw new SchemaMismatch(error.path, error.message)
    throw error
  }
}

/**
 * Moves the cursor, before any projector is known, to the next framed record or barrier; what has no frame goes to `dead`.
 * `schema`: cursor.schemaId is set. Not for the hot path: a projector does the same by itself.
 */
export function findFrame(cursor: RecordCursor, dead: DeadRecord[]): Exclude<Stop, 'full'> {
  for (;;) {
    const probe = { ...cursor }
    const record = readRecord(probe)
    if (record === null) {
      cursor.remaining = 0
      cursor.at = cursor.end
      return 'end'
    }
    if (record.headers.some(([name]) => name === BARRIER_HEADER)) return 'barrier'
    const schemaId = record.damaged || record.value === null ? null : schemaIdOf(record.value)
    if (schemaId !== null) {
      cursor.schemaId = schemaId
      return 'schema'
    }
    const reason = record.damaged ? 'bad-length' : frameFault(record.value)!
    dead.push({ offset: record.offset, reason, schemaId: null, key: record.key, value: record.value })
    cursor.at = probe.at
    cursor.remaining = probe.remaining
  }
}

function frameFault(value: Uint8Array | null): DeadReason | null {
  if (value === null) return 'no-frame'
  if (value.length === 0) return 'truncated'
  if (value[0] !== 0) return 'wrong-magic'
  return value.length < 5 ? 'truncated' : null
}

/** The dead record at [from, until) (behind its length), which the generated code refused. */
function deadRecord(plan: Plan, bytes: Uint8Array, from: number, until: number, baseOffset: number): DeadRecord {
  const { offset, key, value, damaged } = recordAt(bytes, from, until, baseOffset)
  const reason = damaged ? 'bad-length' : (frameFault(value) ?? bodyFault(plan, value!))
  return { offset, reason, schemaId: damaged || value === null ? null : schemaIdOf(value), key, value }
}

function bodyFault(plan: Plan, value: Uint8Array): DeadReason {
  const starts: number[] = []
  const fault = faultOf(plan.writer.fields, plan.text, value, 5, starts) ?? eventTimeFault(plan, value, starts)
  assert(fault !== null, 'the projector and the slow reader agree on which records are dead')
  return fault
}

function eventTimeFault(
  { eventTime: { source, unit }, writer }: Plan,
  value: Uint8Array,
  starts: readonly number[],
): DeadReason | null {
  let instant: number
  if (source.field < 0) {
    if (source.constant === null) return 'event-time-missing'
    instant = constantTime({ source, unit })
  } else {
    const at = starts[source.field]!
    if (at < 0) return 'event-time-missing'
    if (unit === 'iso') {
      const [from, until] = textRange(value, at)
      instant = parseInstant(value, from, until)
    } else {
      assert(writer.fields[source.field]!.kind === 'int64', 'an event time in a unit is an integer')
      instant = instantOf(readLong(value, at), unit)
    }
  }
  if (Number.isNaN(instant)) return 'event-time-format'
  return instant >= EVENT_TIME_MIN_MS && instant <= EVENT_TIME_MAX_MS ? null : 'event-time-range'
}

/** The event time of a writer that has no such field, by the reader's default; NaN when there is none. */
function constantTime({ source, unit }: EventTime): number {
  if (source.field >= 0) return Number.NaN
  const { constant } = source
  if (constant === null) return Number.NaN
  if (typeof constant === 'number') return instantOf(BigInt(constant), unit)
  return parseInstant(constant, 0, constant.length)
}

/** The range of a string whose length varint stands at `at` and is well formed. */
function textRange(bytes: Uint8Array, at: number): [number, number] {
  const length = Number(readLong(bytes, at))
  while (bytes[at]! > 127) at++
  return [at + 1, at + 1 + length]
}

/** Epoch ms of an integer in the unit; microseconds are floored. */
function instantOf(value: bigint, unit: EventTime['unit']): number {
  if (unit === 's') return Number(value) * 1000
  if (unit === 'ms') return Number(value)
  const rest = ((value % 1000n) + 1000n) % 1000n
  return Number((value - rest) / 1000n)
}

/** Symbols or a constant as a column's own buffer with ranges; null where values stand in the batch or are numbers. */
interface Table {
  readonly bytes: Uint8Array
  readonly from: Int32Array
  readonly until: Int32Array
}

function tableOf(source: Source): Table | null {
  const { constant, symbols } = source
  if (source.field < 0) {
    if (!(constant instanceof Uint8Array)) return null
    return { bytes: constant, from: Int32Array.of(0), until: Int32Array.of(constant.length) }
  }
  if (symbols === null) return null
  const from = new Int32Array(symbols.length)
  const until = new Int32Array(symbols.length)
  const encoded = symbols.map((symbol) => new TextEncoder().encode(symbol))
  let at = 0
  for (const [i, symbol] of encoded.entries()) {
    from[i] = at
    at += symbol.length
    until[i] = at
  }
  return { bytes: Uint8Array.from(Buffer.concat(encoded)), from, until }
}

// Spare arrays per column: most chunks have no null and nothing wide, so `valid` and `wide` come and go.
const spareValid = new WeakMap<Column, Uint8Array>()
const spareWide = new WeakMap<Column, BigInt64Array>()

/** Gives the column a `valid` in which the first `rows` rows are values. */
function makeValid(column: Column, rows: number): Uint8Array {
  let valid = spareValid.get(column)
  if (valid === undefined) spareValid.set(column, (valid = new Uint8Array(CHUNK_ROWS)))
  valid.fill(1, 0, rows)
  column.valid = valid
  return valid
}

/** Gives the column a `wide` that repeats its first `rows` cells. */
function makeWide(column: Column, rows: number): BigInt64Array {
  let wide = spareWide.get(column)
  if (wide === undefined) spareWide.set(column, (wide = new BigInt64Array(CHUNK_ROWS)))
  for (let row = 0; row < rows; row++) wide[row] = BigInt(column.f64[row]!)
  column.wide = wide
  return wide
}

/** The decimal as a double when it is within ±SAFE_MAX and its precision, NaN when only a bigint holds it, Infinity when it does not fit. */
function decimalNumber(bytes: Uint8Array, at: number, length: number, precision: number): number {
  const value = readDecimal(bytes, at, length)
  if (value === null || !fitsPrecision(value, precision)) return Number.POSITIVE_INFINITY
  const double = Number(value)
  return Math.abs(double) <= SAFE_MAX ? double : Number.NaN
}

const BARRIER_NAME = new TextEncoder().encode(BARRIER_HEADER)

/** What the header block [at, until) holds: 0 plain headers or none, 1 a barrier, 2 nonsense. Agrees with `readRecord`. */
function headerKind(bytes: Uint8Array, at: number, until: number): number {
  let p = at
  let kind = 0
  const varint = (): number => {
    let zigzag = 0
    for (let shift = 0; p < until && shift <= 28; shift += 7) {
      const byte = bytes[p++]!
      if (shift === 28 && byte > 15) break
      zigzag |= (byte & 127) << shift
      if (byte < 128) return (zigzag >>> 1) ^ -(zigzag & 1)
    }
    p = until + 1
    return 0
  }
  const count = varint()
  if (count < 0) return 2
  for (let i = 0; i < count && p <= until; i++) {
    const nameLength = varint()
    if (nameLength < 0 || nameLength > until - p) return 2
    let same = nameLength === BARRIER_NAME.length
    for (let j = 0; same && j < nameLength; j++) same = bytes[p + j] === BARRIER_NAME[j]
    if (same) kind = 1
    p += nameLength
    const valueLength = varint()
    if (valueLength < -1 || valueLength > until - p) return 2
    if (valueLength > 0) p += valueLength
  }
  return p === until ? kind : 2
}

const HELPERS = {
  isUtf8,
  deadRecord,
  headerKind,
  makeValid,
  makeWide,
  readLong,
  readDecimal,
  decimalNumber,
  parseInstant,
  instantOf,
} as const
