/**
 * Flat Avro records: the event schemas that Tidemark computes over. A field is a primitive, an enum, a fixed, or a union
 * of null and one of these, in full or by the name of an enum or fixed above it; logical types decimal (precision ≤ 18), uuid,
 * date, timestamp-*, time-* are known. Nested records,
 * arrays, maps and wider unions are refused by name: flatten them, or keep them in a stream of their own.
 * Zero-byte array items and other decoder bombs cannot occur in a flat record (notes: poison corpus).
 */
import type { ColumnKind, ColumnSpec } from '#core/columns.ts'

/** Avro's spelling of a field's (non-null) type. */
export type AvroPrimitive = 'boolean' | 'int' | 'long' | 'float' | 'double' | 'string' | 'bytes' | 'enum' | 'fixed'

/** One field of a flat record, in wire order. */
export interface FlatField {
  readonly name: string
  readonly aliases: readonly string[]
  readonly avro: AvroPrimitive
  readonly logical: string | null
  /** How the column holds it. `date`, `time-*` and `timestamp-*` are int64 as they are; decimals are unscaled integers. */
  readonly kind: ColumnKind
  readonly nullable: boolean
  /** Index of null and of the value in the union; -1 when the field is no union. A one-branch union is refused. */
  readonly nullIndex: number
  readonly valueIndex: number
  readonly precision: number
  readonly scale: number
  /** Bytes of a fixed; 0 otherwise. */
  readonly size: number
  readonly symbols: readonly string[]
  readonly enumDefault: string | null
  readonly hasDefault: boolean
  /** JSON value of the default, undefined without one. */
  readonly default: unknown
}

/** A parsed flat record. */
export interface FlatSchema {
  readonly name: string
  readonly fields: readonly FlatField[]
}

/** The schema is not one Tidemark can compute over. `path` names the field, `advice` what to do. */
export class SchemaProblem extends Error {
  override readonly name = 'SchemaProblem'
  readonly path: string
  readonly advice: string
  constructor(path: string, message: string, advice: string) {
    super(message)
    this.path = path
    this.advice = advice
  }
}

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/
const PRIMITIVES = new Set<string>(['boolean', 'int', 'long', 'float', 'double', 'string', 'bytes'])
const KINDS: Record<AvroPrimitive, ColumnKind> = {
  boolean: 'bool',
  int: 'int64',
  long: 'int64',
  float: 'float64',
  double: 'float64',
  string: 'string',
  enum: 'string',
  bytes: 'bytes',
  fixed: 'bytes',
}

type Json = Readonly<Record<string, unknown>>
const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)

/**
 * Parses a flat record schema.
 * @throws SchemaProblem naming the field
 */
export function parseFlatSchema(text: string): FlatSchema {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw new SchemaProblem('', `not JSON: ${(error as Error).message}`, 'Write the schema as an Avro record in JSON.')
  }
  if (!isObject(json) || json['type'] !== 'record' || !Array.isArray(json['fields'])) {
    throw new SchemaProblem(
      '',
      'an event schema is an Avro record',
      'Start with {"type": "record", "name": …, "fields": […]}.',
    )
  }
  const name = json['name']
  if (typeof name !== 'string' || !name.split('.').every((part) => NAME.test(part))) {
    throw new SchemaProblem(
      'name',
      `not an Avro name: ${JSON.stringify(name)}`,
      'Use letters, digits and _, not starting with a digit.',
    )
  }
  const types: Types = { namespace: namespaceFor(name, json['namespace'], ''), known: new Map() }
  const fields = json['fields'].map((field) => parseField(field, types))
  const seen = new Set<string>()
  for (const field of fields) {
    if (seen.has(field.name)) throw new SchemaProblem(field.name, 'the field is there twice', 'Rename or remove one.')
    seen.add(field.name)
  }
  return { name, fields }
}

/** Enums and fixed types defined so far, by full name. */
interface Types {
  readonly namespace: string
  readonly known: Map<string, Json>
}

/** A name with dots carries its namespace; else the attribute counts, else the one around it. */
function namespaceFor(name: string, attribute: unknown, around: string): string {
  if (name.includes('.')) return name.slice(0, name.lastIndexOf('.'))
  return typeof attribute === 'string' ? attribute : around
}

