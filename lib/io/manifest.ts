/**
 * Manifest chains: the list of complete files of one archive partition or one view. What is not in it does not exist.
 *
 *   <prefix>/00000001.json ◀─ previous: sha256 ─ <prefix>/00000002.json ◀─ … ; sequence from 1, without holes
 *
 * Entries are canonical JSON, created once and never changed. Each carries `check`, the SHA-256 of its other members, so that
 * a changed byte shows in the last one too; the hash of an entry's bytes stands in the next one, so a swapped or a missing
 * entry shows as well. Two writers cannot both append: create-if-absent decides.
 */
import { createHash } from 'node:crypto'
import { canonicalJson } from '#format/canonical-json.ts'
import { OperatingError } from './errors.ts'
import type { Lake } from './ports.ts'

/** What every entry carries besides its content. */
export interface ChainEntry {
  readonly format: 1
  /** From 1, without holes. */
  readonly sequence: number
  /** SHA-256 (hex) of the previous entry's bytes; null for the first. */
  readonly previous: string | null
}

/** A chain as read. */
export interface Chain<T extends ChainEntry> {
  readonly entries: readonly T[]
  /** SHA-256 (hex) of the last entry's bytes; null for an empty chain. */
  readonly lastHash: string | null
}

const NAME = /\/(\d{8})\.json$/

/** Path of an entry. */
export const entryPath = (prefix: string, sequence: number): string =>
  `${prefix}/${String(sequence).padStart(8, '0')}.json`

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

const damaged = (path: string, message: string): OperatingError =>
  new OperatingError('LAKE_DAMAGED', `${path}: ${message}`, { path })

/** An entry's bytes as they are stored. */
function entryBytes(entry: ChainEntry): Uint8Array {
  return canonicalJson({ ...entry, check: sha256(canonicalJson(entry)) })
}

/** Checks one entry's bytes against its place in the chain. @throws OperatingError LAKE_DAMAGED */
function parseEntry<T extends ChainEntry>(
  path: string,
  bytes: Uint8Array,
  sequence: number,
  previous: string | null,
): T {
  let entry: T
  try {
    const { check: _, ...content } = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
    entry = content
  } catch {
    throw damaged(path, 'the entry is not JSON')
  }
  // The bytes are a function of the members, so writing them again finds every change, spaces included.
  if (sha256(entryBytes(entry)) !== sha256(bytes)) throw damaged(path, 'the entry does not have the hash it states')
  if (entry.format !== 1) throw damaged(path, `the entry has format ${String(entry.format)}, this version reads 1`)
  if (entry.sequence !== sequence) throw damaged(path, `the entry says it is number ${entry.sequence}`)
  if (entry.previous !== previous) throw damaged(path, 'the entry does not follow the one before it (hash)')
  return entry
}

/**
 * Reads and checks a whole chain; with `known` (read before from the same prefix) only what was appended since.
 * An absent prefix is an empty chain.
 * @throws OperatingError LAKE_DAMAGED naming the path
 */
export async function readChain<T extends ChainEntry>(lake: Lake, prefix: string, known?: Chain<T>): Promise<Chain<T>> {
  const entries: T[] = known === undefined ? [] : [...known.entries]
  let lastHash = known?.lastHash ?? null
  const take = (path: string, bytes: Uint8Array): void => {
    entries.push(parseEntry<T>(path, bytes, entries.length + 1, lastHash))
    lastHash = sha256(bytes)
  }
  if (known !== undefined) {
    for (;;) {
      const path = entryPath(prefix, entries.length + 1)
      const bytes = await lake.read(path)
      if (bytes === null) return { entries, lastHash }
      take(path, bytes)
    }
  }
  for (const path of await lake.list(prefix)) {
    if (!NAME.test(path)) throw damaged(path, 'not the name of an entry')
    const expected = entryPath(prefix, entries.length + 1)
    if (path !== expected) throw damaged(expected, `the entry is missing, ${path} is there`)
    const bytes = await lake.read(path)
    if (bytes === null) throw damaged(path, 'the entry vanished while the chain was read')
    take(path, bytes)
  }
  return { entries, lastHash }
}

/**
 * Appends an entry whose `sequence` and `previous` follow the chain it was made from (see {@link nextOf}); returns the hash
 * of its bytes. Appending the very bytes that are there already is no conflict: a crash may have hidden the first success.
 * @throws OperatingError MANIFEST_CONFLICT when another writer's entry has this number
 */
export async function appendEntry<T extends ChainEntry>(lake: Lake, prefix: string, entry: T): Promise<string> {
  const bytes = entryBytes(entry)
  const path = entryPath(prefix, entry.sequence)
  if (!(await lake.createIfAbsent(path, bytes))) {
    const there = await lake.read(path)
    if (there === null || sha256(there) !== sha256(bytes)) {
      throw new OperatingError('MANIFEST_CONFLICT', `${path} was written by another writer`, { path })
    }
  }
  return sha256(bytes)
}

/** The members that link a new entry to the end of `chain`. */
export function nextOf<T extends ChainEntry>(chain: Chain<T>): ChainEntry {
  return { format: 1, sequence: chain.entries.length + 1, previous: chain.lastHash }
}
