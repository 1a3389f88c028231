/**
 * HTTP to any Confluent-compatible registry: several instances, bounded retries, authentication by the address.
 *
 *   call ─▶ instance that answered last ─ no answer ─▶ the next one … all asked ─ wait 100 ms · 2ⁿ, or Retry-After ─▶ again
 *
 * Sent again: what all of the API is safe for, since a registration finds what it registered. Not an answer, and asked again:
 * a refused or broken connection, 5xx, 429, and a body that is no JSON, such as a proxy's page. A whole call takes at most
 * `timeoutMs`. Guarantees: no credential stands in an error or is sent to another instance than its own.
 */
import { setTimeout as sleepFor } from 'node:timers/promises'
import { type ErrorCode, OperatingError } from './errors.ts'

/** How to reach a registry. */
export interface RegistryHttpOptions {
  /** Base URLs, separated by commas; user and password in one are sent as basic authentication. */
  readonly url: string
  /** Of one call: all attempts, waits and answers. */
  readonly timeoutMs: number
  /** For tests; default the global one. */
  readonly fetch?: typeof fetch
  /** Monotonic ms; default the system's. */
  readonly monotonic?: () => number
  /** For tests; default the system's. */
  readonly sleep?: (ms: number) => Promise<unknown>
}

/** An answer that is one: JSON, neither 5xx nor 401, 403 or 429. */
export interface RegistryAnswer {
  readonly status: number
  /** Any JSON. */
  readonly body: unknown
}

/** Calls to a registry. */
export interface RegistryHttp {
  /** The addresses, without user and password. */
  readonly address: string
  /**
   * `path` is encoded and begins with `/`. `forMs`: of this call, in place of `timeoutMs`.
   * @throws OperatingError REGISTRY_UNREACHABLE when no instance gives an answer, REGISTRY_DENIED when one refuses the key
   */
  request(method: 'GET' | 'POST', path: string, body?: unknown, forMs?: number): Promise<RegistryAnswer>
}

/** Times that each instance is asked in one call. */
const ROUNDS = 4
const BACKOFF_FIRST_MS = 100
/** Bytes of an answer: four times the largest schema that our registry takes. */
const ANSWER_BYTES = 1024 * 1024
const CONTENT_TYPE = 'application/vnd.schemaregistry.v1+json'

interface Instance {
  /** Without a trailing slash and without credentials. */
  readonly base: string
  readonly headers: Readonly<Record<string, string>>
}

/** What an attempt came to. `again` false: asking another time gives the same. */
type Attempt =
  | { readonly answer: RegistryAnswer }
  | { readonly error: OperatingError; readonly again: boolean; readonly waitMs: number }

