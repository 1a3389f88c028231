/**
 * Bodies of requests, read as the JVM's registry reads them: numbers and truth values may come as text, unknown properties count
 * for nothing, null is "not given", and what has the wrong shape is 400 in Jackson's words. A body that is missing is 422.
 */
import type { Reference } from './contract.ts'
import { mergeMetadata, mergeRuleSets } from './contract.ts'
import type { JsonObject } from './records.ts'
import { RegistryRefusal, refusals } from './refusal.ts'

/** A schema as a client sends it. */
export interface SchemaRequest {
  /** Null or blank: that of the version before. */
  readonly schema: string | null
  readonly schemaType: string
  readonly references: readonly (Reference | null)[]
  readonly metadata: JsonObject | null
  readonly ruleSet: JsonObject | null
  /** 0 when not given; -1 asks for the next one by its number. */
  readonly version: number
  /** Negative when not given. */
  readonly id: number
}

/** Settings as a client sends them: a property that is not there stays as it is, null unsets it. */
export type ConfigRequest = Readonly<Record<string, unknown>>

type Json = Readonly<Record<string, unknown>>
const INT_MAX = 2 ** 31 - 1

const bad = (message: string): RegistryRefusal => new RegistryRefusal(400, message)
const quote = (text: string): string => JSON.stringify(text)

function shapeOf(value: unknown): string {
  if (Array.isArray(value)) return 'Array value (token `JsonToken.START_ARRAY`)'
  if (typeof value === 'object') return 'Object value (token `JsonToken.START_OBJECT`)'
  if (typeof value === 'boolean') return `Boolean value (token \`JsonToken.VALUE_${value ? 'TRUE' : 'FALSE'}\`)`
  return typeof value === 'string'
    ? 'String value (token `JsonToken.VALUE_STRING`)'
    : 'Number value (token `JsonToken.VALUE_NUMBER_INT`)'
}
const mismatch = (type: string, value: unknown): RegistryRefusal =>
  bad(`Cannot deserialize value of type \`${type}\` from ${shapeOf(value)}`)

function noConstructor(type: string, value: unknown): RegistryRefusal {
  const [kind, from] =
    typeof value === 'string'
      ? ['String', `String value ('${value.slice(0, 200)}')`]
      : typeof value === 'boolean'
        ? ['boolean/Boolean', `boolean value (${value})`]
        : ['int/Int', `Number value (${String(value)})`]
  return bad(
    `Cannot construct instance of \`${type}\` (although at least one Creator exists): no ${kind}-argument constructor/factory method to deserialize from ${from}`,
  )
}

function toText(value: unknown): string | null {
  if (value === null || value === undefined) return null
  if (typeof value === 'string') return value
  if (typeof value !== 'number' && typeof value !== 'boolean') throw mismatch('String', value)
  return String(value)
}

function toInteger(value: unknown): number | null {
  if (value === null || value === undefined) return null
  if (typeof value === 'string' && value.trim() === '') return null
  const number =
    typeof value === 'number'
      ? Math.trunc(value)
      : typeof value === 'string' && /^[+-]?\d+$/.test(value.trim())
        ? Number(value)
        : null
  if (number === null && typeof value === 'string')
    throw bad(
      `Cannot deserialize value of type \`Integer\` from String ${quote(value.slice(0, 200))}: not a valid \`java.lang.Integer\` value`,
    )
  if (number === null) throw mismatch('Integer', value)
  if (number > INT_MAX || number < -INT_MAX - 1)
    throw bad(`Numeric value (${number}) out of range of int (-2147483648 - 2147483647)`)
  return number
}

function toBoolean(value: unknown): boolean | null {
  if (value === null || value === undefined) return null
  if (typeof value === 'boolean') return value
  if (typeof value === 'number' && Number.isInteger(value)) return value !== 0
  if (typeof value !== 'string') throw mismatch('Boolean', value)
  const word = value.trim()
  if (word === '') return null
  if (/^(true|True|TRUE|false|False|FALSE)$/.test(word)) return word.toLowerCase() === 'true'
  throw bad(
    `Cannot deserialize value of type \`Boolean\` from String ${quote(value.slice(0, 200))}: only "true" or "false" recognized`,
  )
}

