/**
 * The archive service: every stream's log becomes Parquet in the lake, every offset once.
 *
 *   reader (all partitions that are not paused) ─ poll ─▶ partition.take ─▶ file ─▶ manifest entry ─▶ coverage
 *
 * One loop per stream. What may heal (registry gone, disk full, log unreachable, another archiver was first) pauses the
 * partition and is tried again with growing pauses; what may not (data loss suspected, topic created again, damage) stops the
 * stream by name and leaves the others running. Upholds laws 3, 5 and 8.
 */
import type { Logger } from 'pino'
import { createDeadLetterCodec } from '#format/dead-letter.ts'
import { classify, OperatingError } from '#io/errors.ts'
import { ownSchema } from '#io/own-schemas.ts'
import type { Clock, EventLog, Lake, LogReader, Registry } from '#io/ports.ts'
import type { Definitions, StreamDefinition } from '#metrics/definition.ts'
import type { ArchiveEntry } from '#schemas/archive.ts'
import { deadTopic, eventsTopic, letterTopics, quarantineTopic } from '#schemas/topics.ts'
import { createCoverage, type PartitionCoverage, type StreamCoverage } from './coverage.ts'
import { createDeadLetters } from './dead-letters.ts'
import { type FilePolicy, openPartition, type PartitionArchiver } from './partition.ts'
import { checkStillThere, describeStream, sweepOrphans } from './start-checks.ts'
import { createWriters } from './writers.ts'

/** What the service needs. Each stream is archived by one process at a time; a second one loses every race and does no harm. */
export interface ArchiveDeps {
  readonly log: EventLog
  readonly lake: Lake
  readonly registry: Registry
  readonly definitions: Definitions
  readonly clock: Clock
  readonly logger: Pick<Logger, 'info' | 'warn' | 'error'>
  /** A file ends at the first barrier at least this long after its first record. Default 5 minutes. */
  readonly archiveIntervalMs?: number
  /** Rows and bytes (before compression) at which a file ends; for tests. */
  readonly fileRows?: number
  readonly fileBytes?: number
}

/** One partition's distance to the end of the log. */
export interface ArchiveLag {
  readonly stream: string
  readonly partition: number
  /** Exclusive bounds: in the manifest, read, and end of the log when last looked at. */
  readonly archived: number
  readonly read: number
  readonly end: number
  /** Arrival of the oldest record that is not in the manifest; null when there is none. */
  readonly openSinceMs: number | null
}

/** The running service. */
export interface Archive {
  /** What is archived of a stream, per partition. @throws OperatingError STREAM_UNKNOWN */
  coverage(stream: string): ReadonlyMap<number, PartitionCoverage>
  /**
   * Resolves when every partition has archived barrier `id` or a later one.
   * @throws OperatingError that stopped the stream, or the signal's reason
   */
  waitForBarrier(stream: string, id: number, signal: AbortSignal): Promise<void>
  lag(): readonly ArchiveLag[]
  /** The first error that stopped a stream; null while all run. */
  failed(): OperatingError | null
  /** Ends and publishes what is open, then stops. */
  close(): Promise<void>
}

const INTERVAL_MS = 5 * 60_000
const FILE_ROWS = 500_000
const FILE_BYTES = 64 * 1024 * 1024
const POLL = { maxWaitMs: 500, maxBytes: 4 * 1024 * 1024 } as const
/** How often topic identity, partition count and log end are looked at. */
const LOOK_MS = 5_000
const PAUSE_MS = 250
const PAUSE_MS_MAX = 30_000
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

interface Lane {
  readonly archiver: PartitionArchiver
  /** Monotonic ms until which it is left alone; null = runs. */
  pausedUntil: number | null
  failures: number
  /** The last error left the open file unusable. */
  dirty: boolean
}

/** Starts archiving every stream of the definitions; topics and the dead letter schema are made when absent. */
export async function startArchive(deps: ArchiveDeps): Promise<Archive> {
  const stop = new AbortController()
  const streams = new Map<string, { coverage: StreamCoverage; run: StreamRun; done: Promise<void> }>()
  for (const stream of deps.definitions.streams) {
    const coverage = createCoverage()
    const run = new StreamRun(deps, stream, coverage, stop.signal)
    streams.set(stream.name, { coverage, run, done: run.run() })
  }
  const find = (name: string) => {
    const found = streams.get(name)
    if (found === undefined) throw new OperatingError('STREAM_UNKNOWN', `no stream ${name}`, { stream: name })
    return found
  }
  return {
    coverage: (stream) => find(stream).coverage.partitions,
    waitForBarrier: async (stream, id, signal) => find(stream).coverage.waitForBarrier(id, signal),
    lag: () => [...streams.values()].flatMap(({ run }) => run.lag()),
    failed: () => [...streams.values()].map(({ run }) => run.failure).find((failure) => failure !== null) ?? null,
    async close() {
      stop.abort()
      await Promise.all([...streams.values()].map(({ run, done }) => Promise.all([run.wake(), done])))
    },
  }
}

