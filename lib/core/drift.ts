/**
 * Drift: what differs between two views over the same cut, cell by cell. A cell is one (window, group, measure); `late`
 * counts as a measure. Two views of one definition over one cut hold the same rows, so any difference is a fault: zero
 * means zero, and every other number must find its cause or stand as unexplained (law 12).
 */
import type { GroupValue } from './partial.ts'
import type { InstantMs } from './time.ts'

/** A partial of one measure as a view stores it: column suffix (`n`, `s`, `v`) → exact value; null = no value. */
export type PartialCell = Readonly<Record<string, bigint | number | null>>

/** One (window, group) that the two arms do not agree on. */
export interface DifferingRow {
  readonly windowFrom: InstantMs
  readonly group: Readonly<Record<string, GroupValue>>
  /** Rows with this key in each arm; a sound view has 0 or 1. */
  readonly sqlRows: number
  readonly streamRows: number
  /** Per measure, the partial of each arm; the sum over its rows when there are several. */
  readonly measures: readonly { readonly measure: string; readonly sql: PartialCell; readonly stream: PartialCell }[]
}

/** One cell that differs; null = the arm has no such row. */
export interface DriftDifference {
  readonly windowFrom: InstantMs
  readonly group: Readonly<Record<string, GroupValue>>
  readonly measure: string
  readonly sql: PartialCell | null
  readonly stream: PartialCell | null
}

const same = (a: PartialCell, b: PartialCell): boolean => Object.keys(a).every((key) => a[key] === b[key])

/**
 * The cells of a row that differ. A row that one arm lacks, or has twice, differs in every measure: even where the values
 * happen to agree, the reader of that arm would be shown something else.
 */
export function differencesOf(row: DifferingRow): DriftDifference[] {
  const { windowFrom, group, sqlRows, streamRows } = row
  const whole = sqlRows !== 1 || streamRows !== 1
  return row.measures
    .filter(({ sql, stream }) => whole || !same(sql, stream))
    .map(({ measure, sql, stream }) => ({
      windowFrom,
      group,
      measure,
      sql: sqlRows === 0 ? null : sql,
      stream: streamRows === 0 ? null : stream,
    }))
}
