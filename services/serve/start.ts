/**
 * Serve: keeps one merge store per metric up to date from three places: views in the lake (looked for every half second),
 * sealed and live partials on the log (followed from the start of retention). Owns nothing durable; a restart re-reads.
 *
 * Order at the start: the view first, then sealed partials to their end, then live ones; so live topics are
 * read only from where the last sealed epochs say. Answers are refused (SPEED_BEHIND) until that has happened once.
 */
import type { Logger } from 'pino'
import type { MergeTags } from '#core/merge-partition.ts'
import { decodePartials } from '#format/partials-arrow.ts'
import { type DuckDb, openDuckDb } from '#io/duckdb.ts'
import { classify, OperatingError } from '#io/errors.ts'
import type { Clock, EventLog, Lake } from '#io/ports.ts'
import type { Telemetry } from '#io/telemetry.ts'
import { loadViewTable } from '#io/view-table.ts'
import type { Definitions, MetricDefinition } from '#metrics/definition.ts'
import type { PartialTags } from '#schemas/partials.ts'
import { eventsTopic, liveTopic, sealedTopic } from '#schemas/topics.ts'
import { ServedMetric } from './served-metric.ts'
import { Tail } from './tail.ts'

/** How often the lake is asked for new views, ms. */
const VIEWS_EVERY_MS = 500

/** How often it is looked where the event topics begin, ms: retention moves on. */
const LOG_STARTS_EVERY_MS = 10_000

/** What the service is composed of. */
export interface ServeDeps {
  readonly log: EventLog
  readonly lake: Lake
  readonly definitions: Definitions
  readonly clock: Clock
  readonly logger: Pick<Logger, 'info' | 'warn' | 'error'>
  readonly telemetry: Telemetry
  /** Reads views; left out = an own DuckDB with one thread and 256 MB, which may not spill. */
  readonly duckdb?: DuckDb
}

/** The running service. */
export interface Serve {
  readonly metrics: readonly ServedMetric[]
  /** A metric by name. @throws OperatingError METRIC_UNKNOWN */
  metric(name: string): ServedMetric
  /** Why no merged answer of the metric can be given now; null when one can. */
  refusalOf(metric: ServedMetric): { readonly code: string; readonly reason: string } | null
  /** Takes up at once what is in the lake and on the log now; resolves when it is in the answers. */
  refresh(): Promise<void>
  readiness(): { readonly ready: boolean; readonly reason: string | null }
  stop(): Promise<void>
}

interface Followed {
  readonly served: ServedMetric
  readonly sealed: Tail
  live: Tail | null
  /** Where the live topic need not be read before, per partition: what sealed records say. */
  readonly liveFrom: Map<number, number>
  /** Why the views cannot be read; null when they can. */
  trouble: OperatingError | null
}

