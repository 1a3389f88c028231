/**
 * Barriers: puts them into every partition of a stream, on a cadence and on demand.
 *
 *   reserve id k ─▶ append k to every partition, all at once ─▶ is k still the last id? ─ yes ─▶ k is a cut
 *                                                                    └ no: another ticker's k+1 may stand before our k
 *                                                                      in some partition, where k was then ignored ─▶ again
 *
 * Guarantees: ids only grow (law 7); an id that `put` returns stands in every partition at exactly the offsets it returns.
 * A failure half-way leaves an id that is no cut: epochs run on to the next one. Idle partitions get barriers too.
 */
import { LIMITS } from '#core/limits.ts'
import { encodeBarrier } from '#format/barrier.ts'
import { OperatingError } from '#io/errors.ts'
import { failpoint } from '#io/failpoints.ts'
import { ownSchema } from '#io/own-schemas.ts'
import type { Clock, EventLog, Registry } from '#io/ports.ts'
import type { Definitions } from '#metrics/definition.ts'
import { BARRIERS_TOPIC, eventsTopic } from '#schemas/topics.ts'
import { openBarrierIds } from './ids.ts'

/** A cut: the barrier's id, and per partition the offset behind it (exclusive bound of what the cut covers). */
export interface Cut {
  readonly id: number
  readonly offsets: number[]
}

/** Puts barriers. */
export interface Barriers {
  /**
   * Puts one barrier; resolves when every partition has it. Puts of one stream run one after another.
   * @throws OperatingError STREAM_UNKNOWN; OVERLOADED after `stop`; those of the log: the id is then no cut, put again
   */
  put(stream: string, options: { readonly demand: boolean }): Promise<Cut>
  /** Starts the ticker: every stream once per interval, streams spread over it. */
  start(): void
  /** Stops the ticker and waits for barriers under way. */
  stop(): Promise<void>
}

/** What barriers need. */
export interface BarriersDeps {
  readonly log: EventLog
  readonly definitions: Definitions
  readonly registry: Registry
  readonly clock: Clock
  readonly intervalMs: number
  readonly logger?: { warn(context: object, message: string): void }
}

/** Registers the barrier's schema and reads the ids given out so far; `start` starts the ticker. The streams' topics exist. */
export async function createBarriers(deps: BarriersDeps): Promise<Barriers> {
  const { log, definitions, registry, clock, intervalMs, logger } = deps
  const schemaId = await registry.register(`${BARRIERS_TOPIC}-value`, ownSchema('barrier'))
  const ids = await openBarrierIds(log, schemaId)
  const streams = definitions.streams.map(({ name }) => name)
  const underWay = new Map<string, Promise<unknown>>()
  const stopping = new AbortController()
  let ticker: Promise<void> | null = null

  async function putNow(stream: string, demand: boolean): Promise<Cut> {
    const topic = eventsTopic(stream)
    for (let attempt = 0; attempt < LIMITS.barrierAttempts; attempt++) {
      const partitions = (await log.describeTopic(topic))?.partitions
      if (partitions === undefined)
        throw new OperatingError('LOG_TOPIC_UNKNOWN', `The topic ${topic} does not exist.`, { topic })
      const barrier = { stream, partitions, createdMs: clock.now(), demand }
      const id = await ids.reserve(barrier)
      failpoint('barriers.reserved')
      const batch = encodeBarrier({ ...barrier, id }, schemaId)
      const appends = Array.from({ length: partitions }, async (_, partition) => {
        // An adapter stamps the batch it is given, so each append has its own.
        const { baseOffset } = await log.append(topic, partition, batch.slice())
        failpoint('barriers.appended')
        return baseOffset + 1
      })
      // All come to an end before one failure is told, so that no append of a failed id is still under way.
      const settled = await Promise.allSettled(appends)
      const offsets = settled.map((outcome) => {
        if (outcome.status === 'rejected') throw outcome.reason
        return outcome.value
      })
      if (await ids.isLast(stream, id)) {
        failpoint('barriers.recorded')
        return { id, offsets }
      }
    }
    throw new OperatingError('OVERLOADED', `Other tickers put barriers into ${stream} without a pause.`, { stream })
  }

  function put(stream: string, options: { readonly demand: boolean }): Promise<Cut> {
    if (!streams.includes(stream)) {
      return Promise.reject(new OperatingError('STREAM_UNKNOWN', `There is no stream ${stream}.`, { stream }))
    }
    const before = underWay.get(stream) ?? Promise.resolve()
    const turn = before.then(() => putNow(stream, options.demand))
    const settled = turn.then(
      () => {},
      () => {},
    )
    underWay.set(stream, settled)
    void settled.then(() => {
      if (underWay.get(stream) === settled) underWay.delete(stream)
    })
    return turn
  }

  async function tick(): Promise<void> {
    for (let i = 0; ; i = (i + 1) % streams.length) {
      await clock.sleep(intervalMs / streams.length, stopping.signal)
      if (stopping.signal.aborted) return
      const stream = streams[i]!
      // One that is still under way is this interval's barrier.
      if (underWay.has(stream)) continue
      put(stream, { demand: false }).catch((error: unknown) => {
        logger?.warn({ stream, err: error }, 'a barrier was not put; the epoch runs on to the next one')
      })
    }
  }

  return {
    put,
    start() {
      if (streams.length > 0) ticker ??= tick()
    },
    async stop() {
      stopping.abort()
      await ticker
      await Promise.all(underWay.values())
      await ids.close()
    },
  }
}
