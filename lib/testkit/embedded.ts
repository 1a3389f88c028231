/**
 * The embedded platform inside a test: on a directory of its own, on free ports, spoken to over HTTP as a user would.
 *
 * Barriers come on demand only (the ticker is set to an hour), so that epochs, cuts and watermarks are what the test makes them.
 * `restart` stops and starts it on the same data directory. `stop` removes the directory if `startForTest` made it.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pino from 'pino'
import { systemClock } from '#io/clock.ts'
import { loadConfig } from '#io/config.ts'
import type { JobType, JobView } from '#io/ports.ts'
import type { DriftReport } from '#schemas/drift.ts'
import { type Embedded, startEmbedded } from '../../platform/embedded.ts'

/** What was answered. `json` is undefined when the body is no JSON. */
export interface Reply<T = unknown> {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  readonly json: T
}

/** A row of an answer. */
export interface QueryRow {
  readonly from: string
  readonly until: string
  readonly group: Readonly<Record<string, string | number | boolean | null>>
  readonly values: Readonly<Record<string, string | number | null>>
  readonly finality: 'provisional' | 'closed' | 'confirmed' | 'restated'
}

/** An answer of `/v1/metrics/{metric}/query`. */
export interface QueryAnswer {
  readonly rows: readonly QueryRow[]
  readonly envelope: {
    readonly metric: string
    readonly generation: string
    readonly layer: string
    readonly cut: number
    readonly offsets: readonly number[]
    readonly watermark: string | null
    readonly shares: { readonly batch: number; readonly speed: number }
    readonly bounds: Readonly<Record<string, number>>
  }
}

/** A problem body. */
export interface ProblemBody {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  readonly code: string
  readonly hint: string
  readonly field?: string
}

/** What ingest answers. */
export interface IngestAnswer {
  readonly accepted: number
  readonly rejected: readonly { index: number; code: string; reason: string; field?: string }[]
}

/** How long anything may take before a test gives up, ms. */
const PATIENCE_MS = 300_000

/** A platform under test. */
export class TestPlatform {
  readonly directory: string
  readonly #env: Readonly<Record<string, string>>
  #running: Embedded | null = null

  constructor(directory: string, env: Readonly<Record<string, string>>) {
    this.directory = directory
    this.#env = env
  }

  /** The composed parts, for what HTTP does not show. */
  get parts(): Embedded {
    if (this.#running === null) throw new Error('the platform is stopped')
    return this.#running
  }

  get url(): string {
    return this.parts.url
  }

  /** Starts it; resolves when it is ready. */
  async start(): Promise<void> {
    const config = loadConfig({
      TIDEMARK_DATA_DIR: this.directory,
      TIDEMARK_PORT: '0',
      TIDEMARK_REGISTRY_PORT: '0',
      TIDEMARK_FEED: 'none',
      TIDEMARK_NIGHTLY: 'off',
      TIDEMARK_BARRIER_INTERVAL: '1h',
      TIDEMARK_FLUSH_INTERVAL: '50ms',
      TIDEMARK_DURABILITY: 'os',
      TIDEMARK_LOG_LEVEL: 'error',
      ...this.#env,
    })
    this.#running = await startEmbedded(
      config,
      pino({ level: config.logLevel }, pino.destination({ fd: 2, sync: true })),
    )
    let told = ''
    const ready = async (): Promise<boolean> => {
      const { status, text } = await this.get('/readyz')
      told = text
      return status === 200
    }
    await until('the platform is ready', ready).catch((error: Error) => {
      throw new Error(`${error.message}: ${told}`)
    })
  }

  /** Stops it gracefully; the directory stays. */
  async close(): Promise<void> {
    const running = this.#running
    this.#running = null
    await running?.close()
  }

  /** Stops and starts it again on what it left behind. */
  async restart(): Promise<void> {
    await this.close()
    await this.start()
  }

  /** Stops it and removes the directory. */
  async stop(): Promise<void> {
    await this.close()
    await rm(this.directory, { recursive: true, force: true })
  }

  get<T = unknown>(path: string, headers: Readonly<Record<string, string>> = {}): Promise<Reply<T>> {
    return this.request<T>(path, { headers })
  }

  /** Posts a value as JSON, or a text or bytes as they are under `type`. */
  post<T = unknown>(path: string, body?: unknown, type = 'application/json'): Promise<Reply<T>> {
    if (body === undefined) return this.request<T>(path, { method: 'POST' })
    const raw = typeof body === 'string' || body instanceof Uint8Array
    return this.request<T>(path, {
      method: 'POST',
      headers: { 'content-type': type },
      body: raw ? (body as NonNullable<RequestInit['body']>) : JSON.stringify(body),
    })
  }

  /** Asks; a platform that has no time, as on a machine that stood still, is asked again as its answer says. */
  async request<T = unknown>(path: string, init: RequestInit): Promise<Reply<T>> {
    for (const begun = systemClock.monotonic(); ; await sleep(1_000)) {
      const response = await fetch(new URL(path, this.url), init)
      const text = await response.text()
      const isJson = response.headers.get('content-type')?.includes('json') === true && text !== ''
      const json = (isJson ? JSON.parse(text) : undefined) as T
      const isBusy = response.status === 503 && (json as ProblemBody | undefined)?.code === 'OVERLOADED'
      if (!isBusy || systemClock.monotonic() - begun > PATIENCE_MS)
        return { status: response.status, headers: response.headers, text, json }
    }
  }

