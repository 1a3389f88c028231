/**
 * Contract of the generated Avro projector (avro-projector.ts) and the record cursor (record-batch.ts): how bytes become columns.
 *
 * A record is decodable iff its frame names a known schema that resolves to the stream's current one, the Avro body is
 * structurally valid and consumed to the last byte, every string is UTF-8, every double finite, every decimal fits its
 * precision and the event time is present and in range. That holds for ALL fields, also for those no metric reads, so that
 * the speed layer, the archive and a replay always agree on which records are dead.
 */
import type { ColumnChunk, ColumnSpec } from '#core/columns.ts'
import type { DeadRecord } from '#core/outcome.ts'

/** A place inside one decompressed record batch. Mutable: `project` and `readRecord` move it. */
export interface RecordCursor {
  /** The batch's records, decompressed; for an uncompressed batch a view on the batch itself. */
  bytes: Uint8Array
  /** First byte of the next record, and end (exclusive) of the last. */
  at: number
  end: number
  /** Records not read yet. */
  remaining: number
  baseOffset: number
  /** Log append time of the batch. */
  arrivalMs: number
  /** Records with a lower offset are skipped without a trace: a fetch may begin inside a batch. */
  skipBelow: number
  /** Schema id of the record at which `project` stopped with `schema`. */
  schemaId: number
}

/**
 * Why `project` stopped: the batch is read to its `end`; the chunk is `full`; the next record has another `schema` id
 * (cursor.schemaId); the next record is a `barrier` (header `tidemark-barrier`), to be read with `readRecord`.
 */
export type Stop = 'end' | 'full' | 'schema' | 'barrier'

/** A generated function for one (writer schema, wanted fields). Holds buffers: one per worker. */
export interface Projector {
  readonly writerId: number
  readonly columns: readonly ColumnSpec[]
  /** Appends decodable records to the chunk from `chunk.count` on; dead ones go to `dead` with copies of their bytes. */
  project(cursor: RecordCursor, chunk: ColumnChunk, dead: DeadRecord[]): Stop
}

/** What to compile. `fields` are names of the reader schema, in the order of the chunk's columns. */
export interface ProjectorOptions {
  readonly writer: string
  readonly writerId: number
  readonly reader: string
  readonly fields: readonly string[]
  /** Names of fields of the writer's schema that follow as further columns, as they were written. Default none. */
  readonly written?: readonly string[]
  readonly eventTime: { readonly field: string; readonly unit: 'ms' | 's' | 'us' | 'iso' }
  /** Also fill `chunk.keys` and `chunk.headers`. */
  readonly envelope: boolean
}
