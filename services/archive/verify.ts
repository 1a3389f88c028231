/**
 * `verify`: proves the archive of a stream whole, from the lake alone. Per partition: the chain's hashes, ranges that tile
 * without hole or overlap from the first archived offset, every file's hash, rows = next - first; `deep` also opens every
 * file and finds each offset of its range exactly once. Findings name file, partition, range and what to do.
 *
 *   chain ──▶ ranges ──▶ files (hash) ──▶ rows (deep, DuckDB)          a finding at one step skips the next for that file only
 */
import { archivedPartitions, archivedStreams, archiveFolder, archiveManifest, rangeOfFile } from '#io/archive-reader.ts'
import { type DuckDb, openDuckDb, sqlText } from '#io/duckdb.ts'
import { classify } from '#io/errors.ts'
import { entryPath, readChain } from '#io/manifest.ts'
import type { Lake } from '#io/ports.ts'
import type { ArchiveEntry } from '#schemas/archive.ts'

/** What is wrong. `unnamed-file` alone is no damage: an archiver died before the file's entry. */
export type FindingKind =
  | 'manifest'
  | 'hole'
  | 'overlap'
  | 'identity'
  | 'missing-file'
  | 'changed-file'
  | 'rows'
  | 'offsets'
  | 'unnamed-file'

/** One thing wrong with an archive. */
export interface Finding {
  readonly kind: FindingKind
  /** Damage: numbers built from this range cannot be trusted. A notice costs disk space only. */
  readonly severity: 'damage' | 'notice'
  readonly stream: string
  readonly partition: number
  readonly path: string
  /** Half-open offset range concerned; `next` null = everything from `first` on. */
  readonly first: number
  readonly next: number | null
  readonly message: string
  /** What a person does about it. */
  readonly remedy: string
}

/** What was looked at, and what was found. */
export interface VerifyReport {
  /** No damage. */
  readonly ok: boolean
  readonly deep: boolean
  readonly streams: readonly string[]
  readonly partitions: number
  readonly files: number
  readonly rows: number
  readonly bytes: number
  readonly findings: readonly Finding[]
}

/** How to verify. `onProgress` is told the share done, 0..1; it may throw to stop. */
export interface VerifyOptions {
  readonly deep?: boolean
  readonly onProgress?: (fraction: number) => void | Promise<void>
}

const REMEDIES: Record<FindingKind, string> = {
  manifest: 'Put the entry back from a copy of the lake; entries behind it are not read until then.',
  hole: 'Put the missing entry and file back from a copy of the lake; while the log holds the range it can be archived again.',
  overlap: 'Keep the entry that was written first and remove the later ones from the chain.',
  identity:
    'The entry speaks about other records than its place says; put it back from a copy, keep one topic per lake folder.',
  'missing-file': 'Put the file back from a copy of the lake; while the log holds the range it can be archived again.',
  'changed-file':
    'Put back the copy of the file that has the stated hash; while the log holds the range it can be archived again.',
  rows: 'The entry contradicts itself; put entry and file back from a copy of the lake.',
  offsets: 'The file was written wrongly: report a defect, and archive the range again while the log holds it.',
  'unnamed-file': 'None needed: no reader sees it; it can be removed once the archive has passed its range.',
}

const DEEP_MEMORY_MB = 512

/** Verifies one stream, or all archived ones for `*`. Never throws for damage: it is the report's findings. */
export async function verifyArchive(lake: Lake, stream: string, options: VerifyOptions = {}): Promise<VerifyReport> {
  const deep = options.deep ?? false
  const streams = stream === '*' ? await archivedStreams(lake) : [stream]
  const duck = deep ? await openDuckDb({ threads: 1, memoryMb: DEEP_MEMORY_MB, temporaryDirectory: null }) : null
  const findings: Finding[] = []
  const seen = { partitions: 0, files: 0, rows: 0, bytes: 0 }
  try {
    const chains: PartitionChain[] = []
    for (const name of streams) {
      const partitions = await archivedPartitions(lake, name)
      for (let partition = 0; partition < partitions; partition++) {
        chains.push(await readPartition(lake, name, partition, findings))
      }
    }
    const total = chains.reduce((sum, { entries }) => sum + entries.length, 0)
    for (const chain of chains) {
      seen.partitions++
      checkRanges(chain, findings)
      for (const entry of chain.entries) {
        if ((await checkFileHash(lake, entry, findings)) && duck !== null) await checkRows(lake, duck, entry, findings)
        seen.files++
        seen.rows += entry.rows
        seen.bytes += entry.file.bytes
        await options.onProgress?.(seen.files / total)
      }
      await noticeUnnamed(lake, chain, findings)
    }
  } finally {
    duck?.close()
  }
  const ok = findings.every((finding) => finding.severity === 'notice')
  return { ok, deep, streams, ...seen, findings }
}

interface PartitionChain {
  readonly stream: string
  readonly partition: number
  readonly entries: readonly ArchiveEntry[]
}

const finding = (
  kind: FindingKind,
  where: { stream: string; partition: number; path: string; first: number; next: number | null },
  message: string,
): Finding => ({
  kind,
  severity: kind === 'unnamed-file' ? 'notice' : 'damage',
  ...where,
  message,
  remedy: REMEDIES[kind],
})

const placeOf = (entry: ArchiveEntry) => ({
  stream: entry.stream,
  partition: entry.partition,
  path: entry.file.path,
  first: entry.first_offset,
  next: entry.next_offset,
})

