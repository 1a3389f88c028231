/**
 * Avro schemas of any shape as a tree of types: parse and validate (avro-print.ts prints). The registry and the
 * compatibility checker read it; the hot path never does (see avro-schema.ts for the flat records that metrics compute over).
 *
 * Refused by name: what the Avro specification forbids (names, defaults: avro-defaults.ts), what exceeds `LIMITS.schema*`,
 * and decoder bombs (avro-bombs.ts). Numbers keep their source text, so a `long` default beyond 2^53 survives parse and print.
 */
import { LIMITS } from '#core/limits.ts'
import { refuseBombs } from './avro-bombs.ts'
import { checkDefaults, type PlacedField } from './avro-defaults.ts'
import type {
  AvroNode,
  Decimal,
  EnumNode,
  FixedNode,
  NamedNode,
  PlainKind,
  PlainNode,
  RecordNode,
  UnionNode,
} from './avro-node.ts'
import { printAvro } from './avro-print.ts'
import { SchemaProblem } from './avro-schema.ts'
import { isObject, type Json, namespaceOf, readJson, show } from './avro-text.ts'

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/
const PLAIN = new Set<string>(['null', 'boolean', 'int', 'long', 'float', 'double', 'bytes', 'string'])
const tooDeep = (path: string): SchemaProblem =>
  new SchemaProblem(path, `types nest deeper than ${LIMITS.schemaDepth}`, 'Flatten the schema.')

interface Scope {
  readonly named: Map<string, NamedNode>
  /** Names that earlier texts defined: a text may repeat such a definition word for word. */
  readonly earlier: Set<string>
  /** Fields whose defaults are checked when every type is complete. */
  readonly defaults: PlacedField[]
  /** True while a referenced schema is read. */
  referenced: boolean
  fields: number
}

/**
 * Parses and validates a schema. `references` are the texts of the schemas it refers to, in order of their dependencies:
 * every type that they define is known by its full name.
 * @throws SchemaProblem naming the place
 */
export function parseAvro(text: string, references: readonly string[] = []): AvroNode {
  const scope: Scope = { named: new Map(), earlier: new Set(), defaults: [], referenced: true, fields: 0 }
  for (const [index, reference] of references.entries()) {
    try {
      parseText(reference, scope)
    } catch (error) {
      if (!(error instanceof SchemaProblem)) throw error
      throw new SchemaProblem(error.path, `in referenced schema ${index + 1}: ${error.message}`, error.advice)
    }
    for (const name of scope.named.keys()) scope.earlier.add(name)
  }
  scope.referenced = false
  const node = parseText(text, scope)
  refuseBombs(node)
  return node
}

function parseText(text: string, scope: Scope): AvroNode {
  const node = parseType(readJson(text), { path: '', namespace: '', depth: 1 }, scope)
  refuseSharedTypeAliases(scope.named)
  checkDefaults(scope.defaults.splice(0))
  return node
}

