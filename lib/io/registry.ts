/**
 * Client of any Confluent-compatible registry, over fetch. Ids are cached for ever (an id never changes its schema), "no
 * such id" briefly. The two kinds of failure are told apart: an id that the registry does not know is null, and its
 * records are dead letters; a registry that does not answer as one is REGISTRY_UNREACHABLE, and its caller must wait.
 * So only Confluent's own code 40403 counts as "unknown": a proxy's 404 page is no answer.
 */
import { OperatingError } from '#io/errors.ts'
import type { Registry } from '#io/ports.ts'

/** How to reach a registry. */
export interface RegistryClientOptions {
  /** Base URL; user and password in it are sent as basic authentication. */
  readonly url: string
  /** Of one request, answer included. */
  readonly timeoutMs: number
  /** For tests; default the global one. */
  readonly fetch?: typeof fetch
  /** Monotonic ms, for the age of negative answers; default the system's. */
  readonly monotonic?: () => number
}

/** A reader that found an unknown id asks again this much later: long enough to spare the registry, short enough for a repair. */
const UNKNOWN_TTL_MS = 5_000
/** Ids kept as unknown: whoever sends garbage chooses them. */
const UNKNOWN_MAX = 10_000
/** Bytes of an answer: four times the largest schema that our registry takes. */
const ANSWER_BYTES = 1024 * 1024
const CONTENT_TYPE = 'application/vnd.schemaregistry.v1+json'
const SCHEMA_NOT_FOUND = 40403
/**
 * The largest id that a registry can give out (a Java int). Asked for a larger one it finds no such path, which says nothing of
 * the id; a record that names one would halt its partition for ever.
 */
const ID_MAX = 2 ** 31 - 1

interface Answer {
  readonly status: number
  readonly body: Readonly<Record<string, unknown>>
}

/** A client; holds no connection of its own. */
export function createRegistryClient(options: RegistryClientOptions): Registry {
  const { timeoutMs, fetch: send = fetch, monotonic = () => performance.now() } = options
  const address = new URL(options.url)
  const authorization =
    address.username === '' && address.password === ''
      ? {}
      : {
          authorization: `Basic ${btoa(`${decodeURIComponent(address.username)}:${decodeURIComponent(address.password)}`)}`,
        }
  address.username = ''
  address.password = ''
  const base = address.href.replace(/\/+$/, '')
  const schemas = new Map<number, string>()
  /** Id → when the registry said that it does not know it. */
  const unknown = new Map<number, number>()
  /** One request per id, however many ask. */
  const asking = new Map<number, Promise<string | null>>()

  const unreachable = (message: string, path: string, cause?: unknown): OperatingError =>
    new OperatingError('REGISTRY_UNREACHABLE', `${base}${path}: ${message}`, { url: base, path }, { cause })

  async function request(method: 'GET' | 'POST', path: string, body?: unknown): Promise<Answer> {
    try {
      const response = await send(`${base}${path}`, {
        method,
        headers: { accept: `${CONTENT_TYPE}, application/json`, 'content-type': CONTENT_TYPE, ...authorization },
        signal: AbortSignal.timeout(timeoutMs),
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      const parsed: unknown = JSON.parse(await readText(response))
      if (typeof parsed !== 'object' || parsed === null) throw new Error('the answer is no JSON object')
      return { status: response.status, body: parsed as Answer['body'] }
    } catch (error) {
      throw unreachable(reasonOf(error), path, error)
    }
  }

  async function ask(id: number): Promise<string | null> {
    const path = `/schemas/ids/${id}`
    const { status, body } = await request('GET', path)
    if (status === 200 && typeof body['schema'] === 'string') {
      schemas.set(id, body['schema'])
      unknown.delete(id)
      return body['schema']
    }
    if (status !== 404 || body['error_code'] !== SCHEMA_NOT_FOUND) throw unreachable(describe(status, body), path)
    if (unknown.size >= UNKNOWN_MAX) unknown.delete(unknown.keys().next().value!)
    unknown.set(id, monotonic())
    return null
  }

  return {
    async register(subject, schema) {
      const path = `/subjects/${encodeURIComponent(subject)}/versions`
      const { status, body } = await request('POST', path, { schema })
      if (status === 200 && Number.isSafeInteger(body['id'])) return body['id'] as number
      if (status === 409) throw new OperatingError('SCHEMA_INCOMPATIBLE', messageOf(body), { subject })
      if (status === 422 || status === 413) throw new OperatingError('SCHEMA_INVALID', messageOf(body), { subject })
      throw unreachable(describe(status, body), path)
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

const messageOf = (body: Answer['body']): string => (typeof body['message'] === 'string' ? body['message'] : '')
const describe = (status: number, body: Answer['body']): string => `answered ${status} ${messageOf(body)}`.trim()

function reasonOf(error: unknown): string {
  const { message, cause } = error as { message?: string; cause?: { message?: string } }
  return [message ?? String(error), cause?.message].filter((part) => part !== undefined && part !== '').join(': ')
}

/** The answer's text, at most ANSWER_BYTES: a registry by URL is somebody else's program. */
async function readText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength
    if (bytes > ANSWER_BYTES) throw new Error(`the answer is larger than ${ANSWER_BYTES} bytes`)
    chunks.push(chunk)
  }
  return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks))
}
