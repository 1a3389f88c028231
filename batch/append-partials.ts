/**
 * Partial tables → rows of a view's columns in DuckDB, exact: sums leave their (hi, lo) pairs as integers, extremes their
 * (value, rest) pairs, no value becomes null.
 */
import { DuckDBDataChunk, DuckDBDecimalValue, type DuckDBType, type DuckDBValue } from '@duckdb/node-api'
import { exactOf, type GroupValue, type MeasureLayout, type PartialTable } from '#core/partial.ts'
import type { DuckDb } from '#io/duckdb.ts'

/** Rows of one DuckDB data chunk. */
const ROWS = 2048

/** Appends every row of `tables` to the temporary table `name`, made with `createViewTable`. */
export async function appendPartials(
  db: DuckDb,
  name: string,
  tables: AsyncIterable<PartialTable>,
  breathe: () => Promise<void>,
): Promise<void> {
  const appender = await db.connection.createAppender(name)
  try {
    const types: DuckDBType[] = Array.from({ length: appender.columnCount }, (_, at) => appender.columnType(at))
    for await (const table of tables) {
      for (let from = 0; from < table.count; from += ROWS) {
        const chunk = DuckDBDataChunk.create(types)
        chunk.setColumns(columnsOf(table, from, Math.min(table.count, from + ROWS)))
        appender.appendDataChunk(chunk)
      }
      await breathe()
    }
    appender.flushSync()
  } finally {
    appender.closeSync()
  }
}

function columnsOf(table: PartialTable, from: number, until: number): DuckDBValue[][] {
  const { layout, cells, windowFrom, dimensions } = table
  const column = (value: (at: number, row: number) => DuckDBValue): DuckDBValue[] =>
    Array.from({ length: until - from }, (_, i) => value((from + i) * layout.width, from + i))
  const columns = [column((_, row) => BigInt(windowFrom[row]!))]
  dimensions.forEach(({ values, index }, at) => {
    const { kind, scale } = layout.dimensions[at]!
    const cooked = values.map((value) => groupCell(value, kind, scale))
    columns.push(column((_, row) => cooked[index[row]!]!))
  })
  for (const measure of layout.measures) {
    const { kind, slot } = measure
    if (kind === 'min' || kind === 'max') columns.push(column((at) => extreme(measure, cells, at + slot)))
    else columns.push(column((at) => BigInt(cells[at + slot]!)))
    if (kind === 'sum' || kind === 'avg')
      columns.push(column((at) => new DuckDBDecimalValue(exactOf(cells, at + slot + 1), 38, 0)))
  }
  columns.push(column((at) => BigInt(cells[at + layout.late]!)))
  return columns
}

function extreme(measure: MeasureLayout, cells: Float64Array, at: number): DuckDBValue {
  const value = cells[at]!
  if (!Number.isFinite(value)) return null
  return measure.float ? value : BigInt(value) + BigInt(cells[at + 1]!)
}

function groupCell(value: GroupValue, kind: string, scale: number): DuckDBValue {
  if (value === null) return null
  if (kind === 'int64') return BigInt(value as number | bigint)
  if (kind === 'decimal') return new DuckDBDecimalValue(BigInt(value as bigint), 38, scale)
  return value as DuckDBValue
}
