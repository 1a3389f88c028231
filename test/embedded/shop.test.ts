/**
 * Goal: what real data do rarely (duplicates, disorder, bursts, phones that were offline for three hours), all at once, changes no number.
 * Method: the synthetic shop over HTTP in order of arrival, two thirds, a build, the rest; every cell of every metric against sums over the
 * generator's distinct events, and every late event and duplicate against its labels. The oracle knows nothing of either reader.
 */
import { Partitioners } from 'kafkajs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openDuckDb, sqlText } from '#io/duckdb.ts'
import { latestView } from '#io/views.ts'
import { startForTest, type TestPlatform, until } from '#testkit/embedded.ts'
import { SEED } from '#testkit/runs.ts'
import { type ShopArrival, type ShopClick, type ShopStream, shopArrivals } from '#testkit/shop.ts'
import { type Cells, cellsBySql, cellsOf, differences, wholeAnswer } from './data-set.ts'

process.stdout.write(`shop: repeat with SEED=${SEED}\n`)

const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000
const STREAMS: readonly ShopStream[] = ['orders', 'payments', 'clicks']
const METRICS = ['revenue', 'order_sizes', 'fees', 'dwell']
const ARRIVALS = shopArrivals({
  seed: SEED,
  count: 24_000,
  rate: 0.4,
  duplicates: 0.1,
  disorderMs: 30_000,
  bursts: { everyMs: 2 * HOUR_MS, lengthMs: 2 * MINUTE_MS, factor: 25 },
  offline: { share: 0.2 },
})
const MIDDLE = 16_000

type Row = Record<string, string | number | null>

/** Rows of events that happened once, by window and group. */
function cells<T extends object>(
  events: readonly { readonly at: number; readonly event: T }[],
  sizeMs: number,
  groupOf: (event: T) => readonly (string | null)[],
  measure: (events: readonly T[]) => Row,
): Cells {
  const members = new Map<string, T[]>()
  for (const { at, event } of events) {
    const key = JSON.stringify([new Date(Math.floor(at / sizeMs) * sizeMs).toISOString(), ...groupOf(event)])
    const cell = members.get(key)
    if (cell === undefined) members.set(key, [event])
    else cell.push(event)
  }
  const texts = (row: Row) =>
    Object.fromEntries(Object.entries(row).map(([name, value]) => [name, value === null ? null : String(value)]))
  return new Map([...members].map(([key, cell]) => [key, texts(measure(cell))]))
}

type EventOf<S extends ShopStream> = Extract<ShopArrival, { stream: S }>['event']

/** The distinct events of a stream among arrivals, by their ids alone. */
function distinct<S extends ShopStream>(arrivals: readonly ShopArrival[], stream: S) {
  const byId = new Map<unknown, { at: number; event: EventOf<S> }>()
  for (const each of arrivals)
    if (each.stream === stream)
      byId.set(Object.values(each.event)[0], { at: each.eventTime, event: each.event as EventOf<S> })
  return [...byId.values()]
}

const units = (decimal: string): number => Number(decimal.replace('.', ''))
const decimal = (unscaled: number, scale: number): string => (unscaled / 10 ** scale).toFixed(scale)
const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0)
const present = <T>(values: readonly (T | null)[]): T[] => values.filter((value) => value !== null)
const orNull = <T>(values: readonly number[], of: (values: readonly number[]) => T): T | null =>
  values.length === 0 ? null : of(values)

const sizeOf = (cents: number): string => (cents >= 100_000 ? 'large' : cents >= 10_000 ? 'medium' : 'small')

