/**
 * The embedded platform as a whole: HTTP ingest, of clean orders and of the synthetic shop with every fault; log append until archive,
 * speed and serve have all of it; append to merged answer; memory. The platform is a child process; the bench asks it over HTTP from
 * outside, so both share the machine's cores.
 *
 * Latency: slabs are due by a fixed schedule, and an event counts from when it was due, not from when it could be appended
 * (coordinated omission); its answer is the first one asked for whose count covers it. The first 3 s are not counted.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { openLakeFolder } from '#io/lake-folder.ts'
import { type ShopStream, shopArrivals } from '#testkit/shop.ts'
import { archiveAt } from '../../batch/await-cut.ts'
import {
  against,
  type Bench,
  type Figures,
  medians,
  printTable,
  quantile,
  report,
  runVariant,
  show,
} from './harness.ts'
import { BenchPlatform, call, eventually } from './platform.ts'
import { type BenchEvent, eventSource } from './workload.ts'

const file = fileURLToPath(import.meta.url)
const definitions = fileURLToPath(new URL('./definitions', import.meta.url))
const shopDefinitions = fileURLToPath(new URL('../fixtures/shop', import.meta.url))
const HTTP_ITEMS = 1_000
const HTTP_CONNECTIONS = 4
/** Rows of the first table. */
const WAYS_IN = {
  http: { title: 'HTTP, 1,000 a body', gate: 50_000 },
  shop: { title: 'HTTP, shop, faults', gate: 50_000 },
  append: { title: 'append to all of it', gate: 100_000 },
}
const WARM_MS = 3_000
const PROBE_MS = 4

const feedOf = (records: number, rate: number | null, perBatch: number) => ({
  feed: {
    records,
    rate,
    perBatch,
    users: 10_000,
    startMs: Date.now() - 60_000,
    spanMs: rate === null ? 60_000 : (records / rate) * 1_000,
    firstId: 0,
    seed: 1,
  },
})

export const embedded: Bench = {
  name: 'embedded',
  usual: true,
  async run({ quick, runs }) {
    const load = quick ? 100_000 : 1_000_000
    const seconds = quick ? 6 : 15
    const rates = [5_000, 50_000]
    const found = await medians(
      {
        rest: () => runVariant(file, ['rest']),
        http: () => runVariant(file, ['http', load / 2]),
        shop: () => runVariant(file, ['shop', load / 2]),
        append: () => runVariant(file, ['append', load]),
        ...Object.fromEntries(
          rates.map((rate) => [`latency ${rate}`, () => runVariant(file, ['latency', rate, seconds])]),
        ),
      },
      runs,
    )
    const of = (name: string): Figures => found.get(name)!.median
    const value = (name: string, key: string, digits = 0): string =>
      of(name).ok === 1 ? show(of(name)[key]!, digits) : 'WRONG'
    printTable(
      'embedded: HTTP until acknowledged; append until archive, speed and serve have all of it',
      ['variant', 'events/s', 'range', 'CPU s', 'ev/CPU-s', 'peak MB', 'gate'],
      Object.entries(WAYS_IN).map(([name, { title, gate }]) => [
        title,
        value(name, 'rate'),
        `${show(found.get(name)!.low['rate']!, 0)}..${show(found.get(name)!.high['rate']!, 0)}`,
        value(name, 'cpu', 1),
        value(name, 'perCpu'),
        value(name, 'peak'),
        against(of(name)['rate']!, gate, 'atLeast'),
      ]),
    )
    printTable(
      'embedded: append → merged answer (E2), by schedule, ms',
      ['events/s', 'p50', 'p99', 'max', 'CPU s per s', 'peak MB', 'gate p50'],
      rates.map((rate) => {
        const name = `latency ${rate}`
        return [
          show(rate),
          value(name, 'p50'),
          value(name, 'p99'),
          value(name, 'max'),
          value(name, 'load', 2),
          value(name, 'peak'),
          against(of(name)['p50']!, 300, 'atMost'),
        ]
      }),
    )
    printTable(
      'embedded: resident memory, MB',
      ['state', 'MB', 'gate'],
      [
        ['10 s after the start', value('rest', 'rest'), against(of('rest')['rest']!, 600, 'atMost')],
        [`15 s after ${show(load)} events`, value('append', 'after'), against(of('append')['after']!, 600, 'atMost')],
        ['peak of the append run', value('append', 'peak'), against(of('append')['peak']!, 1_000, 'atMost')],
      ],
    )
  },
}

