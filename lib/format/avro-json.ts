/**
 * From a parsed JSON value to one Avro field: every check, every reason. The generated encoder (avro-encoder.ts) writes the plain
 * cases itself and comes here for the rest, so this file is the whole rule.
 *
 * Guarantees: what is written is exactly what was meant. An integer or decimal that a double cannot hold is refused, never
 * rounded; a number that looks like another unit of time is refused, never stored in 1970. Upholds R5.
 */
import { EVENT_TIME_MAX_MS, EVENT_TIME_MIN_MS } from '#core/time.ts'
import type { FlatField } from './avro-schema.ts'
import type { AvroWriter } from './avro-writer.ts'
import { type FineInstant, parseIsoDay, parseIsoInstant } from './iso-instant.ts'

/** Why an item was not taken. Closed set; BAD_JSON and RECORD_TOO_LARGE concern the item as a whole. */
export type ItemCode =
  | 'BAD_JSON'
  | 'UNKNOWN_FIELD'
  | 'MISSING_FIELD'
  | 'WRONG_TYPE'
  | 'NOT_FINITE'
  | 'INT_RANGE'
  | 'NUMBER_UNSAFE'
  | 'DECIMAL_SCALE'
  | 'DECIMAL_RANGE'
  | 'BAD_ENUM'
  | 'EVENT_TIME_RANGE'
  | 'EVENT_TIME_FORMAT'
  | 'RECORD_TOO_LARGE'

/** One item's problem: for the sender, so it may show a little of the value. */
export interface ItemProblem {
  readonly code: ItemCode
  /** null when the item as a whole is meant. */
  readonly field: string | null
  readonly reason: string
}

/** Units an integer may count time in. */
export type TimeUnit = 's' | 'ms' | 'us' | 'ns'

/** Writes a value that is neither null nor undefined; the problem when it cannot. */
export type ValueWriter = (value: unknown, writer: AvroWriter) => ItemProblem | null

const INT64_MAX = 9_223_372_036_854_775_807n
const INT64_MIN = -9_223_372_036_854_775_808n
/** A decimal of up to 15 digits survives the way through a double; of 16 not always. */
const DIGITS_15 = 1e15
const NANOS: Record<TimeUnit, bigint> = { s: 1_000_000_000n, ms: 1_000_000n, us: 1_000n, ns: 1n }
/** Seconds of 1985 to 2128, and the same span in the finer units: where a number "looks like" a unit. */
const LOOKS_FROM = 500_000_000
const LOOKS_UNTIL = 5_000_000_000
const UNIT_WORDS: Record<TimeUnit, string> = { s: 'seconds', ms: 'milliseconds', us: 'microseconds', ns: 'nanoseconds' }
const UNIT_FACTORS: Record<TimeUnit, number> = { s: 1, ms: 1e3, us: 1e6, ns: 1e9 }

/** A short description of a JSON value for a reason. */
export function describe(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  if (typeof value === 'object') return 'an object'
  if (typeof value === 'string')
    return `the text ${JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value)}`
  return `${typeof value} ${String(value as number | boolean | bigint | undefined)}`
}

/** The writer of one field's values. With `eventTime`, the field is the stream's event time in that unit (`iso`: a text). */
export function valueWriter(field: FlatField, eventTime: TimeUnit | 'iso' | null): ValueWriter {
  const { name, logical } = field
  const wrong = (value: unknown, wanted: string): ItemProblem => ({
    code: 'WRONG_TYPE',
    field: name,
    reason: `wanted ${wanted}, got ${describe(value)}`,
  })
  switch (field.kind) {
    case 'int64': {
      const unit = eventTime === null || eventTime === 'iso' ? unitOf(logical) : eventTime
      return integerWriter(field, unit, eventTime !== null, wrong)
    }
    case 'decimal':
      return decimalWriter(field, wrong)
    case 'float64':
      return floatWriter(field, wrong)
    case 'bool':
      return (value, writer) => {
        if (typeof value !== 'boolean') return wrong(value, 'true or false')
        writer.byte(value ? 1 : 0)
        return null
      }
    case 'string':
      return field.avro === 'enum' ? enumWriter(field, wrong) : textWriter(field, eventTime === 'iso', wrong)
    case 'bytes':
      return bytesWriter(field, wrong)
  }
}

/** What an integer counts by its logical type; null = not an instant. */
function unitOf(logical: string | null): TimeUnit | null {
  switch (logical) {
    case 'timestamp-millis':
      return 'ms'
    case 'timestamp-micros':
      return 'us'
    case 'timestamp-nanos':
      return 'ns'
    default:
      return null
  }
}

