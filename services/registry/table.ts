/**
 * What the `_schemas` topic says, folded record by record: subjects, versions, ids, settings. A pure function of the log,
 * so a restart and a second reader know the same. Guarantees, per context: an id names one schema for ever, a version that
 * stands keeps its id (what came first in the log holds; a record against it is passed over and counted), and the same
 * schema has one id across subjects. Two writers at once can therefore lose a race, but never both win it.
 *
 * Lists are kept in order and not sorted when asked for; a schema's text is parsed once.
 */
import { parseAvro, printAvro } from '#format/avro-compatibility.ts'
import type { AvroNode } from '#format/avro-node.ts'
import { SchemaProblem } from '#format/avro-schema.ts'
import * as contract from './contract.ts'
import { relatedSubject } from './naming.ts'
import {
  type ConfigValue,
  contextOf,
  DEFAULT_CONTEXT,
  type Level,
  type RegistryRecord,
  type SchemaVersion,
} from './records.ts'
import { ReferenceProblem, type Resolved, resolveReferences } from './references.ts'

/**
 * What makes two schemas one: their printed form with what stands beside it. A text that refers to others is printed when
 * it is registered, and stands as it is.
 */
export function identityOf(
  version: Pick<contract.Contract, 'schemaType' | 'schema' | 'references'> & Partial<contract.Contract>,
): string {
  const { metadata = null, ruleSet = null } = version
  return contract.identityOf({ ...version, schema: canonicalText(version), metadata, ruleSet })
}

function canonicalText({ schemaType, schema, references }: Omit<contract.Contract, 'metadata' | 'ruleSet'>): string {
  if (schemaType !== 'AVRO' || references.length > 0) return schema
  try {
    return printAvro(parseAvro(schema))
  } catch (error) {
    if (!(error instanceof SchemaProblem)) throw error
    return schema
  }
}

const sameJson = (a: unknown, b: unknown): boolean => a === b || JSON.stringify(a) === JSON.stringify(b)
const isSameContract = (a: SchemaVersion, b: SchemaVersion): boolean =>
  a.schema === b.schema &&
  a.schemaType === b.schemaType &&
  sameJson(a.references, b.references) &&
  sameJson(a.metadata, b.metadata) &&
  sameJson(a.ruleSet, b.ruleSet)

/** A subject's versions in order, soft deleted ones included. */
interface Subject {
  readonly versions: SchemaVersion[]
  live: number
}

/** Who holds an id. `ordered` and `guid` are made when asked for. */
interface Bound {
  readonly identity: string
  readonly versions: Set<SchemaVersion>
  ordered: readonly SchemaVersion[] | null
  guid: string | null
}

/** Ids are counted apart in every context. */
interface Ids {
  readonly byId: Map<number, Bound>
  readonly idByIdentity: Map<string, number>
  /** Highest ids the log states apart from their schemas. */
  readonly used: Set<number>
  /** Made when asked for: a GUID of every schema. */
  byGuid: Map<string, number> | null
  max: number
}

const byHolder = (a: SchemaVersion, b: SchemaVersion): number =>
  a.subject < b.subject ? -1 : a.subject > b.subject ? 1 : a.version - b.version

/** Index of the first version that is not lower. */
function placeOf(versions: readonly SchemaVersion[], version: number): number {
  let [low, high] = [0, versions.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (versions[middle]!.version < version) low = middle + 1
    else high = middle
  }
  return low
}

/** The folded topic. */
export class SchemaTable {
  readonly #subjects = new Map<string, Subject>()
  /** Names in order, all and those that have live versions; null when one came or went. */
  #names: readonly string[] | null = null
  #liveNames: readonly string[] | null = null
  readonly #ids = new Map<string, Ids>()
  readonly #configs = new Map<string | null, ConfigValue>()
  readonly #modes = new Map<string | null, string>()
  readonly #parsed = new WeakMap<SchemaVersion, AvroNode>()
  /** Subject and version → ids of the schemas that refer to it and are not deleted, and how often. */
  readonly #referrers = new Map<string, Map<number, number>>()
  /** Contexts that records list. */
  readonly #contexts = new Set<string>()
  /** Numbers of records that count for nothing, or that an unconfirmed append may still put on the log: never given to another schema. */
  readonly #versionsTaken = new Map<string, number>()

