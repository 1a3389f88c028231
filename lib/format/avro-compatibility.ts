/**
 * May data written with one Avro schema be read with another? Every reason why not, named and placed as Avro's own
 * checker and the Confluent registry do. Pure. Source: Avro specification 1.12, "Schema Resolution"; types, paths and
 * messages of org.apache.avro.SchemaCompatibility.
 *
 * Beyond Avro's checker, whose verdict is otherwise kept:
 * - logical types count where they would misread (avro-logical.ts);
 * - a reader's field whose name and alias are two written fields is refused with a place, where Avro's checker throws;
 * - of a union, the branch that a decoder takes decides (same primitive, same full name), and not any that would fit;
 * - recursive schemas are followed to the end: no branch counts as readable only because it was still being looked at.
 */

import { LIMITS } from '#core/limits.ts'
import { logicalMismatch, viewOf } from './avro-logical.ts'
import type { AvroNode, EnumNode, FieldNode, FixedNode, RecordNode, UnionNode } from './avro-node.ts'
import { SchemaProblem } from './avro-schema.ts'

export { parsingCanonicalForm } from './avro-fingerprint.ts'
export { normalizeAvro, printAvro } from './avro-print.ts'
export { parseAvro } from './avro-tree.ts'

/** Names of Avro's SchemaIncompatibilityType. */
export type IncompatibilityType =
  | 'NAME_MISMATCH'
  | 'FIXED_SIZE_MISMATCH'
  | 'MISSING_ENUM_SYMBOLS'
  | 'READER_FIELD_MISSING_DEFAULT_VALUE'
  | 'TYPE_MISMATCH'
  | 'MISSING_UNION_BRANCH'

/** One reason. `path` is a JSON pointer into the reader (of a union: into the writer's branches); `/` is the root. */
export interface Incompatibility {
  readonly type: IncompatibilityType
  readonly path: string
  readonly message: string
}

/** Takes a reason; null when only the verdict is asked for. */
type Report = ((type: IncompatibilityType, path: string, message: string) => void) | null

/**
 * Pairs of records inside one another: four times the depth a schema may have. Two cycles of different lengths unroll
 * into the product of both, which is met only in attacks and would overflow the stack.
 */
const PAIRS_DEPTH_MAX = 4 * LIMITS.schemaDepth
/** Types held against each other: a thousand fields need some thousands; unions of many records of one name need millions. */
const COMPARISONS_MAX = 1_000_000

/**
 * Why `reader` cannot read what `writer` wrote; empty when it can. A pair of records that meets again is reported once.
 * @throws SchemaProblem when they entangle beyond PAIRS_DEPTH_MAX or COMPARISONS_MAX
 */
export function compareNodes(reader: AvroNode, writer: AvroNode): Incompatibility[] {
  const found: Incompatibility[] = []
  const comparison = createComparison()
  comparison.compare(reader, writer, '', (type, path, message) => {
    found.push({ type, path: path === '' ? '/' : path, message })
  })
  return found
}

/**
 * Recursive schemas are a greatest fixed point: a pair of records fits until something refutes it. One pass assumes
 * that pairs met again fit; a refuted pair is false whatever was assumed, so passes repeat until none is refuted, and
 * then all that was assumed holds.
 */