/** Aliases are unique as names are: one that is another type's name too would leave it open which of them is read. */
function refuseSharedTypeAliases(named: ReadonlyMap<string, NamedNode>): void {
  const owners = new Map([...named.keys()].map((name) => [name, name]))
  for (const { name, aliases } of named.values()) {
    for (const alias of aliases) {
      const owner = owners.get(alias) ?? name
      if (owner !== name) {
        throw new SchemaProblem('', `the alias ${show(alias)} of ${name} is ${owner}'s too`, 'Keep it at one type.')
      }
      owners.set(alias, name)
    }
  }
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
    const advice =
      'Give the object a "type" that is a name; a union or another object stands in its place, not in its type.'
    throw problem(place, 'no "type"', advice)
  }
  if (PLAIN.has(type)) return plain(type as PlainKind, json)
  switch (type) {
    case 'record':
    case 'error':
      return definition(parseRecord, json, place, scope)
    case 'enum':
      return definition(parseEnum, json, place, scope)
    case 'fixed':
      return definition(parseFixed, json, place, scope)
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
const isName = (name: unknown): name is string =>
  typeof name === 'string' && name.length <= LIMITS.schemaNameChars && NAME.test(name)
const isFullName = (name: unknown): name is string =>
  typeof name === 'string' && name.length <= LIMITS.schemaNameChars && name.split('.').every((part) => NAME.test(part))

/** Full name and aliases of a definition; a name with dots overrules the namespace attribute. */
function namesOf(json: Json, place: Place): { name: string; aliases: string[] } {
  const { name, namespace } = json
  if (!isFullName(name))
    throw problem(place, `not an Avro name: ${show(name)}`, 'Use letters, digits and _, not starting with a digit.')
  if (namespace !== undefined && namespace !== null && namespace !== '' && !isFullName(namespace)) {
    throw problem(place, `not an Avro namespace: ${show(namespace)}`, 'Use dot-separated Avro names.')
  }
  const full = qualified(name, typeof namespace === 'string' ? namespace : place.namespace)
  if (PLAIN.has(full.slice(full.lastIndexOf('.') + 1))) {
    throw problem(place, `${full} is a primitive type`, 'Choose a name that is no primitive type, in any namespace.')
  }
  const aliases = aliasesOf(json, place).map((alias) => qualified(alias, namespaceOf(full)))
  return { name: full, aliases: [...new Set(aliases)] }
}

const isAlias = (alias: unknown): alias is string =>
  typeof alias === 'string' && alias !== '' && alias.length <= LIMITS.schemaNameChars

function aliasesOf(json: Json, place: Place): string[] {
  const aliases = json['aliases'] ?? []
  // Any string: an alias may be the illegal name that an older version had.
  if (!Array.isArray(aliases) || !aliases.every(isAlias)) {
    throw problem(place, `not a list of aliases: ${show(aliases)}`, 'List them as strings.')
  }
  return [...new Set(aliases)]
}

/**
 * A definition. What an earlier text defined may be repeated if nothing differs, as two referenced schemas may both hold
 * a third one; the first definition stands.
 */
function definition<T extends NamedNode>(
  parse: (json: Json, place: Place, scope: Scope) => T,
  json: Json,
  place: Place,
  scope: Scope,
): NamedNode {
  const { name } = namesOf(json, place)
  const known = scope.named.get(name)
  if (known === undefined || !scope.earlier.has(name)) return parse(json, place, scope)
  scope.named.delete(name)
  const again = parse(json, place, scope)
  if (printAvro(known, { resolved: true }) !== printAvro(again, { resolved: true })) throw redefined(name, place)
  scope.named.set(name, known)
  return known
}

const redefined = (name: string, place: Place): SchemaProblem =>
  problem(place, `can't redefine: ${name}`, 'Define a type once, then use its name.')

function define<T extends NamedNode>(node: T, place: Place, scope: Scope): T {
  if (scope.named.has(node.name)) throw redefined(node.name, place)
  scope.named.set(node.name, node)
  return node
}

function parseRecord(json: Json, place: Place, scope: Scope): RecordNode {
  const names = namesOf(json, place)
  const { referenced } = scope
  const record = define<RecordNode>({ kind: 'record', ...names, fields: [], referenced, json }, place, scope)
  const fields = json['fields']
  if (!Array.isArray(fields)) throw problem(place, `record ${names.name} has no fields`, 'Give "fields" as a list.')
  const seen = new Set<string>()
  for (const [index, field] of fields.entries()) {
    const at = inner({ ...place, path: `${place.path}/fields` }, String(index), namespaceOf(names.name))
    if (!isObject(field) || !isName(field['name'])) {
      throw problem(at, `not a field: ${show(field)}`, 'A field has a name (Avro grammar) and a type.')
    }
    const name = field['name']
    if (seen.has(name)) throw problem(at, `duplicate field ${name} in record ${names.name}`, 'Rename or remove one.')
    seen.add(name)
    if (++scope.fields > LIMITS.schemaFields)
      throw problem(at, `more than ${LIMITS.schemaFields} fields`, 'Split the schema.')
    const { order = 'ascending' } = field
    if (typeof order !== 'string' || !/^(ascending|descending|ignore)$/i.test(order)) {
      throw problem(at, `unknown order ${show(order)}`, 'Use ascending, descending or ignore.')
    }
    const type = parseType(field['type'], { ...at, path: `${at.path}/type` }, scope)
    const node = { name, aliases: aliasesOf(field, at), type, hasDefault: Object.hasOwn(field, 'default'), json: field }
    record.fields.push(node)
    if (node.hasDefault) scope.defaults.push({ field: node, path: at.path })
  }
  refuseSharedAliases(record, place)
  return record
}

/** An alias that two fields claim, or that another field is named, would leave it open which of them takes the value. */
function refuseSharedAliases(record: RecordNode, place: Place): void {
  const owners = new Map(record.fields.map(({ name }) => [name, name]))
  for (const [index, { name, aliases }] of record.fields.entries()) {
    for (const alias of aliases) {
      const owner = owners.get(alias)
      if (owner !== undefined && owner !== name) {
        const at = { ...place, path: `${place.path}/fields/${index}/aliases` }
        throw problem(at, `the alias ${alias} of field ${name} is field ${owner}'s too`, 'Keep it at one field.')
      }
      owners.set(alias, name)
    }
  }
}

function parseEnum(json: Json, place: Place, scope: Scope): EnumNode {
  const names = namesOf(json, place)
  const symbols = json['symbols']
  if (!Array.isArray(symbols) || !symbols.every(isName)) {
    throw problem(place, `enum ${names.name} needs symbols that are Avro names`, 'List them in "symbols".')
  }
  if (symbols.length > LIMITS.schemaSymbols)
    throw problem(place, `more than ${LIMITS.schemaSymbols} symbols`, 'Use a string for what has no fixed list.')
  if (new Set(symbols).size !== symbols.length)
    throw problem(place, `duplicate enum symbol in ${names.name}`, 'Remove one.')
  const fallback = json['default'] ?? null
  if (fallback !== null && !symbols.includes(fallback as string)) {
    throw problem(
      place,
      `the enum default ${show(fallback)} is not a symbol of ${names.name}`,
      'Choose one of the symbols.',
    )
  }
  const { referenced } = scope
  const node = { kind: 'enum', ...names, symbols, fallback: fallback as string | null, referenced, json } as const
  return define<EnumNode>(node, place, scope)
}

function parseFixed(json: Json, place: Place, scope: Scope): FixedNode {
  const names = namesOf(json, place)
  const size = json['size']
  if (typeof size !== 'number' || !Number.isInteger(size) || size < 0) {
    throw problem(place, `invalid fixed size: ${show(size)}`, 'Give "size" in bytes.')
  }
  if (size > LIMITS.schemaFixedBytes) {
    const message = `a fixed of ${size} bytes is larger than ${LIMITS.schemaFixedBytes} bytes`
    throw problem(place, message, 'Use bytes, which take what a value needs.')
  }
  const digitsMax = Math.floor(Math.log10(2) * (8 * size - 1))
  const { referenced } = scope
  const node = { kind: 'fixed', ...names, size, decimal: decimalOf(json, digitsMax), referenced, json } as const
  return define<FixedNode>(node, place, scope)
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

const problem = (place: Place, message: string, advice: string): SchemaProblem => {
  const at = place.path === '' ? '/' : place.path
  return new SchemaProblem(at, `${message} (at ${at})`, advice)
}
