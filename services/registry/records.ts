/**
 * Records of the `_schemas` topic in Confluent's format: JSON keys and values. Compaction works on the key's bytes, so
 * properties stand in Confluent's order.
 *
 *   {"keytype":"SCHEMA","subject":s,"version":n,"magic":1}   {"subject":s,"version":n,"id":i,"schema":text,"deleted":b}   null = removed for good
 *   {"keytype":"DELETE_SUBJECT","subject":s,"magic":0}       {"subject":s,"version":n}     versions up to n are soft deleted
 *   {"keytype":"CONFIG","subject":s|null,"magic":0}          {"compatibilityLevel":level}  null = not set
 *   {"keytype":"MODE","subject":s|null,"magic":0}            {"mode":mode}                 null = not set
 *   {"keytype":"NOOP","magic":0}                             null
 *
 * Other key types and properties of other tools (references, metadata, rules, contexts) are kept or passed over, never an error.
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

/** A registered schema under a subject. */
export interface SchemaVersion {
  readonly subject: string
  readonly version: number
  readonly id: number
  readonly schema: string
  /** `AVRO` unless another tool registered it. */
  readonly schemaType: string
  /** References of other tools' schemas, as written; empty for ours. */
  readonly references: readonly unknown[]
  /** Soft deleted: no longer listed, still readable by id. */
  readonly deleted: boolean
  /** The whole value as it stood, so that nothing is lost when it is written again. */
  readonly value: Readonly<Record<string, unknown>>
}

/** What a record says. A null subject is the global setting, a null level or mode unsets it. */
export type RegistryRecord =
  | { readonly kind: 'schema'; readonly version: SchemaVersion }
  | { readonly kind: 'schema-removed'; readonly subject: string; readonly version: number }
  | { readonly kind: 'subject-deleted'; readonly subject: string; readonly version: number }
  | { readonly kind: 'level'; readonly subject: string | null; readonly level: Level | null }
  | { readonly kind: 'mode'; readonly subject: string | null; readonly mode: string | null }
  | { readonly kind: 'ids-used'; readonly id: number; readonly set: boolean }
  | { readonly kind: 'other' }

/**
 * The highest id that ever was outlives its schema: without it, compaction could forget a removed schema's id, and the
 * next schema would be given the id that old records still carry. It is kept as a CONFIG of a reserved subject, which
 * every other registry reads as the setting of a subject that has no versions.
 */
const IDS_USED = '__tidemark-ids-used-'

const utf8 = new TextEncoder()
const text = new TextDecoder('utf-8', { fatal: true })
const json = (value: unknown): Uint8Array => utf8.encode(JSON.stringify(value))

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

/** Reads a record; null when it is not in the format. */
export function parseRecord(key: Uint8Array | null, value: Uint8Array | null): RegistryRecord | null {
  let parsedKey: unknown
  let parsed: unknown
  try {
    parsedKey = key === null ? null : JSON.parse(text.decode(key))
    parsed = value === null || value.length === 0 ? null : JSON.parse(text.decode(value))
  } catch {
    return null
  }
  if (!isObject(parsedKey) || !(parsed === null || isObject(parsed))) return null
  const subject = parsedKey['subject'] ?? null
  if (subject !== null && typeof subject !== 'string') return null
  switch (parsedKey['keytype']) {
    case 'SCHEMA':
      return subject === null ? null : schemaRecord(subject, parsedKey['version'], parsed)
    case 'DELETE_SUBJECT': {
      if (parsed === null || subject === null) return { kind: 'other' }
      const version = parsed['version']
      return isCount(version) ? { kind: 'subject-deleted', subject, version } : null
    }
    case 'CONFIG': {
      if (subject?.startsWith(IDS_USED) === true) {
        const id = Number(subject.slice(IDS_USED.length))
        return isCount(id) ? { kind: 'ids-used', id, set: parsed !== null } : { kind: 'other' }
      }
      const level = parsed?.['compatibilityLevel'] ?? null
      return level === null || LEVELS.includes(level as Level)
        ? { kind: 'level', subject, level: level as Level | null }
        : null
    }
    case 'MODE': {
      const mode = parsed?.['mode'] ?? null
      return mode === null || typeof mode === 'string' ? { kind: 'mode', subject, mode } : null
    }
    default:
      return { kind: 'other' }
  }
}

function schemaRecord(
  subject: string,
  version: unknown,
  value: Readonly<Record<string, unknown>> | null,
): RegistryRecord | null {
  if (!isCount(version)) return null
  if (value === null) return { kind: 'schema-removed', subject, version }
  const { id, schema, schemaType, references, deleted } = value
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
      deleted: deleted === true,
      value,
    },
  }
}

const schemaKey = (subject: string, version: number): Uint8Array =>
  json({ keytype: 'SCHEMA', subject, version, magic: 1 })

/** A schema under a subject; the rest of `value` is written as it is. */
export function encodeSchema(version: {
  subject: string
  version: number
  id: number
  schema: string
  deleted: boolean
  value?: Readonly<Record<string, unknown>>
}): RecordInput {
  const { subject, version: number, id, schema, deleted, value } = version
  return {
    key: schemaKey(subject, number),
    value: json({ subject, version: number, id, ...value, schema, deleted }),
  }
}

/** Removes a schema version for good. */
export const encodeRemoval = (subject: string, version: number): RecordInput => ({
  key: schemaKey(subject, version),
  value: null,
})

/** Soft deletes a subject's versions up to `version`. */
export const encodeSubjectDeletion = (subject: string, version: number): RecordInput => ({
  key: json({ keytype: 'DELETE_SUBJECT', subject, magic: 0 }),
  value: json({ subject, version }),
})

/** Sets a level; null unsets it. A null subject is global. */
export const encodeLevel = (subject: string | null, level: Level | null): RecordInput => ({
  key: json({ keytype: 'CONFIG', subject, magic: 0 }),
  value: level === null ? null : json({ compatibilityLevel: level }),
})

/** Unsets a mode. */
export const encodeModeRemoval = (subject: string): RecordInput => ({
  key: json({ keytype: 'MODE', subject, magic: 0 }),
  value: null,
})

/** States (or, with `set` false, takes back) that ids up to `id` were given. */
export const encodeIdsUsed = (id: number, set: boolean): RecordInput =>
  encodeLevel(`${IDS_USED}${id}`, set ? 'NONE' : null)

/** Whether a subject's name is kept for the registry itself. */
export const isReservedSubject = (subject: string): boolean => subject.startsWith(IDS_USED)
