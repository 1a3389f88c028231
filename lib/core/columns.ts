/**
 * Columns: the one form in which event data move on the hot path. A chunk is up to `CHUNK_ROWS` decoded records of ONE
 * partition in offset order; every column is a typed array over the rows. No object exists per record.
 *
 *   raw record batch ─ projector ─▶ ColumnChunk ─ generated metric reader ─▶ MetricColumns ─ epoch table ─▶ partials
 *
 * Exactness: an `int64` or `decimal` value is held as a double (its integer, unscaled value) as long as every row of the
 * column in this chunk is within ±2^53. When one is not, `wide` is filled for ALL rows and is the truth; readers of a
 * column must look at `wide` first. Strings are never decoded: a row is a byte range of `bytes`.
 */

/** Rows a chunk holds at most: big enough to amortise calls, small enough to stay in the L2 cache. */
export const CHUNK_ROWS = 1024

/** Largest magnitude an `f64` cell may hold for an `int64` or `decimal` column before the column turns wide. */
export const SAFE_MAX = 2 ** 53 - 1

/**
 * `int64`: Avro int, long, timestamps as they are. `decimal`: unscaled integer, see `scale`. `float64`: Avro float, double.
 * `bool`: 0 or 1. `string`: Avro string, enum symbol, uuid (UTF-8 bytes). `bytes`: Avro bytes or fixed.
 */
export type ColumnKind = 'int64' | 'decimal' | 'float64' | 'bool' | 'string' | 'bytes'

/** Static shape of a column. `scale` is 0 unless `kind` is `decimal`; `precision` (at most 18) is 0 unless `decimal`. */
export interface ColumnSpec {
  readonly name: string
  readonly kind: ColumnKind
  readonly nullable: boolean
  readonly precision: number
  readonly scale: number
}

/**
 * One column of a chunk. Arrays have room for `CHUNK_ROWS` rows; only the first `count` of the chunk are meaningful.
 * Cells of null rows hold 0 / an empty range.
 */
export interface Column {
  readonly spec: ColumnSpec
  /** 1 = value, 0 = null; null when no row of THIS chunk is null. */
  valid: Uint8Array | null
  /** Values of `int64`, `decimal`, `float64`, `bool`. Empty array for strings and bytes. */
  f64: Float64Array
  /** Exact values of an `int64` or `decimal` column of which one row is beyond ±SAFE_MAX; else null. */
  wide: BigInt64Array | null
  /** `string`, `bytes`: first byte and end (exclusive) of each row in `bytes`. Empty arrays for other kinds. */
  from: Int32Array
  until: Int32Array
  /** The buffer that `from`/`until` point into: the decompressed record batch, or a scratch buffer of an expression. */
  bytes: Uint8Array
}

/**
 * Decoded records of one partition, in offset order. Reused between calls: whoever keeps a value copies it.
 * All rows lie in one record batch, so they share `arrivalMs`.
 */
export interface ColumnChunk {
  count: number
  /** Offset of each row, a safe integer. */
  offsets: Float64Array
  /** Log append time of the record batch, UTC ms. */
  arrivalMs: number
  /** Writer schema id of every row. */
  schemaId: number
  /** Event time of each row, UTC ms, within EVENT_TIME_MIN_MS..EVENT_TIME_MAX_MS. */
  eventTimes: Float64Array
  /** In the order of the fields that were asked for. */
  columns: Column[]
  /** Record keys and raw header blocks (count varint and headers, null when there are none), when asked for (archive); else null. */
  keys: Column | null
  headers: Column | null
}

/** What one metric's generated reader makes of a chunk. Arrays are reused by the next call. */
export interface MetricColumns {
  /** 1 for rows that pass the metric's `where` (null counts as false); null when there is no `where`. */
  readonly where: Uint8Array | null
  /** One per dimension, in the definition's order. */
  readonly dimensions: readonly Column[]
  /** One per measure, in the definition's order; null for `count(*)`. */
  readonly arguments: readonly (Column | null)[]
  /** One per measure: 1 for rows that pass its `filter (where …)`; null when it has none. */
  readonly filters: readonly (Uint8Array | null)[]
}

/**
 * A metric's generated columnar reader. Pure. Throws RangeError with code-bearing message `MEASURE_OVERFLOW …` when an
 * exact result leaves int64 (DuckDB would raise as well); the metric then refuses and nothing else stops. `counted`, 1 per row
 * that counts, leaves that to those rows; without it every row may throw.
 */
export type MetricReader = (chunk: ColumnChunk, counted?: Uint8Array) => MetricColumns

/** An empty column of `spec` with room for `rows` rows. */
export function allocateColumn(spec: ColumnSpec, rows: number = CHUNK_ROWS): Column {
  const text = spec.kind === 'string' || spec.kind === 'bytes'
  return {
    spec,
    valid: null,
    f64: new Float64Array(text ? 0 : rows),
    wide: null,
    from: new Int32Array(text ? rows : 0),
    until: new Int32Array(text ? rows : 0),
    bytes: new Uint8Array(0),
  }
}
