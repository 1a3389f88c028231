/**
 * Records of the `_schemas` topic in Confluent's format: JSON keys and values. Compaction works on the key's bytes, so
 * properties stand in Confluent's order, and what is null or empty is left out (a global setting has no subject at all).
 *
 *   {"keytype":"SCHEMA","subject":s,"version":n,"magic":1}
 *       {"subject":s,"version":n,"id":i,"md5":m,"schemaType":t,"references":[{"name":a,"subject":s,"version":n}],
 *        "metadata":{"tags":{},"properties":{},"sensitive":[]},"ruleSet":{"migrationRules":[],"domainRules":[]},
 *        "schema":text,"deleted":b}                          null = removed for good; schemaType is left out for AVRO
 *   {"keytype":"DELETE_SUBJECT","subject":s,"magic":0}       {"subject":s,"version":n}     versions up to n are soft deleted
 *   {"keytype":"CLEAR_SUBJECT","subject":s,"magic":0}        {"subject":s}                 soft deleted versions are forgotten
 *   {"keytype":"CONFIG","subject":s,"magic":0}               {"subject":s,"compatibilityLevel":level,…}  null = not set
 *   {"keytype":"MODE","subject":s,"magic":0}                 {"subject":s,"mode":mode}     null = not set
 *   {"keytype":"CONTEXT","tenant":"default","context":c,"magic":0}   {"tenant":"default","context":c}   c holds, or held, schemas
 *   {"keytype":"NOOP","magic":0}                             null
 *
 * `:.c:s` is subject s of context `.c`; ids are counted per context. Older registries write `"subject":null` in the keys of
 * global settings: that is read too. Properties this registry does not know are kept and written again, never an error.
 */
import type { RecordInput } from '#format/record-batch.ts'

/** Compatibility levels. */
export const LEVELS = [
  'NONE',
  'BACKWARD',
  'BACKWARD_TRANSITIVE',
  'FORWARD',
  'FORWARD_TRANSITIVE',
  'FULL',
  'FULL_TRANSITIVE',
] as const
/** A compatibility level. */
export type Level = (typeof LEVELS)[number]

/** JSON object out of a record or for one. */
export type JsonObject = Readonly<Record<string, unknown>>

/** A registered schema under a subject. */
export interface SchemaVersion {
  readonly subject: string
  readonly version: number
  readonly id: number
  readonly schema: string
  /** `AVRO` unless another tool registered it. */
  readonly schemaType: string
  /** References as written: `{ name, subject, version }`. */
  readonly references: readonly unknown[]
  /** `{ tags, properties, sensitive }`, or null. */
  readonly metadata: JsonObject | null
  /** `{ migrationRules, domainRules, encodingRules }`, or null. */
  readonly ruleSet: JsonObject | null
  /** Soft deleted: no longer listed, still readable by id. */
  readonly deleted: boolean
  /** When its record was written, ms UTC, as the log says; null when that was not told. */
  readonly writtenMs: number | null
  /** The whole value as it stood, so that nothing is lost when it is written again. */
  readonly value: JsonObject
}

/** Settings of a subject as they stand in the topic; properties of other registries are kept. */
export interface ConfigValue {
  readonly compatibilityLevel?: Level
  readonly [property: string]: unknown
}

/** What a record says. A null subject is the global setting (or every subject), a null config or mode unsets it. */
export type RegistryRecord =
  | { readonly kind: 'schema'; readonly version: SchemaVersion }
  | { readonly kind: 'schema-removed'; readonly subject: string; readonly version: number }
  | { readonly kind: 'subject-deleted'; readonly subject: string; readonly version: number }
  | { readonly kind: 'subject-cleared'; readonly subject: string | null }
  | { readonly kind: 'config'; readonly subject: string | null; readonly config: ConfigValue | null }
  | { readonly kind: 'mode'; readonly subject: string | null; readonly mode: string | null }
  | { readonly kind: 'context'; readonly context: string; readonly set: boolean }
  | { readonly kind: 'ids-used'; readonly context: string; readonly id: number; readonly set: boolean }
  | { readonly kind: 'other' }

