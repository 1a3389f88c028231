/**
 * The archive's layout in the lake. Plain Parquet (zstd) that DuckDB, pandas, Spark and Trino read as it is.
 *
 *   events/<stream>/p=<partition>/<first offset>-<next offset>.parquet      20 digits each
 *   events/<stream>/p=<partition>/manifest/<sequence>.json                  8 digits, from 1, create-if-absent
 *
 * One file = one contiguous offset range of one partition, EVERY offset once (events, barriers, dead records). A file of
 * other content under that name, left by a writer that died before its entry, is passed over: `<range>.2.parquet` and so on.
 * A file that no manifest entry names does not exist. Entry n names the SHA-256 of entry n-1's bytes.
 *
 * Columns before the event's fields (which keep their names and are all nullable; int64 and timestamps BIGINT,
 * decimals DECIMAL(p,s), enums and uuids VARCHAR, bytes BLOB):
 *   _partition INTEGER, _offset BIGINT, _epoch BIGINT (id of the barrier that opened it, 0 = the first),
 *   _arrival BIGINT (ms), _kind VARCHAR ('event' | 'quarantined' | 'barrier' | 'dead' | 'control': an offset without a
 *   producer's record, such as a transaction marker or a gap left by the log), _reason VARCHAR (dead records),
 *   _schema_id INTEGER, _key BLOB, _headers VARCHAR (JSON [[name, base64]…] or null), _raw BLOB (value of dead and barrier records),
 *   _event_time BIGINT (ms), _watermark BIGINT (the partition's watermark just BEFORE this record, null = none yet)
 *
 * The event's fields are those of the stream's schema on the day, resolved. Where that loses something that a writer wrote (a
 * field the schema does not have, an enum's symbol it does not know, an integer rounded), a further column keeps it as it was
 * written, null in the rows of other writers; it has the writer's name for it, or that name with _2, _3… if there is such
 * a column already. The file's Parquet metadata say under `tidemark.writers` which column holds each field of each writer.
 */

/** Names of the columns above, in order. */
export const ARCHIVE_COLUMNS = [
  '_partition',
  '_offset',
  '_epoch',
  '_arrival',
  '_kind',
  '_reason',
  '_schema_id',
  '_key',
  '_headers',
  '_raw',
  '_event_time',
  '_watermark',
] as const

/** Key of a file's Parquet metadata: a JSON array of `ArchiveWriter`. Files without it are older; their columns are as described. */
export const WRITERS_KEY = 'tidemark.writers'

/** A writer's schema of which a file holds events. */
export interface ArchiveWriter {
  /** As in `_schema_id`: negative beyond int32. */
  readonly id: number
  /** The writer's schema, Avro JSON. */
  readonly schema: string
  /** Per field of it, in order: the column that holds its values, each as it was written. */
  readonly columns: readonly string[]
}

/** A barrier as the archive saw it: accepted, in offset order. */
export interface ArchivedBarrier {
  readonly id: number
  /** Offset of the barrier record; the cut's exclusive bound is `offset + 1`. */
  readonly offset: number
  readonly created_ms: number
  /** Partition count that the barrier states. */
  readonly partitions: number
  /** Watermark of the partition at the barrier; null = no event yet. */
  readonly watermark: number | null
  /** Events of the epoch that the barrier ended. */
  readonly events: number
}

/** One entry of a partition's manifest chain. */
export interface ArchiveEntry {
  readonly format: 1
  readonly stream: string
  readonly partition: number
  readonly sequence: number
  /** SHA-256 (hex) of the previous entry's bytes; null for the first. */
  readonly previous: string | null
  /** Identity of the topic when known; a change stops the archiver. */
  readonly incarnation: string | null
  readonly file: { readonly path: string; readonly sha256: string; readonly bytes: number }
  readonly rows: number
  readonly events: number
  readonly dead: number
  readonly quarantined: number
  readonly first_offset: number
  readonly next_offset: number
  /** CRC32C of the record batch that holds the last offset: read again at start, it tells whether the log is still the same one. */
  readonly last_batch_crc: number
  /** Bounds of the event times of `event` rows; null when there is none. */
  readonly event_time_min: number | null
  readonly event_time_max: number | null
  readonly barriers: readonly ArchivedBarrier[]
  /** State after `next_offset`, so that a restarted archiver goes on: last barrier id and watermark. */
  readonly last_barrier: number
  readonly watermark: number | null
  readonly events_in_open_epoch: number
}
