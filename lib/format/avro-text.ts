/**
 * The JSON text of an Avro schema: read with every number as it was written, and printed as the JVM's registry prints it,
 * so that a schema stored here and one stored there are the same characters.
 *
 * Refused before anything recursive sees the text: more than `LIMITS.schemaBytes` bytes, brackets nested beyond what a
 * schema of the allowed depth needs, and an object that has a key twice (readers differ in which one they take).
 */
import { LIMITS } from '#core/limits.ts'
import { SchemaProblem } from './avro-schema.ts'

/** A JSON object as it was written. */
export type Json = Readonly<Record<string, unknown>>

/** Brackets a schema of the allowed depth needs at most per type (record, fields, field, type), with room for attributes. */
const JSON_DEPTH_MAX = LIMITS.schemaDepth * 4

/** A number that keeps its source: JSON.rawJSON, which the compiler's library does not know yet. */
interface RawJson {
  readonly rawJSON: string
}
const { isRawJSON, rawJSON } = JSON as unknown as {
  readonly isRawJSON: (value: unknown) => value is RawJson
  readonly rawJSON: (text: string) => RawJson
}

/** True for a JSON object; arrays, null and numbers that keep their source are none. */
export const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !isRawJSON(value)

/** The source of a number as read by `readJson`; null for anything else. */
export function numberSource(value: unknown): string | null {
  if (typeof value === 'number') return String(value)
  return isRawJSON(value) ? value.rawJSON : null
}

/**
 * Parses JSON; a number whose shortest spelling is not its source keeps the source. Comments, which the JVM's reader takes
 * too, are white space.
 * @throws SchemaProblem
 */
export function readJson(text: string): unknown {
  if (Buffer.byteLength(text) > LIMITS.schemaBytes) {
    throw new SchemaProblem(
      '',
      `the schema is larger than ${LIMITS.schemaBytes} bytes`,
      'Split it into several subjects.',
    )
  }
  const { twice, isPlain, bare } = scan(text)
  const keepSource = (_key: string, value: unknown, context: { source?: string }): unknown =>
    typeof value === 'number' && context.source !== undefined && String(value) !== context.source
      ? rawJSON(context.source)
      : value
  let json: unknown
  try {
    json = isPlain ? JSON.parse(bare) : JSON.parse(bare, keepSource as Parameters<typeof JSON.parse>[1])
  } catch (error) {
    throw new SchemaProblem('', `not JSON: ${(error as Error).message}`, 'Write the schema as Avro JSON.')
  }
  if (twice !== null) {
    throw new SchemaProblem('', `an object has the key ${show(twice)} twice`, 'Keep one of the two.')
  }
  return json
}

const [QUOTE, BACKSLASH, COLON, COMMA, SLASH] = [0x22, 0x5c, 0x3a, 0x2c, 0x2f]
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d]
/** Digits that every double keeps; a longer number, a fraction or an exponent needs its source. */
const PLAIN_NUMBER = /(?<![\w.+-])-?(?:0|[1-9]\d{0,14})(?![\w.+-])/y

/** What one pass over a text finds out. */
interface Scan {
  /** A key that one object has twice, or null. */
  readonly twice: string | null
  /** No number needs its source. */
  readonly isPlain: boolean
  /** The text without its comments. */
  readonly bare: string
}

/**
 * One pass over the characters: a recursive reader must not be what finds out about depth, and JSON.parse does not tell
 * about keys and takes no comments. Brackets in strings nest nothing.
 * @throws SchemaProblem
 */
function scan(text: string): Scan {
  const open: (Set<string> | null)[] = []
  let twice: string | null = null
  let isPlain = true
  let bare = ''
  let bareFrom = 0
  /** The last string, while nothing but white space followed: a colon makes a key of it. */
  let string: string | null = null
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === QUOTE) {
      const until = endOfString(text, i)
      string = text.slice(i, until)
      i = until - 1
    } else if (c === OPEN_LIST || c === OPEN_OBJECT) {
      open.push(c === OPEN_OBJECT ? new Set() : null)
      if (open.length > JSON_DEPTH_MAX) {
        throw new SchemaProblem('', `types nest deeper than ${LIMITS.schemaDepth}`, 'Flatten the schema.')
      }
      string = null
    } else if (c === CLOSE_LIST || c === CLOSE_OBJECT) {
      open.pop()
      string = null
    } else if (c === COLON) {
      const keys = open.at(-1)
      const key = string === null ? null : unquote(string)
      if (key !== null && keys?.has(key) === true) twice ??= key
      if (key !== null) keys?.add(key)
      string = null
    } else if (c === COMMA) string = null
    else if (c === SLASH) {
      const until = endOfComment(text, i)
      if (until === null) continue
      bare += `${text.slice(bareFrom, i)} `
      bareFrom = until
      i = until - 1
    } else if (c === 0x2d || (c >= 0x30 && c <= 0x39)) {
      PLAIN_NUMBER.lastIndex = i
      if (PLAIN_NUMBER.test(text) && text.slice(i, PLAIN_NUMBER.lastIndex) !== '-0') i = PLAIN_NUMBER.lastIndex - 1
      else isPlain = false
    }
  }
  return { twice, isPlain, bare: bareFrom === 0 ? text : bare + text.slice(bareFrom) }
}

