/**
 * Laws 9 and 1 for partials: combine is associative and commutative, zero is neutral, adding rows = combining singletons,
 * and no division of the rows into chunks shows in the result. Small domains so that shapes collide; extremes of int64
 * and of exact sums are in them.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { ColumnChunk } from '#core/columns.ts'
import { combinerOf } from '#core/combiner.ts'
import { createEpochTable, type EpochTable } from '#core/epoch-table.ts'
import { exactOf, layoutOf, type PartialRows, type PartialTable, writeZero } from '#core/partial.ts'
import { chunkOf, specOf, type TestCell } from '#testkit/chunks.ts'
import { runs } from '#testkit/runs.ts'

const specs = [specOf('g', 'string'), specOf('x', 'int64')]
const layout = layoutOf(
  [{ name: 'g', kind: 'string', scale: 0 }],
  (['count', 'sum', 'avg', 'min', 'max'] as const).map((kind) => ({ name: kind, kind, scale: 0, float: false })),
)

const whole = (rows: PartialRows): PartialTable => rows.table(0, rows.count)

interface Row {
  readonly eventTime: number
  readonly cells: readonly TestCell[]
}
const cell = fc.constantFrom<TestCell>(
  null,
  -1,
  0,
  1,
  7,
  2 ** 53 - 1,
  -(2 ** 53 - 1),
  2n ** 63n - 1n,
  -(2n ** 63n),
  2n ** 53n + 1n,
)
const row: fc.Arbitrary<Row> = fc.record({
  eventTime: fc.integer({ min: -3, max: 3 }).map((t) => t * 500),
  cells: fc.tuple(fc.constantFrom<TestCell>('a', 'b', '', null, 'längerer Schlüssel mit 20+ Bytes'), cell),
})

/** Adds the rows of a chunk, all of them accepted; without watermarks none is late. */
function addTo(table: EpochTable, chunk: ColumnChunk, watermarks = new Float64Array(chunk.count)): void {
  const x = chunk.columns[1]!
  const columns = {
    where: null,
    dimensions: [chunk.columns[0]!],
    arguments: [null, x, x, x, x],
    filters: [null, null, null, null, null],
  }
  table.add(chunk, columns, new Uint8Array(chunk.count), watermarks)
}

/** Runs rows through epoch tables cut into chunks at the given sizes. */
function fold(rows: readonly Row[], sizes: readonly number[]): PartialTable {
  const table = createEpochTable({ layout, windowSizeMs: 1_000, allowedLatenessMs: 0, entriesMax: 1_000 })
  let at = 0
  for (let i = 0; at < rows.length; i++) {
    const part = rows.slice(at, at + Math.max(1, sizes[i % sizes.length] ?? 1))
    at += part.length
    const chunk = chunkOf(specs, part)
    addTo(table, chunk)
  }
  return whole(table.all())
}

/** Exact values by window and group, independent of entry order. */
function values(table: PartialTable): Map<string, readonly unknown[]> {
  const out = new Map<string, readonly unknown[]>()
  for (let r = 0; r < table.count; r++)
    out.set(
      `${table.windowFrom[r]}/${table.dimensions[0]!.values[table.dimensions[0]!.index[r]!]}`,
      rowValues(table.cells, r * layout.width),
    )
  return new Map([...out].sort(([a], [b]) => (a < b ? -1 : 1)))
}
const extreme = (cells: Float64Array, at: number): bigint | null =>
  Number.isFinite(cells[at]!) ? BigInt(cells[at]!) + BigInt(cells[at + 1]!) : null
const rowValues = (cells: Float64Array, at: number): readonly unknown[] => {
  const [count, sum, avg, min, max] = layout.measures.map(({ slot }) => at + slot) as [
    number,
    number,
    number,
    number,
    number,
  ]
  return [
    cells[count],
    cells[sum],
    exactOf(cells, sum + 1),
    cells[avg],
    exactOf(cells, avg + 1),
    extreme(cells, min),
    extreme(cells, max),
  ]
}
const rowOf = (x: TestCell): Float64Array => fold([{ eventTime: 0, cells: ['a', x] }], [1]).cells
const combine = combinerOf(layout)
const plus = (a: Float64Array, b: Float64Array): Float64Array => {
  const out = a.slice()
  combine(out, 0, b, 0)
  return out
}

