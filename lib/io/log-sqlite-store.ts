/**
 * The SQLite file under the embedded log: its schema, its settings, and one way to be its only writer for a moment.
 */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { assert } from '#core/assert.ts'
import { OperatingError } from '#io/errors.ts'

/** COMMIT itself failed: what was written may or may not come back after a crash. */
export class CommitFailed extends Error {
  constructor(cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause })
  }
}

/** One thread's connection. */
export interface LogStore {
  readonly db: DatabaseSync
  /**
   * Runs `work` in a transaction as the only writer. SQLite's own busy wait would block the event loop for as long as
   * another thread's fsync takes; this one tries again a millisecond later instead.
   * @throws OperatingError LOG_UNREACHABLE, LAKE_DISK_FULL: nothing was written. @throws CommitFailed: nobody knows
   */
  readonly exclusively: <T>(operation: string, work: () => T) => Promise<T>
  close(): void
}

/** How long a writer waits for the other threads' transactions. */
const BUSY_MS_MAX = 30_000
/**
 * Bytes of the file that each connection maps. Mapped pages count as resident memory, once per connection, so a large mapping
 * lets the process grow with the log; what lies beyond is read into the caches below.
 */
const MAPPED_BYTES = 32 * 1024 * 1024
const SQLITE_BUSY = 5
const SQLITE_FULL = 13

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS topics (
    id INTEGER PRIMARY KEY, topic TEXT NOT NULL UNIQUE, incarnation TEXT NOT NULL,
    retention_ms INTEGER, cleanup TEXT NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS partitions (
    topic_id INTEGER NOT NULL, partition INTEGER NOT NULL,
    start_offset INTEGER NOT NULL DEFAULT 0, next_offset INTEGER NOT NULL DEFAULT 0, arrival_ms INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (topic_id, partition)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS batches (
    topic_id INTEGER NOT NULL, partition INTEGER NOT NULL, base_offset INTEGER NOT NULL,
    last_offset INTEGER NOT NULL, arrival_ms INTEGER NOT NULL, bytes BLOB NOT NULL,
    PRIMARY KEY (topic_id, partition, base_offset)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS positions (
    owner TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, next_offset INTEGER NOT NULL,
    PRIMARY KEY (owner, topic, partition)
  ) STRICT, WITHOUT ROWID;
`

/** Opens one thread's connection. It may block while it sets up; afterwards busy waits are done by `exclusively`, off the event loop. */
function connect(directory: string, durability: 'fsync' | 'os'): DatabaseSync {
  const db = new DatabaseSync(join(directory, 'log.sqlite'), { timeout: BUSY_MS_MAX })
  db.exec(`
    PRAGMA page_size = 16384;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = ${durability === 'fsync' ? 'FULL' : 'NORMAL'};
    PRAGMA wal_autocheckpoint = 2000;
    PRAGMA journal_size_limit = 67108864;
    PRAGMA mmap_size = ${MAPPED_BYTES};
    PRAGMA cache_size = -16384;
  `)
  db.exec(SCHEMA)
  db.exec('PRAGMA busy_timeout = 0')
  return db
}

const errorCode = (error: unknown): number => ((error as { errcode?: number } | null)?.errcode ?? 0) & 0xff

function storageError(error: unknown, operation: string): OperatingError {
  const message = `the log cannot ${operation}: ${error instanceof Error ? error.message : String(error)}`
  const code = errorCode(error) === SQLITE_FULL ? 'LAKE_DISK_FULL' : 'LOG_UNREACHABLE'
  return new OperatingError(code, message, { operation }, { cause: error })
}

/** Opens the file of a directory that exists, creating and migrating it as needed. @throws Error of SQLite */
export function openStore(directory: string, durability: 'fsync' | 'os'): LogStore {
  const db = connect(directory, durability)
  let closed = false

  async function exclusively<T>(operation: string, work: () => T): Promise<T> {
    const deadline = performance.now() + BUSY_MS_MAX
    for (;;) {
      assert(!closed, 'the log is used after close')
      try {
        db.exec('BEGIN IMMEDIATE')
        break
      } catch (error) {
        if (errorCode(error) !== SQLITE_BUSY || performance.now() > deadline) throw storageError(error, operation)
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
    }
    let result: T
    try {
      result = work()
    } catch (error) {
      rollBack()
      throw error instanceof OperatingError ? error : storageError(error, operation)
    }
    try {
      db.exec('COMMIT')
    } catch (error) {
      rollBack()
      throw new CommitFailed(error)
    }
    return result
  }

  function rollBack(): void {
    if (db.isTransaction) db.exec('ROLLBACK')
  }

  return {
    db,
    exclusively,
    close() {
      closed = true
      db.close()
    },
  }
}
