/**
 * The speed loop of one stream's partitions: poll raw batches, feed the engines, publish what changed, seal at barriers.
 *
 *   poll ─▶ engine.feed ─▶ (every flushMs) live.<metric> ─▶ (at a barrier) sealed.<metric> ─▶ checkpoint ─▶ position hint
 *
 * Crash order: sealed partials are published before the checkpoint moves. A kill in between reads the epoch again and
 * publishes the same absolute values, which readers ignore or overwrite with themselves. Nothing else is durable here.
 */
import { assert } from '#core/assert.ts'
import type { Checkpoints, SavedCheckpoint } from '#io/checkpoints.ts'
import { classify, OperatingError } from '#io/errors.ts'
import { failpoint } from '#io/failpoints.ts'
import type { Clock, EventLog, Registry } from '#io/ports.ts'
import type { MetricDefinition, StreamDefinition } from '#metrics/definition.ts'
import {
  createPartitionEngine,
  type EngineCheckpoint,
  type EngineStep,
  type PartitionEngine,
  type SealedEpoch,
} from '#metrics/partition-engine.ts'
import { eventsTopic, sealedTopic } from '#schemas/topics.ts'
import { publish } from './publish.ts'
import type { PartitionStatus } from './status.ts'

/** Bytes asked of one poll; a poll that brings at least half of it says that there is more to catch up with. */
const POLL_BYTES = 4 * 1024 * 1024
/** While catching up, live partials go out this seldom: they would be replaced at once. */
const CATCH_UP_FLUSH_MS = 1_000
/** How long a log that does not answer may keep a loop that was told to stop. */
const LAST_FLUSH_MS = 2_000

/** What the loop needs. One call serves one stream. */
export interface SpeedDeps {
  readonly log: EventLog
  readonly registry: Registry
  readonly checkpoints: Checkpoints
  readonly clock: Clock
  readonly stream: StreamDefinition
  readonly metrics: readonly MetricDefinition[]
  readonly partitions: readonly number[]
  /** Cadence of live partials, ms. */
  readonly flushMs: number
  readonly signal: AbortSignal
  readonly onStatus: (status: PartitionStatus) => void
  readonly onWarning: (message: string, context: Readonly<Record<string, unknown>>) => void
}

interface Lane {
  readonly partition: number
  readonly engine: PartitionEngine
  /** Epochs whose ids the checkpoint needs. */
  epochs: number[]
  /** Bound of the last live publication of the open epoch; its first offset at the start. */
  published: number
  publishedEpoch: number
  /** Per metric: offset behind the last live record sent. */
  readonly liveNext: Map<string, number>
  recoveredUntil: number
}

/** Runs until the signal aborts. @throws OperatingError when the process must stop (data loss suspected, log gone for good). */
export async function runSpeed(deps: SpeedDeps): Promise<void> {
  const { log, stream, metrics, clock, signal } = deps
  const topic = eventsTopic(stream.name)
  const described = await log.describeTopic(topic)
  if (described === null) throw new OperatingError('LOG_TOPIC_UNKNOWN', `topic ${topic} does not exist`, { topic })
  const generations = metrics.map(({ generation }) => generation).sort()
  const starts = await log.startOffsets(topic)
  const ends = await log.endOffsets(topic)
  const lanes = new Map<number, Lane>()
  for (const partition of deps.partitions) {
    lanes.set(
      partition,
      await restoreLane(deps, partition, {
        generations,
        incarnation: described.incarnation,
        start: starts[partition] ?? 0,
        end: ends[partition] ?? 0,
      }),
    )
  }
  const reader = await log.open(
    topic,
    [...lanes.values()].map(({ partition, engine }) => ({ partition, offset: engine.next })),
  )
  let flushedAt = clock.monotonic()
  try {
    while (!signal.aborted) {
      const wait = Math.max(1, flushedAt + deps.flushMs - clock.monotonic())
      const batches = await reader.poll({ maxWaitMs: Math.min(wait, deps.flushMs), maxBytes: POLL_BYTES })
      let bytes = 0
      for (const batch of batches) {
        const lane = lanes.get(batch.partition)
        assert(lane !== undefined, `a poll brings only assigned partitions, not ${batch.partition}`)
        bytes += batch.bytes.byteLength
        await drive(deps, lane, lane.engine.feed(batch), { generations, incarnation: described.incarnation })
      }
      const since = clock.monotonic() - flushedAt
      const catchingUp = bytes * 2 >= POLL_BYTES
      // Told to stop, the loop leaves what is open to the last flush.
      if (!signal.aborted && since >= (catchingUp ? Math.max(CATCH_UP_FLUSH_MS, deps.flushMs) : deps.flushMs)) {
        await flush(deps, lanes)
        flushedAt = clock.monotonic()
      }
      // Native buffers and other services' events need a turn of the loop.
      await new Promise((resolve) => setImmediate(resolve))
    }
    await lastFlush(deps, lanes)
  } catch (error) {
    // Told to stop while a partition waited for something: what was not published is read again after the start.
    if (!signal.aborted || error !== signal.reason) throw error
  } finally {
    await reader.close()
  }
}

