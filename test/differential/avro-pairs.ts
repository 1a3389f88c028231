/**
 * Random pairs (reader, writer) of Avro schemas, and random values of the writer's.
 *
 * A pair is a small schema and an evolution of it, a few edits away, so that about half of the pairs fit: types promoted,
 * renamed with and without alias, wrapped into and out of unions, fields gained and lost with and without default, symbols,
 * sizes, digits and units changed. Names, fields and symbols come from tiny sets so that they meet. Recursive schemas,
 * namespaces and logical types are among them. A drawn schema may be invalid; `parseAvro` says so and it is drawn again.
 */
import type { AvroNode } from '#format/avro-node.ts'

/** Numbers in [0, 1). */
export type Random = () => number

const PRIMITIVES = ['null', 'boolean', 'int', 'long', 'float', 'double', 'bytes', 'string']
const NAMES = ['A', 'B', 'C']
const SPACES = ['m', 'n']
const FIELDS = ['a', 'b', 'c', 'd']
const SYMBOLS = ['X', 'Y', 'Z']
const LOGICAL: readonly Json[] = [
  { type: 'bytes', logicalType: 'decimal', precision: 9, scale: 2 },
  { type: 'bytes', logicalType: 'decimal', precision: 9, scale: 3 },
  { type: 'bytes', logicalType: 'decimal', precision: 12, scale: 2 },
  { type: 'long', logicalType: 'timestamp-millis' },
  { type: 'long', logicalType: 'timestamp-micros' },
  { type: 'int', logicalType: 'date' },
  { type: 'string', logicalType: 'uuid' },
]

type Json = { [key: string]: unknown }
type Schema = string | Json | Schema[]
const isObject = (schema: unknown): schema is Json =>
  typeof schema === 'object' && schema !== null && !Array.isArray(schema)

const chance = (random: Random, share: number): boolean => random() < share
const pick = <T>(random: Random, of: readonly T[]): T => of[Math.floor(random() * of.length)]!

/** A schema and an evolution of it, as JSON: either may have written what the other reads. */
export function drawPair(random: Random): { reader: Schema; writer: Schema } {
  const first = drawType(random, 0, { named: [] })
  const second = chance(random, 0.05) ? drawType(random, 0, { named: [] }) : evolve(random, first)
  return chance(random, 0.5) ? { reader: first, writer: second } : { reader: second, writer: first }
}

interface Scope {
  /** Full names defined so far. */
  readonly named: string[]
}

function drawType(random: Random, depth: number, scope: Scope): Schema {
  const kind = random()
  if (depth > 3 || kind < 0.35) return chance(random, 0.2) ? { ...pick(random, LOGICAL) } : pick(random, PRIMITIVES)
  if (kind < 0.5) return drawUnion(random, depth, scope)
  if (kind < 0.58) return { type: 'array', items: drawType(random, depth + 1, scope) }
  if (kind < 0.65) return { type: 'map', values: drawType(random, depth + 1, scope) }
  if (kind < 0.7 && scope.named.length > 0) return pick(random, scope.named)
  const name = `${pick(random, SPACES)}.${pick(random, NAMES)}`
  if (scope.named.includes(name)) return name
  scope.named.push(name)
  if (kind < 0.78) return { type: 'fixed', name, size: pick(random, [2, 3]) }
  if (kind < 0.85) return { type: 'enum', name, symbols: some(random, SYMBOLS), ...enumDefault(random) }
  return { type: 'record', name, fields: some(random, FIELDS).map((field) => drawField(random, field, depth, scope)) }
}

const enumDefault = (random: Random): Json => (chance(random, 0.3) ? { default: pick(random, SYMBOLS) } : {})

function drawField(random: Random, name: string, depth: number, scope: Scope): Json {
  const type = drawType(random, depth + 1, scope)
  return { name, type, ...(chance(random, 0.3) ? defaultOf(random, type) : {}) }
}

function drawUnion(random: Random, depth: number, scope: Scope): Schema {
  const count = 1 + Math.floor(random() * 3)
  const branches = Array.from({ length: count }, () => drawType(random, depth + 1, scope)).filter(
    (branch) => !Array.isArray(branch),
  )
  const nullable = branches.length === 0 || (chance(random, 0.4) && !branches.includes('null'))
  return nullable ? ['null', ...branches] : branches
}

