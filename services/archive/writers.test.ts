/**
 * Goal: a file keeps what a writer knows beyond the stream's fields, says where, and keeps nothing twice.
 * Method: records of several writers through one partition's archiver; files read back with DuckDB.
 */
import avro from 'avsc'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { columnSpecOf, parseFlatSchema } from '#format/avro-schema.ts'
import { frame } from '#format/confluent.ts'
import { type DuckDb, openDuckDb, type Row } from '#io/duckdb.ts'
import { type ArchiveWriter, WRITERS_KEY } from '#schemas/archive.ts'
import { createMemoryRegistry, flightStream } from '#testkit/archive-fixture.ts'
import { archivePartition, batchesOf } from '#testkit/archive-partition.ts'
import { createMemoryLake } from '#testkit/lake-memory.ts'

const at = { name: 'at', type: 'long' }
const record = (...fields: object[]): string => JSON.stringify({ type: 'record', name: 'R', fields: [at, ...fields] })
const enumOf = (symbols: string[]) => ({ type: 'enum', name: 'K', symbols, default: 'solo' })

const DAY = record(
  { name: 'kind', type: enumOf(['solo', 'group']), default: 'solo' },
  { name: 'weight', type: 'float', default: 0 },
  { name: 'points', type: 'double', default: 0 },
)

const lake = createMemoryLake()
let duck: DuckDb
beforeAll(async () => {
  duck = await openDuckDb({ threads: 1, memoryMb: 256, temporaryDirectory: null })
})
afterAll(() => {
  duck.close()
  lake.dispose()
})

type Sent = readonly [schema: string, value: Record<string, unknown>]
let streams = 0

/** Archives batches of a stream of schema DAY; its files with their columns, writers and rows, and the letters. */
async function archived(batches: readonly (readonly Sent[])[]) {
  const name = `s${streams++}`
  const registry = createMemoryRegistry()
  const stream = flightStream({
    name,
    schema: DAY,
    fields: parseFlatSchema(DAY).fields.map(columnSpecOf),
    eventTime: { field: 'at', unit: 'ms' },
  })
  const records = await Promise.all(
    batches.map((batch) =>
      Promise.all(
        batch.map(async ([schema, value]) => {
          const type = avro.Type.forSchema(JSON.parse(schema), { wrapUnions: false })
          const id = await registry.register('any', schema)
          return { key: null, value: frame(id, type.toBuffer({ at: 1, ...value })) }
        }),
      ),
    ),
  )
  const { entries, letters } = await archivePartition({ lake, registry, stream }, batchesOf(records))
  const files = []
  for (const { file } of entries) {
    const path = `'${lake.root}/${file.path}'`
    const [writers] = await duck.query(
      `SELECT decode(value) AS text FROM parquet_kv_metadata(${path}) WHERE decode(key) = '${WRITERS_KEY}'`,
    )
    const rows: Row[] = await duck.query(
      `SELECT * FROM read_parquet(${path}, hive_partitioning = false) ORDER BY _offset`,
    )
    files.push({
      rows,
      columns: Object.keys(rows[0]!).slice(12 + stream.fields.length),
      writers: JSON.parse(writers!['text'] as string) as ArchiveWriter[],
    })
  }
  return { files, letters }
}

it('[R5] a field that the stream does not have, a symbol and digits that it loses: kept as they were written', async () => {
  const ahead = record(
    { name: 'channel', type: ['null', 'string'], default: null },
    { name: 'kind', type: enumOf(['solo', 'group', 'tour']) },
    { name: 'weight', type: 'int' },
    { name: 'points', type: 'int' },
  )
  const { files } = await archived([
    [
      [DAY, { kind: 'group', weight: 0.5, points: 3 }],
      [ahead, { channel: 'app', kind: 'tour', weight: 16_777_217, points: 4 }],
      [ahead, { channel: null, kind: 'solo', weight: 1, points: 5 }],
      [DAY, { kind: 'solo', weight: 0.25, points: 6 }],
    ],
  ])
  expect(files).toHaveLength(1)
  const { rows, columns, writers } = files[0]!
  expect(columns).toEqual(['channel', 'kind_2', 'weight_2'])
  expect(rows.map((row) => [row['kind'], row['weight'], row['points']])).toEqual([
    ['group', 0.5, 3],
    ['solo', 16_777_216, 4],
    ['solo', 1, 5],
    ['solo', 0.25, 6],
  ])
  expect(rows.map((row) => [row['channel'], row['kind_2'], row['weight_2']])).toEqual([
    [null, null, null],
    ['app', 'tour', 16_777_217n],
    [null, 'solo', 1n],
    [null, null, null],
  ])
  expect(writers).toEqual([
    { id: 1, schema: DAY, columns: ['at', 'kind', 'weight', 'points'] },
    { id: 2, schema: ahead, columns: ['at', 'channel', 'kind_2', 'weight_2', 'points'] },
  ])
})

