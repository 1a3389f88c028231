/**
 * A field of the stream from a file of the archive that was written under an older definition. Such a file holds the fields of its
 * day; what Avro's schema resolution does to records of an older writer is done here to its columns, so that both arms read the
 * same: names by alias, defaults for what was not there, promotions, an enum's default for symbols that are gone.
 */
import type { FlatField } from '#format/avro-schema.ts'
import { sqlName, sqlText } from '#io/duckdb.ts'
import { OperatingError } from '#io/errors.ts'
import { sqlDefault, sqlTypeOf } from './sql-types.ts'

const DECIMAL = /^DECIMAL\(\d+,(\d+)\)$/

/**
 * SQL of a field's value over a file's columns (name → DuckDB's type), in the type that the field has today.
 * @throws OperatingError SCHEMA_INCOMPATIBLE when the file's column cannot be read as the field
 */
export function readAs(field: FlatField, columns: ReadonlyMap<string, string>): string {
  const wanted = sqlTypeOf(field)
  const names = [...new Set([field.name, ...field.aliases])].filter((name) => columns.has(name))
  const fail = (what: string): never => {
    throw new OperatingError('SCHEMA_INCOMPATIBLE', `a file of the archive has ${what}`, { field: field.name })
  }
  if (names.length > 1) fail(`field ${field.name} under several names: ${names.join(', ')}`)
  const [found] = names
  if (found === undefined) return `CAST(${sqlDefault(field)} AS ${wanted})`
  const type = columns.get(found)!
  const name = sqlName(found)
  if (type !== wanted) {
    if (type === 'BIGINT' && wanted === 'DOUBLE')
      return field.avro === 'float' ? `CAST(CAST(${name} AS FLOAT) AS DOUBLE)` : `CAST(${name} AS DOUBLE)`
    if (type === 'VARCHAR' && wanted === 'BLOB') return `encode(${name})`
    if (type === 'BLOB' && wanted === 'VARCHAR') return `decode(${name})`
    const scale = DECIMAL.exec(type)?.[1]
    if (scale !== undefined && scale === DECIMAL.exec(wanted)?.[1]) return `CAST(${name} AS ${wanted})`
    return fail(`field ${found} as ${type}, which cannot be read as ${wanted}`)
  }
  if (field.enumDefault === null) return name
  const symbols = field.symbols.map(sqlText).join(', ')
  return `CASE WHEN ${name} IS NULL OR ${name} IN (${symbols}) THEN ${name} ELSE ${sqlText(field.enumDefault)} END`
}
