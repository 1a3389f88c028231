/**
 * Settings and modes: what holds for a subject, and the records that change it. A subject's own settings stand alone (they are not
 * merged with others); without them those of its context hold, which for the default context are the registry's, and without those
 * the ones of `:.__GLOBAL:`. A global READONLY_OVERRIDE holds everywhere. Source: Confluent's InMemoryCache, KafkaSchemaRegistry.
 */
import type { RecordInput } from '#format/record-batch.ts'
import { LEVEL_DEFAULT } from './compatibility.ts'
import { nameOf, scopesOf } from './naming.ts'
import * as records from './records.ts'
import { type ConfigValue, contextOf, DEFAULT_CONTEXT, type SchemaVersion } from './records.ts'
import { refusals } from './refusal.ts'
import type { ConfigRequest } from './request.ts'
import type { Decision } from './store.ts'
import type { SchemaTable } from './table.ts'

/** What registration does: as usual, not at all, not at all anywhere, or with ids and versions as given. */
export const MODES = ['READWRITE', 'READONLY', 'READONLY_OVERRIDE', 'IMPORT'] as const

const filled = (config: ConfigValue): ConfigValue => ({
  ...config,
  compatibilityLevel: config.compatibilityLevel ?? LEVEL_DEFAULT,
})

/** Settings set right here, with the level that they come to; null when there are none. The registry itself always has some. */
export function ownConfig(table: SchemaTable, subject: string | null): ConfigValue | null {
  const config = table.configOf(subject)
  return config === null && subject !== null ? null : filled(config ?? {})
}

/** Settings that hold for a subject (null: for the registry). */
export function configFor(table: SchemaTable, subject: string | null): ConfigValue {
  return filled(firstOf(subject, (scope) => table.configOf(scope)) ?? {})
}

function firstOf<T>(subject: string | null, read: (scope: string | null) => T | null): T | null {
  for (const scope of scopesOf(subject)) {
    const found = read(scope)
    if (found !== null) return found
  }
  return null
}

/** The mode set right here; null when there is none. */
export function ownMode(table: SchemaTable, subject: string | null): string | null {
  const global = table.modeOf(null) ?? 'READWRITE'
  return global === 'READONLY_OVERRIDE' || subject === null ? global : table.modeOf(subject)
}

/** The mode that holds for a subject (null: for the registry). */
export function modeFor(table: SchemaTable, subject: string | null): string {
  if (table.modeOf(null) === 'READONLY_OVERRIDE') return 'READONLY_OVERRIDE'
  return firstOf(subject, (scope) => table.modeOf(scope)) ?? 'READWRITE'
}

/** Refuses when a subject may not be changed. @throws RegistryRefusal 42205 */
export function requireWritable(table: SchemaTable, subject: string | null): void {
  if (modeFor(table, subject).startsWith('READONLY')) throw refusals.readOnly(subject)
}

/** Changes settings: what the request names, and nothing else; the answer is what stands then. @throws RegistryRefusal */
export function updateConfig(
  table: SchemaTable,
  subject: string | null,
  request: ConfigRequest,
): Decision<ConfigValue> {
  requireWritable(table, subject)
  const { compatibility, ...rest } = request
  const changes = {
    ...rest,
    ...(compatibility === undefined
      ? {}
      : { compatibilityLevel: compatibility === null ? null : (compatibility as string).toUpperCase() }),
  }
  const merged = Object.entries({ ...table.configOf(subject), ...changes }).filter(([, value]) => value !== null)
  const answer: ConfigValue = Object.fromEntries(merged)
  return { records: [records.encodeConfig(subject, answer)], answer }
}

/** Unsets settings; the answer is what they were. @throws RegistryRefusal */
export function removeConfig(table: SchemaTable, subject: string | null): Decision<ConfigValue> {
  const answer = ownConfig(table, subject)
  if (answer === null) throw refusals.subjectNotFound(subject ?? '')
  requireWritable(table, subject)
  return { records: table.configOf(subject) === null ? [] : [records.encodeConfig(subject, null)], answer }
}

/** Subjects that a setting's subject means: itself, all of a context, or all. */
export function subjectsIn(table: SchemaTable, scope: string | null, deleted: boolean): readonly string[] {
  if (scope === null) return table.subjects(deleted)
  const isContext = nameOf(scope) === '' && contextOf(scope) !== DEFAULT_CONTEXT
  if (!isContext) return table.has(scope, deleted) ? [scope] : []
  return table.subjects(deleted).filter((subject) => contextOf(subject) === contextOf(scope))
}

/**
 * Sets a mode; null unsets it. IMPORT wants nobody to be there (unless forced), and removes what was soft deleted.
 * @throws RegistryRefusal
 */
export function setMode(
  table: SchemaTable,
  subject: string | null,
  mode: string | null,
  options: { force: boolean },
): Decision<null> {
  const cleared: RecordInput[] = []
  if (mode === 'IMPORT' && modeFor(table, subject) !== 'IMPORT' && !options.force) {
    if (subjectsIn(table, subject, false).length > 0) throw refusals.subjectsExist()
    const remaining = subjectsIn(table, subject, true).flatMap((name) => table.versionsOf(name, true))
    for (const version of remaining) requireUnreferenced(table, version)
    cleared.push(...removals(table, remaining), records.encodeClearing(subject))
  }
  return { records: [...cleared, records.encodeMode(subject, mode)], answer: null }
}

/** Unsets a mode; with `recursive` also those of the subjects of the same context. The answer is what it was. @throws RegistryRefusal */
export function removeMode(
  table: SchemaTable,
  subject: string | null,
  options: { recursive: boolean },
): Decision<string | null> {
  const answer = ownMode(table, subject)
  if (answer === null && !options.recursive) throw refusals.subjectNotFound(subject ?? '')
  const inside = (name: string | null): boolean =>
    options.recursive && name !== null && contextOf(name) === contextOf(subject ?? '')
  const unset = table.moded().filter((name) => name === subject || inside(name))
  return { records: unset.map((name) => records.encodeMode(name, null)), answer }
}

/** @throws RegistryRefusal 42206 */
export function requireUnreferenced(table: SchemaTable, { subject, version }: SchemaVersion): void {
  if (table.referrersOf(subject, version).length > 0) throw refusals.referenced(subject, version)
}

/** Records that remove versions for good. The highest id of a context is stated first, and what was stated before taken back. */
export function removals(table: SchemaTable, versions: readonly SchemaVersion[]): RecordInput[] {
  const stated = [...new Set(versions.map(({ subject }) => contextOf(subject)))].flatMap((context) => {
    const [idMax, before] = [table.idMaxOf(context), table.idsUsedOf(context)]
    const removesMax = versions.some(({ subject, id }) => id === idMax && contextOf(subject) === context)
    if (before.includes(idMax) || !removesMax) return []
    return [
      records.encodeIdsUsed(context, idMax, true),
      ...before.map((id) => records.encodeIdsUsed(context, id, false)),
    ]
  })
  return [...stated, ...versions.map(({ subject, version }) => records.encodeRemoval(subject, version))]
}

/** A subject whose last version is removed for good loses its own settings. */
export function forgotten(table: SchemaTable, subject: string): RecordInput[] {
  return [
    ...(table.configOf(subject) === null ? [] : [records.encodeConfig(subject, null)]),
    ...(table.modeOf(subject) === null ? [] : [records.encodeMode(subject, null)]),
  ]
}
