/**
 * Avro schemas of any shape as a tree of types: parse and validate (avro-print.ts prints). The registry and the compatibility checker read
 * it; the hot path never does (see avro-schema.ts for the flat records that metrics compute over).
 *
 * Refused by name: what the Avro specification forbids, and decoder bombs: more than `LIMITS.schemaBytes` of text, types
 * nested beyond `LIMITS.schemaDepth`, more than `LIMITS.schemaFields` fields, arrays whose items take no byte.
 * Numbers keep their source text, so a `long` default beyond 2^53 survives parse and print.
 */
import { LIMITS } from '#core/limits.ts'
import { SchemaProblem } from './avro-schema.ts'

/** A JSON object as it was written. */
export type Json = Readonly<Record<string, unknown>>
/** Digits of a valid decimal logical type. */
export interface Decimal {
  readonly precision: number
  readonly scale: number
}
/** Primitive spelling. */
export type PlainKind = 'null' | 'boolean' | 'int' | 'long' | 'float' | 'double' | 'bytes' | 'string'
/** A primitive. `json` holds its attributes (logicalType and others). */
export interface PlainNode {
  readonly kind: PlainKind
  /** null unless a valid decimal on bytes. */
  readonly decimal: Decimal | null
  readonly json: Json
}
/** One field of a record. */
export interface FieldNode {
  readonly name: string
  readonly aliases: readonly string[]
  readonly type: AvroNode
  readonly hasDefault: boolean
  readonly json: Json
}
/** A record (or error); fields are filled while parsing, so that it may contain itself. Names are full names. */
export interface RecordNode {
  readonly kind: 'record'
  readonly name: string
  readonly aliases: readonly string[]
  readonly fields: FieldNode[]
  readonly json: Json
}
/** An enum. `fallback` is its default symbol, or null. */
export interface EnumNode {
  readonly kind: 'enum'
  readonly name: string
  readonly aliases: readonly string[]
  readonly symbols: readonly string[]
  readonly fallback: string | null
  readonly json: Json
}
/** A fixed of `size` bytes. */
export interface FixedNode {
  readonly kind: 'fixed'
  readonly name: string
  readonly aliases: readonly string[]
  readonly size: number
  readonly decimal: Decimal | null
  readonly json: Json
}
/** An array of `items` or a map with values of `items`. */
export interface ListNode {
  readonly kind: 'array' | 'map'
  readonly items: AvroNode
  readonly json: Json
}
/** A union; branches are no unions themselves. */
export interface UnionNode {
  readonly kind: 'union'
  readonly branches: readonly AvroNode[]
}
/** Any Avro type. One definition is one object, however often it is referred to. */
export type AvroNode = PlainNode | RecordNode | EnumNode | FixedNode | ListNode | UnionNode

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/
const PLAIN = new Set<string>(['null', 'boolean', 'int', 'long', 'float', 'double', 'bytes', 'string'])
/** Brackets a schema of the allowed depth needs at most per type (record, fields, field, type), with room for attributes. */
const JSON_DEPTH_MAX = LIMITS.schemaDepth * 4

/** A number that prints as its source: JSON.rawJSON, which the compiler's library does not know yet. */
interface RawJson {
  readonly rawJSON: string
}
const { isRawJSON, rawJSON } = JSON as unknown as {
  readonly isRawJSON: (value: unknown) => value is RawJson
  readonly rawJSON: (text: string) => RawJson
}
const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !isRawJSON(value)

/** Parses JSON; a number whose shortest spelling is not its source keeps the source. */
function parseJson(text: string): unknown {
  if (Buffer.byteLength(text) > LIMITS.schemaBytes) {
    throw new SchemaProblem(
      '',
      `the schema is larger than ${LIMITS.schemaBytes} bytes`,
      'Split it into several subjects.',
    )
  }
  refuseDeepJson(text)
  const keepSource = (_key: string, value: unknown, context: { source?: string }): unknown =>
    typeof value === 'number' && context.source !== undefined && String(value) !== context.source
      ? rawJSON(context.source)
      : value
  try {
    return JSON.parse(text, keepSource as Parameters<typeof JSON.parse>[1])
  } catch (error) {
    throw new SchemaProblem('', `not JSON: ${(error as Error).message}`, 'Write the schema as Avro JSON.')
  }
}

