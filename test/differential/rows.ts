/**
 * Rows for the differential suite of the readers: one small table of every column kind, drawn from tiny domains in which
 * shapes collide (nulls, zeros, negatives, the ends of int64, empty and non-ASCII texts), given to both readers.
 */
import { CHUNK_ROWS, type ColumnChunk, type ColumnSpec } from '#core/columns.ts'
import { chunkOf, specOf, type TestCell } from '#testkit/chunks.ts'
import type { OracleValue } from '#testkit/oracle.ts'

/** The schema of the rows, and each field's DuckDB type. */
const FIELDS = [
  { avro: { name: 'i', type: 'long' }, sql: 'BIGINT', spec: specOf('i', 'int64') },
  { avro: { name: 'j', type: ['null', 'long'] }, sql: 'BIGINT', spec: specOf('j', 'int64') },
  {
    avro: { name: 'm', type: ['null', { type: 'bytes', logicalType: 'decimal', precision: 12, scale: 2 }] },
    sql: 'DECIMAL(12,2)',
    spec: specOf('m', 'decimal', { precision: 12, scale: 2 }),
  },
  {
    avro: { name: 'q', type: ['null', { type: 'bytes', logicalType: 'decimal', precision: 18, scale: 4 }] },
    sql: 'DECIMAL(18,4)',
    spec: specOf('q', 'decimal', { precision: 18, scale: 4 }),
  },
  { avro: { name: 'd', type: ['null', 'double'] }, sql: 'DOUBLE', spec: specOf('d', 'float64') },
  { avro: { name: 'b', type: ['null', 'boolean'] }, sql: 'BOOLEAN', spec: specOf('b', 'bool') },
  { avro: { name: 's', type: ['null', 'string'] }, sql: 'VARCHAR', spec: specOf('s', 'string') },
  { avro: { name: 't', type: 'string' }, sql: 'VARCHAR', spec: specOf('t', 'string', { nullable: false }) },
] as const

/** The Avro schema as text. */
export const SCHEMA = JSON.stringify({
  type: 'record',
  name: 'Row',
  fields: [...FIELDS.map(({ avro }) => avro), { name: 'at', type: 'long' }],
})

/** A row: its fields as the oracle spells them, and its place in the log. */
export interface SmallRow {
  readonly eventTime: number
  readonly watermark: number | null
  readonly row: Readonly<Record<string, OracleValue>>
}

/** How far values reach: `tame` never overflows, `wild` has the ends of every type. */
export type Domain = 'tame' | 'wild'

const DOMAINS: Record<Domain, Readonly<Record<string, readonly OracleValue[]>>> = {
  tame: {
    i: [0n, 1n, -1n, 2n, 7n, -7n, 10n, 1500n, -86_400_000n],
    j: [null, 0n, 1n, -1n, 3n, 1000n],
    m: [null, 0n, 1n, -5n, 125n, -125n, 9999n, 100_000n],
    q: [null, 0n, 50n, -50n, 12_345n, -12_355n, 1_000_000n],
    d: [null, 0, -0, 1, -1.5, 2.5, 0.125, 0.1, 1e10, -3.000_000_1],
    b: [null, true, false],
    s: [null, '', 'a', 'ab', 'é', 'añ😀x', 'b'],
    t: ['', 'a', 'b', 'ab', 'e\u0301', '%_'],
  },
  wild: {
    i: [
      0n,
      1n,
      -1n,
      9_007_199_254_740_991n,
      9_007_199_254_740_993n,
      -9_007_199_254_740_993n,
      9_223_372_036_854_775_807n,
      -9_223_372_036_854_775_808n,
      2_147_483_648n,
    ],
    j: [null, 0n, -1n, 3n, 94_906_267n, 9_007_199_254_740_992n],
    m: [null, 0n, 1n, -5n, 999_999_999_999n, -999_999_999_999n],
    q: [null, 0n, 50n, 999_999_999_999_999_999n, -999_999_999_999_999_999n, 99_999_999_999_995_000n],
    d: [
      null,
      0,
      1,
      1e308,
      -1e308,
      5e-324,
      9.223_372_036_854_776e18,
      2_147_483_647.5,
      99_999.995,
      0.499_999_999_999_999_94,
    ],
    b: [null, true, false],
    s: [null, '', 'zz', 'é', 'x'.repeat(40), '😀😀'],
    t: ['', 'a', 'zz', 'x'.repeat(40), 'ä'],
  },
}

/** Draws rows; `only` restricts fields to one value, to make chunks without nulls or without wide values too. */
export function drawRows(next: () => number, count: number, domain: Domain, options: { nulls: boolean }): SmallRow[] {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)]!
  return Array.from({ length: Math.min(count, CHUNK_ROWS) }, () => {
    const row = Object.fromEntries(
      Object.entries(DOMAINS[domain]).map(([name, values]) => [
        name,
        pick(options.nulls ? values : values.filter((value) => value !== null)),
      ]),
    )
    const eventTime = pick([-3_600_000, -1, 0, 1, 59_999, 60_000, 60_001, 119_999, 3_600_000])
    return { eventTime, watermark: pick([null, 0, 59_999, 60_000, 120_000, 125_000, 4_000_000]), row }
  })
}

/** The rows as a chunk, with their watermarks and verdicts. */
export function chunkFrom(rows: readonly SmallRow[]): ColumnChunk {
  const specs: ColumnSpec[] = FIELDS.map(({ spec }) => spec)
  const cell = (value: OracleValue): TestCell =>
    typeof value === 'bigint' && Number.isSafeInteger(Number(value)) ? Number(value) : value
  return chunkOf(
    specs,
    rows.map(({ eventTime, row }) => ({ eventTime, cells: specs.map(({ name }) => cell(row[name]!)) })),
  )
}

/** The rows as a FROM item with the archive's columns. */
export function relationFrom(rows: readonly SmallRow[]): string {
  const names = ['_kind', '_event_time', '_watermark', ...FIELDS.map(({ spec }) => spec.name)]
  const tuples = rows.map(({ eventTime, watermark, row }) => {
    const cells = FIELDS.map(({ spec, sql }) => `CAST(${literal(row[spec.name]!, spec)} AS ${sql})`)
    return `('event', ${eventTime}::BIGINT, ${watermark ?? 'NULL'}::BIGINT, ${cells.join(', ')})`
  })
  return `(SELECT * FROM (VALUES ${tuples.join(', ')}) AS r(${names.map((name) => `"${name}"`).join(', ')}))`
}

function literal(value: OracleValue, spec: ColumnSpec): string {
  if (value === null) return 'NULL'
  if (typeof value === 'string') return `'${value.replaceAll("'", "''")}'`
  if (typeof value === 'number') return Object.is(value, -0) ? "'-0.0'" : `'${value}'`
  if (typeof value === 'boolean') return String(value)
  const digits = (value < 0n ? -value : value).toString().padStart(spec.scale + 1, '0')
  const text = spec.scale === 0 ? digits : `${digits.slice(0, -spec.scale)}.${digits.slice(-spec.scale)}`
  return `'${value < 0n ? '-' : ''}${text}'`
}

/** DuckDB's cell as the oracle spells it. */
export function oracleValue(cell: unknown, float: boolean): OracleValue {
  if (typeof cell === 'object' && cell !== null && 'value' in cell) return cell.value as bigint
  return typeof cell === 'number' && !float ? BigInt(cell) : (cell as OracleValue)
}
