/** Goal: batch jobs count each event once by the stated rule. Method: files as the archive has them; the rule in plain code. */
import { afterAll, expect, test } from 'vitest'
import { openDuckDb, sqlText } from '#io/duckdb.ts'
import type { StreamDefinition } from '#metrics/definition.ts'
import { type ArchiveEntry, WRITERS_KEY } from '#schemas/archive.ts'
import { createMemoryLake } from '#testkit/lake-memory.ts'
import { random, SEED } from '#testkit/runs.ts'
import { loadSales } from '#testkit/sales.ts'
import { type ArchiveAtCut, type ArchiveFile, archiveRelation, findDuplicates, verifyFiles } from './archive-input.ts'

process.stdout.write(`archive-input: repeat with SEED=${SEED}\n`)

const lake = createMemoryLake()
afterAll(() => lake.dispose())

test('[L2] a file that was written before a field existed is read with the default of the schema', async () => {
  const db = await openDuckDb({ threads: 1, memoryMb: 128, temporaryDirectory: null })
  const [sales] = (await loadSales()).streams
  const schema = JSON.parse(sales!.schema)
  schema.fields.push(
    { name: 'country', type: 'string', default: "Côte d'Ivoire" },
    { name: 'tax', type: { type: 'bytes', logicalType: 'decimal', precision: 12, scale: 2 }, default: '\u00ff\u0000' },
    { name: 'count', type: 'int', default: 3 },
  )
  const stream: StreamDefinition = {
    ...sales!,
    schema: JSON.stringify(schema),
    fields: [
      ...sales!.fields,
      { name: 'country', kind: 'string', nullable: false, precision: 0, scale: 0 },
      { name: 'tax', kind: 'decimal', nullable: false, precision: 12, scale: 2 },
      { name: 'count', kind: 'int64', nullable: false, precision: 0, scale: 0 },
    ],
  }
  const envelope = `0::INTEGER AS _partition, 0::BIGINT AS _epoch, 'event' AS _kind, 5::BIGINT AS _event_time, NULL::BIGINT AS _watermark`
  const fields = `'x' AS id, 5::BIGINT AS sold, NULL::VARCHAR AS shop, 1.5::DECIMAL(12,2) AS amount`
  const write = async (path: string, select: string): Promise<ArchiveFile> => {
    const temporary = await lake.temporaryPath()
    await db.run(`COPY (${select}) TO ${sqlText(temporary)} (FORMAT parquet)`)
    const file = { path, ...(await lake.publishFile(temporary, path)) }
    return { entry: { file, partition: 0, next_offset: 2 } as ArchiveEntry, firstEpoch: 0, lastEpoch: 0 }
  }
  const files = [
    await write('old.parquet', `SELECT 0::BIGINT AS _offset, ${envelope}, ${fields}`),
    await write(
      'new.parquet',
      `SELECT 1::BIGINT AS _offset, 'UK' AS country, 0.01::DECIMAL(12,2) AS tax, 9::BIGINT AS count, ${envelope}, ${fields}`,
    ),
  ]
  const archive: ArchiveAtCut = { stream: 'sales', cut: 1, offsets: [2], watermark: null, files }
  await verifyFiles(
    lake,
    files.map(({ entry }) => entry.file),
  )
  const relation = await archiveRelation(db, lake, stream, archive, files)
  const rows = await db.query(
    `SELECT _offset, id, country, tax::VARCHAR AS tax, count FROM ${relation} ORDER BY _offset`,
  )
  expect(rows).toEqual([
    { _offset: 0n, id: 'x', country: "Côte d'Ivoire", tax: '-2.56', count: 3n },
    { _offset: 1n, id: 'x', country: 'UK', tax: '0.01', count: 9n },
  ])
  const none = await archiveRelation(db, lake, stream, archive, [])
  expect(await db.query(`SELECT * FROM ${none}`)).toEqual([])
  db.close()
})

interface IdRow {
  readonly partition: number
  readonly epoch: number
  readonly kind: 'event' | 'quarantined' | 'barrier'
  readonly id: bigint | null
}

const HORIZON = 2
const ids: StreamDefinition = {
  name: 'ids',
  id: 'id',
  dedupHorizonEpochs: HORIZON,
  schema: JSON.stringify({ type: 'record', name: 'Id', fields: [{ name: 'id', type: 'long' }] }),
  fields: [{ name: 'id', kind: 'int64', nullable: false, precision: 0, scale: 0 }],
} as unknown as StreamDefinition

/** Duplicates by the rule, in plain code: `partition:offset`. */
function duplicatesOf(partitions: readonly (readonly IdRow[])[], untils: readonly number[]): string[] {
  return partitions.flatMap((rows, partition) => {
    const last = new Map<bigint, number>()
    return rows.slice(0, untils[partition]).flatMap(({ kind, id, epoch }, offset) => {
      if (kind !== 'event' || id === null) return []
      const before = last.get(id)
      last.set(id, epoch)
      return before !== undefined && before > epoch - HORIZON ? [`${partition}:${offset}`] : []
    })
  })
}

