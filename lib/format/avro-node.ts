/**
 * The types of a parsed Avro schema: what avro-tree.ts makes of a text, and what all that looks at a schema walks over.
 * A definition is one object however often it is referred to, so that a recursive schema is a graph with circles.
 */
import type { Json } from './avro-text.ts'

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
  /** Other names that a writer may have used, each once. */
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
  /** True when a referenced schema defines it: printed by its name. */
  readonly referenced: boolean
  readonly json: Json
}
/** An enum. `fallback` is its default symbol, or null. */
export interface EnumNode {
  readonly kind: 'enum'
  readonly name: string
  readonly aliases: readonly string[]
  readonly symbols: readonly string[]
  readonly fallback: string | null
  readonly referenced: boolean
  readonly json: Json
}
/** A fixed of `size` bytes. */
export interface FixedNode {
  readonly kind: 'fixed'
  readonly name: string
  readonly aliases: readonly string[]
  readonly size: number
  readonly decimal: Decimal | null
  readonly referenced: boolean
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
/** A type with a full name. */
export type NamedNode = RecordNode | EnumNode | FixedNode
/** Any Avro type. One definition is one object, however often it is referred to. */
export type AvroNode = PlainNode | NamedNode | ListNode | UnionNode
