/** Goal: the flat combiner is `combineRow`. Method: random rows of a layout with every kind, compared double by double. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { combinerOf } from './combiner.ts'
import { combineRow, layoutOf } from './partial.ts'

const SEED = Number(process.env['SEED'] ?? Math.trunc(performance.timeOrigin) % 1_000_000)
console.info(`SEED=${SEED}`)

it('[S4] combines like combineRow, for every aggregate', () => {
  const kinds = ['count', 'sum', 'avg', 'min', 'max'] as const
  const value = fc.constantFrom(-Infinity, -(2 ** 52), -1, 0, 1, 2, 2 ** 52, Infinity)
  const measures = fc.array(fc.constantFrom(...kinds), { minLength: 1, maxLength: 6 })
  fc.assert(
    fc.property(measures, fc.array(value, { minLength: 60, maxLength: 60 }), (chosen, doubles) => {
      const layout = layoutOf(
        [],
        chosen.map((kind, at) => ({ name: `m${at}`, kind, scale: 0, float: false })),
      )
      // Only extremes may be infinite; the words of a sum are finite by construction.
      const infinite = new Set(
        layout.measures.flatMap(({ kind, slot }) => (kind === 'min' || kind === 'max' ? [slot] : [])),
      )
      const row = (offset: number): Float64Array =>
        Float64Array.from({ length: layout.width }, (_, slot) => {
          const one = doubles[(slot + offset) % doubles.length]!
          return Number.isFinite(one) || infinite.has(slot) ? one : 3
        })
      const expected = row(0)
      combineRow(layout, expected, 0, row(31), 0)
      const actual = row(0)
      combinerOf(layout)(actual, 0, row(31), 0)
      expect([...actual]).toEqual([...expected])
    }),
    { seed: SEED, numRuns: 500 },
  )
})
