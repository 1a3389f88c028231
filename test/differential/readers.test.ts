/**
 * Law 4, metrics: each aggregate has the same partials, whichever reader computes it.
 *
 * Method: hand-written metrics, read by DuckDB, by the generated loops into the epoch table in chunks of random sizes, and by the
 * oracle's JavaScript. What leaves its type is refused by both readers, and only then.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CHUNK_ROWS } from '#core/columns.ts'
import { createEpochTable } from '#core/epoch-table.ts'
import { LIMITS } from '#core/limits.ts'
import { exactOf, type PartialLayout, type PartialTable } from '#core/partial.ts'
import { type DuckDb, openDuckDb } from '#io/duckdb.ts'
import type { MetricDefinition } from '#metrics/definition.ts'
import { formatProblem, loadDefinitions } from '#metrics/load.ts'
import { cellKey, type OracleMetric, type OracleValue, recompute } from '#testkit/oracle.ts'
import { random, runs } from '#testkit/runs.ts'
import { chunkFrom, drawRows, oracleValue, relationFrom, SCHEMA, type SmallRow } from './rows.ts'

let db: DuckDb
beforeAll(async () => {
  db = await openDuckDb({ threads: 1, memoryMb: 512, temporaryDirectory: null })
})
afterAll(() => db.close())

/** A metric in three spellings: SQL here, JavaScript for the oracle, and what both must agree with. */
interface Case {
  readonly yaml: string
  readonly oracle: OracleMetric
  /** Rows it is read over; wild ones only where nothing can overflow. */
  readonly wild: boolean
}

const minute = { sizeMs: 60_000, allowedLatenessMs: 5_000 }
const big = (value: OracleValue | undefined): bigint => value as bigint
const lift = (f: (value: bigint) => OracleValue) => (value: OracleValue | undefined) =>
  value == null ? null : f(value as bigint)
const CASES: Readonly<Record<string, Case>> = {
  'every aggregate over an int64, by text': {
    wild: true,
    yaml: 'dimensions: {g: s}\nmeasures: {n: count(*), c: count(j), s: sum(i), a: avg(j), lo: min(i), hi: max(i)}',
    oracle: {
      ...minute,
      dimensions: [({ s }) => s!],
      measures: {
        n: { kind: 'count' },
        c: { kind: 'count', value: ({ j }) => j! },
        s: { kind: 'sum', value: ({ i }) => i! },
        a: { kind: 'avg', value: ({ j }) => j! },
        lo: { kind: 'min', value: ({ i }) => i! },
        hi: { kind: 'max', value: ({ i }) => i! },
      },
    },
  },
  'every aggregate over decimals, filtered': {
    wild: true,
    yaml: [
      'measures:',
      '  n: count(m) filter (where b)',
      '  s: sum(q)',
      '  t: sum(m) filter (where not b)',
      '  a: avg(q) filter (where b is null)',
      '  lo: min(m)',
      '  hi: max(q) filter (where j > 0)',
    ].join('\n'),
    oracle: {
      ...minute,
      dimensions: [],
      measures: {
        n: { kind: 'count', value: ({ m }) => m!, filter: ({ b }) => b === true },
        s: { kind: 'sum', value: ({ q }) => q! },
        t: { kind: 'sum', value: ({ m }) => m!, filter: ({ b }) => b === false },
        a: { kind: 'avg', value: ({ q }) => q!, filter: ({ b }) => b === null },
        lo: { kind: 'min', value: ({ m }) => m! },
        hi: { kind: 'max', value: ({ q }) => q!, filter: ({ j }) => j !== null && big(j) > 0n },
      },
    },
  },
  'doubles: extremes as they are, sums by scale': {
    wild: false,
    yaml: 'measures: {lo: min(d), hi: max(d / 2), s: "sum(d::DECIMAL(18,3))"}',
    oracle: {
      ...minute,
      dimensions: [],
      measures: {
        lo: { kind: 'min', value: ({ d }) => d! },
        hi: { kind: 'max', value: ({ d }) => (d === null ? null : (d as number) / 2) },
        s: {
          kind: 'sum',
          value: ({ d }) =>
            d === null ? null : BigInt(Math.sign(d as number) * Math.floor(Math.abs((d as number) * 1000) + 0.5)),
        },
      },
    },
  },
  'computed dimensions of every kind and a where': {
    wild: false,
    yaml: [
      "where: t <> 'b' and (b or b is null)",
      'dimensions:',
      "  band: case when i < 0 then 'below' when m >= 1 then s || '!' end",
      '  rest: i % 3',
      '  half: m * 0.5',
      '  ratio: i / 4',
      '  flag: j is null or b',
      'measures:',
      '  s: sum(i * 2 - coalesce(j, 0))',
      '  v: max(m + q)',
    ].join('\n'),
    oracle: {
      ...minute,
      where: ({ t, b }) => t !== 'b' && b !== false,
      dimensions: [
        ({ i, m, s }) =>
          big(i) < 0n ? 'below' : m !== null && big(m) >= 100n && s !== null ? `${s as string}!` : null,
        ({ i }) => big(i) % 3n,
        ({ m }) => lift((value) => value * 5n)(m),
        ({ i }) => Number(i) / 4,
        ({ j, b }) => (j === null || b === true ? true : b!),
      ],
      measures: {
        s: { kind: 'sum', value: ({ i, j }) => big(i) * 2n - (j === null ? 0n : big(j)) },
        v: { kind: 'max', value: ({ m, q }) => (m === null || q === null ? null : big(m) * 100n + big(q)) },
      },
    },
  },
  'dimensions straight from the fields': {
    wild: true,
    yaml: 'dimensions: {a: i, b1: b, c: m, e: t}\nmeasures: {n: count(*)}',
    oracle: {
      ...minute,
      dimensions: [({ i }) => i!, ({ b }) => b!, ({ m }) => m!, ({ t }) => t!],
      measures: { n: { kind: 'count' } },
    },
  },
  'dimension of doubles: 0 and -0 are one group': {
    wild: true,
    yaml: 'dimensions: {a: d}\nmeasures: {n: count(*)}',
    oracle: { ...minute, dimensions: [({ d }) => d!], measures: { n: { kind: 'count' } } },
  },
}

