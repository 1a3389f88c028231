/** A platform under measurement: started as a child on a directory of its own, asked over HTTP, watched through /proc. */
import { type ChildProcess, fork } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { Agent, request as httpRequest } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { systemClock } from '#io/clock.ts'
import { MEMORY_ARGS, MEMORY_ENV } from '../../platform/memory.ts'
import { cpuSeconds, memoryMb } from './harness.ts'
import type { HostMessage, HostRequest } from './platform-host.ts'

const PATIENCE_MS = 300_000
const agent = new Agent({ keepAlive: true, maxSockets: 64 })

/** One row of an answer, as far as benches look. */
export interface Row {
  readonly values: Readonly<Record<string, number>>
}

/** An HTTP answer. */
export interface Answer {
  readonly status: number
  readonly text: string
}

/** One request over kept connections. */
export function call(url: string, method = 'GET', body: string | Buffer | null = null): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = httpRequest(url, {
      method,
      agent,
      ...(body === null ? {} : { headers: { 'content-type': 'application/json' } }),
    })
    sent.on('response', (response) => {
      const parts: Buffer[] = []
      response.on('data', (part: Buffer) => parts.push(part))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString() }))
      response.on('error', reject)
    })
    sent.on('error', reject)
    sent.end(body ?? undefined)
  })
}

/** Asks until it is so. @throws Error after five minutes */
export async function eventually(what: string, isSo: () => Promise<boolean>, everyMs = 20): Promise<void> {
  const deadline = systemClock.monotonic() + PATIENCE_MS
  while (!(await isSo())) {
    if (systemClock.monotonic() > deadline) throw new Error(`${what}: not within ${PATIENCE_MS / 60_000} minutes`)
    await sleep(everyMs)
  }
}

/** A started platform. */
export class BenchPlatform {
  readonly directory: string
  readonly url: string
  readonly #child: ChildProcess
  readonly #listeners = new Set<(message: HostMessage) => void>()

  private constructor(directory: string, url: string, child: ChildProcess) {
    this.directory = directory
    this.url = url
    this.#child = child
    child.on('message', (message: HostMessage) => {
      for (const listener of this.#listeners) listener(message)
    })
  }

  /** Starts it; resolves when every part is ready. `directory`: one that a former platform left. */
  static async start(options: {
    definitions: string
    directory?: string
    env?: Readonly<Record<string, string>>
  }): Promise<BenchPlatform> {
    const directory = options.directory ?? (await mkdtemp(join(tmpdir(), 'tidemark-bench-')))
    const child = fork(fileURLToPath(new URL('./platform-host.ts', import.meta.url)), {
      execArgv: [...MEMORY_ARGS],
      env: {
        ...MEMORY_ENV,
        PATH: process.env['PATH'],
        TIDEMARK_DEFINITIONS: options.definitions,
        TIDEMARK_DATA_DIR: directory,
        TIDEMARK_PORT: '0',
        TIDEMARK_REGISTRY_PORT: '0',
        TIDEMARK_FEED: 'none',
        TIDEMARK_NIGHTLY: 'off',
        ...options.env,
      },
    })
    const url = await new Promise<string>((resolve, reject) => {
      child.once('message', (message: HostMessage) => 'ready' in message && resolve(message.ready))
      child.once('exit', (code) => reject(new Error(`the platform ended with ${code} before it was ready`)))
    })
    const platform = new BenchPlatform(directory, url, child)
    await eventually('ready', async () => (await call(`${url}/readyz`)).status === 200)
    return platform
  }

  get pid(): number {
    return this.#child.pid!
  }

  cpu(): number {
    return cpuSeconds(this.pid)
  }

  memory(): { now: number; peak: number } {
    return memoryMb(this.pid)
  }

  /** Sends a request to the host; resolves with the end of the feed. */
  feed(
    request: HostRequest,
    onSlab?: (slab: { dueMs: number; total: number }) => void,
  ): Promise<{ records: number; amount: number; seconds: number }> {
    return new Promise((resolve) => {
      const listener = (message: HostMessage): void => {
        if ('slab' in message) onSlab?.(message.slab)
        if (!('fed' in message)) return
        this.#listeners.delete(listener)
        resolve(message.fed)
      }
      this.#listeners.add(listener)
      this.#child.send(request)
    })
  }

  /** Rows of a query; null while it is refused. */
  async query(metric: string, parameters = ''): Promise<readonly Row[] | null> {
    const { status, text } = await call(`${this.url}/v1/metrics/${metric}/query?${parameters}`)
    return status === 200 ? (JSON.parse(text) as { rows: Row[] }).rows : null
  }

  /** Sum of a measure over all rows of a query by day; NaN while it is refused. */
  async total(metric: string, measure: string): Promise<number> {
    const rows = await this.query(metric, 'grain=1d&limit=100000')
    return rows === null ? Number.NaN : rows.reduce((sum, row) => sum + Number(row.values[measure] ?? 0), 0)
  }

  /** Runs a job to its end; its wall time in seconds. @throws Error when it does not complete */
  async job(body: object): Promise<{ seconds: number; result: unknown }> {
    const before = systemClock.monotonic()
    const { status, text } = await call(`${this.url}/v1/jobs`, 'POST', JSON.stringify(body))
    if (status !== 202) throw new Error(text)
    const { id } = JSON.parse(text) as { id: string }
    let state = { state: '', error: null as unknown, result: null as unknown }
    await eventually(`job ${id}`, async () => {
      state = JSON.parse((await call(`${this.url}/v1/jobs/${id}`)).text) as typeof state
      return ['completed', 'failed', 'cancelled'].includes(state.state)
    })
    if (state.state !== 'completed') throw new Error(`job ${state.state}: ${JSON.stringify(state.error)}`)
    return { seconds: (systemClock.monotonic() - before) / 1_000, result: state.result }
  }

  /** kill -9: what a crash leaves. */
  async kill(): Promise<void> {
    const gone = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.kill('SIGKILL')
    await gone
  }

  /** Orderly stop. */
  async stop(): Promise<void> {
    const gone = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.send({ close: true } satisfies HostRequest)
    await gone
  }

  remove(): Promise<void> {
    return rm(this.directory, { recursive: true, force: true })
  }
}