test('[L3] duplicates among integer ids are found by the rule, near and far apart, distinct or not', async () => {
  const draw = random(SEED)
  const db = await openDuckDb({ threads: 1, memoryMb: 128, temporaryDirectory: null })
  const extremes = [-(2n ** 63n), 2n ** 63n - 1n]
  for (let run = 0; run < 24; run++) {
    const distinct = run % 3 === 0
    const base = [0n, -40n, extremes[1]! - 200n, extremes[0]!][run % 4]!
    const step = run % 8 === 7 ? 1n << 40n : 1n
    let next = 0
    const partitions = [0, 1].map((partition) =>
      Array.from({ length: 30 }, (_, offset): IdRow => {
        const kind = offset % 10 === 9 ? 'barrier' : draw() < 0.1 ? 'quarantined' : 'event'
        const number = BigInt(distinct ? next++ : Math.floor(draw() * 90))
        return {
          partition,
          epoch: Math.floor(offset / 10),
          kind,
          id: kind === 'barrier' ? null : base === extremes[0] || step === 1n ? base + number : number * step,
        }
      }),
    )
    const untils = [30, run % 2 === 0 ? 30 : 20]
    const files: ArchiveFile[] = []
    for (const [partition, rows] of partitions.entries()) {
      for (const first of [0, 15]) {
        const values = rows.slice(first, first + 15).map(({ epoch, kind, id }, at) => {
          const place = `${partition}::INTEGER, ${first + at}::BIGINT, ${epoch}::BIGINT, '${kind}'`
          return `(${place}, 5::BIGINT, NULL::BIGINT, CAST(${id ?? 'NULL'} AS BIGINT))`
        })
        const temporary = await lake.temporaryPath()
        await db.run(`COPY (SELECT * FROM (VALUES ${values.join(', ')}) AS t(_partition, _offset, _epoch, _kind, _event_time, _watermark, id) ORDER BY _offset)
          TO ${sqlText(temporary)} (FORMAT parquet)`)
        const path = `ids/${run}-${partition}-${first}.parquet`
        const file = { path, ...(await lake.publishFile(temporary, path)) }
        const entry = { file, partition, first_offset: first, next_offset: first + 15 } as ArchiveEntry
        files.push({ entry, firstEpoch: first === 0 ? 0 : 1, lastEpoch: first === 0 ? 1 : 2 })
      }
    }
    const archive: ArchiveAtCut = { stream: 'ids', cut: 1, offsets: untils, watermark: null, files }
    // What was learned of the files at an earlier cut must not mislead the later one.
    const earlier = [30 - 12, 30 - 15]
    await findDuplicates(
      db,
      lake,
      ids,
      { ...archive, offsets: earlier },
      files.filter(({ entry }) => entry.first_offset < earlier[entry.partition]!),
    )
    const condition = await findDuplicates(db, lake, ids, archive, files)
    // Nothing new is found, or found anew, when asked again.
    expect(await findDuplicates(db, lake, ids, archive, files)).toBe(condition)
    const expected = duplicatesOf(partitions, untils)
    if (condition === null) expect(expected).toEqual([])
    else {
      const rows = await db.query('SELECT p, o FROM duplicates ORDER BY p, o')
      expect(rows.map(({ p, o }) => `${Number(p)}:${Number(o)}`)).toEqual(expected)
      expect(distinct).toBe(false)
    }
  }
  db.close()
})

test('[R5] an id that some writers had under another name: duplicates are found across the names', async () => {
  const db = await openDuckDb({ threads: 1, memoryMb: 128, temporaryDirectory: null })
  const record = (...fields: object[]) => JSON.stringify({ type: 'record', name: 'Id', fields })
  const today = record({ name: 'key', type: 'long', aliases: ['id'] })
  const stream = { ...ids, id: 'key', schema: today, fields: [{ ...ids.fields[0]!, name: 'key' }] }
  const writers = [
    { id: 1, schema: record({ name: 'id', type: 'long' }), columns: ['id'] },
    { id: 2, schema: today, columns: ['key'] },
  ]
  // Archived when the stream's field was `id`, with a default: rows of writer 2 have that default there.
  const values = [
    [1, 5, 'NULL'],
    [2, 0, 6],
    [2, 0, 5],
    [1, 7, 'NULL'],
  ].map(
    ([writer, id, key], at) =>
      `(0, ${at}::BIGINT, 0::BIGINT, 'event', 5::BIGINT, NULL::BIGINT, ${writer}, ${id}::BIGINT, ${key}::BIGINT)`,
  )
  const temporary = await lake.temporaryPath()
  await db.run(`COPY (SELECT * FROM (VALUES ${values.join(', ')}) AS t(_partition, _offset, _epoch, _kind, _event_time, _watermark, _schema_id, id, key))
    TO ${sqlText(temporary)} (FORMAT parquet, KV_METADATA {'${WRITERS_KEY}': ${sqlText(JSON.stringify(writers))}})`)
  const path = 'ids/renamed.parquet'
  const file = { path, ...(await lake.publishFile(temporary, path)) }
  const entry = { file, partition: 0, first_offset: 0, next_offset: 4 } as ArchiveEntry
  const files = [{ entry, firstEpoch: 0, lastEpoch: 0 }]
  const archive: ArchiveAtCut = { stream: 'ids', cut: 1, offsets: [4], watermark: null, files }
  const condition = await findDuplicates(db, lake, stream, archive, files)
  expect(condition).not.toBeNull()
  const relation = await archiveRelation(db, lake, stream, archive, files, condition)
  expect(await db.query(`SELECT _offset, key FROM ${relation} ORDER BY _offset`)).toEqual([
    { _offset: 0n, key: 5n },
    { _offset: 1n, key: 6n },
    { _offset: 3n, key: 7n },
  ])
  db.close()
})