/** Some of them, at least one, in any order. */
function some<T>(random: Random, of: readonly T[]): T[] {
  const shuffled = of.map((value) => [random(), value] as const).toSorted(([a], [b]) => a - b)
  return shuffled.slice(0, 1 + Math.floor(random() * of.length)).map(([, value]) => value)
}

/** A default for a type whose spelling tells enough; nothing otherwise. */
function defaultOf(random: Random, type: Schema): Json {
  const name = isObject(type) ? type['type'] : Array.isArray(type) ? null : type
  const values: Json = {
    null: null,
    boolean: true,
    int: 3,
    long: 4,
    float: 0.5,
    double: 1.5,
    bytes: 'by',
    string: 'text',
    array: [],
    map: {},
    fixed: 'xy',
    enum: pick(random, SYMBOLS),
  }
  if (Array.isArray(type)) return type.length > 0 ? defaultOf(random, pick(random, type)) : {}
  return typeof name === 'string' && Object.hasOwn(values, name) ? { default: values[name] } : {}
}

/** The same schema after some edits. Definitions and references are renamed together, or not. */
function evolve(random: Random, schema: Schema): Schema {
  const edits = { left: 1 + Math.floor(random() * 4), renamed: new Map<string, string>() }
  const share = pick(random, [0.2, 0.4, 0.7])
  const walk = (type: Schema): Schema => {
    if (edits.left > 0 && chance(random, share)) {
      const edited = edit(random, type, edits.renamed)
      if (edited !== null) {
        edits.left -= 1
        return edited
      }
    }
    if (Array.isArray(type)) return type.map(walk)
    if (typeof type === 'string') return edits.renamed.get(type) ?? type
    if (type['type'] === 'array') return { ...type, items: walk(type['items'] as Schema) }
    if (type['type'] === 'map') return { ...type, values: walk(type['values'] as Schema) }
    if (type['type'] !== 'record') return type
    return {
      ...type,
      fields: (type['fields'] as Json[]).map((field) => ({ ...field, type: walk(field['type'] as Schema) })),
    }
  }
  return walk(schema)
}

const PROMOTED: Readonly<Record<string, readonly string[]>> = {
  int: ['long', 'float', 'double'],
  long: ['float', 'double'],
  float: ['double'],
  string: ['bytes'],
  bytes: ['string'],
}

function edit(random: Random, type: Schema, renamed: Map<string, string>): Schema | null {
  const kind = random()
  if (Array.isArray(type)) {
    if (kind < 0.25) return type.toReversed()
    if (kind < 0.5) return [...type, pick(random, PRIMITIVES)]
    if (kind < 0.75) return type.length > 1 ? type.slice(1) : null
    return pick(random, type)
  }
  if (kind < 0.12) return ['null', type]
  if (kind < 0.17) return [type, pick(random, PRIMITIVES)]
  if (typeof type === 'string') {
    const promoted = PROMOTED[type]
    if (promoted !== undefined && kind < 0.8) return pick(random, promoted)
    return PRIMITIVES.includes(type) ? pick(random, PRIMITIVES) : null
  }
  if ('logicalType' in type) return kind < 0.6 ? { ...pick(random, LOGICAL) } : (type['type'] as string)
  if (type['type'] === 'array') return kind < 0.3 ? { type: 'map', values: type['items'] } : null
  if (type['type'] === 'map') return kind < 0.3 ? { type: 'array', items: type['values'] } : null
  if (!('name' in type)) return null
  if (kind < 0.35) return rename(random, type, renamed)
  if (type['type'] === 'fixed') return { ...type, size: pick(random, [2, 3]) }
  if (type['type'] === 'enum') {
    const { default: _, ...plain } = type
    return { ...plain, symbols: some(random, SYMBOLS), ...enumDefault(random) }
  }
  return { ...type, fields: editFields(random, type['fields'] as Json[]) }
}

function rename(random: Random, type: Json, renamed: Map<string, string>): Json {
  const old = type['name'] as string
  const name = `${pick(random, SPACES)}.${pick(random, NAMES)}`
  renamed.set(old, name)
  return { ...type, name, ...(chance(random, 0.6) && name !== old ? { aliases: [old] } : {}) }
}

