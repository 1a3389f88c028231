/**
 * What generated readers call: work on bytes, exact rounding, scratch space for computed texts. No function here allocates
 * per row, except for BigInts of the exact variant. Texts are UTF-8 and are compared by their bytes, as DuckDB does.
 */

import { decimalText } from '#core/present.ts'

/** Growing buffer for computed texts of one chunk. `base` bytes at the start hold the expression's constants. */
export class Scratch {
  bytes: Uint8Array
  at: number
  readonly base: number
  constructor(constants: Uint8Array) {
    this.base = constants.length
    this.bytes = new Uint8Array(Math.max(1024, constants.length * 2))
    this.bytes.set(constants)
    this.at = this.base
  }

  /** Forgets the last chunk's texts. */
  reset(): void {
    this.at = this.base
  }

  /** Appends a byte range and returns where it begins. Ranges handed out before stay valid, in `bytes` as it is then. */
  put(bytes: Uint8Array, from: number, until: number): number {
    const at = this.#claim(until - from)
    const into = this.bytes
    const size = until - from
    if (size > 32) into.set(bytes.subarray(from, until), at)
    else for (let i = 0; i < size; i++) into[at + i] = bytes[from + i]!
    return at
  }

  /** Appends ASCII text and returns where it begins. */
  putAscii(text: string): number {
    const at = this.#claim(text.length)
    for (let i = 0; i < text.length; i++) this.bytes[at + i] = text.charCodeAt(i)
    return at
  }

  #claim(size: number): number {
    const at = this.at
    this.at = at + size
    if (this.at > this.bytes.length) {
      const grown = new Uint8Array(this.at * 2)
      grown.set(this.bytes.subarray(0, at))
      this.bytes = grown
    }
    return at
  }
}

/** Whether two byte ranges are equal. */
export function equalBytes(
  a: Uint8Array,
  aFrom: number,
  aUntil: number,
  b: Uint8Array,
  bFrom: number,
  bUntil: number,
): boolean {
  const size = aUntil - aFrom
  if (size !== bUntil - bFrom) return false
  for (let i = 0; i < size; i++) if (a[aFrom + i] !== b[bFrom + i]) return false
  return true
}

/** Negative, 0 or positive as the first range sorts before, with or after the second. */
export function compareBytes(
  a: Uint8Array,
  aFrom: number,
  aUntil: number,
  b: Uint8Array,
  bFrom: number,
  bUntil: number,
): number {
  const size = Math.min(aUntil - aFrom, bUntil - bFrom)
  for (let i = 0; i < size; i++) {
    const difference = a[aFrom + i]! - b[bFrom + i]!
    if (difference !== 0) return difference
  }
  return aUntil - aFrom - (bUntil - bFrom)
}

/** Whether the range holds the pattern. UTF-8 is self-synchronising, so a match of bytes is a match of characters. */
export function containsBytes(bytes: Uint8Array, from: number, until: number, pattern: Uint8Array): boolean {
  for (let at = from; at + pattern.length <= until; at++) {
    if (equalBytes(bytes, at, at + pattern.length, pattern, 0, pattern.length)) return true
  }
  return false
}

/** Code points of the range. */
export function codePoints(bytes: Uint8Array, from: number, until: number): number {
  let count = 0
  for (let at = from; at < until; at++) if ((bytes[at]! & 0xc0) !== 0x80) count++
  return count
}

/** The place `count` code points behind `from`, at most `until`. */
export function skipCodePoints(bytes: Uint8Array, from: number, until: number, count: number): number {
  let at = from
  for (let left = count; left > 0 && at < until; left--) {
    at++
    while (at < until && (bytes[at]! & 0xc0) === 0x80) at++
  }
  return at
}

/** Rounds half away from zero, as C's round. `Math.round(x + 0.5)` would fail for 0.49999999999999994. */
export function roundAway(value: number): number {
  const whole = Math.trunc(value)
  return Math.abs(value - whole) >= 0.5 ? whole + Math.sign(value) : whole
}

/** Rounds half to even, as C's nearbyint. */
export function roundEven(value: number): number {
  const whole = Math.trunc(value)
  const rest = Math.abs(value - whole)
  return rest > 0.5 || (rest === 0.5 && whole % 2 !== 0) ? whole + Math.sign(value) : whole
}

/** value / factor, rounded half away from zero; safe integers. */
export function scaleDown(value: number, factor: number): number {
  const rest = value % factor
  const whole = (value - rest) / factor
  return (Math.abs(rest) * 2 >= factor ? whole + (value < 0 ? -1 : 1) : whole) + 0
}

/** value / factor, rounded half away from zero. */
export function scaleDownExact(value: bigint, factor: bigint): bigint {
  const rest = value % factor
  const whole = value / factor
  return (rest < 0n ? -rest : rest) * 2n >= factor ? whole + (value < 0n ? -1n : 1n) : whole
}

/** floor(value / factor) for safe integers. */
export function floorDivide(value: number, factor: number): number {
  const rest = value % factor
  return (value - rest) / factor - (rest < 0 ? 1 : 0) + 0
}

/** floor(value / factor). */
export function floorDivideExact(value: bigint, factor: bigint): bigint {
  return value / factor - (value % factor < 0n ? 1n : 0n)
}

/** An unscaled integer / factor as DuckDB makes it a double: at once when it fits 2^53, else whole and rest apart. */
export function decimalToDouble(value: bigint, factor: bigint): number {
  if (value <= 9_007_199_254_740_992n && value >= -9_007_199_254_740_992n) return Number(value) / Number(factor)
  return Number(value / factor) + Number(value % factor) / Number(factor)
}

/** An unscaled integer as text with its point. */
export const decimalDigits = (value: number | bigint, scale: number): string => decimalText(BigInt(value), scale)

/** DuckDB's order of doubles: NaN is equal to itself and above everything. */
export function compareDoubles(a: number, b: number): number {
  return a < b ? -1 : a > b ? 1 : a === b ? 0 : !Number.isNaN(a) ? -1 : Number.isNaN(b) ? 0 : 1
}

/** Ends the chunk: an exact result has left its type. */
export function overflow(what: string): never {
  throw new RangeError(`MEASURE_OVERFLOW ${what}`)
}
