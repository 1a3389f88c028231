/** A filter that leaves few groups looks them up; it must give the cells that going through all entries gives. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { runs } from '#testkit/runs.ts'
import { CellTable } from './cells.ts'
import { GroupDictionary } from './group-key.ts'
import { layoutOf, type PartialTable } from './partial.ts'
import { bucketOf, nests, originOf, rollUp } from './rollup.ts'

const layout = layoutOf(
  [{ name: 'user', kind: 'string', scale: 0 }],
  [{ name: 'n', kind: 'count', scale: 0, float: false }],
)
const WINDOW_MS = 60_000
const USERS = Array.from({ length: 40 }, (_, user) => `user-${user}`)

/** One row per (window, user) pair, with its place as the count. */
function tableOf(pairs: readonly (readonly [number, number])[]): PartialTable {
  return {
    layout,
    count: pairs.length,
    windowFrom: Float64Array.from(pairs, ([window]) => window * WINDOW_MS),
    dimensions: [{ values: USERS, index: Int32Array.from(pairs, ([, user]) => user) }],
    cells: Float64Array.from(pairs.flatMap((_, place) => [place + 1, 0])),
  }
}

const pairs = fc.uniqueArray(fc.tuple(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 39 })), {
  minLength: 150,
  maxLength: 240,
  selector: ([window, user]) => `${window}/${user}`,
})

test('[Q1] few groups looked up give the same rows as all entries gone through', () => {
  fc.assert(
    fc.property(
      pairs,
      pairs,
      fc.subarray(USERS, { minLength: 1, maxLength: 3 }),
      fc.constantFrom(WINDOW_MS, 2 * WINDOW_MS),
      fc.constantFrom<readonly number[]>([], [0]),
      (batch, speed, wanted, grainMs, groupBy) => {
        const groups = new GroupDictionary(layout.dimensions)
        const [base, open] = [batch, speed].map((each) => {
          const table = tableOf(each)
          const cells = new CellTable(layout)
          cells.combine(table, groups.idsOf(table))
          return cells
        })
        const query = { from: -Infinity, until: Infinity, grainMs, originMs: 0, groupBy, rowsMax: 1_000 }
        const rows = rollUp(
          layout,
          groups,
          { base: base!, speed: [open!] },
          { ...query, filters: [{ dimension: 0, values: wanted }] },
        )!
        const expected = new Map<string, { n: number; speed: number }>()
        for (const [each, isSpeed] of [[batch, 0] as const, [speed, 1] as const]) {
          for (const [place, [window, user]] of each.entries()) {
            if (!wanted.includes(USERS[user]!)) continue
            const from = Math.floor((window * WINDOW_MS) / grainMs) * grainMs
            const key = `${from} ${groupBy.length === 0 ? '' : USERS[user]!}`
            const held = expected.get(key) ?? { n: 0, speed: 0 }
            expected.set(key, { n: held.n + place + 1, speed: held.speed | isSpeed })
          }
        }
        const found = new Map<string, { n: number; speed: number }>()
        for (let row = 0; row < rows.count; row++) {
          const user = groupBy.length === 0 ? '' : (groups.valueOf(rows.group[row]!, 0) as string)
          const n = rows.cells[row * layout.width]!
          found.set(`${rows.from[row]!} ${user}`, { n, speed: rows.speed[row]! })
        }
        expect(found).toEqual(expected)
        expect(rows.shares.batch + rows.shares.speed).toBe(
          [...batch, ...speed].filter(([, user]) => wanted.includes(USERS[user]!)).length,
        )
      },
    ),
    runs(100, 'roll-up of few groups'),
  )
})

test('a row too many is refused on either way', () => {
  const groups = new GroupDictionary(layout.dimensions)
  const table = tableOf(USERS.map((_, user) => [0, user] as const))
  const base = new CellTable(layout)
  base.combine(table, groups.idsOf(table))
  const layers = { base, speed: [] }
  const query = { from: -Infinity, until: Infinity, grainMs: WINDOW_MS, originMs: 0, groupBy: [0] }
  expect(rollUp(layout, groups, layers, { ...query, filters: [], rowsMax: 39 })).toBeNull()
  const filters = [{ dimension: 0, values: USERS.slice(0, 2) }]
  expect(rollUp(layout, groups, layers, { ...query, filters, rowsMax: 1 })).toBeNull()
  expect(rollUp(layout, groups, layers, { ...query, filters, rowsMax: 2 })?.count).toBe(2)
})

test.each([
  ['weeks of days begin on Monday', 1, 7, '2001-01-10', '2001-01-08'],
  ['fortnights of days too', 1, 14, '2001-01-10', '2001-01-08'],
  ['windows of a week are themselves: whole weeks since Thursday, 1970-01-01', 7, 7, '2001-01-10', '2001-01-04'],
  ['windows of two weeks are themselves', 14, 14, '2001-01-10', '2001-01-04'],
  ['other sizes are aligned at 1970-01-01', 1, 10, '2001-01-10', '2001-01-08'],
])('[W10] %s', (_, windowDays, grainDays, instant, bucket) => {
  const day = 86_400_000
  const grainMs = grainDays * day
  expect(nests(windowDays * day, grainMs)).toBe(true)
  const originMs = originOf(windowDays * day, grainMs)
  expect(new Date(bucketOf(Date.parse(instant), { grainMs, originMs })).toISOString().slice(0, 10)).toBe(bucket)
})
