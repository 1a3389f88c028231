/**
 * A client's schema made ready: its references resolved, its text parsed, checked and printed as it is stored, and what makes it
 * the same as another. What was parsed lately is kept, for most requests bring a schema that was there before.
 */
import { normalizeAvro, parseAvro, printAvro } from '#format/avro-compatibility.ts'
import type { AvroNode } from '#format/avro-node.ts'
import type { PrintOptions } from '#format/avro-print.ts'
import { SchemaProblem } from '#format/avro-schema.ts'
import type { Contract, Reference } from './contract.ts'
import { identityOf, statedVersion, withoutVersion } from './contract.ts'
import { contextOf, type SchemaVersion } from './records.ts'
import { ReferenceProblem, resolveReferences, showReference } from './references.ts'
import { refusals } from './refusal.ts'
import type { SchemaRequest } from './request.ts'
import type { SchemaTable } from './table.ts'

/** A schema ready to be compared and stored; `schema` is its canonical (or normalized) text. */
export interface Canon extends Contract {
  readonly references: readonly Reference[]
  readonly node: AvroNode
  readonly identity: string
}

/** Characters of the schema that a refusal shows. */
const SHOWN = 1_000
/** What is kept of texts and what they came to, in characters: a node of the tree counts for many of its text. */
const KEPT_MAX = 8_000_000
const ENTRY = 2_000
const PER_CHAR = 8

interface Parsed {
  readonly node: AvroNode
  readonly canonical: string
  normalized: string | null
}
/** By the text and the texts it refers to; the oldest goes first. */
const kept = new Map<string, Parsed>()
let keptSize = 0
const sizeOf = (key: string): number => ENTRY + PER_CHAR * key.length

/** @throws SchemaProblem */
function parse(schema: string, texts: readonly string[]): Parsed {
  const key = texts.length === 0 ? schema : [schema, ...texts].join('\u0000')
  const known = kept.get(key)
  if (known !== undefined) return known
  const node = parseAvro(schema, texts)
  const parsed: Parsed = { node, canonical: printAvro(node), normalized: null }
  kept.set(key, parsed)
  keptSize += sizeOf(key)
  for (const oldest of kept.keys()) {
    if (keptSize <= KEPT_MAX) break
    kept.delete(oldest)
    keptSize -= sizeOf(oldest)
  }
  return parsed
}

/** How a schema is made ready. */
export interface Preparation {
  readonly normalize: boolean
  /** It may come to stand: what it refers to must not be deleted. */
  readonly isNew: boolean
}

/**
 * Makes a request's schema ready for a subject; null when it has none.
 * @throws RegistryRefusal 42201
 */
export function canonicalize(
  table: SchemaTable,
  subject: string,
  request: SchemaRequest,
  { normalize, isNew }: Preparation,
): Canon | null {
  const { schema, schemaType, metadata, ruleSet } = request
  if (schema === null || schema.trim() === '') return null
  if (schemaType !== 'AVRO') throw refusals.invalidSchemaType(schemaType)
  try {
    const { references, texts } = resolveReferences(subject, request.references, isNew ? table.findLive : table.find)
    const parsed = parse(schema, texts)
    if (normalize) parsed.normalized ??= normalizeAvro(parsed.node)
    const text = normalize ? parsed.normalized! : parsed.canonical
    const contract = {
      schemaType,
      schema: text,
      references: normalize ? inOrder(references) : references,
      metadata,
      ruleSet,
    }
    return { ...contract, node: parsed.node, identity: identityOf(contract) }
  } catch (error) {
    if (!(error instanceof SchemaProblem || error instanceof ReferenceProblem)) throw error
    throw refusals.invalidSchema(show(subject, request), showReferences(request), schemaType, {
      reason: error.message,
      absent: error instanceof ReferenceProblem,
    })
  }
}

const showReferences = ({ references }: SchemaRequest): string => `[${references.map(showReference).join(', ')}]`

/** The schema as Confluent prints it. */
function show(subject: string, request: SchemaRequest): string {
  const { version, id, schemaType, metadata, ruleSet, schema } = request
  const parts = [
    ...[`subject=${subject}`, `version=${version}`, `id=${id}`, `schemaType=${schemaType}`],
    `references=${showReferences(request)}`,
    ...[`metadata=${JSON.stringify(metadata)}`, `ruleSet=${JSON.stringify(ruleSet)}`],
    ...[`schema=${schema?.slice(0, SHOWN)}`, 'schemaTags=null'],
  ]
  return `{${parts.join(',')}}`
}

/** By subject and version, each once. */
function inOrder(references: readonly Reference[]): Reference[] {
  const sorted = references.toSorted((a, b) =>
    a.subject === b.subject ? a.version! - b.version! : a.subject! < b.subject! ? -1 : 1,
  )
  return sorted.filter((reference, at) => JSON.stringify(reference) !== JSON.stringify(sorted[at - 1]))
}

/**
 * The version under which a subject has a schema, newest first; null when it has none. A schema that is sent with all
 * references written out, or without the version that its metadata states, is the same as the one that stands.
 */
export function lookUp(
  table: SchemaTable,
  subject: string,
  canon: Canon | null,
  options: { deleted: boolean; latestOnly: boolean },
): SchemaVersion | null {
  if (canon === null) return null
  const { deleted, latestOnly } = options
  const latest = table.latestOf(subject)
  const versions = latestOnly ? (latest === null ? [] : [latest]) : table.versionsOf(subject, deleted)
  const context = contextOf(subject)
  const same = versions.findLast(({ id }) => table.identityOfId(id, context) === canon.identity)
  return same ?? versions.findLast((version) => isEquivalent(table, canon, version)) ?? null
}

function isEquivalent(table: SchemaTable, canon: Canon, version: SchemaVersion): boolean {
  const [stated, held] = [statedVersion(canon.metadata), statedVersion(version.metadata)]
  const writtenOut = canon.references.length === 0 && version.references.length > 0
  const isStated = stated !== null || held !== null
  if (!writtenOut && !(isStated && sameJson(canon.references, version.references))) return false
  if (stated !== null && held === null && stated !== String(version.version)) return false
  const ignore = (stated === null) !== (held === null)
  const metadataOf = (metadata: Contract['metadata']): unknown => (ignore ? (withoutVersion(metadata) ?? {}) : metadata)
  return (
    version.schemaType === canon.schemaType &&
    sameJson(metadataOf(canon.metadata), metadataOf(version.metadata)) &&
    sameJson(canon.ruleSet, version.ruleSet) &&
    printed(table, version, WRITTEN_OUT) === printAvro(canon.node, WRITTEN_OUT)
  )
}

/** One text for all that mean the same, whatever they refer to. */
const WRITTEN_OUT = { resolved: true, normalized: true }

const sameJson = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b)

/** A version's text with all references written out; null when it cannot be parsed here. */
export const resolvedText = (table: SchemaTable, version: SchemaVersion): string | null =>
  printed(table, version, { resolved: true })

function printed(table: SchemaTable, version: SchemaVersion, options: PrintOptions): string | null {
  try {
    return printAvro(table.parsed(version), options)
  } catch (error) {
    if (error instanceof SchemaProblem) return null
    throw error
  }
}
