/**
 * Questions to the folded topic: versions, holders of ids, lists. Source: Confluent's resources.
 */
import type { MayRead } from './asked.ts'
import { EVERY_SUBJECT, hasPrefix, nameOf, normalizeSubject, qualify, relatedSubject } from './naming.ts'
import { contextOf, DEFAULT_CONTEXT, type SchemaVersion } from './records.ts'
import { refusals } from './refusal.ts'
import { lookUpUnder } from './registration.ts'
import type { SchemaRequest } from './request.ts'
import { subjectsIn } from './settings.ts'
import type { SchemaTable } from './table.ts'

/** Which versions count. */
export interface Shown {
  readonly deleted: boolean
  /** Only soft deleted ones. */
  readonly deletedOnly: boolean
}

/** Whether a subject (or a context, `:.c:`) has versions. */
const isThere = (table: SchemaTable, subject: string, deleted: boolean): boolean =>
  table.has(subject, deleted) || (nameOf(subject) === '' && subjectsIn(table, subject, deleted).length > 0)

/** A version, -1 the latest. @throws RegistryRefusal 40401, 40402 */
export function versionIn(table: SchemaTable, subject: string, number: number, deleted: boolean): SchemaVersion {
  const found = table.find(subject, number)
  if (found !== null && (deleted || !found.deleted)) return found
  throw isThere(table, subject, deleted) ? refusals.versionNotFound(number) : refusals.subjectNotFound(subject)
}

/** The version under which a subject has a schema. @throws RegistryRefusal 40401, 40403, 42201 */
export function lookedUp(
  table: SchemaTable,
  subject: string,
  request: SchemaRequest,
  options: { normalize: boolean; deleted: boolean },
): SchemaVersion {
  const found = lookUpUnder(table, subject, request, options)
  if (found !== null) return found
  throw isThere(table, subject, options.deleted) ? refusals.schemaNotFound() : refusals.subjectNotFound(subject)
}

/** A subject's versions. @throws RegistryRefusal 40401 */
export function versionsIn(table: SchemaTable, subject: string, shown: Shown): readonly SchemaVersion[] {
  const deleted = shown.deleted || shown.deletedOnly
  if (!isThere(table, subject, deleted)) throw refusals.subjectNotFound(subject)
  const versions = table.versionsOf(subject, deleted)
  return shown.deletedOnly ? versions.filter((version) => version.deleted) : versions
}

/** The newest version whose metadata has all properties. @throws RegistryRefusal 40401, 40403 */
export function latestWith(
  table: SchemaTable,
  subject: string,
  properties: ReadonlyMap<string, string>,
  deleted: boolean,
): SchemaVersion {
  if (!isThere(table, subject, deleted)) throw refusals.subjectNotFound(subject)
  const found = table.versionsOf(subject, deleted).findLast(({ metadata }) => {
    const own = (metadata?.['properties'] ?? {}) as Readonly<Record<string, string>>
    return [...properties].every(([name, value]) => own[name] === value)
  })
  if (found === undefined) throw refusals.schemaNotFound()
  return found
}

/** Names of subjects. */
export function subjectNames(table: SchemaTable, prefix: string, shown: Shown): readonly string[] {
  const all = table.subjects(shown.deleted || shown.deletedOnly)
  const names = prefix === EVERY_SUBJECT ? all : all.filter((name) => hasPrefix(name, prefix))
  return shown.deletedOnly ? names.filter((name) => !table.has(name, false)) : names
}

/**
 * Versions of many subjects, in order of their names: those that a prefix asks for, and those that have an alias. `count` is enough.
 */
export function versionsOfMany(
  table: SchemaTable,
  prefix: string,
  options: {
    deleted: boolean
    latestOnly: boolean
    ruleType: string | null
    aliases: ReadonlyMap<string, readonly string[]>
    count: number
  },
): readonly SchemaVersion[] {
  const { deleted, latestOnly, ruleType, aliases, count } = options
  const found: SchemaVersion[] = []
  for (const subject of table.subjects(deleted)) {
    if (found.length >= count) break
    if (!hasPrefix(subject, prefix) && !aliases.has(subject)) continue
    const versions = table.versionsOf(subject, deleted)
    const wanted = latestOnly ? versions.slice(-1) : versions
    found.push(...wanted.filter((version) => ruleType === null || hasRule(version, ruleType)))
  }
  return found
}

/** Other names of subjects, in order, as far as a prefix asks for them and they may be read: each is the name of a subject too. */
export function aliasesBySubject(
  table: SchemaTable,
  prefix: string,
  mayRead: MayRead,
): ReadonlyMap<string, readonly string[]> {
  const aliases = new Map<string, readonly string[]>()
  for (const [name, { alias }] of table.configs()) {
    if (name === null || typeof alias !== 'string' || alias === '' || !hasPrefix(name, prefix) || !mayRead(name))
      continue
    const subject = relatedSubject(name, alias)
    aliases.set(subject, [...(aliases.get(subject) ?? []), name].toSorted())
  }
  return aliases
}

const hasRule = ({ ruleSet }: SchemaVersion, type: string): boolean =>
  Object.values(ruleSet ?? {}).some(
    (rules) => Array.isArray(rules) && rules.some((rule: { readonly type?: unknown }) => rule.type === type),
  )

/**
 * What holds an id: in the default context, unless `hint` (a subject, or a context `:.c:`) leads to another. Empty when nothing does.
 */
export function holdersFor(table: SchemaTable, id: number, hint: string | null): readonly SchemaVersion[] {
  const subject = normalizeSubject(hint ?? '')
  const [context, name] = [contextOf(subject), nameOf(subject)]
  const here = table.holdersOf(id, context)
  if (name === '' || here.some((held) => held.subject === subject)) return here
  if (context !== DEFAULT_CONTEXT) return []
  for (const other of table.contexts()) {
    const there = table.holdersOf(id, other)
    if (there.some((held) => held.subject === qualify(other, name))) return there
  }
  return here
}

/** The one of several holders whose subject and version an answer tells: that of the hint, one that is not deleted. */
export function told(holders: readonly SchemaVersion[], hint: string | null): SchemaVersion | undefined {
  const name = nameOf(normalizeSubject(hint ?? ''))
  const own = name === '' ? [] : holders.filter(({ subject }) => nameOf(subject) === name)
  const among = own.length === 0 ? holders : own
  return among.find(({ deleted }) => !deleted) ?? among[0]
}

/** What holds a GUID, in whichever context. */
export function holdersOfGuid(table: SchemaTable, guid: string): readonly SchemaVersion[] {
  return table.contexts().flatMap((context) => {
    const id = table.idOfGuid(guid, context)
    return id === null ? [] : table.holdersOf(id, context)
  })
}
