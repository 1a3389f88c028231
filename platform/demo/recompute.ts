/**
 * The independent recompute of the demo: SQL written by hand for each metric, over the original Parquet file. It shares nothing
 * with the definitions or the readers; when a definition changes, this file must be changed too, or the demo fails.
 */
import { DuckDBDecimalValue } from '@duckdb/node-api'
import type { DuckDb } from '#io/duckdb.ts'
import { flightsSql } from '../../services/feed/flights-data.ts'
import { call } from './client.ts'

/** A flight that was scheduled for the first morning and is sent last of all. */
export const LATE_FLIGHT = {
  flight_id: 3_000_001,
  scheduled: 978_336_000_000,
  departed: 979_000_000_000,
  delay: 11_066,
  distance: 2_475,
  origin: 'JFK',
  destination: 'LAX',
}

const HOUR = 3_600_000
const SOURCES: Readonly<
  Record<
    string,
    {
      readonly size: number
      readonly group: Readonly<Record<string, string>>
      readonly values: Readonly<Record<string, string>>
    }
  >
> = {
  departures: {
    size: HOUR,
    group: { origin: 'origin' },
    values: {
      flights: 'count(*)',
      on_time: 'sum((delay < 15)::INT)',
      delay_total: 'sum(delay)',
      delay_mean: 'sum(delay) / count(*)',
      delay_min: 'min(delay)',
      delay_max: 'max(delay)',
      on_time_ratio: 'sum((delay < 15)::INT) / count(*)',
    },
  },
  network: {
    size: HOUR / 4,
    group: {},
    values: {
      flights: 'count(*)',
      late_flights: 'sum((delay >= 15)::INT)',
      distance_total: 'sum(distance)',
      delay_mean: 'sum(delay) / count(*)',
      late_ratio: 'sum((delay >= 15)::INT) / count(*)',
    },
  },
  delays_by_band: {
    size: 24 * HOUR,
    group: { band: "if(distance < 500, 'short', if(distance < 1500, 'medium', 'long'))" },
    values: {
      flights: 'count(*)',
      late_flights: 'sum((delay >= 15)::INT)',
      delay_total: 'sum(delay)',
      delay_mean: 'sum(delay) / count(*)',
      delay_max: 'max(delay)',
    },
  },
}

/** What came of comparing one metric. `wrong` holds one line per difference. */
export interface Comparison {
  readonly metric: string
  readonly cells: number
  readonly values: number
  readonly shares: { readonly batch: number; readonly speed: number }
  readonly wrong: readonly string[]
}

interface Answer {
  readonly rows: readonly {
    readonly from: string
    readonly group: Record<string, string>
    readonly values: Record<string, number | null>
  }[]
  readonly envelope: { readonly shares: { readonly batch: number; readonly speed: number } }
}

const numberOf = (cell: unknown): number =>
  cell instanceof DuckDBDecimalValue ? Number(cell.value) / 10 ** cell.scale : Number(cell)

/** Compares every cell of a metric's merged answer with the recompute over the first `flights` that were fed, and the late one. */
export async function compareWithSource(
  url: string,
  duckdb: DuckDb,
  metric: string,
  flights: number,
): Promise<Comparison> {
  const source = SOURCES[metric]
  if (source === undefined)
    return { metric, cells: 0, values: 0, shares: { batch: 0, speed: 0 }, wrong: ['has no recompute'] }
  const groups = Object.entries(source.group)
  const late = LATE_FLIGHT
  const rows = await duckdb.query(
    `WITH fed AS (SELECT scheduled, delay, distance, origin FROM (${flightsSql()} LIMIT ${flights})
       UNION ALL SELECT ${late.scheduled}, ${late.delay}, ${late.distance}, '${late.origin}')
     SELECT scheduled // ${source.size} * ${source.size} AS w, ${groups.map(([name, sql]) => `${sql} AS g_${name}, `).join('')}
       ${Object.entries(source.values)
         .map(([name, sql]) => `${sql} AS v_${name}`)
         .join(', ')}
     FROM fed GROUP BY ALL`,
  )
  const { rows: answered, envelope } = await call<Answer>(
    url,
    'GET',
    `/v1/metrics/${metric}/query?limit=1000000${groups.length === 0 ? '' : `&group_by=${groups.map(([name]) => name).join(',')}`}`,
  )
  const keyOf = (from: number, group: readonly unknown[]): string => [from, ...group].join('|')
  const answers = new Map(
    answered.map((row) => [
      keyOf(
        Date.parse(row.from),
        groups.map(([name]) => row.group[name]),
      ),
      row.values,
    ]),
  )
  const wrong: string[] = []
  const names = Object.keys(source.values)
  for (const row of rows) {
    const key = keyOf(
      Number(row['w']),
      groups.map(([name]) => row[`g_${name}`]),
    )
    const values = answers.get(key)
    answers.delete(key)
    if (values === undefined) wrong.push(`${key} is missing in the answer`)
    else {
      for (const name of names)
        if (values[name] !== numberOf(row[`v_${name}`]))
          wrong.push(`${key} ${name}: ${values[name]}, recomputed ${numberOf(row[`v_${name}`])}`)
    }
  }
  for (const key of answers.keys()) wrong.push(`${key} is in the answer only`)
  return { metric, cells: rows.length, values: rows.length * names.length, shares: envelope.shares, wrong }
}
