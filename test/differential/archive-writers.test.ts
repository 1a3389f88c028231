/**
 * Goal: whatever the stream's schema was when a record was archived, the archive gives what the log gives to a reader of any other
 * schema: nothing that a writer wrote is lost, and a null is told apart from what was never written.
 * Method: random writers whose records are mixed in one partition, archived under one random schema and read as another, through
 * the files; compared cell by cell with the projector that reads the same records from the log.
 */
import { expect, it } from 'vitest'
import type { Column } from '#core/columns.ts'
import { allocateChunk, compileProjector, resetChunk } from '#format/avro-projector.ts'
import { resolve, SchemaMismatch } from '#format/avro-resolution.ts'
import { columnSpecOf, type FlatField, parseFlatSchema } from '#format/avro-schema.ts'
import { frame } from '#format/confluent.ts'
import { openBatch } from '#format/record-batch.ts'
import { type Cell, openDuckDb, sqlName } from '#io/duckdb.ts'
import type { StreamDefinition } from '#metrics/definition.ts'
import { createMemoryRegistry, flightStream } from '#testkit/archive-fixture.ts'
import { archivePartition, batchesOf } from '#testkit/archive-partition.ts'
import { createMemoryLake } from '#testkit/lake-memory.ts'
import { isGate, random, runs } from '#testkit/runs.ts'
import { archiveRelation } from '../../batch/archive-input.ts'

type Draw = () => number
const pick = <T>(draw: Draw, items: readonly T[]): T => items[Math.floor(draw() * items.length)]!

/** Types of one name, in all schemas: most of them can be read as some others. */
const FAMILIES: Record<string, (draw: Draw) => unknown> = {
  n: (draw) => pick(draw, ['int', 'int', 'long', 'float', 'double']),
  m: (draw) => pick(draw, ['int', 'long', 'double']),
  t: (draw) => pick(draw, ['string', 'string', 'bytes']),
  k: (draw) => ({
    type: 'enum',
    name: 'K',
    symbols: ['A', 'B', 'C', 'D'].slice(0, 2 + Math.floor(draw() * 3)),
    ...(draw() < 0.8 ? { default: 'A' } : {}),
  }),
  d: (draw) => ({ type: 'bytes', logicalType: 'decimal', precision: pick(draw, [9, 9, 12, 18]), scale: 2 }),
  f: () => ({ type: 'fixed', name: 'F', size: 3 }),
  o: () => 'boolean',
}
const DEFAULTS: Record<string, unknown> = { n: 5, m: 77, t: 'dé', k: 'B', d: '\u0001\u0002', f: 'abc', o: true }

/** A schema over some of the names, some of them changed: another one with an alias, or in capital letters. */
function drawSchema(draw: Draw): string {
  const fields = Object.entries(FAMILIES).flatMap(([name, type]) => {
    if (draw() < 0.25) return []
    const names = [name, `${name}2`, name.toUpperCase()]
    const own = pick(draw, [name, ...names])
    const nullable = draw() < 0.3
    const field = {
      name: own,
      type: nullable ? ['null', type(draw)] : type(draw),
      ...(draw() < 0.7 ? { aliases: names.filter((other) => other !== own) } : {}),
    }
    return [draw() < 0.8 ? { ...field, default: nullable && draw() < 0.5 ? null : DEFAULTS[name] } : field]
  })
  return JSON.stringify({ type: 'record', name: 'R', fields: [{ name: 'at', type: 'long' }, ...fields] })
}

function isRead(writer: string, reader: string): boolean {
  try {
    resolve(parseFlatSchema(writer), parseFlatSchema(reader))
    return true
  } catch (error) {
    if (error instanceof SchemaMismatch) return false
    throw error
  }
}

/** A value's Avro bytes; shares no code with the product. */
function encode(draw: Draw, field: FlatField): Buffer {
  const long = (value: bigint): Buffer => {
    const bytes: number[] = []
    let rest = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n))
    for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128)
    return Buffer.from([...bytes, Number(rest)])
  }
  const block = (bytes: Buffer): Buffer => Buffer.concat([long(BigInt(bytes.length)), bytes])
  const value = (): Buffer => {
    const number = Math.floor((draw() - 0.5) * 2 ** 32)
    switch (field.avro) {
      case 'boolean':
        return Buffer.from([draw() < 0.5 ? 0 : 1])
      case 'int':
        return long(BigInt(number))
      case 'long':
        return long(BigInt(number) * (draw() < 0.5 ? 1n : BigInt(Math.floor(draw() * 2 ** 31))))
      case 'float': {
        const bytes = Buffer.alloc(4)
        bytes.writeFloatLE(draw() * 1e9 + 1)
        return bytes
      }
      case 'double': {
        const bytes = Buffer.alloc(8)
        bytes.writeDoubleLE(draw() * 1e9 + 1)
        return bytes
      }
      case 'string':
        return block(Buffer.from(pick(draw, ['', 'web', 'ü', '東京'])))
      case 'enum':
        return long(BigInt(Math.floor(draw() * field.symbols.length)))
      case 'fixed':
        return Buffer.from([draw() * 256, 0, 255])
      case 'bytes': {
        if (field.kind !== 'decimal') return block(Buffer.from(pick(draw, ['', 'b', 'ß'])))
        const bytes = Buffer.alloc(8)
        bytes.writeBigInt64BE(BigInt(Math.floor((draw() - 0.5) * 1.9 * 10 ** Math.min(field.precision, 15))))
        return block(bytes)
      }
    }
  }
  if (!field.nullable) return value()
  const isNull = draw() < 0.4
  return Buffer.concat([long(BigInt(isNull ? field.nullIndex : field.valueIndex)), isNull ? Buffer.alloc(0) : value()])
}