/** A caller of the registry; holds no connection of its own. @throws OperatingError CONFIG_INVALID for what is no URL */
export function connectRegistry(options: RegistryHttpOptions): RegistryHttp {
  const {
    timeoutMs,
    fetch: send = fetch,
    monotonic = () => performance.now(),
    sleep = (ms: number) => sleepFor(ms),
  } = options
  const instances = addressesOf(options.url).map(instanceOf)
  /** Index of the instance that answered last. */
  let preferred = 0

  async function attempt(
    { base, headers }: Instance,
    call: { method: string; path: string; body: unknown; boundMs: number },
  ): Promise<Attempt> {
    const { method, path, body, boundMs } = call
    const failed = (code: ErrorCode, message: string, cause?: unknown): OperatingError =>
      new OperatingError(code, `${base}${path}: ${message}`, { url: base, path }, { cause })
    const unreachable = (message: string, cause?: unknown): OperatingError =>
      failed('REGISTRY_UNREACHABLE', message, cause)
    try {
      const response = await send(`${base}${path}`, {
        method,
        headers: {
          accept: `${CONTENT_TYPE}, application/json`,
          ...headers,
          ...(body === undefined ? {} : { 'content-type': CONTENT_TYPE }),
        },
        signal: AbortSignal.timeout(Math.ceil(boundMs)),
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      const { status } = response
      const waitMs = retryAfterMs(response.headers.get('retry-after'))
      const text = await readText(response)
      const parsed = parsedOf(text)
      const described = `answered ${status} ${messageOf(parsed)}`.trim()
      if (status === 401 || status === 403)
        return { error: failed('REGISTRY_DENIED', described), again: false, waitMs: 0 }
      if (status >= 500 || status === 429) return { error: unreachable(described), again: true, waitMs }
      if (typeof parsed !== 'object' || parsed === null)
        return { error: unreachable(`${described}, which is no JSON of a registry`), again: true, waitMs }
      return { answer: { status, body: parsed } }
    } catch (error) {
      return { error: unreachable(reasonOf(error), error), again: true, waitMs: 0 }
    }
  }

  return {
    address: instances.map(({ base }) => base).join(','),
    async request(method, path, body, forMs = timeoutMs) {
      const begun = monotonic()
      const leftMs = (): number => forMs - (monotonic() - begun)
      const first = preferred
      for (let attempts = 0, waitMs = 0; ; ) {
        const index = (first + attempts) % instances.length
        // One instance that hangs must leave the others their share of the time.
        const boundMs = Math.max(1, leftMs() / (instances.length - (attempts % instances.length)))
        const outcome = await attempt(instances[index]!, { method, path, body, boundMs })
        if ('answer' in outcome) {
          preferred = index
          return outcome.answer
        }
        attempts++
        waitMs = Math.max(waitMs, outcome.waitMs)
        if (!outcome.again || attempts >= instances.length * ROUNDS || leftMs() <= 0) throw outcome.error
        if (attempts % instances.length > 0) continue
        waitMs = Math.max(waitMs, BACKOFF_FIRST_MS * 2 ** (attempts / instances.length - 1))
        if (waitMs >= leftMs()) throw outcome.error
        await sleep(waitMs)
        waitMs = 0
      }
    },
  }
}

/** The addresses of a comma-separated list. */
export const addressesOf = (urls: string): string[] =>
  urls
    .split(',')
    .map((url) => url.trim())
    .filter((url) => url !== '')

/** The addresses without user and password, for people. */
export const shownAddresses = (urls: string): string =>
  addressesOf(urls)
    .map((url) => instanceOf(url).base)
    .join(',')

/**
 * The addresses with `auth` (`name:secret`) put into those that carry no user; null leaves them as they are.
 * @throws OperatingError CONFIG_INVALID
 */
export function withAuth(urls: string, auth: string | null): string {
  if (auth === null) return urls
  const at = auth.indexOf(':')
  return addressesOf(urls)
    .map((text) => {
      const url = parsedUrl(text)
      if (url.username !== '' || url.password !== '') return text
      url.username = encodeURIComponent(at < 0 ? auth : auth.slice(0, at))
      url.password = at < 0 ? '' : encodeURIComponent(auth.slice(at + 1))
      return url.href
    })
    .join(',')
}

/** Whether an address is one. */
export const isHttpUrl = (text: string): boolean => /^https?:$/.test(URL.parse(text)?.protocol ?? '')

function parsedUrl(text: string): URL {
  if (isHttpUrl(text)) return new URL(text)
  // Never the text itself: what was meant as an address may hold a password.
  throw new OperatingError('CONFIG_INVALID', 'The address of the registry is no http(s) URL.', {
    setting: 'TIDEMARK_REGISTRY_URL',
  })
}

function instanceOf(text: string): Instance {
  const url = parsedUrl(text)
  const user = decodeURIComponent(url.username)
  const password = decodeURIComponent(url.password)
  url.username = ''
  url.password = ''
  url.search = ''
  url.hash = ''
  const token = Buffer.from(`${user}:${password}`).toString('base64')
  return {
    base: url.href.replace(/\/+$/, ''),
    headers: user === '' && password === '' ? {} : { authorization: `Basic ${token}` },
  }
}

/** Seconds, or a date against the answer's own clock, which we do not trust: only seconds count. */
function retryAfterMs(header: string | null): number {
  return header !== null && /^\d{1,6}$/.test(header) ? Number(header) * 1_000 : 0
}

function parsedOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** `message` of a refusal's body; empty when there is none. */
export function messageOf(body: unknown): string {
  const message = (body as { message?: unknown } | null | undefined)?.message
  return typeof message === 'string' ? message : ''
}

/** `error_code` of a refusal's body; null when there is none. */
export function errorCodeOf(body: unknown): number | null {
  const code = (body as { error_code?: unknown } | null)?.error_code
  return typeof code === 'number' ? code : null
}

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
