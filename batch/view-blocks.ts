/**
 * Which days of a view share a file. Days are grouped in aligned blocks of 1, 2, 4 … {@link ROOT_DAYS} days (aligned as day
 * numbers since 1970): a file holds the largest block with at most `rowsMax` rows, or one day that has more.
 *
 *   rows per day    3 0 2 9 1 0 0 0        rowsMax 10, root of 8 days
 *   15 > 10        [3 0 2 9|1 0 0 0]
 *   14 > 10        [3 0|2 9]
 *   11 > 10            [2|9]
 *   files          [3 0|2|9|1 0 0 0]
 *
 * So the files are a function of the rows alone. Rows are only ever added to a view of one generation, and an added row
 * changes nothing outside the blocks around its day: those can only be halved. Hence an incremental build, which rewrites the
 * files of the days it touched and carries the others over, ends at the very files of a full one [law 5].
 */
import { assert } from '#core/assert.ts'
import { floorTo } from '#core/time.ts'

/** UTC ms of a day. */
export const DAY_MS = 86_400_000

/** Days of the largest block. */
export const ROOT_DAYS = 1_024

/** Rows of a file at most, unless one day has more: one row group, and what a touched day makes an incremental build rewrite. */
export const FILE_ROWS = 122_880

/** `YYYY-MM-DD` of a UTC instant; years outside 0..9999, where only the bounds of a block lie, have a sign and six digits. */
export const dayName = (instant: number): string => new Date(instant).toISOString().split('T')[0]!

/** Start of a named day, UTC ms. */
export const dayStart = (day: string): number => Date.parse(`${day}T00:00:00Z`)

/** Half-open range of UTC days, ms. */
export interface DayRange {
  readonly from: number
  readonly until: number
}

/** Days of a file. */
export function rangeOf(file: { readonly from_day: string; readonly until_day: string }): DayRange {
  const range = { from: dayStart(file.from_day), until: dayStart(file.until_day) }
  assert(range.from < range.until, 'a view file states its days')
  return range
}

/** A block that becomes a file. */
export interface Block extends DayRange {
  readonly rows: number
}

/**
 * The blocks of the days that are there.
 * - `days`: starts of days with their rows, ascending; all rows of the view but those of `there`.
 * - `there`: files that the view has already, carried over or written before; none holds a day of `days`.
 * - `until`: nothing is known yet about days from here on (UTC ms, or infinity): blocks that reach beyond wait.
 */
export function blocksOf(
  days: readonly { readonly from: number; readonly rows: number }[],
  there: readonly DayRange[],
  { rowsMax, until }: { rowsMax: number; until: number },
): Block[] {
  const blocks: Block[] = []
  const put = (range: DayRange, inside: typeof days, files: readonly DayRange[]): void => {
    if (inside.length === 0) return
    const rows = inside.reduce((sum, day) => sum + day.rows, 0)
    const isDay = range.until - range.from === DAY_MS
    // A smaller file that is there already shows that the whole block has too many rows.
    if (files.length === 0 && (rows <= rowsMax || isDay)) {
      if (range.until <= until) blocks.push({ ...range, rows })
      return
    }
    assert(!isDay, 'a day that is written has no file yet')
    const middle = range.from + (range.until - range.from) / 2
    for (const half of [
      { from: range.from, until: middle },
      { from: middle, until: range.until },
    ]) {
      put(
        half,
        inside.filter(({ from }) => from >= half.from && from < half.until),
        files.filter((file) => file.from < half.until && file.until > half.from),
      )
    }
  }
  const rootMs = ROOT_DAYS * DAY_MS
  const roots = new Set(days.map(({ from }) => floorTo(from, rootMs)))
  for (const from of roots) {
    const root = { from, until: from + rootMs }
    put(
      root,
      days.filter((day) => day.from >= root.from && day.from < root.until),
      there.filter((file) => file.from < root.until && file.until > root.from),
    )
  }
  return blocks
}

/** Ranges of days that no file of `files` goes beyond: files that overlap, as those of two arms may, are in one range. */
export function commonRanges(files: readonly DayRange[]): DayRange[] {
  const ranges: { from: number; until: number }[] = []
  for (const { from, until } of files.toSorted((a, b) => a.from - b.from)) {
    const last = ranges.at(-1)
    if (last === undefined || from >= last.until) ranges.push({ from, until })
    else last.until = Math.max(last.until, until)
  }
  return ranges
}
