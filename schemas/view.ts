/**
 * Batch views in the lake.
 *
 *   views/<metric>/<arm>/<generation>/<cut>/<day>.parquet   one file per UTC day of window start: rows as `toSql` yields them
 *   views/<metric>/<arm>/manifest/<sequence>.json           8 digits, from 1, create-if-absent; the last entry is the one read
 *
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
  /** Ordered by day. `day` is the UTC day of the windows' start as `YYYY-MM-DD`. */
  readonly files: readonly {
    readonly day: string
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