  #idsOf(context: string): Ids {
    const known = this.#ids.get(context)
    if (known !== undefined) return known
    const fresh: Ids = { byId: new Map(), idByIdentity: new Map(), used: new Set(), byGuid: null, max: 0 }
    this.#ids.set(context, fresh)
    return fresh
  }

  /** Applies the log's next record; false when it is passed over because of what came first. */
  apply(record: RegistryRecord): boolean {
    switch (record.kind) {
      case 'schema': {
        const { subject, version } = record.version
        if (this.#put(record.version)) return true
        // It is taken back at its key, perhaps late: nothing else may come to stand there.
        this.#takeVersion(subject, version)
        return false
      }
      case 'schema-removed':
        this.#remove(record.subject, record.version)
        break
      case 'subject-deleted':
        for (const version of this.versionsOf(record.subject, true)) {
          if (version.version <= record.version && !version.deleted) {
            this.#put({ ...version, deleted: true, value: { ...version.value, deleted: true } })
          }
        }
        break
      case 'subject-cleared':
        for (const subject of record.subject === null ? [...this.#subjects.keys()] : [record.subject]) {
          if (contextOf(subject) !== contextOf(record.subject ?? '')) continue
          for (const { version, deleted } of this.versionsOf(subject, true)) if (deleted) this.#remove(subject, version)
        }
        break
      case 'config':
        if (record.config === null) this.#configs.delete(record.subject)
        else this.#configs.set(record.subject, record.config)
        break
      case 'mode':
        if (record.mode === null) this.#modes.delete(record.subject)
        else this.#modes.set(record.subject, record.mode)
        break
      case 'context':
        if (record.set) this.#contexts.add(record.context)
        else this.#contexts.delete(record.context)
        break
      case 'ids-used': {
        const ids = this.#idsOf(record.context)
        ids.max = Math.max(ids.max, record.id)
        if (record.set) ids.used.add(record.id)
        else ids.used.delete(record.id)
        break
      }
      case 'other':
        break
    }
    return true
  }

  #put(version: SchemaVersion): boolean {
    const ids = this.#idsOf(contextOf(version.subject))
    const bound = ids.byId.get(version.id)
    const old = this.versionOf(version.subject, version.version)
    // Most records that are written again, or stand under another subject, carry the same text: it need not be parsed anew.
    const twin = bound?.versions.values().next().value
    const same = twin !== undefined && isSameContract(twin, version)
    const identity = same ? bound!.identity : identityOf(version)
    if (bound !== undefined && bound.identity !== identity) return false
    if (old !== null && old.id !== version.id) return false
    const node = twin === undefined ? undefined : this.#parsed.get(twin)
    if (same && node !== undefined) this.#parsed.set(version, node)
    this.#remove(version.subject, version.version)
    ids.max = Math.max(ids.max, version.id)
    this.#insert(version)
    const holders = ids.byId.get(version.id) ?? { identity, versions: new Set(), ordered: null, guid: null }
    ids.byId.set(version.id, holders)
    holders.versions.add(version)
    holders.ordered = null
    ids.byGuid = null
    if (!ids.idByIdentity.has(identity)) ids.idByIdentity.set(identity, version.id)
    if (!version.deleted) this.#refer(version, 1)
    return true
  }

  #insert(version: SchemaVersion): void {
    let held = this.#subjects.get(version.subject)
    if (held === undefined) {
      held = { versions: [], live: 0 }
      this.#subjects.set(version.subject, held)
      this.#names = null
    }
    held.versions.splice(placeOf(held.versions, version.version), 0, version)
    if (version.deleted) return
    held.live += 1
    if (held.live === 1) this.#liveNames = null
  }

  #remove(subject: string, number: number): void {
    const held = this.#subjects.get(subject)
    const at = placeOf(held?.versions ?? [], number)
    const version = held?.versions[at]
    if (held === undefined || version?.version !== number) return
    held.versions.splice(at, 1)
    if (!version.deleted) held.live -= 1
    if (held.live === 0) this.#liveNames = null
    if (held.versions.length === 0) {
      this.#subjects.delete(subject)
      this.#names = null
    }
    if (!version.deleted) this.#refer(version, -1)
    const ids = this.#idsOf(contextOf(subject))
    const bound = ids.byId.get(version.id)
    if (bound === undefined) return
    bound.versions.delete(version)
    bound.ordered = null
    ids.byGuid = null
    if (bound.versions.size > 0) return
    ids.byId.delete(version.id)
    if (ids.idByIdentity.get(bound.identity) === version.id) ids.idByIdentity.delete(bound.identity)
  }

  #refer(version: SchemaVersion, change: 1 | -1): void {
    for (const reference of version.references as readonly contract.Reference[]) {
      if (typeof reference?.subject !== 'string') continue
      const key = `${reference.version} ${relatedSubject(version.subject, reference.subject)}`
      const ids = this.#referrers.get(key) ?? new Map<number, number>()
      this.#referrers.set(key, ids)
      const count = (ids.get(version.id) ?? 0) + change
      if (count > 0) ids.set(version.id, count)
      else ids.delete(version.id)
      if (ids.size === 0) this.#referrers.delete(key)
    }
  }

  /** Keeps numbers of an append whose outcome is unknown from being given again: it may still reach the log. */
  reserve(taken: { id: number; subject: string; version: number }): void {
    const ids = this.#idsOf(contextOf(taken.subject))
    ids.max = Math.max(ids.max, taken.id)
    this.#takeVersion(taken.subject, taken.version)
  }

  #takeVersion(subject: string, version: number): void {
    this.#versionsTaken.set(subject, Math.max(version, this.#versionsTaken.get(subject) ?? 0))
  }

  /** Subjects by name; with `deleted` also those that have only soft deleted versions. */
  subjects(deleted: boolean): readonly string[] {
    this.#names ??= [...this.#subjects.keys()].toSorted()
    if (deleted) return this.#names
    this.#liveNames ??= this.#names.filter((name) => this.#subjects.get(name)!.live > 0)
    return this.#liveNames
  }

  /** Whether a subject has versions; `deleted`: soft deleted ones count. */
  has(subject: string, deleted: boolean): boolean {
    const held = this.#subjects.get(subject)
    return held !== undefined && (deleted || held.live > 0)
  }

  /** Contexts that are listed or ever held an id, the default one first. */
  contexts(): string[] {
    const others = new Set([...this.#contexts, ...this.#ids.keys()])
    others.delete(DEFAULT_CONTEXT)
    return [DEFAULT_CONTEXT, ...[...others].toSorted()]
  }

  /** Whether the topic lists a context. The default one is not listed. */
  isListed(context: string): boolean {
    return context === DEFAULT_CONTEXT || this.#contexts.has(context)
  }

  /** A subject's versions in order; empty when there are none. */
  versionsOf(subject: string, deleted: boolean): SchemaVersion[] {
    const versions = this.#subjects.get(subject)?.versions ?? []
    return deleted ? [...versions] : versions.filter((version) => !version.deleted)
  }

  /** A subject's version, also a soft deleted one; null when it is not there. */
  versionOf(subject: string, version: number): SchemaVersion | null {
    const versions = this.#subjects.get(subject)?.versions ?? []
    const found = versions[placeOf(versions, version)]
    return found?.version === version ? found : null
  }

  /** A subject's newest version that is not deleted; null when there is none. */
  latestOf(subject: string): SchemaVersion | null {
    return this.#subjects.get(subject)?.versions.findLast((version) => !version.deleted) ?? null
  }

  /** Every (subject, version) of an id in order of the names, soft deleted ones included. */
  holdersOf(id: number, context: string = DEFAULT_CONTEXT): readonly SchemaVersion[] {
    const bound = this.#ids.get(context)?.byId.get(id)
    if (bound === undefined) return []
    bound.ordered ??= [...bound.versions].toSorted(byHolder)
    return bound.ordered
  }

  /** The id of a schema, or null when it has none yet. */
  idOf(identity: string, context: string = DEFAULT_CONTEXT): number | null {
    return this.#ids.get(context)?.idByIdentity.get(identity) ?? null
  }

  /** Identity of a registered id. */
  identityOfId(id: number, context: string = DEFAULT_CONTEXT): string | null {
    return this.#ids.get(context)?.byId.get(id)?.identity ?? null
  }

  /** The id of a GUID in a context, or null. */
  idOfGuid(guid: string, context: string): number | null {
    const ids = this.#ids.get(context)
    if (ids === undefined) return null
    ids.byGuid ??= new Map(
      [...ids.byId].map(([id, bound]) => {
        bound.guid ??= contract.guidOf(bound.versions.values().next().value!)
        return [bound.guid, id]
      }),
    )
    return ids.byGuid.get(guid) ?? null
  }

  /** The highest id ever given in a context; 0 before the first. */
  idMaxOf(context: string = DEFAULT_CONTEXT): number {
    return this.#ids.get(context)?.max ?? 0
  }

  /** Ids whose use the log states apart from their schemas. */
  idsUsedOf(context: string = DEFAULT_CONTEXT): readonly number[] {
    return [...(this.#ids.get(context)?.used ?? [])]
  }

  /** The number the subject's next version gets. */
  nextVersion(subject: string): number {
    const last = this.#subjects.get(subject)?.versions.at(-1)?.version ?? 0
    return Math.max(this.#versionsTaken.get(subject) ?? 0, last) + 1
  }

  /** Ids of schemas that refer to a version and are not deleted, in order. */
  referrersOf(subject: string, version: number): number[] {
    return [...(this.#referrers.get(`${version} ${subject}`)?.keys() ?? [])].toSorted((a, b) => a - b)
  }

  /** A level as set; null when not set there. A null subject is global. */
  levelOf(subject: string | null): Level | null {
    return this.#configs.get(subject)?.compatibilityLevel ?? null
  }

  /** All settings as they stand in the topic; null when none is set there. */
  configOf(subject: string | null): ConfigValue | null {
    return this.#configs.get(subject) ?? null
  }

  /** Subjects that have settings, and these. */
  configs(): ReadonlyMap<string | null, ConfigValue> {
    return this.#configs
  }

  /** A mode as set; null when not set there. */
  modeOf(subject: string | null): string | null {
    return this.#modes.get(subject) ?? null
  }

  /** Subjects that have a mode of their own. */
  moded(): (string | null)[] {
    return [...this.#modes.keys()]
  }

  /** A version; -1 is the latest one that is not deleted. */
  readonly find = (subject: string, version: number): SchemaVersion | null =>
    version === -1 ? this.latestOf(subject) : this.versionOf(subject, version)

  /** The same without those that are soft deleted. */
  readonly findLive = (subject: string, version: number): SchemaVersion | null => {
    const found = this.find(subject, version)
    return found === null || found.deleted ? null : found
  }

  /**
   * A version's parsed schema, kept.
   * @throws SchemaProblem when another tool registered what cannot be parsed here
   */
  parsed(version: SchemaVersion): AvroNode {
    const known = this.#parsed.get(version)
    if (known !== undefined) return known
    const node = parseAvro(version.schema, this.#resolved(version).texts)
    this.#parsed.set(version, node)
    return node
  }

  /**
   * The subjects that a version refers to, directly and through others, each before those that it refers to.
   * @throws SchemaProblem when one of them is not there
   */
  referredBy(version: SchemaVersion): readonly string[] {
    return this.#resolved(version).subjects
  }

  #resolved({ subject, references }: SchemaVersion): Resolved {
    try {
      return resolveReferences(subject, references as readonly contract.Reference[], this.find)
    } catch (error) {
      if (!(error instanceof ReferenceProblem)) throw error
      throw new SchemaProblem('', error.message, 'Register what it refers to.')
    }
  }
}
