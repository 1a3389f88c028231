import { expect, test } from 'vitest'
import { layoutOf, type PartialTable, writeZero } from '#core/partial.ts'
import { exactWords } from '#testkit/exact-words.ts'
import { decodePartials, encodePartials } from './partials-arrow.ts'

const layout = layoutOf(
  [
    { name: 'a', kind: 'string', scale: 0 },
    { name: 'n', kind: 'int64', scale: 0 },
    { name: 'd', kind: 'decimal', scale: 2 },
    { name: 'b', kind: 'bool', scale: 0 },
  ],
  [
    { name: 'c', kind: 'count', scale: 0, float: false },
    { name: 's', kind: 'sum', scale: 2, float: false },
    { name: 'lo', kind: 'min', scale: 0, float: false },
    { name: 'hi', kind: 'max', scale: 0, float: true },
  ],
)

function sample(): PartialTable {
  const cells = new Float64Array(3 * layout.width)
  for (let row = 0; row < 3; row++) writeZero(layout, cells, row * layout.width)
  cells[0] = 2 ** 40 + 7
  cells[1] = 3
  cells.set(exactWords(-170_141_183_460_469_231n * 1_000_003n), 2)
  cells[4] = Number(-(2n ** 63n))
  cells[6] = 1.5
  cells[layout.late] = 9
  const second = layout.width
  cells.set(exactWords(-1n), second + 2)
  cells[second + 4] = 9_007_199_254_740_992
  cells[second + 5] = 1
  return {
    layout,
    count: 3,
    cells,
    windowFrom: Float64Array.of(-60_000, 0, 1_700_000_000_000),
    dimensions: [
      { values: ['ATL', null, 'Zürich'], index: Int32Array.of(2, 1, 0) },
      { values: [2n ** 60n, -5], index: Int32Array.of(0, 1, 1) },
      { values: [-125n, null], index: Int32Array.of(1, 0, 0) },
      { values: [true, false], index: Int32Array.of(0, 1, 0) },
    ],
  }
}

const plain = (table: PartialTable) =>
  Array.from({ length: table.count }, (_, row) => [
    table.windowFrom[row],
    ...table.dimensions.map(({ values, index }) => values[index[row]!]),
    ...table.cells.subarray(row * layout.width, (row + 1) * layout.width),
  ])

test('a table survives the wire exactly: nulls, int64 extremes, negative 128-bit sums, absent minima', () => {
  const table = sample()
  expect(plain(decodePartials(encodePartials(table), layout))).toEqual(plain(table))
})

test('[W11] texts that begin with U+FEFF keep it on the wire: they are groups of their own', () => {
  const texts = layoutOf([{ name: 'a', kind: 'string', scale: 0 }], [])
  const values = ['a', '\ufeffa', '\ufeff', '', null]
  const table: PartialTable = {
    layout: texts,
    count: values.length,
    windowFrom: new Float64Array(values.length),
    cells: new Float64Array(values.length),
    dimensions: [{ values, index: Int32Array.from(values.keys()) }],
  }
  const read = decodePartials(encodePartials(table), texts).dimensions[0]!
  expect([...read.index].map((i) => read.values[i])).toEqual(values)
})

test('text dictionaries as UTF-8 and as strings give the same bytes; a table without rows survives', () => {
  const small = layoutOf(
    [{ name: 'a', kind: 'string', scale: 0 }],
    [{ name: 'c', kind: 'count', scale: 0, float: false }],
  )
  const table = (utf8: boolean): PartialTable => ({
    layout: small,
    count: 3,
    windowFrom: new Float64Array(3),
    cells: new Float64Array(6),
    dimensions: [
      {
        values: ['é', null, 'b'],
        index: Int32Array.of(2, 1, 0),
        ...(utf8
          ? { utf8: { bytes: new TextEncoder().encode('éb'), starts: Int32Array.of(0, 2, 2, 3), nullId: 1 } }
          : {}),
      },
    ],
  })
  expect(encodePartials(table(true))).toEqual(encodePartials(table(false)))
  const { values, index } = decodePartials(encodePartials(table(true)), small).dimensions[0]!
  expect([...index].map((i) => values[i])).toEqual(['b', null, 'é'])
  expect(
    decodePartials(
      encodePartials({ ...table(false), count: 0, windowFrom: new Float64Array(0), cells: new Float64Array(0) }),
      small,
    ).count,
  ).toBe(0)
})
