/**
 * The archive at a cut, as batch jobs read it: the files that the cut covers, proven whole, as one DuckDB relation.
 *
 *   partition 0  [file][file][file]|            | = the cut: rows at or behind it are filtered out of the one file
 *   partition 1  [file][file  |   ]             that it goes through; later files are not read at all
 *
 * Every file's SHA-256 is checked before its first use in this process, and again when it was touched since. Files of an older definition are read as today's
 * (archive-fields.ts). Duplicates are removed by the rule of the stream: the same id earlier in the same partition in an
 * epoch greater than (own epoch - horizon).
 */
import { parseFlatSchema } from '#format/avro-schema.ts'
import { type DuckDb, sqlName, sqlText } from '#io/duckdb.ts'
import { OperatingError } from '#io/errors.ts'
import type { Lake } from '#io/ports.ts'
import type { StreamDefinition } from '#metrics/definition.ts'
import { type ArchiveEntry, type ArchiveWriter, WRITERS_KEY } from '#schemas/archive.ts'
import { type FileColumns, fieldsOf } from './archive-fields.ts'
import { sqlTypeOf } from './sql-types.ts'

/** A file of the archive with the epochs its rows may belong to, both inclusive. */
export interface ArchiveFile {
  readonly entry: ArchiveEntry
  readonly firstEpoch: number
  readonly lastEpoch: number
}

/** What a cut covers. */
export interface ArchiveAtCut {
  readonly stream: string
  readonly cut: number
  /** Exclusive bound per partition. */
  readonly offsets: readonly number[]
  /** UTC ms; null = no event yet. */
  readonly watermark: number | null
  /** Files with rows below the bounds, by partition and offset. */
  readonly files: readonly ArchiveFile[]
}

/** Files that were found to be what their manifest says, with their stamp at the time. */
const verified = new Map<string, string>()

/**
 * Checks that files are what their manifest says; each is read only once per process, as long as nobody touches it.
 * @throws OperatingError LAKE_DAMAGED naming the file
 */
export async function verifyFiles(
  lake: Lake,
  files: readonly { readonly path: string; readonly sha256: string; readonly bytes: number }[],
  signal?: AbortSignal,
): Promise<void> {
  for (const file of files) {
    const key = `${lake.root}\n${file.path}\n${file.bytes}\n${file.sha256}`
    signal?.throwIfAborted()
    const stamp = await lake.stamp(file.path)
    if (stamp !== null && verified.get(key) === stamp) continue
    const found = await lake.hash(file.path)
    if (found !== file.sha256) {
      const what = found === null ? 'is missing' : 'is not what its manifest says'
      throw new OperatingError('LAKE_DAMAGED', `${file.path} ${what}`, { path: file.path })
    }
    if (stamp !== null) verified.set(key, stamp)
  }
}

/** DuckDB's list of files. */
export const fileList = (lake: Lake, paths: readonly string[]): string =>
  `[${paths.map((path) => sqlText(`${lake.root}/${path}`)).join(', ')}]`

/** Columns of the archive that every file has, with the types a relation without files needs. */
const ENVELOPE = {
  _partition: 'INTEGER',
  _offset: 'BIGINT',
  _epoch: 'BIGINT',
  _kind: 'VARCHAR',
  _event_time: 'BIGINT',
  _watermark: 'BIGINT',
} as const

/**
 * A FROM item over exactly the rows below the cut in `files` that pass `condition`: the envelope columns that readers use
 * and every field of the stream. Files written under an older schema are read beside the others, as the schema of today.
 * @throws OperatingError DUCKDB_FAILED; SCHEMA_INCOMPATIBLE
 */
