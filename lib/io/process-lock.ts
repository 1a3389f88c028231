/**
 * One process per directory. The lock is an exclusive SQLite transaction on an empty file, that is an advisory lock of
 * the operating system: it goes away with its process however that dies, so there is no stale lock to clear, and a
 * process id that was used again (containers!) cannot pass for the owner. The owner's pid stands beside it for people.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { OperatingError } from '#io/errors.ts'

const SQLITE_BUSY = 5

/** A held lock. */
export interface ProcessLock {
  release(): void
}

/**
 * Locks `<directory>/<name>.lock` until `release` or the end of the process. The directory must exist.
 * @throws OperatingError LOG_LOCKED when another process, or another owner in this one, holds it
 */
export function lockDirectory(directory: string, name: string): ProcessLock {
  const path = join(directory, `${name}.lock`)
  const pidPath = join(directory, `${name}.pid`)
  const lock = new DatabaseSync(path, { timeout: 0 })
  try {
    lock.exec('BEGIN EXCLUSIVE')
  } catch (error) {
    lock.close()
    if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) throw error
    const pid = readPid(pidPath)
    const owner = pid === null ? 'another process' : `process ${pid}`
    throw new OperatingError('LOG_LOCKED', `${directory} is in use by ${owner}`, { path, pid }, { cause: error })
  }
  writeFileSync(pidPath, String(process.pid))
  return { release: () => lock.close() }
}

function readPid(path: string): number | null {
  try {
    return Number.parseInt(readFileSync(path, 'utf8'), 10) || null
  } catch {
    return null
  }
}