test('combine is associative, commutative and has zero as neutral element, over every pair and triple of a small domain', () => {
  const domain = [null, -1, 0, 1, 2 ** 53 - 1, -(2 ** 53 - 1), 2n ** 63n - 1n, -(2n ** 63n), 2n ** 53n + 1n].map(rowOf)
  const zero = new Float64Array(layout.width)
  writeZero(layout, zero, 0)
  for (const a of domain) {
    expect(rowValues(plus(a, zero), 0)).toEqual(rowValues(a, 0))
    expect(rowValues(plus(zero, a), 0)).toEqual(rowValues(a, 0))
    for (const b of domain) {
      expect(rowValues(plus(a, b), 0)).toEqual(rowValues(plus(b, a), 0))
      for (const c of domain) expect(rowValues(plus(plus(a, b), c), 0)).toEqual(rowValues(plus(a, plus(b, c)), 0))
    }
  }
})

test('[W1] [W8] an epoch table equals a plain recompute, however the rows are cut into chunks and ordered', () => {
  fc.assert(
    fc.property(
      fc.array(row, { maxLength: 60 }),
      fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 4 }),
      (rows, sizes) => {
        const expected = new Map<string, { n: number; xs: bigint[] }>()
        for (const { eventTime, cells } of rows) {
          const key = `${Math.floor(eventTime / 1_000) * 1_000}/${cells[0]}`
          const held = expected.get(key) ?? { n: 0, xs: [] }
          held.n++
          if (cells[1] !== null) held.xs.push(BigInt(cells[1] as number | bigint))
          expected.set(key, held)
        }
        const oracle = new Map(
          [...expected]
            .sort(([a], [b]) => (a < b ? -1 : 1))
            .map(([key, { n, xs }]) => {
              const sum = xs.reduce((a, b) => a + b, 0n)
              const [min, max] = [
                xs.reduce<bigint | null>((a, b) => (a === null || b < a ? b : a), null),
                xs.reduce<bigint | null>((a, b) => (a === null || b > a ? b : a), null),
              ]
              return [key, [n, xs.length, sum, xs.length, sum, min, max]]
            }),
        )
        expect(values(fold(rows, sizes))).toEqual(oracle)
        expect(values(fold([...rows].reverse(), [3]))).toEqual(oracle)
      },
    ),
    runs(300, 'algebra'),
  )
})

test('a table published in deltas adds up to the whole: absolute values, every change once', () => {
  fc.assert(
    fc.property(fc.array(row, { minLength: 1, maxLength: 40 }), (rows) => {
      const table = createEpochTable({ layout, windowSizeMs: 1_000, allowedLatenessMs: 0, entriesMax: 1_000 })
      const held = new Map<string, readonly unknown[]>()
      for (const each of rows) {
        const chunk = chunkOf(specs, [each])
        addTo(table, chunk)
        for (const [key, value] of values(whole(table.takeChanged()))) held.set(key, value)
      }
      expect(new Map([...held].sort(([a], [b]) => (a < b ? -1 : 1)))).toEqual(values(whole(table.all())))
      expect(table.takeChanged().count).toBe(0)
    }),
    runs(100, 'deltas'),
  )
})

test('[T3] an event whose partition watermark stands exactly at the close is late, one millisecond earlier it is not', () => {
  const table = createEpochTable({ layout, windowSizeMs: 1_000, allowedLatenessMs: 250, entriesMax: 10 })
  const chunk = chunkOf(specs, [
    { eventTime: 999, cells: ['a', 1] },
    { eventTime: 0, cells: ['a', 1] },
  ])
  addTo(table, chunk, Float64Array.of(1_249, 1_250))
  expect(whole(table.all()).cells[layout.late]).toBe(1)
})

test('at its bound a table refuses by name', () => {
  const table = createEpochTable({ layout, windowSizeMs: 1_000, allowedLatenessMs: 0, entriesMax: 1 })
  const chunk = chunkOf(specs, [
    { eventTime: 0, cells: ['a', 1] },
    { eventTime: 0, cells: ['b', 1] },
  ])
  expect(() => addTo(table, chunk)).toThrow(/METRIC_LIMIT/)
})
