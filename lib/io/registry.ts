/**
 * Client of any Confluent-compatible registry. Ids are cached for ever (an id never changes its schema), "no such id" briefly.
 * The two kinds of failure are told apart: an id that the registry does not know is null, and its records are dead letters; a
 * registry that does not answer as one is REGISTRY_UNREACHABLE, one that refuses the key REGISTRY_DENIED, and the caller must
 * wait. So only Confluent's own code 40403 counts as "unknown": a proxy's 404 page is no answer. Schemas with references come as
 * one text.
 */
import { LIMITS } from '#core/limits.ts'
import { inlineReferences } from '#format/avro-inline.ts'
import { OperatingError } from '#io/errors.ts'
import type { Registry } from '#io/ports.ts'
import {
  connectRegistry,
  errorCodeOf,
  messageOf,
  type RegistryAnswer,
  type RegistryHttpOptions,
} from './registry-http.ts'

/** A reader that found an unknown id asks again this much later: long enough to spare the registry, short enough for a repair. */
const UNKNOWN_TTL_MS = 5_000
/** Ids kept as unknown: whoever sends garbage chooses them. */
const UNKNOWN_MAX = 10_000
const SCHEMA_NOT_FOUND = 40403
/**
 * The largest id that a registry can give out (a Java int). Asked for a larger one it finds no such path, which says nothing of
 * the id; a record that names one would halt its partition for ever.
 */
const ID_MAX = 2 ** 31 - 1

interface Reference {
  readonly subject: string
  readonly version: number
}

/**
 * A client; holds no connection of its own. `registerMs`: of one registration, default `timeoutMs`.
 * @throws OperatingError CONFIG_INVALID when the address is none
 */
export function createRegistryClient(options: RegistryHttpOptions & { readonly registerMs?: number }): Registry {
  const { monotonic = () => performance.now(), registerMs = options.timeoutMs } = options
  const http = connectRegistry(options)
  const schemas = new Map<number, string>()
  /** Id → when the registry said that it does not know it. */
  const unknown = new Map<number, number>()
  /** One request per id, however many ask. */
  const asking = new Map<number, Promise<string | null>>()

  const noAnswer = (path: string, { status, body }: RegistryAnswer): OperatingError => {
    const said = `answered ${status} ${messageOf(body)}`.trim()
    return new OperatingError('REGISTRY_UNREACHABLE', `${http.address}${path}: ${said}`, { url: http.address, path })
  }

  /** The texts that a schema refers to, directly and through others. */
  async function referenced(references: readonly Reference[]): Promise<string[]> {
    const texts = new Map<string, string>()
    const open = [...references]
    for (let next = open.shift(); next !== undefined; next = open.shift()) {
      const path = `/subjects/${encodeURIComponent(next.subject)}/versions/${next.version}?deleted=true`
      if (texts.has(path)) continue
      const answer = await http.request('GET', path)
      const { schema, references: more } = answer.body as { schema?: unknown; references?: unknown }
      if (answer.status !== 200 || typeof schema !== 'string' || texts.size >= LIMITS.schemaReferences)
        throw noAnswer(path, answer)
      texts.set(path, schema)
      open.push(...referencesOf(more))
    }
    return [...texts.values()]
  }

  async function ask(id: number): Promise<string | null> {
    const path = `/schemas/ids/${id}`
    const answer = await http.request('GET', path)
    const { schema, references } = answer.body as { schema?: unknown; references?: unknown }
    if (answer.status === 200 && typeof schema === 'string') {
      const others = referencesOf(references)
      const text = others.length === 0 ? schema : inlined(schema, await referenced(others))
      schemas.set(id, text)
      unknown.delete(id)
      return text
    }
    if (answer.status !== 404 || errorCodeOf(answer.body) !== SCHEMA_NOT_FOUND) throw noAnswer(path, answer)
    if (unknown.size >= UNKNOWN_MAX) unknown.delete(unknown.keys().next().value!)
    unknown.set(id, monotonic())
    return null
  }

  return {
    async register(subject, schema) {
      const path = `/subjects/${encodeURIComponent(subject)}/versions`
      const answer = await http.request('POST', path, { schema }, registerMs)
      const { id } = answer.body as { id?: unknown }
      if (answer.status === 200 && Number.isSafeInteger(id)) return id as number
      const said = messageOf(answer.body)
      if (answer.status === 409) throw new OperatingError('SCHEMA_INCOMPATIBLE', said, { subject })
      if (answer.status === 422 || answer.status === 413) throw new OperatingError('SCHEMA_INVALID', said, { subject })
      throw noAnswer(path, answer)
    },
    async schemaById(id) {
      if (id > ID_MAX) return null
      const known = schemas.get(id)
      if (known !== undefined) return known
      const since = unknown.get(id)
      if (since !== undefined && monotonic() - since < UNKNOWN_TTL_MS) return null
      const running = asking.get(id) ?? ask(id).finally(() => asking.delete(id))
      asking.set(id, running)
      return running
    },
  }
}

/** A text that is no JSON stays as it is: its reader says what is wrong with it. */
function inlined(schema: string, definitions: readonly string[]): string {
  try {
    return inlineReferences(schema, definitions)
  } catch {
    return schema
  }
}

/** The references of an answer; what is none is left out, and the parser names the type that is missing. */
const referencesOf = (list: unknown): Reference[] =>
  (Array.isArray(list) ? list : []).filter(
    (one: Partial<Reference> | null): one is Reference =>
      typeof one?.subject === 'string' && Number.isSafeInteger(one.version),
  )