/** A metric over the rows' schema, through the loader. */
async function load(yaml: string): Promise<MetricDefinition> {
  const files = [
    { path: 'row.avsc', text: SCHEMA },
    { path: 'streams/rows.yaml', text: 'stream: rows\nschema: row.avsc\nevent_time: at\n' },
    {
      path: 'metrics/m.yaml',
      text: `metric: m\nstream: rows\nwindow: {tumbling: 1m}\nallowed_lateness: 5s\n${yaml}\n`,
    },
  ]
  const outcome = await loadDefinitions({ directory: '', files }, db)
  if (!outcome.ok) expect.unreachable(outcome.problems.map(formatProblem).join('\n'))
  return outcome.definitions.metrics[0]!
}

/** One line per cell: window, group, late, and per measure n, sum, value. */
type Lines = string[]

const line = (key: string, late: number, partials: readonly string[]): string =>
  `${key} late=${late} ${partials.join(' ')}`
const partialText = (kind: string, n: number, sum: bigint, value: bigint | number | null): string =>
  kind === 'count'
    ? `${n}`
    : kind === 'sum' || kind === 'avg'
      ? `${n}:${sum}`
      : `${value === null ? null : Number.isInteger(value) ? BigInt(value) : value}`

function oracleLines({ oracle }: Case, rows: readonly SmallRow[]): Lines {
  const judged = rows.map(({ eventTime, watermark, row }, offset) => ({
    event: { partition: 0, offset, epoch: 0, arrivalMs: 0, eventTime, id: null, row },
    verdict: 'accepted' as const,
    watermark,
  }))
  return recompute(judged, oracle)
    .map((cell) =>
      line(
        cellKey(cell.windowFrom, cell.group),
        cell.late,
        Object.entries(oracle.measures).map(([name, { kind }]) =>
          partialText(kind, cell.partials[name]!.n, cell.partials[name]!.sum, cell.partials[name]!.value),
        ),
      ),
    )
    .toSorted()
}

function columnLines(metric: MetricDefinition, rows: readonly SmallRow[], next: () => number): Lines {
  const options = {
    layout: metric.layout,
    windowSizeMs: metric.window.sizeMs,
    allowedLatenessMs: metric.allowedLatenessMs,
    entriesMax: LIMITS.epochEntries,
  }
  const table = createEpochTable(options)
  const read = metric.createReader()
  for (let at = 0; at < rows.length; ) {
    const part = rows.slice(at, at + 1 + Math.floor(next() * 40))
    const chunk = chunkFrom(part)
    const watermarks = Float64Array.from(
      { length: CHUNK_ROWS },
      (_, i) => part[i]?.watermark ?? Number.NEGATIVE_INFINITY,
    )
    table.add(chunk, read(chunk), new Uint8Array(CHUNK_ROWS), watermarks)
    at += part.length
  }
  const whole = table.all()
  return tableLines(whole.table(0, whole.count), metric.layout)
}

