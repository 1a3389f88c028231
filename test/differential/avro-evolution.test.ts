/**
 * Event streams whose schema evolves: every version that ever wrote is read as the current one.
 *
 * Method: a flat record lives through random versions that gain, lose, rename, promote, widen and reorder fields. For each
 * pair (version, current) the registry's checker and the projector must agree on whether it can be read, and if so every
 * value comes out as the reader of the specification reads it, or is dead for what makes any record dead (text that is
 * none, numbers that are none, decimals beyond their digits).
 */
import { describe, expect, test } from 'vitest'
import type { Column, ColumnSpec } from '#core/columns.ts'
import type { DeadRecord } from '#core/outcome.ts'
import { compareNodes, parseAvro } from '#format/avro-compatibility.ts'
import { fitsPrecision, readDecimal } from '#format/avro-faults.ts'
import type { AvroNode, RecordNode } from '#format/avro-node.ts'
import { allocateChunk, compileProjector, SchemaMismatch } from '#format/avro-projector.ts'
import { frame } from '#format/confluent.ts'
import { encodeBatch, openBatch, stampBatch } from '#format/record-batch.ts'
import { isGate, random, runs } from '#testkit/runs.ts'
import { drawBytes, type Random } from './avro-pairs.ts'
import { readAs, type Word } from './avro-reader.ts'

const { seed, numRuns } = runs(400, 'evolving streams')
const ID = 7

type Type = string | { readonly [key: string]: unknown }
interface Field {
  readonly name: string
  /** Its first name: types are called after it. Flat schemas keep no names of types, so a type keeps its own. */
  readonly first: string
  readonly aliases: readonly string[]
  readonly type: Type
  /** Where null stands in a union with it; null when it is none. */
  readonly nullAt: 0 | 1 | null
  readonly hasDefault: boolean
}

const TYPES: readonly Type[] = [
  'boolean',
  'int',
  'long',
  'float',
  'double',
  'string',
  'bytes',
  { type: 'long', logicalType: 'timestamp-millis' },
  { type: 'int', logicalType: 'date' },
  { type: 'bytes', logicalType: 'decimal', precision: 9, scale: 2 },
  { type: 'fixed', name: 'F', size: 4, logicalType: 'decimal', precision: 9, scale: 2 },
  { type: 'fixed', name: 'G', size: 3 },
  { type: 'enum', name: 'E', symbols: ['X', 'Y'] },
]
const WIDER: Readonly<Record<string, readonly Type[]>> = {
  int: ['long', 'float', 'double'],
  long: ['float', 'double', { type: 'long', logicalType: 'timestamp-millis' }],
  float: ['double'],
  string: ['bytes'],
  bytes: ['string'],
}
const DEFAULTS: Readonly<Record<string, unknown>> = {
  boolean: true,
  int: -3,
  long: 4,
  float: 0.5,
  double: 1.5,
  string: 'dé',
  bytes: '\u0001',
  enum: 'X',
}

const pick = <T>(draw: Random, of: readonly T[]): T => of[Math.floor(draw() * of.length)]!
const kindOf = (type: Type): string => (typeof type === 'string' ? type : (type['type'] as string))
/** Names of types are of one schema: each field calls its own by its first name. */
const owned = (type: Type, name: string): Type =>
  typeof type === 'object' && 'name' in type ? { ...type, name: `${type['name'] as string}_${name}` } : type

function drawField(draw: Random, name: string): Field {
  const type = owned(pick(draw, TYPES), name)
  const mayDefault = kindOf(type) in DEFAULTS && !(typeof type === 'object' && type['logicalType'] === 'decimal')
  return {
    name,
    first: name,
    aliases: [],
    type,
    nullAt: pick(draw, [null, 0, 1]),
    hasDefault: mayDefault && draw() < 0.7,
  }
}

