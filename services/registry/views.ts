/**
 * Answers: properties in Confluent's order, empty ones left out. What is asked for most, a schema by its id or version, is kept as bytes.
 * Source: the entities of Confluent's client (Schema, SchemaString, RegisterSchemaResponse, Config).
 */
import { everySubject, type MayRead } from './asked.ts'
import { resolvedText } from './canonical.ts'
import { type Contract, guidOf, type Reference } from './contract.ts'
import { relatedSubject } from './naming.ts'
import type { ConfigValue, SchemaVersion } from './records.ts'
import { refusals } from './refusal.ts'
import type { Entity } from './registration.ts'
import type { SchemaTable } from './table.ts'

type Json = Readonly<Record<string, unknown>>

const guids = new WeakMap<SchemaVersion, string>()

/** The GUID of a version, computed once. */
function guidOfVersion(version: SchemaVersion): string {
  let guid = guids.get(version)
  if (guid === undefined) {
    guid = guidOf(version)
    guids.set(version, guid)
  }
  return guid
}

/** Properties that have a value. */
const present = (object: Json): Json =>
  Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null && value !== undefined))

const listed = (references: Contract['references']): Json => (references.length === 0 ? {} : { references })

/** @throws RegistryRefusal 40301 when what would be written out must not be read */
function textOf(table: SchemaTable, version: SchemaVersion, { format = null, mayRead = everySubject }: Forms): string {
  const text = format === 'resolved' ? resolvedText(table, version) : null
  if (text === null) return version.schema
  const closed = table.referredBy(version).find((subject) => !mayRead(subject))
  if (closed !== undefined) throw refusals.notReadable(closed)
  return text
}

/** In which form texts and references are asked for; nothing: as they stand. */
export interface Forms {
  /** `resolved`: with its references written out. */
  readonly format?: string | null
  /** `qualified`: with the context of each. */
  readonly referenceFormat?: string | null
  /** Subjects whose schemas may be written out; all of them unless it says. */
  readonly mayRead?: MayRead
}

/** References as they are asked for; one without a context is of the version's own. */
function referencesOf({ subject, references }: SchemaVersion, { referenceFormat = null }: Forms): Json {
  if (referenceFormat !== 'qualified') return listed(references)
  return listed(
    (references as readonly Reference[]).map((one) => ({
      ...one,
      subject: one.subject === null ? null : relatedSubject(subject, one.subject),
    })),
  )
}

/** A version under its subject. `tells` says whether it is deleted, and when its record was written. */
export function versionView(table: SchemaTable, version: SchemaVersion, asked: Forms & { tells: boolean }): Json {
  const { subject, version: number, id, schemaType, metadata, ruleSet, deleted, writtenMs } = version
  return present({
    ...{ subject, version: number, id, guid: guidOfVersion(version), schemaType, ...referencesOf(version, asked) },
    ...{ metadata, schema: textOf(table, version, asked) },
    ...(asked.tells ? { ts: writtenMs, deleted } : {}),
    ruleSet,
  })
}

/** What a registration came to. */
export function entityView(entity: Entity): Json {
  const { version, id, schemaType, schema, references, metadata, ruleSet } = entity
  return present({ id, version, guid: guidOf(entity), schemaType, ...listed(references), metadata, ruleSet, schema })
}

/** A schema by its id; subject and version when it was asked for under one. */
export function schemaView(
  table: SchemaTable,
  version: SchemaVersion,
  asked: Forms & { named: boolean; maxId: number | null },
): Json {
  const { subject, version: number, schemaType, metadata, ruleSet, deleted, writtenMs } = version
  return present({
    ...(asked.named ? { subject, version: number } : {}),
    ...{ guid: guidOfVersion(version), schemaType, schema: textOf(table, version, asked) },
    ...{ ...referencesOf(version, asked), metadata, ruleSet, maxId: asked.maxId, ts: writtenMs, deleted },
  })
}

/** An answer that depends on nothing but the version, kept as long as it is. */
function kept(view: (table: SchemaTable, version: SchemaVersion) => Json) {
  const known = new WeakMap<SchemaVersion, Buffer>()
  return (table: SchemaTable, version: SchemaVersion): Buffer => {
    let bytes = known.get(version)
    if (bytes === undefined) {
      bytes = Buffer.from(JSON.stringify(view(table, version)))
      known.set(version, bytes)
    }
    return bytes
  }
}

/** A version under its subject, when nothing special is asked for. */
export const plainVersion = kept((table, version) => versionView(table, version, { tells: true }))

/** A schema by its id, when nothing special is asked for. */
export const plainSchema = kept((table, version) => schemaView(table, version, { named: false, maxId: null }))

/** A schema's own JSON. */
export const rawSchema = (table: SchemaTable, version: SchemaVersion, asked: Forms): Buffer =>
  Buffer.from(textOf(table, version, asked))

const CONFIG = [
  ...['alias', 'normalize', 'validateFields', 'validateNewSchemas', 'validateRules'],
  ...['compatibilityLevel', 'compatibilityPolicy', 'compatibilityGroup'],
  ...['defaultMetadata', 'overrideMetadata', 'defaultRuleSet', 'overrideRuleSet'],
]

/** Settings as they stand. */
export const configView = (config: ConfigValue): Json =>
  present(Object.fromEntries(CONFIG.map((name) => [name, config[name]])))

/** Settings as they stand after a change, with the level under the name that requests give it. */
export function configUpdateView({ compatibilityLevel, ...rest }: ConfigValue): Json {
  const names = CONFIG.map((name) => (name === 'compatibilityLevel' ? 'compatibility' : name))
  const settings: Json = { ...rest, compatibility: compatibilityLevel }
  return present(Object.fromEntries(names.map((name) => [name, settings[name]])))
}