/** Every cell of every metric of test/fixtures/shop, in plain words. */
function recomputed(arrivals: readonly ShopArrival[]): Record<string, Cells> {
  const orders = distinct(arrivals, 'orders')
  const atLeastOne = orders.filter(({ event }) => event.quantity > 0)
  return {
    revenue: cells(
      orders,
      MINUTE_MS,
      ({ country }) => [country],
      (events) => {
        const cents = events.map(({ amount }) => units(amount))
        const quantity = sum(events.map((event) => event.quantity))
        return {
          orders: events.length,
          amount: decimal(sum(cents), 2),
          basket: sum(cents) / (cents.length * 100),
          largest: decimal(Math.max(...cents), 2),
          units: quantity,
          gifts: events.filter(({ gift }) => gift === true).length,
          unit_price: quantity === 0 ? null : sum(cents) / 100 / quantity,
        }
      },
    ),
    order_sizes: cells(
      atLeastOne,
      HOUR_MS,
      ({ amount, channel }) => [sizeOf(units(amount)), channel],
      (events) => ({
        orders: events.length,
        line_total: decimal(sum(events.map(({ amount, quantity }) => units(amount) * quantity)), 2),
        smallest: decimal(Math.min(...events.map(({ amount }) => units(amount))), 2),
      }),
    ),
    fees: cells(
      distinct(arrivals, 'payments'),
      HOUR_MS,
      () => [],
      (events) => {
        const fees = present(events.map(({ fee }) => fee))
        const paid = events.filter(({ accepted }) => accepted).map(({ amount }) => units(amount))
        return {
          payments: events.length,
          paid: orNull(paid, (each) => decimal(sum(each), 2)),
          fee: orNull(fees, (each) => decimal(sum(each.map((fee) => Math.round(fee * 1_000))), 3)),
          with_fee: fees.length,
          largest_fee: orNull(fees, (each) => Math.max(...each)),
        }
      },
    ),
    dwell: cells(
      distinct(arrivals, 'clicks'),
      10 * MINUTE_MS,
      ({ path }) => [path.slice(0, 4)],
      (events) => {
        const durations = present(events.map(({ duration_ms }) => duration_ms))
        return {
          views: events.length,
          seconds: orNull(durations, (each) => sum(each.map((ms) => Math.floor(ms / 1_000)))),
          longest: orNull(durations, (each) => Math.max(...each)),
        }
      },
    ),
  }
}

const partitionOf = Partitioners.DefaultPartitioner()

/** First arrivals of clicks whose window had closed in their partition: 30 s of disorder, 10 minutes, 1 minute of lateness. */
function lateClicks(partitions: number): { at: number; event: ShopClick; offline: boolean }[] {
  const partitionMetadata = Array.from({ length: partitions }, (_, partitionId) => ({ partitionId, leader: 0 }))
  const newest = new Map<number, number>()
  return ARRIVALS.flatMap((each) => {
    if (each.stream !== 'clicks') return []
    const { event, eventTime: at, duplicate, offline } = each
    const message = { key: event.phone, value: null }
    const partition = partitionOf({ topic: '', partitionMetadata: partitionMetadata as never, message })
    const watermark = (newest.get(partition) ?? 0) - 30_000
    newest.set(partition, Math.max(newest.get(partition) ?? 0, at))
    const closed = (Math.floor(at / (10 * MINUTE_MS)) + 1) * 10 * MINUTE_MS + MINUTE_MS
    return !duplicate && watermark >= closed ? [{ at, event, offline }] : []
  })
}

