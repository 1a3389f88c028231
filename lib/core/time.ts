/**
 * Time as plain numbers. All instants are UTC epoch milliseconds, all intervals half-open `[from, until)`.
 * Core never reads a clock: `InstantMs` values come from events (event time), from the log (arrival time) or as arguments.
 */

/** UTC epoch milliseconds; a safe integer, negative before 1970. */
export type InstantMs = number

/** A length of time in milliseconds, never negative. */
export type DurationMs = number

/** Smallest and largest accepted event time: years 0001 to 9999. Outside it a record is a dead letter `event-time-range`. */
export const EVENT_TIME_MIN_MS: InstantMs = -62_135_596_800_000
export const EVENT_TIME_MAX_MS: InstantMs = 253_402_300_799_999

/** Watermark of a partition that has seen no event yet. */
export const NO_WATERMARK: InstantMs = Number.NEGATIVE_INFINITY

/** The greatest multiple of `size` that is not above `instant`; right for negative instants too. */
export function floorTo(instant: InstantMs, size: DurationMs): InstantMs {
  const rest = instant % size
  return rest === 0 ? instant : rest < 0 ? instant - rest - size : instant - rest
}

const UNITS: Record<string, DurationMs> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }

/** Parses `250ms`, `60s`, `15m`, `6h`, `7d`, `1w`; null when the text is no duration of whole, non-negative units. */
export function parseDuration(text: string): DurationMs | null {
  const match = /^(\d{1,12})(ms|s|m|h|d|w)$/.exec(text.trim())
  if (match === null) return null
  const value = Number(match[1]) * UNITS[match[2]!]!
  return Number.isSafeInteger(value) ? value : null
}

/** Writes a duration in the largest unit that divides it: 90_000 → `90s`, 3_600_000 → `1h`. */
export function formatDuration(duration: DurationMs): string {
  for (const unit of ['w', 'd', 'h', 'm', 's'] as const) {
    if (duration !== 0 && duration % UNITS[unit]! === 0) return `${duration / UNITS[unit]!}${unit}`
  }
  return `${duration}ms`
}
