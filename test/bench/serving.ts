/**
 * Serving and recovery of the embedded platform: queries at about a million panes in memory (E4), the way back after kill -9 with a
 * long open epoch (E5), bytes per (window, group, measure) (E6).
 *
 * Uncached queries draw their range or user anew each time, so no two are alike; latency is seen by a client in another process.
 */
import { fileURLToPath } from 'node:url'
import autocannon from 'autocannon'
import { random } from '#core/random.ts'
import { systemClock } from '#io/clock.ts'
import { openLog } from '#io/open-log.ts'
import { createPartitionEngine } from '#metrics/partition-engine.ts'
import { eventsTopic } from '#schemas/topics.ts'
import {
  against,
  type Bench,
  cpuSeconds,
  type Figures,
  medians,
  memoryMb,
  printTable,
  quantile,
  report,
  runVariant,
  show,
} from './harness.ts'
import { loadBenchDefinitions } from './load.ts'
import { BenchPlatform, call, eventually } from './platform.ts'

const file = fileURLToPath(import.meta.url)
const definitions = fileURLToPath(new URL('./definitions', import.meta.url))
const HOUR_MS = 3_600_000
const HOURS = 12
const USERS = 100_000
const START_MS = Date.UTC(2026, 0, 1)
const AT_ONCE = 4
/** Queries of the bench: what they ask for. */
const SHAPES = {
  'one user, all hours': (draw: () => number) =>
    `by_user/query?group_by=user&filter=user:user-${Math.floor(draw() * USERS)}`,
  'countries, one hour': (draw: () => number) => {
    const from = START_MS + Math.floor(draw() * (HOURS - 1) * 60) * 60_000
    return `by_country/query?group_by=country&from=${from}&until=${from + HOUR_MS}`
  },
  'top 10 users, one hour': (draw: () => number) => {
    // The end differs by a ms each time, so that no answer is a cached one.
    const from = START_MS + Math.floor(draw() * (HOURS - 1)) * HOUR_MS
    return `by_user/query?group_by=user&order=-amount&limit=10&from=${from}&until=${from + 1 + Math.floor(draw() * HOUR_MS)}`
  },
} as const

export const serving: Bench = {
  name: 'serving',
  usual: true,
  async run({ quick, runs }) {
    const records = quick ? 200_000 : 2_000_000
    const found = await medians({ serving: () => runVariant(file, ['serving', records]) }, runs)
    const { median, low, high } = found.get('serving')!
    const range = (key: string): string => `${show(low[key]!)}..${show(high[key]!)}`
    printTable(
      `serving (E4): ${show(median['panes']!)} panes of by_user in memory, ${AT_ONCE} clients at once, ms`,
      ['query', 'p50', 'p99', 'range p99', 'per s', 'gate p99'],
      [
        ...Object.keys(SHAPES).map((shape) => [
          shape,
          show(median[`${shape} p50`]!),
          show(median[`${shape} p99`]!),
          range(`${shape} p99`),
          show(median[`${shape} rate`]!),
          against(median[`${shape} p99`]!, 20, 'atMost'),
        ]),
        [
          'cached',
          show(median['cached p50']!),
          show(median['cached p99']!),
          range('cached p99'),
          show(median['cached rate']!),
          '',
        ],
      ],
      [
        `cached queries per CPU-second of the platform: ${show(median['cached perCpu']!)}, ${against(median['cached perCpu']!, 5_000, 'atLeast')}`,
        `serving memory: ${show(median['bytesPer']!, 0)} B per (window, group, measure), as /metrics publishes it`,
        ...(median.ok === 1 ? [] : ['WRONG: the answers do not add up']),
      ],
    )
  },
}

export const recovery: Bench = {
  name: 'recovery',
  usual: true,
  async run({ quick, runs }) {
    const records = quick ? 200_000 : 2_000_000
    const found = await medians({ recovery: () => runVariant(file, ['recovery', records]) }, runs)
    const { median } = found.get('recovery')!
    printTable(
      `recovery (E5): kill -9 with ${show(records)} events in the open epoch, three metrics, ids`,
      ['figure', 'value', 'gate'],
      [
        ['start to ready, s', show(median['ready']!, 2), ''],
        [
          'start to the first whole answer, s',
          median.ok === 1 ? show(median['answer']!, 2) : 'WRONG',
          against(median['answer']!, 5, 'atMost'),
        ],
        ['re-read by one engine, M records/s', show(median['reread']!, 2), against(median['reread']!, 5, 'atLeast')],
        ['the same without the log', show(median['engine']!, 2), ''],
        ['speed state, B per (window, group, measure)', show(median['bytesPer']!, 0), ''],
      ],
    )
  },
}

/** Feeds hours of past events in one open epoch; waits until they are served. */
async function load(platform: BenchPlatform, records: number): Promise<number> {
  const feed = {
    records,
    rate: null,
    perBatch: 1_000,
    users: USERS,
    startMs: START_MS,
    spanMs: HOURS * HOUR_MS,
    firstId: 0,
    seed: 1,
  }
  const { amount } = await platform.feed({ feed })
  await eventually('the answer', async () => (await platform.total('total', 'orders')) === records)
  await eventually('by_user', async () => (await platform.total('by_user', 'orders')) === records)
  return amount
}