export async function archiveRelation(
  db: DuckDb,
  lake: Lake,
  stream: StreamDefinition,
  archive: ArchiveAtCut,
  files: readonly ArchiveFile[],
  condition: string | null = null,
): Promise<string> {
  const schema = parseFlatSchema(stream.schema)
  const names = schema.fields.map((field) => sqlName(field.name))
  const envelope = Object.entries(ENVELOPE)
  if (files.length === 0) {
    const columns = [
      ...envelope.map(([name, type]) => `NULL::${type} AS ${name}`),
      ...schema.fields.map((field, index) => `NULL::${sqlTypeOf(field)} AS ${names[index]!}`),
    ]
    return `(SELECT ${columns.join(', ')} WHERE false)`
  }
  const conditions = files
    .filter(({ entry }) => entry.next_offset > archive.offsets[entry.partition]!)
    .map(({ entry }) => `NOT (_partition = ${entry.partition} AND _offset >= ${archive.offsets[entry.partition]!})`)
  const where = conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`
  const parts = [...(await filesByColumns(db, lake, files))].map(([columns, paths]) => {
    const known = fieldsOf(schema, columns).map((value, index) =>
      value === names[index] ? value : `${value} AS ${names[index]!}`,
    )
    const list = [...envelope.map(([name]) => name), ...known].join(', ')
    return `SELECT ${list} FROM read_parquet(${fileList(lake, paths)}, hive_partitioning = false)${where}`
  })
  const rows = `(${parts.join(' UNION ALL ')})`
  // Outside: a file may have another column under the name of a field.
  return condition === null ? rows : `(SELECT * FROM ${rows} WHERE ${condition})`
}

/** What a file has, by its name and hash; files of one shape share one object. A file never changes. */
const knownColumns = new Map<string, FileColumns>()
const shapes = new Map<string, FileColumns>()

/** Files by what they have: columns with DuckDB's types, and writers. One group unless a schema changed. */
async function filesByColumns(
  db: DuckDb,
  lake: Lake,
  files: readonly ArchiveFile[],
): Promise<Map<FileColumns, string[]>> {
  const keyOf = ({ entry: { file } }: ArchiveFile) => `${lake.root}\n${file.path}\n${file.sha256}`
  const unknown = files.filter((file) => !knownColumns.has(keyOf(file)))
  if (unknown.length > 0) {
    const list = fileList(
      lake,
      unknown.map(({ entry }) => entry.file.path),
    )
    const columns = await textsByFile(
      db,
      `SELECT file_name, string_agg(name || ' ' || duckdb_type, chr(10) ORDER BY name) AS text FROM parquet_schema(${list})
       WHERE num_children IS NULL GROUP BY file_name`,
    )
    const writers = await textsByFile(
      db,
      `SELECT file_name, decode(value) AS text FROM parquet_kv_metadata(${list}) WHERE decode(key) = ${sqlText(WRITERS_KEY)}`,
    )
    for (const file of unknown) {
      const path = `${lake.root}/${file.entry.file.path}`
      knownColumns.set(keyOf(file), shapeOf(columns.get(path)!, writers.get(path)))
    }
  }
  const groups = new Map<FileColumns, string[]>()
  for (const file of files) {
    const columns = knownColumns.get(keyOf(file))!
    const group = groups.get(columns)
    if (group === undefined) groups.set(columns, [file.entry.file.path])
    else group.push(file.entry.file.path)
  }
  return groups
}

async function textsByFile(db: DuckDb, sql: string): Promise<ReadonlyMap<string, string>> {
  const rows = await db.query(sql)
  return new Map(rows.map((row) => [row['file_name'] as string, row['text'] as string]))
}

/** Writers in any order make the same shape. */
function shapeOf(columns: string, stated: string | undefined): FileColumns {
  const writers = stated === undefined ? null : (JSON.parse(stated) as ArchiveWriter[]).toSorted((a, b) => a.id - b.id)
  const key = `${columns}\n${JSON.stringify(writers)}`
  let shape = shapes.get(key)
  if (shape === undefined) {
    const types = columns.split('\n').map((column) => column.split(' ') as [string, string])
    shapes.set(key, (shape = { columns: new Map(types), writers }))
  }
  return shape
}

/** Files that were found free of duplicates, with the rule. */
const withoutDuplicates = new Set<string>()

/** Name of the temporary table of duplicates: `p INTEGER, o BIGINT`. */
const DUPLICATES = 'duplicates'

/** Values that a bitmap of ids spans at most: 32 MiB. */
const BITMAP_SPAN = 2 ** 28

/**
 * Finds the duplicates among the rows of `files` and keeps them in a temporary table; returns the condition that leaves
 * them out, or null when there are none. Reads the ids of those files and of the ones before them within the horizon.
 * Steps, because the first ones are cheap: a bitmap that shows that integer ids are all distinct, 64-bit hashes that occur
 * twice, then the exact rule for their rows alone.
 *
 * Whether a row is a duplicate depends on earlier offsets of its partition only, and those never change: a file that was
 * found free of duplicates stays so, and is not looked at again by this process.
 */
export async function findDuplicates(
  db: DuckDb,
  lake: Lake,
  stream: StreamDefinition,
  archive: ArchiveAtCut,
  files: readonly ArchiveFile[],
): Promise<string | null> {
  const horizon = stream.dedupHorizonEpochs
  if (horizon === null || stream.id === null || files.length === 0) return null
  const keyOf = ({ entry: { file } }: ArchiveFile) =>
    `${lake.root}\n${file.path}\n${file.sha256}\n${stream.id}\n${horizon}`
  const unknown = files.filter((file) => !withoutDuplicates.has(keyOf(file)))
  if (unknown.length === 0) return null
  const read = withHorizon(archive.files, unknown, horizon)
  const condition = await duplicatesIn(db, lake, { ...stream, id: stream.id }, archive, read, horizon)
  if (condition === null) {
    for (const file of unknown) {
      if (file.entry.next_offset <= archive.offsets[file.entry.partition]!) withoutDuplicates.add(keyOf(file))
    }
  }
  return condition
}

async function duplicatesIn(
  db: DuckDb,
  lake: Lake,
  stream: StreamDefinition & { readonly id: string },
  archive: ArchiveAtCut,
  read: readonly ArchiveFile[],
  horizon: number,
): Promise<string | null> {
  if (await hasDistinctIds(db, lake, stream, read)) return null
  const id = sqlName(stream.id)
  const events = await archiveRelation(db, lake, stream, archive, read, `_kind = 'event' AND ${id} IS NOT NULL`)
  await db.run(`CREATE OR REPLACE TEMP TABLE suspects AS SELECT DISTINCT h FROM (
    SELECT h, lag(h) OVER (ORDER BY h) AS before FROM (SELECT hash(_partition, ${id}) AS h FROM ${events})) WHERE h = before`)
  const [suspects] = await db.query('SELECT count(*) AS n FROM suspects')
  if (suspects!['n'] === 0n) return null
  await db.run(`CREATE OR REPLACE TEMP TABLE ${DUPLICATES} AS SELECT p, o FROM (
    SELECT _partition AS p, _offset AS o, _epoch AS e, lag(_epoch) OVER (PARTITION BY _partition, ${id} ORDER BY _offset) AS before
    FROM ${events} WHERE hash(_partition, ${id}) IN (SELECT h FROM suspects)) WHERE before > e - ${horizon}`)
  const [found] = await db.query(`SELECT count(*) AS n FROM ${DUPLICATES}`)
  return found!['n'] === 0n ? null : `(_partition, _offset) NOT IN (SELECT (p, o) FROM ${DUPLICATES})`
}

/**
 * Whether all ids in whole files are known to be distinct, rows that are no events or lie behind the cut included: then no
 * event is a duplicate, whatever the horizon. False also when the ids are not integers, or too far apart for a bitmap.
 */
async function hasDistinctIds(
  db: DuckDb,
  lake: Lake,
  stream: StreamDefinition,
  files: readonly ArchiveFile[],
): Promise<boolean> {
  const field = stream.fields.find(({ name }) => name === stream.id)
  if (field?.kind !== 'int64') return false
  // Only where every event has its id in the column of that name.
  const schema = parseFlatSchema(stream.schema)
  const at = schema.fields.findIndex(({ name }) => name === stream.id)
  for (const columns of (await filesByColumns(db, lake, files)).keys()) {
    const hasEvents = columns.writers?.length !== 0
    if (hasEvents && fieldsOf(schema, columns)[at] !== sqlName(field.name)) return false
  }
  const list = fileList(
    lake,
    files.map(({ entry }) => entry.file.path),
  )
  const [bounds] = await db.query(
    `SELECT count(DISTINCT file_name) AS files, min(stats_min_value::BIGINT) AS low, max(stats_max_value::BIGINT) AS high,
      bool_and(stats_null_count IS NOT DISTINCT FROM num_values OR (stats_min_value IS NOT NULL AND stats_max_value IS NOT NULL)) AS known
     FROM parquet_metadata(${list}) WHERE path_in_schema = ${sqlText(field.name)}`,
  )
  const { known, low, high } = bounds as { known: boolean | null; low: bigint | null; high: bigint | null }
  if (known !== true || Number(bounds!['files']) !== files.length || low === null || high === null) return false
  if (high - low >= BITMAP_SPAN) return false
  const id = sqlName(field.name)
  const [found] = await db.query(
    `SELECT bit_count(bitstring_agg(${id}, CAST(${low} AS BIGINT), CAST(${high} AS BIGINT))) = count(${id}) AS same
     FROM read_parquet(${list}, hive_partitioning = false)`,
  )
  return found!['same'] === true
}

/** `files` and, per partition, everything from the first epoch on that an id in them could have been seen in before. */
function withHorizon(all: readonly ArchiveFile[], files: readonly ArchiveFile[], horizon: number): ArchiveFile[] {
  const bounds = new Map<number, { fromEpoch: number; untilOffset: number }>()
  for (const { entry, firstEpoch } of files) {
    const known = bounds.get(entry.partition)
    bounds.set(entry.partition, {
      fromEpoch: Math.min(known?.fromEpoch ?? Number.POSITIVE_INFINITY, firstEpoch - horizon + 1),
      untilOffset: Math.max(known?.untilOffset ?? 0, entry.next_offset),
    })
  }
  return all.filter(({ entry, lastEpoch }) => {
    const bound = bounds.get(entry.partition)
    return bound !== undefined && lastEpoch >= bound.fromEpoch && entry.first_offset < bound.untilOffset
  })
}