const fullName = (name: string, namespace: string): string =>
  name.includes('.') || namespace === '' ? name : `${namespace}.${name}`

/** A type by its name, or the type itself; remembers what it defines. */
function known(type: unknown, { namespace, known: types }: Types): unknown {
  if (typeof type === 'string') return types.get(fullName(type, namespace)) ?? types.get(type) ?? type
  if (isObject(type) && typeof type['name'] === 'string') {
    types.set(fullName(type['name'], namespaceFor(type['name'], type['namespace'], namespace)), type)
  }
  return type
}

function parseField(json: unknown, types: Types): FlatField {
  if (!isObject(json) || typeof json['name'] !== 'string' || !NAME.test(json['name'])) {
    throw new SchemaProblem(
      'fields',
      `not a field: ${JSON.stringify(json)}`,
      'A field has a name (Avro grammar) and a type.',
    )
  }
  const name = json['name']
  const aliases = Array.isArray(json['aliases'])
    ? json['aliases'].filter((a): a is string => typeof a === 'string')
    : []
  const type = json['type']
  const branches: readonly unknown[] = Array.isArray(type) ? type : [type]
  const nullIndex = Array.isArray(type) ? branches.indexOf('null') : -1
  const values = branches.filter((branch) => branch !== 'null')
  if (values.length !== 1 || (Array.isArray(type) && branches.length !== 2)) {
    throw new SchemaProblem(
      name,
      `union ${JSON.stringify(type)} is not supported`,
      'Use a type, or a union of null and one type.',
    )
  }
  const valueIndex = Array.isArray(type) ? branches.indexOf(values[0]) : -1
  const hasDefault = 'default' in json
  return {
    name,
    aliases,
    nullable: nullIndex >= 0,
    nullIndex,
    valueIndex,
    hasDefault,
    default: json['default'],
    ...parseType(name, known(values[0], types)),
  }
}

function parseType(
  name: string,
  type: unknown,
): Pick<FlatField, 'avro' | 'logical' | 'kind' | 'precision' | 'scale' | 'size' | 'symbols' | 'enumDefault'> {
  const base = isObject(type) ? type['type'] : type
  const attributes: Json = isObject(type) ? type : {}
  if (typeof base !== 'string' || !(PRIMITIVES.has(base) || base === 'enum' || base === 'fixed')) {
    throw new SchemaProblem(
      name,
      `type ${JSON.stringify(type)} is not supported`,
      'Flatten nested records, arrays and maps into fields of their own.',
    )
  }
  const avro = base as AvroPrimitive
  const symbols = avro === 'enum' && Array.isArray(attributes['symbols']) ? attributes['symbols'].map(String) : []
  if (avro === 'enum' && (symbols.length === 0 || !symbols.every((s) => NAME.test(s)))) {
    throw new SchemaProblem(name, 'an enum needs symbols that are Avro names', 'List at least one symbol.')
  }
  const size = avro === 'fixed' ? Number(attributes['size']) : 0
  if (avro === 'fixed' && !(Number.isInteger(size) && size > 0))
    throw new SchemaProblem(name, 'a fixed needs a size', 'Give "size" in bytes.')
  const logical = typeof attributes['logicalType'] === 'string' ? attributes['logicalType'] : null
  const enumDefault = typeof attributes['default'] === 'string' ? attributes['default'] : null
  if (logical === 'decimal' && (avro === 'bytes' || avro === 'fixed')) {
    const precision = Number(attributes['precision'])
    const scale = Number(attributes['scale'] ?? 0)
    if (
      !Number.isInteger(precision) ||
      precision < 1 ||
      precision > 18 ||
      !Number.isInteger(scale) ||
      scale < 0 ||
      scale > precision
    ) {
      throw new SchemaProblem(
        name,
        `decimal(${precision}, ${scale}) is not supported`,
        'Use a precision of 1 to 18 and a scale between 0 and it.',
      )
    }
    return { avro, logical, kind: 'decimal', precision, scale, size, symbols, enumDefault }
  }
  return { avro, logical, kind: KINDS[avro], precision: 0, scale: 0, size, symbols, enumDefault }
}

/** The column that holds a field. */
export function columnSpecOf(field: FlatField): ColumnSpec {
  return {
    name: field.name,
    kind: field.kind,
    nullable: field.nullable,
    precision: field.precision,
    scale: field.scale,
  }
}
