/**
 * A reader of the specification ("Schema Resolution"), word by word and slow: bytes of the writer, as the reader sees them.
 * The oracle between the checker (which must be right about every value) and other implementations (which read one value).
 * Values are told in words that any language can spell: see `Word`.
 */
import { compareNodes } from '#format/avro-compatibility.ts'
import { isDefault } from '#format/avro-defaults.ts'
import type { AvroNode, RecordNode, UnionNode } from '#format/avro-node.ts'
import { numberSource } from '#format/avro-text.ts'

/** null and booleans as they are; integers `i:1`, floats by the bits of a double `d:3ff…`, text `s:…`, bytes `b:hex`. */
export type Word = null | boolean | string | Word[] | { [key: string]: Word }

/** The value cannot be read: what the specification calls an error. `not text`: bytes read as a string that are no UTF-8. */
export class Unreadable extends Error {}

/** Ways of reading that other implementations have; each explains a class of disagreements. */
export interface Quirks {
  /** A branch that the value is promoted to counts as the first that matches, also before the branch of its own type. */
  readonly promotedBeforeSame?: boolean
  /** An integer read as float keeps the digits of a double. */
  readonly floatNotRounded?: boolean
  /** The default of bytes or fixed stays the text it is written as. */
  readonly defaultStaysText?: boolean
  /** The first branch of the same kind and short name is taken, whether it reads the value or not. */
  readonly firstOfTheName?: boolean
  /** Named types match by their names alone: the value is read as it was written. */
  readonly nameWithoutKind?: boolean
}

/** @throws Unreadable */
export function readAs(reader: AvroNode, writer: AvroNode, bytes: Uint8Array, quirks: Quirks = {}): Word {
  const source = new Source(bytes, quirks)
  const word = read(reader, writer, source)
  if (!source.ended) throw new Error('the reader takes every byte')
  return word
}

class Source {
  readonly quirks: Quirks
  readonly #bytes: Buffer
  #at = 0
  constructor(bytes: Uint8Array, quirks: Quirks) {
    this.#bytes = Buffer.from(bytes)
    this.quirks = quirks
  }
  get ended(): boolean {
    return this.#at === this.#bytes.length
  }
  take(length: number): Buffer {
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }
  long(): bigint {
    let zigzag = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.take(1)[0]!
      zigzag |= BigInt(byte & 127) << shift
      if (byte < 128) return (zigzag >> 1n) ^ -(zigzag & 1n)
    }
  }
  sized(): Buffer {
    return this.take(Number(this.long()))
  }
}

function read(reader: AvroNode, writer: AvroNode, source: Source): Word {
  if (writer.kind === 'union') return read(reader, writer.branches[Number(source.long())]!, source)
  if (reader.kind === 'union') return read(branchFor(reader, writer, source.quirks), writer, source)
  const alike = source.quirks.nameWithoutKind === true && reader.kind !== writer.kind
  if (alike && 'name' in reader && 'name' in writer && sameName(reader, writer)) return read(writer, writer, source)
  switch (writer.kind) {
    case 'record':
      return readRecord(reader, writer, source)
    case 'array':
    case 'map': {
      if (reader.kind !== writer.kind) throw new Unreadable()
      const items: [string, Word][] = []
      for (let count = source.long(); count !== 0n; count = source.long()) {
        for (let i = 0n; i < count; i++) {
          const key = writer.kind === 'map' ? source.sized().toString() : ''
          items.push([key, read(reader.items, writer.items, source)])
        }
      }
      return writer.kind === 'map' ? Object.fromEntries(items) : items.map(([, item]) => item)
    }
    case 'enum': {
      const symbol = writer.symbols[Number(source.long())]!
      if (reader.kind !== 'enum' || !sameName(reader, writer)) throw new Unreadable()
      if (reader.symbols.includes(symbol)) return `s:${symbol}`
      if (reader.fallback === null) throw new Unreadable()
      return `s:${reader.fallback}`
    }
    case 'fixed':
      if (reader.kind !== 'fixed' || !sameName(reader, writer) || reader.size !== writer.size) throw new Unreadable()
      return `b:${source.take(writer.size).toString('hex')}`
    default:
      return readPlain(reader.kind, writer.kind, source)
  }
}

