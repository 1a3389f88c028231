/**
 * Checkpoints of the speed layer: what must outlive an epoch, one folder per (stream, partition).
 *
 *   <directory>/<stream>/<partition>/ids-<epoch>.bin      ids whose last occurrence lies in the epoch (int32 words)
 *   <directory>/<stream>/<partition>/checkpoint.json      written last, by rename: names the id files it needs
 *
 * Order: id file, fsync, then the checkpoint by fsync and rename. A crash in between leaves the older checkpoint, whose
 * epoch is read again and publishes the same values. A lost folder costs a longer re-read of the log, never a number.
 */
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'

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
  /** null when there is none or a file it names is missing or torn: the caller then reads the log again. */
  load(stream: string, partition: number): Promise<LoadedCheckpoint | null>
}

async function writeDurably(path: string, content: Uint8Array): Promise<void> {
  const file = await open(`${path}.new`, 'w')
  try {
    await file.writeFile(content)
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
  return {
    async save(stream, partition, saved, segment) {
      const folder = folderOf(stream, partition)
      await mkdir(folder, { recursive: true })
      if (segment !== null) {
        await writeDurably(
          join(folder, `ids-${segment.epoch}.bin`),
          new Uint8Array(segment.ids.buffer, segment.ids.byteOffset, segment.ids.byteLength),
        )
      }
      await writeDurably(join(folder, 'checkpoint.json'), Buffer.from(JSON.stringify(saved)))
      await syncFolder(folder)
      const needed = new Set(saved.epochs.map((epoch) => `ids-${epoch}.bin`))
      for (const name of await readdir(folder)) {
        if (name.startsWith('ids-') && !needed.has(name)) await rm(join(folder, name), { force: true })
      }
    },
    async load(stream, partition) {
      const folder = folderOf(stream, partition)
      try {
        const saved = JSON.parse(await readFile(join(folder, 'checkpoint.json'), 'utf8')) as SavedCheckpoint
        if (saved.format !== 1) return null
        const ids = []
        for (const epoch of saved.epochs) {
          const bytes = await readFile(join(folder, `ids-${epoch}.bin`))
          if (bytes.byteLength % 4 !== 0) return null
          ids.push({ epoch, ids: new Int32Array(new Uint8Array(bytes).buffer) })
        }
        return { saved, ids }
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT' || error instanceof SyntaxError) return null
        throw error
      }
    },
  }
}