/** The chain up to its first damaged entry, which becomes a finding. */
async function readPartition(
  lake: Lake,
  stream: string,
  partition: number,
  findings: Finding[],
): Promise<PartitionChain> {
  const prefix = archiveManifest(stream, partition)
  try {
    return { stream, partition, entries: (await readChain<ArchiveEntry>(lake, prefix)).entries }
  } catch (error) {
    const known = classify(error)
    if (known.code !== 'LAKE_DAMAGED') throw known
    const path = String(known.context['path'] ?? prefix)
    const entries = await readPrefix(lake, prefix)
    const first = entries.at(-1)?.next_offset ?? 0
    findings.push(finding('manifest', { stream, partition, path, first, next: null }, known.message))
    return { stream, partition, entries }
  }
}

/** Entries before the damaged one: a lake that seems to end there reads without complaint. */
async function readPrefix(lake: Lake, prefix: string): Promise<readonly ArchiveEntry[]> {
  for (let length = (await lake.list(prefix)).length; length > 0; length--) {
    const visible = new Set(Array.from({ length }, (_, index) => entryPath(prefix, index + 1)))
    const shorter: Lake = Object.assign(Object.create(lake) as Lake, {
      list: async (below: string) => (await lake.list(below)).filter((path) => visible.has(path)),
    })
    try {
      return (await readChain<ArchiveEntry>(shorter, prefix)).entries
    } catch (error) {
      if (classify(error).code !== 'LAKE_DAMAGED') throw error
    }
  }
  return []
}

/** Ranges tile, entries speak about this partition, one topic. Pure. */
function checkRanges({ stream, partition, entries }: PartitionChain, findings: Finding[]): void {
  for (const [index, entry] of entries.entries()) {
    const place = placeOf(entry)
    if (entry.stream !== stream || entry.partition !== partition) {
      findings.push(
        finding('identity', { ...place, stream, partition }, `the entry is of ${entry.stream}/${entry.partition}`),
      )
    }
    if (entry.rows !== entry.next_offset - entry.first_offset) {
      findings.push(finding('rows', place, `${entry.rows} rows for ${entry.next_offset - entry.first_offset} offsets`))
    }
    const named = rangeOfFile(entry.file.path)
    if (named?.first !== entry.first_offset || named.next !== entry.next_offset) {
      findings.push(finding('identity', place, 'the file has another range in its name'))
    }
    const before = entries[index - 1]
    if (before === undefined) continue
    const [expected, found] = [before.next_offset, entry.first_offset]
    if (found > expected) {
      findings.push(
        finding('hole', { ...place, first: expected, next: found }, `offsets [${expected}, ${found}) are in no file`),
      )
    } else if (found < expected) {
      findings.push(
        finding(
          'overlap',
          { ...place, first: found, next: expected },
          `offsets [${found}, ${expected}) are in two files`,
        ),
      )
    }
    if (before.incarnation !== null && entry.incarnation !== null && before.incarnation !== entry.incarnation) {
      findings.push(finding('identity', place, 'the topic was created again between this entry and the one before it'))
    }
  }
}

async function checkFileHash(lake: Lake, entry: ArchiveEntry, findings: Finding[]): Promise<boolean> {
  const hash = await lake.hash(entry.file.path)
  if (hash === entry.file.sha256) return true
  if (hash === null) findings.push(finding('missing-file', placeOf(entry), 'the file is not there'))
  else
    findings.push(finding('changed-file', placeOf(entry), `SHA-256 is ${hash}, the manifest says ${entry.file.sha256}`))
  return false
}

/** Every offset of the range exactly once, kinds as the entry counts them. */
async function checkRows(lake: Lake, duck: DuckDb, entry: ArchiveEntry, findings: Finding[]): Promise<void> {
  const [row] = await duck.query(
    `SELECT count(*) AS rows, count(DISTINCT _offset) AS offsets, min(_offset) AS least, max(_offset) AS most,
            count(*) FILTER (_kind = 'event') AS events, count(*) FILTER (_kind = 'dead') AS dead,
            count(*) FILTER (_kind = 'quarantined') AS quarantined, count(*) FILTER (_partition <> ${entry.partition}) AS foreign_rows
     FROM read_parquet(${sqlText(`${lake.root}/${entry.file.path}`)}, hive_partitioning = false)`,
  )
  const expected = {
    rows: entry.rows,
    offsets: entry.rows,
    least: entry.first_offset,
    most: entry.next_offset - 1,
    events: entry.events,
    dead: entry.dead,
    quarantined: entry.quarantined,
    foreign_rows: 0,
  }
  const wrong = Object.entries(expected).filter(([name, value]) => row![name] !== BigInt(value))
  if (wrong.length === 0) return
  const says = wrong.map(([name, value]) => `${name} is ${String(row![name])} and should be ${value}`).join(', ')
  findings.push(finding('offsets', placeOf(entry), says))
}

async function noticeUnnamed(
  lake: Lake,
  { stream, partition, entries }: PartitionChain,
  findings: Finding[],
): Promise<void> {
  const named = new Set(entries.map((entry) => entry.file.path))
  for (const path of await lake.list(archiveFolder(stream, partition))) {
    const range = rangeOfFile(path)
    if (range === null || named.has(path)) continue
    findings.push(finding('unnamed-file', { stream, partition, path, ...range }, 'no manifest entry names the file'))
  }
}
