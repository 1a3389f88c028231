/**
 * Event times as text: ISO 8601 with seconds optional, any fraction, and an offset or Z, which is required because a local time
 * names no instant. Reads bytes in place; fractions below a millisecond are cut off (floor).
 *
 *   YYYY-MM-DD (T | t | space) HH:MM [:SS [(. | ,) digits]] (Z | z | ±HH:MM | ±HHMM | ±HH)
 */

/** Days from 1970-01-01 to a civil date. Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil. */
function daysFromCivil(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year
  const era = Math.floor(y / 400)
  const yearOfEra = y - era * 400
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear
  return era * 146_097 + dayOfEra - 719_468
}

const MONTH_DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] as const

function daysOfMonth(year: number, month: number): number {
  const leap = month === 2 && year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)
  return leap ? 29 : (MONTH_DAYS[month - 1] ?? 0)
}

/** `count` decimal digits at `at` as a number, NaN when one is none. */
function digits(bytes: Uint8Array, at: number, count: number): number {
  let value = 0
  for (let i = 0; i < count; i++) {
    const digit = bytes[at + i]! - 48
    if (!(digit >= 0 && digit <= 9)) return Number.NaN
    value = value * 10 + digit
  }
  return value
}

/** UTC epoch ms of the text in [from, until); NaN when it is no such time. Year 0000 and times beyond 9999 in UTC are for the caller's range check. */
export function parseInstant(bytes: Uint8Array, from: number, until: number): number {
  // The shortest is 2026-01-01T00:00Z.
  if (until - from < 17) return Number.NaN
  const year = digits(bytes, from, 4)
  const month = digits(bytes, from + 5, 2)
  const day = digits(bytes, from + 8, 2)
  const hour = digits(bytes, from + 11, 2)
  const minute = digits(bytes, from + 14, 2)
  const separator = bytes[from + 10]
  const shaped =
    bytes[from + 4] === 45 &&
    bytes[from + 7] === 45 &&
    bytes[from + 13] === 58 &&
    (separator === 84 || separator === 116 || separator === 32)
  if (
    !shaped ||
    !(year >= 0 && month >= 1 && month <= 12 && day >= 1 && day <= daysOfMonth(year, month) && hour < 24 && minute < 60)
  ) {
    return Number.NaN
  }
  let at = from + 16
  let second = 0
  let millisecond = 0
  if (bytes[at] === 58) {
    second = until - at < 3 ? Number.NaN : digits(bytes, at + 1, 2)
    if (!(second < 60)) return Number.NaN
    at += 3
    if (at < until && (bytes[at] === 46 || bytes[at] === 44)) {
      const first = ++at
      while (at < until && bytes[at]! >= 48 && bytes[at]! <= 57) {
        if (at - first < 3) millisecond = millisecond * 10 + bytes[at]! - 48
        at++
      }
      if (at === first) return Number.NaN
      for (let places = at - first; places < 3; places++) millisecond *= 10
    }
  }
  const offsetMinutes = parseOffset(bytes, at, until)
  const minutes = daysFromCivil(year, month, day) * 1440 + hour * 60 + minute - offsetMinutes
  return minutes * 60_000 + second * 1_000 + millisecond
}

/** Minutes east of UTC that [at, until) names; NaN when it is no offset. */
function parseOffset(bytes: Uint8Array, at: number, until: number): number {
  const length = until - at
  const sign = bytes[at]
  if (length === 1 && (sign === 90 || sign === 122)) return 0
  if (!(sign === 43 || sign === 45) || !(length === 3 || length === 5 || length === 6)) return Number.NaN
  if (length === 6 && bytes[at + 3] !== 58) return Number.NaN
  const hours = digits(bytes, at + 1, 2)
  const minutes = length === 3 ? 0 : digits(bytes, until - 2, 2)
  if (!(hours < 24 && minutes < 60)) return Number.NaN
  return sign === 45 ? -(hours * 60 + minutes) : hours * 60 + minutes
}