const hourly = { TIDEMARK_BARRIER_INTERVAL: '1h' }

/** A machine series of the platform; NaN when it is not there. */
async function seriesOf(platform: BenchPlatform, series: string): Promise<number> {
  const { text } = await call(`${platform.url}/metrics`)
  const line = text.split('\n').find((each) => each.startsWith(series))
  return Number(line?.slice(series.length) ?? Number.NaN)
}

async function serve(records: number): Promise<Figures> {
  const platform = await BenchPlatform.start({ definitions, env: hourly })
  try {
    const amount = await load(platform, records)
    const panes = await seriesOf(platform, 'tidemark_state_entries{service="serve",metric="by_user"}')
    const figures: Record<string, number> = {
      panes,
      ok: (await platform.total('by_user', 'amount')) === amount ? 1 : 0,
    }
    figures['bytesPer'] =
      (await seriesOf(platform, 'tidemark_state_bytes{service="serve",metric="by_user"}')) / (panes * 2)
    const draw = random(7)
    for (const [shape, path] of Object.entries(SHAPES)) {
      const took: number[] = []
      const until = performance.now() + 4_000
      const before = performance.now()
      await Promise.all(
        Array.from({ length: AT_ONCE }, async () => {
          while (performance.now() < until) {
            const asked = performance.now()
            const { status, text } = await call(`${platform.url}/v1/metrics/${path(draw)}`)
            if (status !== 200) throw new Error(text)
            took.push(performance.now() - asked)
          }
        }),
      )
      figures[`${shape} p50`] = quantile(took, 0.5)
      figures[`${shape} p99`] = quantile(took, 0.99)
      figures[`${shape} rate`] = took.length / ((performance.now() - before) / 1_000)
    }
    const url = `${platform.url}/v1/metrics/${SHAPES['countries, one hour'](() => 0)}`
    await call(url)
    const cpu = cpuSeconds(platform.pid)
    const { latency, requests, non2xx } = await autocannon({ url, connections: 16, duration: 5 })
    figures['cached p50'] = latency.p50
    figures['cached p99'] = latency.p99
    figures['cached rate'] = requests.average
    figures['cached perCpu'] = requests.total / (cpuSeconds(platform.pid) - cpu)
    if (non2xx > 0) figures['ok'] = 0
    return figures as Figures
  } finally {
    await platform.kill()
    await platform.remove()
  }
}

async function recover(records: number): Promise<Figures> {
  const first = await BenchPlatform.start({ definitions, env: hourly })
  const { directory } = first
  try {
    const amount = await load(first, records)
    await first.kill()
    const engine = await reread(directory, records)
    const before = performance.now()
    const again = await BenchPlatform.start({ definitions, directory, env: hourly })
    const ready = (performance.now() - before) / 1_000
    await eventually('the answer', async () => (await again.total('by_user', 'orders')) === records)
    const answer = (performance.now() - before) / 1_000
    const ok = (await again.total('by_user', 'amount')) === amount ? 1 : 0
    await again.kill()
    return { ...engine, ok: ok && engine.ok, ready, answer }
  } finally {
    await first.remove()
  }
}

/** All partitions of the log through engines on this thread, as a restarted speed worker reads them. */
async function reread(directory: string, records: number): Promise<Figures> {
  const { streams, metrics } = await loadBenchDefinitions(definitions)
  const stream = streams[0]!
  const log = await openLog(
    { kind: 'sqlite', directory: `${directory}/log`, durability: 'os' },
    { clock: systemClock, lock: false },
  )
  const topic = eventsTopic(stream.name)
  const ends = await log.endOffsets(topic)
  const reader = await log.open(
    topic,
    ends.map((_, partition) => ({ partition, offset: 0 })),
  )
  const engines = ends.map((_, partition) =>
    createPartitionEngine({ stream, metrics, partition, restore: null, startOffset: 0 }),
  )
  let engineMs = 0
  const before = performance.now()
  while (engines.some((engine, partition) => engine.next < ends[partition]!)) {
    const batches = await reader.poll({ maxWaitMs: 1_000, maxBytes: 4 * 1024 * 1024 })
    const fed = performance.now()
    for (const batch of batches) {
      const engine = engines[batch.partition]!
      let step = engine.feed(batch)
      while (step.kind !== 'read')
        step = step.kind === 'schema' ? engine.provide(step.id, stream.schema) : engine.continue()
    }
    engineMs += performance.now() - fed
  }
  const seconds = (performance.now() - before) / 1_000
  const accepted = engines.reduce((sum, engine) => sum + engine.counts.accepted, 0)
  let cells = 0
  for (const engine of engines)
    for (const { rows, metric } of engine.takeLive() ?? []) cells += rows.count * metric.layout.measures.length
  const bytes = engines.reduce((sum, engine) => sum + engine.bytes, 0)
  await reader.close()
  await log.close()
  return {
    ok: accepted === records ? 1 : 0,
    reread: records / seconds / 1e6,
    engine: records / engineMs / 1e3,
    bytesPer: bytes / cells,
    peak: memoryMb('self').peak,
  }
}

if (import.meta.main) {
  report(process.argv[2] === 'serving' ? await serve(Number(process.argv[3])) : await recover(Number(process.argv[3])))
  process.exit(0)
}
