/**
 * The registry's operations over the folded topic: queries answer from the table (and read the log once more before they
 * say that something does not exist), commands decide on the newest table and are acknowledged by the log.
 * Refuses with Confluent's codes (refusal.ts). Upholds R1 to R4 for Avro without references.
 */
import { parseAvro, printAvro } from '#format/avro-compatibility.ts'
import { SchemaProblem } from '#format/avro-schema.ts'
import type { AvroNode } from '#format/avro-tree.ts'
import type { Clock, EventLog } from '#io/ports.ts'
import { comparedVersions, incompatibilities, LEVEL_DEFAULT } from './compatibility.ts'
import type { Level, SchemaVersion } from './records.ts'
import * as records from './records.ts'
import { RegistryRefusal, refusals } from './refusal.ts'
import type { PassedOver, RegistryLogger } from './store.ts'
import { openStore } from './store.ts'
import { identityOf, type SchemaTable } from './table.ts'

/** A schema as a client sends it. */
export interface SchemaRequest {
  readonly schema: string
  /** `AVRO` is the only one; others are refused. */
  readonly schemaType: string
  readonly references: readonly unknown[]
}

/** A version as a path names it. */
export type VersionChoice = number | 'latest'

/** Everything the routes need. Every method may throw RegistryRefusal, and OperatingError when the log fails. */
export interface RegistryState {
  subjects(options: { deleted: boolean; prefix: string }): Promise<string[]>
  versions(subject: string, options: { deleted: boolean }): Promise<number[]>
  version(subject: string, version: VersionChoice, options: { deleted: boolean }): Promise<SchemaVersion>
  /** The subjects and versions that hold an id; at least one. */
  holders(id: number): Promise<SchemaVersion[]>
  /** The version under which a subject has this schema. */
  lookUp(subject: string, request: SchemaRequest, options: { deleted: boolean }): Promise<SchemaVersion>
  /** Registers or finds; the id. */
  register(subject: string, request: SchemaRequest): Promise<number>
  /** Why the schema would not fit; empty when it would. `version` null: those the level asks for. */
  explain(subject: string, version: VersionChoice | null, request: SchemaRequest): Promise<string[]>
  deleteSubject(subject: string, options: { permanent: boolean }): Promise<number[]>
  deleteVersion(subject: string, version: VersionChoice, options: { permanent: boolean }): Promise<number>
  /** The level of a subject (null: global). With `inherit` the global one stands in. */
  level(subject: string | null, options: { inherit: boolean }): Promise<Level>
  setLevel(subject: string | null, level: string): Promise<Level>
  /** Unsets; the level that was set. */
  unsetLevel(subject: string | null): Promise<Level>
  mode(subject: string | null, options: { inherit: boolean }): Promise<string>
  /** Records of the topic that count for nothing. */
  readonly passedOver: Readonly<PassedOver>
  /** Resolves when the log can be read to its end. */
  refresh(): Promise<void>
  close(): Promise<void>
}

/**
 * Opens the registry on a log.
 * @throws OperatingError LOG_UNREACHABLE, DATA_LOSS_SUSPECTED, CONFIG_INVALID
 */
