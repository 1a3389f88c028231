/** A file under construction, what its manifest entry will say, and the durable steps that make it part of the archive. */
import type { PartitionClock } from '#core/watermark.ts'
import { archiveFile } from '#io/archive-reader.ts'
import { classify } from '#io/errors.ts'
import { failpoint } from '#io/failpoints.ts'
import { openFileSink } from '#io/file-sink.ts'
import { appendEntry, type Chain, nextOf } from '#io/manifest.ts'
import type { Lake } from '#io/ports.ts'
import type { StreamDefinition } from '#metrics/definition.ts'
import type { ArchivedBarrier, ArchiveEntry } from '#schemas/archive.ts'
import { ArchiveRows } from './rows.ts'

/** Names tried when a dead writer left another file under the range's name. */
const NAMES_MAX = 9

/** Rows so far and their summary. */
export interface OpenFile {
  readonly stream: string
  readonly partition: number
  readonly first: number
  /** Arrival of its first record, UTC ms. */
  readonly openedMs: number
  readonly rows: ArchiveRows
  readonly temporary: string
  readonly barriers: ArchivedBarrier[]
  events: number
  dead: number
  quarantined: number
  eventTimeMin: number
  eventTimeMax: number
  /** Counts rows [from, until) as events and widens the bounds. */
  noteEvents(eventTimes: Float64Array, from: number, until: number): void
  /** Writes the footer; the temporary file is then complete. */
  finish(): Promise<void>
  /** Removes the temporary file; fine at any time. */
  discard(): Promise<void>
}

/** Begins a file at offset `first`, whose first record arrived at `arrivalMs`. @throws OperatingError of the lake */
export async function beginFile(options: {
  lake: Lake
  stream: StreamDefinition
  partition: number
  first: number
  arrivalMs: number
}): Promise<OpenFile> {
  const { stream, partition } = options
  const sink = await openFileSink(await options.lake.temporaryPath())
  const rows = new ArchiveRows({ partition, fields: stream.fields, sink })
  const file: OpenFile = {
    stream: stream.name,
    partition,
    first: options.first,
    openedMs: options.arrivalMs,
    rows,
    temporary: sink.path,
    barriers: [],
    events: 0,
    dead: 0,
    quarantined: 0,
    eventTimeMin: Number.POSITIVE_INFINITY,
    eventTimeMax: Number.NEGATIVE_INFINITY,
    noteEvents(eventTimes, from, until) {
      file.events += until - from
      for (let row = from; row < until; row++) {
        const time = eventTimes[row]!
        if (time < file.eventTimeMin) file.eventTimeMin = time
        if (time > file.eventTimeMax) file.eventTimeMax = time
      }
    },
    async finish() {
      await rows.finish()
      await sink.close()
      failpoint('archive.file-finished')
    },
    discard: () => sink.discard(),
  }
  return file
}

/**
 * Publishes a finished file and its entry; returns the longer chain. Dead letters are on their topics already.
 * @throws OperatingError MANIFEST_CONFLICT when another archiver was first, LAKE_DISK_FULL, …
 */
export async function publishOpenFile(
  lake: Lake,
  file: OpenFile,
  state: {
    chain: Chain<ArchiveEntry>
    prefix: string
    next: number
    clock: PartitionClock
    lastBatchCrc: number
    incarnation: string | null
  },
): Promise<Chain<ArchiveEntry>> {
  const { chain, clock, next } = state
  failpoint('archive.dead-letters')
  const published = await publishUnderFreeName(lake, file, next)
  failpoint('archive.file-published')
  const entry: ArchiveEntry = {
    ...nextOf(chain),
    stream: file.stream,
    partition: file.partition,
    incarnation: state.incarnation,
    file: published,
    rows: file.rows.count,
    events: file.events,
    dead: file.dead,
    quarantined: file.quarantined,
    first_offset: file.first,
    next_offset: next,
    last_batch_crc: state.lastBatchCrc,
    event_time_min: file.events === 0 ? null : file.eventTimeMin,
    event_time_max: file.events === 0 ? null : file.eventTimeMax,
    barriers: file.barriers,
    last_barrier: clock.epoch,
    watermark: Number.isFinite(clock.watermark) ? clock.watermark : null,
    events_in_open_epoch: clock.events,
  }
  const lastHash = await appendEntry(lake, state.prefix, entry)
  failpoint('archive.entry')
  return { entries: [...chain.entries, entry], lastHash }
}

/**
 * Publishes the file under its range's name, or a numbered one: an archiver that died before its entry, with other definitions or
 * at another end of the file, may have left other content there, which no manifest names.
 */
async function publishUnderFreeName(lake: Lake, file: OpenFile, next: number): Promise<ArchiveEntry['file']> {
  const base = archiveFile(file.stream, { partition: file.partition, first: file.first, next })
  for (let attempt = 1; ; attempt++) {
    const path = attempt === 1 ? base : base.replace(/\.parquet$/, `.${attempt}.parquet`)
    try {
      return { path, ...(await lake.publishFile(file.temporary, path)) }
    } catch (error) {
      if (classify(error).code !== 'LAKE_DAMAGED' || attempt === NAMES_MAX) throw error
    }
  }
}