type Wrong = (value: unknown, wanted: string) => ItemProblem

/** int and long, with their logical types. Text may be digits, an ISO instant (for instants) or a day (for `date`). */
function integerWriter(field: FlatField, unit: TimeUnit | null, isEventTime: boolean, wrong: Wrong): ValueWriter {
  const { name } = field
  const min = field.avro === 'int' ? -2_147_483_648n : INT64_MIN
  const max = field.avro === 'int' ? 2_147_483_647n : INT64_MAX
  const isDay = field.logical === 'date'
  const wanted = `an integer${unit === null ? (isDay ? ' or a day YYYY-MM-DD' : '') : ` (${UNIT_WORDS[unit]} since 1970) or an ISO 8601 instant with an offset`}`
  return (value, writer) => {
    if (typeof value !== 'number' && typeof value !== 'string' && typeof value !== 'bigint') return wrong(value, wanted)
    if (typeof value === 'number') {
      if (!Number.isFinite(value)) return { code: 'NOT_FINITE', field: name, reason: `${value} is not a finite number` }
      if (isEventTime && unit !== null) {
        const problem = unitProblem(name, value, unit)
        if (problem !== null) return problem
      }
      if (!Number.isInteger(value)) return wrong(value, wanted)
      if (!Number.isSafeInteger(value)) {
        return {
          code: 'NUMBER_UNSAFE',
          field: name,
          reason: 'a JSON number beyond 2^53 may have lost digits; send it as a string',
        }
      }
    }
    let integer: bigint
    if (typeof value !== 'string') integer = BigInt(value)
    else if (/^-?\d{1,24}$/.test(value)) integer = BigInt(value)
    else {
      const instant = unit === null ? null : parseIsoInstant(value)
      const day = isDay ? parseIsoDay(value) : null
      if (instant !== null) integer = countOf(instant, unit!)
      else if (day !== null) integer = BigInt(day)
      else if (isEventTime) return formatProblem(name, value)
      else return wrong(value, wanted)
    }
    if (isEventTime && unit !== null) {
      const ms = (integer * NANOS[unit]) / NANOS.ms
      if (ms < BigInt(EVENT_TIME_MIN_MS) || ms > BigInt(EVENT_TIME_MAX_MS)) {
        return unitProblem(name, Number(integer), unit) ?? rangeProblem(name)
      }
    }
    if (integer < min || integer > max) {
      return { code: 'INT_RANGE', field: name, reason: `${integer} does not fit an Avro ${field.avro}` }
    }
    writer.bigLong(integer)
    return null
  }
}

/** An instant in whole units, rounded towards the past. */
function countOf({ ms, nanos }: FineInstant, unit: TimeUnit): bigint {
  switch (unit) {
    case 's':
      return BigInt(Math.floor(ms / 1_000))
    case 'ms':
      return BigInt(ms)
    case 'us':
      return BigInt(ms) * 1_000n + BigInt(Math.floor(nanos / 1_000))
    case 'ns':
      return BigInt(ms) * 1_000_000n + BigInt(nanos)
  }
}

/**
 * A number that is far more likely a wrong unit than a date. An instant that truly lies in that span of 1970 can be sent as ISO text.
 */
function unitProblem(name: string, value: number, unit: TimeUnit): ItemProblem | null {
  const size = Math.abs(value)
  for (const other of ['s', 'ms', 'us', 'ns'] as const) {
    if (other === unit) continue
    const factor = UNIT_FACTORS[other]
    if (size >= LOOKS_FROM * factor && size < LOOKS_UNTIL * factor) {
      const reason = `${value} looks like ${UNIT_WORDS[other]}; the stream wants ${UNIT_WORDS[unit]} since 1970`
      return { code: 'EVENT_TIME_RANGE', field: name, reason }
    }
  }
  return null
}

const rangeProblem = (name: string): ItemProblem => ({
  code: 'EVENT_TIME_RANGE',
  field: name,
  reason: 'the event time lies outside the years 0001 to 9999',
})

const formatProblem = (name: string, value: string): ItemProblem => ({
  code: 'EVENT_TIME_FORMAT',
  field: name,
  reason: `${describe(value)} is no ISO 8601 instant with an offset, such as 2001-03-01T10:05:00Z`,
})

/** Half-open span of doubles of that unit that need no second look: inside the range, and of no other unit's looks. */
export function plainEventTimes(unit: TimeUnit): { readonly from: number; readonly until: number } {
  // 1973 to 2128; the rest takes the slow path.
  const factor = UNIT_FACTORS[unit]
  return { from: 100_000_000 * factor, until: LOOKS_UNTIL * factor }
}

