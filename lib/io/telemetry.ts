/**
 * Telemetry: series about the machine, for scraping at `/metrics` (never about KPIs). All names stand in one table, so that
 * dashboards, alert rules and the operating page can be checked against it. One telemetry object per process, no global.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from '@prometheus-io/client'

interface SeriesSpec {
  readonly kind: 'gauge' | 'counter' | 'histogram'
  readonly help: string
  readonly labels: readonly string[]
}

/** Every series: name → kind, help, labels. Seconds and totals, in the style of Prometheus. */
const SERIES = {
  tidemark_consumer_lag_records: {
    kind: 'gauge',
    help: 'Records of the log that are not in the answers yet.',
    labels: ['metric', 'partition'],
  },
  tidemark_consumer_lag_seconds: {
    kind: 'gauge',
    help: 'Age of the newest record in the answers while some are not; 0 when all are.',
    labels: ['metric'],
  },
  tidemark_watermark_lag_seconds: {
    kind: 'gauge',
    help: 'Wall clock minus the watermark of the answers.',
    labels: ['metric'],
  },
  tidemark_watermark_timestamp_seconds: {
    kind: 'gauge',
    help: 'Watermark of the answers, as a Unix time.',
    labels: ['metric'],
  },
  tidemark_late_events_total: {
    kind: 'counter',
    help: '(event, window) pairs that came after the close, in sealed epochs.',
    labels: ['metric'],
  },
  tidemark_dead_letters_total: {
    kind: 'counter',
    help: 'Records that could not be decoded, in sealed epochs.',
    labels: ['stream'],
  },
  tidemark_quarantined_events_total: {
    kind: 'counter',
    help: 'Events from the future, in sealed epochs.',
    labels: ['stream'],
  },
  tidemark_duplicate_events_total: {
    kind: 'counter',
    help: 'Events whose id was seen before, in sealed epochs.',
    labels: ['stream'],
  },
  tidemark_events_total: {
    kind: 'counter',
    help: 'Events that count, in sealed epochs: neither duplicates nor from the future.',
    labels: ['stream'],
  },
  tidemark_ingested_events_total: {
    kind: 'counter',
    help: 'Events over HTTP by outcome.',
    labels: ['stream', 'outcome'],
  },
  tidemark_archive_lag_records: {
    kind: 'gauge',
    help: 'Records of the log that are not archived yet.',
    labels: ['stream'],
  },
  tidemark_state_bytes: { kind: 'gauge', help: 'Estimated bytes of state.', labels: ['service', 'metric'] },
  tidemark_state_entries: { kind: 'gauge', help: '(window, group) entries held.', labels: ['service', 'metric'] },
  tidemark_view_cut: { kind: 'gauge', help: 'Cut of the view that is read; 0 without one.', labels: ['metric'] },
  tidemark_view_last_success_timestamp_seconds: {
    kind: 'gauge',
    help: 'When the view that is read was published, as a Unix time.',
    labels: ['metric'],
  },
  tidemark_view_age_seconds: { kind: 'gauge', help: 'Age of the view that is read.', labels: ['metric'] },
  tidemark_refused: {
    kind: 'gauge',
    help: '1 while merged answers of the metric are refused with this code.',
    labels: ['metric', 'code'],
  },
  tidemark_registry_passed_over_records: {
    kind: 'gauge',
    help: 'Records of the schemas topic that count for nothing, since the start: malformed, conflicting.',
    labels: ['reason'],
  },
  tidemark_registry_writer: {
    kind: 'gauge',
    help: '1 while this registry is the one that writes.',
    labels: [],
  },
  tidemark_query_duration_seconds: {
    kind: 'histogram',
    help: 'Time to compute an answer that was not cached.',
    labels: ['layer'],
  },
  tidemark_queries_total: {
    kind: 'counter',
    help: 'Queries by outcome: computed, cached, refused.',
    labels: ['metric', 'outcome'],
  },
  tidemark_live_clients: { kind: 'gauge', help: 'Open live connections.', labels: ['metric'] },
} as const satisfies Record<string, SeriesSpec>

type NameOf<Kind> = {
  [Name in keyof typeof SERIES]: (typeof SERIES)[Name]['kind'] extends Kind ? Name : never
}[keyof typeof SERIES]
/** Values of the labels of a series. */
export type Labels<Name extends keyof typeof SERIES> = Readonly<Record<(typeof SERIES)[Name]['labels'][number], string>>

/** Writes the series of one process. */
export interface Telemetry {
  set<Name extends NameOf<'gauge'>>(name: Name, labels: Labels<Name>, value: number): void
  /** Forgets all label sets of a gauge; for gauges that are written anew at every scrape. */
  reset(name: NameOf<'gauge'>): void
  add<Name extends NameOf<'counter'>>(name: Name, labels: Labels<Name>, value?: number): void
  /** Seconds. */
  observe<Name extends NameOf<'histogram'>>(name: Name, labels: Labels<Name>, seconds: number): void
  /** Runs before every scrape, to bring gauges up to date; what it throws is left out of the scrape, not of the log. */
  onScrape(collect: () => void | Promise<void>): void
  /** The exposition text. */
  text(): Promise<string>
  readonly contentType: string
}

const BUCKETS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5]

/** How telemetry is made. */
export interface TelemetryOptions {
  /** Also the series of Node itself; default true. */
  readonly process?: boolean
  /** Told what a collector threw; default: it is passed over. */
  readonly onError?: (error: unknown) => void
}

/** Telemetry with all series of the table; `process` also adds those of Node itself (memory, event loop, garbage collection). */
export function createTelemetry(options: TelemetryOptions = {}): Telemetry {
  const registry = new Registry()
  if (options.process ?? true) collectDefaultMetrics({ register: registry })
  const gauges = new Map<string, Gauge<string>>()
  const counters = new Map<string, Counter<string>>()
  const histograms = new Map<string, Histogram<string>>()
  for (const [name, { kind, help, labels }] of Object.entries(SERIES)) {
    const base = { name, help, labelNames: [...labels] as string[], registers: [registry] }
    if (kind === 'gauge') gauges.set(name, new Gauge(base))
    else if (kind === 'counter') counters.set(name, new Counter(base))
    else histograms.set(name, new Histogram({ ...base, buckets: BUCKETS }))
  }
  const collectors: (() => void | Promise<void>)[] = []
  return {
    set: (name, labels, value) => gauges.get(name)!.set(labels, value),
    reset: (name) => gauges.get(name)!.reset(),
    add: (name, labels, value = 1) => counters.get(name)!.inc(labels, value),
    observe: (name, labels, seconds) => histograms.get(name)!.observe(labels, seconds),
    onScrape: (collect) => void collectors.push(collect),
    async text() {
      for (const collect of collectors) {
        try {
          await collect()
        } catch (error) {
          options.onError?.(error)
        }
      }
      return registry.metrics()
    },
    contentType: registry.contentType,
  }
}