  /** Sends events that must all be taken; NDJSON text, or values. Returns how many there were. */
  async send(stream: string, events: string | readonly unknown[]): Promise<number> {
    const body = typeof events === 'string' ? events : events.map((event) => JSON.stringify(event)).join('\n')
    const { status, text, json } = await this.post<IngestAnswer>(
      `/v1/streams/${stream}/events`,
      body,
      'application/x-ndjson',
    )
    if (status !== 200 || json.rejected.length > 0)
      throw new Error(`not all were taken: ${status} ${text.slice(0, 500)}`)
    return json.accepted
  }

  /** Waits until the answers of the stream's metrics stand on everything that is on its topic now. */
  async settle(stream: string): Promise<void> {
    const { json } = await this.get<{ end_offsets: number[] }>(`/v1/streams/${stream}`)
    const metrics = this.parts.definitions.metrics.filter((metric) => metric.stream.name === stream)
    for (const { name } of metrics) {
      await until(`${name} has read ${stream} up to ${json.end_offsets.join(', ')}`, async () => {
        const { offsets } = (await this.get<{ offsets: number[] }>(`/v1/metrics/${name}`)).json
        return json.end_offsets.every((end, partition) => (offsets[partition] ?? 0) >= end)
      })
    }
  }

  /** Puts a barrier into every partition; its id. */
  async barrier(stream: string): Promise<number> {
    const { status, text, json } = await this.post<{ id: number }>(`/v1/streams/${stream}/barriers`)
    if (status !== 200) throw new Error(`no barrier: ${status} ${text}`)
    return json.id
  }

  /** Queries by POST; the answer must be 200. */
  async query(metric: string, fields: Readonly<Record<string, unknown>> = {}): Promise<QueryAnswer> {
    const { status, text, json } = await this.post<QueryAnswer>(`/v1/metrics/${metric}/query`, fields)
    if (status !== 200) throw new Error(`${metric} was not answered: ${status} ${text.slice(0, 500)}`)
    return json
  }

  /** Runs a job to its end; one that fails throws with its error. */
  async job(type: JobType, fields: Readonly<Record<string, unknown>> = {}): Promise<JobView> {
    const added = await this.post<JobView>('/v1/jobs', { type, ...fields })
    if (added.status !== 202) throw new Error(`no job: ${added.status} ${added.text}`)
    let view = added.json
    await until(`job ${type} ${view.id} ends`, async () => {
      view = (await this.get<JobView>(`/v1/jobs/${view.id}`)).json
      if (view.state === 'failed' || view.state === 'cancelled')
        throw new Error(`job ${type} ${view.state}: ${JSON.stringify(view.error)}`)
      return view.state === 'completed'
    })
    return view
  }

  /** Builds the view of a metric (or `*`) at a new cut and waits until answers stand on it. */
  async build(metric: string, fields: Readonly<Record<string, unknown>> = {}): Promise<JobView> {
    const job = await this.job('build-view', { metric, ...fields })
    for (const { name } of this.parts.definitions.metrics) {
      if (metric !== '*' && metric !== name) continue
      const newest = (await this.get<{ views: { cut: number }[] }>(`/v1/views/${name}`)).json.views[0]
      if (newest === undefined) throw new Error(`${name} has no view after a build`)
      await until(`${name} is answered from cut ${newest.cut}`, async () => {
        return (await this.get<{ cut: number }>(`/v1/metrics/${name}`)).json.cut >= newest.cut
      })
    }
    return job
  }

  /** Waits for the report that every build is followed by, at the cut that the metric is answered from. */
  async driftAfterBuild(metric: string): Promise<DriftReport> {
    const { cut } = (await this.get<{ cut: number }>(`/v1/metrics/${metric}`)).json
    let found: Reply<DriftReport>
    await until(`${metric} has a drift report at cut ${cut}`, async () => {
      found = await this.get<DriftReport>(`/v1/drift/${metric}/${cut}`)
      return found.status === 200
    })
    return found!.json
  }

  /** Runs the drift job of a metric; its report. */
  async drift(metric: string): Promise<DriftReport> {
    await this.job('drift', { metric })
    return (await this.get<DriftReport>(`/v1/drift/${metric}`)).json
  }

  /** The sum over the samples of a machine series whose labels include `labels`. @throws Error when there is no such series */
  async series(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    const { text } = await this.get('/metrics')
    if (!text.includes(`# TYPE ${name} `)) throw new Error(`there is no series ${name}`)
    let sum = 0
    for (const line of text.split('\n')) {
      const match = /^(\w+)(?:\{(.*)\})? (\S+)/.exec(line)
      if (match?.[1] !== name) continue
      const wanted = Object.entries(labels).every(([label, value]) => match[2]?.includes(`${label}="${value}"`))
      if (wanted) sum += Number(match[3])
    }
    return sum
  }
}

/** Asks until it is true. @throws Error naming what did not come about */
export async function until(what: string, ask: () => Promise<boolean>): Promise<void> {
  const begun = systemClock.monotonic()
  while (systemClock.monotonic() - begun < PATIENCE_MS) {
    if (await ask()) return
    await sleep(25)
  }
  throw new Error(`after ${PATIENCE_MS / 1000} s still not: ${what}`)
}

/** A fresh platform on a definitions directory; `env` overrides settings. */
export async function startForTest(
  definitions: string,
  env: Readonly<Record<string, string>> = {},
): Promise<TestPlatform> {
  const directory = await mkdtemp(join(tmpdir(), 'tidemark-embedded-'))
  const platform = new TestPlatform(directory, { TIDEMARK_DEFINITIONS: definitions, ...env })
  try {
    await platform.start()
  } catch (error) {
    await platform.stop()
    throw error
  }
  return platform
}
