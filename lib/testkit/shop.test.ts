/** The shop has the faults that it is asked for, as often as it is asked, and labels them. */
import { expect, test } from 'vitest'
import { type ShopArrival, type ShopOptions, shopArrivals } from './shop.ts'

const options: ShopOptions = { seed: 7, count: 20_000, rate: 1 }
const idOf = ({ stream, event }: ShopArrival) => `${stream} ${Object.values(event)[0]}`
const delayOf = ({ arrivalMs, eventTime }: ShopArrival) => arrivalMs - eventTime

test('it is the same for the same seed, and another for another', () => {
  expect(shopArrivals(options)).toEqual(shopArrivals(options))
  expect(shopArrivals({ ...options, seed: 8 })).not.toEqual(shopArrivals(options))
})

test('it has no fault unless asked: unique ids, in order of event time, sent as they happen', () => {
  const arrivals = shopArrivals(options)
  expect(arrivals).toHaveLength(options.count)
  expect(new Set(arrivals.map(idOf)).size).toBe(options.count)
  expect(arrivals.filter((each) => delayOf(each) !== 0 || each.duplicate || each.offline)).toEqual([])
  const times = arrivals.map(({ eventTime }) => eventTime)
  expect(times).toEqual(times.toSorted((a, b) => a - b))
})

test('it has duplicates, disorder, bursts and offline phones when asked', () => {
  const arrivals = shopArrivals({
    ...options,
    duplicates: 0.1,
    disorderMs: 30_000,
    offline: { share: 0.2 },
    bursts: { everyMs: 3_600_000, lengthMs: 60_000, factor: 20 },
  })
  const repeated = arrivals.filter(({ duplicate }) => duplicate)
  expect(repeated.length / options.count).toBeCloseTo(0.1, 1)
  expect(arrivals).toHaveLength(options.count + repeated.length)
  const seen = new Set<string>()
  const wrong = arrivals.filter((arrival, i) => {
    const before = seen.has(idOf(arrival))
    seen.add(idOf(arrival))
    return before !== arrival.duplicate || arrival.arrivalMs < (arrivals[i - 1]?.arrivalMs ?? 0)
  })
  expect(wrong).toEqual([])
  expect(seen.size).toBe(options.count)
  const first = arrivals.filter(({ duplicate }) => !duplicate)
  const delays = first.filter(({ offline }) => !offline).map(delayOf)
  expect(Math.min(...delays)).toBe(0)
  expect(Math.max(...delays)).toBeGreaterThan(25_000)
  expect(Math.max(...delays)).toBeLessThanOrEqual(30_000)
  const clicks = first.filter(({ stream }) => stream === 'clicks')
  const held = first.filter(({ offline }) => offline)
  expect(held.every(({ stream }) => stream === 'clicks')).toBe(true)
  expect(held.length / clicks.length).toBeGreaterThan(0.1)
  expect(Math.max(...held.map(delayOf))).toBeGreaterThan(10_000_000)
  const inBurst = arrivals.filter(({ eventTime }) => eventTime % 3_600_000 < 60_000)
  expect(inBurst.length / arrivals.length).toBeGreaterThan(0.2)
})
