/**
 * The flights feed. Fast: any part of the data, in order of departure, with its own times of 2001. Time-lapse: the data run for ever,
 * `speed` times as fast as life, with event times mapped onto the wall clock.
 *
 *   mapped(t, cycle) = cycle * length + (t - 2001-01-01) / speed       length = 181 days / speed (181 minutes at 1,440)
 *
 * The map is linear, so delays keep their proportion; it depends on nothing but the clock, so a restarted feed goes on with
 * the same events under the same ids. History first, as fast as the log takes it; then each flight when its mapped departure comes.
 * An event is synthetic in its time only, and every place that shows the lapse says so ({@link LAPSE_LABEL}).
 */
import { assert } from '#core/assert.ts'
import type { DurationMs, InstantMs } from '#core/time.ts'
import { compileEncoder } from '#format/avro-encoder.ts'
import { serializeKey } from '#format/confluent.ts'
import { OperatingError } from '#io/errors.ts'
import type { StreamDefinition } from '#metrics/definition.ts'
import { departureOrder, type Flights, loadFlights, modulo } from './flights-data.ts'
import { lastDeparture } from './resume.ts'
import { type FeedDeps, openSender, type Sender } from './sender.ts'

/** For pages and start lines. */
export const LAPSE_LABEL = 'time-lapse: real flights of 2001, event times mapped onto today'

const MINUTE_MS = 60_000
const DAY_MINUTES = 1_440
/** 2001-01-01T00:00Z in minutes, where the data begin, and how long they last. */
const FIRST_MINUTE = 978_307_200_000 / MINUTE_MS
const CYCLE_MINUTES = 181 * DAY_MINUTES
/** The lapse looks for due flights this often. */
const TICK_MS = 100

/** How the lapse runs. */
export interface Lapse {
  /** Data time per wall time; 1,440 is a day per minute. */
  readonly speed: number
  /** Wall time before the start whose flights are sent at once; 30 minutes at 1,440 are 30 days, half a million flights. */
  readonly historyMs: DurationMs
}

/** What to feed. */
export interface FeedOptions {
  readonly order: 'departure'
  readonly pace: 'fast' | { readonly lapse: Lapse }
  /** Place in the order to begin at; 0 by default. Only for `fast`. */
  readonly from?: number
  /** Flights to send at most; all by default, without end in a lapse. */
  readonly limit?: number
  readonly onProgress?: (progress: FeedProgress) => void
  /** Ends the feed early, after what is under way. */
  readonly signal?: AbortSignal
  /** Awaited between slabs: the place to hold the feed back while a reader is behind. */
  readonly room?: () => Promise<void>
}

/** How far it is. */
export interface FeedProgress {
  readonly sent: number
  /** Place in the order where the next call goes on (`from`). */
  readonly next: number
  /** Event departure of the last flight sent, as sent. */
  readonly departedMs: InstantMs
  /** In a lapse: false once the history is sent and the feed is live. */
  readonly history: boolean
}

/** What the flights feed needs. `flights`: loaded before, for several calls. */
export interface FlightsDeps extends FeedDeps {
  readonly stream: StreamDefinition
  readonly flights?: Flights
}

/**
 * Feeds flights; resolves when all are on the log, or when the signal aborts.
 * @throws OperatingError DEFINITIONS_INVALID when the stream is not the demo's; those of the log that no retry helps
 */
export async function feedFlights(deps: FlightsDeps, options: FeedOptions): Promise<FeedProgress> {
  const flights = deps.flights ?? (await loadFlights())
  const sender = await openSender(deps, deps.stream, options.signal)
  const keys = airportKeys(flights, deps.stream)
  const run: Run = { deps, options, flights, sender, keys, event: emptyEvent() }
  return options.pace === 'fast' ? feedFast(run) : feedLapse(run, options.pace.lapse)
}

/** One event object, reused: the encoder copies what it needs. */
interface FlightEvent {
  flight_id: number
  scheduled: InstantMs
  departed: InstantMs
  delay: number
  distance: number
  origin: string
  destination: string
}

const emptyEvent = (): FlightEvent => ({
  flight_id: 0,
  scheduled: 0,
  departed: 0,
  delay: 0,
  distance: 0,
  origin: '',
  destination: '',
})

interface Run {
  readonly deps: FlightsDeps
  readonly options: FeedOptions
  readonly flights: Flights
  readonly sender: Sender
  readonly keys: AirportKeys
  readonly event: FlightEvent
}

/** Key bytes per airport, and which of the two airports is the key; null keys when the stream has none. */
interface AirportKeys {
  readonly of: 'origin' | 'destination' | null
  readonly bytes: readonly Uint8Array[]
}

function airportKeys(flights: Flights, stream: StreamDefinition): AirportKeys {
  const of = stream.key
  if (of !== null && of !== 'origin' && of !== 'destination') {
    throw new OperatingError(
      'DEFINITIONS_INVALID',
      `${stream.file}: the flights feed has origin or destination as key, not ${of}.`,
    )
  }
  return { of, bytes: flights.airports.map((code) => serializeKey(code, 'string')) }
}

