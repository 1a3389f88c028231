/**
 * DuckDB: runs SQL. Memory, threads and the spill folder are always set; extensions are never fetched.
 * int64, HUGEINT and counts arrive as `bigint`, decimals as `{ value: bigint, scale }`; no converter touches a sum.
 */
import { type DuckDBConnection, type DuckDBDecimalValue, DuckDBInstance } from '@duckdb/node-api'
import { OperatingError } from './errors.ts'

/** One cell: exact where SQL is exact. Decimals are DuckDBDecimalValue (`value`, `scale`). */
export type Cell = bigint | number | string | boolean | null | DuckDBDecimalValue | Uint8Array
/** One row by column name. */
export type Row = Readonly<Record<string, Cell>>

/** A database: in memory, with explicit limits. One connection; queries run off the event loop, one after another. */
export interface DuckDb {
  /** Runs one statement or several; rows of the last one. @throws OperatingError DUCKDB_FAILED */
  query(sql: string): Promise<Row[]>
  /** Runs statements for their effect. @throws OperatingError DUCKDB_FAILED */
  run(sql: string): Promise<void>
  /** The connection itself, for chunked reads and appenders. */
  readonly connection: DuckDBConnection
  /** Interrupts the running statement. */
  interrupt(): void
  close(): void
}

/** Opens an in-memory database. `temporaryDirectory` is where it may spill; null forbids spilling. */
export async function openDuckDb(options: {
  threads: number
  memoryMb: number
  temporaryDirectory: string | null
}): Promise<DuckDb> {
  const instance = await DuckDBInstance.create(':memory:', {
    threads: String(options.threads),
    memory_limit: `${options.memoryMb}MB`,
    preserve_insertion_order: 'false',
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false',
    ...(options.temporaryDirectory === null
      ? { max_temp_directory_size: '0KB' }
      : { temp_directory: options.temporaryDirectory }),
  })
  const connection = await instance.connect()
  await connection.run("SET TimeZone = 'UTC'")
  const failed = (error: unknown, sql: string) =>
    new OperatingError(
      'DUCKDB_FAILED',
      error instanceof Error ? error.message : String(error),
      { sql: sql.slice(0, 400) },
      { cause: error },
    )
  return {
    connection,
    async query(sql) {
      try {
        const reader = await connection.runAndReadAll(sql)
        return reader.getRowObjects() as unknown as Row[]
      } catch (error) {
        throw failed(error, sql)
      }
    },
    async run(sql) {
      try {
        await connection.run(sql)
      } catch (error) {
        throw failed(error, sql)
      }
    },
    interrupt() {
      connection.interrupt()
    },
    close() {
      connection.closeSync()
      instance.closeSync()
    },
  }
}

/** A SQL string literal. */
export const sqlText = (text: string): string => `'${text.replaceAll("'", "''")}'`
/** A quoted SQL identifier. */
export const sqlName = (name: string): string => `"${name.replaceAll('"', '""')}"`
