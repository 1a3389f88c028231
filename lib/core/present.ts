/**
 * Present: the last step, partial → number. Exact until here; what a JSON number cannot hold is not rounded on the quiet.
 *
 *   count, sum, min, max over integers   the integer        decimals   unscaled integer and scale
 *   avg                                  the double nearest to sum / (n * 10^scale), whatever the sizes
 *   min, max over doubles                the double         no value   null
 *
 * An integer is a number up to 2^53 - 1 and a decimal is one when that number, printed, is the decimal again; beyond it is a
 * string if the caller asked for strings and otherwise `INEXACT`, which a route refuses with NUMBER_INEXACT.
 */
import { exactOf, type MeasureLayout } from './partial.ts'

/** A presented value. */
export type Presented = number | string | null

/** The value has no exact JSON number and strings were not asked for. */
export const INEXACT = Symbol('inexact')

const SAFE = BigInt(Number.MAX_SAFE_INTEGER)
/** Decimals of up to 15 digits always survive the way through a double. */
const DIGITS_15 = 999_999_999_999_999n

/** The exact integer (unscaled) of a count, sum, min or max over integers or decimals; null when there is no value. */
export function unscaledOf(measure: MeasureLayout, cells: Float64Array, at: number): bigint | null {
  const slot = at + measure.slot
  switch (measure.kind) {
    case 'count':
      return BigInt(cells[slot]!)
    case 'sum':
    case 'avg':
      return cells[slot] === 0 ? null : exactOf(cells, slot + 1)
    case 'min':
    case 'max':
      return Number.isFinite(cells[slot]!) ? BigInt(cells[slot]!) + BigInt(cells[slot + 1]!) : null
  }
}

/** Writes `unscaled * 10^-scale` as decimal text with all its `scale` digits: (-5n, 2) → `-0.05`. */
export function decimalText(unscaled: bigint, scale: number): string {
  if (scale === 0) return unscaled.toString()
  const digits = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(scale + 1, '0')
  const at = digits.length - scale
  return `${unscaled < 0n ? '-' : ''}${digits.slice(0, at)}.${digits.slice(at)}`
}

/** The double nearest to `unscaled * 10^-scale`. */
const nearestOf = (unscaled: bigint, scale: number): number => divideNearest(unscaled, 10n ** BigInt(scale))

/** An exact integer or decimal as JSON: see the header. `strings`: decimals and big integers as text. */
export function presentExact(unscaled: bigint, scale: number, strings: boolean): number | string | typeof INEXACT {
  if (scale === 0) {
    if (unscaled <= SAFE && unscaled >= -SAFE) return Number(unscaled)
    return strings ? unscaled.toString() : INEXACT
  }
  if (strings) return decimalText(unscaled, scale)
  const nearest = nearestOf(unscaled, scale)
  if (unscaled <= DIGITS_15 && unscaled >= -DIGITS_15) return nearest
  return equalsDecimal(nearest, unscaled, scale) ? nearest : INEXACT
}

/** True when the shortest text of the double denotes exactly this decimal. */
function equalsDecimal(value: number, unscaled: bigint, scale: number): boolean {
  const match = /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(value))
  if (match === null) return false
  const fraction = match[3] ?? ''
  const exponent = Number(match[4] ?? 0) - fraction.length + scale
  const digits = BigInt(`${match[1]}${match[2]}${fraction}`)
  return exponent >= 0 ? digits * 10n ** BigInt(exponent) === unscaled : digits === unscaled * 10n ** BigInt(-exponent)
}

/** The measure of the row at `at` as JSON; INEXACT see {@link presentExact}. */
export function present(
  measure: MeasureLayout,
  cells: Float64Array,
  at: number,
  strings: boolean,
): Presented | typeof INEXACT {
  const slot = at + measure.slot
  if (measure.kind === 'count') return cells[slot]!
  if (measure.kind === 'avg' || ((measure.kind === 'min' || measure.kind === 'max') && measure.float)) {
    return presentDouble(measure, cells, at)
  }
  const unscaled = unscaledOf(measure, cells, at)
  return unscaled === null ? null : presentExact(unscaled, measure.scale, strings)
}

/** The measure of the row at `at` as the nearest double, for derived measures, charts and ordering; null without a value. */
export function presentDouble(measure: MeasureLayout, cells: Float64Array, at: number): number | null {
  const slot = at + measure.slot
  switch (measure.kind) {
    case 'count':
      return cells[slot]!
    case 'avg': {
      const count = cells[slot]!
      if (count === 0) return null
      return divideNearest(exactOf(cells, slot + 1), BigInt(count) * 10n ** BigInt(measure.scale))
    }
    case 'sum':
      return cells[slot] === 0 ? null : nearestOf(exactOf(cells, slot + 1), measure.scale)
    case 'min':
    case 'max': {
      if (!Number.isFinite(cells[slot]!)) return null
      return measure.float ? cells[slot]! : nearestOf(unscaledOf(measure, cells, at)!, measure.scale)
    }
  }
}

/**
 * numerator / denominator rounded to the nearest double, ties to even. `denominator` > 0.
 * Small operands: one IEEE division of two exact doubles is correctly rounded. Else 66 bits or more of the quotient are
 * computed and a lost remainder sets the lowest bit, so that the final rounding sees on which side of a tie it is.
 */
export function divideNearest(numerator: bigint, denominator: bigint): number {
  if (numerator <= SAFE && numerator >= -SAFE && denominator <= SAFE) return Number(numerator) / Number(denominator)
  const negative = numerator < 0n
  const magnitude = negative ? -numerator : numerator
  const shift = BigInt(Math.max(0, bits(denominator) - bits(magnitude) + 66))
  const scaled = magnitude << shift
  let quotient = scaled / denominator
  if (quotient * denominator !== scaled) quotient |= 1n
  const value = Number(quotient) / 2 ** Number(shift)
  return negative ? -value : value
}

const bits = (value: bigint): number => value.toString(2).length
