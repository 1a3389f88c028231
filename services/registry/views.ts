/**
 * Answers: properties in Confluent's order, empty ones left out. What is asked for most, a schema by its id, is kept as bytes.
 * Source: the entities of Confluent's client (Schema, SchemaString, RegisterSchemaResponse, Config).
 */
import { resolvedText } from './canonical.ts'
import { type Contract, guidOf } from './contract.ts'
import type { ConfigValue, SchemaVersion } from './records.ts'
import type { Entity } from './registration.ts'
import type { ConfigRequest } from './request.ts'
import type { SchemaTable } from './table.ts'

type Json = Readonly<Record<string, unknown>>

const guids = new WeakMap<SchemaVersion, string>()

/** The GUID of a version, computed once. */
export function guidOfVersion(version: SchemaVersion): string {
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

/** A version's text as it is asked for: `resolved` has its references written out. */
const textOf = (table: SchemaTable, version: SchemaVersion, format: string | null): string =>
  (format === 'resolved' ? resolvedText(table, version) : null) ?? version.schema

/** A version under its subject. `tells` says whether it is deleted. */
export function versionView(
  table: SchemaTable,
  version: SchemaVersion,
  { format = null, tells }: { format?: string | null; tells: boolean },
): Json {
  const { subject, version: number, id, schemaType, references, metadata, ruleSet, deleted } = version
  return present({
    ...{ subject, version: number, id, guid: guidOfVersion(version), schemaType, ...listed(references), metadata },
    ...{ schema: textOf(table, version, format), ...(tells ? { deleted } : {}), ruleSet },
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
  asked: { format: string | null; named: boolean; maxId: number | null },
): Json {
  const { subject, version: number, schemaType, references, metadata, ruleSet, deleted } = version
  return present({
    ...(asked.named ? { subject, version: number } : {}),
    ...{ guid: guidOfVersion(version), schemaType, schema: textOf(table, version, asked.format) },
    ...{ ...listed(references), metadata, ruleSet, maxId: asked.maxId, deleted },
  })
}

const schemaBytes = new WeakMap<SchemaVersion, Buffer>()

/** The same, when nothing special is asked for; kept. */
export function plainSchema(table: SchemaTable, version: SchemaVersion): Buffer {
  let bytes = schemaBytes.get(version)
  if (bytes === undefined) {
    bytes = Buffer.from(JSON.stringify(schemaView(table, version, { format: null, named: false, maxId: null })))
    schemaBytes.set(version, bytes)
  }
  return bytes
}

/** A schema's own JSON. */
export const rawSchema = (table: SchemaTable, version: SchemaVersion, format: string | null): Buffer =>
  Buffer.from(textOf(table, version, format))

const CONFIG = [
  ...['alias', 'normalize', 'validateFields', 'compatibilityLevel', 'compatibilityPolicy', 'compatibilityGroup'],
  ...['defaultMetadata', 'overrideMetadata', 'defaultRuleSet', 'overrideRuleSet'],
]

/** Settings as they stand. */
export const configView = (config: ConfigValue): Json =>
  present(Object.fromEntries(CONFIG.map((name) => [name, config[name]])))

/** Settings as they were sent. */
export function configRequestView(request: ConfigRequest): Json {
  const names = CONFIG.map((name) => (name === 'compatibilityLevel' ? 'compatibility' : name))
  return present(Object.fromEntries(names.map((name) => [name, request[name]])))
}
