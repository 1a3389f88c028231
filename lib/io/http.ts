/**
 * HTTP: the one shape of every surface. Timeouts, headers, OpenAPI, health, and problem bodies are the same everywhere.
 *
 * Guarantees: an error is always `application/problem+json` (RFC 9457) with `code` and `hint`, never a stack trace and never
 * a 200; what is not known is `INTERNAL` with the id of its log line. Refuses: unknown routes, media types, big bodies,
 * and fields the route's schema does not know. Upholds Q3.
 */

import type { IncomingMessage, ServerResponse } from 'node:http'
import helmet from '@fastify/helmet'
import rateLimit from '@fastify/rate-limit'
import swagger from '@fastify/swagger'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import underPressure from '@fastify/under-pressure'
import type {
  FastifyBaseLogger,
  FastifyError,
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  RawServerDefault,
} from 'fastify'
import fastify from 'fastify'
import type { Logger } from 'pino'
import { Type } from 'typebox'
import { ERRORS, type ErrorCode, OperatingError } from './errors.ts'
import { announceStop, answerConditions, answerOtherMethods, refuseCodedBodies } from './http-manners.ts'
import { answerUnread } from './http-unread.ts'

/**
 * Bounds of one connection, ms. Source: notes/faults.md section 6, but for its bound of requests per socket: what a client sends behind
 * it on a kept connection Node answers with 503, and a busy client is no fault.
 */
const HTTP_BOUNDS = {
  requestTimeoutMs: 15_000,
  /** A socket without traffic, an answer that is being computed included; streams of events send a heartbeat more often. */
  connectionTimeoutMs: 120_000,
  headersTimeoutMs: 10_000,
  /** Longer than proxies keep their connections: who closes first must not be the one that is sent the next request. */
  keepAliveTimeoutMs: 72_000,
  /** Above the p99 of a query that runs in the same process; beyond it requests are answered 503. */
  eventLoopDelayMaxMs: 5_000,
  /** Two turns of the longest delay: a sample in which the loop turned less often counts as an infinite delay. */
  eventLoopSampleMs: 10_000,
} as const

/** One part of a process: ready, or the reason why not. */
export interface PartReadiness {
  readonly ready: boolean
  /** One sentence; null when ready. */
  readonly reason: string | null
}

/** A registry as people see it. */
export interface RegistryInUse {
  /** Without credentials. */
  readonly url: string
  /** True when it is not the platform's own; left out by a process that only knows the address. */
  readonly external?: boolean
}

/** Readiness of a process: ready when every part is. */
export interface ReadinessReport {
  readonly parts: Readonly<Record<string, PartReadiness>>
}

/** Body of every error answer (RFC 9457). `field` names the offending field of an invalid request. */
const problemSchema = Type.Object(
  {
    type: Type.String(),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String(),
    code: Type.String(),
    hint: Type.String(),
    field: Type.Optional(Type.String()),
    id: Type.Optional(Type.String({ description: 'Request id, as in the log.' })),
  },
  { title: 'Problem', description: 'RFC 9457 problem details.' },
)

/** A problem as a value. */
export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  readonly code: ErrorCode
  readonly hint: string
  readonly field?: string
  readonly id?: string
}

/** Entry for a route's `response` map: `response: { 200: …, '4xx': problemResponse, '5xx': problemResponse }`. */
export const problemResponse = {
  description: 'A problem',
  content: { 'application/problem+json': { schema: problemSchema } },
} as const

/** Fastify with TypeBox types on its routes. */
export type HttpApp = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>

/** How a surface is made. */
export interface HttpOptions {
  /** Short name of the process: `serve`, `registry`. */
  readonly name: string
  readonly version: string
  /** Title of the OpenAPI document. */
  readonly title: string
  readonly logger: Logger | false
  /** Bytes of a body unless a route says otherwise. */
  readonly bodyLimitBytes: number
  readonly ready: () => ReadinessReport
  /** The registry that the process uses, shown by /healthz; left out = not said. */
  readonly registry?: RegistryInUse
  /** Requests per window and address; left out = no limit. */
  readonly rateLimit?: { readonly max: number; readonly windowMs: number }
}

const PROBLEM_TYPE = 'application/problem+json; charset=utf-8'
/** Paths that answer however busy the process is. */
const ALWAYS_ANSWERED = new Set(['/healthz', '/readyz', '/metrics'])

