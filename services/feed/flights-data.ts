/**
 * The demo's data: 3,000,000 real US flights of January to June 2001 (npm `vega-datasets`, `data/flights-3m.parquet`), as columns of
 * small integers: about 50 MB, in order of departure. A flight departs at its scheduled time plus its delay, so an event
 * that is late in event time is late for the reason that flights are.
 */

import { fileURLToPath } from 'node:url'
import type { DuckDBIntegerVector, DuckDBSmallIntVector, DuckDBUSmallIntVector } from '@duckdb/node-api'
import { assert } from '#core/assert.ts'
import { openDuckDb, sqlText } from '#io/duckdb.ts'

/** Minutes since 1970. */
type Minute = number

/** The flights; every array is indexed by the flight's row in the file. */
export interface Flights {
  readonly count: number
  readonly scheduled: Int32Array
  /** Minutes; negative when early. */
  readonly delay: Int16Array
  readonly distance: Int16Array
  /** Indexes into `airports`. */
  readonly origin: Uint16Array
  readonly destination: Uint16Array
  /** IATA codes. */
  readonly airports: readonly string[]
}

/** Path of the Parquet file inside the installed package; for whoever recomputes from the source. */
function flightsPath(): string {
  return fileURLToPath(new URL('../data/flights-3m.parquet', import.meta.resolve('vega-datasets')))
}

/**
 * A relation with the flights as the feed sends them, for an independent recompute: `flight_id, scheduled, departed` (BIGINT, ms), `delay`,
 * `distance`, `origin`, `destination`, ordered as sent, so that `LIMIT n` gives the first n that were fed.
 */
export function flightsSql(path: string = flightsPath()): string {
  return `SELECT file_row_number AS flight_id, epoch_ms(date) AS scheduled, epoch_ms(date) + delay * 60000 AS departed, delay, distance, origin, destination
    FROM read_parquet(${sqlText(path)}, file_row_number = true) ORDER BY departed, flight_id`
}

/** Reads the file. @throws OperatingError DUCKDB_FAILED */
export async function loadFlights(): Promise<Flights> {
  const duckdb = await openDuckDb({ threads: 2, memoryMb: 256, temporaryDirectory: null })
  try {
    const file = `read_parquet(${sqlText(flightsPath())}, file_row_number = true)`
    const [facts] = await duckdb.query(
      `SELECT count(*) AS rows, count(*) FILTER (epoch_ms(date) % 60000 = 0 AND delay IS NOT NULL AND distance IS NOT NULL) AS whole FROM ${file}`,
    )
    const count = Number(facts!['rows'])
    assert(Number(facts!['whole']) === count, 'flights are scheduled by the minute and complete')
    await duckdb.run(
      `CREATE TYPE airport AS ENUM (SELECT code FROM (SELECT origin AS code FROM ${file} UNION SELECT destination FROM ${file}) ORDER BY code)`,
    )
    const airports = (await duckdb.query('SELECT unnest(enum_range(NULL::airport)) AS code')).map(({ code }) =>
      String(code),
    )
    const flights = {
      count,
      scheduled: new Int32Array(count),
      delay: new Int16Array(count),
      distance: new Int16Array(count),
      origin: new Uint16Array(count),
      destination: new Uint16Array(count),
      airports,
    }
    const result = await duckdb.connection.stream(
      `SELECT file_row_number::INTEGER, (epoch_ms(date) // 60000)::INTEGER, delay::SMALLINT, distance::SMALLINT,
        enum_code(origin::airport)::USMALLINT, enum_code(destination::airport)::USMALLINT FROM ${file}`,
    )
    for (
      let chunk = await result.fetchChunk();
      chunk !== null && chunk.rowCount > 0;
      chunk = await result.fetchChunk()
    ) {
      const vector = <V extends { getItem(index: number): number | null }>(column: number) =>
        chunk!.getColumnVector(column) as unknown as V
      const rows = vector<DuckDBIntegerVector>(0)
      const scheduled = vector<DuckDBIntegerVector>(1)
      const delay = vector<DuckDBSmallIntVector>(2)
      const distance = vector<DuckDBSmallIntVector>(3)
      const origin = vector<DuckDBUSmallIntVector>(4)
      const destination = vector<DuckDBUSmallIntVector>(5)
      for (let i = 0; i < chunk.rowCount; i++) {
        const row = rows.getItem(i)!
        flights.scheduled[row] = scheduled.getItem(i)!
        flights.delay[row] = delay.getItem(i)!
        flights.distance[row] = distance.getItem(i)!
        flights.origin[row] = origin.getItem(i)!
        flights.destination[row] = destination.getItem(i)!
      }
    }
    return flights
  } finally {
    duckdb.close()
  }
}

/**
 * Rows in order of departure, ties by row. With `wrap`, the departure counts within a cycle of that many minutes from `from` on:
 * a flight of the last evening that departs after the cycle's end stands at the begin of the next one.
 */
export function departureOrder(
  flights: Flights,
  wrap: { readonly from: Minute; readonly minutes: number } | null,
): Uint32Array {
  const { count, scheduled, delay } = flights
  const keys = new Int32Array(count)
  let min = Number.POSITIVE_INFINITY
  let max = Number.NEGATIVE_INFINITY
  for (let row = 0; row < count; row++) {
    const departed = scheduled[row]! + delay[row]!
    const key = wrap === null ? departed : modulo(departed - wrap.from, wrap.minutes)
    keys[row] = key
    if (key < min) min = key
    if (key > max) max = key
  }
  // Counting sort: minutes are few, and it keeps rows of one minute in their order.
  const next = new Uint32Array(max - min + 2)
  for (let row = 0; row < count; row++) next[keys[row]! - min + 1]!++
  for (let i = 1; i < next.length; i++) next[i]! += next[i - 1]!
  const order = new Uint32Array(count)
  for (let row = 0; row < count; row++) order[next[keys[row]! - min]!++] = row
  return order
}

/** The remainder in 0..size-1, also of a negative value. */
export const modulo = (value: number, size: number): number => ((value % size) + size) % size