function decimalWriter(field: FlatField, wrong: Wrong): ValueWriter {
  const { name, precision, scale, size } = field
  const factor = 10 ** scale
  const limit = 10n ** BigInt(precision)
  const tooFine: ItemProblem = {
    code: 'DECIMAL_SCALE',
    field: name,
    reason: `has more than ${scale} decimals; nothing is rounded`,
  }
  const tooBig: ItemProblem = {
    code: 'DECIMAL_RANGE',
    field: name,
    reason: `has more than ${precision - scale} digits before the point`,
  }
  return (value, writer) => {
    let unscaled: number | bigint
    if (typeof value === 'number') {
      if (!Number.isFinite(value)) return { code: 'NOT_FINITE', field: name, reason: `${value} is not a finite number` }
      const rounded = Math.round(value * factor)
      if (Math.abs(rounded) >= DIGITS_15) {
        return {
          code: 'NUMBER_UNSAFE',
          field: name,
          reason: 'a JSON number of more than 15 digits may have lost some; send it as a string',
        }
      }
      // The quotient of two exact doubles is the double nearest to that decimal: equal means the text named this decimal.
      if (rounded / factor !== value) return tooFine
      unscaled = rounded
    } else if (typeof value === 'string') {
      const parsed = parseDecimal(value, scale)
      if (parsed === 'syntax') return wrong(value, 'a decimal number')
      if (parsed === 'scale') return tooFine
      unscaled = parsed
    } else return wrong(value, 'a decimal number, as a string or a number')
    const exact = BigInt(unscaled)
    if (exact >= limit || exact <= -limit) return tooBig
    writer.decimal(unscaled, size)
    return null
  }
}

/** The unscaled integer of a decimal text at `scale`; zeros beyond the scale are fine. */
function parseDecimal(text: string, scale: number): bigint | 'syntax' | 'scale' {
  const match = text.length > 64 ? null : /^(-?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,2}))?$/.exec(text)
  const digits = match === null ? '' : match[2]! + (match[3] ?? '')
  if (match === null || digits === '') return 'syntax'
  const shift = scale - (match[3] ?? '').length + Number(match[4] ?? 0)
  const integer = BigInt(match[1]! + digits)
  if (shift >= 0) return integer * 10n ** BigInt(shift)
  const divisor = 10n ** BigInt(-shift)
  return integer % divisor === 0n ? integer / divisor : 'scale'
}

function floatWriter(field: FlatField, wrong: Wrong): ValueWriter {
  const single = field.avro === 'float'
  return (value, writer) => {
    if (value === 'NaN' || value === 'Infinity' || value === '-Infinity') {
      return { code: 'NOT_FINITE', field: field.name, reason: `${value} is not a finite number` }
    }
    if (typeof value !== 'number') return wrong(value, 'a number')
    if (!Number.isFinite(value) || (single && !Number.isFinite(Math.fround(value)))) {
      return { code: 'NOT_FINITE', field: field.name, reason: `${value} is not a finite ${field.avro}` }
    }
    if (single) writer.float(value)
    else writer.double(value)
    return null
  }
}

function enumWriter(field: FlatField, wrong: Wrong): ValueWriter {
  const places = new Map(field.symbols.map((symbol, index) => [symbol, index]))
  const listed = field.symbols.slice(0, 20).join(', ') + (field.symbols.length > 20 ? ', …' : '')
  return (value, writer) => {
    if (typeof value !== 'string') return wrong(value, 'a symbol')
    const index = places.get(value)
    if (index === undefined)
      return { code: 'BAD_ENUM', field: field.name, reason: `${describe(value)} is none of ${listed}` }
    writer.long(index)
    return null
  }
}

function textWriter(field: FlatField, isInstant: boolean, wrong: Wrong): ValueWriter {
  return (value, writer) => {
    if (typeof value !== 'string') return wrong(value, isInstant ? 'an ISO 8601 instant with an offset' : 'a text')
    if (isInstant && parseIsoInstant(value) === null) return formatProblem(field.name, value)
    return writer.text(value) ? null : wrong(value, 'well-formed Unicode')
  }
}

/** Avro's JSON form of bytes: a text whose code points 0 to 255 are the bytes. */
function bytesWriter(field: FlatField, wrong: Wrong): ValueWriter {
  return (value, writer) => {
    if (typeof value !== 'string' || /[^\p{ASCII}\u0080-\u00ff]/u.test(value))
      return wrong(value, 'a text of code points 0 to 255, one per byte')
    if (field.size > 0 && value.length !== field.size) return wrong(value, `exactly ${field.size} bytes`)
    writer.latin1(value, field.size > 0)
    return null
  }
}