/** Makes an app that does not listen yet: register routes, then {@link listenOrExplain}. */
export async function createHttp(options: HttpOptions): Promise<HttpApp> {
  const app = fastify({
    ...(options.logger === false ? { logger: false } : { loggerInstance: options.logger as FastifyBaseLogger }),
    bodyLimit: options.bodyLimitBytes,
    requestTimeout: HTTP_BOUNDS.requestTimeoutMs,
    connectionTimeout: HTTP_BOUNDS.connectionTimeoutMs,
    keepAliveTimeout: HTTP_BOUNDS.keepAliveTimeoutMs,
    http: { headersTimeout: HTTP_BOUNDS.headersTimeoutMs },
    forceCloseConnections: 'idle',
    // What is on its way over a kept connection while the process stops is answered, and the connection ends with it.
    return503OnClosing: false,
    pluginTimeout: 120_000,
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: 512 },
    // A field that the schema does not know is refused, not dropped: a mistyped filter must not widen an answer.
    ajv: { customOptions: { removeAdditional: false, coerceTypes: 'array', useDefaults: true } },
    frameworkErrors: (error, request, reply) => sendProblem(reply as FastifyReply, problemOf(error, request.id)),
    clientErrorHandler: answerUnread(PROBLEM_TYPE, (status, message) => ({
      ...problem('REQUEST_INVALID', message),
      status,
    })),
  }).withTypeProvider<TypeBoxTypeProvider>() as unknown as HttpApp

  readBodies(app)
  app.setErrorHandler((error, request, reply) => {
    const found = problemOf(error, request.id)
    if (isLogged(found.status)) request.log.error({ err: error, code: found.code }, 'request failed')
    // The rest of a body that is too big is read and dropped: who is cut off while sending never sees the answer.
    if (found.status === 413) reply.removeHeader('connection')
    sendProblem(reply, found)
  })
  const pathOf = (request: FastifyRequest): string => request.url.split('?', 1)[0]!.slice(0, 200)
  answerOtherMethods(app as unknown as FastifyInstance, {
    notFound: (request, reply) =>
      sendProblem(reply, problem('NOT_FOUND', `There is no ${request.method} ${pathOf(request)}.`)),
    otherMethod: (request, reply) =>
      sendProblem(reply, problem('METHOD_NOT_ALLOWED', `${pathOf(request)} has no ${request.method}.`)),
  })
  answerConditions(app as unknown as FastifyInstance)
  announceStop(app as unknown as FastifyInstance)
  await app.register(helmet, {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'self'"],
        imgSrc: ["'self'", 'data:'],
        styleSrc: ["'self'", "'unsafe-inline'"],
        baseUri: ["'none'"],
        formAction: ["'self'"],
        frameAncestors: ["'none'"],
      },
    },
    // TLS is the proxy's; a header that forces it would lock a loopback user out.
    strictTransportSecurity: false,
  })
  await app.register(underPressure, {
    maxEventLoopDelay: HTTP_BOUNDS.eventLoopDelayMaxMs,
    sampleInterval: HTTP_BOUNDS.eventLoopSampleMs,
    pressureHandler: (request, _reply, type) => {
      if (ALWAYS_ANSWERED.has(request.url.split('?', 1)[0]!)) return
      throw new OperatingError('OVERLOADED', `This process is overloaded (${type}).`)
    },
  })
  if (options.rateLimit !== undefined) {
    await app.register(rateLimit, { max: options.rateLimit.max, timeWindow: options.rateLimit.windowMs })
  }
  await app.register(swagger, {
    openapi: { openapi: '3.1.0', info: { title: options.title, version: options.version } },
  })
  registerHealth(app, options)
  return app
}

/** Bodies are JSON in UTF-8; an empty one is none, whatever it is called: many clients name the type of every POST. */
function readBodies(app: HttpApp): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeContentTypeParser(['text/plain', 'application/json'])
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body.length === 0) done(null)
    else void parse(request, String(body), done)
  })
  refuseCodedBodies(app as unknown as FastifyInstance)
  app.server.on('checkExpectation', (_request, response: ServerResponse) => {
    const found = { ...problem('REQUEST_INVALID', 'The expectation cannot be met.'), status: 417 }
    response.writeHead(417, { 'content-type': PROBLEM_TYPE, connection: 'close' }).end(JSON.stringify(found))
  })
}

function registerHealth(app: HttpApp, options: HttpOptions): void {
  const part = Type.Object({ ready: Type.Boolean(), reason: Type.Union([Type.String(), Type.Null()]) })
  const report = Type.Object({ ready: Type.Boolean(), parts: Type.Record(Type.String(), part) })
  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger())
  app.get(
    '/healthz',
    {
      schema: {
        summary: 'Alive',
        tags: ['process'],
        response: {
          200: Type.Object({
            status: Type.Literal('alive'),
            name: Type.String(),
            version: Type.String(),
            registry: Type.Optional(Type.Object({ url: Type.String(), external: Type.Optional(Type.Boolean()) })),
          }),
        },
      },
    },
    () => ({
      status: 'alive' as const,
      name: options.name,
      version: options.version,
      ...(options.registry === undefined ? {} : { registry: options.registry }),
    }),
  )
  app.get(
    '/readyz',
    { schema: { summary: 'Ready, part by part', tags: ['process'], response: { 200: report, 503: report } } },
    (_request, reply) => {
      const { parts } = options.ready()
      const ready = Object.values(parts).every((each) => each.ready)
      void reply.code(ready ? 200 : 503).header('cache-control', 'no-store')
      return { ready, parts }
    },
  )
}

