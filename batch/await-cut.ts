/**
 * Waiting for a cut: puts a barrier when none is given and looks at the lake's manifests until every partition has
 * archived it. Never guesses: a cut is there when the manifests say so.
 */
import { cutOffsets, filesCovering, readArchive, watermarkAt } from '#io/archive-reader.ts'
import { OperatingError } from '#io/errors.ts'
import type { JobContext } from '#io/ports.ts'
import type { StreamDefinition } from '#metrics/definition.ts'
import type { ArchiveAtCut, ArchiveFile } from './archive-input.ts'
import type { BatchDeps } from './deps.ts'

const POLL_MS = { first: 50, most: 1_000 }

/**
 * The archive at `cut` (null: at a barrier that is put now), once it covers it.
 * @throws OperatingError ARCHIVE_BEHIND when it does not within `deps.waitMs`; LAKE_DAMAGED
 */
export async function awaitCut(
  deps: Pick<BatchDeps, 'lake' | 'clock' | 'putBarrier' | 'waitMs'>,
  stream: StreamDefinition,
  cut: number | null,
  job: JobContext,
): Promise<ArchiveAtCut> {
  const id = cut ?? (await deps.putBarrier(stream.name)).id
  const endMs = deps.clock.monotonic() + deps.waitMs
  for (let waitMs = POLL_MS.first; ; waitMs = Math.min(POLL_MS.most, waitMs * 2)) {
    job.signal.throwIfAborted()
    const archive = await archiveAt(deps.lake, stream.name, id)
    if (archive !== null) return archive
    if (deps.clock.monotonic() >= endMs) {
      throw new OperatingError('ARCHIVE_BEHIND', `the archive of ${stream.name} has not reached cut ${id}`, {
        stream: stream.name,
        cut: id,
      })
    }
    await job.progress(0)
    await deps.clock.sleep(waitMs, job.signal)
  }
}

/** The archive at a cut, or null while it does not cover it. @throws OperatingError LAKE_DAMAGED */
export async function archiveAt(lake: BatchDeps['lake'], stream: string, cut: number): Promise<ArchiveAtCut | null> {
  const entries = await readArchive(lake, stream)
  const offsets = cutOffsets(entries, cut)
  if (offsets === null) return null
  const covering = new Set(filesCovering(entries, offsets).map((file) => file.path))
  const files: ArchiveFile[] = []
  for (const partition of entries) {
    let firstEpoch = 0
    for (const entry of partition) {
      if (covering.has(entry.file.path)) files.push({ entry, firstEpoch, lastEpoch: entry.last_barrier })
      firstEpoch = entry.last_barrier
    }
  }
  return { stream, cut, offsets, watermark: watermarkAt(entries, cut), files }
}