/** Adds the flight of `row`; ids and times are the caller's. */
function addFlight(run: Run, row: number, id: number, scheduled: InstantMs, departed: InstantMs): void {
  const { flights, event, keys } = run
  event.flight_id = id
  event.scheduled = scheduled
  event.departed = departed
  event.delay = flights.delay[row]!
  event.distance = flights.distance[row]!
  event.origin = flights.airports[flights.origin[row]!]!
  event.destination = flights.airports[flights.destination[row]!]!
  run.sender.add(event, keys.of === null ? null : keys.bytes[flights[keys.of][row]!]!)
}

async function feedFast(run: Run): Promise<FeedProgress> {
  const { flights, options, sender } = run
  const order = departureOrder(flights, null)
  const from = options.from ?? 0
  const until = Math.min(flights.count, from + (options.limit ?? flights.count))
  let departedMs = Number.NaN
  let place = from
  const progress = (): FeedProgress => ({ sent: place - from, next: place, departedMs, history: true })
  while (place < until && options.signal?.aborted !== true) {
    const row = order[place]!
    const scheduled = flights.scheduled[row]! * MINUTE_MS
    departedMs = scheduled + flights.delay[row]! * MINUTE_MS
    addFlight(run, row, row, scheduled, departedMs)
    place++
    if (sender.isFull) {
      await sender.flush()
      await options.room?.()
      options.onProgress?.(progress())
    }
  }
  await sender.drain()
  options.onProgress?.(progress())
  return progress()
}

async function feedLapse(run: Run, lapse: Lapse): Promise<FeedProgress> {
  const { flights, options, sender } = run
  const { clock, log, stream } = run.deps
  const { signal, limit = Number.POSITIVE_INFINITY } = options
  const map = lapseMap(lapse.speed)
  const order = departureOrder(flights, { from: FIRST_MINUTE, minutes: CYCLE_MINUTES })
  const startMs = clock.now()
  // What a former run has sent is on the log; from the earliest of its partitions on, all is sent again and removed as duplicates.
  const schema = compileEncoder(stream.schema, 0).schema
  const resumeMs = await lastDeparture(log, stream, schema)
  const beginMs = Math.max(startMs - lapse.historyMs, resumeMs ?? Number.NEGATIVE_INFINITY)
  let cycle = Math.floor(beginMs / map.cycleMs)
  // A minute early: instants are rounded, and a flight sent twice is a duplicate while one left out is lost.
  let place = firstPlace(flights, order, Math.floor(map.minuteOf(beginMs, cycle)) - 1)
  let sent = 0
  let departedMs = Number.NaN
  let dueMs = startMs
  let history = true
  const progress = (): FeedProgress => ({ sent, next: place, departedMs, history })
  while (sent < limit && signal?.aborted !== true) {
    const row = order[place]!
    const minute = flights.scheduled[row]! + flights.delay[row]! - FIRST_MINUTE
    // A flight that departs after its cycle's end stands in the next cycle's order, but is still the former cycle's flight.
    const own = cycle - Math.floor(minute / CYCLE_MINUTES)
    const departed = map.instantOf(minute, own)
    if (departed > dueMs) {
      // All that is due is added: send it, then wait for the clock.
      await (history ? sender.drain() : sender.flush())
      history = false
      options.onProgress?.(progress())
      await clock.sleep(TICK_MS, signal)
      dueMs = clock.now()
      continue
    }
    departedMs = departed
    addFlight(run, row, own * flights.count + row, map.instantOf(flights.scheduled[row]! - FIRST_MINUTE, own), departed)
    sent++
    if (++place === order.length) {
      place = 0
      cycle++
    }
    if (sender.isFull) {
      await sender.flush()
      await options.room?.()
      options.onProgress?.(progress())
      dueMs = clock.now()
    }
  }
  await sender.drain()
  options.onProgress?.(progress())
  return progress()
}

/** First place whose departure, as a minute of the cycle, is not before `minute`. */
function firstPlace(flights: Flights, order: Uint32Array, minute: number): number {
  let low = 0
  let high = order.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const row = order[middle]!
    if (modulo(flights.scheduled[row]! + flights.delay[row]! - FIRST_MINUTE, CYCLE_MINUTES) < minute) low = middle + 1
    else high = middle
  }
  // No flight departs in the last minute: the one before stands for it.
  return Math.min(low, order.length - 1)
}

/** The linear map between minutes of a cycle and the wall clock. */
export function lapseMap(speed: number): {
  readonly cycleMs: DurationMs
  instantOf(minute: number, cycle: number): InstantMs
  minuteOf(instant: InstantMs, cycle: number): number
} {
  const cycleMs = (CYCLE_MINUTES * MINUTE_MS) / speed
  assert(cycleMs >= 1_000, 'a cycle of the time-lapse lasts a second at least')
  return {
    cycleMs,
    instantOf: (minute, cycle) => Math.round(cycle * cycleMs + (minute * MINUTE_MS) / speed),
    minuteOf: (instant, cycle) => ((instant - cycle * cycleMs) * speed) / MINUTE_MS,
  }
}