/** One pass over the characters: a recursive reader must not be what finds out. Brackets in strings nest nothing. */
function refuseDeepJson(text: string): void {
  let depth = 0
  let quoted = false
  for (let i = 0; i < text.length; i++) {
    const c = text[i]
    if (quoted) {
      if (c === '\\') i += 1
      else if (c === '"') quoted = false
    } else if (c === '"') quoted = true
    else if (c === '[' || c === '{') {
      if (++depth > JSON_DEPTH_MAX) throw tooDeep('')
    } else if (c === ']' || c === '}') depth -= 1
  }
}

const tooDeep = (path: string): SchemaProblem =>
  new SchemaProblem(path, `types nest deeper than ${LIMITS.schemaDepth}`, 'Flatten the schema.')

interface Scope {
  readonly named: Map<string, RecordNode | EnumNode | FixedNode>
  fields: number
}

/**
 * Parses and validates a schema.
 * @throws SchemaProblem naming the place
 */
export function parseAvro(text: string): AvroNode {
  const json = parseJson(text)
  const node = parseType(json, { path: '', namespace: '', depth: 1 }, { named: new Map(), fields: 0 })
  refuseEmptyItems(node, new Set())
  return node
}

interface Place {
  readonly path: string
  readonly namespace: string
  readonly depth: number
}

const inner = (place: Place, step: string, namespace = place.namespace): Place => ({
  path: `${place.path}/${step}`,
  namespace,
  depth: place.depth + 1,
})

function parseType(json: unknown, place: Place, scope: Scope): AvroNode {
  if (place.depth > LIMITS.schemaDepth) throw tooDeep(place.path)
  if (typeof json === 'string') return PLAIN.has(json) ? plain(json as PlainKind, {}) : reference(json, place, scope)
  if (Array.isArray(json)) return parseUnion(json, place, scope)
  if (!isObject(json)) throw problem(place, `not a type: ${show(json)}`, 'Use a type name, an object or a union.')
  const type = json['type']
  if (typeof type !== 'string') {
    if (type === undefined) throw problem(place, 'no "type"', 'Give the object a "type".')
    return parseType(type, inner(place, 'type'), scope)
  }
  if (PLAIN.has(type)) return plain(type as PlainKind, json)
  switch (type) {
    case 'record':
    case 'error':
      return parseRecord(json, place, scope)
    case 'enum':
      return parseEnum(json, place, scope)
    case 'fixed':
      return parseFixed(json, place, scope)
    case 'array':
      return { kind: type, items: parseType(json['items'], inner(place, 'items'), scope), json }
    case 'map':
      return { kind: type, items: parseType(json['values'], inner(place, 'values'), scope), json }
    default:
      return reference(type, place, scope)
  }
}

const plain = (kind: PlainKind, json: Json): PlainNode => ({
  kind,
  json,
  decimal: kind === 'bytes' ? decimalOf(json, Number.POSITIVE_INFINITY) : null,
})

/** The specification ignores a logical type that is not valid; so does this. `digitsMax` is what the bytes can hold. */
function decimalOf(json: Json, digitsMax: number): Decimal | null {
  if (json['logicalType'] !== 'decimal') return null
  const precision = json['precision']
  const scale = json['scale'] ?? 0
  const valid =
    typeof precision === 'number' &&
    Number.isInteger(precision) &&
    precision >= 1 &&
    precision <= digitsMax &&
    typeof scale === 'number' &&
    Number.isInteger(scale) &&
    scale >= 0 &&
    scale <= precision
  return valid ? { precision, scale } : null
}

function reference(name: string, place: Place, scope: Scope): AvroNode {
  const found = scope.named.get(qualified(name, place.namespace)) ?? scope.named.get(name)
  if (found !== undefined) return found
  throw problem(place, `undefined name: ${show(name)}`, 'Define the type before it is used, or use its full name.')
}

const qualified = (name: string, namespace: string): string =>
  name.includes('.') || namespace === '' ? name : `${namespace}.${name}`
/** What stands before the last dot of a full name; empty without one. */
export const namespaceOf = (name: string): string => name.slice(0, Math.max(0, name.lastIndexOf('.')))
const isFullName = (name: unknown): name is string =>
  typeof name === 'string' && name.split('.').every((part) => NAME.test(part))