/** The next version: mostly an evolution that can be read, now and then one that cannot. */
function evolve(draw: Random, fields: readonly Field[], version: number): Field[] {
  const at = Math.floor(draw() * fields.length)
  const change = (edit: (field: Field) => Field): Field[] => fields.map((field, i) => (i === at ? edit(field) : field))
  switch (Math.floor(draw() * 7)) {
    case 0: {
      const gained = drawField(draw, `f${version}`)
      return [
        ...fields,
        draw() < 0.8 ? { ...gained, hasDefault: true, nullAt: gained.hasDefault ? gained.nullAt : 0 } : gained,
      ]
    }
    case 1:
      return fields.length > 1 ? fields.filter((_, i) => i !== at) : [...fields]
    case 2:
      return change((field) => ({
        ...field,
        name: `r${version}`,
        aliases: draw() < 0.85 ? [field.name, ...field.aliases] : [],
      }))
    case 3:
      return change((field) => {
        const wider = WIDER[kindOf(field.type)] ?? []
        return wider.length > 0 ? { ...field, type: pick(draw, wider) } : widened(draw, field)
      })
    case 4:
      return change((field) => ({ ...field, nullAt: draw() < 0.85 ? pick(draw, [0, 1]) : null }))
    case 5:
      return fields.toReversed()
    default:
      return draw() < 0.3 ? change((field) => ({ ...field, type: owned(pick(draw, TYPES), field.first) })) : [...fields]
  }
}

/** More symbols, more digits; now and then fewer, or another scale. */
function widened(draw: Random, field: Field): Field {
  const type = field.type as { readonly [key: string]: unknown }
  if (type['type'] === 'enum') {
    const symbols = pick(draw, [['Y', 'X', 'Z'], ['X'], ['X', 'Y', 'OTHER']])
    return { ...field, type: { ...type, symbols, ...(draw() < 0.7 ? { default: 'X' } : {}) } }
  }
  if (type['logicalType'] !== 'decimal') return field
  return { ...field, type: { ...type, ...pick(draw, [{ precision: 9 }, { precision: 8 }, { scale: 3 }]) } }
}

function textOf(fields: readonly Field[]): string {
  const json = fields.map(({ name, aliases, type, nullAt, hasDefault }) => {
    const union = nullAt === null ? type : nullAt === 0 ? ['null', type] : [type, 'null']
    const value = nullAt === 0 || !(kindOf(type) in DEFAULTS) ? null : DEFAULTS[kindOf(type)]
    const mayDefault = hasDefault && (value !== null || nullAt !== null)
    return { name, type: union, ...(aliases.length > 0 ? { aliases } : {}), ...(mayDefault ? { default: value } : {}) }
  })
  return JSON.stringify({ type: 'record', name: 'Event', fields: [{ name: 'at', type: 'long' }, ...json] })
}

/** What makes a record dead in any reader of ours: checked on the writer's words and the reader's. */
function isDead(written: Record<string, Word>, writer: RecordNode, texts: ReadonlySet<string>): boolean {
  return writer.fields.some(({ name, type }) => {
    const word = written[name]!
    if (typeof word !== 'string') return false
    if (word.startsWith('d:')) return !Number.isFinite(Buffer.from(word.slice(2), 'hex').readDoubleBE())
    if (!word.startsWith('b:')) return false
    const bytes = Buffer.from(word.slice(2), 'hex')
    const decimal = decimalOf(type)
    if (decimal === null) return texts.has(name) && !Buffer.from(bytes.toString()).equals(bytes)
    const unscaled = readDecimal(bytes, 0, bytes.length)
    return unscaled === null || !fitsPrecision(unscaled, decimal.precision)
  })
}

function decimalOf(type: AvroNode): { precision: number } | null {
  const value = type.kind === 'union' ? type.branches.find(({ kind }) => kind !== 'null')! : type
  return 'decimal' in value ? value.decimal : null
}

/** Names of the writer's fields that the reader reads as text. */
function textFields(reader: RecordNode, writer: RecordNode): Set<string> {
  const isText = (type: AvroNode): boolean =>
    type.kind === 'string' || (type.kind === 'union' && type.branches.some(({ kind }) => kind === 'string'))
  const texts = reader.fields.filter(({ type }) => isText(type)).flatMap(({ name, aliases }) => [name, ...aliases])
  return new Set(writer.fields.map(({ name }) => name).filter((name) => texts.includes(name)))
}