it('[R5] writers share columns of one name and type; another type, or another spelling in one writer, has its own', async () => {
  const channel = (name: string, type: string, ...more: object[]) => record({ name, type }, ...more)
  const { files } = await archived([
    [
      [channel('channel', 'string'), { channel: 'app' }],
      [channel('channel', 'long'), { channel: 7 }],
      [channel('channel', 'string', { name: 'tip', type: 'long' }), { channel: 'web', tip: 2 }],
      [channel('CHANNEL', 'string', { name: 'channel', type: 'string' }), { CHANNEL: 'a', channel: 'b' }],
    ],
  ])
  const { rows, columns, writers } = files[0]!
  expect(columns).toEqual(['channel', 'channel_2', 'tip', 'channel_3'])
  expect(writers.map((writer) => writer.columns.slice(1))).toEqual([
    ['channel'],
    ['channel_2'],
    ['channel', 'tip'],
    ['channel', 'channel_3'],
  ])
  expect(rows.map((row) => columns.map((name) => row[name]))).toEqual([
    ['app', null, null, null],
    [null, 7n, null, null],
    ['web', null, 2n, null],
    ['a', null, null, 'b'],
  ])
})

it('[R5] writers that know nothing more leave the columns as they are', async () => {
  const older = record({ name: 'points', type: 'int' })
  const { files } = await archived([
    [
      [DAY, { kind: 'group', weight: 0.5, points: 3 }],
      [older, { points: 1 }],
    ],
  ])
  expect(files[0]!.columns).toEqual([])
  expect(files[0]!.writers.map((writer) => writer.columns)).toEqual([
    ['at', 'kind', 'weight', 'points'],
    ['at', 'points'],
  ])
})

it('[R4] [R5] a writer whose further field is nested is a dead letter with its bytes, and the partition goes on', async () => {
  const nested = record({ name: 'tags', type: { type: 'array', items: 'string' } })
  const value = { tags: ['a', 'b'] }
  const { files, letters } = await archived([
    [
      [DAY, { kind: 'group', weight: 0.5, points: 3 }],
      [nested, value],
      [DAY, { kind: 'solo', weight: 1, points: 4 }],
    ],
  ])
  const { rows, writers } = files[0]!
  expect(rows.map((row) => [row['_kind'], row['_reason']])).toEqual([
    ['event', null],
    ['dead', 'incompatible-schema'],
    ['event', null],
  ])
  expect(letters.map(({ offset, reason, schemaId }) => [offset, reason, schemaId])).toEqual([
    [1, 'incompatible-schema', 2],
  ])
  const raw = new Uint8Array((rows[1]!['_raw'] as unknown as { bytes: Uint8Array }).bytes)
  expect(raw).toEqual(new Uint8Array(frame(2, avro.Type.forSchema(JSON.parse(nested)).toBuffer({ at: 1, ...value }))))
  expect(writers.map(({ id }) => id)).toEqual([1])
})

it('many writers with columns of their own end a file behind the batch; one wide writer alone does not', async () => {
  const wide = (letter: string, fields: number): Sent => {
    const names = Array.from({ length: fields }, (_, i) => `${letter}${i}`)
    const value = Object.fromEntries(names.map((name, i) => [name, i]))
    return [record(...names.map((name) => ({ name, type: 'long' }))), value]
  }
  const plain: Sent = [DAY, { kind: 'solo', weight: 1, points: 4 }]
  const one = await archived([[wide('a', 300), plain], [plain], [wide('a', 300)]])
  expect(one.files.map(({ columns, rows }) => [columns.length, rows.length])).toEqual([[300, 4]])
  const many = await archived([[wide('a', 100), wide('b', 100)], [wide('c', 100), plain], [wide('b', 100)]])
  expect(many.files.map(({ columns, rows }) => [columns.length, rows.length])).toEqual([
    [300, 4],
    [100, 1],
  ])
})
