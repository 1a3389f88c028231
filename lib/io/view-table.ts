/**
 * View tables: the Parquet files of one published view → a PartialTable. Every file's SHA-256 is checked before it is read.
 * All numbers leave DuckDB as doubles that are exact by construction: sums as (hi, lo) words, extremes as (value, rest).
 */
import { join } from 'node:path'
import { DuckDBDecimalValue } from '@duckdb/node-api'
import type { DimensionLayout, GroupValue, PartialLayout, PartialTable } from '#core/partial.ts'
import type { ViewEntry } from '#schemas/view.ts'
import { type DuckDb, sqlName, sqlText } from './duckdb.ts'
import { OperatingError } from './errors.ts'
import type { Lake } from './ports.ts'

const TWO_32 = '4294967296'

/**
 * Reads the rows of a view.
 * @throws OperatingError LAKE_DAMAGED when a file is absent or is not the one that was published; DUCKDB_FAILED
 */
export async function loadViewTable(
  deps: { readonly lake: Lake; readonly duckdb: DuckDb },
  entry: ViewEntry,
  layout: PartialLayout,
): Promise<PartialTable> {
  for (const { path, sha256 } of entry.files) {
    const found = await deps.lake.hash(path)
    if (found === sha256) continue
    const what = found === null ? 'is absent' : 'is not the file that was published'
    throw new OperatingError('LAKE_DAMAGED', `${path} of view ${entry.metric} at cut ${entry.cut} ${what}`, { path })
  }
  const rows = entry.rows
  const windowFrom = new Float64Array(rows)
  const cells = new Float64Array(rows * layout.width)
  const dimensions = layout.dimensions.map(() => ({ values: [] as GroupValue[], index: new Int32Array(rows) }))
  const table = { layout, count: rows, windowFrom, dimensions, cells }
  if (entry.files.length === 0) return table
  const { names, slots } = selection(layout)
  const files = entry.files.map(({ path }) => sqlText(join(deps.lake.root, path))).join(', ')
  const sql = `SELECT ${names.join(', ')} FROM read_parquet([${files}])`
  const known = layout.dimensions.map(() => new Map<unknown, number>())
  let at = 0
  try {
    const result = await deps.duckdb.connection.stream(sql)
    for (
      let chunk = await result.fetchChunk();
      chunk !== null && chunk.rowCount > 0;
      chunk = await result.fetchChunk()
    ) {
      const count = chunk.rowCount
      if (at + count > rows) break
      const windows = chunk.getColumnValues(0) as number[]
      for (let row = 0; row < count; row++) windowFrom[at + row] = windows[row]!
      layout.dimensions.forEach((dimension, one) => {
        const { values, index } = dimensions[one]!
        chunk.visitColumnValues(one + 1, (value, row) => {
          const key = value instanceof DuckDBDecimalValue ? value.value : value
          let id = known[one]!.get(key)
          if (id === undefined) {
            id = values.length
            known[one]!.set(key, id)
            values.push(groupValue(dimension, value))
          }
          index[at + row] = id
        })
      })
      slots.forEach((slot, column) => {
        const doubles = chunk.getColumnValues(column + 1 + layout.dimensions.length) as number[]
        for (let row = 0; row < count; row++) cells[(at + row) * layout.width + slot] = doubles[row]!
      })
      at += count
    }
  } catch (error) {
    throw new OperatingError(
      'DUCKDB_FAILED',
      error instanceof Error ? error.message : String(error),
      { sql: sql.slice(0, 400) },
      { cause: error },
    )
  }
  if (at !== rows) {
    throw new OperatingError(
      'LAKE_DAMAGED',
      `view ${entry.metric} at cut ${entry.cut} should have ${rows} rows, its files have others`,
      { cut: entry.cut },
    )
  }
  return table
}

/** Columns to read: window, dimensions, then one double per slot in the order of `slots`. */
function selection(layout: PartialLayout): { names: string[]; slots: number[] } {
  const names = [
    'window_from::DOUBLE',
    // The client's decoder drops a U+FEFF that a text begins with, which would make two groups one: so none begins with it.
    ...layout.dimensions.map(({ name, kind }) => `${kind === 'string' ? "'=' || " : ''}${sqlName(`d_${name}`)}`),
  ]
  const slots: number[] = []
  const put = (slot: number, sql: string): void => {
    slots.push(slot)
    names.push(sql)
  }
  for (const { name, kind, slot, float } of layout.measures) {
    if (kind === 'count' || kind === 'sum' || kind === 'avg') put(slot, `${sqlName(`${name}_n`)}::DOUBLE`)
    if (kind === 'sum' || kind === 'avg') {
      const sum = `coalesce(${sqlName(`${name}_s`)}, 0)::HUGEINT`
      const low = `(((${sum} % ${TWO_32}) + ${TWO_32}) % ${TWO_32})`
      put(slot + 1, `((${sum} - ${low}) // ${TWO_32})::DOUBLE`)
      put(slot + 2, `${low}::DOUBLE`)
    }
    if (kind === 'min' || kind === 'max') {
      const value = sqlName(`${name}_v`)
      put(slot, `coalesce(${value}::DOUBLE, ${kind === 'min' ? '' : '-'}'infinity'::DOUBLE)`)
      if (!float) put(slot + 1, `coalesce((${value}::HUGEINT - ${value}::DOUBLE::HUGEINT)::DOUBLE, 0)`)
    }
  }
  put(layout.late, 'late::DOUBLE')
  return { names, slots }
}

function groupValue(dimension: DimensionLayout, value: unknown): GroupValue {
  if (value instanceof DuckDBDecimalValue) return value.value
  if (typeof value === 'string') return value.slice(1)
  if (dimension.kind === 'int64' && typeof value === 'bigint') {
    const small = Number(value)
    return Number.isSafeInteger(small) ? small : value
  }
  return value as GroupValue
}
