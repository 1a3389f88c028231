/**
 * SQL types and literals of what batch jobs write and read: the archive's fields, the views' columns.
 */
import { unreachable } from '#core/assert.ts'
import type { ColumnSpec } from '#core/columns.ts'
import type { DimensionLayout, PartialLayout } from '#core/partial.ts'
import { sqlName } from '#io/duckdb.ts'

/** Type of a field's column in the archive (schemas/archive.ts). */
export function sqlTypeOf({ kind, precision, scale }: Pick<ColumnSpec, 'kind' | 'precision' | 'scale'>): string {
  switch (kind) {
    case 'int64':
      return 'BIGINT'
    case 'decimal':
      return `DECIMAL(${precision},${scale})`
    case 'float64':
      return 'DOUBLE'
    case 'bool':
      return 'BOOLEAN'
    case 'string':
      return 'VARCHAR'
    case 'bytes':
      return 'BLOB'
    default:
      return unreachable(kind)
  }
}

function dimensionType(dimension: DimensionLayout): string {
  if (dimension.kind === 'decimal') return `DECIMAL(38,${dimension.scale})`
  return sqlTypeOf({ kind: dimension.kind, precision: 0, scale: 0 })
}

/** One column of a view (schemas/view.ts). `measure` is null for keys; `late` counts as a measure. */
export interface ViewColumn {
  readonly name: string
  readonly type: string
  readonly role: 'key' | 'n' | 's' | 'v' | 'late'
  readonly measure: string | null
  /** SQL aggregate that combines it over rows of one (window, group). */
  readonly combine: 'sum' | 'min' | 'max' | null
}

/** Columns of a metric's views, in order. Both arms write exactly these types. */
export function viewColumns(layout: PartialLayout): ViewColumn[] {
  const columns: ViewColumn[] = [{ name: 'window_from', type: 'BIGINT', role: 'key', measure: null, combine: null }]
  for (const dimension of layout.dimensions) {
    columns.push({
      name: `d_${dimension.name}`,
      type: dimensionType(dimension),
      role: 'key',
      measure: null,
      combine: null,
    })
  }
  for (const { name, kind, float } of layout.measures) {
    if (kind === 'min' || kind === 'max') {
      columns.push({ name: `${name}_v`, type: float ? 'DOUBLE' : 'BIGINT', role: 'v', measure: name, combine: kind })
      continue
    }
    columns.push({ name: `${name}_n`, type: 'BIGINT', role: 'n', measure: name, combine: 'sum' })
    if (kind !== 'count')
      columns.push({ name: `${name}_s`, type: 'DECIMAL(38,0)', role: 's', measure: name, combine: 'sum' })
  }
  columns.push({ name: 'late', type: 'BIGINT', role: 'late', measure: 'late', combine: 'sum' })
  return columns
}

/** `"window_from", "d_x", …` */
export const columnNames = (columns: readonly ViewColumn[]): string =>
  columns.map(({ name }) => sqlName(name)).join(', ')

/** Order of a view's rows: window, then dimensions, null first. */
export const viewOrder = (columns: readonly ViewColumn[]): string =>
  columns
    .filter(({ role }) => role === 'key')
    .map(({ name }) => `${sqlName(name)} NULLS FIRST`)
    .join(', ')
