/**
 * What the `_schemas` topic says, folded record by record: subjects, versions, ids, levels, modes. A pure function of
 * the log, so a restart and a second reader know the same. Guarantees: an id names one schema for ever (a record that
 * would bind it to another is passed over and counted), and the same schema has one id across subjects.
 */
import { parseAvro, printAvro } from '#format/avro-compatibility.ts'
import { SchemaProblem } from '#format/avro-schema.ts'
import type { AvroNode } from '#format/avro-tree.ts'
import type { Level, RegistryRecord, SchemaVersion } from './records.ts'

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

/** The folded topic. */
export class SchemaTable {
  /** Subject → version → schema, soft deleted ones included. */
  readonly #subjects = new Map<string, Map<number, SchemaVersion>>()
  readonly #byId = new Map<number, { readonly identity: string; readonly versions: Set<SchemaVersion> }>()
  readonly #idByIdentity = new Map<string, number>()
  readonly #levels = new Map<string | null, Level>()
  readonly #modes = new Map<string | null, string>()
  readonly #parsed = new WeakMap<SchemaVersion, AvroNode>()
  readonly #idsUsed = new Set<number>()
  /** Numbers an unconfirmed append may still put on the log: never given to another schema. */
  readonly #versionsTaken = new Map<string, number>()
  #idMax = 0
  /** Records that would have bound a known id to another schema. */
  conflicts = 0

  /** Applies the log's next record. */
  apply(record: RegistryRecord): void {
    switch (record.kind) {
      case 'schema':
        this.#put(record.version)
        break
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
      case 'level':
        if (record.level === null) this.#levels.delete(record.subject)
        else this.#levels.set(record.subject, record.level)
        break
      case 'mode':
        if (record.mode === null) this.#modes.delete(record.subject)
        else this.#modes.set(record.subject, record.mode)
        break
      case 'ids-used':
        this.#idMax = Math.max(this.#idMax, record.id)
        if (record.set) this.#idsUsed.add(record.id)
        else this.#idsUsed.delete(record.id)
        break
      case 'other':
        break
    }
  }

  #put(version: SchemaVersion): void {
    const identity = identityOf(version)
    const bound = this.#byId.get(version.id)
    const old = this.#subjects.get(version.subject)?.get(version.version)
    const alone = bound !== undefined && old !== undefined && bound.versions.size === 1 && bound.versions.has(old)
    if (bound !== undefined && bound.identity !== identity && !alone) {
      this.conflicts += 1
      return
    }
    this.#remove(version.subject, version.version)
    this.#idMax = Math.max(this.#idMax, version.id)
    const versions = this.#subjects.get(version.subject) ?? new Map<number, SchemaVersion>()
    this.#subjects.set(version.subject, versions.set(version.version, version))
    const holders = this.#byId.get(version.id) ?? { identity, versions: new Set() }
    this.#byId.set(version.id, holders)
    holders.versions.add(version)
    if (!this.#idByIdentity.has(identity)) this.#idByIdentity.set(identity, version.id)
  }

  #remove(subject: string, number: number): void {
    const versions = this.#subjects.get(subject)
    const version = versions?.get(number)
    if (versions === undefined || version === undefined) return
    versions.delete(number)
    if (versions.size === 0) this.#subjects.delete(subject)
    const bound = this.#byId.get(version.id)
    bound?.versions.delete(version)
    if (bound === undefined || bound.versions.size > 0) return
    this.#byId.delete(version.id)
    if (this.#idByIdentity.get(bound.identity) === version.id) this.#idByIdentity.delete(bound.identity)
  }

  /** Keeps numbers of an append whose outcome is unknown from being given again: it may still reach the log. */
  reserve(taken: { id: number; subject: string; version: number }): void {
    this.#idMax = Math.max(this.#idMax, taken.id)
    this.#versionsTaken.set(taken.subject, Math.max(taken.version, this.#versionsTaken.get(taken.subject) ?? 0))
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

  /** Every (subject, version) of an id, soft deleted ones included. */
  holdersOf(id: number): SchemaVersion[] {
    const versions = [...(this.#byId.get(id)?.versions ?? [])]
    return versions.toSorted((a, b) => (a.subject < b.subject ? -1 : a.subject > b.subject ? 1 : a.version - b.version))
  }

  /** The id of a schema, or null when it has none yet. */
  idOf(identity: string): number | null {
    return this.#idByIdentity.get(identity) ?? null
  }

  /** Identity of a registered id. */
  identityOfId(id: number): string | null {
    return this.#byId.get(id)?.identity ?? null
  }

  /** The highest id ever given; 0 before the first. */
  get idMax(): number {
    return this.#idMax
  }

  /** Ids whose use the log states apart from their schemas. */
  get idsUsed(): readonly number[] {
    return [...this.#idsUsed]
  }

  /** The number the subject's next version gets. */
  nextVersion(subject: string): number {
    return Math.max(this.#versionsTaken.get(subject) ?? 0, this.versionsOf(subject, true).at(-1)?.version ?? 0) + 1
  }

  /** A level as set; null when not set there. A null subject is global. */
  levelOf(subject: string | null): Level | null {
    return this.#levels.get(subject) ?? null
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