function createComparison() {
  const numbers = new Map<RecordNode, number>()
  const numberOf = (node: RecordNode): number => {
    const known = numbers.get(node) ?? numbers.size
    numbers.set(node, known)
    return known
  }
  const pairOf = (reader: RecordNode, writer: RecordNode): string => `${numberOf(reader)}:${numberOf(writer)}`
  const refuted = new Set<string>()
  const proved = new Set<string>()
  const reported = new Set<string>()
  let assumed = new Set<string>()
  let depth = 0
  let comparisons = 0

  function fits(reader: AvroNode, writer: AvroNode): boolean {
    for (;;) {
      const before = refuted.size
      assumed = new Set()
      const verdict = compare(reader, writer, '', null)
      if (refuted.size === before) {
        for (const pair of assumed) proved.add(pair)
        return verdict
      }
    }
  }

  /** Inside a pass the assumptions stand; a report starts a pass of its own. */
  function holdsAny(reader: UnionNode, writer: AvroNode, report: Report): boolean {
    for (const candidate of candidates(reader, writer)) {
      if (report === null ? compare(candidate, writer, '', null) : fits(candidate, writer)) return true
    }
    return false
  }

  function compare(reader: AvroNode, writer: AvroNode, path: string, report: Report): boolean {
    if (++comparisons > COMPARISONS_MAX) {
      const message = `the schemas need more than ${COMPARISONS_MAX} comparisons of types`
      throw new SchemaProblem(path, message, 'Use fewer branches of one name in unions.')
    }
    if (writer.kind === 'union') {
      let verdict = true
      for (const [index, branch] of writer.branches.entries()) {
        if (reader.kind === 'union') {
          if (holdsAny(reader, branch, report)) continue
          report?.('MISSING_UNION_BRANCH', `${path}/${index}`, lacking(branch))
          verdict = false
        } else verdict = compare(reader, branch, `${path}/${index}`, report) && verdict
        if (report === null && !verdict) return false
      }
      return verdict
    }
    if (reader.kind === 'union') {
      if (holdsAny(reader, writer, report)) return true
      report?.('MISSING_UNION_BRANCH', path, lacking(writer))
      return false
    }
    if (reader.kind === 'record' && writer.kind === 'record') return compareRecords(reader, writer, path, report)
    if (reader.kind === 'enum' && writer.kind === 'enum') return compareEnums(reader, writer, path, report)
    if (reader.kind === 'fixed' && writer.kind === 'fixed') return compareFixed(reader, writer, path, report)
    if (reader.kind === 'array' && writer.kind === 'array')
      return compare(reader.items, writer.items, `${path}/items`, report)
    if (reader.kind === 'map' && writer.kind === 'map')
      return compare(reader.items, writer.items, `${path}/values`, report)
    if (reader.kind === writer.kind || PROMOTIONS[writer.kind]?.includes(reader.kind) === true) {
      return compareLogical(reader, writer, path, report)
    }
    report?.('TYPE_MISMATCH', path, `reader type: ${typeOf(reader)} not compatible with writer type: ${typeOf(writer)}`)
    return false
  }

  function compareRecords(reader: RecordNode, writer: RecordNode, path: string, report: Report): boolean {
    const pair = pairOf(reader, writer)
    if (report === null) {
      if (refuted.has(pair)) return false
      if (proved.has(pair) || assumed.has(pair)) return true
      assumed.add(pair)
    } else {
      if (reported.has(pair)) return true
      reported.add(pair)
    }
    if (++depth > PAIRS_DEPTH_MAX) {
      const message = `the schemas recurse through more than ${PAIRS_DEPTH_MAX} pairs of records`
      throw new SchemaProblem(path, message, 'Use fewer mutually recursive records.')
    }
    let verdict = namesFit(reader, writer, path, report)
    for (const [index, field] of reader.fields.entries()) {
      if (report === null && !verdict) break
      const at = `${path}/fields/${index}`
      const written = writtenFields(field, writer)
      if (written.length > 1) {
        report?.('NAME_MISMATCH', at, `field ${field.name} matches several written fields: ${namesOf(written)}`)
        verdict = false
      } else if (written[0] !== undefined)
        verdict = compare(field.type, written[0].type, `${at}/type`, report) && verdict
      else if (!field.hasDefault) {
        report?.('READER_FIELD_MISSING_DEFAULT_VALUE', at, field.name)
        verdict = false
      }
    }
    depth -= 1
    if (report === null && !verdict) refuted.add(pair)
    return verdict
  }

  return { compare }
}

/** What a written type may be read as, besides itself. */
const PROMOTIONS: Partial<Record<AvroNode['kind'], readonly AvroNode['kind'][]>> = {
  int: ['long', 'float', 'double'],
  long: ['float', 'double'],
  float: ['double'],
  string: ['bytes'],
  bytes: ['string'],
}

const typeOf = (node: AvroNode): string => node.kind.toUpperCase()
const lacking = (writer: AvroNode): string => `reader union lacking writer type: ${typeOf(writer)}`
const shortName = (name: string): string => name.slice(name.lastIndexOf('.') + 1)

/** The written fields that a reader's field may take its value from: of its name, or of one of its aliases. */
function writtenFields(field: FieldNode, writer: RecordNode): FieldNode[] {
  return writer.fields.filter(({ name }) => name === field.name || field.aliases.includes(name))
}
const namesOf = (fields: readonly FieldNode[]): string => fields.map(({ name }) => name).join(', ')

/** The branches a decoder may take: only the one of the same primitive or full name, when there is one. */
function candidates(reader: UnionNode, writer: AvroNode): readonly AvroNode[] {
  const same = reader.branches.find(
    (branch) =>
      branch.kind === writer.kind && (!('name' in branch) || !('name' in writer) || branch.name === writer.name),
  )
  return same === undefined ? reader.branches : [same]
}

/** Unqualified names match, or an alias of the reader is the writer's full name. */
function namesFit(
  reader: RecordNode | EnumNode | FixedNode,
  writer: RecordNode | EnumNode | FixedNode,
  path: string,
  report: Report,
): boolean {
  if (shortName(reader.name) === shortName(writer.name) || reader.aliases.includes(writer.name)) return true
  report?.('NAME_MISMATCH', `${path}/name`, `expected: ${writer.name}`)
  return false
}

function compareEnums(reader: EnumNode, writer: EnumNode, path: string, report: Report): boolean {
  const named = namesFit(reader, writer, path, report)
  const known = new Set(reader.symbols)
  const missing = writer.symbols.filter((symbol) => !known.has(symbol)).toSorted()
  if (missing.length === 0 || reader.fallback !== null) return named
  report?.('MISSING_ENUM_SYMBOLS', `${path}/symbols`, `[${missing.join(', ')}]`)
  return false
}

function compareFixed(reader: FixedNode, writer: FixedNode, path: string, report: Report): boolean {
  const named = namesFit(reader, writer, path, report)
  if (reader.size === writer.size) return compareLogical(reader, writer, path, report) && named
  report?.('FIXED_SIZE_MISMATCH', `${path}/size`, `expected: ${writer.size}, found: ${reader.size}`)
  return false
}

function compareLogical(reader: AvroNode, writer: AvroNode, path: string, report: Report): boolean {
  const mismatch = logicalMismatch(viewOf(reader), viewOf(writer))
  if (mismatch === null) return true
  report?.('TYPE_MISMATCH', path, `reader type: ${mismatch.reader} not compatible with writer type: ${mismatch.writer}`)
  return false
}