/** Starts following; resolves at once. `readiness` tells when answers are up to date. */
export async function startServe(deps: ServeDeps): Promise<Serve> {
  const { log, clock, definitions, logger, telemetry } = deps
  const stopping = new AbortController()
  const { signal } = stopping
  const duckdb = deps.duckdb ?? (await openDuckDb({ threads: 1, memoryMb: 256, temporaryDirectory: null }))
  const followed = new Map<string, Followed>()

  // One view is loaded at a time: a connection runs one statement, and tables are big.
  let loading: Promise<unknown> = Promise.resolve()
  const load = (entry: Parameters<typeof loadViewTable>[1], definition: MetricDefinition) => {
    const next = loading.then(() => loadViewTable({ lake: deps.lake, duckdb }, entry, definition.layout))
    loading = next.catch(() => undefined)
    return next
  }

  const countedStreams = new Set<string>()
  const tailOf = (served: ServedMetric, topic: string, liveFrom: Map<number, number>): Tail => {
    const { name, stream } = served.definition
    // Every metric of a stream carries the same counts of records: one of them is enough.
    const countsStream = !countedStreams.has(stream.name)
    countedStreams.add(stream.name)
    const count = countOnce(telemetry, served.definition, countsStream)
    const onRecord = (tags: PartialTags, value: Uint8Array): void => {
      if (tags.generation !== served.definition.generation) return
      if (tags.kind === 'sealed') {
        count(tags)
        if (tags.live_next !== null)
          liveFrom.set(tags.partition, Math.max(tags.live_next, liveFrom.get(tags.partition) ?? 0))
      }
      if (!served.store.wants(tags)) return
      served.store.apply(tags satisfies MergeTags, decodePartials(value, served.definition.layout))
    }
    const onTrouble = (error: Error): void =>
      logger.warn({ err: error, topic, metric: name }, 'partials cannot be read')
    const from = topic === liveTopic(name) ? { from: liveFrom } : {}
    return new Tail({ log, clock, topic, signal, onRecord, onTrouble, ...from })
  }

  /** Looks for a new view; what is wrong with the views now, null when nothing is. `known`: what was said of it already. */
  async function viewsTrouble(served: ServedMetric, known: OperatingError | null): Promise<OperatingError | null> {
    try {
      await served.refreshViews()
      return null
    } catch (thrown) {
      const error = classify(thrown)
      if (known?.message !== error.message)
        logger.error({ err: error, metric: served.definition.name }, 'a view cannot be read')
      return error
    }
  }

  async function refreshViews(one: Followed): Promise<void> {
    one.trouble = await viewsTrouble(one.served, one.trouble)
    if (one.trouble === null && one.served.store.needsHistory && one.sealed.caughtUp) one.sealed.rewind()
  }

  for (const definition of definitions.metrics) {
    const partitions =
      (await log.describeTopic(eventsTopic(definition.stream.name)))?.partitions ?? definition.stream.partitions
    const served = new ServedMetric(definition, { lake: deps.lake, load, partitions })
    const liveFrom = new Map<number, number>()
    // The view first: the tail then leaves out the tables that it covers.
    const trouble = await viewsTrouble(served, null)
    const sealed = tailOf(served, sealedTopic(definition.name), liveFrom)
    followed.set(definition.name, { served, sealed, live: null, liveFrom, trouble })
  }

  /** First offset that a stream's log still holds, per partition, by stream; none until it is known. */
  const logStarts = new Map<string, readonly number[]>()
  /** Asks for all streams at once: a log that does not answer takes its time, and a stop waits for it. */
  async function lookForStarts(): Promise<void> {
    const streams = new Set(definitions.metrics.map(({ stream }) => stream.name))
    const looks = [...streams].map(async (name) => {
      // Its silence is the tails' trouble.
      const starts = await log.startOffsets(eventsTopic(name)).catch(() => null)
      if (starts !== null) logStarts.set(name, starts)
    })
    await Promise.all(looks)
  }

  const viewsLoop = (async () => {
    let startsAt = Number.NEGATIVE_INFINITY
    while (!signal.aborted) {
      if (clock.monotonic() >= startsAt) {
        startsAt = clock.monotonic() + LOG_STARTS_EVERY_MS
        await lookForStarts()
      }
      for (const one of followed.values()) {
        await refreshViews(one)
        if (one.live === null && one.sealed.caughtUp)
          one.live = tailOf(one.served, liveTopic(one.served.definition.name), one.liveFrom)
      }
      const starting = [...followed.values()].some(({ live }) => live === null)
      await clock.sleep(starting ? 10 : VIEWS_EVERY_MS, signal)
    }
  })()

  const reasonOf = (one: Followed): string | null =>
    one.sealed.reason ?? (one.live === null ? 'still reading' : one.live.reason)
  const refusalOf = (served: ServedMetric): { code: string; reason: string } | null => {
    const one = followed.get(served.definition.name)!
    // Once caught up, a tail in trouble only makes answers older: they stay exact for the offsets they name.
    const refused =
      one.live === null || !everCaughtUp(one)
        ? { code: 'SPEED_BEHIND', reason: reasonOf(one) ?? 'still reading' }
        : (served.store.refusal() ?? lostBefore(served, logStarts.get(served.definition.stream.name) ?? []))
    if (refused === null || one.trouble === null) return refused
    // Waiting would not help: what the store lacks is what cannot be read.
    return { code: one.trouble.code, reason: one.trouble.message.replace(/\.$/, '') }
  }
  const caught = new WeakSet<Followed>()
  function everCaughtUp(one: Followed): boolean {
    if (!caught.has(one) && one.sealed.caughtUp && one.live?.caughtUp === true) caught.add(one)
    return caught.has(one)
  }

  const metrics = [...followed.values()].map(({ served }) => served)
  registerSeries({ deps, metrics, refusalOf })
  logger.info({ metrics: metrics.length }, 'serve started')
  return {
    metrics,
    metric(name) {
      const found = followed.get(name)?.served
      if (found === undefined)
        throw new OperatingError('METRIC_UNKNOWN', `There is no metric ${name}.`, { metric: name })
      return found
    },
    refusalOf,
    async refresh() {
      await Promise.all(
        [...followed.values()].map(async (one) => {
          await refreshViews(one)
          await one.sealed.aim()
          while (!signal.aborted && (one.live === null || !one.sealed.caughtUp)) await clock.sleep(5, signal)
          await one.live?.aim()
          while (!signal.aborted && one.live?.caughtUp === false) await clock.sleep(5, signal)
        }),
      )
    },
    readiness() {
      for (const one of followed.values()) {
        if (one.trouble !== null)
          return { ready: false, reason: `${one.served.definition.name}: ${one.trouble.message}` }
        if (!everCaughtUp(one))
          return { ready: false, reason: `${one.served.definition.name}: ${reasonOf(one) ?? 'still reading'}` }
      }
      return { ready: true, reason: null }
    },
    async stop() {
      stopping.abort()
      await viewsLoop
      await Promise.all(
        [...followed.values()].flatMap(({ sealed, live }) =>
          live === null ? [sealed.done] : [sealed.done, live.done],
        ),
      )
      await loading
      if (deps.duckdb === undefined) duckdb.close()
    },
  }
}

