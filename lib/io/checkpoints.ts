/**
 * Checkpoints of the speed layer: what must outlive an epoch, one folder per (stream, partition).
 *
 *   <directory>/<stream>/<partition>/ids-<epoch>.bin      ids whose last occurrence lies in the epoch (int32 words), SHA-256
 *   <directory>/<stream>/<partition>/checkpoint.json      written last, by rename: names the id files it needs; then its SHA-256
 *
 * Order: id file, fsync, then the checkpoint by fsync and rename. A crash in between leaves the older checkpoint, whose
 * epoch is read again and publishes the same values. A lost folder costs a longer re-read of the log, never a number; nor does a file that is not as it was written, for a wrong id or offset
 * would count an event twice or not at all. Hashes are over the place as well: a file of another epoch or partition is no match.
 */
import { createHash } from 'node:crypto'
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'

const CHECKPOINT = 'checkpoint.json'
/** Bytes of the hash that ends every file. */
const HASH_BYTES = 32

/** What is saved besides the ids. `state` is the engine's own; the rest decides whether it may be used. */
export interface SavedCheckpoint {
  readonly format: 1
  /** Identity of the topic, and of all generations that were running: another set reads the log again. */
  readonly incarnation: string | null
  readonly generations: readonly string[]
  /** Epochs whose id files belong to it, ascending. */
  readonly epochs: readonly number[]
  readonly state: unknown
}

/** A checkpoint with its id segments. */
export interface LoadedCheckpoint {
  readonly saved: SavedCheckpoint
  readonly ids: readonly { readonly epoch: number; readonly ids: Int32Array }[]
}

/** Saves and loads checkpoints below a directory. */
export interface Checkpoints {
  /** `ids` is the segment of the epoch just sealed; older id files that `epochs` no longer names are removed. */
  save(
    stream: string,
    partition: number,
    saved: SavedCheckpoint,
    segment: { epoch: number; ids: Int32Array } | null,
  ): Promise<void>
  /** null when there is none, or a file is missing, torn or changed: the caller then reads the log again. */
  load(stream: string, partition: number): Promise<LoadedCheckpoint | null>
}

/** Hash of a file's content, and of which file it is: stream, partition, name. */
const hashOf = (place: string, content: Uint8Array): Buffer =>
  createHash('sha256').update(`${place}\n`).update(content).digest()

/** The content of a file as it was written; null when it was not written so. */
function contentOf(place: string, file: Buffer): Buffer | null {
  const content = file.subarray(0, Math.max(0, file.length - HASH_BYTES))
  return hashOf(place, content).equals(file.subarray(content.length)) ? content : null
}

async function writeDurably(path: string, place: string, content: Uint8Array): Promise<void> {
  const file = await open(`${path}.new`, 'w')
  try {
    await file.writeFile(content)
    await file.writeFile(hashOf(place, content))
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(`${path}.new`, path)
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** Checkpoints in a local folder, created when absent. */
export function createCheckpoints(directory: string): Checkpoints {
  const folderOf = (stream: string, partition: number): string => join(directory, stream, String(partition))
  const placeOf = (stream: string, partition: number, name: string): string => `${stream}/${partition}/${name}`
  return {
    async save(stream, partition, saved, segment) {
      const folder = folderOf(stream, partition)
      await mkdir(folder, { recursive: true })
      if (segment !== null) {
        const name = `ids-${segment.epoch}.bin`
        await writeDurably(
          join(folder, name),
          placeOf(stream, partition, name),
          new Uint8Array(segment.ids.buffer, segment.ids.byteOffset, segment.ids.byteLength),
        )
      }
      await writeDurably(
        join(folder, CHECKPOINT),
        placeOf(stream, partition, CHECKPOINT),
        Buffer.from(JSON.stringify(saved)),
      )
      await syncFolder(folder)
      const needed = new Set(saved.epochs.map((epoch) => `ids-${epoch}.bin`))
      for (const name of await readdir(folder)) {
        if (name.startsWith('ids-') && !needed.has(name)) await rm(join(folder, name), { force: true })
      }
    },
    async load(stream, partition) {
      const folder = folderOf(stream, partition)
      const read = async (name: string): Promise<Buffer | null> => {
        try {
          return contentOf(placeOf(stream, partition, name), await readFile(join(folder, name)))
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
          throw error
        }
      }
      const text = await read(CHECKPOINT)
      if (text === null) return null
      const saved = JSON.parse(text.toString('utf8')) as SavedCheckpoint
      const ids = []
      for (const epoch of saved.epochs) {
        const bytes = await read(`ids-${epoch}.bin`)
        if (bytes === null) return null
        ids.push({ epoch, ids: new Int32Array(new Uint8Array(bytes).buffer) })
      }
      return { saved, ids }
    },
  }
}
