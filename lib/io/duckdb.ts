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

/** Limits of a database. `temporaryDirectory` is where it may spill; null forbids spilling. */
export interface DuckDbLimits {
  readonly threads: number
  readonly memoryMb: number
  readonly temporaryDirectory: string | null
}

/** Opens an in-memory database of its own. */
export async function openDuckDb(limits: DuckDbLimits): Promise<DuckDb> {
  const instance = await createInstance(limits)
  return connect(instance, () => instance.closeSync())
}

/**
 * Opens connections to one database, so that its limits hold for all of them together, however many are open. It is made for the
 * first and closed after the last, which gives its memory back. Temporary tables are a connection's own.
 */
export function shareDuckDb(limits: DuckDbLimits): () => Promise<DuckDb> {
  let shared: Promise<DuckDBInstance> | null = null
  let open = 0
  const leave = async (): Promise<void> => {
    open--
    if (open > 0 || shared === null) return
    const last = shared
    shared = null
    await last.then(
      (instance) => instance.closeSync(),
      () => undefined,
    )
  }
  return async () => {
    open++
    shared ??= createInstance(limits)
    try {
      return await connect(await shared, () => void leave())
    } catch (error) {
      await leave()
      throw error
    }
  }
}

function createInstance(options: DuckDbLimits): Promise<DuckDBInstance> {
  return DuckDBInstance.create(':memory:', {
    threads: String(options.threads),
    memory_limit: `${options.memoryMb}MB`,
    preserve_insertion_order: 'false',
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false',
    enable_external_file_cache: 'false',
    allocator_flush_threshold: '16MB',
    allocator_bulk_deallocation_flush_threshold: '16MB',
    allocator_background_threads: 'true',
    // Left alone it is `.tmp` of the working directory, and a size of zero means no bound; only an empty name forbids spilling.
    temp_directory: options.temporaryDirectory ?? '',
  })
}

async function connect(instance: DuckDBInstance, release: () => void): Promise<DuckDb> {
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
      release()
    },
  }
}

/** A SQL string literal. */
export const sqlText = (text: string): string => `'${text.replaceAll("'", "''")}'`
/** A quoted SQL identifier. */
export const sqlName = (name: string): string => `"${name.replaceAll('"', '""')}"`
