/** Goal: presented numbers are exact or refused. Method: examples at the edges, and random fractions against a second way of rounding. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { exactWords } from '#testkit/exact-words.ts'
import { runs } from '#testkit/runs.ts'
import { type AggregateKind, layoutOf, writeZero } from './partial.ts'
import { decimalText, divideNearest, INEXACT, present, presentDouble, presentExact } from './present.ts'

const measure = (kind: AggregateKind, scale = 0, float = false) => {
  const layout = layoutOf([], [{ name: 'm', kind, scale, float }])
  const cells = new Float64Array(layout.width)
  writeZero(layout, cells, 0)
  return { one: layout.measures[0]!, cells }
}

/** A sum or average of `count` values. */
const summed = (kind: 'sum' | 'avg', unscaled: bigint, count: number, scale = 0) => {
  const made = measure(kind, scale)
  made.cells[0] = count
  made.cells.set(exactWords(unscaled), 1)
  return made
}

describe('present', () => {
  it('[W8] the monoid zero has no value, but a count of 0', () => {
    for (const kind of ['sum', 'avg', 'min', 'max'] as const) {
      const { one, cells } = measure(kind)
      expect(present(one, cells, 0, false)).toBeNull()
      expect(presentDouble(one, cells, 0)).toBeNull()
    }
    const { one, cells } = measure('count')
    expect(present(one, cells, 0, false)).toBe(0)
  })

  it('[W8] a sum of 0 and a maximum of 0 are values', () => {
    const { one, cells } = summed('sum', 0n, 2)
    expect(present(one, cells, 0, false)).toBe(0)
    const max = measure('max')
    max.cells[0] = 0
    expect(present(max.one, max.cells, 0, false)).toBe(0)
  })

  it('[R5] integers are numbers up to 2^53 - 1 and text or a refusal beyond', () => {
    const edge = 2n ** 53n - 1n
    expect(presentExact(edge, 0, false)).toBe(Number(edge))
    expect(presentExact(-edge, 0, true)).toBe(-Number(edge))
    expect(presentExact(edge + 1n, 0, false)).toBe(INEXACT)
    expect(presentExact(-edge - 1n, 0, true)).toBe('-9007199254740992')
    const { one, cells } = measure('max')
    cells[0] = 2 ** 53
    cells[1] = 1
    expect(present(one, cells, 0, true)).toBe('9007199254740993')
    expect(present(one, cells, 0, false)).toBe(INEXACT)
  })

  it('[W8] [R5] decimals keep all digits as text, and are numbers only if the number prints as the decimal', () => {
    expect(decimalText(-5n, 2)).toBe('-0.05')
    expect(decimalText(1200n, 2)).toBe('12.00')
    expect(presentExact(456n, 2, false)).toBe(4.56)
    expect(presentExact(456n, 2, true)).toBe('4.56')
    expect(presentExact(123_456_789_012_345_678n, 3, false)).toBe(INEXACT)
    expect(presentExact(1_000_000_000_000_000_000_000n, 3, false)).toBe(1e18)
    const { one, cells } = summed('sum', -(10n ** 20n) - 1n, 3, 2)
    expect(present(one, cells, 0, true)).toBe('-1000000000000000000.01')
  })

  it('[R5] every decimal that is given as a number reads back as itself', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: -(10n ** 19n), max: 10n ** 19n }),
        fc.integer({ min: 1, max: 9 }),
        (unscaled, scale) => {
          const value = presentExact(unscaled, scale, false)
          if (value === INEXACT) return
          const [whole, fraction = ''] = Number(value).toFixed(scale).split('.')
          // toFixed prints the exact digits up to 1e21; the shortest text must agree with the decimal.
          const shortest = String(value)
          if (!shortest.includes('e')) expect(Number(shortest)).toBe(Number(decimalText(unscaled, scale)))
          expect(Number(`${whole}.${fraction}`)).toBe(value)
          expect(Number(decimalText(unscaled, scale))).toBe(value)
        },
      ),
      runs(2_000, 'decimals as numbers'),
    )
  })

  it('[W8] an average is the nearest double of the exact fraction', () => {
    const third = summed('avg', 1n, 3)
    expect(present(third.one, third.cells, 0, false)).toBe(1 / 3)
    // 2^53 + 1 over 1 is a tie, to even; over 2 with scale 1 it is not.
    const tie = summed('avg', 2n ** 53n + 1n, 1)
    expect(present(tie.one, tie.cells, 0, false)).toBe(2 ** 53)
    const money = summed('avg', 999_999_999_999_999_999n, 7, 2)
    expect(present(money.one, money.cells, 0, false)).toBe(divideNearest(999_999_999_999_999_999n, 700n))
  })

  it('[W8] division is correctly rounded: no double lies nearer', () => {
    const integers = fc.bigInt({ min: -(2n ** 90n), max: 2n ** 90n })
    fc.assert(
      fc.property(integers, fc.bigInt({ min: 1n, max: 2n ** 70n }), (numerator, denominator) => {
        const value = divideNearest(numerator, denominator)
        for (const other of [neighbour(value, 1n), neighbour(value, -1n)]) {
          expect(distance(value, numerator, denominator) <= distance(other, numerator, denominator)).toBe(true)
        }
      }),
      runs(2_000, 'division'),
    )
  })
})

/** The double next to `value` in its bits; away from or towards zero. */
function neighbour(value: number, step: bigint): number {
  const view = new DataView(new ArrayBuffer(8))
  view.setFloat64(0, value)
  if (value === 0) return Number(step) * Number.MIN_VALUE
  view.setBigInt64(0, view.getBigInt64(0) + step)
  return view.getFloat64(0)
}

/** |value - numerator / denominator| as an integer over a common denominator (2^300 * denominator). */
function distance(value: number, numerator: bigint, denominator: bigint): bigint {
  const exact = (numerator << 300n) - scaled300(value) * denominator
  return exact < 0n ? -exact : exact
}

/** value * 2^300; values below 2^-247 do not occur here (or are compared as their own neighbours of 0). */
function scaled300(value: number): bigint {
  let exponent = 300
  let mantissa = value
  while (exponent > 0 && !Number.isSafeInteger(mantissa)) {
    mantissa *= 2
    exponent--
  }
  return Number.isInteger(mantissa) ? BigInt(mantissa) << BigInt(exponent) : 0n
}
