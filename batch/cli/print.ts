/**
 * Tables and values. On a terminal at most 80 columns, or as many as it has when they are fewer, and long cells end with `…`;
 * in a pipe or a file nothing is cut, since an id without its end is none.
 */
import Table from 'cli-table3'

const WIDTH_MAX = 80
/** Spaces around a cell and between two. */
const PADDING = 2
const CELL_MIN = 6

/** A value as text: null as `–`, objects as JSON. */
export function show(value: unknown): string {
  if (value === null || value === undefined) return '–'
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint') return String(value)
  return JSON.stringify(value)
}

/** Columns that a table may have on an output. */
export const widthOf = ({ isTTY, columns }: { isTTY?: boolean; columns?: number }): number =>
  isTTY === true ? Math.min(columns || WIDTH_MAX, WIDTH_MAX) : Number.POSITIVE_INFINITY

const textOf = (value: unknown): string => show(value).replaceAll(/\s+/g, ' ')

/** Width of each column with its padding, uncut. */
const widthsOf = (head: readonly string[], cells: readonly (readonly string[])[]): number[] =>
  head.map((name, at) => Math.max(name.length, ...cells.map((row) => row[at]!.length)) + PADDING)

const total = (widths: readonly number[]): number => widths.reduce((sum, one) => sum + one, 0)

/** Whether a table would fit the width with no cell cut. */
export function fits(
  head: readonly string[],
  rows: readonly (readonly unknown[])[],
  width = widthOf(process.stdout),
): boolean {
  return (
    total(
      widthsOf(
        head,
        rows.map((row) => row.map(textOf)),
      ),
    ) -
      PADDING <=
    width
  )
}

/** A table of rows under a head. Columns of numbers are set right. The widest columns give way first. */
export function tableOf(
  head: readonly string[],
  rows: readonly (readonly unknown[])[],
  width = widthOf(process.stdout),
): string {
  if (rows.length === 0) return '(none)'
  const cells = rows.map((row) => row.map(textOf))
  const widths = widthsOf(head, cells)
  for (let taken = total(widths) - PADDING; taken > width; taken--) {
    const widest = widths.indexOf(Math.max(...widths))
    if (widths[widest]! <= CELL_MIN) break
    widths[widest]!--
  }
  const none = {
    top: '',
    'top-mid': '',
    'top-left': '',
    'top-right': '',
    bottom: '',
    'bottom-mid': '',
    'bottom-left': '',
    'bottom-right': '',
  }
  const table = new Table({
    head: [...head],
    colWidths: widths,
    colAligns: head.map((_, at) =>
      rows.every((row) => typeof row[at] === 'number' || row[at] === null) ? 'right' : 'left',
    ),
    chars: { ...none, left: '', 'left-mid': '', mid: '', 'mid-mid': '', right: '', 'right-mid': '', middle: '' },
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': PADDING },
  })
  table.push(...cells)
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')
}

/** `name: value` lines. */
export const linesOf = (object: Readonly<Record<string, unknown>>): string =>
  Object.entries(object)
    .map(([name, value]) => `${name}: ${show(value)}`)
    .join('\n')
