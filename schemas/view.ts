/**
 * Batch views in the lake.
 *
 *   views/<metric>/<arm>/<generation>/<cut>/<from day>_<until day>.parquet   windows that start in these UTC days: rows as `toSql` yields them
 *   views/<metric>/<arm>/manifest/<sequence>.json                            8 digits, from 1, create-if-absent; the last entry is the one read
 *
 * Which days share a file is a function of the view's rows alone (batch/view-blocks.ts), so that any way to the same rows
 * gives the same files. A file may lie under an earlier cut: its days were carried over.
 * `arm` is `sql` (DuckDB over the archive) or `stream` (merged sealed partials). Both hold the same rows for the same cut:
 * their difference is drift. Entry n names the SHA-256 of entry n-1's bytes. A rollback is a new entry that repeats an old view.
 */

/** How a view was computed. */
export type ViewArm = 'sql' | 'stream'

/** One published view. */
export interface ViewEntry {
  readonly format: 1
  readonly metric: string
  readonly arm: ViewArm
  readonly sequence: number
  readonly previous: string | null
  readonly generation: string
  readonly definition_hash: string
  /** Barrier id; epochs ≥ cut are the speed layer's. */
  readonly cut: number
  /** Next offset per partition at the cut (exclusive bound of what the view covers). */
  readonly offsets: readonly number[]
  /** Watermark of the stream at the cut (minimum over partitions that are not idle); null = none. */
  readonly watermark: number | null
  /** Ordered by day, without overlap: the rows of the windows that start in [from_day, until_day), UTC days as `YYYY-MM-DD`. */
  readonly files: readonly {
    readonly from_day: string
    readonly until_day: string
    readonly path: string
    readonly sha256: string
    readonly bytes: number
    readonly rows: number
  }[]
  readonly rows: number
  /** Set when this entry repeats entry `rollback_of`. */
  readonly rollback_of: number | null
  /** Job that published it; for the audit trail. Not part of any number. */
  readonly job: string | null
  readonly published_ms: number
}
