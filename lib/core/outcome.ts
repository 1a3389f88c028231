/** What became of a record or an item: bad data are values, never exceptions. Closed set of reasons. */

/** Why a record on the topic could not be used; the reason of its dead letter. */
export type DeadReason =
  | 'damaged-batch'
  | 'unknown-codec'
  | 'too-large'
  | 'no-frame'
  | 'wrong-magic'
  | 'unknown-schema'
  | 'incompatible-schema'
  | 'truncated'
  | 'bad-length'
  | 'bad-union'
  | 'bad-enum'
  | 'trailing-bytes'
  | 'bad-utf8'
  | 'not-finite'
  | 'decimal-range'
  | 'bad-barrier'
  | 'event-time-missing'
  | 'event-time-range'
  | 'event-time-format'

/** A record that is accounted for but not used: its place, its reason, and where its bytes stand in the batch. */
export interface DeadRecord {
  readonly offset: number
  readonly reason: DeadReason
  /** Schema id of the frame, or null when there was none. */
  readonly schemaId: number | null
  /** Key bytes or null for a null key. Copied. */
  readonly key: Uint8Array | null
  /** Value bytes as they were on the log, or null for a tombstone. Copied. */
  readonly value: Uint8Array | null
}