/** Answers the engine until it wants the next batch. */
async function drive(
  deps: SpeedDeps,
  lane: Lane,
  first: EngineStep,
  identity: { generations: readonly string[]; incarnation: string | null },
): Promise<void> {
  let step = first
  while (step.kind !== 'read') {
    if (step.kind === 'schema') step = lane.engine.provide(step.id, await writerSchema(deps, step.id))
    else {
      await seal(deps, lane, step.sealed, identity)
      step = lane.engine.continue()
    }
  }
}

/**
 * Asks the registry until it answers: an unreachable registry pauses the partition, it never makes dead letters.
 * @throws DOMException AbortError when it is told to stop meanwhile
 */
async function writerSchema(deps: SpeedDeps, id: number): Promise<string | null> {
  for (let attempt = 0; ; attempt++) {
    // Sleeping ends at once when the process is told to stop: without this look the loop would never end.
    deps.signal.throwIfAborted()
    try {
      return await deps.registry.schemaById(id)
    } catch (error) {
      const known = classify(error)
      if (known.retry === 'never') throw known
      deps.onWarning('the registry does not answer, the partition waits', {
        stream: deps.stream.name,
        schema_id: id,
        code: known.code,
      })
      await deps.clock.sleep(Math.min(5_000, 100 * 2 ** attempt), deps.signal)
      deps.signal.throwIfAborted()
    }
  }
}

/** Publishes the sealed epoch of every metric, then moves the checkpoint, then the position hint. */
async function seal(
  deps: SpeedDeps,
  lane: Lane,
  sealed: SealedEpoch,
  identity: { generations: readonly string[]; incarnation: string | null },
): Promise<void> {
  failpoint('speed.before-sealed')
  for (const partials of sealed.partials) {
    await publish(publishing(deps), partials, {
      state: sealed,
      base: sealed.first,
      sealed: { by: sealed.sealedBy, ms: sealed.sealedMs, liveNext: lane.liveNext.get(partials.metric.name) ?? null },
    })
    failpoint('speed.sealed-metric')
  }
  failpoint('speed.after-sealed')
  const horizon = deps.stream.dedupHorizonEpochs ?? 0
  if (sealed.ids !== null)
    lane.epochs = [...lane.epochs, sealed.epoch].filter((epoch) => epoch > sealed.sealedBy - horizon)
  const keeps = sealed.ids !== null && lane.epochs.includes(sealed.epoch)
  const saved: SavedCheckpoint = { format: 1, ...identity, epochs: lane.epochs, state: sealed.checkpoint }
  await deps.checkpoints.save(
    deps.stream.name,
    lane.partition,
    saved,
    keeps ? { epoch: sealed.epoch, ids: sealed.ids! } : null,
  )
  failpoint('speed.after-checkpoint')
  lane.published = sealed.checkpoint.next
  lane.publishedEpoch = sealed.checkpoint.epoch
  await deps.log
    .storePositions(
      `tidemark-speed-${deps.stream.name}`,
      eventsTopic(deps.stream.name),
      new Map([[lane.partition, sealed.checkpoint.next]]),
    )
    .catch((error: unknown) => deps.onWarning('the position hint was not stored', { code: classify(error).code }))
}

