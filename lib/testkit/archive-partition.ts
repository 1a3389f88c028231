/** One partition through its archiver, without a log: batches in, entries of the manifest and dead letters out. */
import type { DeadLetter } from '#format/dead-letter.ts'
import { encodeBatch, type RecordInput, readHeader, stampBatch } from '#format/record-batch.ts'
import type { Lake, Registry } from '#io/ports.ts'
import type { StreamDefinition } from '#metrics/definition.ts'
import type { ArchiveEntry } from '#schemas/archive.ts'
import { openPartition } from '../../services/archive/partition.ts'
import { createWriters } from '../../services/archive/writers.ts'

/** Record batches that follow each other from offset 0, one per list of records. */
export function batchesOf(records: readonly (readonly RecordInput[])[]): Uint8Array[] {
  let next = 0
  return records.map((list) => {
    const bytes = encodeBatch(list, 1_000)
    stampBatch(bytes, next, 1_000)
    next += list.length
    return bytes
  })
}

/** What became of the batches: the files in order, and the dead letters. */
export interface Archived {
  readonly entries: readonly ArchiveEntry[]
  readonly letters: readonly Omit<DeadLetter, 'topic' | 'partition' | 'sha256'>[]
}

/** Archives the batches as partition 0 of the stream and closes its file; `fileRows` (default: no bound) ends one before. */
export async function archivePartition(
  deps: { readonly lake: Lake; readonly registry: Registry; readonly stream: StreamDefinition },
  batches: readonly Uint8Array[],
  fileRows = 1e6,
): Promise<Archived> {
  const letters: Archived['letters'][number][] = []
  const entries: ArchiveEntry[] = []
  const partition = await openPartition({
    lake: deps.lake,
    stream: deps.stream,
    partition: 0,
    start: 0,
    incarnation: null,
    writers: createWriters(deps.stream, deps.registry),
    letters: {
      full: false,
      add: (letter) => void letters.push(letter),
      flush: async () => undefined,
      forget: () => undefined,
    },
    policy: { rows: fileRows, bytes: 1e9, intervalMs: 1e9 },
    onEntry: (entry) => void entries.push(entry),
  })
  for (const bytes of batches) {
    const { baseOffset, lastOffset } = readHeader(bytes)
    await partition.take({ partition: 0, baseOffset, lastOffset, bytes })
  }
  await partition.closeFile()
  return { entries, letters }
}
