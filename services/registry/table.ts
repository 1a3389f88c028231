/**
 * What the `_schemas` topic says, folded record by record: subjects, versions, ids, levels, modes. A pure function of
 * the log, so a restart and a second reader know the same. Guarantees, per context: an id names one schema for ever, a
 * version that stands keeps its id (what came first in the log holds; a record against it is passed over and counted), and
 * the same schema has one id across subjects. Two writers at once can therefore lose a race, but never both win it.
 */
import { parseAvro, printAvro } from '#format/avro-compatibility.ts'
import { SchemaProblem } from '#format/avro-schema.ts'
import type { AvroNode } from '#format/avro-tree.ts'
import {
  type ConfigValue,
  contextOf,
  DEFAULT_CONTEXT,
  type Level,
  type RegistryRecord,
  type SchemaVersion,
} from './records.ts'

/** What makes two schemas one: their printed form; for what cannot be parsed here, the text itself. */
export function identityOf(version: { schemaType: string; schema: string; references: readonly unknown[] }): string {
  if (version.schemaType === 'AVRO' && version.references.length === 0) {
    try {
      return printAvro(parseAvro(version.schema))
    } catch (error) {
      if (!(error instanceof SchemaProblem)) throw error
    }
  }
  return JSON.stringify([version.schemaType, version.schema, version.references])
}

const isSameText = (a: SchemaVersion, b: SchemaVersion): boolean =>
  a.schema === b.schema &&
  a.schemaType === b.schemaType &&
  (a.references === b.references || JSON.stringify(a.references) === JSON.stringify(b.references))

/** Ids are counted apart in every context. */
interface Ids {
  readonly byId: Map<number, { readonly identity: string; readonly versions: Set<SchemaVersion> }>
  readonly idByIdentity: Map<string, number>
  /** Highest ids the log states apart from their schemas. */
  readonly used: Set<number>
  max: number
}

/** The folded topic. */
export class SchemaTable {
  /** Subject → version → schema, soft deleted ones included. */
  readonly #subjects = new Map<string, Map<number, SchemaVersion>>()
  readonly #ids = new Map<string, Ids>()
  readonly #configs = new Map<string | null, ConfigValue>()
  readonly #modes = new Map<string | null, string>()
  readonly #parsed = new WeakMap<SchemaVersion, AvroNode>()
  /** Numbers of records that count for nothing, or that an unconfirmed append may still put on the log: never given to another schema. */
  readonly #versionsTaken = new Map<string, number>()

  #idsOf(context: string): Ids {
    const known = this.#ids.get(context)
    if (known !== undefined) return known
    const fresh: Ids = { byId: new Map(), idByIdentity: new Map(), used: new Set(), max: 0 }
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
    const old = this.#subjects.get(version.subject)?.get(version.version)
    // Most records that are written again carry the same text: it need not be parsed anew.
    const same = old !== undefined && bound?.versions.has(old) === true && isSameText(old, version)
    const identity = same ? bound!.identity : identityOf(version)
    if (bound !== undefined && bound.identity !== identity) return false
    if (old !== undefined && old.id !== version.id) return false
    this.#remove(version.subject, version.version)
    ids.max = Math.max(ids.max, version.id)
    const versions = this.#subjects.get(version.subject) ?? new Map<number, SchemaVersion>()
    this.#subjects.set(version.subject, versions.set(version.version, version))
    const holders = ids.byId.get(version.id) ?? { identity, versions: new Set() }
    ids.byId.set(version.id, holders)
    holders.versions.add(version)
    if (!ids.idByIdentity.has(identity)) ids.idByIdentity.set(identity, version.id)
    return true
  }

  #remove(subject: string, number: number): void {
    const versions = this.#subjects.get(subject)
    const version = versions?.get(number)
    if (versions === undefined || version === undefined) return
    versions.delete(number)
    if (versions.size === 0) this.#subjects.delete(subject)
    const { byId, idByIdentity } = this.#idsOf(contextOf(subject))
    const bound = byId.get(version.id)
    bound?.versions.delete(version)
    if (bound === undefined || bound.versions.size > 0) return
    byId.delete(version.id)
    if (idByIdentity.get(bound.identity) === version.id) idByIdentity.delete(bound.identity)
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
  subjects(deleted: boolean): string[] {
    return [...this.#subjects.keys()].filter((subject) => this.versionsOf(subject, deleted).length > 0).toSorted()
  }

  /** A subject's versions in order; empty when there are none. */
  versionsOf(subject: string, deleted: boolean): SchemaVersion[] {
    const versions = [...(this.#subjects.get(subject)?.values() ?? [])]
    return versions.filter((version) => deleted || !version.deleted).toSorted((a, b) => a.version - b.version)
  }

  /** A subject's version, also a soft deleted one; null when it is not there. */
  versionOf(subject: string, version: number): SchemaVersion | null {
    return this.#subjects.get(subject)?.get(version) ?? null
  }

  /** Every (subject, version) of an id, soft deleted ones included. */
  holdersOf(id: number, context: string = DEFAULT_CONTEXT): SchemaVersion[] {
    const versions = [...(this.#ids.get(context)?.byId.get(id)?.versions ?? [])]
    return versions.toSorted((a, b) => (a.subject < b.subject ? -1 : a.subject > b.subject ? 1 : a.version - b.version))
  }

  /** The id of a schema, or null when it has none yet. */
  idOf(identity: string, context: string = DEFAULT_CONTEXT): number | null {
    return this.#ids.get(context)?.idByIdentity.get(identity) ?? null
  }

  /** Identity of a registered id. */
  identityOfId(id: number, context: string = DEFAULT_CONTEXT): string | null {
    return this.#ids.get(context)?.byId.get(id)?.identity ?? null
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
    return Math.max(this.#versionsTaken.get(subject) ?? 0, this.versionsOf(subject, true).at(-1)?.version ?? 0) + 1
  }

  /** A level as set; null when not set there. A null subject is global. */
  levelOf(subject: string | null): Level | null {
    return this.#configs.get(subject)?.compatibilityLevel ?? null
  }

  /** All settings as they stand in the topic; null when none is set there. */
  configOf(subject: string | null): ConfigValue | null {
    return this.#configs.get(subject) ?? null
  }

  /** A mode as set; null when not set there. */
  modeOf(subject: string | null): string | null {
    return this.#modes.get(subject) ?? null
  }

  /**
   * A version's parsed schema, kept.
   * @throws SchemaProblem when another tool registered what cannot be parsed here
   */
  parsed(version: SchemaVersion): AvroNode {
    const node = this.#parsed.get(version) ?? parseAvro(version.schema)
    this.#parsed.set(version, node)
    return node
  }
}
