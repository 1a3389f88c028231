/**
 * ISO 8601 instants as strings, for doors where text is a JSON value: the grammar is event-time.ts's, the only one there is, so
 * what a door accepts is what every reader of the log accepts. A text without an offset names no instant and is refused.
 */
import { EVENT_TIME_MAX_MS, EVENT_TIME_MIN_MS, type InstantMs } from '#core/time.ts'
import { parseInstant } from './event-time.ts'

/** An instant finer than a millisecond: `ms` rounded towards the past, and the `nanos` (0 to 999,999) that remain. */
export interface FineInstant {
  readonly ms: InstantMs
  readonly nanos: number
}

/** Parses an instant; null when the text is none, lacks an offset, or lies outside the years 0001 to 9999. Digits beyond the ninth are cut. */
export function parseIsoInstant(text: string): FineInstant | null {
  const bytes = Buffer.from(text, 'utf8')
  const ms = parseInstant(bytes, 0, bytes.length)
  if (!(ms >= EVENT_TIME_MIN_MS && ms <= EVENT_TIME_MAX_MS)) return null
  return { ms, nanos: Number((/[.,]\d{3}(\d{1,6})/.exec(text)?.[1] ?? '').padEnd(6, '0')) }
}

/** Parses `YYYY-MM-DD` to days since 1970-01-01; null when there is no such day. */
export function parseIsoDay(text: string): number | null {
  const midnight = text.length === 10 ? parseIsoInstant(`${text}T00:00Z`) : null
  return midnight === null ? null : midnight.ms / 86_400_000
}