/** Full name and aliases of a definition; a name with dots overrules the namespace attribute. */
function namesOf(json: Json, place: Place): { name: string; aliases: string[] } {
  const { name, namespace } = json
  if (!isFullName(name))
    throw problem(place, `not an Avro name: ${show(name)}`, 'Use letters, digits and _, not starting with a digit.')
  if (namespace !== undefined && namespace !== '' && !isFullName(namespace)) {
    throw problem(place, `not an Avro namespace: ${show(namespace)}`, 'Use dot-separated Avro names.')
  }
  const full = qualified(name, typeof namespace === 'string' ? namespace : place.namespace)
  if (PLAIN.has(full)) throw problem(place, `${full} is a primitive type`, 'Choose another name.')
  return { name: full, aliases: aliasesOf(json, place).map((alias) => qualified(alias, namespaceOf(full))) }
}

function aliasesOf(json: Json, place: Place): string[] {
  const aliases = json['aliases'] ?? []
  if (!Array.isArray(aliases) || !aliases.every(isFullName)) {
    throw problem(place, `not a list of Avro names: ${show(aliases)}`, 'Aliases are Avro names.')
  }
  return aliases
}

function define<T extends RecordNode | EnumNode | FixedNode>(node: T, place: Place, scope: Scope): T {
  if (scope.named.has(node.name))
    throw problem(place, `can't redefine: ${node.name}`, 'Define a type once, then use its name.')
  scope.named.set(node.name, node)
  return node
}

function parseRecord(json: Json, place: Place, scope: Scope): RecordNode {
  const names = namesOf(json, place)
  const record = define<RecordNode>({ kind: 'record', ...names, fields: [], json }, place, scope)
  const fields = json['fields']
  if (!Array.isArray(fields)) throw problem(place, `record ${names.name} has no fields`, 'Give "fields" as a list.')
  const seen = new Set<string>()
  for (const [index, field] of fields.entries()) {
    const at = inner({ ...place, path: `${place.path}/fields` }, String(index), namespaceOf(names.name))
    if (!isObject(field) || typeof field['name'] !== 'string' || !NAME.test(field['name'])) {
      throw problem(at, `not a field: ${show(field)}`, 'A field has a name (Avro grammar) and a type.')
    }
    const name = field['name']
    if (seen.has(name)) throw problem(at, `duplicate field ${name} in record ${names.name}`, 'Rename or remove one.')
    seen.add(name)
    if (++scope.fields > LIMITS.schemaFields)
      throw problem(at, `more than ${LIMITS.schemaFields} fields`, 'Split the schema.')
    if (field['order'] !== undefined && !['ascending', 'descending', 'ignore'].includes(field['order'] as string)) {
      throw problem(at, `unknown order ${show(field['order'])}`, 'Use ascending, descending or ignore.')
    }
    const type = parseType(field['type'], { ...at, path: `${at.path}/type` }, scope)
    const hasDefault = Object.hasOwn(field, 'default')
    if (hasDefault && !isDefault(type, field['default'])) {
      throw problem(
        at,
        `invalid default for field ${name}: ${show(field['default'])}`,
        "Give a default of the field's type.",
      )
    }
    record.fields.push({ name, aliases: aliasesOf(field, at), type, hasDefault, json: field })
  }
  return record
}

function parseEnum(json: Json, place: Place, scope: Scope): EnumNode {
  const names = namesOf(json, place)
  const symbols = json['symbols']
  if (!Array.isArray(symbols) || !symbols.every((symbol) => typeof symbol === 'string' && NAME.test(symbol))) {
    throw problem(place, `enum ${names.name} needs symbols that are Avro names`, 'List them in "symbols".')
  }
  if (new Set(symbols).size !== symbols.length)
    throw problem(place, `duplicate enum symbol in ${names.name}`, 'Remove one.')
  const fallback = json['default'] ?? null
  if (fallback !== null && !symbols.includes(fallback)) {
    throw problem(
      place,
      `the enum default ${show(fallback)} is not a symbol of ${names.name}`,
      'Choose one of the symbols.',
    )
  }
  return define<EnumNode>({ kind: 'enum', ...names, symbols, fallback: fallback as string | null, json }, place, scope)
}

