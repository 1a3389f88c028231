/** Parts of a table: every row in one, none of more than its bytes, whatever the texts are. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { chunkOf, specOf } from '#testkit/chunks.ts'
import { runs } from '#testkit/runs.ts'
import { CHUNK_ROWS } from './columns.ts'
import { createEpochTable } from './epoch-table.ts'
import { LIMITS } from './limits.ts'
import { layoutOf } from './partial.ts'

const ROW_BYTES = 10
const columns = [specOf('a', 'string'), specOf('b', 'string')]
const layout = layoutOf(
  columns.map(({ name }) => ({ name, kind: 'string' as const, scale: 0 })),
  [{ name: 'n', kind: 'count', scale: 0, float: false }],
)

function tableOf(rows: readonly (readonly [string, string])[]) {
  const options = { layout, windowSizeMs: 1_000, allowedLatenessMs: 0, entriesMax: 10_000 }
  const table = createEpochTable(options)
  const chunk = chunkOf(
    columns,
    rows.map((cells, at) => ({ eventTime: at * 1_000, cells: [...cells] })),
  )
  const read = { where: null, dimensions: chunk.columns, arguments: [null], filters: [null] }
  table.add(chunk, read, new Uint8Array(CHUNK_ROWS), new Float64Array(CHUNK_ROWS).fill(-Infinity))
  return table
}

const text = fc.nat({ max: 60 }).map((length) => 'x'.repeat(length))

test('[W11] parts tile the rows; a part is at most its bytes, its texts counted once, or one row', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(text, text), { maxLength: 60 }),
      fc.integer({ min: 10, max: 400 }),
      (rows, bytesMax) => {
        const all = tableOf(rows).all()
        const bounds = all.parts({ rowBytes: ROW_BYTES, bytesMax })
        expect([bounds[0], bounds.at(-1)]).toEqual([0, rows.length])
        for (let part = 0; part + 1 < bounds.length; part++) {
          const [from, until] = [bounds[part]!, bounds[part + 1]!]
          const inside = rows.slice(from, until)
          const texts = [0, 1].flatMap((at) => [...new Set(inside.map((row) => row[at]!))])
          const bytes = inside.length * ROW_BYTES + texts.join('').length
          const allTexts = [0, 1].flatMap((at) => [...new Set(rows.map((row) => row[at]!))]).join('').length
          if (rows.length > 0) expect(until).toBeGreaterThan(from)
          expect(inside.length <= 1 || bytes <= bytesMax + (allTexts <= bytesMax ? allTexts : 0)).toBe(true)
        }
      },
    ),
    runs(300, 'parts of a table'),
  )
})

test('[W11] a group whose texts no record could hold is refused by name', () => {
  const half = 'x'.repeat(LIMITS.groupBytes / 2)
  expect(
    tableOf([
      [half, half],
      [half, 'b'],
      ['a', 'b'],
    ]).entries,
  ).toBe(3)
  expect(() => tableOf([[half, `${half}x`]])).toThrow(/^METRIC_LIMIT/)
})
