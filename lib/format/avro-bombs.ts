/**
 * Schemas that are valid Avro and would break a decoder: refused with the place and the reason.
 *
 * - An array of items that take no byte: five bytes of data make a thousand million values.
 * - A record that no finite datum has, since it holds itself on every way.
 * - A datum of more than `LIMITS.schemaValues` values that takes next to no byte: records that hold each other twice,
 *   sixty deep, unroll into 2^60 values.
 */
import { LIMITS } from '#core/limits.ts'
import type { AvroNode, RecordNode } from './avro-node.ts'
import { SchemaProblem } from './avro-schema.ts'

/** @throws SchemaProblem naming the place */
export function refuseBombs(root: AvroNode): void {
  const places = placesOf(root)
  const finite = finiteOf(places)
  const sizes = new Map<AvroNode, number>()
  for (const [node, path] of places) {
    if (!finite.has(node)) {
      throw refusal(
        path,
        `no finite value is a ${nameOf(node)}`,
        'Let it hold itself in a union with null, an array or a map.',
      )
    }
    if (sizeOf(node, sizes) > LIMITS.schemaValues) {
      const message = `one ${nameOf(node)} holds more than ${LIMITS.schemaValues} values`
      throw refusal(path, message, 'Use an array or a map for what is repeated.')
    }
  }
  const empty = new Map<AvroNode, boolean>()
  for (const [node, path] of places) {
    if (node.kind === 'array' && takesNoByte(node.items, empty)) {
      throw refusal(`${path}/items`, 'array items take no byte', 'Use a type that takes at least one byte, or a count.')
    }
  }
}

function refusal(path: string, message: string, advice: string): SchemaProblem {
  const at = path === '' ? '/' : path
  return new SchemaProblem(at, `${message} (at ${at})`, advice)
}

const nameOf = (node: AvroNode): string => ('name' in node ? node.name : node.kind)

/** Every type once, with the first place it stands at. */
function placesOf(root: AvroNode): Map<AvroNode, string> {
  const places = new Map<AvroNode, string>([[root, '']])
  // A Map yields what is added while it is walked.
  for (const [node, path] of places) {
    const add = (child: AvroNode, step: string): void => {
      if (!places.has(child)) places.set(child, `${path}/${step}`)
    }
    if (node.kind === 'array') add(node.items, 'items')
    else if (node.kind === 'map') add(node.items, 'values')
    else if (node.kind === 'union') for (const [index, branch] of node.branches.entries()) add(branch, String(index))
    else if (node.kind === 'record') {
      for (const [index, field] of node.fields.entries()) add(field.type, `fields/${index}/type`)
    }
  }
  return places
}

/** The types that have a finite value: the least set that is closed, found from the leaves up. */
function finiteOf(places: ReadonlyMap<AvroNode, string>): Set<AvroNode> {
  const finite = new Set<AvroNode>()
  let open = [...places.keys()]
  for (;;) {
    const left = open.filter((node) => {
      if (!hasValue(node, finite)) return true
      finite.add(node)
      return false
    })
    if (left.length === open.length) return finite
    open = left.toReversed()
  }
}

function hasValue(node: AvroNode, finite: ReadonlySet<AvroNode>): boolean {
  switch (node.kind) {
    case 'record':
      return node.fields.every((field) => finite.has(field.type))
    case 'union':
      return node.branches.length === 0 || node.branches.some((branch) => finite.has(branch))
    default:
      return true
  }
}

/** Values of the smallest datum, a union counted as one: its branch takes a byte. Only for finite types. */
function sizeOf(node: AvroNode, sizes: Map<AvroNode, number>): number {
  const known = sizes.get(node)
  if (known !== undefined) return known
  if (node.kind !== 'record') return 1
  // Finite types hold themselves only behind a union, an array or a map, so this ends.
  const size = node.fields.reduce((total, field) => total + sizeOf(field.type, sizes), 1)
  sizes.set(node, size)
  return size
}

function takesNoByte(node: AvroNode, empty: Map<AvroNode, boolean>): boolean {
  if (node.kind === 'null') return true
  if (node.kind === 'fixed') return node.size === 0
  if (node.kind !== 'record') return false
  const known = empty.get(node) ?? (node as RecordNode).fields.every((field) => takesNoByte(field.type, empty))
  empty.set(node, known)
  return known
}
