/**
 * Definitions as the rest of the system sees them: checked, bound and typed. `load.ts` makes them from a directory.
 * A definition is data; everything that depends on it is derived (generated reader, SQL, layouts, contract pages).
 */
import type { ColumnSpec, MetricReader } from '#core/columns.ts'
import type { PartialLayout } from '#core/partial.ts'
import type { DurationMs } from '#core/time.ts'

/** How the event time is read from its field. Without a zone, an ISO text must carry an offset. */
export interface EventTimeSpec {
  readonly field: string
  readonly unit: 'ms' | 's' | 'us' | 'iso'
}

/** An event topic with its time policy. */
export interface StreamDefinition {
  readonly name: string
  readonly doc: string
  /** Path of the YAML file, as given; for messages. */
  readonly file: string
  /** The current (reader) Avro schema: a flat record, JSON text in its original spelling. */
  readonly schema: string
  /** Every field of the schema in order, as columns. */
  readonly fields: readonly ColumnSpec[]
  /** Field that is the record key; null = round robin. */
  readonly key: string | null
  /** Field that identifies an event; null when the stream has no dedup. */
  readonly id: string | null
  readonly eventTime: EventTimeSpec
  readonly disorderMs: DurationMs
  /** null: no future check. */
  readonly futureToleranceMs: DurationMs | null
  /** An id is a duplicate if it occurred earlier in the same partition in an epoch > current - horizon; null: no dedup. */
  readonly dedupHorizonEpochs: number | null
  readonly partitions: number
  readonly retentionMs: DurationMs | null
}

/** Tumbling windows `[k * size, (k + 1) * size)`; further kinds come with their issue. */
export interface WindowSpec {
  readonly kind: 'tumbling'
  readonly sizeMs: DurationMs
}

/** A measure that is stored as a partial. */
export interface MeasureDefinition {
  readonly name: string
  /** As written, for pages: `count(*) filter (where delay < 15)`. */
  readonly sql: string
  /** Type of the presented value. */
  readonly type: 'int64' | 'decimal' | 'float64'
  readonly scale: number
}

/** A number computed from measures at the very end. */
export interface DerivedDefinition {
  readonly name: string
  readonly sql: string
  /** Evaluates over presented measures as doubles; null when an operand is null or the divisor is 0. */
  readonly evaluate: (values: Readonly<Record<string, number | null>>) => number | null
}

/** A KPI, bound to its stream. */
export interface MetricDefinition {
  readonly name: string
  readonly doc: string
  readonly file: string
  readonly stream: StreamDefinition
  readonly mode: 'lambda' | 'kappa'
  /** SQL text of the filter, or null. */
  readonly where: string | null
  readonly window: WindowSpec
  readonly allowedLatenessMs: DurationMs
  readonly layout: PartialLayout
  readonly dimensions: readonly { readonly name: string; readonly sql: string }[]
  readonly measures: readonly MeasureDefinition[]
  readonly derived: readonly DerivedDefinition[]
  readonly tolerance: number
  /** Fields of the stream that the generated reader needs. */
  readonly fields: readonly string[]
  /** SHA-256 (hex) over the canonical definition, the stream's policy and schema. */
  readonly hash: string
  /** First 12 digits of `hash`: names the generation in topics, paths and envelopes. */
  readonly generation: string
  /** Makes a fresh reader with buffers of its own (one per worker). */
  readonly createReader: () => MetricReader
  /**
   * DuckDB SQL that yields this metric's partials, one row per (window, group), ordered by window then dimensions:
   * `window_from BIGINT`, `d_<dimension>`…, per measure `<m>_n BIGINT`, `<m>_s DECIMAL(38,0)` (unscaled),
   * `<m>_v` (BIGINT unscaled or DOUBLE; null = no value), and `late BIGINT`.
   */
  readonly toSql: (input: SqlInput) => string
}

/** What `toSql` reads. The relation has the archive's columns (schemas/archive.ts), duplicates already removed. */
export interface SqlInput {
  /** A FROM item: a table name, `read_parquet([...])` or a parenthesised query. */
  readonly relation: string
  /** Only windows whose start lies in [from, until); null = all. UTC ms. */
  readonly windows: { readonly from: number; readonly until: number } | null
  /** False leaves the rows in any order, for who sorts them himself; default: by window and dimensions. */
  readonly ordered?: boolean
}

/** One thing wrong with a definitions directory. Line and column are 1-based; null when the file as a whole is meant. */
export interface Problem {
  readonly file: string
  readonly line: number | null
  readonly column: number | null
  readonly code: string
  readonly message: string
  readonly advice: string
}

/** A checked definitions directory. */
export interface Definitions {
  readonly directory: string
  readonly streams: readonly StreamDefinition[]
  readonly metrics: readonly MetricDefinition[]
}
