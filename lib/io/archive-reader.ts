/**
 * Reading the archive: manifests in, cuts out. The one place that knows where its files lie; the archiver writes by it, batch
 * jobs and `verify` read by it. Pure but for `readArchive` and `checkFile`.
 *
 *   partition 0  ├── file ──┼────── file ──────┤            cut 7 = (offset of barrier 7) + 1 in every partition;
 *                       B7           B8                     a file may span it: readers take `_offset < until`
 *   partition 1  ├────── file ─────┼─ file ─┤
 *                           B7         B8
 */
import { cutOffsets as coreCutOffsets } from '#core/barrier.ts'
import { type InstantMs, NO_WATERMARK } from '#core/time.ts'
import { foldWatermark } from '#core/watermark.ts'
import type { ArchivedBarrier, ArchiveEntry } from '#schemas/archive.ts'
import { OperatingError } from './errors.ts'
import { type Chain, readChain } from './manifest.ts'
import type { Lake } from './ports.ts'

/** Entries per partition; index = partition, empty for one that nobody has archived yet. */
export type ArchiveEntries = readonly (readonly ArchiveEntry[])[]

/** A barrier id that every partition has archived. */
export interface Cut {
  readonly id: number
  /** Exclusive bound per partition. */
  readonly offsets: readonly number[]
  /** When the barrier was made, UTC ms. */
  readonly createdMs: InstantMs
}

/** A file that holds records below a cut. */
export interface CoveringFile {
  readonly partition: number
  readonly path: string
  readonly sha256: string
  /** Half-open range of the file, and the exclusive bound of what may be read of it. */
  readonly first: number
  readonly next: number
  readonly until: number
  /** Bounds of the event times of its events; null without events. */
  readonly eventTimeMin: InstantMs | null
  readonly eventTimeMax: InstantMs | null
}

const digits = (value: number): string => String(value).padStart(20, '0')

/** Folder of one partition. */
export const archiveFolder = (stream: string, partition: number): string => `events/${stream}/p=${partition}`
/** Prefix of one partition's manifest chain. */
export const archiveManifest = (stream: string, partition: number): string =>
  `${archiveFolder(stream, partition)}/manifest`
/** Path of the file of [first, next). */
export const archiveFile = (stream: string, range: { partition: number; first: number; next: number }): string =>
  `${archiveFolder(stream, range.partition)}/${digits(range.first)}-${digits(range.next)}.parquet`

const FILE = /\/(\d{20})-(\d{20})(?:\.\d+)?\.parquet$/

/** The range that a file's name states; null when it is no archive file. */
export function rangeOfFile(path: string): { first: number; next: number } | null {
  const match = FILE.exec(path)
  return match === null ? null : { first: Number(match[1]), next: Number(match[2]) }
}

const chains = new WeakMap<Lake, Map<string, Chain<ArchiveEntry>>>()

/**
 * Reads and checks the manifest chains of a stream. Entries never change, so each is checked once per process; `fresh` checks
 * all of them again.
 * @throws OperatingError LAKE_DAMAGED naming the entry
 */
export async function readArchive(lake: Lake, stream: string, options?: { fresh: boolean }): Promise<ArchiveEntries> {
  let known = chains.get(lake)
  if (known === undefined) chains.set(lake, (known = new Map()))
  const entries: (readonly ArchiveEntry[])[] = []
  const partitions = await archivedPartitions(lake, stream)
  for (let partition = 0; partition < partitions; partition++) {
    const prefix = archiveManifest(stream, partition)
    const chain = await readChain<ArchiveEntry>(lake, prefix, options?.fresh === true ? undefined : known.get(prefix))
    known.set(prefix, chain)
    entries.push(chain.entries)
  }
  return entries
}

/** One more than the highest partition that has a folder in the archive; 0 without any. */
export async function archivedPartitions(lake: Lake, stream: string): Promise<number> {
  let partitions = 0
  for (const path of await lake.list(`events/${stream}`)) {
    const match = /\/p=(\d+)\//.exec(path)
    if (match !== null) partitions = Math.max(partitions, Number(match[1]) + 1)
  }
  return partitions
}

/** Streams that have an archive, sorted. */
export async function archivedStreams(lake: Lake): Promise<string[]> {
  const streams = new Set<string>()
  for (const path of await lake.list('events')) {
    const match = /^events\/([^/]+)\/p=\d+\//.exec(path)
    if (match !== null) streams.add(match[1]!)
  }
  return [...streams].sort()
}

/** Accepted barriers of one partition, in offset order. */
export const barriersOf = (entries: readonly ArchiveEntry[]): ArchivedBarrier[] =>
  entries.flatMap((entry) => entry.barriers)

