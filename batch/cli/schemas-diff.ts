/**
 * What changed between two schemas, place by place: fields added, removed and renamed (by an alias), types, defaults, aliases, docs, and
 * every other attribute. Fields are matched by name; branches of a union by type. Pure.
 */

import { printAvro } from '#format/avro-compatibility.ts'
import type { AvroNode, FieldNode, NamedNode, RecordNode } from '#format/avro-node.ts'

/** One change. `path` is a JSON pointer into the newer schema, or into the older one of what was removed. */
export interface Change {
  readonly path: string
  /** Names down to the place: `Flight.delay`. */
  readonly name: string
  /** `field added`, `field removed`, `field renamed`, `fields reordered`, or the attribute: `type`, `default`, `doc`, `aliases` … */
  readonly what: string
  /** JSON text; null where there is none. */
  readonly from: string | null
  readonly to: string | null
}

type Json = Readonly<Record<string, unknown>>

const isNamed = (node: AvroNode): node is NamedNode =>
  node.kind === 'record' || node.kind === 'enum' || node.kind === 'fixed'
const shortName = (name: string): string => name.slice(name.lastIndexOf('.') + 1)
/** A type in as few words as it has: its name, or its JSON. */
const typeText = (node: AvroNode): string => (isNamed(node) ? JSON.stringify(node.name) : printAvro(node))
/** What two branches of unions must agree in to be the same one. */
const labelOf = (node: AvroNode): string => (isNamed(node) ? shortName(node.name) : node.kind)

/** The changes from `older` to `newer`, in the order of the newer schema; none when they say the same. */
export function changesBetween(older: AvroNode, newer: AvroNode): Change[] {
  const changes: Change[] = []
  const seen = new Set<AvroNode>()

  function add(place: Place, what: string, from: unknown, to: unknown): void {
    const text = (value: unknown): string | null => (value === undefined ? null : JSON.stringify(value))
    changes.push({ path: place.path === '' ? '/' : place.path, name: place.name, what, from: text(from), to: text(to) })
  }
  function raw(place: Place, what: string, from: string | null, to: string | null): void {
    changes.push({ path: place.path === '' ? '/' : place.path, name: place.name, what, from, to })
  }

  function attributes(place: Place, from: Json, to: Json, besides: ReadonlySet<string>): void {
    for (const key of new Set([...Object.keys(from), ...Object.keys(to)]))
      if (!besides.has(key) && JSON.stringify(from[key]) !== JSON.stringify(to[key]))
        add(place, key, from[key], to[key])
  }

  function compare(from: AvroNode, to: AvroNode, place: Place): void {
    if (from.kind === 'union' || to.kind === 'union') compareUnions(from, to, place)
    else if (from.kind !== to.kind) raw(place, 'type', typeText(from), typeText(to))
    else if (isNamed(from) && isNamed(to)) compareNamed(from, to, place)
    else {
      attributes(place, from.json, to.json, STRUCTURE)
      if ('items' in from && 'items' in to)
        compare(from.items, to.items, { ...place, path: `${place.path}/${to.kind === 'map' ? 'values' : 'items'}` })
    }
  }

  function compareNamed(from: NamedNode, to: NamedNode, outer: Place): void {
    if (seen.has(to)) return
    seen.add(to)
    const place = outer.name === '' ? { ...outer, name: shortName(to.name) } : outer
    if (from.name !== to.name) add(place, 'name', from.name, to.name)
    attributes(place, from.json, to.json, STRUCTURE)
    if (from.kind === 'enum' && to.kind === 'enum') compareSymbols(from.symbols, to.symbols, place)
    if (from.kind === 'fixed' && to.kind === 'fixed' && from.size !== to.size) add(place, 'size', from.size, to.size)
    if (from.kind === 'record' && to.kind === 'record') compareFields(from, to, place)
  }

  function compareUnions(from: AvroNode, to: AvroNode, place: Place): void {
    const [old, now] = [from, to].map((node) => (node.kind === 'union' ? node.branches : [node])) as [
      readonly AvroNode[],
      readonly AvroNode[],
    ]
    if (from.kind !== to.kind || old.map(labelOf).join() !== now.map(labelOf).join())
      raw(place, 'type', unionText(from), unionText(to))
    for (const [index, branch] of now.entries()) {
      const same = old.find((other) => labelOf(other) === labelOf(branch))
      const path = to.kind === 'union' ? `${place.path}/${index}` : place.path
      if (same !== undefined) compare(same, branch, { ...place, path })
    }
  }

  function compareSymbols(from: readonly string[], to: readonly string[], place: Place): void {
    const gone = from.filter((symbol) => !to.includes(symbol))
    const come = to.filter((symbol) => !from.includes(symbol))
    if (gone.length > 0) add(place, 'symbols removed', gone, undefined)
    if (come.length > 0) add(place, 'symbols added', undefined, come)
    if (gone.length + come.length === 0 && from.join() !== to.join()) add(place, 'symbols reordered', from, to)
  }

  function compareFields(from: RecordNode, to: RecordNode, place: Place): void {
    const left = new Set(from.fields)
    const order: number[] = []
    for (const [index, field] of to.fields.entries()) {
      const at = { path: `${place.path}/fields/${index}`, name: `${place.name}.${field.name}` }
      const same = [field.name, ...field.aliases]
        .map((name) => from.fields.find((other) => other.name === name && left.has(other)))
        .find((other) => other !== undefined)
      if (same === undefined) {
        raw(at, 'field added', null, fieldText(field))
        continue
      }
      left.delete(same)
      order.push(from.fields.indexOf(same))
      if (same.name !== field.name) add(at, 'field renamed', same.name, field.name)
      attributes(at, same.json, field.json, FIELD)
      compare(same.type, field.type, { ...at, path: `${at.path}/type` })
    }
    for (const field of left) {
      const at = { path: `${place.path}/fields/${from.fields.indexOf(field)}`, name: `${place.name}.${field.name}` }
      raw(at, 'field removed', fieldText(field), null)
    }
    if (order.some((position, i) => i > 0 && position < order[i - 1]!)) {
      const names = (record: RecordNode): string[] => record.fields.map(({ name }) => name)
      add(place, 'fields reordered', names(from), names(to))
    }
  }

  compare(older, newer, { path: '', name: '' })
  return changes
}

interface Place {
  readonly path: string
  readonly name: string
}

/** Compared by themselves. */
const STRUCTURE: ReadonlySet<string> = new Set([
  'type',
  'name',
  'namespace',
  'fields',
  'symbols',
  'size',
  'items',
  'values',
])
const FIELD: ReadonlySet<string> = new Set(['name', 'type'])

const unionText = (node: AvroNode): string =>
  node.kind === 'union' ? `[${node.branches.map(typeText).join(',')}]` : typeText(node)

const fieldText = ({ type, json, hasDefault }: FieldNode): string =>
  `${unionText(type)}${hasDefault ? ` default ${JSON.stringify(json['default'])}` : ''}`
