import avsc from 'avsc'
import { beforeAll, describe, expect, it } from 'vitest'
import { partitionOf } from '#core/partitioner.ts'
import { openDuckDb } from '#io/duckdb.ts'
import type { EventLog, Registry } from '#io/ports.ts'
import type { StreamDefinition } from '#metrics/definition.ts'
import { createVirtualClock, type VirtualClock } from '#testkit/clock-virtual.ts'
import { createMemoryLog, type LogFaults } from '#testkit/log-memory.ts'
import { recordsByPartition } from '#testkit/records.ts'
import { feedFlights, lapseMap } from './flights.ts'
import { departureOrder, type Flights, flightsSql, loadFlights } from './flights-data.ts'

const schema = JSON.stringify({
  type: 'record',
  name: 'Flight',
  fields: [
    { name: 'flight_id', type: 'long' },
    { name: 'scheduled', type: { type: 'long', logicalType: 'timestamp-millis' } },
    { name: 'departed', type: { type: 'long', logicalType: 'timestamp-millis' } },
    { name: 'delay', type: 'int' },
    { name: 'distance', type: 'int' },
    { name: 'origin', type: 'string' },
    { name: 'destination', type: 'string' },
  ],
})
const type = avsc.Type.forSchema(JSON.parse(schema) as avsc.Schema)
const stream = {
  name: 'flights',
  file: 'f',
  schema,
  key: 'origin',
  id: 'flight_id',
  partitions: 3,
  eventTime: { field: 'scheduled', unit: 'ms' },
} as StreamDefinition
const registry: Registry = { register: () => Promise.resolve(3), schemaById: () => Promise.resolve(schema) }

interface Flight {
  flight_id: number
  scheduled: number
  departed: number
  delay: number
  origin: string
}

async function logOf(clock: VirtualClock, faults?: LogFaults) {
  const log = createMemoryLog({ clock, ...(faults === undefined ? {} : { faults }) })
  await log.createTopics([{ topic: 'events.flights', partitions: 3, retentionMs: null, cleanup: 'delete' }])
  return log
}

/** Events per partition, in offset order, with their keys checked. */
async function eventsOf(log: EventLog): Promise<Flight[][]> {
  return (await recordsByPartition(log, 'events.flights')).map((records, partition) =>
    records.map(({ key, value }) => {
      const event = type.fromBuffer(Buffer.from(value!.subarray(5))) as Flight
      expect(Buffer.from(key!).toString()).toBe(event.origin)
      expect(partitionOf(key!, 3)).toBe(partition)
      return { ...event }
    }),
  )
}

let flights: Flights
beforeAll(async () => {
  flights = await loadFlights()
})

describe('[M2] flights, fast', () => {
  // Goal: the feed is the file. Method: two pieces of the feed against DuckDB's own ordering of the Parquet file.
  it('in pieces, are the first flights of the file in order of departure', async () => {
    const clock = createVirtualClock()
    const log = await logOf(clock)
    const deps = { log, registry, clock, stream, flights }
    const first = await feedFlights(deps, { order: 'departure', pace: 'fast', limit: 12_345 })
    expect(first).toMatchObject({ sent: 12_345, next: 12_345 })
    const second = await feedFlights(deps, { order: 'departure', pace: 'fast', from: first.next, limit: 20_000 })
    expect(second.next).toBe(32_345)
    const partitions = await eventsOf(log)
    const duckdb = await openDuckDb({ threads: 1, memoryMb: 512, temporaryDirectory: null })
    const rows = await duckdb.query(`SELECT * FROM (${flightsSql()}) LIMIT 32345`)
    duckdb.close()
    const expected = rows.map((row) => ({
      flight_id: Number(row['flight_id']),
      scheduled: Number(row['scheduled']),
      departed: Number(row['departed']),
      delay: Number(row['delay']),
      distance: Number(row['distance']),
      origin: String(row['origin']),
      destination: String(row['destination']),
    }))
    for (const [partition, events] of partitions.entries()) {
      expect(events).toEqual(expected.filter(({ origin }) => partitionOf(Buffer.from(origin), 3) === partition))
    }
    expect(partitions.flat()).toHaveLength(32_345)
  })

  it('end at the data and at the signal, and tell progress', async () => {
    const clock = createVirtualClock()
    const log = await logOf(clock)
    const deps = { log, registry, clock, stream, flights }
    const last = await feedFlights(deps, { order: 'departure', pace: 'fast', from: flights.count - 10, limit: 100 })
    expect(last).toMatchObject({ sent: 10, next: flights.count })
    const stop = new AbortController()
    const seen: number[] = []
    const stopped = await feedFlights(deps, {
      order: 'departure',
      pace: 'fast',
      signal: stop.signal,
      onProgress: ({ sent }) => {
        seen.push(sent)
        if (seen.length === 3) stop.abort()
      },
    })
    expect(seen.slice(0, 3)).toEqual([...seen.slice(0, 3)].sort((a, b) => a - b))
    expect(stopped.sent).toBe(seen.at(-1))
    expect((await log.endOffsets('events.flights')).reduce((a, b) => a + b)).toBe(stopped.sent + 10)
  })

  it('[D1] are sent again when the log does not say whether it has them: nothing is missing', async () => {
    const clock = createVirtualClock()
    const log = await logOf(clock, {
      onAppend: ({ attempt }) => (attempt === 1 ? { kind: 'lost' } : attempt === 2 ? { kind: 'ack-lost' } : null),
    })
    const feed = feedFlights(
      { log, registry, clock, stream, flights },
      { order: 'departure', pace: 'fast', limit: 5_000 },
    )
    let done = false
    void feed.finally(() => (done = true))
    while (!done) await clock.advance(100)
    expect([log.fired.lost, log.fired['ack-lost']]).toEqual([1, 1])
    expect(new Set((await eventsOf(log)).flat().map(({ flight_id }) => flight_id)).size).toBe(5_000)
  })

  it('a stream of another shape is refused by name', async () => {
    const clock = createVirtualClock()
    const log = await logOf(clock)
    const other = { ...stream, schema: schema.replace('"destination"', '"dest"') }
    const options = { order: 'departure', pace: 'fast', limit: 1 } as const
    await expect(feedFlights({ log, registry, clock, stream: other, flights }, options)).rejects.toMatchObject({
      code: 'DEFINITIONS_INVALID',
    })
    const rekeyed = { ...stream, key: 'distance' }
    await expect(feedFlights({ log, registry, clock, stream: rekeyed, flights }, options)).rejects.toMatchObject({
      code: 'DEFINITIONS_INVALID',
    })
  })
})