/**
 * The highest id that ever was outlives its schema: without it, compaction could forget a removed schema's id, and the
 * next schema would be given the id that old records still carry. It is kept as a CONFIG of a reserved subject, which
 * every other registry reads as the setting of a subject that has no versions.
 */
const IDS_USED = '__tidemark-ids-used-'

/** The tenant of a registry that has one. */
const TENANT = 'default'
/** Context of subjects that name none. */
export const DEFAULT_CONTEXT = '.'
const QUALIFIED = /^:(\.[^:]*):(.*)$/s

/** The context of a subject: `.c` of `:.c:s`, `.` when it names none. */
export const contextOf = (subject: string): string => QUALIFIED.exec(subject)?.[1] ?? DEFAULT_CONTEXT
const nameOf = (subject: string): string => QUALIFIED.exec(subject)?.[2] ?? subject

const utf8 = new TextEncoder()
const text = new TextDecoder('utf-8', { fatal: true })
const json = (value: unknown): Uint8Array => utf8.encode(JSON.stringify(value))

const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
const objectOrNull = (value: unknown): JsonObject | null => (isObject(value) ? value : null)

/** Reads a record; null when it is not in the format. `writtenMs`: the log's time of it. */
export function parseRecord(
  key: Uint8Array | null,
  value: Uint8Array | null,
  writtenMs: number | null = null,
): RegistryRecord | null {
  let parsedKey: unknown
  let parsed: unknown
  try {
    parsedKey = key === null ? null : JSON.parse(text.decode(key))
    parsed = value === null || value.length === 0 ? null : JSON.parse(text.decode(value))
  } catch {
    return null
  }
  if (!isObject(parsedKey) || !(parsed === null || isObject(parsed))) return null
  const { keytype, version } = parsedKey
  const subject = parsedKey['subject'] ?? null
  if (typeof keytype !== 'string' || (subject !== null && typeof subject !== 'string')) return null
  switch (keytype) {
    case 'SCHEMA':
      return subject === null ? null : schemaRecord(subject, version, parsed, writtenMs)
    case 'DELETE_SUBJECT': {
      if (parsed === null) return { kind: 'other' }
      const until = parsed['version']
      return isCount(until) && subject !== null ? { kind: 'subject-deleted', subject, version: until } : null
    }
    case 'CLEAR_SUBJECT':
      return parsed === null ? { kind: 'other' } : { kind: 'subject-cleared', subject }
    case 'CONFIG':
      return configRecord(subject, parsed)
    case 'MODE': {
      const mode = parsed?.['mode'] ?? null
      return mode === null || typeof mode === 'string' ? { kind: 'mode', subject, mode } : null
    }
    case 'CONTEXT': {
      const { context } = parsedKey
      return typeof context === 'string' ? { kind: 'context', context, set: parsed !== null } : null
    }
    default:
      return { kind: 'other' }
  }
}

function configRecord(subject: string | null, value: JsonObject | null): RegistryRecord | null {
  const name = nameOf(subject ?? '')
  if (subject !== null && name.startsWith(IDS_USED)) {
    const id = Number(name.slice(IDS_USED.length))
    return isCount(id) ? { kind: 'ids-used', context: contextOf(subject), id, set: value !== null } : null
  }
  const level = value?.['compatibilityLevel'] ?? null
  if (level !== null && !LEVELS.includes(level as Level)) return null
  if (value === null) return { kind: 'config', subject, config: null }
  const { subject: _, ...config } = value
  return { kind: 'config', subject, config: config as ConfigValue }
}

