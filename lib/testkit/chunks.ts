/** Column chunks from plain values, for tests that begin behind the projector. */
import { allocateColumn, CHUNK_ROWS, type Column, type ColumnChunk, type ColumnSpec, SAFE_MAX } from '#core/columns.ts'

/** A cell as a test writes it: bigint only where it is beyond 2^53. */
export type TestCell = number | bigint | string | boolean | null

/** A column of at most CHUNK_ROWS cells. */
function columnOf(spec: ColumnSpec, cells: readonly TestCell[]): Column {
  const column = allocateColumn(spec)
  if (cells.some((cell) => cell === null))
    column.valid = Uint8Array.from({ length: CHUNK_ROWS }, (_, i) => (cells[i] === null ? 0 : 1))
  if (spec.kind === 'string' || spec.kind === 'bytes') {
    const parts = cells.map((cell) => new TextEncoder().encode((cell ?? '') as string))
    column.bytes = Buffer.concat(parts)
    let at = 0
    parts.forEach((part, i) => {
      column.from[i] = at
      at += part.length
      column.until[i] = at
    })
    return column
  }
  const isWide = cells.some((cell) => typeof cell === 'bigint' && (cell > BigInt(SAFE_MAX) || cell < -BigInt(SAFE_MAX)))
  if (isWide) column.wide = new BigInt64Array(CHUNK_ROWS)
  cells.forEach((cell, i) => {
    column.f64[i] = Number(cell ?? 0)
    if (column.wide !== null) column.wide[i] = typeof cell === 'bigint' ? cell : BigInt(Number(cell ?? 0))
  })
  return column
}

/** A chunk of rows; offsets count up from `firstOffset`. */
export function chunkOf(
  specs: readonly ColumnSpec[],
  rows: readonly { readonly eventTime: number; readonly cells: readonly TestCell[] }[],
  options: { firstOffset?: number; arrivalMs?: number } = {},
): ColumnChunk {
  return {
    count: rows.length,
    offsets: Float64Array.from({ length: CHUNK_ROWS }, (_, i) => (options.firstOffset ?? 0) + i),
    arrivalMs: options.arrivalMs ?? 0,
    schemaId: 1,
    eventTimes: Float64Array.from({ length: CHUNK_ROWS }, (_, i) => rows[i]?.eventTime ?? 0),
    columns: specs.map((spec, c) =>
      columnOf(
        spec,
        rows.map((row) => row.cells[c]!),
      ),
    ),
    keys: null,
    headers: null,
  }
}

/** The spec of a column with the usual defaults. */
export const specOf = (name: string, kind: ColumnSpec['kind'], options: Partial<ColumnSpec> = {}): ColumnSpec => ({
  name,
  kind,
  nullable: true,
  precision: 0,
  scale: 0,
  ...options,
})