/** Behind the closing quote of the string that opens at `from`; behind the text when there is none. */
function endOfString(text: string, from: number): number {
  for (let i = from + 1; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === QUOTE) return i + 1
    if (c === BACKSLASH) i += 1
  }
  return text.length
}

/** Behind the comment that begins at `from`; null when none does, or it does not end. */
function endOfComment(text: string, from: number): number | null {
  const end = text[from + 1] === '*' ? text.indexOf('*/', from + 2) + 1 : text.indexOf('\n', from + 1)
  if (text[from + 1] === '*') return end === 0 ? null : end + 1
  if (text[from + 1] !== '/') return null
  return end < 0 ? text.length : end
}

/** A JSON string's text, so that an escaped spelling is the same key; null when it is none. */
function unquote(quoted: string): string | null {
  if (!quoted.includes('\\')) return quoted.slice(1, -1)
  try {
    return JSON.parse(quoted) as string
  } catch {
    return null
  }
}

/** What stands before the last dot of a full name; empty without one. */
export const namespaceOf = (name: string): string => name.slice(0, Math.max(0, name.lastIndexOf('.')))

/** A value for a message, shortened. */
export const show = (value: unknown): string => (JSON.stringify(value) ?? 'nothing').slice(0, 200)

/**
 * Prints JSON as the JVM's registry does: integers as they are, other numbers as Java's Double prints them, control
 * characters with upper-case hexadecimal digits. Keys in their order, or with `sorted` by code unit at every level.
 */
export function printJson(value: unknown, sorted = false): string {
  if (typeof value === 'string') return printString(value)
  const number = numberSource(value)
  if (number !== null) return /^-?\d+$/.test(number) ? printInteger(number) : printDouble(Number(number))
  if (Array.isArray(value)) return `[${value.map((item) => printJson(item, sorted)).join(',')}]`
  if (!isObject(value)) return JSON.stringify(value)
  const keys = sorted ? Object.keys(value).toSorted() : Object.keys(value)
  return printObject(keys.map((key) => [key, printJson(value[key], sorted)]))
}

/** An object of attributes that are printed already. */
export const printObject = (attributes: readonly (readonly [string, string])[]): string =>
  `{${attributes.map(([key, printed]) => `${printString(key)}:${printed}`).join(',')}}`

const printInteger = (digits: string): string => (digits === '-0' ? '0' : digits)

/** JSON.stringify's spelling but for the digits of \u00xx, and lone surrogates as they are. */
function printString(value: string): string {
  let printed = ''
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i)
    if (code < 0x20 || code === 0x22 || code === 0x5c) {
      const escaped = JSON.stringify(value[i]).slice(1, -1)
      printed += escaped.startsWith('\\u') ? `\\u${escaped.slice(2).toUpperCase()}` : escaped
    } else printed += value[i]
  }
  return `"${printed}"`
}

/** Java's Double.toString: decimal from 1e-3 up to 1e7, else with an exponent; what is not finite is a string. */
export function printDouble(value: number, shortest = String(Math.abs(value))): string {
  if (!Number.isFinite(value)) return `"${value}"`
  const sign = value < 0 || Object.is(value, -0) ? '-' : ''
  const [mantissa = '', exponent = '0'] = shortest.split('e')
  const [whole = '', fraction = ''] = mantissa.split('.')
  const all = `${whole}${fraction}`
  const leading = all.length - all.replace(/^0+/, '').length
  const digits = all.slice(leading).replace(/0+$/, '') || '0'
  if (value === 0) return `${sign}0.0`
  /** Digits before the point. */
  const point = whole.length + Number(exponent) - leading
  const size = Math.abs(value)
  if (size >= 1e-3 && size < 1e7) {
    if (point <= 0) return `${sign}0.${'0'.repeat(-point)}${digits}`
    return `${sign}${digits.slice(0, point).padEnd(point, '0')}.${digits.slice(point) || '0'}`
  }
  return `${sign}${digits[0]}.${digits.slice(1) || '0'}E${point - 1}`
}

/** Java's Float.toString: the shortest decimal that is this single-precision number again. */
export function printFloat(value: number): string {
  const single = Math.fround(value)
  for (let digits = 1; digits < 10; digits++) {
    const text = Math.abs(single).toPrecision(digits)
    if (Math.fround(Number(text)) === Math.abs(single)) return printDouble(single, text.replace('e+', 'e'))
  }
  return printDouble(single)
}
