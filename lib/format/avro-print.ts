/**
 * Prints Avro schemas as the JVM's Avro library does, character by character: that text is what Confluent's registry
 * stores, answers and takes the identity of a schema from. Two texts of one schema print alike but for the order of
 * attributes that Avro does not know; the normalised form orders those too.
 * Source: the printer of org.apache.avro.Schema 1.12; Confluent's AvroSchemaUtils.toNormalizedString.
 */
import { isDefault, type Known } from './avro-defaults.ts'
import { logicalOf } from './avro-logical.ts'
import type { AvroNode, FieldNode, NamedNode, PlainNode } from './avro-node.ts'
import { type Json, namespaceOf, numberSource, printDouble, printFloat, printJson, printObject } from './avro-text.ts'

/** How a schema is printed; nothing asked for: as it is stored. */
export interface PrintOptions {
  /** Types of referenced schemas in full at their first use instead of their names; `format=resolved` of the registry. */
  readonly resolved?: boolean
  /** Aliases, other attributes and defaults in one order and one spelling; `normalize=true` of the registry. */
  readonly normalized?: boolean
}

/** The schema's text: attributes in one order, no white space, names as short as they can be. */
export function printAvro(node: AvroNode, options: PrintOptions = {}): string {
  return print(node, '', { ...options, defined: new Set() })
}

/** `printAvro` of the normalised schema: what `normalize=true` registers and looks up. */
export function normalizeAvro(node: AvroNode): string {
  return printAvro(node, { normalized: true })
}

interface Printer extends PrintOptions {
  readonly defined: Set<string>
}
type Attributes = (readonly [string, string])[]

/** Attributes that Avro knows, of a type, an enum, a field: printed where they mean something, dropped elsewhere. */
const OF_TYPE = new Set('doc fields items name namespace size symbols values type aliases'.split(' '))
const OF_ENUM = new Set([...OF_TYPE, 'default'])
const OF_FIELD = new Set('default doc name order type aliases'.split(' '))
/** Attributes of a logical type, which the normalised form puts first. */
const LOGICAL = ['logicalType', 'precision', 'scale']

function print(node: AvroNode, namespace: string, printer: Printer): string {
  switch (node.kind) {
    case 'union':
      return `[${node.branches.map((branch) => print(branch, namespace, printer)).join(',')}]`
    case 'array':
    case 'map': {
      const items = [node.kind === 'array' ? 'items' : 'values', print(node.items, namespace, printer)] as const
      return printObject([['type', `"${node.kind}"`], items, ...others(node.json, OF_TYPE, printer)])
    }
    case 'record':
    case 'enum':
    case 'fixed':
      return printNamed(node, namespace, printer)
    default: {
      const rest = printer.normalized === true ? normalizedPlain(node) : others(node.json, OF_TYPE, printer)
      return rest.length === 0 ? `"${node.kind}"` : printObject([['type', `"${node.kind}"`], ...rest])
    }
  }
}

/** Attributes that Avro does not know: as they stand, or by name. */
function others(json: Json, reserved: ReadonlySet<string>, { normalized = false }: PrintOptions): Attributes {
  const keys = Object.keys(json).filter((key) => !reserved.has(key))
  return (normalized ? keys.toSorted() : keys).map((key) => [key, printJson(json[key], normalized)])
}

/** A valid logical type comes first, its scale only when it is not zero. */
function normalizedPlain(node: PlainNode): Attributes {
  return logicalFirst(node.json, logicalOf(node) === null ? [] : LOGICAL)
}

function logicalFirst(json: Json, logical: readonly string[]): Attributes {
  const decimal = json['logicalType'] === 'decimal'
  const first = logical.filter(
    (key) => key === 'logicalType' || (decimal && key in json && (key !== 'scale' || json[key] !== 0)),
  )
  const rest = others(json, OF_TYPE, { normalized: true }).filter(([key]) => !first.includes(key))
  return [...first.map((key) => [key, printJson(json[key])] as const), ...rest]
}

/** Names that a type's short name could be taken for. */
const TYPE_NAMES = new Set(
  'record enum array map union fixed string bytes int long float double boolean null'.split(' '),
)