async function child(variant: string, args: readonly number[]): Promise<void> {
  const platform = await BenchPlatform.start({ definitions: variant === 'shop' ? shopDefinitions : definitions })
  try {
    if (variant === 'rest') report(await rest(platform))
    else if (variant === 'http') report(await http(platform, args[0]!))
    else if (variant === 'shop') report(await shop(platform, args[0]!))
    else if (variant === 'append') report(await append(platform, args[0]!))
    else report(await latency(platform, args[0]!, args[1]!))
  } finally {
    await platform.kill()
    await platform.remove()
  }
  process.exit(0)
}

async function rest(platform: BenchPlatform): Promise<Figures> {
  await sleep(10_000)
  return { ok: 1, rest: platform.memory().now, peak: platform.memory().peak }
}

async function http(platform: BenchPlatform, events: number): Promise<Figures> {
  const spanMs = 60_000
  const draw = eventSource({
    records: events,
    perBatch: 0,
    users: 10_000,
    startMs: Date.now() - spanMs,
    spanMs,
    seed: 1,
    firstId: 0,
  })
  const event: BenchEvent = { id: 0, event_time: 0, user: '', country: '', amount: 0 }
  let amount = 0
  const bodies = Array.from({ length: events / HTTP_ITEMS }, (_, body) => {
    const items = Array.from({ length: HTTP_ITEMS }, (__, item) => {
      draw(body * HTTP_ITEMS + item, event)
      amount += event.amount
      return { ...event }
    })
    return { stream: 'orders', body: Buffer.from(JSON.stringify(items)) }
  })
  const { accepted, ...figures } = await post(platform, bodies)
  await eventually('the answer', async () => (await platform.total('total', 'orders')) >= events)
  const ok = accepted === events && (await platform.total('total', 'amount')) === amount
  return { ok: ok ? 1 : 0, ...figures, peak: platform.memory().peak }
}

/** Most of a day of the synthetic shop with every fault; what it sends twice must count once. */
async function shop(platform: BenchPlatform, events: number): Promise<Figures> {
  const arrivals = shopArrivals({
    seed: 1,
    count: events,
    rate: events / 86_400,
    duplicates: 0.05,
    disorderMs: 30_000,
    bursts: { everyMs: 3_600_000, lengthMs: 60_000, factor: 20 },
    offline: { share: 0.1 },
  })
  const waiting: Record<ShopStream, object[]> = { orders: [], payments: [], clicks: [] }
  const distinct: Record<ShopStream, number> = { orders: 0, payments: 0, clicks: 0 }
  const bodies: Body[] = []
  const pack = (stream: ShopStream): void => {
    bodies.push({ stream, body: Buffer.from(JSON.stringify(waiting[stream].splice(0))) })
  }
  let cents = 0
  for (const { stream, event, duplicate } of arrivals) {
    if (waiting[stream].push(event) === HTTP_ITEMS) pack(stream)
    if (duplicate) continue
    distinct[stream]++
    if (stream === 'orders') cents += Math.round(Number(event.amount) * 100)
  }
  for (const stream of Object.keys(waiting) as ShopStream[]) if (waiting[stream].length > 0) pack(stream)
  const { accepted, ...figures } = await post(platform, bodies)
  const counts = {
    revenue: ['orders', distinct.orders],
    fees: ['payments', distinct.payments],
    dwell: ['views', distinct.clicks],
  } as const
  for (const [metric, [measure, count]] of Object.entries(counts))
    await eventually(metric, async () => (await platform.total(metric, measure)) >= count)
  let ok = accepted === arrivals.length && Math.round((await platform.total('revenue', 'amount')) * 100) === cents
  for (const [metric, [measure, count]] of Object.entries(counts))
    ok &&= (await platform.total(metric, measure)) === count
  return { ok: ok ? 1 : 0, ...figures, peak: platform.memory().peak }
}

