/**
 * Keys for the registry's HTTP: basic authentication (key name and secret) or a bearer token (`name.secret`), and the key's scopes
 * per subject prefix. Answers are Confluent's: 401 with `WWW-Authenticate`, 403 with 40301, 429 for who guesses.
 *
 *   headers ─▶ key? 401, 429 ─▶ leave for the route's subject? 403 ─▶ body ─▶ leave for what it refers to? 403 ─▶ route ─▶ lists cut
 *
 * Guarantees: without a key no body is read; lists show only what the key may read, and pages are counted after that; a text with
 * its references written out is refused where one of them may not be read; an id that exists but may not be read is 403, never 404,
 * for a reader takes a 404 for an unknown schema and dead-letters its records. No secret and no header is logged.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Clock } from '#io/ports.ts'
import { mayDo, type RegistryKey } from '#io/registry-keys.ts'
import { cut, giveWhole, idOf, type Page, pageOf, showOnly, text } from './asked.ts'
import { type Need, needOf } from './auth-access.ts'
import { createVerifier, credentialsOf, type Verdict } from './auth-secrets.ts'
import { normalizeSubject, qualify, relatedSubject } from './naming.ts'
import { contextOf, DEFAULT_CONTEXT } from './records.ts'
import { RegistryRefusal } from './refusal.ts'

/** What the registry's keys need. */
export interface RegistryAuthOptions {
  readonly keys: readonly RegistryKey[]
  readonly clock: Clock
  /** Hears of refused keys: name of the key, address, never what was sent. */
  readonly logger: { warn(context: object, message: string): void }
  /** What holds a schema id, deleted versions too; the hint may lead to another context. @throws RegistryRefusal when it is unknown */
  readonly holders: (id: number, hint: string | null) => Promise<readonly { readonly subject: string }[]>
}

interface Admitted {
  readonly key: RegistryKey
  readonly need: Need
  /** The page asked for, when it is cut after filtering. */
  page: Page | null
}

const CONTENT_TYPE = 'application/vnd.schemaregistry.v1+json'

/** Puts keys before every route of the app; call it before routes are registered. `shownTo` tells of admitted requests what they may read. */
export function registryAuth(app: FastifyInstance, options: RegistryAuthOptions): void {
  const { keys, clock, logger, holders } = options
  const verify = createVerifier(keys, clock)
  const admitted = new WeakMap<FastifyRequest, Admitted>()

  /** Sends a refusal, or lets the request in by `done`. */
  function decide(request: FastifyRequest, reply: FastifyReply, need: Need, verdict: Verdict, done: () => void): void {
    if (verdict === 'refused') unauthorized(reply)
    else if ('waitMs' in verdict) tooMany(reply, verdict.waitMs)
    else {
      const { key } = verdict
      const settle = (denied: string | null): void => {
        if (denied !== null) return void forbidden(reply, denied)
        admitted.set(request, { key, need, page: null })
        showOnly(request, (subject) => mayDo(key, subject, 'read'))
        done()
      }
      if (need.kind === 'subject') settle(deniedOnSubject(key, need))
      else if (need.kind !== 'schema' || mayDo(key, '', 'read')) settle(null)
      else deniedOnSchema(key, request, holders).then(settle, (error: unknown) => reply.send(error))
    }
  }

  app.addHook('onRequest', (request, reply, done) => {
    const need = needOf({
      method: request.method,
      route: request.is404 ? undefined : request.routeOptions.url,
      params: (request.params ?? {}) as Readonly<Record<string, string | undefined>>,
    })
    if (need.kind === 'open') return done()
    const credentials = credentialsOf(request.headers.authorization)
    if (credentials === null) return void unauthorized(reply)
    const heard = (verdict: Verdict): void => {
      if (verdict === 'refused' || 'waitMs' in verdict) {
        const known = keys.find(({ name }) => name === credentials.name)?.name ?? null
        logger.warn({ key: known, address: request.ip }, 'a request with a wrong key was refused')
      }
      decide(request, reply, need, verdict, done)
    }
    const verdict = verify(credentials, request.ip)
    if (verdict instanceof Promise) verdict.then(heard, (error: unknown) => reply.send(error))
    else heard(verdict)
  })

  app.addHook('preHandler', (request, reply, done) => {
    const held = admitted.get(request)
    if (held === undefined) return done()
    const denied = deniedByBody(held.key, request)
    if (denied !== null) return void forbidden(reply, denied)
    try {
      if (isFiltered(held)) held.page = takePage(request)
      done()
    } catch (error) {
      done(error as Error)
    }
  })

  app.addHook('onSend', (request, reply, payload, done) => {
    const held = admitted.get(request)
    if (held === undefined || !isFiltered(held) || reply.statusCode !== 200) return done(null, payload)
    const list: unknown = JSON.parse(String(payload))
    if (!Array.isArray(list)) return done(null, payload)
    const isOfContexts = request.routeOptions.url === '/contexts'
    const isShown = (name: unknown): boolean =>
      typeof name === 'string' &&
      (isOfContexts ? mayEnter(held.key, name) : mayDo(held.key, normalizeSubject(name), 'read'))
    const shown = list.filter((one) => isShown(subjectIn(one)))
    done(null, Buffer.from(JSON.stringify(held.page === null ? shown : cut(shown, held.page))))
  })
}

