/**
 * Ports: what the services know of the outside world. Types only. Each port has one conformance suite in
 * test/integration or lib/io that runs on every adapter, the real ones included.
 */
import type { InstantMs } from '#core/time.ts'

/** A topic to create. Timestamps are always log append time, which is what arrival time means. */
export interface TopicSpec {
  readonly topic: string
  readonly partitions: number
  /** null keeps records for ever. */
  readonly retentionMs: number | null
  readonly cleanup: 'delete' | 'compact'
}

/** Where an appended batch came to stand. */
export interface Appended {
  readonly baseOffset: number
  /** Offset after the batch's last record. */
  readonly nextOffset: number
  readonly arrivalMs: InstantMs
}

/** One raw Kafka v2 record batch as it stands in the log (see format/record-batch). */
export interface FetchedBatch {
  readonly partition: number
  readonly baseOffset: number
  /** Inclusive: baseOffset + lastOffsetDelta. */
  readonly lastOffset: number
  /** Valid until the next `poll` of the same reader; copy to keep. May begin below the position asked for: skip those records. */
  readonly bytes: Uint8Array
}

/** Reads assigned partitions of one topic in offset order per partition. One `poll` at a time. */
export interface LogReader {
  /**
   * Record batches at the positions, at most about `maxBytes` (at least one batch when there is any); empty when nothing
   * came within `maxWaitMs`. Positions move past what was returned.
   * @throws OperatingError DATA_LOSS_SUSPECTED when a position is below the log's start or above its end
   */
  poll(options: { maxWaitMs: number; maxBytes: number }): Promise<FetchedBatch[]>
  close(): Promise<void>
}

/** The event log: Kafka, or its stand-ins. Record batches are the currency both ways. */
export interface EventLog {
  /** Idempotent; a topic that exists with fewer partitions is grown, with more is left as it is. */
  createTopics(specs: readonly TopicSpec[]): Promise<void>
  /** Partition count and, where the log knows one, an identity that changes when the topic is created again; null when absent. */
  describeTopic(topic: string): Promise<{ partitions: number; incarnation: string | null } | null>
  /**
   * Appends one record batch built by format/record-batch (baseOffset 0; base offset, arrival time and CRC are set by the log).
   * One outstanding append per partition is kept by the adapter; callers may call concurrently.
   * @throws OperatingError LOG_APPEND_UNKNOWN when it may or may not have happened; RECORD_TOO_LARGE; LOG_TOPIC_UNKNOWN
   */
  append(topic: string, partition: number, batch: Uint8Array): Promise<Appended>
  /** Opens a reader at explicit positions (offset = next to read). */
  open(topic: string, positions: readonly { partition: number; offset: number }[]): Promise<LogReader>
  /** First retained offset per partition. */
  startOffsets(topic: string): Promise<number[]>
  /** Next offset to be written per partition. */
  endOffsets(topic: string): Promise<number[]>
  /** A consumer's last stored next offsets: a hint for lag tools, never the truth. */
  loadPositions(owner: string, topic: string): Promise<ReadonlyMap<number, number>>
  storePositions(owner: string, topic: string, next: ReadonlyMap<number, number>): Promise<void>
  close(): Promise<void>
}

/** The lake: immutable files plus create-if-absent entries. Paths are relative, `/`-separated. */
export interface Lake {
  /** A folder that DuckDB can read under the same relative paths. */
  readonly root: string
  /** Makes a local temporary file path for a writer (DuckDB, Parquet); give it to `publishFile`. */
  temporaryPath(): Promise<string>
  /** fsync, rename into place, fsync the folder. Overwrites nothing: an existing path with other content is LAKE_DAMAGED. Returns SHA-256 (hex) and size. */
  publishFile(temporary: string, path: string): Promise<{ sha256: string; bytes: number }>
  /** Durable create-if-absent; false when the path exists already. */
  createIfAbsent(path: string, content: Uint8Array): Promise<boolean>
  /** Whole content, or null when absent. */
  read(path: string): Promise<Uint8Array | null>
  /** SHA-256 (hex) of a file, streamed; null when absent. */
  hash(path: string): Promise<string | null>
  /** What the file system knows of a file without reading it: another text once it was changed or replaced; null when absent. */
  stamp(path: string): Promise<string | null>
  /** Paths directly or deeply below `prefix`, sorted by name. */
  list(prefix: string): Promise<string[]>
  /** Removes a file; absent is fine. */
  remove(path: string): Promise<void>
}

