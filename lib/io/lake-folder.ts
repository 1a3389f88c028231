/**
 * The lake in a local or shared folder. Nothing is half-visible: files and entries come by link(2) from a synced temporary
 * file of the same file system, never over another file, and are durable (fsync of the file, then of the folder) before the
 * call returns. An fsync that fails is fatal for its file and is never repeated: the kernel may have dropped the pages.
 *
 *   <root>/.tmp/<host>-<pid>-<start>-<n>     files under construction; those of dead processes are swept at opening
 *   <root>/<path>                            immutable files and entries
 */
import { createHash, randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { link, open, readdir, readFile, rm, stat, unlink } from 'node:fs/promises'
import { hostname } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { OperatingError } from './errors.ts'
import { failpoint } from './failpoints.ts'
import { makeFolders } from './make-folders.ts'
import type { Lake } from './ports.ts'

const TEMPORARY = '.tmp'
const FULL = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])

/** Turns a file system error into the lake's; `path` is relative. */
export function lakeError(error: unknown, operation: string, path: string): OperatingError {
  if (error instanceof OperatingError) return error
  const code = (error as NodeJS.ErrnoException | null)?.code ?? ''
  const message = error instanceof Error ? error.message : String(error)
  const context = { operation, path }
  if (FULL.has(code)) return new OperatingError('LAKE_DISK_FULL', message, context, { cause: error })
  return new OperatingError('LAKE_UNWRITABLE', message, context, { cause: error })
}

const isCode = (error: unknown, ...codes: string[]): boolean =>
  codes.includes((error as NodeJS.ErrnoException | null)?.code ?? '')

/** Refuses what could leave the root. Paths are ours, never a request's; this is the second line of defence. */
function checkPath(path: string): string {
  const ok =
    path !== '' && path.split('/').every((part) => part !== '' && part !== '.' && part !== '..') && !path.includes('\0')
  if (!ok) throw new OperatingError('LAKE_UNWRITABLE', `not a lake path: ${JSON.stringify(path)}`, { path })
  return path
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Makes a folder and its parents, durably: every new name is synced in its parent. */
async function makeFolder(folder: string): Promise<void> {
  const first = await makeFolders(folder)
  if (first === undefined) return
  for (let made = folder; made.length >= first.length; made = dirname(made)) await syncFolder(dirname(made))
}

/** SHA-256 (hex) of a local file, streamed. */
async function hashFile(path: string): Promise<{ sha256: string; bytes: number }> {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of createReadStream(path, { highWaterMark: 256 * 1024 }) as AsyncIterable<Buffer>) {
    hash.update(chunk)
    bytes += chunk.length
  }
  return { sha256: hash.digest('hex'), bytes }
}

/** Whether a temporary file's writer is certainly gone. Files of other hosts are left alone: they may be alive. */
function isOrphan(name: string, host: string, start: string): boolean {
  const match = /^(.*)-(\d+)-([0-9a-f]+)-(\d+)$/.exec(name)
  if (match === null || match[1] !== host || match[3] === start) return false
  const pid = Number(match[2])
  if (pid === process.pid) return true // an earlier process of the same number, as in a restarted container
  try {
    process.kill(pid, 0)
    return false
  } catch (error) {
    return isCode(error, 'ESRCH')
  }
}

/**
 * Opens the lake in `root`, making the folder, and sweeps temporary files that dead processes of this host left.
 * @throws OperatingError LAKE_UNWRITABLE, LAKE_DISK_FULL
 */
