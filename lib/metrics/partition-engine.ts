/**
 * The stream engine for one partition of one stream: raw record batches in, partials per epoch out. No IO, no clock, no
 * randomness: what it yields is a function of the partition's records (DESIGN idea 2), so the live speed layer, a replay and
 * a test drive the same code and must see the same values whatever the poll sizes are (laws 1, 3, 5).
 *
 *            feed(batch)
 *   waiting ───────────▶ reading ──▶ needs schema ── provide(id, text) ─▶ reading
 *      ▲                    │  └────▶ sealed epoch ── continue() ───────▶ reading
 *      └──── batch read ────┘
 *
 * Conservation (law 8): every offset below `next` is counted as accepted, duplicate, quarantined, dead, barrier or control.
 */
import { ACCEPTED, admit } from '#core/admission.ts'
import { assert } from '#core/assert.ts'
import { isAccepted } from '#core/barrier.ts'
import { CHUNK_ROWS, type ColumnChunk, type MetricColumns, type MetricReader } from '#core/columns.ts'
import { createDedupRing, type DedupRing } from '#core/dedup.ts'
import { createEpochTable, type EpochTable } from '#core/epoch-table.ts'
import { LIMITS } from '#core/limits.ts'
import type { DeadRecord } from '#core/outcome.ts'
import type { PartialRows } from '#core/partial.ts'
import { newPartitionClock, openEpoch, type PartitionClock } from '#core/watermark.ts'
import { allocateChunk, compileProjector, findFrame, resetChunk, SchemaMismatch } from '#format/avro-projector.ts'
import { readBarrier } from '#format/barrier.ts'
import type { Projector, RecordCursor, Stop } from '#format/projector.ts'
import { openBatch, readRecord } from '#format/record-batch.ts'
import type { MetricDefinition, StreamDefinition } from './definition.ts'

/** Records by what became of them. */
export interface EngineCounts {
  accepted: number
  duplicates: number
  quarantined: number
  dead: number
  barriers: number
  control: number
}

/** What must outlive an epoch, as of the start of the open one. Plain data (JSON). */
export interface EngineCheckpoint {
  /** Next offset to read; the first of the open epoch. */
  readonly next: number
  readonly epoch: number
  readonly openedMs: number
  /** null = no event yet. */
  readonly watermark: number | null
  readonly counts: EngineCounts
  /** Epochs below it are read but not published; left out = none. */
  readonly publishFrom?: number
}

/** One metric's part of an epoch. `refused` is the code of the limit or overflow because of which there are no rows. Read before the next feed. */
export interface EpochPartials {
  readonly metric: MetricDefinition
  readonly rows: PartialRows
  readonly refused: 'METRIC_LIMIT' | 'MEASURE_OVERFLOW' | null
}

/** Tags shared by all metrics of an epoch so far. */
export interface EpochState {
  readonly partition: number
  readonly epoch: number
  readonly first: number
  readonly next: number
  /** null = no event yet. */
  readonly watermark: number | null
  readonly events: number
  readonly duplicates: number
  readonly dead: number
  readonly quarantined: number
  readonly openedMs: number
  readonly arrivalMs: number
}

/** An epoch that its barrier ended. */
export interface SealedEpoch extends EpochState {
  readonly sealedBy: number
  readonly sealedMs: number
  readonly partials: readonly EpochPartials[]
  /** Ids whose last occurrence lies in this epoch, for the checkpoint; null without dedup. */
  readonly ids: Int32Array | null
  /** To be saved once the partials are published. */
  readonly checkpoint: EngineCheckpoint
}

/** Why `feed` and its continuations returned. */
export type EngineStep =
  | { readonly kind: 'read' }
  | { readonly kind: 'schema'; readonly id: number }
  | { readonly kind: 'sealed'; readonly sealed: SealedEpoch }

/** What to run. All metrics belong to the stream. */
export interface EngineOptions {
  readonly stream: StreamDefinition
  readonly metrics: readonly MetricDefinition[]
  readonly partition: number
  readonly restore: {
    readonly checkpoint: EngineCheckpoint
    readonly ids: readonly { epoch: number; ids: Int32Array }[]
  } | null
  /** First offset when nothing is restored. Beyond 0 the first epoch is torn: it is read but not published. */
  readonly startOffset: number
  /**
   * True when events below `startOffset` that the log no longer has were counted once: then their ids are unknown, and nothing is
   * published before the ids of a whole dedup horizon are known again. Matters without `restore` only.
   */
  readonly forgotten?: boolean
}

/** The engine of one partition. */
export interface PartitionEngine {
  /** Next offset to read. */
  readonly next: number
  readonly counts: Readonly<EngineCounts>
  /** Approximate bytes of state. */
  readonly bytes: number
  readonly entries: number
  /**
   * Reads one raw record batch with the offsets the log gives it; batches come in offset order, overlaps are skipped.
   * Only when the last step was `read`.
   */
  feed(batch: { readonly baseOffset: number; readonly lastOffset: number; readonly bytes: Uint8Array }): EngineStep
  /** Answers `schema`: the writer schema's text, or null when the registry does not know the id. */
  provide(id: number, text: string | null): EngineStep
  /** Goes on after `sealed`. */
  continue(): EngineStep
  /** The open epoch so far. */
  state(): EpochState
  /** Changed entries of every metric since the last call; null while the epoch is not to be published or a batch is half read. */
  takeLive(): readonly EpochPartials[] | null
}