type OpenLane = (partition: number, start: number) => Promise<PartitionArchiver>

/** The loop of one stream. */
class StreamRun {
  failure: OperatingError | null = null
  readonly #deps: ArchiveDeps
  readonly #stream: StreamDefinition
  readonly #coverage: StreamCoverage
  readonly #signal: AbortSignal
  readonly #topic: string
  readonly #policy: FilePolicy
  #lanes: Lane[] = []
  #reader: LogReader | null = null
  /** Partitions that the reader was opened for. */
  #reading = 0
  #incarnation: string | null = null
  #ends: readonly number[] = []
  #open: OpenLane | null = null

  constructor(deps: ArchiveDeps, stream: StreamDefinition, coverage: StreamCoverage, signal: AbortSignal) {
    this.#deps = deps
    this.#stream = stream
    this.#coverage = coverage
    this.#signal = signal
    this.#topic = eventsTopic(stream.name)
    this.#policy = {
      intervalMs: deps.archiveIntervalMs ?? INTERVAL_MS,
      rows: deps.fileRows ?? FILE_ROWS,
      bytes: deps.fileBytes ?? FILE_BYTES,
    }
  }

  lag(): ArchiveLag[] {
    return this.#lanes.map(({ archiver }) => ({
      stream: this.#stream.name,
      partition: archiver.partition,
      archived: archiver.archived,
      read: archiver.next,
      end: Math.max(this.#ends[archiver.partition] ?? 0, archiver.next),
      openSinceMs: archiver.openSinceMs,
    }))
  }

  /** Ends a poll that waits, so that a stop is seen at once. */
  async wake(): Promise<void> {
    await this.#reader?.close()
  }

  /** Runs until the signal aborts or an error that cannot heal; never rejects. */
  async run(): Promise<void> {
    const { logger } = this.#deps
    for (let failures = 0; !this.#signal.aborted; failures++) {
      try {
        await this.#start()
        failures = 0
        await this.#loop()
      } catch (error) {
        const known = classify(error)
        if (known.retry === 'never') {
          this.failure = known
          this.#coverage.fail(known)
          logger.error(
            { stream: this.#stream.name, code: known.code, context: known.context, err: known },
            'archiving stopped',
          )
          break
        }
        logger.warn({ stream: this.#stream.name, code: known.code, err: known }, 'archiving pauses')
        await this.#closeReader()
        await this.#deps.clock.sleep(pauseMs(failures), this.#signal)
      }
    }
    await this.#stop()
  }

  async #start(): Promise<void> {
    if (this.#open !== null) return
    const { log, lake, registry, clock } = this.#deps
    const stream = this.#stream
    const { name, partitions, retentionMs } = stream
    await log.createTopics([{ topic: this.#topic, partitions, retentionMs, cleanup: 'delete' }])
    const schema = ownSchema('dead-letter')
    const schemaId = await registry.register(`${deadTopic(name)}-value`, schema)
    await registry.register(`${quarantineTopic(name)}-value`, schema)
    const codec = createDeadLetterCodec(schema)
    const writers = createWriters(stream, registry)
    const described = await describeStream(log, name)
    this.#incarnation = described.incarnation
    const open = async (partition: number, start: number): Promise<PartitionArchiver> => {
      const archiver = await openPartition({
        lake,
        stream,
        partition,
        start,
        writers,
        incarnation: described.incarnation,
        policy: this.#policy,
        letters: createDeadLetters({ log, clock, codec, schemaId, stream: name, partition }),
        onEntry: (entry) => this.#onEntry(entry),
      })
      await checkStillThere(log, {
        stream: name,
        partition,
        entries: archiver.entries,
        incarnation: described.incarnation,
      })
      await sweepOrphans(lake, name, partition, archiver.entries)
      this.#coverage.set(partition, archiver.archived, archiver.entries)
      return archiver
    }
    this.#lanes = []
    await this.#addLanes(open, described.partitions)
    this.#open = open
  }

  async #addLanes(open: OpenLane, partitions: number): Promise<void> {
    const { log } = this.#deps
    await log.createTopics(letterTopics(this.#stream.name, partitions))
    const starts = await log.startOffsets(this.#topic)
    // All are known before the first is opened: a barrier is covered only when every partition has it.
    for (let partition = this.#lanes.length; partition < partitions; partition++) {
      this.#coverage.set(partition, starts[partition] ?? 0, [])
    }
    for (let partition = this.#lanes.length; partition < partitions; partition++) {
      const archiver = await open(partition, starts[partition] ?? 0)
      this.#lanes.push({ archiver, pausedUntil: null, failures: 0, dirty: false })
    }
  }

  #onEntry(entry: ArchiveEntry): void {
    const { logger, log } = this.#deps
    const { stream, partition, first_offset, next_offset, rows, dead, quarantined, file } = entry
    this.#coverage.append(entry)
    logger.info(
      { stream, partition, first_offset, next_offset, rows, dead, quarantined, bytes: file.bytes },
      'archived',
    )
    // A hint for lag tools: what is archived stands in the manifest.
    log.storePositions('archive', this.#topic, new Map([[partition, next_offset]])).catch((error: unknown) => {
      logger.warn({ stream, partition, err: classify(error) }, 'position hint not stored')
    })
  }

  async #loop(): Promise<void> {
    const { clock } = this.#deps
    let lookAt = 0
    while (!this.#signal.aborted) {
      if (clock.monotonic() >= lookAt) {
        await this.#look()
        lookAt = clock.monotonic() + LOOK_MS
      }
      await this.#resume()
      this.#reader ??= await this.#openReader()
      if (this.#reader === null) {
        const wake = Math.min(...this.#lanes.map((lane) => lane.pausedUntil ?? 0))
        await clock.sleep(Math.max(1, wake - clock.monotonic()), this.#signal)
        continue
      }
      for (const batch of await this.#reader.poll(POLL)) {
        const lane = this.#lanes[batch.partition]!
        if (lane.pausedUntil === null) await this.#attempt(lane, () => lane.archiver.take(batch))
        await turn()
      }
      // A paused partition is read again from where it stopped, by a reader of its own positions.
      if (this.#lanes.some((lane) => lane.pausedUntil !== null)) await this.#excludePaused()
    }
  }

  /** Topic identity, growth and end of the log. */
  async #look(): Promise<void> {
    const described = await describeStream(this.#deps.log, this.#stream.name)
    if (this.#incarnation !== null && described.incarnation !== this.#incarnation) {
      throw new OperatingError('LOG_INCARNATION_CHANGED', `${this.#topic} was created again`, { topic: this.#topic })
    }
    if (described.partitions > this.#lanes.length) {
      await this.#addLanes(this.#open!, described.partitions)
      await this.#closeReader()
    }
    this.#ends = await this.#deps.log.endOffsets(this.#topic)
  }

  /** Lets partitions whose pause is over read again. */
  async #resume(): Promise<void> {
    const now = this.#deps.clock.monotonic()
    for (const lane of this.#lanes) {
      if (lane.pausedUntil === null || lane.pausedUntil > now) continue
      lane.pausedUntil = null
      if (lane.dirty) {
        await this.#attempt(lane, async () => {
          await lane.archiver.reset()
          const { partition, archived, entries } = lane.archiver
          // The rival that won wrote entries of which this process has not heard.
          this.#coverage.set(partition, archived, entries)
        })
      }
      await this.#closeReader()
    }
  }

  /** Does a partition's work; an error that may heal pauses the partition. @throws OperatingError that may not */
  async #attempt(lane: Lane, work: () => Promise<void>): Promise<void> {
    const archived = lane.archiver.archived
    try {
      await work()
      lane.dirty = false
      if (lane.archiver.archived > archived) lane.failures = 0
    } catch (error) {
      const known = classify(error)
      if (known.retry === 'never') throw known
      lane.dirty ||= !known.code.startsWith('REGISTRY_')
      // A file that is dropped gives its space back at once.
      if (lane.dirty) await lane.archiver.discard()
      const pause = known.retry === 'now' ? 0 : pauseMs(lane.failures++)
      lane.pausedUntil = this.#deps.clock.monotonic() + pause
      const { partition } = lane.archiver
      this.#deps.logger.warn({ stream: this.#stream.name, partition, code: known.code, err: known }, 'partition pauses')
    }
  }

  async #openReader(): Promise<LogReader | null> {
    const positions = this.#lanes
      .filter((lane) => lane.pausedUntil === null)
      .map(({ archiver }) => ({ partition: archiver.partition, offset: archiver.next }))
    this.#reading = positions.length
    return positions.length === 0 ? null : this.#deps.log.open(this.#topic, positions)
  }

  async #excludePaused(): Promise<void> {
    const running = this.#lanes.filter((lane) => lane.pausedUntil === null).length
    if (running !== this.#reading) await this.#closeReader()
  }

  async #closeReader(): Promise<void> {
    const reader = this.#reader
    this.#reader = null
    await reader?.close()
  }

  /** Publishes what is open where that is possible; what is not will be read again. */
  async #stop(): Promise<void> {
    await this.#closeReader()
    for (const { archiver, dirty } of this.#lanes) {
      try {
        if (this.failure === null && !dirty) await archiver.closeFile()
      } catch (error) {
        const { partition } = archiver
        this.#deps.logger.warn(
          { stream: this.#stream.name, partition, err: classify(error) },
          'open file not published',
        )
      }
      await archiver.discard()
    }
    this.#coverage.fail(this.failure ?? new OperatingError('ARCHIVE_BEHIND', 'the archive was stopped'))
  }
}

const pauseMs = (failures: number): number => Math.min(PAUSE_MS_MAX, PAUSE_MS * 2 ** failures)