function schemaRecord(
  subject: string,
  version: unknown,
  value: JsonObject | null,
  writtenMs: number | null,
): RegistryRecord | null {
  if (!isCount(version)) return null
  if (value === null) return { kind: 'schema-removed', subject, version }
  const { id, schema, schemaType, references, metadata, ruleSet, deleted } = value
  if (!isCount(id) || typeof schema !== 'string') return null
  return {
    kind: 'schema',
    version: {
      subject,
      version,
      id,
      schema,
      schemaType: typeof schemaType === 'string' ? schemaType : 'AVRO',
      references: Array.isArray(references) ? references : [],
      metadata: objectOrNull(metadata),
      ruleSet: objectOrNull(ruleSet),
      deleted: deleted === true,
      writtenMs,
      value,
    },
  }
}

const isEmpty = (value: unknown): boolean =>
  value === null ||
  value === undefined ||
  value === '' ||
  (Array.isArray(value) ? value.length === 0 : isObject(value) && Object.keys(value).length === 0)

/** Say something also when nothing stands in them: metadata or rules of a schema that are none, unlike no metadata and no rules. */
const WHOLE: ReadonlySet<string> = new Set([
  ...['metadata', 'ruleSet', 'defaultMetadata', 'overrideMetadata', 'defaultRuleSet', 'overrideRuleSet'],
])

/** Properties of `order` first, then the others as they stood; empty ones are left out. */
function ordered(value: JsonObject, order: readonly string[]): JsonObject {
  const names = [...order, ...Object.keys(value).filter((name) => !order.includes(name))]
  const isLeft = (name: string): boolean => (WHOLE.has(name) && isObject(value[name])) || !isEmpty(value[name])
  return Object.fromEntries(names.filter(isLeft).map((name) => [name, value[name]]))
}

const byCodeUnits = (a: unknown, b: unknown): number => (String(a) < String(b) ? -1 : 1)

/** A map or set as Confluent's sorted collections print it. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.toSorted(byCodeUnits)
  if (!isObject(value)) return value
  const names = Object.keys(value).toSorted(byCodeUnits)
  return Object.fromEntries(names.map((name) => [name, value[name]]))
}

const RULE = ['name', 'doc', 'kind', 'mode', 'type', 'tags', 'params', 'expr', 'onSuccess', 'onFailure', 'disabled']

function orderedReference(reference: unknown): unknown {
  return isObject(reference) ? ordered(reference, ['name', 'subject', 'version']) : reference
}

function orderedMetadata(metadata: unknown): unknown {
  if (!isObject(metadata)) return metadata
  const { tags, properties, sensitive } = metadata
  const sortedTags = isObject(tags)
    ? Object.fromEntries(Object.entries(sorted(tags) as JsonObject).map(([path, each]) => [path, sorted(each)]))
    : tags
  const all = { ...metadata, tags: sortedTags, properties: sorted(properties), sensitive: sorted(sensitive) }
  return ordered(all, ['tags', 'properties', 'sensitive'])
}

function orderedRuleSet(ruleSet: unknown): unknown {
  if (!isObject(ruleSet)) return ruleSet
  const rule = (each: unknown): unknown =>
    isObject(each) ? ordered({ ...each, tags: sorted(each['tags']), params: sorted(each['params']) }, RULE) : each
  const lists = Object.entries(ruleSet).map(([name, list]) => [name, Array.isArray(list) ? list.map(rule) : list])
  return ordered(Object.fromEntries(lists), ['migrationRules', 'domainRules', 'encodingRules', 'enableAt'])
}

const schemaKey = (subject: string, version: number): Uint8Array =>
  json({ keytype: 'SCHEMA', subject, version, magic: 1 })

/** Keys of all but schemas; a null subject is left out. */
const subjectKey = (keytype: string, subject: string | null): Uint8Array =>
  json({ keytype, ...(subject === null ? {} : { subject }), magic: 0 })

const SCHEMA_VALUE = 'subject version id md5 schemaType references metadata ruleSet schema deleted'.split(' ')

/**
 * A schema under a subject. `value` is what stood there before: what is not given here is taken from it, so that writing
 * a `SchemaVersion` again loses nothing. Where the record stood (`offset`, `ts`) is not carried over.
 */
