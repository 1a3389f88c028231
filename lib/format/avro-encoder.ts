/**
 * The generated encoder: a parsed JSON event, checked field by field, straight into a Confluent frame with an Avro body.
 * One function is generated per schema (named property loads, plain cases inline); anything that is not plain goes
 * through avro-json.ts. No object per event but the problem of a bad one.
 *
 *   frame   0x00 · schema id int32 big-endian · Avro body          Source: Confluent wire format
 *
 * Guarantees: for an event it takes, the body is what any Avro implementation would write; an event it refuses leaves no trace. It is
 * stricter than avsc where a later reader would have to give up: NaN, lone surrogates, numbers that lost digits, unknown fields.
 */
import { LIMITS } from '#core/limits.ts'
import {
  describe,
  type ItemProblem,
  plainEventTimes,
  type TimeUnit,
  type ValueWriter,
  valueWriter,
} from './avro-json.ts'
import { type FlatField, type FlatSchema, parseFlatSchema, SchemaProblem } from './avro-schema.ts'
import { AvroWriter } from './avro-writer.ts'
import { FRAME_BYTES, writeFrame } from './confluent.ts'

export type { ItemCode, ItemProblem } from './avro-json.ts'

/** Encodes events of one schema. Holds one buffer: one encoder per thread, one event at a time. */
export interface EventEncoder {
  readonly schemaId: number
  readonly schema: FlatSchema
  /**
   * Encodes an event (a parsed JSON value) into `bytes[0, length)`; both hold until the next call. Returns the first
   * problem in field order, or null. Never throws.
   */
  encode(event: unknown): ItemProblem | null
  readonly bytes: Uint8Array
  readonly length: number
}

/** The generated function: the writer stands behind the frame when it is called. */
type Generated = (event: Readonly<Record<string, unknown>>) => ItemProblem | null

/** What the generated function reaches. */
interface Runtime {
  readonly writer: AvroWriter
  readonly slow: readonly ValueWriter[]
  readonly defaults: readonly (Uint8Array | null)[]
  missing(field: number): ItemProblem
  unknown(event: object): ItemProblem | null
}

/**
 * Compiles an encoder.
 * @param options.eventTime the stream's event time: its range, unit and format are checked, and null is refused
 * @throws SchemaProblem when the schema is no flat record or a default does not fit its field
 */
export function compileEncoder(
  schemaText: string,
  schemaId: number,
  options: { readonly eventTime?: { readonly field: string; readonly unit: TimeUnit | 'iso' } } = {},
): EventEncoder {
  const schema = parseFlatSchema(schemaText)
  const { fields } = schema
  const unitOf = (field: FlatField) => (options.eventTime?.field === field.name ? options.eventTime.unit : null)
  // A null event time is no event time, so a default of null does not help there.
  const defaults = fields.map((field) =>
    unitOf(field) !== null && field.default === null ? null : defaultBytes(field),
  )
  // Per field: union index, then at most ten bytes, a fixed, or a decimal of at most eight bytes and its length.
  const slack = fields.reduce((sum, field, i) => sum + 11 + field.size + (defaults[i]?.length ?? 0), FRAME_BYTES)
  const writer = new AvroWriter(slack)
  const names = new Set(fields.map((field) => field.name))
  const runtime: Runtime = {
    writer,
    slow: fields.map((field) => valueWriter(field, unitOf(field))),
    defaults,
    missing: (field) => missingField(fields[field]!),
    unknown: (event) => unknownField(event, names),
  }
  const generated = generate(fields, unitOf, runtime)
  let length = 0
  return {
    schemaId,
    schema,
    encode(event) {
      if (typeof event !== 'object' || event === null || Array.isArray(event)) {
        return { code: 'WRONG_TYPE', field: null, reason: `an event is a JSON object, got ${describe(event)}` }
      }
      writer.at = FRAME_BYTES
      writer.reserve(0)
      const problem = generated(event as Record<string, unknown>)
      if (problem !== null) return problem
      if (writer.at > LIMITS.recordBytes) {
        return {
          code: 'RECORD_TOO_LARGE',
          field: null,
          reason: `${writer.at} bytes encoded; a record holds at most ${LIMITS.recordBytes}`,
        }
      }
      length = writer.at
      writeFrame(writer.bytes, 0, schemaId)
      return null
    },
    get bytes() {
      return writer.bytes
    },
    get length() {
      return length
    },
  }
}

