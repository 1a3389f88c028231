/** The first rows are those of a whole sort. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { runs } from '#testkit/runs.ts'
import { firstOf } from './first-of.ts'

test('[Q1] the first rows are those of a whole sort, for every count', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 60 }),
      fc.integer({ min: 0, max: 70 }),
      (keys, count) => {
        const rows = keys.map((_, row) => row)
        const order = (a: number, b: number): number => keys[a]! - keys[b]! || a - b
        expect(firstOf([...rows], count, order)).toEqual(rows.toSorted(order).slice(0, count))
      },
    ),
    runs(100, 'first rows'),
  )
})
