/**
 * What stands beside a schema's text and takes part in what makes two schemas one: references, metadata and rules. Kept in one
 * spelling (empty parts left out, keys in order), handed from version to version, wrapped by the defaults and overrides of the
 * settings. The registry runs no rules; clients do. Source: Confluent's Metadata, RuleSet and AbstractSchemaRegistry.
 */
import { createHash } from 'node:crypto'
import type { ConfigValue, JsonObject } from './records.ts'

/** A reference to a version of another subject. Null where the body named none. */
export interface Reference {
  readonly name: string | null
  readonly subject: string | null
  /** -1 is the latest. */
  readonly version: number | null
}

/** Everything that makes a schema what it is. */
export interface Contract {
  readonly schemaType: string
  readonly schema: string
  readonly references: readonly unknown[]
  readonly metadata: JsonObject | null
  readonly ruleSet: JsonObject | null
}

/** The property of the metadata in which a client asks for the version's number. */
const VERSION_PROPERTY = 'confluent:version'

/** One text per schema: equal texts, equal schemas. The schema's own text must be canonical. */
export function identityOf({ schemaType, schema, references, metadata, ruleSet }: Contract): string {
  const plain = references.length === 0 && metadata === null && ruleSet === null
  return plain ? `${schemaType} ${schema}` : JSON.stringify([schemaType, schema, references, metadata, ruleSet])
}

const properties = (metadata: JsonObject | null): Readonly<Record<string, string>> =>
  (metadata?.['properties'] ?? {}) as Readonly<Record<string, string>>

/** A property of the metadata; null when it is not there. */
export const propertyOf = (metadata: JsonObject | null, name: string): string | null =>
  properties(metadata)[name] ?? null

/** The version that the metadata states; null when none. */
export const statedVersion = (metadata: JsonObject | null): string | null => propertyOf(metadata, VERSION_PROPERTY)

function withProperties(metadata: JsonObject | null, changed: Readonly<Record<string, string>>): JsonObject {
  const { properties: _, ...rest } = metadata ?? {}
  const keys = Object.keys(changed).toSorted()
  return inOrder({
    ...rest,
    ...(keys.length === 0 ? {} : { properties: Object.fromEntries(keys.map((key) => [key, changed[key]!])) }),
  })
}

const inOrder = (metadata: JsonObject): JsonObject =>
  Object.fromEntries(
    ['tags', 'properties', 'sensitive'].filter((part) => part in metadata).map((part) => [part, metadata[part]]),
  )

/** The metadata with the version stated in it. */
export const stateVersion = (metadata: JsonObject | null, version: number): JsonObject =>
  withProperties(metadata, { ...properties(metadata), [VERSION_PROPERTY]: String(version) })

/** The metadata without a stated version. */
export function withoutVersion(metadata: JsonObject | null): JsonObject | null {
  if (metadata === null) return null
  const { [VERSION_PROPERTY]: _, ...rest } = properties(metadata)
  return withProperties(metadata, rest)
}

/** Later layers win by key; sensitive keys add up. Null when there is no layer. */
export function mergeMetadata(layers: readonly (JsonObject | null | undefined)[]): JsonObject | null {
  const present = layers.filter((layer) => layer !== null && layer !== undefined)
  if (present.length === 0) return null
  const merged = (part: string): JsonObject => {
    const all = Object.assign({}, ...present.map((layer) => layer[part] ?? {})) as JsonObject
    return Object.fromEntries(
      Object.keys(all)
        .toSorted()
        .map((key) => [key, all[key]]),
    )
  }
  const [tags, own] = [merged('tags'), merged('properties')]
  const sensitive = [...new Set(present.flatMap((layer) => (layer['sensitive'] ?? []) as string[]))].toSorted()
  return {
    ...(Object.keys(tags).length === 0 ? {} : { tags }),
    ...(Object.keys(own).length === 0 ? {} : { properties: own }),
    ...(sensitive.length === 0 ? {} : { sensitive }),
  }
}

const RULE_LISTS = ['migrationRules', 'domainRules', 'encodingRules'] as const

/** Rules of later layers replace those of the same name. Null when there is no layer. */
export function mergeRuleSets(layers: readonly (JsonObject | null | undefined)[]): JsonObject | null {
  const present = layers.filter((layer) => layer !== null && layer !== undefined)
  if (present.length === 0) return null
  const merged = RULE_LISTS.map((list) => {
    const rules = new Map<unknown, JsonObject>()
    for (const layer of present) for (const rule of (layer[list] ?? []) as JsonObject[]) rules.set(rule['name'], rule)
    return [list, [...rules.values()]] as const
  })
  return Object.fromEntries(merged.filter(([, rules]) => rules.length > 0))
}

/** Metadata and rules that a new version gets: its own or those of the version before it, inside the settings' layers. */
export function inheritContract(
  own: { metadata: JsonObject | null; ruleSet: JsonObject | null },
  previous: { metadata: JsonObject | null; ruleSet: JsonObject | null } | null,
  config: ConfigValue,
): { metadata: JsonObject | null; ruleSet: JsonObject | null } {
  const layer = (name: string): JsonObject | undefined => config[name] as JsonObject | undefined
  const metadata = own.metadata ?? previous?.metadata ?? null
  const ruleSet = own.ruleSet ?? previous?.ruleSet ?? null
  return {
    metadata: mergeMetadata([layer('defaultMetadata'), metadata, layer('overrideMetadata')]),
    ruleSet: mergeRuleSets([layer('defaultRuleSet'), ruleSet, layer('overrideRuleSet')]),
  }
}

/** Whether the settings wrap what is registered. */
export const hasLayers = (config: ConfigValue): boolean =>
  ['defaultMetadata', 'overrideMetadata', 'defaultRuleSet', 'overrideRuleSet'].some((name) => config[name] != null)

/** The schema's identity in every registry: the MD5 of its parts, as a UUID. */
export function guidOf({ schema, references, metadata, ruleSet }: Contract): string {
  const hash = createHash('md5').update(schema)
  for (const reference of references as readonly Reference[]) {
    hash.update(reference.name ?? '').update(reference.subject ?? '')
    const version = Buffer.alloc(4)
    version.writeInt32BE(reference.version ?? 0)
    hash.update(version)
  }
  if (metadata !== null) hash.update(Buffer.of(1)).update(leaves(inOrder(metadata)))
  if (ruleSet !== null) hash.update(Buffer.of(1)).update(ruleLeaves(ruleSet))
  const hex = hash.digest('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}

/** Keys and values of all parts one after the other; the parts' own names are not among them. */
const leaves = (metadata: JsonObject): string => Object.values(metadata).map(flat).join('')

function flat(value: unknown): string {
  if (Array.isArray(value)) return value.map(flat).join('')
  if (typeof value === 'object' && value !== null)
    return Object.entries(value)
      .map(([key, each]) => key + flat(each))
      .join('')
  if (typeof value === 'boolean') return value ? '\u0001' : ''
  return typeof value === 'string' ? value : ''
}

const RULE = ['name', 'doc', 'kind', 'mode', 'type', 'tags', 'params', 'expr', 'onSuccess', 'onFailure', 'disabled']
const ruleLeaves = (ruleSet: JsonObject): string =>
  RULE_LISTS.flatMap((list) => (ruleSet[list] ?? []) as JsonObject[])
    .map((rule) => RULE.map((part) => flat(rule[part])).join(''))
    .join('')
