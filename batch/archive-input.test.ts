import { afterAll, expect, test } from 'vitest'
import { openDuckDb, sqlText } from '#io/duckdb.ts'
import type { StreamDefinition } from '#metrics/definition.ts'
import type { ArchiveEntry } from '#schemas/archive.ts'
import { createMemoryLake } from '#testkit/lake-memory.ts'
import { loadShop } from '#testkit/small-shop.ts'
import { type ArchiveAtCut, type ArchiveFile, archiveRelation, verifyFiles } from './archive-input.ts'

const lake = createMemoryLake()
afterAll(() => lake.dispose())

test('[L2] a file that was written before a field existed is read with the default of the schema', async () => {
  const db = await openDuckDb({ threads: 1, memoryMb: 128, temporaryDirectory: null })
  const [shop] = (await loadShop()).streams
  const schema = JSON.parse(shop!.schema)
  schema.fields.push(
    { name: 'country', type: 'string', default: "Côte d'Ivoire" },
    { name: 'tax', type: { type: 'bytes', logicalType: 'decimal', precision: 12, scale: 2 }, default: '\u00ff\u0000' },
    { name: 'count', type: 'int', default: 3 },
  )
  const stream: StreamDefinition = {
    ...shop!,
    schema: JSON.stringify(schema),
    fields: [
      ...shop!.fields,
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