/** An HTTP body and where it goes. */
interface Body {
  readonly stream: string
  readonly body: Buffer
}

/** Posts bodies over several connections until all are acknowledged. */
async function post(
  platform: BenchPlatform,
  bodies: readonly Body[],
): Promise<Omit<Figures, 'ok'> & { accepted: number }> {
  const cpu = platform.cpu()
  const before = performance.now()
  let next = 0
  let accepted = 0
  await Promise.all(
    Array.from({ length: HTTP_CONNECTIONS }, async () => {
      while (next < bodies.length) {
        const { stream, body } = bodies[next++]!
        const { status, text } = await call(`${platform.url}/v1/streams/${stream}/events`, 'POST', body)
        if (status !== 200) throw new Error(`${status} ${text.slice(0, 300)}`)
        accepted += (JSON.parse(text) as { accepted: number }).accepted
      }
    }),
  )
  const seconds = (performance.now() - before) / 1_000
  const used = platform.cpu() - cpu
  return { accepted, rate: accepted / seconds, cpu: used, perCpu: accepted / used }
}

async function append(platform: BenchPlatform, records: number): Promise<Figures> {
  const cpu = platform.cpu()
  const before = performance.now()
  const { amount } = await platform.feed(feedOf(records, null, 1_000))
  const appended = (performance.now() - before) / 1_000
  const put = await call(`${platform.url}/v1/streams/orders/barriers`, 'POST')
  const { id } = JSON.parse(put.text) as { id: number }
  await eventually('the answer', async () => (await platform.total('total', 'orders')) >= records)
  const served = (performance.now() - before) / 1_000
  const lake = await openLakeFolder(`${platform.directory}/lake`)
  await eventually('the archive', async () => (await archiveAt(lake, 'orders', id)) !== null)
  const seconds = (performance.now() - before) / 1_000
  const used = platform.cpu() - cpu
  const archived = (await archiveAt(lake, 'orders', id))!.files.reduce((sum, { entry }) => sum + entry.events, 0)
  const { peak } = platform.memory()
  const ok = archived === records && (await platform.total('total', 'amount')) === amount
  await sleep(15_000)
  return {
    ok: ok ? 1 : 0,
    rate: records / seconds,
    appended,
    served,
    cpu: used,
    perCpu: records / used,
    peak,
    after: platform.memory().now,
  }
}

async function latency(platform: BenchPlatform, rate: number, seconds: number): Promise<Figures> {
  const records = rate * seconds
  const slabs: { dueMs: number; total: number }[] = []
  let fed = false
  const cpu = platform.cpu()
  const began = performance.now()
  // A slab every 10 ms.
  const feeding = platform
    .feed(feedOf(records, rate, rate / 100), (slab) => slabs.push(slab))
    .then((end) => {
      fed = true
      return end
    })
  const answers: { ms: number; count: number }[] = []
  for (let count = 0; !fed || count < records; ) {
    const found = await platform.total('total', 'orders')
    if (!Number.isNaN(found)) answers.push({ ms: performance.timeOrigin + performance.now(), count: (count = found) })
    if (performance.now() - began > (seconds + 120) * 1_000) break
    await sleep(PROBE_MS)
  }
  const load = (platform.cpu() - cpu) / ((performance.now() - began) / 1_000)
  const { amount } = await feeding
  slabs.sort((a, b) => a.dueMs - b.dueMs)
  const warm = slabs[0]!.dueMs + WARM_MS
  const late: number[] = []
  let at = 0
  for (const { dueMs, total } of slabs) {
    while (at < answers.length && answers[at]!.count < total) at++
    if (dueMs >= warm && at < answers.length) late.push(answers[at]!.ms - dueMs)
  }
  const ok = (await platform.total('total', 'amount')) === amount && late.length > 0
  return {
    ok: ok ? 1 : 0,
    p50: quantile(late, 0.5),
    p99: quantile(late, 0.99),
    max: Math.max(...late),
    load,
    peak: platform.memory().peak,
  }
}

if (import.meta.main) await child(process.argv[2]!, process.argv.slice(3).map(Number))