/** Sends every lane's changed entries to the live topics. */
async function flush(deps: SpeedDeps, lanes: ReadonlyMap<number, Lane>): Promise<void> {
  for (const lane of lanes.values()) {
    const state = lane.engine.state()
    if (state.next > lane.published || state.epoch !== lane.publishedEpoch) {
      const live = lane.engine.takeLive()
      if (live !== null) {
        failpoint('speed.before-live')
        const base = state.epoch === lane.publishedEpoch ? lane.published : state.first
        await Promise.all(
          live.map(async (partials) => {
            lane.liveNext.set(
              partials.metric.name,
              await publish(publishing(deps), partials, { state, base, sealed: null }),
            )
          }),
        )
        failpoint('speed.after-live')
        lane.published = state.next
        lane.publishedEpoch = state.epoch
      }
    }
    deps.onStatus({
      stream: deps.stream.name,
      partition: lane.partition,
      next: lane.engine.next,
      epoch: state.epoch,
      watermark: state.watermark,
      arrivalMs: state.arrivalMs,
      counts: { ...lane.engine.counts },
      entries: lane.engine.entries,
      bytes: lane.engine.bytes,
      recovered: lane.engine.next >= lane.recoveredUntil,
    })
  }
}

/** Sends what is open before the loop ends, if the log takes it soon; the next owner reads it from the log again in any case. */
async function lastFlush(deps: SpeedDeps, lanes: ReadonlyMap<number, Lane>): Promise<void> {
  const end = new AbortController()
  const flushed = flush({ ...deps, signal: end.signal }, lanes).catch((error: unknown) =>
    deps.onWarning('the last live partials were not published', { code: classify(error).code }),
  )
  await Promise.race([flushed, deps.clock.sleep(LAST_FLUSH_MS, end.signal)])
  end.abort()
}

const publishing = (deps: SpeedDeps) => ({
  log: deps.log,
  clock: deps.clock,
  signal: deps.signal,
  onRetry: (error: Error) =>
    deps.onWarning('publishing partials is repeated', { stream: deps.stream.name, message: error.message }),
})

/** Restores a partition from its checkpoint, or from the log when there is none that fits. */
async function restoreLane(
  deps: SpeedDeps,
  partition: number,
  at: { generations: readonly string[]; incarnation: string | null; start: number; end: number },
): Promise<Lane> {
  const { log, stream, metrics } = deps
  const loaded = await deps.checkpoints.load(stream.name, partition)
  const state = loaded?.saved.state as EngineCheckpoint | undefined
  const fits =
    loaded !== null &&
    state !== undefined &&
    loaded.saved.incarnation === at.incarnation &&
    loaded.saved.generations.join() === at.generations.join() &&
    state.next >= at.start
  // The checkpoint was read after the log's end: another owner may have moved both meanwhile, so the end is asked again.
  if (fits && state.next > at.end && state.next > ((await log.endOffsets(eventsTopic(stream.name)))[partition] ?? 0)) {
    throw new OperatingError('DATA_LOSS_SUSPECTED', `the log of ${stream.name} ends before the checkpoint`, {
      stream: stream.name,
      partition,
      offset: state.next,
    })
  }
  const forgotten = !fits && at.start > 0 && stream.dedupHorizonEpochs !== null && (await wasPublished(deps, partition))
  if (forgotten) {
    deps.onWarning('ids of events that the log no longer has are unknown: speed is silent for a dedup horizon', {
      stream: stream.name,
      partition,
      offset: at.start,
      horizon: stream.dedupHorizonEpochs,
    })
  }
  const engine = createPartitionEngine({
    stream,
    metrics,
    partition,
    startOffset: at.start,
    forgotten,
    restore: fits ? { checkpoint: state, ids: loaded.ids } : null,
  })
  return {
    partition,
    engine,
    epochs: fits ? [...loaded.saved.epochs] : [],
    published: engine.next,
    publishedEpoch: engine.state().epoch,
    liveNext: new Map(),
    recoveredUntil: at.end,
  }
}

/** Whether partials of the partition were ever published: a topic that was trimmed before Tidemark read it has none. */
async function wasPublished({ log, metrics }: SpeedDeps, partition: number): Promise<boolean> {
  for (const { name } of metrics) {
    const ends = (await log.describeTopic(sealedTopic(name))) === null ? [] : await log.endOffsets(sealedTopic(name))
    if ((ends[partition] ?? 0) > 0) return true
  }
  return false
}