function editFields(random: Random, fields: readonly Json[]): Json[] {
  const kind = random()
  const at = Math.floor(random() * fields.length)
  const free = FIELDS.filter((name) => !fields.some((field) => field['name'] === name))
  if (kind < 0.2) return fields.toReversed()
  if (kind < 0.45) return fields.filter((_, index) => index !== at)
  if (kind < 0.75 && free.length > 0) {
    const field = drawField(random, pick(random, free), 3, { named: [] })
    return [...fields, chance(random, 0.6) ? { ...field, ...defaultOf(random, field['type'] as Schema) } : field]
  }
  if (free.length === 0) return fields.toReversed()
  return fields.map((field, index) =>
    index === at
      ? {
          ...field,
          name: pick(random, free),
          ...(chance(random, 0.7) ? { aliases: [field['name'], ...(chance(random, 0.2) ? ['z'] : [])] } : {}),
        }
      : field,
  )
}

/** Levels at which a value is given up, so that a union tries its next branch. */
const DEPTH_MAX = 12
class TooDeep extends Error {}

/** Bytes of a random value of a schema. `deep` ends recursion: arrays and maps stay empty, unions look for a branch that ends. */
export function drawBytes(random: Random, node: AvroNode, deep = 0): Buffer {
  if (deep > DEPTH_MAX) throw new TooDeep()
  switch (node.kind) {
    case 'null':
      return Buffer.alloc(0)
    case 'boolean':
      return Buffer.of(chance(random, 0.5) ? 1 : 0)
    case 'int':
      return long(BigInt(pick(random, [0, -1, 63, -64, 64, 2 ** 24 + 1, 2 ** 31 - 1, -(2 ** 31)])))
    case 'long':
      return long(pick(random, [0n, -1n, 64n, 2n ** 24n + 1n, 2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n)]))
    case 'float': {
      const bytes = Buffer.alloc(4)
      bytes.writeFloatLE(pick(random, [0, -0, 0.1, -1.5, 3e38, Number.NaN, Number.POSITIVE_INFINITY]))
      return bytes
    }
    case 'double': {
      const bytes = Buffer.alloc(8)
      bytes.writeDoubleLE(pick(random, [0, -0, 0.1, -1.5, 1e300, Number.NaN, Number.NEGATIVE_INFINITY]))
      return bytes
    }
    case 'string':
      return sized(Buffer.from(pick(random, ['', 'a', 'Zoë', '\u{1f600}'])))
    case 'bytes':
      return sized(Buffer.from(pick(random, ['', '61', '5a6fc3ab', 'ff', '00c3']), 'hex'))
    case 'fixed':
      return Buffer.from(Array.from({ length: node.size }, () => Math.floor(random() * 256)))
    case 'enum':
      return long(BigInt(Math.floor(random() * node.symbols.length)))
    case 'array':
    case 'map': {
      const count = deep > 4 ? 0 : Math.floor(random() * 3)
      if (count === 0) return long(0n)
      const items = Array.from({ length: count }, (_, i) =>
        Buffer.concat([
          node.kind === 'map' ? sized(Buffer.from(`k${i}`)) : Buffer.alloc(0),
          drawBytes(random, node.items, deep + 1),
        ]),
      )
      return Buffer.concat([long(BigInt(count)), ...items, long(0n)])
    }
    case 'union': {
      for (const index of order(random, node.branches, deep)) {
        try {
          return Buffer.concat([long(BigInt(index)), drawBytes(random, node.branches[index]!, deep + 1)])
        } catch (error) {
          if (!(error instanceof TooDeep)) throw error
        }
      }
      throw new TooDeep()
    }
    case 'record':
      return Buffer.concat(node.fields.map((field) => drawBytes(random, field.type, deep + 1)))
  }
}

/** Branches in the order they are tried: any, and deep down what is no record first. */
function order(random: Random, branches: readonly AvroNode[], deep: number): number[] {
  const weight = (branch: AvroNode): number => random() + (deep > 4 && branch.kind === 'record' ? 1 : 0)
  return branches
    .map((branch, index) => [weight(branch), index] as const)
    .toSorted(([a], [b]) => a - b)
    .map(([, index]) => index)
}

const sized = (bytes: Buffer): Buffer => Buffer.concat([long(BigInt(bytes.length)), bytes])

/** A zigzag varint. */
function long(value: bigint): Buffer {
  let zigzag = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n))
  const bytes: number[] = []
  while (zigzag > 127n) {
    bytes.push(Number(zigzag & 127n) | 128)
    zigzag >>= 7n
  }
  return Buffer.from([...bytes, Number(zigzag)])
}
