/** What `tidemark schemas` asks of a registry, in Confluent's API; "there is none" is a value, no answer is an error. */
import { createRegistryClient } from '#io/registry.ts'
import { connectRegistry, errorCodeOf, messageOf, type RegistryAnswer } from '#io/registry-http.ts'
import { CliError } from './client.ts'

/** A version of a subject. */
export interface Registered {
  readonly id: number
  readonly version: number
  /** One text, references put in. */
  readonly schema: string
  /** True when it is registered with references: a look-up by one text does not find it. */
  readonly referring: boolean
}

/** A registration that was refused: by what the schema is (`invalid`) or by what was registered before. */
export interface Refused {
  readonly refused: 'invalid' | 'incompatible'
  readonly message: string
}

/** The verdict about a schema. `messages` are the registry's, in its own form. */
export type Verdict = { readonly compatible: boolean; readonly messages: readonly string[] } | Refused

/** The calls. Each throws OperatingError REGISTRY_*, or CliError for an answer that no registry gives. */
export interface SchemaRegistry {
  /** Without credentials. */
  readonly address: string
  /** Level that holds for a subject. */
  level(subject: string): Promise<string>
  latest(subject: string): Promise<Registered | null>
  /** The version that has this schema. */
  find(subject: string, schema: string): Promise<{ readonly id: number; readonly version: number } | null>
  /** Compares with the versions that the level asks for. */
  check(subject: string, schema: string): Promise<Verdict>
  register(subject: string, schema: string): Promise<{ readonly id: number } | Refused>
}

const TIMEOUT_MS = 15_000
/** No subject, no version, no schema, and no setting of its own. */
const ABSENT: ReadonlySet<number | null> = new Set([40401, 40402, 40403, 40408])

/** Connects to the registry at `url`; see lib/io/registry-http.ts. @throws OperatingError CONFIG_INVALID */
export function connectSchemas(url: string): SchemaRegistry {
  const http = connectRegistry({ url, timeoutMs: TIMEOUT_MS })
  const client = createRegistryClient({ url, timeoutMs: TIMEOUT_MS })
  const subjectPath = (subject: string, rest = ''): string => `/subjects/${encodeURIComponent(subject)}${rest}`
  const strange = (path: string, { status, body }: RegistryAnswer): CliError =>
    new CliError(
      {
        code: `REGISTRY_${errorCodeOf(body) ?? status}`,
        detail: `${http.address}${path}: answered ${status} ${messageOf(body)}`.trim(),
        hint: 'Is this a Confluent-compatible registry, and may the key do this?',
      },
      2,
    )
  const isAbsent = ({ status, body }: RegistryAnswer): boolean => status === 404 && ABSENT.has(errorCodeOf(body))
  /** The body of a 200; null when there is no such thing. */
  async function get(path: string): Promise<Readonly<Record<string, unknown>> | null> {
    const answer = await http.request('GET', path)
    if (answer.status === 200) return answer.body as Readonly<Record<string, unknown>>
    if (isAbsent(answer)) return null
    throw strange(path, answer)
  }
  const refusalOf = (path: string, answer: RegistryAnswer): Refused => {
    const message = messageOf(answer.body)
    if (answer.status === 409) return { refused: 'incompatible', message }
    if (answer.status === 422 || answer.status === 413) return { refused: 'invalid', message }
    throw strange(path, answer)
  }

  return {
    address: http.address,
    async level(subject) {
      const own = await get(`/config/${encodeURIComponent(subject)}?defaultToGlobal=true`)
      const set = own ?? (await get('/config'))
      const level = set?.['compatibilityLevel']
      return typeof level === 'string' ? level : 'BACKWARD'
    },
    async latest(subject) {
      const found = await get(subjectPath(subject, '/versions/latest'))
      if (found === null) return null
      const { id, version, schema, references } = found as unknown as Registered & { references?: readonly unknown[] }
      const referring = Array.isArray(references) && references.length > 0
      const whole = referring ? await client.schemaById(id) : null
      return { id, version, schema: whole ?? schema, referring }
    },
    async find(subject, schema) {
      const answer = await http.request('POST', subjectPath(subject), { schema })
      if (answer.status === 200) return answer.body as { id: number; version: number }
      // What is invalid is found nowhere; the check says why.
      if (isAbsent(answer) || answer.status === 422) return null
      throw strange(subjectPath(subject), answer)
    },
    async check(subject, schema) {
      const base = `/compatibility/subjects/${encodeURIComponent(subject)}/versions`
      let answer = await http.request('POST', `${base}?verbose=true`, { schema })
      // A registry that cannot compare with all versions at once compares with the last one.
      if ((answer.status === 404 && !isAbsent(answer)) || answer.status === 405)
        answer = await http.request('POST', `${base}/latest?verbose=true`, { schema })
      if (isAbsent(answer)) return { compatible: true, messages: [] }
      if (answer.status !== 200) return refusalOf(base, answer)
      const { is_compatible: compatible, messages } = answer.body as { is_compatible: boolean; messages?: string[] }
      return { compatible, messages: messages ?? [] }
    },
    async register(subject, schema) {
      const path = subjectPath(subject, '/versions')
      const answer = await http.request('POST', path, { schema })
      const { id } = answer.body as { id?: unknown }
      return answer.status === 200 && typeof id === 'number' ? { id } : refusalOf(path, answer)
    },
  }
}