interface MetricState {
  readonly metric: MetricDefinition
  readonly read: MetricReader
  /** The metric's columns of the shared chunk, in the order its reader wants. */
  readonly columns: readonly number[]
  readonly chunk: ColumnChunk
  table: EpochTable
  refused: EpochPartials['refused']
}

const READ: EngineStep = { kind: 'read' }

/**
 * Evaluates a metric's columns. The reader sees every row of the chunk, so an overflow may come from a row that does not count;
 * then the chunk is read once more with an eye on those that do (law 4: DuckDB never sees the others).
 */
function readAccepted(state: MetricState, verdicts: Uint8Array, hasOthers: boolean): MetricColumns {
  try {
    return state.read(state.chunk)
  } catch (error) {
    if (!hasOthers || !(error instanceof RangeError)) throw error
    return state.read(
      state.chunk,
      verdicts.map((verdict) => (verdict === ACCEPTED ? 1 : 0)),
    )
  }
}

/** Creates the engine of one partition. */
export function createPartitionEngine(options: EngineOptions): PartitionEngine {
  const { stream, partition } = options
  const fields = [
    ...new Set([...options.metrics.flatMap((metric) => metric.fields), ...(stream.id === null ? [] : [stream.id])]),
  ]
  const idAt = stream.id === null || stream.dedupHorizonEpochs === null ? -1 : fields.indexOf(stream.id)
  const idSpec = stream.fields.find((field) => field.name === stream.id)
  const newRing = (): DedupRing | null =>
    idAt < 0
      ? null
      : createDedupRing({
          kind: idSpec!.kind === 'string' ? 'string' : 'int64',
          horizonEpochs: stream.dedupHorizonEpochs!,
          idsMax: LIMITS.dedupIds,
        })
  const ring = newRing()
  const projectors = new Map<number, Projector | null>()
  const specs = fields.map((name) => stream.fields.find((field) => field.name === name)!)
  const chunk = allocateChunk(specs, false)
  const verdicts = new Uint8Array(CHUNK_ROWS)
  const watermarks = new Float64Array(CHUNK_ROWS)
  const dead: DeadRecord[] = []
  const newTable = (metric: MetricDefinition): EpochTable =>
    createEpochTable({
      layout: metric.layout,
      windowSizeMs: metric.window.sizeMs,
      allowedLatenessMs: metric.allowedLatenessMs,
      entriesMax: LIMITS.epochEntries,
    })
  const metrics: MetricState[] = options.metrics.map((metric) => {
    const columns = metric.fields.map((name) => fields.indexOf(name))
    return {
      metric,
      columns,
      read: metric.createReader(),
      table: newTable(metric),
      refused: null,
      chunk: { ...chunk, columns: columns.map((at) => chunk.columns[at]!) },
    }
  })

  const clock: PartitionClock = newPartitionClock()
  let counts: EngineCounts = { accepted: 0, duplicates: 0, quarantined: 0, dead: 0, barriers: 0, control: 0 }
  let next = options.startOffset
  let torn = options.restore === null && options.startOffset > 0
  let publishFrom = options.restore?.checkpoint.publishFrom ?? 0
  const isWithheld = (): boolean => torn || clock.epoch < publishFrom
  let epochStart = { ...counts }
  let arrivalMs = 0
  let cursor: RecordCursor | null = null
  let batchUntil = 0
  // Null until the first schema id is known.
  let projector: Projector | null = null
  clock.epochFirst = next

  if (options.restore !== null) {
    const { checkpoint, ids } = options.restore
    next = checkpoint.next
    clock.epoch = checkpoint.epoch
    clock.epochFirst = checkpoint.next
    clock.openedMs = checkpoint.openedMs
    clock.watermark = checkpoint.watermark ?? clock.watermark
    counts = { ...checkpoint.counts }
    epochStart = { ...counts }
    for (const segment of ids) ring?.restore(segment.epoch, segment.ids)
  }

  const consume = (): void => {
    if (chunk.count === 0) return
    const quarantined = admit(chunk, clock, stream, verdicts, watermarks)
    const duplicates = ring === null ? 0 : ring.mark(chunk, chunk.columns[idAt]!, clock.epoch, verdicts)
    counts.quarantined += quarantined
    counts.duplicates += duplicates
    counts.accepted += chunk.count - quarantined - duplicates
    for (const state of metrics) {
      if (state.refused !== null) continue
      const own = state.chunk
      own.count = chunk.count
      own.arrivalMs = chunk.arrivalMs
      own.schemaId = chunk.schemaId
      try {
        state.table.add(own, readAccepted(state, verdicts, quarantined + duplicates > 0), verdicts, watermarks)
      } catch (error) {
        if (!(error instanceof RangeError)) throw error
        // The metric reached a bound or an exact value left int64: it refuses, all others go on. Its rows go, for how far
        // they had come depends on where the record batches were cut (law 1).
        state.refused = error.message.startsWith('MEASURE_OVERFLOW') ? 'MEASURE_OVERFLOW' : 'METRIC_LIMIT'
        state.table = newTable(state.metric)
      }
    }
    resetChunk(chunk)
  }

  const state = (): EpochState => ({
    partition,
    epoch: clock.epoch,
    first: clock.epochFirst,
    next,
    watermark: Number.isFinite(clock.watermark) ? clock.watermark : null,
    events: clock.events,
    duplicates: counts.duplicates - epochStart.duplicates,
    dead: counts.dead - epochStart.dead,
    quarantined: counts.quarantined - epochStart.quarantined,
    openedMs: clock.openedMs,
    arrivalMs,
  })

  /** A record that no projector can read: its schema is unknown or does not resolve. */
  const skipUnreadable = (at: RecordCursor): void => {
    readRecord(at)
    counts.dead++
  }

  /** Takes the barrier at the cursor; the sealed epoch when it was accepted, null when it is stale or forged. */
  const takeBarrier = (at: RecordCursor): SealedEpoch | null => {
    const record = readRecord(at)
    assert(record !== null, 'the projector stopped at a barrier record')
    const barrier = readBarrier(record)
    if (barrier === null || barrier.stream !== stream.name) {
      counts.dead++
      return null
    }
    counts.barriers++
    if (!isAccepted(clock.epoch, barrier.id)) return null
    next = record.offset + 1
    const before = state()
    const partials = metrics.map(({ metric, table, refused }) => ({ metric, rows: table.all(), refused }))
    const ids = ring === null ? null : ring.segment(clock.epoch)
    const wasWithheld = isWithheld()
    openEpoch(clock, barrier, record.offset)
    // A duplicate in epoch e may repeat any id of the epochs above e - horizon; the first whole one begins here.
    if (torn && options.forgotten === true && ring !== null) publishFrom = barrier.id + stream.dedupHorizonEpochs! - 1
    torn = false
    epochStart = { ...counts }
    for (const each of metrics) {
      each.table = newTable(each.metric)
      each.refused = null
    }
    ring?.expire(clock.epoch)
    return {
      ...before,
      sealedBy: barrier.id,
      sealedMs: barrier.createdMs,
      partials: wasWithheld ? [] : partials,
      ids,
      checkpoint: {
        next,
        epoch: clock.epoch,
        openedMs: clock.openedMs,
        watermark: before.watermark,
        counts: { ...counts },
        ...(publishFrom > clock.epoch ? { publishFrom } : {}),
      },
    }
  }

  /** Reads on in the current batch until it ends or something is needed. */
  const run = (): EngineStep => {
    while (cursor !== null) {
      const stop: Stop = projector === null ? findFrame(cursor, dead) : projector.project(cursor, chunk, dead)
      counts.dead += dead.length
      dead.length = 0
      consume()
      if (stop === 'schema') {
        const known = projectors.get(cursor.schemaId)
        if (known === undefined) return { kind: 'schema', id: cursor.schemaId }
        if (known === null) skipUnreadable(cursor)
        else projector = known
      } else if (stop === 'barrier') {
        const sealed = takeBarrier(cursor)
        if (sealed !== null) return { kind: 'sealed', sealed }
      } else if (stop === 'end') {
        next = batchUntil
        cursor = null
      }
    }
    return READ
  }

  const compile = (writer: string, writerId: number): Projector =>
    compileProjector({ writer, writerId, reader: stream.schema, fields, eventTime: stream.eventTime, envelope: false })

  return {
    get next() {
      return next
    },
    get counts() {
      return counts
    },
    get entries() {
      return metrics.reduce((sum, { table }) => sum + table.entries, 0)
    },
    get bytes() {
      return metrics.reduce((sum, { table }) => sum + table.bytes, 0) + (ring?.bytes ?? 0)
    },
    feed(batch) {
      assert(cursor === null, 'a batch is fed after the one before it is read')
      const from = Math.max(next, batch.baseOffset)
      if (batch.lastOffset < from) return READ
      batchUntil = batch.lastOffset + 1
      const opened = openBatch(batch.bytes, from)
      if ('dead' in opened || opened.control) {
        if ('dead' in opened) counts.dead += batchUntil - from
        else counts.control += batchUntil - from
        next = batchUntil
        return READ
      }
      cursor = opened.cursor
      arrivalMs = cursor.arrivalMs
      resetChunk(chunk)
      chunk.arrivalMs = arrivalMs
      return run()
    },
    provide(id, text) {
      let compiled: Projector | null = null
      try {
        if (text !== null) compiled = compile(text, id)
      } catch (error) {
        if (!(error instanceof SchemaMismatch)) throw error
      }
      projectors.set(id, compiled)
      return run()
    },
    continue: run,
    state,
    // Inside a batch (waiting for a schema) the tables are ahead of `next`, so there is nothing to publish yet.
    takeLive: () =>
      isWithheld() || cursor !== null
        ? null
        : metrics.map(({ metric, table, refused }) => ({ metric, rows: table.takeChanged(), refused })),
  }
}
