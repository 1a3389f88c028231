/**
 * A pool of one: lets BullMQ's PostgreSQL backend run on PGlite, which has a single session inside this process.
 *
 * Queries of all clients take turns in one mutex. A checked-out client does NOT hold it: BullMQ keeps one client out for
 * ever as its LISTEN connection. LISTEN is routed through PGlite's own subscription, because notifications that PostgreSQL
 * sends to the session reach nobody here. Nothing may run a transaction over several calls except the migrations, which run
 * before any queue exists. Durability: PGlite runs with fsync off, so it survives kill -9 and not power loss.
 * Two processes on one directory would lose writes silently: a process lock refuses the second one.
 */
import { EventEmitter } from 'node:events'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { PGlite } from '@electric-sql/pglite'
import { type PgPool, type PgPoolClient, type PgQueryResult, runMigrations } from 'bullmq'
import { OperatingError } from './errors.ts'
import { lockDirectory } from './process-lock.ts'

/** Written by initdb only: keeps the resting process at about 170 MB (the defaults need 330 MB). */
const POSTGRES_SETTINGS = ['shared_buffers=8MB', 'wal_buffers=1MB']
/**
 * V8's optimising compiler takes 500 MB for PostgreSQL's largest functions, for minutes of the process's life, to make statements
 * faster of which there are a few per second; the first compiler's code serves as well. Holds for all WebAssembly of the process.
 */
const FIRST_COMPILER_ONLY = ['--no-wasm-dynamic-tiering', '--no-wasm-tier-up']
const LISTEN = /^\s*(?:--[^\n]*\n\s*)*LISTEN\s+"?(\w+)"?/i

/** One checked-out client: an event emitter that forwards notifications of the channels it listens to. */
class PgliteClient extends EventEmitter {
  readonly #pool: PglitePool
  readonly #unlisten: (() => Promise<void>)[] = []

  constructor(pool: PglitePool) {
    super()
    this.#pool = pool
  }

  async query<R>(text: string, params?: readonly unknown[]): Promise<PgQueryResult<R>> {
    const channel = LISTEN.exec(text)?.[1]
    if (channel === undefined) return this.#pool.query<R>(text, params)
    this.#unlisten.push(await this.#pool.listen(channel, (payload) => this.emit('notification', { channel, payload })))
    return { rows: [], rowCount: 0 }
  }

  release(): void {
    this.#pool.forget(this)
    for (const unlisten of this.#unlisten.splice(0)) void unlisten().catch(() => undefined)
  }
}

/** What BullMQ takes for a `pg.Pool`. */
class PglitePool extends EventEmitter {
  /** There is no socket that could drop silently; without this BullMQ caps how long a worker may block. */
  readonly options = { keepAlive: true }
  readonly #database: PGlite
  readonly #clients = new Set<PgliteClient>()
  #tail: Promise<unknown> = Promise.resolve()
  #ended = false

  constructor(database: PGlite) {
    super()
    this.#database = database
  }

  /** Runs one statement with parameters, or a script without; one at a time over all clients. */
  query<R>(text: string, params?: readonly unknown[]): Promise<PgQueryResult<R>> {
    return this.#exclusive(async () => {
      if (this.#ended) throw new Error('the job database is closed')
      if (params !== undefined && params.length > 0) {
        const { rows, affectedRows } = await this.#database.query<R>(text, [...params])
        return { rows, rowCount: rows.length > 0 ? rows.length : (affectedRows ?? 0) }
      }
      const last = (await this.#database.exec(text)).at(-1)
      const rows = (last?.rows ?? []) as R[]
      return { rows, rowCount: rows.length > 0 ? rows.length : (last?.affectedRows ?? 0) }
    })
  }

  /** Subscribes to a channel; the returned function unsubscribes. */
  listen(channel: string, notify: (payload: string) => void): Promise<() => Promise<void>> {
    return this.#exclusive(async () => {
      const unlisten = await this.#database.listen(channel, notify)
      return () => this.#exclusive(async () => (this.#ended ? undefined : unlisten()))
    })
  }

  async connect(): Promise<PgPoolClient> {
    const client = new PgliteClient(this)
    this.#clients.add(client)
    return client as unknown as PgPoolClient
  }

  forget(client: PgliteClient): void {
    this.#clients.delete(client)
  }

  /** Releases every client, waits for the running query and closes the database. */
  async end(): Promise<void> {
    for (const client of [...this.#clients]) client.release()
    await this.#exclusive(async () => {
      if (this.#ended) return
      this.#ended = true
      await this.#database.close()
    })
  }

  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(work)
    this.#tail = result.catch(() => undefined)
    return result
  }
}

/**
 * Opens (and creates) the job database in a directory that no other process uses. `close` ends the pool and gives the
 * directory free.
 * @throws OperatingError LOG_LOCKED when another process has it open, DATA_DIR_UNWRITABLE when it cannot be written
 */
export async function openPglitePool(directory: string): Promise<{ pool: PgPool; close: () => Promise<void> }> {
  try {
    mkdirSync(directory, { recursive: true })
  } catch (error) {
    throw new OperatingError('DATA_DIR_UNWRITABLE', `cannot write ${directory}`, { path: directory }, { cause: error })
  }
  const lock = lockDirectory(directory, 'jobs')
  try {
    for (const flag of FIRST_COMPILER_ONLY) setFlagsFromString(flag)
    const database = new PGlite({ dataDir: join(directory, 'postgres'), postgresqlconf: POSTGRES_SETTINGS })
    await database.waitReady
    const pool = new PglitePool(database)
    const client = await pool.connect()
    await runMigrations(client)
    client.release()
    await pool.query('SET search_path TO "bullmq"')
    return {
      pool: pool as unknown as PgPool,
      close: async () => {
        await pool.end()
        lock.release()
      },
    }
  } catch (error) {
    lock.release()
    throw error
  }
}
