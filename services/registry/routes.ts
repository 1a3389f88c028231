/**
 * Confluent's REST API as a Fastify plugin: paths, queries and bodies on one side (routes/*.ts), RegistryState on the other.
 * Every refusal has the body `{ error_code, message }`.
 *
 * The server that mounts it passes SERVER_OPTIONS to Fastify, or long subjects and paths of contexts are 404; and calls
 * `resolveNames` before it checks keys.
 */
import { STATUS_CODES } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest, FastifyServerOptions } from 'fastify'
import { LIMITS } from '#core/limits.ts'
import { classify } from '#io/errors.ts'
import { answerUnread } from '#io/http-unread.ts'
import { rewriteContext } from './addresses.ts'
import { answer, answerRefusal, CONTENT_TYPE, isConsumed, refusedByServer } from './negotiation.ts'
import { RegistryRefusal, refusals } from './refusal.ts'
import { compatibilityRoutes } from './routes/compatibility.ts'
import { mount } from './routes/mount.ts'
import { schemaRoutes } from './routes/schemas.ts'
import { serverRoutes } from './routes/server.ts'
import { settingRoutes } from './routes/settings.ts'
import { subjectRoutes } from './routes/subjects.ts'
import type { RegistryState } from './state.ts'
import type { RegistryLogger } from './store.ts'

/** Characters a subject may have in a path, percent-encoding undone: topic names (249) with a record's full name. */
const SUBJECT_LENGTH_MAX = 1_024

/** What the server needs to know before its routes. */
export const SERVER_OPTIONS = {
  // A schema as a JSON string in JSON: escaping may double it.
  bodyLimit: 2 * LIMITS.schemaBytes + 16 * 1024,
  routerOptions: { maxParamLength: SUBJECT_LENGTH_MAX, ignoreTrailingSlash: true, ignoreDuplicateSlashes: true },
  rewriteUrl: ({ url }) => rewriteContext(url ?? '/'),
  frameworkErrors: (error, request, reply) => {
    const refusal = refusedByServer(error) ?? refusals.notFound()
    void answerRefusal(request as FastifyRequest, reply as unknown as FastifyReply, refusal)
  },
  clientErrorHandler: answerUnread(CONTENT_TYPE, (status) => ({
    error_code: status,
    message: `HTTP ${status} ${STATUS_CODES[status]}`,
  })),
} satisfies FastifyServerOptions

/** Series of the process for Prometheus. */
export interface MachineSeries {
  readonly contentType: string
  text(): Promise<string>
}

/** The routes. `logger` hears of failures behind a 500; without `series` there is no `/metrics`. */
export async function registryRoutes(
  app: FastifyInstance,
  options: { state: RegistryState; logger: RegistryLogger; series: MachineSeries | null },
): Promise<void> {
  const { state, logger, series } = options
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'string' }, (request, body, done) => {
    if (!isConsumed(request.headers['content-type'])) return done(refusals.mediaType())
    if (body === '') return done(null, null)
    try {
      done(null, JSON.parse(body as string))
    } catch (error) {
      done(new RegistryRefusal(400, `Malformed JSON: ${(error as Error).message}`))
    }
  })
  app.setNotFoundHandler((request, reply) => answerRefusal(request, reply, refusals.notFound()))
  app.setErrorHandler((error, request, reply) => {
    const refusal = error instanceof RegistryRefusal ? error : (refusedByServer(error) ?? ofLog(error, logger))
    // The rest of a body that is too big is read and dropped: who is cut off while sending never sees the answer.
    if (refusal.status === 413) reply.removeHeader('connection')
    return answerRefusal(request, reply, refusal)
  })

  app.get('/healthz', (request, reply) => answer(request, reply, 200, { status: 'ok' }))
  app.get('/readyz', async (request, reply) => {
    try {
      await state.refresh()
      return answer(request, reply, 200, { status: 'ready' })
    } catch (error) {
      return answer(request, reply, 503, { status: 'unready', code: classify(error).code })
    }
  })
  if (series !== null) {
    app.get('/metrics', async (_, reply) => reply.type(series.contentType).send(await series.text()))
  }
  mount(app, state, [serverRoutes, subjectRoutes, schemaRoutes, compatibilityRoutes, settingRoutes])
}

/** What the log failed at is a 500 that clients send again. */
function ofLog(error: unknown, logger: RegistryLogger): RegistryRefusal {
  const known = classify(error)
  logger.error({ code: known.code, context: known.context, err: error }, 'registry request failed')
  if (known.code === 'LOG_APPEND_UNKNOWN') return refusals.timedOut()
  // Never the message of an unknown error: it may show what is none of the client's business.
  return known.code === 'INTERNAL'
    ? new RegistryRefusal(50001, 'Error in the registry; see its log')
    : refusals.storeFailed(known.code)
}
