/**
 * `npm run demo`: the whole platform on a bounded part of the flights, ended and judged by itself.
 *
 *   feed 200,000 ─▶ build a view while 60,000 more arrive ─▶ 40,000 more, then one very late flight by HTTP ─▶ ask for everything
 *
 * Every (window, group, measure) of the merged answers is compared with DuckDB over the original Parquet file, which never
 * went through the platform (recompute.ts); then the same-cut drift report is printed. The last line is `demo: ok …` or
 * `demo: FAILED …`, exit 1.
 */
import { rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import Table from 'cli-table3'
import { systemClock } from '#io/clock.ts'
import { loadConfig } from '#io/config.ts'
import { openDuckDb } from '#io/duckdb.ts'
import { classify } from '#io/errors.ts'
import { feedFlights } from '../../services/feed/flights.ts'
import { loadFlights } from '../../services/feed/flights-data.ts'
import { type Embedded, startEmbedded } from '../embedded.ts'
import { createLogger, requireNode } from '../runtime.ts'
import { progress, say } from '../terminal.ts'
import { call, completed, settled } from './client.ts'
import { type Comparison, compareWithSource, LATE_FLIGHT } from './recompute.ts'

const [FIRST, DURING, AFTER] = [200_000, 60_000, 40_000]
const TOTAL = FIRST + DURING + AFTER

interface Drift {
  readonly cut: number
  readonly cells_compared: number
  readonly cells_different: number
  readonly unexplained: number
}

async function run(platform: Embedded): Promise<{ comparisons: Comparison[]; drifts: Map<string, Drift> }> {
  const { url, log, registry, definitions } = platform
  const stream = definitions.streams.find(({ name }) => name === 'flights')!
  const flights = await loadFlights()
  const bar = progress('flights fed', TOTAL)
  const feed = (from: number, limit: number) =>
    feedFlights(
      { log, registry, stream, flights, clock: systemClock },
      { order: 'departure', pace: 'fast', from, limit, onProgress: ({ next }) => bar.set(next) },
    )
  await feed(0, FIRST)
  const job = await call<{ id: string }>(url, 'POST', '/v1/jobs', { type: 'build-view', metric: '*' })
  await feed(FIRST, DURING)
  await completed(url, job.id)
  await feed(FIRST + DURING, AFTER)
  bar.end()
  const late = await call<{ accepted: number }>(url, 'POST', '/v1/streams/flights/events', [LATE_FLIGHT])
  if (late.accepted !== 1) throw new Error('the late flight was not accepted')
  await settled(url, log, definitions)
  const duckdb = await openDuckDb({ threads: 1, memoryMb: 512, temporaryDirectory: null })
  try {
    const comparisons = []
    for (const metric of definitions.metrics) comparisons.push(await compareWithSource(url, duckdb, metric.name, TOTAL))
    const drifts = new Map<string, Drift>()
    for (const { name } of definitions.metrics) {
      const { id } = await call<{ id: string }>(url, 'POST', '/v1/jobs', { type: 'drift', metric: name })
      await completed(url, id)
      drifts.set(name, await call<Drift>(url, 'GET', `/v1/drift/${name}`))
    }
    return { comparisons, drifts }
  } finally {
    duckdb.close()
  }
}

function report({ comparisons, drifts }: Awaited<ReturnType<typeof run>>): boolean {
  const answers = new Table({
    head: ['metric', 'cells', 'values', 'from batch', 'from speed', 'wrong'],
    style: { head: [], border: [] },
  })
  for (const { metric, cells, values, shares, wrong } of comparisons) {
    answers.push([
      metric,
      ...[cells, values, shares.batch, shares.speed, wrong.length].map((n) => n.toLocaleString('en')),
    ])
  }
  say('\nMerged answers against DuckDB over the original file:')
  say(answers.toString())
  for (const { metric, wrong } of comparisons) for (const line of wrong.slice(0, 5)) say(`  ${metric}: ${line}`)
  const table = new Table({
    head: ['metric', 'cut', 'cells compared', 'different', 'unexplained'],
    style: { head: [], border: [] },
  })
  for (const [metric, drift] of drifts) {
    table.push([metric, drift.cut, drift.cells_compared.toLocaleString('en'), drift.cells_different, drift.unexplained])
  }
  say('\nSame-cut drift, SQL view against stream view:')
  say(table.toString())
  return (
    comparisons.every(({ wrong, cells }) => wrong.length === 0 && cells > 0) &&
    [...drifts.values()].every((d) => d.cells_different === 0 && d.cells_compared > 0)
  )
}

requireNode()
const since = systemClock.monotonic()
const directory = await mkdtemp(join(tmpdir(), 'tidemark-demo-'))
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  // Nothing of it is worth closing in order; then the signal does what it does by default.
  process.once(signal, () => {
    try {
      rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
    } catch {
      // A thread that still writes can win; the signal must not end in a stack trace for that.
    }
    process.kill(process.pid, signal)
  })
}
let platform: Embedded | null = null
try {
  const config = loadConfig({
    TIDEMARK_DEFINITIONS: fileURLToPath(new URL('./definitions', import.meta.url)),
    TIDEMARK_BARRIER_INTERVAL: '2s',
    TIDEMARK_PORT: '0',
    TIDEMARK_REGISTRY_PORT: '0',
    TIDEMARK_LOG_LEVEL: 'warn',
    ...process.env,
    TIDEMARK_DATA_DIR: directory,
    TIDEMARK_FEED: 'none',
    TIDEMARK_NIGHTLY: 'off',
  })
  platform = await startEmbedded(config, createLogger('demo', config.logLevel))
  say(`Tidemark is up: ${platform.url} (data in a temporary folder)`)
  const result = await run(platform)
  const isRight = report(result)
  const cells = result.comparisons.reduce((sum, comparison) => sum + comparison.cells, 0)
  const seconds = ((systemClock.monotonic() - since) / 1_000).toFixed(1)
  say(
    isRight
      ? `demo: ok, ${cells.toLocaleString('en')} cells equal, drift 0, ${seconds} s`
      : 'demo: FAILED, see the tables above',
  )
  process.exitCode = isRight ? 0 : 1
} catch (error) {
  const { code, message, hint } = classify(error)
  say(`demo: FAILED ${code}: ${message} ${hint}`)
  process.exitCode = 1
} finally {
  await platform?.close()
  await rm(directory, { recursive: true, force: true })
}