function readPlain(reader: AvroNode['kind'], writer: AvroNode['kind'], source: Source): Word {
  if (reader === writer && writer === 'null') return null
  if (reader === writer && writer === 'boolean') return source.take(1)[0] === 1
  if (writer === 'int' || writer === 'long') {
    const value = source.long()
    if (reader === writer || (writer === 'int' && reader === 'long')) return `i:${value}`
    if (reader === 'float')
      return double(source.quirks.floatNotRounded === true ? Number(value) : Math.fround(Number(value)))
    if (reader === 'double') return double(Number(value))
  }
  if (writer === 'float' && (reader === 'float' || reader === 'double')) return double(source.take(4).readFloatLE())
  if (reader === writer && writer === 'double') return double(source.take(8).readDoubleLE())
  if ((writer === 'string' || writer === 'bytes') && (reader === 'string' || reader === 'bytes')) {
    const bytes = source.sized()
    if (reader === 'bytes') return `b:${bytes.toString('hex')}`
    // Bytes that are no text: every implementation has its own answer, and none is the value.
    if (!isText(bytes)) throw new Unreadable('not text')
    return `s:${bytes.toString()}`
  }
  throw new Unreadable()
}

const isText = (bytes: Buffer): boolean => Buffer.from(bytes.toString()).equals(bytes)

/** The bits of a double; every NaN is one. */
function double(value: number): string {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleBE(value)
  return `d:${bytes.toString('hex')}`
}

const shortName = (name: string): string => name.slice(name.lastIndexOf('.') + 1)
const sameName = (reader: { name: string; aliases: readonly string[] }, writer: { name: string }): boolean =>
  shortName(reader.name) === shortName(writer.name) || reader.aliases.includes(writer.name)

function readRecord(reader: AvroNode, writer: RecordNode, source: Source): Word {
  if (reader.kind !== 'record' || !sameName(reader, writer)) throw new Unreadable()
  const values = new Map<string, Word>()
  for (const field of writer.fields) {
    const into = reader.fields.filter(({ name, aliases }) => name === field.name || aliases.includes(field.name))
    if (into.length > 1 || values.has(into[0]?.name ?? '')) throw new Unreadable()
    const value = read(into[0]?.type ?? field.type, field.type, source)
    if (into[0] !== undefined) values.set(into[0].name, value)
  }
  return Object.fromEntries(
    reader.fields.map((field) => {
      if (values.has(field.name)) return [field.name, values.get(field.name)!]
      if (!field.hasDefault) throw new Unreadable()
      return [field.name, defaultWord(field.type, field.json['default'], source.quirks)]
    }),
  )
}

/** The branch of the same primitive or full name, else the first that reads everything the writer may write, else the first of the kind. */
function branchFor(reader: UnionNode, writer: AvroNode, quirks: Quirks): AvroNode {
  const { branches } = reader
  const find = (matches: (branch: AvroNode) => boolean): AvroNode | undefined => branches.find(matches)
  const isLike = (branch: AvroNode): boolean => branch.kind === writer.kind
  const isNamed = (branch: AvroNode): boolean => 'name' in branch && 'name' in writer && sameName(branch, writer)
  const isSame = (branch: AvroNode): boolean =>
    isLike(branch) && (!('name' in branch) || branch.name === nameOf(writer))
  let first = find(isSame)
  if (quirks.promotedBeforeSame === true) first = undefined
  if (quirks.firstOfTheName === true)
    first = find((branch) => isLike(branch) && (!('name' in branch) || isNamed(branch)))
  if (quirks.nameWithoutKind === true) {
    first = find((branch) => isNamed(branch) && (!isLike(branch) || compareNodes(branch, writer).length === 0)) ?? first
  }
  const found = first ?? find((branch) => compareNodes(branch, writer).length === 0) ?? find(isLike)
  if (found === undefined) throw new Unreadable()
  return found
}

const nameOf = (node: AvroNode): string | null => ('name' in node ? node.name : null)

function defaultWord(type: AvroNode, value: unknown, quirks: Quirks): Word {
  switch (type.kind) {
    case 'null':
    case 'boolean':
      return value as null | boolean
    case 'int':
    case 'long':
      return `i:${numberSource(value)}`
    case 'float':
      return double(Math.fround(Number(numberSource(value))))
    case 'double':
      return double(Number(numberSource(value)))
    case 'string':
    case 'enum':
      return `s:${value as string}`
    case 'bytes':
    case 'fixed':
      if (quirks.defaultStaysText === true) return `s:${value as string}`
      return `b:${Buffer.from(value as string, 'latin1').toString('hex')}`
    case 'array':
      return (value as unknown[]).map((item) => defaultWord(type.items, item, quirks))
    case 'map':
      return Object.fromEntries(
        Object.entries(value as object).map(([key, item]) => [key, defaultWord(type.items, item, quirks)]),
      )
    case 'union':
      return defaultWord(type.branches.find((branch) => isDefault(branch, value, new Map()))!, value, quirks)
    case 'record': {
      const given = value as Record<string, unknown>
      return Object.fromEntries(
        type.fields.map((field) => [
          field.name,
          defaultWord(field.type, Object.hasOwn(given, field.name) ? given[field.name] : field.json['default'], quirks),
        ]),
      )
    }
  }
}