export function encodeSchema(version: {
  subject: string
  version: number
  id: number
  schema: string
  deleted: boolean
  schemaType?: string
  references?: readonly unknown[]
  metadata?: JsonObject | null
  ruleSet?: JsonObject | null
  writtenMs?: number | null
  value?: JsonObject
}): RecordInput {
  const { value: before = {}, writtenMs: _writtenMs, ...given } = version
  const { offset: _offset, ts: _ts, ...kept } = before
  const value = { ...kept, ...given }
  const all = {
    ...value,
    schemaType: value.schemaType === 'AVRO' ? null : value.schemaType,
    references: (value.references ?? []).map(orderedReference),
    metadata: orderedMetadata(value.metadata),
    ruleSet: orderedRuleSet(value.ruleSet),
  }
  return { key: schemaKey(version.subject, version.version), value: json(ordered(all, SCHEMA_VALUE)) }
}

/** Removes a schema version for good. */
export const encodeRemoval = (subject: string, version: number): RecordInput => ({
  key: schemaKey(subject, version),
  value: null,
})

/** Soft deletes a subject's versions up to `version`. */
export const encodeSubjectDeletion = (subject: string, version: number): RecordInput => ({
  key: subjectKey('DELETE_SUBJECT', subject),
  value: json({ subject, version }),
})

/** Forgets the soft deleted versions of a subject (null: of every subject of the default context), before IMPORT mode. */
export const encodeClearing = (subject: string | null): RecordInput => ({
  key: subjectKey('CLEAR_SUBJECT', subject),
  value: json(subject === null ? {} : { subject }),
})

const CONFIG_VALUE = (
  'subject alias normalize validateFields validateNewSchemas validateRules ' +
  'compatibilityLevel compatibilityPolicy compatibilityGroup ' +
  'defaultMetadata overrideMetadata defaultRuleSet overrideRuleSet'
).split(' ')

/** Sets a subject's settings as a whole; null unsets them. A null subject is global. */
export const encodeConfig = (subject: string | null, config: ConfigValue | null): RecordInput => ({
  key: subjectKey('CONFIG', subject),
  value: config === null ? null : json(ordered({ ...config, subject }, CONFIG_VALUE)),
})

/** Sets a mode; null unsets it. A null subject is global. */
export const encodeMode = (subject: string | null, mode: string | null): RecordInput => ({
  key: subjectKey('MODE', subject),
  value: mode === null ? null : json(ordered({ subject, mode }, ['subject', 'mode'])),
})

/** Lists a context, before its first schema: where Confluent's registry looks for names and ids that the default one does not hold. */
export const encodeContext = (context: string): RecordInput => ({
  key: json({ keytype: 'CONTEXT', tenant: TENANT, context, magic: 0 }),
  value: json({ tenant: TENANT, context }),
})

/** States (or, with `set` false, takes back) that ids of a context up to `id` were given. */
export function encodeIdsUsed(context: string, id: number, set: boolean): RecordInput {
  const name = `${IDS_USED}${id}`
  const subject = context === DEFAULT_CONTEXT ? name : `:${context}:${name}`
  return encodeConfig(subject, set ? { compatibilityLevel: 'NONE' } : null)
}

/** The key of what a record says, as it is written here; null where one key per record does not matter. */
export function keyOf(record: RegistryRecord): Uint8Array | null {
  switch (record.kind) {
    case 'schema':
      return schemaKey(record.version.subject, record.version.version)
    case 'schema-removed':
      return schemaKey(record.subject, record.version)
    case 'config':
      return subjectKey('CONFIG', record.subject)
    case 'mode':
      return subjectKey('MODE', record.subject)
    case 'subject-deleted':
    case 'subject-cleared':
    case 'context':
    case 'ids-used':
    case 'other':
      return null
  }
}

/** Whether a subject's name is kept for the registry itself. */
export const isReservedSubject = (subject: string): boolean => nameOf(subject).startsWith(IDS_USED)