/** A name as short as it can be inside `namespace`. */
function shortest(name: string, namespace: string): string {
  const own = namespaceOf(name)
  const short = own === '' ? name : name.slice(own.length + 1)
  return own === namespace && !TYPE_NAMES.has(short) ? short : name
}

function printNamed(node: NamedNode, namespace: string, printer: Printer): string {
  const { name, json } = node
  const { normalized = false } = printer
  if (printer.defined.has(name) || (node.referenced && printer.resolved !== true)) {
    return `"${shortest(name, namespace)}"`
  }
  printer.defined.add(name)
  const own = namespaceOf(name)
  const doc = json['doc']
  const attributes: Attributes = [
    // The normalised form knows no errors.
    ['type', `"${json['type'] === 'error' && !normalized ? 'error' : node.kind}"`],
    ['name', `"${own === '' ? name : name.slice(own.length + 1)}"`],
  ]
  if (own !== namespace) attributes.push(['namespace', `"${own}"`])
  if (typeof doc === 'string' && !(normalized && doc === '')) attributes.push(['doc', printJson(doc)])
  if (node.kind === 'enum') {
    attributes.push(['symbols', printJson(node.symbols)])
    if (node.fallback !== null) attributes.push(['default', printJson(node.fallback)])
    attributes.push(...others(json, OF_ENUM, printer))
  } else if (node.kind === 'fixed') {
    attributes.push(['size', String(node.size)])
    attributes.push(
      ...(normalized ? logicalFirst(json, logicalOf(node) === null ? [] : LOGICAL) : others(json, OF_TYPE, printer)),
    )
  } else {
    attributes.push(['fields', `[${node.fields.map((field) => printField(field, own, printer)).join(',')}]`])
    attributes.push(...others(json, OF_TYPE, printer))
  }
  const aliases = normalized ? node.aliases.toSorted() : node.aliases
  if (aliases.length > 0) attributes.push(['aliases', printJson(aliases.map((alias) => shortest(alias, own)))])
  return printObject(attributes)
}

function printField(field: FieldNode, namespace: string, printer: Printer): string {
  const { json, name, type } = field
  const { normalized = false } = printer
  const attributes: Attributes = [
    ['name', `"${name}"`],
    ['type', print(type, namespace, printer)],
  ]
  if (typeof json['doc'] === 'string') attributes.push(['doc', printJson(json['doc'])])
  if (field.hasDefault) {
    const value = json['default']
    attributes.push(['default', normalized ? printValue(type, value, new Map()) : printJson(value)])
  }
  const order = typeof json['order'] === 'string' ? json['order'].toLowerCase() : 'ascending'
  if (order !== 'ascending') attributes.push(['order', `"${order}"`])
  const aliases = normalized ? field.aliases.toSorted() : field.aliases
  if (aliases.length > 0) attributes.push(['aliases', printJson(aliases)])
  attributes.push(...others(json, OF_FIELD, printer))
  return printObject(attributes)
}

/** A default as a value of its type: numbers of float and double print as such, keys of records and maps by name. */
function printValue(type: AvroNode, value: unknown, known: Known): string {
  switch (type.kind) {
    case 'union': {
      const branch = type.branches.find((candidate) => isDefault(candidate, value, known))
      return branch === undefined ? printJson(value, true) : printValue(branch, value, known)
    }
    case 'double':
    case 'float': {
      const number = Number(numberSource(value) ?? value)
      return type.kind === 'double' ? printDouble(number) : printFloat(number)
    }
    case 'array':
      return `[${(value as unknown[]).map((item) => printValue(type.items, item, known)).join(',')}]`
    case 'map':
      return printObject(sortedEntries(value).map(([key, item]) => [key, printValue(type.items, item, known)]))
    case 'record': {
      const types = new Map(type.fields.map((field) => [field.name, field.type]))
      return printObject(
        sortedEntries(value).map(([key, item]) => {
          const inner = types.get(key)
          return [key, inner === undefined ? printJson(item, true) : printValue(inner, item, known)]
        }),
      )
    }
    default:
      return printJson(value)
  }
}

const sortedEntries = (value: unknown): [string, unknown][] =>
  Object.entries(value as Json).toSorted(([a], [b]) => (a < b ? -1 : 1))