function tableLines(table: PartialTable, layout: PartialLayout): Lines {
  return Array.from({ length: table.count }, (_, row) => {
    const at = row * layout.width
    const group = table.dimensions.map(({ values, index }) => values[index[row]!]!)
    const partials = layout.measures.map(({ kind, slot, float }) => {
      const first = table.cells[at + slot]!
      if (kind === 'count') return partialText(kind, first, 0n, null)
      if (kind === 'sum' || kind === 'avg') return partialText(kind, first, exactOf(table.cells, at + slot + 1), null)
      if (!Number.isFinite(first)) return partialText(kind, 0, 0n, null)
      return partialText(kind, 0, 0n, float ? first : BigInt(first) + BigInt(table.cells[at + slot + 1]!))
    })
    return line(cellKey(table.windowFrom[row]!, group), table.cells[at + layout.late]!, partials)
  }).toSorted()
}

async function sqlLines(
  metric: MetricDefinition,
  rows: readonly SmallRow[],
  windows: { from: number; until: number } | null,
): Promise<Lines> {
  const answer = await db.query(metric.toSql({ relation: relationFrom(rows), windows }))
  const places = answer.map((row) => Number(row['window_from']))
  expect(places).toEqual(places.toSorted((a, b) => a - b))
  return answer
    .map((row) => {
      const group = metric.layout.dimensions.map(({ name, kind }) => oracleValue(row[`d_${name}`], kind === 'float64'))
      const partials = metric.layout.measures.map(({ name, kind }) => {
        const sum = oracleValue(row[`${name}_s`] ?? 0n, false) as bigint
        return partialText(
          kind,
          Number(row[`${name}_n`] ?? 0),
          sum,
          (row[`${name}_v`] ?? null) as bigint | number | null,
        )
      })
      return line(cellKey(Number(row['window_from']), group), Number(row['late']), partials)
    })
    .toSorted()
}

describe('metrics', () => {
  test.each(Object.entries(CASES))('[W8] [W11] %s: SQL, columns and oracle agree', async (name, each) => {
    const metric = await load(each.yaml)
    const { seed, numRuns } = runs(12, `differential/readers ${name}`)
    const next = random(seed)
    for (let run = 0; run < numRuns; run++) {
      const domain = each.wild && run % 2 === 1 ? 'wild' : 'tame'
      const rows = drawRows(next, 1 + Math.floor(next() * 120), domain, { nulls: run % 3 !== 0 })
      const expected = oracleLines(each, rows)
      expect(columnLines(metric, rows, next), `columns, SEED=${seed}, run ${run}`).toEqual(expected)
      expect(await sqlLines(metric, rows, null), `sql, SEED=${seed}, run ${run}`).toEqual(expected)
      const some = { from: 0, until: 60_001 }
      const inside = expected.filter((text) => ['0|', '60000|'].some((from) => text.startsWith(from)))
      expect(await sqlLines(metric, rows, some), `sql in a range, SEED=${seed}, run ${run}`).toEqual(inside)
    }
  })

  test('a sum keeps every digit, however large its terms and however many', async () => {
    const metric = await load(
      'measures: {s: sum(i), q1: sum(q), e: "sum(m::DECIMAL(18,14))", f: "min(m::DECIMAL(18,14))"}',
    )
    const row = {
      i: 9_223_372_036_854_775_807n,
      j: null,
      m: -999_999n,
      q: -999_999_999_999_999_999n,
      d: null,
      b: null,
      s: null,
      t: '',
    }
    const rows = Array.from({ length: 300 }, () => ({ eventTime: 0, watermark: null, row }))
    const m14 = row.m * 10n ** 12n
    const expected = [line('0|', 0, [`300:${300n * row.i}`, `300:${300n * row.q}`, `300:${300n * m14}`, `${m14}`])]
    expect(columnLines(metric, rows, random(1))).toEqual(expected)
    expect(await sqlLines(metric, rows, null)).toEqual(expected)
  })

  test('an overflow is refused by both readers, unless `where` leaves the row out', async () => {
    const row = { i: 9_223_372_036_854_775_807n, j: 1n, m: null, q: null, d: null, b: false, s: null, t: '' }
    const rows = [{ eventTime: 0, watermark: null, row }]
    const refusing = await load('measures: {s: sum(i + j)}')
    expect(() => columnLines(refusing, rows, random(1))).toThrow(/^MEASURE_OVERFLOW /)
    await expect(sqlLines(refusing, rows, null)).rejects.toThrow(/Overflow/)
    const filtered = await load('measures: {s: sum(i + j) filter (where b)}')
    expect(() => columnLines(filtered, rows, random(1))).toThrow(/^MEASURE_OVERFLOW /)
    await expect(sqlLines(filtered, rows, null)).rejects.toThrow(/Overflow/)
    const masked = await load('where: b\nmeasures: {s: sum(i + j)}')
    expect(columnLines(masked, rows, random(1))).toEqual([])
    expect(await sqlLines(masked, rows, null)).toEqual([])
  })
})