export async function openRegistryState(deps: {
  log: EventLog
  clock: Clock
  logger: RegistryLogger
}): Promise<RegistryState> {
  const store = await openStore(deps)
  const { table } = store

  /** "Not there" is said only about the log's present end: another process may have restored or migrated schemas. */
  async function query<T>(answer: () => T): Promise<T> {
    try {
      return answer()
    } catch (error) {
      if (!(error instanceof RegistryRefusal) || error.status !== 404) throw error
    }
    await store.refresh()
    return answer()
  }

  return {
    subjects: async ({ deleted, prefix }) => table.subjects(deleted).filter((subject) => subject.startsWith(prefix)),
    versions: (subject, { deleted }) => query(() => existing(table, subject, deleted).map(({ version }) => version)),
    version: (subject, version, { deleted }) => query(() => choose(table, subject, version, deleted)),
    holders: (id) =>
      query(() => {
        const holders = table.holdersOf(id)
        if (holders.length === 0) throw refusals.schemaIdNotFound(id)
        return holders
      }),
    lookUp(subject, request, { deleted }) {
      const { identity } = check(request)
      return query(() => {
        const found = existing(table, subject, deleted).find(({ id }) => table.identityOfId(id) === identity)
        if (found === undefined) throw refusals.schemaNotFound()
        return found
      })
    },
    async register(subject, request) {
      requireSubject(subject)
      const { node, identity } = check(request)
      return store.write(() => {
        const versions = table.versionsOf(subject, false)
        const known = versions.find(({ id }) => table.identityOfId(id) === identity)
        if (known !== undefined) return { records: [], answer: known.id }
        requireWritable(table, subject)
        const level = levelFor(table, subject)
        const details = incompatibilities(level, node, comparedVersions(level, versions), table)
        if (details.length > 0) throw refusals.incompatible(subject, details)
        const id = table.idOf(identity) ?? table.idMaxOf() + 1
        const version = table.nextVersion(subject)
        const record = records.encodeSchema({ subject, version, id, schema: printAvro(node), deleted: false })
        return { records: [record], answer: id, allotted: { id, subject, version } }
      })
    },
    explain(subject, version, request) {
      const { node } = check(request)
      return query(() => {
        const level = levelFor(table, subject)
        if (version === null)
          return incompatibilities(level, node, comparedVersions(level, table.versionsOf(subject, false)), table)
        // A subject without versions has nothing to be incompatible with; a number that is not there is a mistake.
        const live = table.versionsOf(subject, false)
        const chosen = version === 'latest' ? live.at(-1) : choose(table, subject, version, false)
        return chosen === undefined ? [] : incompatibilities(level, node, [chosen], table)
      })
    },
    deleteSubject: (subject, { permanent }) =>
      store.write(() => {
        requireWritable(table, subject)
        const all = table.versionsOf(subject, true)
        const live = table.versionsOf(subject, false)
        if (all.length === 0) throw refusals.subjectNotFound(subject)
        if (permanent) {
          if (live.length > 0) throw refusals.subjectNotSoftDeleted(subject)
          const removals = all.map(({ version }) => records.encodeRemoval(subject, version))
          return { records: [...idsUsed(table, all), ...removals], answer: all.map(({ version }) => version) }
        }
        if (live.length === 0) throw refusals.subjectSoftDeleted(subject)
        const last = live.at(-1)!.version
        return {
          records: [records.encodeSubjectDeletion(subject, last), ...forgotten(table, subject)],
          answer: live.map(({ version }) => version),
        }
      }),
    deleteVersion: (subject, version, { permanent }) =>
      store.write(() => {
        requireWritable(table, subject)
        const chosen = choose(table, subject, version, version !== 'latest' || permanent)
        if (permanent) {
          if (!chosen.deleted) throw refusals.versionNotSoftDeleted(subject, chosen.version)
          const removal = records.encodeRemoval(subject, chosen.version)
          return { records: [...idsUsed(table, [chosen]), removal], answer: chosen.version }
        }
        if (chosen.deleted) throw refusals.versionSoftDeleted(subject, chosen.version)
        const isLast = table.versionsOf(subject, false).length === 1
        const record = records.encodeSchema({ ...chosen, deleted: true })
        return { records: [record, ...(isLast ? forgotten(table, subject) : [])], answer: chosen.version }
      }),
    level: (subject, { inherit }) =>
      query(() => {
        const own = table.levelOf(subject)
        if (own !== null) return own
        if (subject !== null && !inherit) throw refusals.levelNotConfigured(subject)
        return table.levelOf(null) ?? LEVEL_DEFAULT
      }),
    async setLevel(subject, text) {
      const level = records.LEVELS.find((known) => known === text.toUpperCase())
      if (level === undefined) throw refusals.invalidLevel()
      if (subject !== null) requireSubject(subject)
      return store.write(() => {
        requireWritable(table, subject)
        return {
          records: [records.encodeConfig(subject, { ...table.configOf(subject), compatibilityLevel: level })],
          answer: level,
        }
      })
    },
    unsetLevel: (subject) =>
      store.write(() => {
        requireWritable(table, subject)
        const level = table.levelOf(subject)
        if (level === null) {
          if (subject !== null) throw refusals.subjectNotFound(subject)
          return { records: [], answer: LEVEL_DEFAULT }
        }
        return { records: [records.encodeConfig(subject, null)], answer: level }
      }),
    mode: (subject, { inherit }) =>
      query(() => {
        const own = table.modeOf(subject)
        if (own !== null) return own
        if (subject !== null && !inherit) throw refusals.modeNotConfigured(subject)
        return table.modeOf(null) ?? 'READWRITE'
      }),
    passedOver: store.passedOver,
    refresh: () => store.refresh(),
    close: () => store.close(),
  }
}