function toObject(type: string, value: unknown): Json | null {
  if (value === null || value === undefined) return null
  if (Array.isArray(value)) throw mismatch(type, value)
  if (typeof value !== 'object') throw noConstructor(type, value)
  return value as Json
}

function toList(type: string, value: unknown): readonly unknown[] | null {
  if (value === null || value === undefined) return null
  if (!Array.isArray(value)) throw mismatch(type, value)
  return value
}

function toSet(value: unknown): string[] {
  if (value === null || value === undefined) return []
  if (typeof value !== 'object') throw noConstructor('HashSet', value)
  return [...new Set((toList('String', value) ?? []).map((one) => toText(one) ?? ''))].toSorted()
}

/** Entries in order of their keys; entries of null are left out. */
function toMap<T>(value: unknown, read: (value: unknown) => T | null): Readonly<Record<string, T>> {
  const entries = Object.entries(toObject('LinkedHashMap', value) ?? {}).map(([key, one]) => [key, read(one)] as const)
  return Object.fromEntries(
    entries.filter((entry) => entry[1] !== null).toSorted(([a], [b]) => (a < b ? -1 : 1)),
  ) as Record<string, T>
}

function toMetadata(value: unknown): JsonObject | null {
  const object = toObject('Metadata', value)
  if (object === null) return null
  const tags = toMap(object['tags'], toSet)
  return mergeMetadata([
    { tags, properties: toMap(object['properties'], toText), sensitive: toSet(object['sensitive']) },
  ])
}

const KINDS = ['CONDITION', 'TRANSFORM']
const MODES = ['DOWNGRADE', 'READ', 'UPDOWN', 'UPGRADE', 'WRITE', 'WRITEREAD']
const MIGRATIONS = ['UPGRADE', 'DOWNGRADE', 'UPDOWN']

function toWord(type: string, value: unknown, words: readonly string[]): string | null {
  const word = toText(value)
  if (word === null || words.includes(word)) return word
  throw bad(
    `Cannot deserialize value of type \`${type}\` from String ${quote(word.slice(0, 200))}: not one of the values accepted for Enum class: [${words.join(', ')}]`,
  )
}

function toRule(value: unknown): JsonObject {
  const rule = toObject('Rule', value) ?? {}
  const disabled = toBoolean(rule['disabled']) === true
  const all = {
    name: toText(rule['name']),
    doc: toText(rule['doc']),
    kind: toWord('RuleKind', rule['kind'], KINDS) ?? 'TRANSFORM',
    mode: toWord('RuleMode', rule['mode'], MODES) ?? 'WRITEREAD',
    type: toText(rule['type']),
    tags: toSet(rule['tags']),
    params: toMap(rule['params'], toText),
    expr: toText(rule['expr']),
    onSuccess: toText(rule['onSuccess']),
    onFailure: toText(rule['onFailure']),
  }
  const given = Object.entries(all).filter(
    ([, part]) => part !== null && (typeof part !== 'object' || Object.keys(part).length > 0),
  )
  return { ...Object.fromEntries(given), disabled }
}

/** Why a rule is none; null when it is one. */
function faultOf({ name, type }: JsonObject): string | null {
  if (name === undefined) return 'Missing rule name'
  if (name === '') return 'Empty rule name'
  if (!/^[\p{L}_]/u.test(name as string)) return `Illegal initial character in rule name: ${name as string}`
  if (!/^[\p{L}\p{Nd}_-]*$/u.test(name as string)) return `Illegal character in rule name: ${name as string}`
  return type === undefined ? 'Missing rule type' : null
}