function cellOf(column: Column, row: number): Word {
  const { kind } = column.spec
  if (column.valid !== null && column.valid[row] === 0) return null
  if (kind === 'bool') return column.f64[row] === 1
  if (kind === 'string' || kind === 'bytes') {
    const bytes = Buffer.from(column.bytes.subarray(column.from[row], column.until[row]))
    return kind === 'string' ? `s:${bytes.toString()}` : `b:${bytes.toString('hex')}`
  }
  if (kind === 'float64') {
    const bits = Buffer.alloc(8)
    bits.writeDoubleBE(column.f64[row]!)
    return `d:${bits.toString('hex')}`
  }
  return `i:${column.wide === null ? BigInt(column.f64[row]!) : column.wide[row]!}`
}

/** A word as the column tells it: decimals are their unscaled integers. */
function asColumn(word: Word, spec: ColumnSpec): Word {
  if (spec.kind !== 'decimal' || typeof word !== 'string') return word
  const bytes = Buffer.from(word.slice(2), 'hex')
  return `i:${readDecimal(bytes, 0, bytes.length)}`
}

/** The rows and dead records of one batch of bodies. */
function project(writer: string, reader: string, names: readonly string[], bodies: readonly Uint8Array[]) {
  const eventTime = { field: 'at', unit: 'us' } as const
  const projector = compileProjector({ writer, writerId: ID, reader, fields: names, eventTime, envelope: false })
  const batch = encodeBatch(
    bodies.map((body) => ({ key: null, value: frame(ID, body) })),
    1,
  )
  stampBatch(batch, 0, 2)
  const opened = openBatch(batch, 0)
  if ('dead' in opened) throw new Error(opened.dead)
  const chunk = allocateChunk(projector.columns, false)
  const dead: DeadRecord[] = []
  expect(projector.project(opened.cursor, chunk, dead)).toBe('end')
  const rows = Array.from({ length: chunk.count }, (_, row) => ({
    offset: chunk.offsets[row]!,
    cells: chunk.columns.map((column) => cellOf(column, row)),
  }))
  return { rows, dead, specs: projector.columns }
}

describe('a stream whose schema evolves', () => {
  test('[R2] [R5] every version is read as the current one, or refused by the registry and the projector alike', () => {
    const draw = random(seed)
    const seen = { pairs: 0, refused: 0, rows: 0, dead: 0 }
    for (let run = 0; run < numRuns; run++) {
      const versions: Field[][] = [
        Array.from({ length: 1 + Math.floor(draw() * 4) }, (_, i) => drawField(draw, `f${i}_0`)),
      ]
      const count = 2 + Math.floor(draw() * 5)
      for (let version = 1; version < count; version++) versions.push(evolve(draw, versions.at(-1)!, version))
      const reader = textOf(versions.at(-1)!)
      const readerNode = parseAvro(reader) as RecordNode
      for (const fields of versions) {
        const writer = textOf(fields)
        const writerNode = parseAvro(writer) as RecordNode
        const found = compareNodes(readerNode, writerNode)
        const names = readerNode.fields.map(({ name }) => name)
        const bodies = Array.from({ length: 5 }, () => bodyOf(draw, writerNode))
        seen.pairs += 1
        const context = `seed ${seed}\n${writer}\n${reader}\n${JSON.stringify(found)}`
        if (found.length > 0) {
          seen.refused += 1
          expect(() => project(writer, reader, names, bodies), context).toThrow(SchemaMismatch)
          continue
        }
        const { rows, dead, specs } = project(writer, reader, names, bodies)
        const texts = textFields(readerNode, writerNode)
        const expected = bodies.flatMap((body, offset) => {
          if (isDead(readAs(writerNode, writerNode, body) as Record<string, Word>, writerNode, texts)) return []
          const words = readAs(readerNode, writerNode, body) as Record<string, Word>
          return [{ offset, cells: names.map((name, i) => asColumn(words[name]!, specs[i]!)) }]
        })
        expect(rows, context).toEqual(expected)
        expect(rows.length + dead.length).toBe(bodies.length)
        seen.rows += rows.length
        seen.dead += dead.length
      }
    }
    process.stdout.write(`evolving streams: ${JSON.stringify(seen)}\n`)
    if (isGate) for (const count of Object.values(seen)) expect(count).toBeGreaterThan(100)
  })
})

/** A record at an instant that is one, and random fields. */
function bodyOf(draw: Random, writer: RecordNode): Uint8Array {
  const [time, ...fields] = writer.fields
  expect(time!.name).toBe('at')
  return Buffer.concat([Buffer.of(2), ...fields.map(({ type }) => drawBytes(draw, type))])
}
