/**
 * Registration, look-up and deletion as decisions on the folded topic. Source: Confluent's KafkaSchemaRegistry (8.1), whose order
 * of checks decides which refusal a client sees.
 */
import { type Canon, canonicalize, lookUp } from './canonical.ts'
import { incompatibilities } from './compatibility.ts'
import { type Contract, hasLayers, identityOf, inheritContract, statedVersion, stateVersion } from './contract.ts'
import * as records from './records.ts'
import { contextOf, type SchemaVersion } from './records.ts'
import { refusals } from './refusal.ts'
import type { SchemaRequest } from './request.ts'
import { configFor, forgotten, modeFor, removals, requireUnreferenced, requireWritable } from './settings.ts'
import type { Decision } from './store.ts'
import type { SchemaTable } from './table.ts'

/** A schema under a subject, as answers show it. */
export interface Entity extends Contract {
  readonly subject: string
  readonly version: number
  readonly id: number
}

const entityOf = (subject: string, version: number, id: number, canon: Canon): Entity => {
  const { schemaType, schema, references, metadata, ruleSet } = canon
  return { subject, version, id, schemaType, schema, references, metadata, ruleSet }
}

/** Whether schemas of a subject are registered and looked up in their normalized form. */
export const normalizes = (table: SchemaTable, subject: string, asked: boolean): boolean =>
  asked || configFor(table, subject)['normalize'] === true

/**
 * What stands already and needs no registration; null when there is work to do. Modes do not matter to it.
 * @throws RegistryRefusal 42201
 */
export function registered(
  table: SchemaTable,
  subject: string,
  request: SchemaRequest,
  options: { normalize: boolean },
): Entity | null {
  const { version, id } = request
  if (hasLayers(configFor(table, subject))) return null
  const normalize = normalizes(table, subject, options.normalize)
  const canon = canonicalize(table, subject, request, { normalize, isNew: false })
  const existing = lookUp(table, subject, canon, { deleted: false, latestOnly: version === -1 })
  if (existing === null) return null
  if (version === 0 || version === -1) return id < 0 || id === existing.id ? existing : null
  if (existing.id !== id) return null
  if (existing.version === version) return existing
  const other = table.versionOf(subject, version)
  return other !== null && !other.deleted && other.id === id ? other : null
}

/** @throws RegistryRefusal 42205 */
function requireMode(mode: string, subject: string, id: number): void {
  if (mode.startsWith('READONLY')) throw refusals.readOnly(subject)
  if (id >= 0 && mode !== 'IMPORT') throw refusals.notImporting(subject)
  if (id < 0 && mode !== 'READWRITE') throw refusals.notWritable(subject)
}

/** Registers, or finds what stands. @throws RegistryRefusal */
export function register(
  table: SchemaTable,
  subject: string,
  request: SchemaRequest,
  options: { normalize: boolean },
): Decision<Entity> {
  const known = registered(table, subject, request, options)
  if (known !== null) return { records: [], answer: known }
  const mode = modeFor(table, subject)
  requireMode(mode, subject, request.id)
  const importing = mode === 'IMPORT'
  const context = contextOf(subject)
  const live = table.versionsOf(subject, false)
  const next = table.nextVersion(subject)
  const config = configFor(table, subject)
  const draft = importing ? request : inherit(request, live.at(-1) ?? null, config, next)
  const normalize = normalizes(table, subject, options.normalize)
  const canon = canonicalize(table, subject, draft, { normalize, isNew: request.id < 0 })
  if (canon === null) throw refusals.emptySchema()

  const holder = table.idOf(canon.identity, context)
  const found = holder !== null && (request.id < 0 || request.id === holder)
  if (request.version === 0) {
    const same = lookUp(table, subject, canon, { deleted: false, latestOnly: false })
    if (same !== null && (request.id < 0 || request.id === same.id))
      return { records: [], answer: entityOf(subject, same.version, same.id, canon) }
  }
  if (!importing) {
    const details = incompatibilities(canon, live, config, table)
    if (details.length > 0) throw refusals.incompatible(subject, details)
    if (request.version > 0 && request.version !== next) throw refusals.versionNotNext()
  }
  const version = request.version > 0 ? request.version : next
  const id = found ? holder : request.id >= 0 ? request.id : table.idMaxOf(context) + 1
  const bound = table.identityOfId(id, context)
  if (bound !== null && bound !== canon.identity) throw refusals.idTaken(id, subject)
  const standing = table.versionOf(subject, version)
  if (standing !== null && standing.id !== id) throw refusals.versionTaken(subject, version, standing.id)
  // A soft deleted version of the same schema gives way to the new one.
  const older = table
    .versionsOf(subject, true)
    .filter((held) => held.deleted && held.id === id && held.version < version)
  const entity = entityOf(subject, version, id, canon)
  const record = records.encodeSchema({ ...entity, deleted: false })
  const tombstones = older.map((held) => records.encodeRemoval(subject, held.version))
  const listing = table.isListed(context) ? [] : [records.encodeContext(context)]
  return { records: [...listing, ...tombstones, record], answer: entity, allotted: { id, subject, version } }
}