const streamOf = (schema: string): StreamDefinition =>
  flightStream({
    schema,
    fields: parseFlatSchema(schema).fields.map(columnSpecOf),
    key: null,
    id: null,
    eventTime: { field: 'at', unit: 'ms' },
    partitions: 1,
  })

function textOf(column: Column, row: number): string {
  if (column.valid !== null && column.valid[row] === 0) return 'null'
  const { kind } = column.spec
  const bytes = Buffer.from(column.bytes.subarray(column.from[row], column.until[row]))
  if (kind === 'string') return bytes.toString()
  if (kind === 'bytes') return bytes.toString('hex')
  if (kind === 'bool') return String(column.f64[row] === 1)
  if (kind === 'float64') return String(column.f64[row])
  return String(column.wide?.[row] ?? BigInt(column.f64[row]!))
}

function cellText(cell: Cell): string {
  if (cell === null || typeof cell !== 'object') return String(cell)
  if ('bytes' in cell) return Buffer.from(cell.bytes as Uint8Array).toString('hex')
  return String((cell as { value: bigint }).value)
}

/** What the log gives: each record by the projector of its own writer. */
function fromLog(batches: readonly Uint8Array[], writers: readonly string[], stream: StreamDefinition): string[] {
  const chunk = allocateChunk(stream.fields, false)
  const rows: string[] = []
  const projectors = writers.map((writer, at) =>
    compileProjector({
      writer,
      writerId: at + 1,
      reader: stream.schema,
      fields: stream.fields.map(({ name }) => name),
      eventTime: stream.eventTime,
      envelope: false,
    }),
  )
  for (const bytes of batches) {
    const opened = openBatch(bytes, 0)
    if ('dead' in opened) throw new Error(opened.dead)
    const { cursor } = opened
    for (let id = 1, stop = ''; stop !== 'end'; id = cursor.schemaId) {
      const dead: never[] = []
      stop = projectors[id - 1]!.project(cursor, chunk, dead)
      expect(dead).toEqual([])
      for (let row = 0; row < chunk.count; row++) {
        rows.push(chunk.columns.map((column) => textOf(column, row)).join(' · '))
      }
      resetChunk(chunk)
    }
  }
  return rows
}

it('[R5] archived under any schema and read as any other: what the log gives, cell by cell', async () => {
  const { seed, numRuns } = runs(150, 'archive-writers')
  const draw = random(seed)
  const db = await openDuckDb({ threads: 1, memoryMb: 256, temporaryDirectory: null })
  const lake = createMemoryLake()
  let kept = 0
  for (let run = 0; run < numRuns; run++) {
    const [day, today] = [drawSchema(draw), drawSchema(draw)]
    const writers: string[] = []
    for (let left = 2_000; left > 0 && writers.length < 3; left--) {
      const writer = pick(draw, [drawSchema(draw), drawSchema(draw), day, today])
      if (isRead(writer, day) && isRead(writer, today)) writers.push(writer)
    }
    const registry = createMemoryRegistry()
    const unique = [...new Set(writers)]
    // The registry counts from 1.
    for (const writer of unique) await registry.register('any', writer)
    if (writers.length === 0) continue
    const records = Array.from({ length: 3 }, (_, batch) =>
      Array.from({ length: 8 }, () => {
        const at = Math.floor(draw() * unique.length)
        // One writer alone first, at times, so that columns are made late.
        const id = batch === 0 && run % 2 === 0 ? 0 : at
        const fields = parseFlatSchema(unique[id]!)
          .fields.slice(1)
          .map((field) => encode(draw, field))
        return { key: null, value: frame(id + 1, Buffer.concat([Buffer.from([2]), ...fields])) }
      }),
    )
    const batches = batchesOf(records)
    const name = `run${run}`
    const stream = { ...streamOf(day), name }
    const { entries, letters } = await archivePartition({ lake, registry, stream }, batches, run % 3 === 0 ? 8 : 1_000)
    expect(letters).toEqual([])
    const files = entries.map((entry) => ({ entry, firstEpoch: 0, lastEpoch: 0 }))
    const archive = { stream: name, cut: 1, offsets: [records.flat().length], watermark: null, files }
    const read = { ...streamOf(today), name }
    const relation = await archiveRelation(db, lake, read, archive, files, `_kind = 'event'`)
    const rows = await db.query(
      `SELECT _offset, ${read.fields.map((field) => sqlName(field.name)).join(', ')} FROM ${relation} ORDER BY _offset`,
    )
    const found = rows.map((row) => Object.values(row).slice(1).map(cellText).join(' · '))
    const expected = fromLog(batches, unique, read)
    expect(found, `run ${run}: ${day} as ${today} of ${JSON.stringify(writers)}`).toEqual(expected)
    const [columns] = await db.query(
      `SELECT count(*) AS n FROM parquet_schema('${lake.root}/${entries.at(-1)!.file.path}') WHERE num_children IS NULL`,
    )
    if (Number(columns!['n']) > 12 + stream.fields.length) kept++
  }
  if (isGate) expect(kept).toBeGreaterThan(numRuns / 4)
  lake.dispose()
  db.close()
})
