/**
 * Prints Avro schemas in two forms: the one the registry stores and compares, with every attribute, and the Parsing
 * Canonical Form of the specification, with only what decides how bytes are read.
 */
import {
  type AvroNode,
  type EnumNode,
  type FixedNode,
  type Json,
  namespaceOf,
  parseAvro,
  type RecordNode,
} from './avro-tree.ts'

/**
 * The schema as the registry stores and compares it: every attribute kept, in one order, without white space; names of
 * a definition split into name and namespace, a reference as short as it can be. Two texts of one schema print alike.
 */
export function printAvro(node: AvroNode): string {
  return JSON.stringify(toJson(node, '', new Set()))
}

/** Attributes with a meaning: printed where they mean something, dropped elsewhere. */
const RESERVED = new Set('type name namespace doc fields symbols size items values default order aliases'.split(' '))

/** `known` attributes as they stand, then the others by name. */
function ordered(known: Json, written: Json): Json {
  const others = Object.keys(written).filter((key) => !RESERVED.has(key))
  return Object.fromEntries([
    ...Object.entries(known).filter(([, value]) => value !== undefined),
    ...others.toSorted().map((key) => [key, written[key]] as const),
  ])
}

function toJson(node: AvroNode, namespace: string, defined: Set<string>): unknown {
  switch (node.kind) {
    case 'union':
      return node.branches.map((branch) => toJson(branch, namespace, defined))
    case 'array':
      return ordered({ type: 'array', items: toJson(node.items, namespace, defined) }, node.json)
    case 'map':
      return ordered({ type: 'map', values: toJson(node.items, namespace, defined) }, node.json)
    case 'record':
    case 'enum':
    case 'fixed':
      return definition(node, namespace, defined)
    default: {
      const printed = ordered({ type: node.kind }, node.json)
      return Object.keys(printed).length === 1 ? node.kind : printed
    }
  }
}

function definition(node: RecordNode | EnumNode | FixedNode, namespace: string, defined: Set<string>): unknown {
  const own = namespaceOf(node.name)
  const short = node.name.slice(own === '' ? 0 : own.length + 1)
  if (defined.has(node.name)) return own === namespace ? short : node.name
  defined.add(node.name)
  const { doc, aliases, default: fallback } = node.json
  const names = { type: node.json['type'], name: short, namespace: own === namespace ? undefined : own, doc }
  if (node.kind === 'enum') return ordered({ ...names, symbols: node.symbols, default: fallback, aliases }, node.json)
  if (node.kind === 'fixed') return ordered({ ...names, size: node.size, aliases }, node.json)
  const fields = node.fields.map(({ name, type, json }) =>
    ordered(
      {
        name,
        type: toJson(type, own, defined),
        doc: json['doc'],
        default: json['default'],
        order: json['order'] === 'ascending' ? undefined : json['order'],
        aliases: json['aliases'],
      },
      json,
    ),
  )
  return ordered({ ...names, fields, aliases }, node.json)
}

/**
 * Parsing Canonical Form: what decides how bytes are read and nothing else. Source: Avro specification, "Transforming
 * into Parsing Canonical Form" (PRIMITIVES, FULLNAMES, STRIP, ORDER, STRINGS, INTEGERS, WHITESPACE).
 * @throws SchemaProblem
 */
export function parsingCanonicalForm(schema: string): string {
  return canonical(parseAvro(schema), new Set())
}

function canonical(node: AvroNode, defined: Set<string>): string {
  switch (node.kind) {
    case 'union':
      return `[${node.branches.map((branch) => canonical(branch, defined)).join(',')}]`
    case 'array':
      return `{"type":"array","items":${canonical(node.items, defined)}}`
    case 'map':
      return `{"type":"map","values":${canonical(node.items, defined)}}`
    case 'record':
    case 'enum':
    case 'fixed': {
      if (defined.has(node.name)) return `"${node.name}"`
      defined.add(node.name)
      if (node.kind === 'enum') return `{"name":"${node.name}","type":"enum","symbols":${JSON.stringify(node.symbols)}}`
      if (node.kind === 'fixed') return `{"name":"${node.name}","type":"fixed","size":${node.size}}`
      const fields = node.fields.map(({ name, type }) => `{"name":"${name}","type":${canonical(type, defined)}}`)
      return `{"name":"${node.name}","type":"record","fields":[${fields.join(',')}]}`
    }
    default:
      return `"${node.kind}"`
  }
}