/** What a registration takes over from the version before it and from the settings. */
function inherit(
  request: SchemaRequest,
  previous: SchemaVersion | null,
  config: records.ConfigValue,
  next: number,
): SchemaRequest {
  const blank = request.schema === null || request.schema.trim() === ''
  if (blank && previous === null) throw refusals.emptySchema()
  const { schema, schemaType, references } = blank ? previous! : request
  const { metadata, ruleSet } = inheritContract(request, previous, config)
  const states = request.version !== 0 || statedVersion(metadata) !== null
  return {
    ...request,
    schema,
    schemaType,
    references: references as SchemaRequest['references'],
    metadata: states ? stateVersion(metadata, next) : metadata,
    ruleSet,
  }
}

/**
 * The version under which a subject has a schema, as it is or with the metadata and rules that the latest version hands on.
 * @throws RegistryRefusal 42201
 */
export function lookUpUnder(
  table: SchemaTable,
  subject: string,
  request: SchemaRequest,
  options: { normalize: boolean; deleted: boolean },
): SchemaVersion | null {
  const normalize = normalizes(table, subject, options.normalize)
  const canon = canonicalize(table, subject, request, { normalize, isNew: false })
  const looked = { deleted: options.deleted, latestOnly: false }
  const found = lookUp(table, subject, canon, looked)
  const previous = table.latestOf(subject)
  if (found !== null || canon === null || previous === null) return found
  const handed = inheritContract(canon, previous, configFor(table, subject))
  const wrapped = { ...canon, ...handed }
  return lookUp(table, subject, { ...wrapped, identity: identityOf(wrapped) }, looked)
}

/** Deletes a subject's versions; the answer is their numbers. @throws RegistryRefusal */
export function removeSubject(
  table: SchemaTable,
  subject: string,
  options: { permanent: boolean },
): Decision<readonly number[]> {
  const { permanent } = options
  if (!table.has(subject, true)) throw refusals.subjectNotFound(subject)
  if (!permanent && !table.has(subject, false)) throw refusals.subjectSoftDeleted(subject)
  requireWritable(table, subject)
  const versions = table.versionsOf(subject, permanent)
  for (const version of versions) {
    requireUnreferenced(table, version)
    if (permanent && !version.deleted) throw refusals.subjectNotSoftDeleted(subject)
  }
  const gone = permanent
    ? [...removals(table, versions), ...forgotten(table, subject)]
    : [records.encodeSubjectDeletion(subject, versions.at(-1)!.version)]
  return { records: gone, answer: versions.map(({ version }) => version) }
}

/** Deletes a version (-1: the latest); the answer is its number. @throws RegistryRefusal */
export function removeVersion(
  table: SchemaTable,
  subject: string,
  number: number,
  options: { permanent: boolean },
): Decision<number> {
  const { permanent } = options
  const held = table.find(subject, number)
  if (held === null)
    throw table.has(subject, true) ? refusals.versionNotFound(number) : refusals.subjectNotFound(subject)
  if (held.deleted && !permanent) throw refusals.versionSoftDeleted(subject, held.version)
  requireWritable(table, subject)
  requireUnreferenced(table, held)
  if (permanent && !held.deleted) throw refusals.versionNotSoftDeleted(subject, held.version)
  if (!permanent) return { records: [records.encodeSchema({ ...held, deleted: true })], answer: held.version }
  const isLast = table.versionsOf(subject, true).length === 1
  const gone = [...removals(table, [held]), ...(isLast ? forgotten(table, subject) : [])]
  return { records: gone, answer: held.version }
}