/** Default values are given in Avro's JSON form, so decimals and bytes are texts of code points. Null = no default. */
function defaultBytes(field: FlatField): Uint8Array | null {
  if (!field.hasDefault) return null
  const writer = new AvroWriter(16 + field.size)
  writer.reserve(0)
  const value = field.default
  let problem: ItemProblem | null = null
  if (value === null && field.nullable) writer.long(field.nullIndex)
  else {
    if (field.nullable) writer.long(field.valueIndex)
    const plain: FlatField = field.kind === 'decimal' ? { ...field, kind: 'bytes' } : field
    problem = value === null ? missingField(field) : valueWriter(plain, null)(value, writer)
  }
  if (problem !== null)
    throw new SchemaProblem(field.name, `the default does not fit: ${problem.reason}`, 'Give a default of the type.')
  return Uint8Array.from(writer.bytes.subarray(0, writer.at))
}

function missingField(field: FlatField): ItemProblem {
  const type = field.logical ?? field.avro
  const reason = field.nullable ? `${type} is missing; send null for no value` : `${type} is missing or null`
  return { code: 'MISSING_FIELD', field: field.name, reason }
}

function unknownField(event: object, names: ReadonlySet<string>): ItemProblem | null {
  const name = Object.keys(event).find((each) => !names.has(each))
  if (name === undefined) return null
  return { code: 'UNKNOWN_FIELD', field: name.slice(0, 200), reason: 'the schema has no such field' }
}

/**
 * Source of the generated function. Field names follow the Avro grammar (checked by parseFlatSchema), so they are safe as
 * property names; one that every object inherits (`constructor`) is asked for as an own property.
 */
function generate(
  fields: readonly FlatField[],
  unitOf: (field: FlatField) => TimeUnit | 'iso' | null,
  runtime: Runtime,
): Generated {
  const lines = ['let v, p, n = 0']
  for (const [i, field] of fields.entries()) {
    const name = JSON.stringify(field.name)
    const load =
      field.name in Object.prototype ? `Object.hasOwn(e, ${name}) ? e[${name}] : undefined` : `e.${field.name}`
    const isEventTime = unitOf(field) !== null
    const value = `${field.nullable ? `w.byte(${field.valueIndex * 2});` : ''} ${writeOf(field, i, unitOf(field))}`
    lines.push(`v = ${load}`)
    lines.push(
      `if (v === undefined) { ${runtime.defaults[i] === null ? `return missing(${i})` : `w.raw(defaults[${i}])`} }`,
    )
    if (field.nullable && !isEventTime) lines.push(`else if (v === null) { n++; w.byte(${field.nullIndex * 2}) }`)
    else lines.push(`else if (v === null) return missing(${i})`)
    lines.push(`else { n++; ${value} }`)
  }
  lines.push('return n === Object.keys(e).length ? null : unknown(e)')
  const body = `const { writer: w, slow, defaults, missing, unknown } = runtime; return function encode(e) {\n${lines.join('\n')}\n}`
  // oxlint-disable-next-line typescript/no-implied-eval
  return new Function('runtime', body)(runtime) as Generated
}

/** The plain case inline, the rest by the field's full rule. */
function writeOf(field: FlatField, index: number, unit: TimeUnit | 'iso' | null): string {
  const slow = `if ((p = slow[${index}](v, w)) !== null) return p`
  if (field.kind === 'int64') {
    let plain = 'Number.isSafeInteger(v)'
    if (field.avro === 'int') plain += ' && v >= -2147483648 && v <= 2147483647'
    if (unit !== null && unit !== 'iso') {
      const { from, until } = plainEventTimes(unit)
      plain += ` && v >= ${from} && v < ${until}`
    }
    return `if (${plain}) w.long(v); else ${slow}`
  }
  if (field.kind === 'string' && field.avro !== 'enum' && unit === null)
    return `if (typeof v !== 'string' || !w.text(v)) ${slow}`
  if (field.avro === 'double') return `if (typeof v === 'number' && v - v === 0) w.double(v); else ${slow}`
  return slow
}
