/**
 * The scenario of the kill and integration tests: scans of parcels with duplicates, late and future events, and what every metric
 * must come to. The recompute knows the definitions of test/fixtures/parcels by heart and shares no code with the product.
 */
import { join } from 'node:path'

/** The definitions directory. */
export const PARCELS = join(import.meta.dirname, '../fixtures/parcels')
/** Its metrics with their dimensions, in order. */
export const METRICS = { scans_by_minute: ['depot', 'service'], express_by_hour: [] } as const
/** A metric of the scenario. */
export type Metric = keyof typeof METRICS

/** An event as it is sent. `postage` is decimal text. */
export interface Scan {
  readonly scan_id: string
  readonly scanned: number
  readonly depot: string
  readonly service: string | null
  readonly grams: number | null
  readonly postage: string | null
}

const START_MS = Date.UTC(2026, 2, 29)
/** Later than any arrival: quarantined. */
export const FUTURE_MS = Date.UTC(2120, 0, 1)
const DEPOTS = ['Ålesund', 'Berlin', 'Cork', 'Delft', 'Évora']
const SERVICES = ['express', 'standard', null]

/** A seeded source of scans: event time moves on with every one; some are hours late, some in the future, some come twice. */
export class Scanner {
  readonly #random: () => number
  readonly #prefix: string
  /** Everything that was handed out, by id. */
  readonly scans = new Map<string, Scan>()
  #count = 0

  constructor(random: () => number, prefix = 's') {
    this.#random = random
    this.#prefix = prefix
  }

  #pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.#random() * from.length)]!
  }

  /** One new scan. `time` overrides the scanner's own. */
  one(time?: number): Scan {
    const number = this.#count++
    const chance = this.#random()
    const behindMs = chance < 0.08 ? Math.floor(this.#random() * 6 * 3_600_000) : Math.floor(this.#random() * 90_000)
    const cents = Math.floor((this.#random() - 0.1) * 4_000)
    const scan: Scan = {
      scan_id: `${this.#prefix}${number}`,
      scanned: time ?? (chance > 0.97 ? FUTURE_MS : START_MS + number * 5_000 - behindMs),
      depot: this.#pick(DEPOTS),
      service: this.#pick(SERVICES),
      grams: this.#random() < 0.1 ? null : Math.floor(this.#random() * 9_000),
      postage:
        this.#random() < 0.1
          ? null
          : `${cents < 0 ? '-' : ''}${Math.floor(Math.abs(cents) / 100)}.${String(Math.abs(cents) % 100).padStart(2, '0')}`,
    }
    this.scans.set(scan.scan_id, scan)
    return scan
  }

  /** `count` scans, a third of them handed out before: the same ids with the same content. */
  some(count: number): Scan[] {
    return Array.from({ length: count }, () => {
      const known = [...this.scans.values()]
      return known.length > 0 && this.#random() < 1 / 3 ? this.#pick(known) : this.one()
    })
  }
}

/** Rows of an answer or of the recompute: `from | group` → values as text. */
export type Rows = ReadonlyMap<string, string>

interface Sums {
  scans: number
  heavy: number
  grams: number[]
  cents: number[]
}

const MINUTE_MS = 60_000
const centsOf = (postage: string): number => Math.round(Number(postage) * 100)
const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0)
const text = (value: string | number | null): string =>
  value === null ? 'null' : typeof value === 'number' ? String(Number(value.toPrecision(12))) : value
const money = (cents: readonly number[]): string => (cents.length === 0 ? 'null' : (sum(cents) / 100).toFixed(2))

/** What a metric comes to over these events, each id counted once, the future ones never. */
export function recompute(metric: Metric, scans: Iterable<Scan>): Rows {
  const cells = new Map<string, Sums>()
  const sizeMs = metric === 'scans_by_minute' ? MINUTE_MS : 60 * MINUTE_MS
  for (const scan of new Map([...scans].map((each) => [each.scan_id, each])).values()) {
    if (scan.scanned >= FUTURE_MS || (metric === 'express_by_hour' && scan.service !== 'express')) continue
    const from = new Date(scan.scanned - (scan.scanned % sizeMs)).toISOString()
    const key = metric === 'scans_by_minute' ? `${from} | ${scan.depot} | ${scan.service}` : from
    const cell: Sums = cells.get(key) ?? { scans: 0, heavy: 0, grams: [], cents: [] }
    cells.set(key, cell)
    cell.scans++
    if (scan.grams !== null) cell.grams.push(scan.grams)
    if (scan.grams !== null && scan.grams >= 5_000) cell.heavy++
    if (scan.postage !== null) cell.cents.push(centsOf(scan.postage))
  }
  return new Map(
    [...cells].map(([key, cell]) => {
      const { grams } = cell
      const of = (value: () => number): string => (grams.length === 0 ? 'null' : text(value()))
      const weights = {
        weighed: text(grams.length),
        heavy: text(cell.heavy),
        grams: of(() => sum(grams)),
        grams_mean: of(() => sum(grams) / grams.length),
        lightest: of(() => Math.min(...grams)),
        heaviest: of(() => Math.max(...grams)),
      }
      const values =
        metric === 'scans_by_minute'
          ? { scans: text(cell.scans), ...weights, postage: money(cell.cents) }
          : { scans: text(cell.scans), postage: money(cell.cents) }
      return [key, JSON.stringify(values)]
    }),
  )
}

/** A row of an answer, as far as it is compared. */
export interface AnsweredRow {
  readonly from: string
  readonly group: Readonly<Record<string, string | null>>
  readonly values: Readonly<Record<string, string | number | null>>
}

/** An answer's rows in the form of the recompute. */
export function answered(rows: readonly AnsweredRow[]): Rows {
  return new Map(
    rows.map(({ from, group, values }) => [
      [from, ...Object.values(group).map(String)].join(' | '),
      JSON.stringify(
        Object.fromEntries(
          Object.entries(values).map(([name, value]) => [
            name,
            name === 'postage' && value !== null ? Number(value).toFixed(2) : text(value),
          ]),
        ),
      ),
    ]),
  )
}

/** What differs, in words, the first ten; empty = equal. */
export function differences(found: Rows, expected: Rows): string[] {
  const keys = new Set([...found.keys(), ...expected.keys()])
  return [...keys]
    .filter((key) => found.get(key) !== expected.get(key))
    .slice(0, 10)
    .map((key) => `${key}: ${found.get(key) ?? 'no row'} instead of ${expected.get(key) ?? 'no row'}`)
}
