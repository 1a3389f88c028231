/**
 * Writer schema → reader schema for flat records, by the Avro specification ("Schema Resolution"): fields by name, then by
 * reader alias; reader defaults for missing fields; promotions int → long → float → double and string ↔ bytes; enum symbols
 * with the reader's default. What cannot be resolved for EVERY datum is refused as a whole, as the registry's compatibility
 * check does: a null branch that the reader lacks, an enum symbol it does not know.
 *
 * Stricter than the specification, on purpose, where another value would be read (avro-logical.ts: decimals must agree in scale,
 * units of time must not be mixed); the registry's check refuses the same. Names of records, enums and fixed types are not
 * compared: a subject holds one record, and flat schemas keep no type names.
 */
import { SAFE_MAX } from '#core/columns.ts'
import { fitsPrecision, readDecimal } from './avro-faults.ts'
import { type LogicalView, logicalMismatch } from './avro-logical.ts'
import type { AvroPrimitive, FlatField, FlatSchema } from './avro-schema.ts'

/** The writer's schema cannot be read as the reader's. `path` names the field. Its records are dead: `incompatible-schema`. */
export class SchemaMismatch extends Error {
  override readonly name = 'SchemaMismatch'
  readonly path: string
  constructor(path: string, message: string) {
    super(path === '' ? message : `field ${path}: ${message}`)
    this.path = path
  }
}

/** A reader default: null, a safe integer or double (bool as 0 or 1), or bytes. */
export type Constant = null | number | Uint8Array

/** Where a reader field's values come from. */
export interface Source {
  /** Index of the writer's field in wire order; -1 = the reader's default. */
  readonly field: number
  /** The default when `field` is -1; else null. */
  readonly constant: Constant
  /** Per writer symbol the reader's symbol; null unless it is an enum of the writer. */
  readonly symbols: readonly string[] | null
  /** The reader's type is float: values are rounded to single precision. */
  readonly single: boolean
}

/** A resolution: one source per reader field, and per writer field whether its bytes must be UTF-8. */
export interface Resolution {
  readonly writer: FlatSchema
  readonly reader: FlatSchema
  readonly sources: readonly Source[]
  readonly text: readonly boolean[]
}

const PROMOTIONS: Record<AvroPrimitive, readonly AvroPrimitive[]> = {
  boolean: [],
  int: ['long', 'float', 'double'],
  long: ['float', 'double'],
  float: ['double'],
  double: [],
  string: ['bytes'],
  bytes: ['string'],
  enum: [],
  fixed: [],
}

/** @throws SchemaMismatch naming the first field that cannot be read */
export function resolve(writer: FlatSchema, reader: FlatSchema): Resolution {
  const text = writer.fields.map((field) => field.avro === 'string')
  const sources = reader.fields.map((field): Source => {
    const at = indexOf(writer, field)
    if (at < 0) {
      if (!field.hasDefault)
        throw new SchemaMismatch(field.name, 'the writer does not have it and the reader has no default')
      return { field: -1, constant: constantOf(field), symbols: null, single: false }
    }
    const from = writer.fields[at]!
    match(from, field)
    if (field.avro === 'string') text[at] = true
    return {
      field: at,
      constant: null,
      symbols: field.avro === 'enum' ? symbolsOf(from, field) : null,
      single: field.avro === 'float',
    }
  })
  return { writer, reader, sources, text }
}

/** The written field that has the name or an alias of a reader's field; -1 without one. */
function indexOf(writer: FlatSchema, field: FlatField): number {
  const names = new Set([field.name, ...field.aliases])
  const written = writer.fields.filter(({ name }) => names.has(name)).map(({ name }) => name)
  if (written.length > 1)
    throw new SchemaMismatch(field.name, `it is several fields of the writer: ${written.join(', ')}`)
  return writer.fields.findIndex(({ name }) => name === written[0])
}

function match(from: FlatField, into: FlatField): void {
  const fail = (message: string): never => {
    throw new SchemaMismatch(into.name, message)
  }
  if (from.nullable && !into.nullable) fail('the writer may write null and the reader has no null branch')
  if (from.avro !== into.avro && !PROMOTIONS[from.avro].includes(into.avro))
    fail(`${from.avro} cannot be read as ${into.avro}`)
  if (from.avro === 'fixed' && from.size !== into.size)
    fail(`fixed of ${from.size} bytes cannot be read as ${into.size}`)
  const mismatch = logicalMismatch(viewOf(into), viewOf(from))
  if (mismatch !== null) fail(`${mismatch.writer} cannot be read as ${mismatch.reader}`)
}

const viewOf = (field: FlatField): LogicalView => ({
  avro: field.avro,
  logical: field.logical,
  decimal: field.kind === 'decimal' ? { precision: field.precision, scale: field.scale } : null,
})

function symbolsOf(from: FlatField, into: FlatField): string[] {
  return from.symbols.map((symbol) => {
    if (into.symbols.includes(symbol)) return symbol
    if (into.enumDefault !== null && into.symbols.includes(into.enumDefault)) return into.enumDefault
    throw new SchemaMismatch(into.name, `the reader has no symbol ${symbol} and no default`)
  })
}

/** The JSON default as a value; bytes and fixed are written as code points 0 to 255. */
function constantOf(field: FlatField): Constant {
  const json = field.default
  const fail = (): never => {
    throw new SchemaMismatch(
      field.name,
      `the default ${JSON.stringify(json)} is not a ${field.kind} that can be read exactly`,
    )
  }
  if (json === null) return field.nullable ? null : fail()
  switch (field.avro) {
    case 'boolean':
      return typeof json === 'boolean' ? Number(json) : fail()
    case 'int':
    case 'long':
      return typeof json === 'number' && Number.isInteger(json) && Math.abs(json) <= SAFE_MAX ? json : fail()
    case 'float':
    case 'double':
      if (typeof json !== 'number') return fail()
      return field.avro === 'float' ? Math.fround(json) : json
    case 'string':
      return typeof json === 'string' ? new TextEncoder().encode(json) : fail()
    case 'enum':
      return typeof json === 'string' && field.symbols.includes(json) ? new TextEncoder().encode(json) : fail()
    case 'bytes':
    case 'fixed': {
      if (typeof json !== 'string') return fail()
      const bytes = Buffer.from(json, 'latin1')
      if (bytes.toString('latin1') !== json) return fail()
      if (field.avro === 'fixed' && bytes.length !== field.size) return fail()
      if (field.kind !== 'decimal') return Uint8Array.from(bytes)
      const unscaled = readDecimal(bytes, 0, bytes.length)
      if (unscaled === null || !fitsPrecision(unscaled, field.precision)) return fail()
      return Math.abs(Number(unscaled)) <= SAFE_MAX ? Number(unscaled) : fail()
    }
  }
}