export async function openLakeFolder(root: string): Promise<Lake> {
  const base = resolve(root)
  const host = hostname()
  const start = randomBytes(6).toString('hex')
  let made = 0

  const temporaryPath = (): string => join(base, TEMPORARY, `${host}-${process.pid}-${start}-${++made}`)
  const guarded = async <T>(operation: string, path: string, work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      throw lakeError(error, operation, path)
    }
  }

  await guarded('open', base, async () => {
    await makeFolder(join(base, TEMPORARY))
    for (const name of await readdir(join(base, TEMPORARY))) {
      if (isOrphan(name, host, start)) await rm(join(base, TEMPORARY, name), { force: true })
    }
    // Finds a read-only folder now, not at the first file.
    const probe = temporaryPath()
    await (await open(probe, 'wx')).close()
    await unlink(probe)
  })

  const lake: Lake = {
    root: base,
    temporaryPath: async () => temporaryPath(),
    publishFile: (temporary, path) =>
      guarded('publish', path, async () => {
        const target = join(base, checkPath(path))
        failpoint('lake.written')
        const handle = await open(temporary, 'r+')
        try {
          await handle.sync()
        } finally {
          await handle.close()
        }
        failpoint('lake.synced')
        const made = await hashFile(temporary)
        await makeFolder(dirname(target))
        try {
          // Not rename(2): that would overwrite what another writer has just published under this name.
          await link(temporary, target)
        } catch (error) {
          if (!isCode(error, 'EEXIST')) throw error
          // A crash between this step and the manifest entry leaves such a file behind; the same bytes again are no news.
          const there = await hashFile(target)
          if (there.sha256 !== made.sha256) {
            throw new OperatingError('LAKE_DAMAGED', `${path} exists with other content`, {
              path,
              sha256: there.sha256,
            })
          }
        }
        await unlink(temporary)
        await syncFolder(dirname(target))
        failpoint('lake.published')
        return made
      }),
    createIfAbsent: (path, content) =>
      guarded('create', path, async () => {
        const target = join(base, checkPath(path))
        const temporary = temporaryPath()
        await makeFolder(dirname(target))
        try {
          const handle = await open(temporary, 'wx')
          try {
            await handle.writeFile(content)
            await handle.sync()
          } finally {
            await handle.close()
          }
          failpoint('lake.entry-written')
          try {
            await link(temporary, target)
          } catch (error) {
            if (isCode(error, 'EEXIST')) return false
            throw error
          }
          await syncFolder(dirname(target))
          failpoint('lake.entry-linked')
          return true
        } finally {
          await rm(temporary, { force: true })
        }
      }),
    read: (path) =>
      guarded('read', path, () =>
        readFile(join(base, checkPath(path))).catch((error) =>
          isCode(error, 'ENOENT', 'ENOTDIR') ? null : Promise.reject(error),
        ),
      ),
    hash: (path) =>
      guarded('hash', path, async () => {
        try {
          return (await hashFile(join(base, checkPath(path)))).sha256
        } catch (error) {
          if (isCode(error, 'ENOENT', 'ENOTDIR')) return null
          throw error
        }
      }),
    stamp: (path) =>
      guarded('stamp', path, async () => {
        try {
          const { ino, size, mtimeNs, ctimeNs } = await stat(join(base, checkPath(path)), { bigint: true })
          return `${ino}.${size}.${mtimeNs}.${ctimeNs}`
        } catch (error) {
          if (isCode(error, 'ENOENT', 'ENOTDIR')) return null
          throw error
        }
      }),
    list: (prefix) =>
      guarded('list', prefix, async () => {
        const folder = prefix.replace(/\/+$/, '')
        const from = folder === '' ? base : join(base, checkPath(folder))
        let found: { name: string; parentPath: string; isFile(): boolean }[]
        try {
          found = await readdir(from, { recursive: true, withFileTypes: true })
        } catch (error) {
          if (isCode(error, 'ENOENT', 'ENOTDIR')) return []
          throw error
        }
        return found
          .filter((entry) => entry.isFile())
          .map((entry) =>
            join(entry.parentPath, entry.name)
              .slice(base.length + 1)
              .replaceAll('\\', '/'),
          )
          .filter((path) => !path.startsWith(`${TEMPORARY}/`))
          .sort()
      }),
    remove: (path) => guarded('remove', path, () => rm(join(base, checkPath(path)), { force: true })),
  }
  return lake
}
