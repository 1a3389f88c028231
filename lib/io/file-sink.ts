/** A local file that is written from front to back: what a streaming writer needs before `Lake.publishFile`. */
import { open, rm } from 'node:fs/promises'
import { lakeError } from './lake-folder.ts'

/** A file under construction. Errors are the lake's: LAKE_DISK_FULL, LAKE_UNWRITABLE. */
export interface FileSink {
  readonly path: string
  /** Appends all of `bytes`. One call at a time. */
  write(bytes: Uint8Array): Promise<void>
  /** Ends the file; it stays. Syncing it is `publishFile`'s part. */
  close(): Promise<void>
  /** Ends and removes the file; also after an error, and more than once. */
  discard(): Promise<void>
}

/** Bytes gathered before a write call: page headers are tiny. */
const BUFFER_BYTES = 256 * 1024

/** Creates the file at `path`, which must not exist. */
export async function openFileSink(path: string): Promise<FileSink> {
  const guarded = async <T>(operation: string, work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      throw lakeError(error, operation, path)
    }
  }
  const handle = await guarded('create', () => open(path, 'wx'))
  const buffer = new Uint8Array(BUFFER_BYTES)
  let held = 0
  let open_ = true

  const writeAll = async (bytes: Uint8Array): Promise<void> => {
    for (let at = 0; at < bytes.length; ) at += (await handle.write(bytes, at, bytes.length - at)).bytesWritten
  }
  const drain = async (): Promise<void> => {
    if (held === 0) return
    const length = held
    held = 0
    await writeAll(buffer.subarray(0, length))
  }
  return {
    path,
    write: (bytes) =>
      guarded('write', async () => {
        if (held + bytes.length > BUFFER_BYTES) await drain()
        if (bytes.length >= BUFFER_BYTES) await writeAll(bytes)
        else {
          buffer.set(bytes, held)
          held += bytes.length
        }
      }),
    close: () =>
      guarded('close', async () => {
        await drain()
        open_ = false
        await handle.close()
      }),
    discard: async () => {
      if (open_) {
        open_ = false
        await handle.close().catch(() => undefined)
      }
      await rm(path, { force: true }).catch(() => undefined)
    },
  }
}
