/**
 * Forwarding: an instance that is not the writer hands every request that writes on to the one that is, with the client's
 * own headers, and marks it so that it is never handed on twice. What the writer answers is the answer.
 *
 *   write ─▶ writer? ─ this one ─▶ its routes
 *               │ another ─▶ send ─ answered ─▶ read the log to its end ─▶ the answer
 *               │              └─ not delivered, or delivered and safe to repeat ─▶ wait for another writer, again
 *               └ none ─▶ wait ─ too long ─▶ 50004
 *
 * Guarantees: after a forwarded write this instance answers no question with an older state; a deletion whose outcome is
 * not known is not sent again (50003). Registrations and settings may be: sent twice they say the same.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { classify } from '#io/errors.ts'
import type { Clock, Leadership } from '#io/ports.ts'
import { RegistryRefusal } from './refusal.ts'
import type { RegistryLogger } from './store.ts'

/** What forwarding needs. */
export interface ForwardOptions {
  /** null until this instance takes part. */
  readonly leadership: () => Leadership | null
  readonly clock: Clock
  readonly logger: RegistryLogger
  /** Aborted when this instance stops: nobody waits any longer. */
  readonly stopping: AbortSignal
  /** How long a write waits for a writer; default 12 s, since a dead one is noticed after 6 s. */
  readonly patienceMs?: number
  /** Reads the log to its end. */
  readonly refresh: () => Promise<void>
}

/** Confluent's mark on a request that was handed on. */
const FORWARDED = 'x-forward'
const PATIENCE_MS = 12_000
/** How long an instance that was handed a write waits to learn that it is the writer. */
const OWN_PATIENCE_MS = 2_000
/** Time for one attempt while the writer stays the same (Confluent's), and between attempts and looks at who writes. */
const SEND_MS = 60_000
const AGAIN_MS = 250
/** Belong to one connection, or are made anew. */
const NOT_FORWARDED = new Set(
  'connection keep-alive transfer-encoding te trailer upgrade host content-length expect accept-encoding'.split(' '),
)
const ANSWER_HEADERS = ['content-type', 'www-authenticate', 'retry-after']
/** The connection did not come about, so nothing was delivered. */
const NOT_DELIVERED = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'UND_ERR_CONNECT_TIMEOUT'])

/** Whether a route writes: all that change settings or delete, and the registration of a schema. */
export function isWrite(method: string, route: string): boolean {
  if (method === 'PUT' || method === 'DELETE') return true
  return method === 'POST' && /\/subjects\/:[^/]+\/versions\/?$/.test(route) && !route.startsWith('/compatibility')
}

/** What failed, in Confluent's words. */
function wordsOf(method: string, route: string): { readonly forwarding: string; readonly unknown: string } {
  const deletes = method === 'DELETE'
  const [what, unknown] = route.includes('/config')
    ? ['config', `Failed to ${deletes ? 'delete' : 'update'} compatibility level`]
    : route.includes('/mode')
      ? ['mode', `Failed to ${deletes ? 'delete' : 'update'} mode`]
      : [deletes ? (route.includes('/versions') ? 'schema version' : 'subject') : 'schema', 'Leader not known.']
  const verb = deletes ? 'delete' : method === 'PUT' ? 'update' : 'register'
  return { forwarding: `Error while forwarding ${verb} ${what} request to the leader`, unknown }
}

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: Buffer
}

/** Hands writes on before they reach the routes; call it after authorization and before the routes are registered. */
export function forwardWrites(app: FastifyInstance, options: ForwardOptions): void {
  const { leadership, clock, logger, stopping, refresh, patienceMs = PATIENCE_MS } = options

  app.addHook('preHandler', async (request, reply) => {
    const route = request.routeOptions.url ?? ''
    if (request.is404 || !isWrite(request.method, route)) return undefined
    const words = wordsOf(request.method, route)
    const isForwarded = request.headers[FORWARDED] !== undefined
    const ownPatienceMs = isForwarded ? Math.min(OWN_PATIENCE_MS, patienceMs) : patienceMs
    let deadline = clock.monotonic() + ownPatienceMs
    for (let hasFailed = false; ; ) {
      const leader = leadership()?.leader() ?? null
      if (leader?.self === true) return undefined
      if (leader !== null && !isForwarded) {
        const sent = await sendWhileLeading(request, leader.url)
        if (!('error' in sent)) {
          if (!saysNotLeader(sent)) return relay(reply, sent)
        } else {
          logger.warn({ leader: leader.url, err: sent.error }, 'a write could not be handed to the writer')
          if (!sent.mayRepeat) throw new RegistryRefusal(50003, words.forwarding)
          hasFailed = true
          // It waited at a writer that is none any more: patience begins anew for the next one.
          if (leadership()?.leader()?.url !== leader.url) deadline = clock.monotonic() + ownPatienceMs
        }
      }
      const leftMs = deadline - clock.monotonic()
      if (leftMs <= 0 || stopping.aborted) {
        throw hasFailed ? new RegistryRefusal(50003, words.forwarding) : new RegistryRefusal(50004, words.unknown)
      }
      const waitMs = Math.min(AGAIN_MS, leftMs)
      await (leadership()?.changed(waitMs) ?? clock.sleep(waitMs))
    }
  })

  /** Sends, and gives up when another one leads: a writer that was paused does not answer for long. */
  async function sendWhileLeading(request: FastifyRequest, url: string): ReturnType<typeof send> {
    const ending = new AbortController()
    let isOpen = true
    const sending = send(request, url, AbortSignal.any([ending.signal, AbortSignal.timeout(SEND_MS)])).finally(() => {
      isOpen = false
    })
    while (isOpen) {
      await Promise.race([sending, leadership()?.changed(AGAIN_MS) ?? clock.sleep(AGAIN_MS)])
      const now = leadership()?.leader() ?? null
      if (now !== null && now.url !== url) ending.abort()
    }
    return sending
  }

  async function relay(reply: FastifyReply, { status, headers, body }: Answer): Promise<FastifyReply> {
    if (status < 300) {
      await refresh().catch((error: unknown) =>
        logger.error({ code: classify(error).code, err: error }, 'the log could not be read after a forwarded write'),
      )
    }
    reply.code(status)
    for (const name of ANSWER_HEADERS) {
      const value = headers.get(name)
      if (value !== null) reply.header(name, value)
    }
    return reply.send(body)
  }
}

const saysNotLeader = ({ status, body }: Answer): boolean => status === 500 && body.includes('"error_code":50004')

async function send(
  request: FastifyRequest,
  url: string,
  signal: AbortSignal,
): Promise<Answer | { readonly error: unknown; readonly mayRepeat: boolean }> {
  const headers = new Headers()
  for (const [name, value] of Object.entries(request.headers)) {
    if (value !== undefined && !NOT_FORWARDED.has(name))
      headers.set(name, Array.isArray(value) ? value.join(', ') : value)
  }
  headers.set(FORWARDED, 'true')
  const { method } = request
  const body = request.body === undefined ? {} : { body: JSON.stringify(request.body) }
  try {
    const response = await fetch(url + request.url, { method, headers, signal, redirect: 'error', ...body })
    return { status: response.status, headers: response.headers, body: Buffer.from(await response.arrayBuffer()) }
  } catch (error) {
    const { code } = ((error as { cause?: unknown }).cause ?? {}) as { code?: string }
    return { error, mayRepeat: method !== 'DELETE' || (code !== undefined && NOT_DELIVERED.has(code)) }
  }
}