/**
 * Refuses an answer that ends before the log begins: the events between are neither in it nor will any partial ever bring
 * them, for retention has taken both. Only a view has them.
 */
function lostBefore(served: ServedMetric, logStarts: readonly number[]): { code: string; reason: string } | null {
  const { offsets } = served.store.state()
  const partition = logStarts.findIndex((start, at) => (offsets[at] ?? 0) < start)
  if (partition < 0) return null
  const between = `[${offsets[partition] ?? 0}, ${logStarts[partition]})`
  return {
    code: 'CUT_UNCOVERED',
    reason: `partition ${partition}: offsets ${between} are in no partial and no longer on the log, only in the archive`,
  }
}

/**
 * Counts what every sealed record tells once, however often it is read and whether or not a view covers it already: its late events,
 * and with `countsStream` the events of its epoch, which all metrics of a stream tell alike.
 */
function countOnce(
  telemetry: Telemetry,
  { name, stream }: MetricDefinition,
  countsStream: boolean,
): (tags: PartialTags) => void {
  const counted = new Map<number, { readonly epoch: number; readonly part: number }>()
  return ({ partition, epoch, part, ...tags }) => {
    const last = counted.get(partition) ?? { epoch: -1, part: -1 }
    if (epoch < last.epoch || (epoch === last.epoch && part <= last.part)) return
    counted.set(partition, { epoch, part })
    if (tags.late !== null && tags.late > 0) telemetry.add('tidemark_late_events_total', { metric: name }, tags.late)
    if (!countsStream || part !== 0) return
    telemetry.add('tidemark_events_total', { stream: stream.name }, tags.events - tags.duplicates)
    telemetry.add('tidemark_dead_letters_total', { stream: stream.name }, tags.dead)
    telemetry.add('tidemark_quarantined_events_total', { stream: stream.name }, tags.quarantined)
    telemetry.add('tidemark_duplicate_events_total', { stream: stream.name }, tags.duplicates)
  }
}

/** Gauges that are worked out when they are asked for. */
function registerSeries(context: {
  readonly deps: ServeDeps
  readonly metrics: readonly ServedMetric[]
  readonly refusalOf: Serve['refusalOf']
}): void {
  const { deps, metrics, refusalOf } = context
  const { telemetry, clock, log } = deps
  telemetry.onScrape(async () => {
    const now = clock.now()
    telemetry.reset('tidemark_refused')
    for (const served of metrics) {
      const metric = served.definition.name
      const { watermark, offsets, cut, arrivalMs } = served.store.state()
      const { entries, bytes } = served.store.memory()
      telemetry.set('tidemark_state_entries', { service: 'serve', metric }, entries)
      telemetry.set('tidemark_state_bytes', { service: 'serve', metric }, bytes)
      telemetry.set('tidemark_view_cut', { metric }, cut)
      const view = served.adopted
      if (view !== null) {
        telemetry.set('tidemark_view_last_success_timestamp_seconds', { metric }, view.published_ms / 1000)
        telemetry.set('tidemark_view_age_seconds', { metric }, Math.max(0, now - view.published_ms) / 1000)
      }
      if (Number.isFinite(watermark)) {
        telemetry.set('tidemark_watermark_timestamp_seconds', { metric }, watermark / 1000)
        telemetry.set('tidemark_watermark_lag_seconds', { metric }, (now - watermark) / 1000)
      }
      const refusal = refusalOf(served)
      if (refusal !== null) telemetry.set('tidemark_refused', { metric, code: refusal.code }, 1)
      const topic = eventsTopic(served.definition.stream.name)
      if ((await log.describeTopic(topic)) === null) continue
      const ends = await log.endOffsets(topic)
      let behind = 0
      ends.forEach((end, partition) => {
        const lag = Math.max(0, end - (offsets[partition] ?? 0))
        behind += lag
        telemetry.set('tidemark_consumer_lag_records', { metric, partition: String(partition) }, lag)
      })
      const lagMs = behind === 0 || arrivalMs === 0 ? 0 : Math.max(0, now - arrivalMs)
      telemetry.set('tidemark_consumer_lag_seconds', { metric }, lagMs / 1000)
    }
  })
}