function toRuleSet(value: unknown): JsonObject | null {
  const object = toObject('RuleSet', value)
  if (object === null) return null
  const names = new Set<unknown>()
  const rules = (list: string, kind: string, allowed: string): JsonObject[] =>
    (toList('Rule>', object[list]) ?? []).map((one) => {
      const rule = toRule(one)
      const { name, mode } = rule
      if (names.has(name)) throw refusals.invalidRuleSet(`Found rule with duplicate name '${name as string}'`)
      names.add(name)
      const fault = faultOf(rule)
      if (fault !== null) throw refusals.invalidRuleSet(fault)
      if (MIGRATIONS.includes(mode as string) !== (list === 'migrationRules'))
        throw refusals.invalidRuleSet(`${kind} rules can only be ${allowed}`)
      return rule
    })
  const others = 'WRITE, READ, WRITEREAD'
  return mergeRuleSets([
    {
      migrationRules: rules('migrationRules', 'Migration', 'UPGRADE, DOWNGRADE, UPDOWN'),
      domainRules: rules('domainRules', 'Domain', others),
      encodingRules: rules('encodingRules', 'Encoding', others),
    },
  ])
}

function toReference(value: unknown): Reference | null {
  const reference = toObject('SchemaReference', value)
  if (reference === null) return null
  const { name, subject, version } = reference
  return { name: toText(name), subject: toText(subject), version: toInteger(version) }
}

function bodyOf(body: unknown, type: string, argument: string): Json {
  const object = toObject(type, body)
  if (object === null) throw new RegistryRefusal(422, `${argument} must not be null (was null)`)
  return object
}

/** Reads a schema; `argument` is what Confluent calls the body in the sentence that it is missing. @throws RegistryRefusal */
export function readSchema(body: unknown, argument: string): SchemaRequest {
  const request = bodyOf(body, 'RegisterSchemaRequest', argument)
  for (const name of ['schemaTagsToAdd', 'schemaTagsToRemove']) {
    const tags = request[name]
    if (Array.isArray(tags) ? tags.length > 0 : tags !== null && tags !== undefined) throw refusals.notSupported(name)
  }
  if (toBoolean(request['propagateSchemaTags']) === true) throw refusals.notSupported('propagateSchemaTags')
  return {
    schema: toText(request['schema']),
    schemaType: toText(request['schemaType']) ?? 'AVRO',
    references: (toList('SchemaReference>', request['references']) ?? []).map(toReference),
    metadata: toMetadata(request['metadata']),
    ruleSet: toRuleSet(request['ruleSet']),
    version: toInteger(request['version']) ?? 0,
    id: toInteger(request['id']) ?? -1,
  }
}

const CONFIG: Readonly<Record<string, (value: unknown) => unknown>> = {
  alias: toText,
  normalize: toBoolean,
  validateFields: toBoolean,
  compatibility: toText,
  compatibilityPolicy: toText,
  compatibilityGroup: toText,
  defaultMetadata: toMetadata,
  overrideMetadata: toMetadata,
  defaultRuleSet: toRuleSet,
  overrideRuleSet: toRuleSet,
  validateNewSchemas: toBoolean,
  validateRules: toBoolean,
}
/** Settings that would change what the registry does, and do not. */
const REFUSED = ['validateFields', 'validateNewSchemas', 'validateRules', 'compatibilityPolicy'] as const

/** Reads settings. @throws RegistryRefusal */
export function readConfig(body: unknown, argument: string): ConfigRequest {
  const request = bodyOf(body, 'ConfigUpdateRequest', argument)
  const names = Object.keys(CONFIG).filter((name) => Object.hasOwn(request, name))
  const config: Json = Object.fromEntries(names.map((name) => [name, CONFIG[name]!(request[name])]))
  for (const name of REFUSED) {
    const value = config[name] ?? null
    const means = typeof value === 'string' ? value.toUpperCase() !== 'STRICT' : value === true
    if (means) throw refusals.notSupported(name)
  }
  return config
}

/** Reads a mode as it was written; null unsets it. @throws RegistryRefusal */
export function readMode(body: unknown, argument: string): string | null {
  const request = bodyOf(body, 'ModeUpdateRequest', argument)
  if (!Object.hasOwn(request, 'mode')) throw refusals.invalidMode()
  return toText(request['mode'])
}

/** Reads the body of the root, which says nothing: a map of texts, or nothing. @throws RegistryRefusal */
export function readRoot(body: unknown): void {
  if (Array.isArray(body)) throw mismatch('String>', body)
  toMap(body, toText)
}
