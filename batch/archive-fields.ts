/**
 * The stream's fields of today from a file of the archive, as SQL over its columns: Avro's schema resolution, done to columns.
 *
 * A file tells which writers its events are of and where each of their fields stands as it was written (schemas/archive.ts). Per
 * writer the same resolution as the projector's decides (lib/format/avro-resolution.ts), so both arms read the same: names by alias,
 * defaults for what was not written, promotions, an enum's default for symbols that are gone. What the stream's schema was when
 * the file was written does not matter. Files that are older than that knowledge hold the fields of their day, and are read by
 * names and types alone.
 */
import { type Constant, type Resolution, resolve, SchemaMismatch, type Source } from '#format/avro-resolution.ts'
import { type FlatField, type FlatSchema, parseFlatSchema } from '#format/avro-schema.ts'
import { sqlName, sqlText } from '#io/duckdb.ts'
import { OperatingError } from '#io/errors.ts'
import type { ArchiveWriter } from '#schemas/archive.ts'
import { sqlTypeOf } from './sql-types.ts'

/** What a file has: DuckDB's type by the column's name, and its writers; null when the file is too old to tell. */
export interface FileColumns {
  readonly columns: ReadonlyMap<string, string>
  readonly writers: readonly ArchiveWriter[] | null
}

/**
 * SQL of each of the schema's fields for events of a file, in the field's type of today; what it gives for other rows is
 * of no meaning.
 * @throws OperatingError SCHEMA_INCOMPATIBLE when a file cannot be read as the schema
 */
export function fieldsOf(schema: FlatSchema, { columns, writers }: FileColumns): string[] {
  if (writers === null) return schema.fields.map((field) => readByName(field, columns))
  const read = writers.map((writer) => ({ id: writer.id, values: readAsWriter(schema, writer, columns) }))
  return schema.fields.map((field, index) => {
    const values = read.map((writer) => writer.values[index]!)
    const [first] = values
    if (first === undefined) return `CAST(NULL AS ${sqlTypeOf(field)})`
    if (values.every((value) => value === first)) return first
    return `CASE _schema_id ${read.map(({ id }, at) => `WHEN ${id} THEN ${values[at]!}`).join(' ')} END`
  })
}

const incompatible = (message: string, context: { field?: string; schema?: number }): never => {
  throw new OperatingError('SCHEMA_INCOMPATIBLE', `a file of the archive has ${message}`, context)
}

function readAsWriter(schema: FlatSchema, writer: ArchiveWriter, columns: ReadonlyMap<string, string>): string[] {
  const written = parseFlatSchema(writer.schema)
  let resolution: Resolution
  try {
    resolution = resolve(written, schema)
  } catch (error) {
    if (!(error instanceof SchemaMismatch)) throw error
    return incompatible(`events of schema ${writer.id}, which cannot be read as today's: ${error.message}`, {
      field: error.path,
      schema: writer.id,
    })
  }
  return schema.fields.map((field, index) => {
    const source = resolution.sources[index]!
    if (source.field < 0) return constantOf(field, source.constant)
    const column = writer.columns[source.field]!
    return cellOf(field, column, columns.get(column)!, symbolsOf(source, written.fields[source.field]!))
  })
}

/** The writer's symbols that are read as others. */
function symbolsOf({ symbols }: Source, from: FlatField): readonly (readonly [string, string])[] {
  if (symbols === null) return []
  return from.symbols.map((symbol, index) => [symbol, symbols[index]!] as const).filter(([a, b]) => a !== b)
}

const DECIMAL = /^DECIMAL\(\d+,(\d+)\)$/

/** A column's value, which has some other type perhaps, as the field; `symbols`: those that are read as others. */
function cellOf(
  field: FlatField,
  column: string,
  type: string,
  symbols: readonly (readonly [string, string])[],
): string {
  const wanted = sqlTypeOf(field)
  const name = sqlName(column)
  if (wanted === 'DOUBLE' && (type === 'BIGINT' || type === 'DOUBLE')) {
    const double = type === 'DOUBLE' ? name : `CAST(${name} AS DOUBLE)`
    return field.avro === 'float' ? `CAST(CAST(${double} AS FLOAT) AS DOUBLE)` : double
  }
  if (type === wanted) {
    if (symbols.length === 0) return name
    const cases = symbols.map(([from, into]) => `WHEN ${sqlText(from)} THEN ${sqlText(into)}`)
    return `CASE ${name} ${cases.join(' ')} ELSE ${name} END`
  }
  // An int that the schema of the day read as a double.
  if (type === 'DOUBLE' && wanted === 'BIGINT') return `CAST(${name} AS BIGINT)`
  if (type === 'VARCHAR' && wanted === 'BLOB') return `encode(${name})`
  if (type === 'BLOB' && wanted === 'VARCHAR') return `decode(${name})`
  const scale = DECIMAL.exec(type)?.[1]
  if (scale !== undefined && scale === DECIMAL.exec(wanted)?.[1]) return `CAST(${name} AS ${wanted})`
  return incompatible(`field ${column} as ${type}, which cannot be read as ${wanted}`, { field: field.name })
}

/** A field of a file that does not tell its writers. */
function readByName(field: FlatField, columns: ReadonlyMap<string, string>): string {
  const names = [...new Set([field.name, ...field.aliases])].filter((name) => columns.has(name))
  if (names.length > 1)
    incompatible(`field ${field.name} under several names: ${names.join(', ')}`, { field: field.name })
  const [found] = names
  if (found === undefined) return constantOf(field, defaultOf(field))
  const type = columns.get(found)!
  if (type === 'DOUBLE' && sqlTypeOf(field) === 'BIGINT')
    incompatible(`field ${found} as DOUBLE, which cannot be read as BIGINT`, { field: field.name })
  const value = cellOf(field, found, type, [])
  if (field.enumDefault === null) return value
  const symbols = field.symbols.map(sqlText).join(', ')
  return `CASE WHEN ${value} IS NULL OR ${value} IN (${symbols}) THEN ${value} ELSE ${sqlText(field.enumDefault)} END`
}

/** What a reader has for a writer without the field; null without a default. */
function defaultOf(field: FlatField): Constant {
  if (!field.hasDefault) return null
  return resolve({ name: '', fields: [] }, { name: '', fields: [field] }).sources[0]!.constant
}

/** A default as SQL. As text, which DuckDB reads exactly. */
function constantOf(field: FlatField, constant: Constant): string {
  const type = sqlTypeOf(field)
  if (constant === null) return `CAST(NULL AS ${type})`
  if (constant instanceof Uint8Array) {
    if (field.kind === 'string') return sqlText(new TextDecoder('utf-8', { ignoreBOM: true }).decode(constant))
    return `'${Array.from(constant, (byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')}'::BLOB`
  }
  // A decimal's default is its unscaled integer.
  const shift = field.kind === 'decimal' ? `e-${field.scale}` : ''
  return `CAST('${constant}${shift}' AS ${type})`
}
