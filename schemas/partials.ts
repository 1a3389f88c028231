/**
 * Live and sealed partials on the log. Value = one Arrow IPC stream with one record batch (lib/format/partials-arrow.ts).
 * Partition = the event partition it speaks about. Headers carry the tags, as UTF-8 JSON under the name `tidemark-partial`.
 *
 * Values are absolute: whoever publishes (partition, epoch, next) publishes the same values, so a reader keeps the one with
 * the highest `next` and ignores the rest. Source: DESIGN idea 2.
 */

/** Tags of one record of partials. */
export interface PartialTags {
  readonly kind: 'live' | 'sealed'
  readonly metric: string
  readonly generation: string
  readonly partition: number
  /** Id of the barrier that opened the epoch; 0 for the first. */
  readonly epoch: number
  /** First offset of the epoch. */
  readonly first: number
  /** A live record holds every entry that changed in [base, next); a sealed one holds all of [first, next). */
  readonly base: number
  /** Exclusive bound of what the values cover. A sealed record's bound is behind the barrier that ended the epoch. */
  readonly next: number
  /** A table that is too big for one record comes in `parts` records, `part` 0-based; apply when all are there. */
  readonly part: number
  readonly parts: number
  /** Watermark of the partition at `next`, ms; null = no event yet. */
  readonly watermark: number | null
  /** Events accepted in the epoch so far (before any `where`). */
  readonly events: number
  /** Duplicates, dead and quarantined records in the epoch so far. */
  readonly duplicates: number
  readonly dead: number
  readonly quarantined: number
  /** When sealed: (event, window) pairs that came after the close, among the rows of this record. */
  readonly late: number | null
  /** Creation time of the barrier that opened the epoch (0 for the first) and, when sealed, of the one that ended it. */
  readonly opened_ms: number
  readonly sealed_ms: number | null
  /** When sealed: id of the barrier that ended the epoch, hence the next epoch. */
  readonly sealed_by: number | null
  /** Latest arrival time among the records covered; for freshness series only. */
  readonly arrival_ms: number
  /**
   * On a sealed record: offset of the live topic's partition behind all that its publisher had sent there. Live records of
   * later epochs stand behind it, so a reader that starts need not read the ones before. null = not known.
   */
  readonly live_next: number | null
  /** Set when the metric hit a limit in this epoch: its answers are refused with this code. */
  readonly refused: string | null
}

/** Header that carries the tags. */
export const PARTIAL_HEADER = 'tidemark-partial'

const utf8 = new TextDecoder()

/** Tags of a record by its headers; null for a record that has none, or none that can be read: it is not ours. */
export function tagsOf(headers: readonly (readonly [string, Uint8Array | null])[]): PartialTags | null {
  const header = headers.find(([name]) => name === PARTIAL_HEADER)?.[1] ?? null
  if (header === null) return null
  try {
    return JSON.parse(utf8.decode(header)) as PartialTags
  } catch {
    return null
  }
}