/**
 * The cut `barrierId`, as exclusive offsets per partition; null while some partition has not archived that barrier or has missed
 * it. A partition that was added after the barrier stands at 0. The array is as long as the stream has partitions.
 */
export function cutOffsets(entries: ArchiveEntries, barrierId: number): number[] | null {
  return cutAt(indexOf(entries), barrierId)?.offsets.slice() ?? null
}

/** Barriers of every partition by id. */
interface BarrierIndex {
  readonly barriers: readonly ReadonlyMap<number, ArchivedBarrier>[]
  readonly offsets: readonly ReadonlyMap<number, number>[]
  /** Ascending. */
  readonly ids: readonly number[]
}

function indexOf(entries: ArchiveEntries): BarrierIndex {
  const lists = entries.map(barriersOf)
  return {
    barriers: lists.map((list) => new Map(list.map((barrier) => [barrier.id, barrier]))),
    offsets: lists.map((list) => new Map(list.map((barrier) => [barrier.id, barrier.offset]))),
    ids: [...new Set(lists.flatMap((list) => list.map((barrier) => barrier.id)))].sort((a, b) => a - b),
  }
}

function cutAt(index: BarrierIndex, id: number): Cut | null {
  const stated = index.barriers.map((partition) => partition.get(id)).filter((barrier) => barrier !== undefined)
  if (stated.length === 0) return null
  const partitions = Math.max(...stated.map((barrier) => barrier.partitions))
  // A partition that the barrier knows but no manifest does yet has not archived it.
  if (index.barriers.length < partitions) return null
  const offsets = coreCutOffsets(id, partitions, index.offsets)
  return offsets === null ? null : { id, offsets, createdMs: stated[0]!.created_ms }
}

/** Every cut the archive covers, ascending. */
export function cutsOf(entries: ArchiveEntries): Cut[] {
  const index = indexOf(entries)
  return index.ids.map((id) => cutAt(index, id)).filter((cut) => cut !== null)
}

/** Files that hold records below the offsets, by partition and range. */
export function filesCovering(entries: ArchiveEntries, offsets: readonly number[]): CoveringFile[] {
  return entries.flatMap((partition, index) =>
    partition
      .filter((entry) => entry.first_offset < (offsets[index] ?? 0))
      .map((entry) => ({
        partition: index,
        path: entry.file.path,
        sha256: entry.file.sha256,
        first: entry.first_offset,
        next: entry.next_offset,
        until: Math.min(entry.next_offset, offsets[index]!),
        eventTimeMin: entry.event_time_min,
        eventTimeMax: entry.event_time_max,
      })),
  )
}

/**
 * The stream's watermark at cut `id`: folded over all cuts up to it, because a partition without events is left out and a
 * wholly idle epoch moves it by the barriers' distance (core/watermark). null = no event yet, or no such cut.
 */
export function watermarkAt(entries: ArchiveEntries, id: number): InstantMs | null {
  const barriers = entries.map(barriersOf)
  const read = barriers.map(() => ({ at: 0, watermark: NO_WATERMARK }))
  let watermark = NO_WATERMARK
  let previous: Cut | null = null
  let found = false
  for (const cut of cutsOf(entries)) {
    if (cut.id > id) break
    found = cut.id === id
    const activity = read.map((place, partition) => {
      let events = 0
      for (let barrier = barriers[partition]![place.at]; barrier !== undefined && barrier.id <= cut.id; ) {
        events += barrier.events
        place.watermark = barrier.watermark ?? NO_WATERMARK
        barrier = barriers[partition]![++place.at]
      }
      return { watermark: place.watermark, events }
    })
    watermark = foldWatermark(watermark, activity, previous === null ? 0 : cut.createdMs - previous.createdMs)
    previous = cut
  }
  return found && Number.isFinite(watermark) ? watermark : null
}

/**
 * Compares a file with the hash its manifest states; to be done before any reading of it.
 * @throws OperatingError LAKE_DAMAGED naming path and range
 */
export async function checkFile(
  lake: Lake,
  file: Pick<CoveringFile, 'path' | 'sha256' | 'partition' | 'first' | 'next'>,
): Promise<void> {
  const hash = await lake.hash(file.path)
  if (hash === file.sha256) return
  const what = hash === null ? 'is missing' : 'is not the file its manifest names (hash)'
  const { path, partition, first, next } = file
  throw new OperatingError('LAKE_DAMAGED', `${path} ${what}: offsets [${first}, ${next}) of partition ${partition}`, {
    path,
    partition,
    first,
    next,
  })
}