/** The only reader of time; virtual in tests. */
export interface Clock {
  /** Wall clock, UTC ms: arrival times, barrier creation, schedules. Decides no number. */
  now(): InstantMs
  /** Monotonic ms for durations. */
  monotonic(): number
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

/** The instance that writes for all. */
export interface Leader {
  /** Base URL without a trailing slash. */
  readonly url: string
  /** It is this instance. */
  readonly self: boolean
}

/**
 * Who of several instances of a service writes. At most one believes so at most times; one that was paused may believe it
 * a little longer, so its writes must be safe beside another's.
 */
export interface Leadership {
  /** The leader as it is known now; null while there is none. */
  leader(): Leader | null
  /** Resolves at the next change of what `leader` says, at the latest after `waitMs`. */
  changed(waitMs: number): Promise<void>
  /** Leaves at once, so that another is chosen. */
  close(): Promise<void>
}

/** What services need of any Confluent-compatible registry. */
export interface Registry {
  /** Registers (or finds) a schema under a subject. @throws OperatingError SCHEMA_INCOMPATIBLE with the registry's reason */
  register(subject: string, schema: string): Promise<number>
  /** Schema text by id, cached for ever; null when the id is unknown. @throws OperatingError REGISTRY_* */
  schemaById(id: number): Promise<string | null>
}

/** Job types of the API. */
export type JobType =
  | 'build-view'
  | 'drift'
  | 'replay'
  | 'backfill'
  | 'compact'
  | 'verify'
  | 'restore'
  | 'redrive'
  | 'export'

/** State names of the API. */
export type JobState = 'waiting' | 'active' | 'paused' | 'completed' | 'failed' | 'cancelled'

/** A job as the API shows it. */
export interface JobView {
  readonly id: string
  readonly type: JobType
  readonly state: JobState
  readonly data: Readonly<Record<string, unknown>>
  /** 0..1 */
  readonly progress: number
  /** Estimated ms to the end; null when unknown. */
  readonly eta_ms: number | null
  readonly result: unknown
  readonly error: { code: string; message: string; hint: string } | null
  readonly created_at: string
  readonly finished_at: string | null
}

/** What a job handler is given besides its data. */
export interface JobContext {
  readonly id: string
  readonly signal: AbortSignal
  /** Reports progress 0..1; also the point at which a pause takes effect and a cancel throws. */
  progress(fraction: number, note?: string): Promise<void>
  log(line: string): Promise<void>
}

/** Runs a job; the returned value is stored as its result (JSON). Idempotent by the job's key. */
export type JobHandler = (data: Readonly<Record<string, unknown>>, context: JobContext) => Promise<unknown>

/** The job queue: BullMQ on embedded PostgreSQL or on Redis. */
export interface JobQueue {
  /** Adds a job; the same `key` gives the same job. */
  add(type: JobType, data: Readonly<Record<string, unknown>>, options?: { key?: string }): Promise<JobView>
  get(id: string): Promise<JobView | null>
  list(options?: { type?: JobType; limit?: number }): Promise<JobView[]>
  pause(id: string): Promise<JobView>
  resume(id: string): Promise<JobView>
  cancel(id: string): Promise<JobView>
  retry(id: string): Promise<JobView>
  logs(id: string): Promise<string[]>
  /** Runs `type` at a cron pattern in an IANA zone; idempotent by `id`; null removes it. Missed runs are caught up by the worker. */
  schedule(
    id: string,
    schedule: { pattern: string; zone: string; type: JobType; data: Readonly<Record<string, unknown>> } | null,
  ): Promise<void>
  /** Starts working; `concurrency` jobs at a time. */
  work(handlers: Partial<Record<JobType, JobHandler>>, options: { concurrency: number }): Promise<void>
  close(): Promise<void>
}