describe('[M1] flights as a time-lapse', () => {
  const speed = 1_440

  /** Runs a lapse on `log` from now on for `ms` of wall time. */
  async function run(log: EventLog, clock: VirtualClock, ms: number, historyMs: number) {
    const stop = new AbortController()
    const feed = feedFlights(
      { log, registry, clock, stream, flights },
      { order: 'departure', pace: { lapse: { speed, historyMs } }, signal: stop.signal },
    )
    let done = false
    void feed.finally(() => (done = true))
    const until = clock.monotonic() + ms
    // The feed works between the ticks; a slab takes several turns of the loop.
    while (clock.monotonic() < until) {
      for (let i = 0; i < 5; i++) await clock.advance(0)
      await clock.advance(100)
    }
    stop.abort()
    while (!done) await clock.advance(1)
    return feed
  }

  it('sends history at once, then each flight when it is due, delays in proportion', async () => {
    const clock = createVirtualClock()
    const log = await logOf(clock)
    const startMs = clock.now()
    await run(log, clock, 5_000, 30_000)
    const events = (await eventsOf(log)).flat()
    const departures = events.map(({ departed }) => departed)
    expect(Math.min(...departures)).toBeGreaterThan(startMs - 30_000 - 200)
    expect(Math.max(...departures)).toBeLessThanOrEqual(clock.now())
    expect(Math.max(...departures)).toBeGreaterThan(startMs + 4_500)
    for (const { scheduled, departed, delay } of events)
      expect(Math.abs(departed - scheduled - (delay * 60_000) / speed)).toBeLessThanOrEqual(1)
    for (const partition of await eventsOf(log)) {
      for (let i = 1; i < partition.length; i++)
        expect(partition[i]!.departed).toBeGreaterThanOrEqual(partition[i - 1]!.departed)
    }
  })

  it('[S1] goes on where it stopped: no flight is missing, and those sent twice have the same id and content', async () => {
    const straight = createVirtualClock()
    const whole = await logOf(straight)
    await run(whole, straight, 6_000, 10_000)
    const clock = createVirtualClock()
    const log = await logOf(clock)
    await run(log, clock, 2_000, 10_000)
    await clock.advance(2_000)
    await run(log, clock, 2_000, 60_000)
    const byId = (events: Flight[]) => new Map(events.map((event) => [event.flight_id, event]))
    const stopped = (await eventsOf(log)).flat()
    const expected = byId((await eventsOf(whole)).flat())
    const got = byId(stopped)
    for (const event of stopped) expect(event).toEqual(got.get(event.flight_id))
    const missing = [...expected.values()].filter(
      (event) => event.departed < clock.now() - 300 && !got.has(event.flight_id),
    )
    expect(missing).toEqual([])
    expect(stopped.length).toBeLessThan(expected.size * 1.2)
  })

  it('runs over the end of the data without a gap and without an id twice', async () => {
    const { cycleMs } = lapseMap(speed)
    const boundary = Math.ceil(1_767_225_600_000 / cycleMs) * cycleMs
    const clock = createVirtualClock(boundary - 3_000)
    const log = await logOf(clock)
    await run(log, clock, 6_000, 3_000)
    const events = (await eventsOf(log)).flat()
    expect(new Set(events.map(({ flight_id }) => flight_id)).size).toBe(events.length)
    const cycles = new Set(events.map(({ flight_id }) => Math.floor(flight_id / flights.count)))
    expect(cycles.size).toBe(2)
    // Every flight of three cycles whose departure falls into the span, straight from the map.
    const got = new Set(events.map(({ flight_id }) => flight_id))
    const middle = Math.round(boundary / cycleMs)
    let due = 0
    let missing = 0
    for (const cycle of [middle - 2, middle - 1, middle]) {
      for (let row = 0; row < flights.count; row++) {
        const minute = flights.scheduled[row]! + flights.delay[row]! - 978_307_200_000 / 60_000
        const departed = cycle * cycleMs + (minute * 60_000) / speed
        if (departed < boundary - 6_000 || departed > boundary + 2_700) continue
        due++
        if (!got.has(cycle * flights.count + row)) missing++
      }
    }
    expect(due).toBeGreaterThan(500)
    expect(missing).toBe(0)
  })

  it('orders a cycle by departure within it', () => {
    const order = departureOrder(flights, { from: 978_307_200_000 / 60_000, minutes: 181 * 1_440 })
    const minuteOf = (row: number) => {
      const minute = flights.scheduled[row]! + flights.delay[row]! - 978_307_200_000 / 60_000
      return ((minute % 260_640) + 260_640) % 260_640
    }
    let sorted = true
    for (let i = 1; i < order.length; i++) sorted &&= minuteOf(order[i - 1]!) <= minuteOf(order[i]!)
    expect(sorted).toBe(true)
    expect(new Set(order.subarray(0, 100_000)).size).toBe(100_000)
  })
})