function parseFixed(json: Json, place: Place, scope: Scope): FixedNode {
  const names = namesOf(json, place)
  const size = json['size']
  if (typeof size !== 'number' || !Number.isInteger(size) || size < 0 || size > 2 ** 31 - 1) {
    throw problem(place, `invalid fixed size: ${show(size)}`, 'Give "size" in bytes.')
  }
  const digitsMax = Math.floor(Math.log10(2) * (8 * size - 1))
  return define<FixedNode>({ kind: 'fixed', ...names, size, decimal: decimalOf(json, digitsMax), json }, place, scope)
}

function parseUnion(json: readonly unknown[], place: Place, scope: Scope): UnionNode {
  const seen = new Set<string>()
  const branches = json.map((branch, index) => {
    const at = inner(place, String(index))
    const node = parseType(branch, at, scope)
    if (node.kind === 'union') throw problem(at, 'nested union', 'A union may not hold a union directly.')
    const key = 'name' in node ? node.name : node.kind
    if (seen.has(key)) throw problem(at, `duplicate in union: ${key}`, 'A union holds each type once.')
    seen.add(key)
    return node
  })
  return { kind: 'union', branches }
}

const INT_MAX = 2n ** 31n - 1n
const LONG_MAX = 2n ** 63n - 1n

/** Whether `value` is a default of `type`; of a union, any branch may match (specification 1.12). */
function isDefault(type: AvroNode, value: unknown): boolean {
  const number = typeof value === 'number' ? String(value) : isRawJSON(value) ? value.rawJSON : null
  switch (type.kind) {
    case 'null':
      return value === null
    case 'boolean':
      return typeof value === 'boolean'
    case 'int':
    case 'long': {
      if (number === null || !/^-?\d+$/.test(number)) return false
      const max = type.kind === 'int' ? INT_MAX : LONG_MAX
      const exact = BigInt(number)
      return exact <= max && exact >= -max - 1n
    }
    case 'float':
    case 'double':
      return number !== null && Number.isFinite(Number(number))
    case 'string':
      return typeof value === 'string'
    case 'bytes':
      return isLatin1(value)
    case 'fixed':
      return isLatin1(value) && value.length === type.size
    case 'enum':
      return type.symbols.includes(value as string)
    case 'array':
      return Array.isArray(value) && value.every((item) => isDefault(type.items, item))
    case 'map':
      return isObject(value) && Object.values(value).every((item) => isDefault(type.items, item))
    case 'union':
      return type.branches.some((branch) => isDefault(branch, value))
    case 'record':
      return (
        isObject(value) &&
        type.fields.every((field) =>
          Object.hasOwn(value, field.name) ? isDefault(field.type, value[field.name]) : field.hasDefault,
        )
      )
  }
}

/** Bytes are written one code point per byte. */
function isLatin1(value: unknown): value is string {
  if (typeof value !== 'string') return false
  for (let i = 0; i < value.length; i++) if (value.charCodeAt(i) > 255) return false
  return true
}

/** An array of zero-byte items makes millions of values out of five bytes. Map entries have keys and cannot. */
function refuseEmptyItems(node: AvroNode, seen: Set<AvroNode>): void {
  if (seen.has(node)) return
  seen.add(node)
  switch (node.kind) {
    case 'array':
    case 'map':
      if (node.kind === 'array' && takesNoByte(node.items, new Set())) {
        throw new SchemaProblem('', 'array items take no byte', 'Use a type that takes at least one byte, or a count.')
      }
      refuseEmptyItems(node.items, seen)
      break
    case 'union':
      for (const branch of node.branches) refuseEmptyItems(branch, seen)
      break
    case 'record':
      for (const field of node.fields) refuseEmptyItems(field.type, seen)
      break
    default:
      break
  }
}

function takesNoByte(node: AvroNode, above: Set<AvroNode>): boolean {
  if (node.kind === 'null') return true
  if (node.kind === 'fixed') return node.size === 0
  if (node.kind !== 'record' || above.has(node)) return node.kind === 'record'
  above.add(node)
  return node.fields.every((field) => takesNoByte(field.type, above))
}

const problem = (place: Place, message: string, advice: string): SchemaProblem => {
  const at = place.path === '' ? '/' : place.path
  return new SchemaProblem(at, `${message} (at ${at})`, advice)
}
const show = (value: unknown): string => (JSON.stringify(value) ?? 'nothing').slice(0, 200)