describe('the synthetic shop, every fault at once', () => {
  let platform: TestPlatform
  beforeAll(async () => {
    platform = await startForTest('test/fixtures/shop')
  })
  afterAll(() => platform?.stop())

  /** Sends arrivals in their order, a barrier now and then. */
  async function send(arrivals: readonly ShopArrival[]): Promise<void> {
    for (let from = 0; from < arrivals.length; from += 2_000) {
      const slab = arrivals.slice(from, from + 2_000)
      for (const stream of STREAMS) {
        await platform.send(
          stream,
          slab.filter((each) => each.stream === stream).map(({ event }) => event),
        )
        await platform.barrier(stream)
      }
    }
    for (const stream of STREAMS) await platform.settle(stream)
  }

  async function differ(expected: Record<string, Cells>): Promise<Record<string, string[]>> {
    const found = METRICS.map(async (metric) => {
      const answer = await wholeAnswer(platform, metric)
      return [metric, differences(cellsOf(answer), expected[metric]!)] as const
    })
    return Object.fromEntries(await Promise.all(found))
  }
  const NONE = Object.fromEntries(METRICS.map((metric) => [metric, []]))

  it('[D2][S5][T5] every cell is that of the distinct events: before a build, and after it with events on both sides', async () => {
    await send(ARRIVALS.slice(0, MIDDLE))
    const half = recomputed(ARRIVALS.slice(0, MIDDLE))
    expect(await differ(half)).toEqual(NONE)
    await platform.build('*')
    expect(await differ(half)).toEqual(NONE)
    await send(ARRIVALS.slice(MIDDLE))
    const whole = recomputed(ARRIVALS)
    for (const metric of METRICS) expect(whole[metric]!.size, metric).toBeGreaterThan(half[metric]!.size)
    expect(await differ(whole)).toEqual(NONE)
    for (const metric of METRICS) {
      const { shares } = (await wholeAnswer(platform, metric)).envelope
      expect(Math.min(shares.batch, shares.speed), metric).toBeGreaterThan(0)
    }
  })

  it('[B2][F1] a build of everything changes no cell, and both readers agree', async () => {
    await platform.build('*')
    expect(await differ(recomputed(ARRIVALS))).toEqual(NONE)
    for (const metric of METRICS)
      expect(await platform.driftAfterBuild(metric)).toMatchObject({ cells_different: 0, unexplained: 0 })
  })

  it('[S5][O1] the duplicates are those that were sent twice', async () => {
    for (const stream of STREAMS) {
      const own = ARRIVALS.filter((each) => each.stream === stream)
      const duplicates = own.filter(({ duplicate }) => duplicate).length
      const series = (name: string) => platform.series(name, { stream })
      await until(`the epochs of ${stream} are counted`, async () => {
        const counted = [await series('tidemark_events_total'), await series('tidemark_duplicate_events_total')]
        return sum(counted) >= own.length
      })
      expect(duplicates, stream).toBeGreaterThan(0)
      expect(await series('tidemark_duplicate_events_total'), stream).toBe(duplicates)
      expect(await series('tidemark_events_total'), stream).toBe(own.length - duplicates)
    }
  })

  it('[T4] the late events are those that came after their window: only from phones that were offline', async () => {
    const { partitions } = platform.parts.definitions.streams.find(({ name }) => name === 'clicks')!
    const late = lateClicks(partitions)
    expect(late.length).toBeGreaterThan(1_000)
    expect(late.filter(({ offline }) => !offline)).toEqual([])
    const expected = cells(
      late,
      10 * MINUTE_MS,
      ({ path }) => [path.slice(0, 4)],
      (events) => ({ late: events.length }),
    )
    const duckdb = await openDuckDb({ threads: 1, memoryMb: 128, temporaryDirectory: null })
    try {
      for (const metric of METRICS) {
        const { lake } = platform.parts
        const view = await latestView(lake, metric, metric === 'dwell' ? 'stream' : 'sql')
        const files = view!.files.map(({ path }) => sqlText(`${lake.root}/${path}`)).join(', ')
        const rows = `SELECT window_from AS at, ${metric === 'dwell' ? 'd_section AS section, ' : ''}late
          FROM read_parquet([${files}]) WHERE late > 0`
        const found = await cellsBySql(duckdb, rows, metric === 'dwell' ? ['section'] : [])
        expect(differences(found, metric === 'dwell' ? expected : new Map()), metric).toEqual([])
      }
    } finally {
      duckdb.close()
    }
  })

  it('[O1] the series counts each late event once, also when a rollback makes the answers read the partials again', async () => {
    const clicks = platform.parts.definitions.streams.find(({ name }) => name === 'clicks')!
    const { length } = lateClicks(clicks.partitions)
    const late = (metric: string) => platform.series('tidemark_late_events_total', { metric })
    await until('the last epochs are counted', async () => (await late('dwell')) >= length)
    const back = await platform.post<{ cut: number }>('/v1/views/dwell/rollback')
    await until('dwell is answered from the view before', async () => {
      return (await platform.get<{ cut: number }>('/v1/metrics/dwell')).json.cut === back.json.cut
    })
    expect(await differ(recomputed(ARRIVALS))).toEqual(NONE)
    for (const metric of METRICS) expect(await late(metric), metric).toBe(metric === 'dwell' ? length : 0)
  })
})
