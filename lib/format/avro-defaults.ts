/**
 * Defaults of record fields against their types, when every type of the text is complete (a record may be used before its
 * last field is known). Guarantees: each default is a value of its type; of a union it may be of any branch
 * (specification 1.12); what a reader makes of it is finite and at most `LIMITS.schemaValues` values.
 */
import { LIMITS } from '#core/limits.ts'
import type { AvroNode, FieldNode } from './avro-node.ts'
import { SchemaProblem } from './avro-schema.ts'
import { isObject, numberSource, show } from './avro-text.ts'

/** A field and where it stands. */
export interface PlacedField {
  readonly field: FieldNode
  readonly path: string
}

/** @throws SchemaProblem naming the field */
export function checkDefaults(fields: readonly PlacedField[]): void {
  const known: Known = new Map()
  for (const { field, path } of fields) {
    const value = field.json['default']
    if (isDefault(field.type, value, known)) continue
    const message = `invalid default for field ${field.name}: ${show(value)} (at ${path})`
    throw new SchemaProblem(path, message, "Give a default of the field's type.")
  }
  const sizes = new Map<FieldNode, number>()
  for (const { field, path } of fields) {
    if (expand(field, sizes, known) <= LIMITS.schemaValues) continue
    const message = `the default of field ${field.name} expands without end (at ${path})`
    throw new SchemaProblem(path, message, 'Write the default out, or make it null.')
  }
}

/**
 * Values that a field's default becomes: its own, and the defaults of the fields that it leaves out. Infinite when it comes
 * back to itself.
 */
function expand(field: FieldNode, sizes: Map<FieldNode, number>, known: Known): number {
  const size = sizes.get(field)
  if (size !== undefined) return size
  // Met again before it is known, it holds itself.
  sizes.set(field, Number.POSITIVE_INFINITY)
  const found = sizeOf(field.type, field.json['default'], sizes, known)
  sizes.set(field, found)
  return found
}

function sizeOf(type: AvroNode, value: unknown, sizes: Map<FieldNode, number>, known: Known): number {
  const sum = (items: readonly number[]): number => items.reduce((total, item) => total + item, 1)
  switch (type.kind) {
    case 'array':
      return sum((value as unknown[]).map((item) => sizeOf(type.items, item, sizes, known)))
    case 'map':
      return sum(Object.values(value as object).map((item) => sizeOf(type.items, item, sizes, known)))
    case 'union': {
      const branch = type.branches.find((candidate) => isDefault(candidate, value, known))
      return branch === undefined ? 1 : sizeOf(branch, value, sizes, known)
    }
    case 'record': {
      const given = value as Record<string, unknown>
      return sum(
        type.fields.map((field) =>
          Object.hasOwn(given, field.name)
            ? sizeOf(field.type, given[field.name], sizes, known)
            : expand(field, sizes, known),
        ),
      )
    }
    default:
      return 1
  }
}

const INT_MAX = 2n ** 31n - 1n
const LONG_MAX = 2n ** 63n - 1n
/** What JSON numbers cannot say; Java writes and reads these words. */
const NOT_FINITE = new Set<unknown>(['NaN', 'Infinity', '-Infinity'])

/** Verdicts by value and type: branches that are alike down to the last value would else be tried in every combination. */
export type Known = Map<unknown, Map<AvroNode, boolean>>

/** Whether `value` is a default of `type`, as far as it is written out; of a union, any branch may match. */
export function isDefault(type: AvroNode, value: unknown, known: Known): boolean {
  if (typeof value !== 'object' || value === null) return matches(type, value, known)
  const verdicts = known.get(value) ?? new Map<AvroNode, boolean>()
  known.set(value, verdicts)
  const verdict = verdicts.get(type) ?? matches(type, value, known)
  verdicts.set(type, verdict)
  return verdict
}

function matches(type: AvroNode, value: unknown, known: Known): boolean {
  const number = numberSource(value)
  switch (type.kind) {
    case 'null':
      return value === null
    case 'boolean':
      return typeof value === 'boolean'
    case 'int':
    case 'long': {
      if (number === null || !/^-?\d{1,20}$/.test(number)) return false
      const max = type.kind === 'int' ? INT_MAX : LONG_MAX
      const exact = BigInt(number)
      return exact <= max && exact >= -max - 1n
    }
    case 'float':
    case 'double':
      return number === null ? NOT_FINITE.has(value) : Number.isFinite(Number(number))
    case 'string':
      return typeof value === 'string'
    case 'bytes':
      return isLatin1(value)
    case 'fixed':
      return isLatin1(value) && value.length === type.size
    case 'enum':
      return type.symbols.includes(value as string)
    case 'array':
      return Array.isArray(value) && value.every((item) => isDefault(type.items, item, known))
    case 'map':
      return isObject(value) && Object.values(value).every((item) => isDefault(type.items, item, known))
    case 'union':
      return type.branches.some((branch) => isDefault(branch, value, known))
    case 'record':
      return (
        isObject(value) &&
        type.fields.every((field) =>
          Object.hasOwn(value, field.name) ? isDefault(field.type, value[field.name], known) : field.hasDefault,
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