/** Whether the log tells more than the answer: what is not in this version is nobody's fault. */
const isLogged = (status: number): boolean => status >= 500 && status !== 501

/** Turns anything thrown into a problem. What is not known shows nothing but the id of its log line. */
function problemOf(error: unknown, id?: string): Problem {
  if (error instanceof OperatingError) {
    const { field } = error.context
    const named = problem(error.code, error.message, error.hint)
    const found = typeof field === 'string' ? { ...named, field } : named
    return id === undefined || !isLogged(found.status) ? found : { ...found, id }
  }
  const known = error as Partial<FastifyError> & { statusCode?: number }
  if (known.validation !== undefined) {
    const field = fieldOf(known.validation[0], known.validationContext)
    const allowed = known.validation[0]?.params['allowedValues']
    const detail = known.message ?? 'The request is invalid.'
    return {
      ...problem('REQUEST_INVALID', Array.isArray(allowed) ? `${detail}: ${allowed.join(', ')}` : detail),
      field,
    }
  }
  const message = known.message ?? ''
  switch (known.statusCode) {
    case 413:
      return problem('BODY_TOO_LARGE', 'The body is larger than this route accepts.')
    case 415:
      return problem('MEDIA_TYPE', message)
    case 429:
      return problem('RATE_LIMITED', message)
  }
  if (known.statusCode !== undefined && known.statusCode >= 400 && known.statusCode < 500) {
    return problem('REQUEST_INVALID', message, 'See /openapi.json for what the path takes.')
  }
  if (known.statusCode === 503) return problem('OVERLOADED', 'This process is stopping or overloaded.')
  const unknown = problem('INTERNAL', 'Something that should not happen did.')
  return id === undefined ? unknown : { ...unknown, id }
}

function problem(code: ErrorCode, detail: string, hint: string = ERRORS[code].hint): Problem {
  const words = code.toLowerCase().replaceAll('_', ' ')
  return {
    type: `urn:tidemark:error:${code.toLowerCase().replaceAll('_', '-')}`,
    title: words.charAt(0).toUpperCase() + words.slice(1),
    status: ERRORS[code].status,
    detail,
    code,
    hint,
  }
}

/** `from`, `body.measures.0`, or the whole part of the request when no field can be named. */
function fieldOf(
  found: { instancePath: string; params: Record<string, unknown> } | undefined,
  context: string | undefined,
): string {
  const path = (found?.instancePath ?? '').split('/').slice(1)
  const extra = found?.params['missingProperty'] ?? found?.params['additionalProperty']
  if (typeof extra === 'string') path.push(extra)
  return path.length === 0 ? (context ?? 'request') : path.join('.')
}

function sendProblem(reply: FastifyReply, found: Problem): void {
  reply.code(found.status).header('cache-control', 'no-store')
  const retriable = found.status === 429 || found.status === 503
  if (retriable && ERRORS[found.code].retry === 'later' && !reply.hasHeader('retry-after'))
    reply.header('retry-after', '1')
  // Already text, so that no response schema of the route can drop a field.
  void reply.type(PROBLEM_TYPE).serializer(String).send(JSON.stringify(found))
}

/**
 * Listens and returns the URL with the real port.
 * @throws OperatingError PORT_TAKEN, CONFIG_INVALID (an address or port that cannot be bound), each in one sentence
 */
export async function listenOrExplain(
  app: { listen(options: { host: string; port: number }): Promise<string> },
  address: { readonly host: string; readonly port: number },
): Promise<string> {
  const { host, port } = address
  try {
    return await app.listen({ host, port })
  } catch (error) {
    const code = (error as { code?: unknown }).code
    if (code === 'EADDRINUSE') {
      throw new OperatingError(
        'PORT_TAKEN',
        `Port ${port} on ${host} is taken by another process.`,
        { host, port },
        { cause: error },
      )
    }
    if (code === 'EACCES' || code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND' || code === 'ERR_SOCKET_BAD_PORT') {
      throw new OperatingError(
        'CONFIG_INVALID',
        `Cannot listen on ${host}, port ${port} (${code}).`,
        { host, port },
        {
          cause: error,
          hint: 'Choose an address of this machine and a port above 1023.',
        },
      )
    }
    throw error
  }
}