/** Parses and identifies what a client sent, or refuses it. */
function check(request: SchemaRequest): { node: AvroNode; identity: string } {
  const { schema, schemaType, references } = request
  if (schemaType !== 'AVRO') throw refusals.invalidSchemaType(schemaType)
  if (schema.trim() === '') throw refusals.emptySchema()
  if (references.length > 0) {
    throw refusals.invalidSchema(
      schema,
      schemaType,
      'schema references are not supported; put the referenced types into the schema',
    )
  }
  try {
    const node = parseAvro(schema)
    return { node, identity: identityOf({ schema: printAvro(node), schemaType, references }) }
  } catch (error) {
    if (error instanceof SchemaProblem) throw refusals.invalidSchema(schema, schemaType, error.message)
    throw error
  }
}

function existing(table: SchemaTable, subject: string, deleted: boolean): SchemaVersion[] {
  const versions = table.versionsOf(subject, deleted)
  if (versions.length === 0) throw refusals.subjectNotFound(subject)
  return versions
}

function choose(table: SchemaTable, subject: string, version: VersionChoice, deleted: boolean): SchemaVersion {
  const versions = existing(table, subject, deleted)
  const found = version === 'latest' ? versions.at(-1) : versions.find((candidate) => candidate.version === version)
  if (found === undefined) throw refusals.versionNotFound(version as number)
  return found
}

const levelFor = (table: SchemaTable, subject: string): Level =>
  table.levelOf(subject) ?? table.levelOf(null) ?? LEVEL_DEFAULT

function requireSubject(subject: string): void {
  if (subject === '' || subject === '__GLOBAL' || records.isReservedSubject(subject) || /\p{Cc}/u.test(subject)) {
    throw refusals.invalidSubject(subject)
  }
}

function requireWritable(table: SchemaTable, subject: string | null): void {
  const mode = (subject === null ? null : table.modeOf(subject)) ?? table.modeOf(null)
  if (mode?.startsWith('READONLY') === true) throw refusals.readOnly(subject ?? '__GLOBAL')
}

/** A subject that loses its last live version loses its own settings. */
function forgotten(table: SchemaTable, subject: string) {
  return [
    ...(table.configOf(subject) === null ? [] : [records.encodeConfig(subject, null)]),
    ...(table.modeOf(subject) === null ? [] : [records.encodeMode(subject, null)]),
  ]
}

/** States the highest id before its schema is removed for good, and takes back what was stated before. */
function idsUsed(table: SchemaTable, removed: readonly SchemaVersion[]) {
  const context = records.contextOf(removed[0]?.subject ?? '')
  const [idMax, stated] = [table.idMaxOf(context), table.idsUsedOf(context)]
  if (stated.includes(idMax) || !removed.some(({ id }) => id === idMax)) return []
  const old = stated.map((id) => records.encodeIdsUsed(context, id, false))
  return [records.encodeIdsUsed(context, idMax, true), ...old]
}