/** Whether the key may read anything in a context. Everybody is told of the default one. */
const mayEnter = ({ scopes }: RegistryKey, context: string): boolean =>
  context === DEFAULT_CONTEXT ||
  scopes.some(({ subjects }) => subjects.startsWith(`:${context}:`) || `:${context}:`.startsWith(subjects))

/** Whether the answer is a list of which the key may not see all. */
const isFiltered = ({ key, need }: Admitted): boolean =>
  (need.kind === 'key' || need.kind === 'schema') && need.filtered && !mayDo(key, '', 'read')

/** The operation on a subject that the key has no leave for; null when it has. */
function deniedOnSubject(key: RegistryKey, need: Extract<Need, { kind: 'subject' }>): string | null {
  const { subject, allow, operation } = need
  return mayDo(key, subject, allow) ? null : `${operation} on Subject: ${subject === '' ? '__GLOBAL' : subject}`
}

/** The same for a schema by its id. Of those who hold it an answer names one: the question is led to one that the key may read. */
async function deniedOnSchema(
  key: RegistryKey,
  request: FastifyRequest,
  holders: RegistryAuthOptions['holders'],
): Promise<string | null> {
  try {
    const [id, hint] = [idOf(request), text(request, 'subject')]
    const readable = (await holders(id, hint)).filter(({ subject }) => mayDo(key, subject, 'read'))
    if (readable.length === 0) return `Read on Schema: ${id}`
    if (hint !== null && readable.every(({ subject }) => subject !== hint)) {
      ;(request.query as Record<string, unknown>)['subject'] = readable[0]!.subject
    }
    return null
  } catch (error) {
    // Unknown, or no id: the route says so.
    if (error instanceof RegistryRefusal) return null
    throw error
  }
}

/** What the body asks for beyond its route: to read what it refers to; to give ids away, which are those of a whole context. */
function deniedByBody(key: RegistryKey, { method, routeOptions, body, params }: FastifyRequest): string | null {
  const { references, mode } = (body ?? {}) as { references?: unknown; mode?: unknown }
  const subject = (params as Readonly<Record<string, string | undefined>>)['subject'] ?? ''
  if (method === 'PUT' && routeOptions.url === '/mode/:subject' && isImport(mode)) {
    const context = qualify(contextOf(subject), '')
    return mayDo(key, context, 'admin') ? null : `WriteMode on Subject: ${context === '' ? '__GLOBAL' : context}`
  }
  for (const one of Array.isArray(references) ? (references as ({ subject?: unknown } | null)[]) : []) {
    // What is malformed is the route's to refuse; a number it takes for its text.
    const named = one?.subject ?? null
    if (named === null || typeof named === 'object') continue
    const target = relatedSubject(subject, String(named as string | number))
    if (!mayDo(key, target, 'read')) return `Read on Subject: ${target}`
  }
  return null
}

const isImport = (mode: unknown): boolean => typeof mode === 'string' && mode.toUpperCase() === 'IMPORT'

/** Takes over which part of the list is asked for. @throws RegistryRefusal when it is none */
function takePage(request: FastifyRequest): Page {
  const page = pageOf(request)
  giveWhole(request)
  return page
}

/** The subject of an item of a list: itself, or its member. */
const subjectIn = (item: unknown): unknown =>
  typeof item === 'object' && item !== null ? (item as { subject?: unknown }).subject : item

const send = (reply: FastifyReply, status: number, errorCode: number, message: string): FastifyReply =>
  reply
    .code(status)
    .header('content-type', CONTENT_TYPE)
    .send(Buffer.from(JSON.stringify({ error_code: errorCode, message })))

const unauthorized = (reply: FastifyReply): FastifyReply =>
  send(reply.header('www-authenticate', 'Basic realm="Schema Registry", charset="UTF-8"'), 401, 401, 'Unauthorized')

const forbidden = (reply: FastifyReply, operation: string): FastifyReply =>
  send(reply, 403, 40301, `User is denied operation ${operation}`)

const tooMany = (reply: FastifyReply, waitMs: number): FastifyReply =>
  send(reply.header('retry-after', String(Math.ceil(waitMs / 1_000))), 429, 429, 'Too Many Requests')
