/**
 * Confluent's REST API as a Fastify plugin: paths, queries and bodies on one side, RegistryState on the other.
 * Every refusal has the body `{ error_code, message }`; content is `application/vnd.schemaregistry.v1+json`.
 *
 * The server that mounts it sets `routerOptions.maxParamLength` to at least SUBJECT_LENGTH_MAX, or long subjects are 404.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { parsingCanonicalForm } from '#format/avro-compatibility.ts'
import { classify } from '#io/errors.ts'
import type { SchemaVersion } from './records.ts'
import { RegistryRefusal, refusals } from './refusal.ts'
import type { RegistryState, SchemaRequest, VersionChoice } from './state.ts'
import type { RegistryLogger } from './store.ts'

/** Characters a subject may have in a path, percent-encoding undone: topic names (249) with a record's full name. */
export const SUBJECT_LENGTH_MAX = 1_024
/** Content type of every answer. */
export const CONTENT_TYPE = 'application/vnd.schemaregistry.v1+json'
const BODY_TYPES = [CONTENT_TYPE, 'application/vnd.schemaregistry+json', 'application/json', 'application/octet-stream']
const ID_MAX = 2 ** 31 - 1

type Json = Readonly<Record<string, unknown>>
type Handler = (request: FastifyRequest) => unknown

/** The routes. `logger` hears of failures behind a 500. */
export async function registryRoutes(
  app: FastifyInstance,
  options: { state: RegistryState; logger: RegistryLogger },
): Promise<void> {
  const { state, logger } = options
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(BODY_TYPES, { parseAs: 'string' }, (_request, body, done) => {
    if (body === '') return done(null, undefined)
    try {
      done(null, JSON.parse(body as string))
    } catch (error) {
      done(new RegistryRefusal(400, `Malformed JSON: ${(error as Error).message}`))
    }
  })
  app.setNotFoundHandler((_request, reply) => answerError(reply, refusals.notFound(), logger))
  app.setErrorHandler((error, _request, reply) => answerError(reply, error, logger))
  app.addHook('onSend', async (_request, reply) => {
    reply.header('x-content-type-options', 'nosniff')
  })

  const route = (method: 'GET' | 'POST' | 'PUT' | 'DELETE', url: string, handler: Handler): void => {
    app.route({ method, url, handler: async (request, reply) => answer(reply, 200, await handler(request)) })
  }

  route('GET', '/', () => ({}))
  route('GET', '/healthz', () => ({ status: 'ok' }))
  app.get('/readyz', async (_request, reply) => {
    try {
      await state.refresh()
      return answer(reply, 200, { status: 'ready' })
    } catch (error) {
      return answer(reply, 503, { status: 'unready', code: classify(error).code })
    }
  })
  subjectRoutes(route, state)
  schemaRoutes(route, state)
  settingRoutes(route, state)
}

type Route = (method: 'GET' | 'POST' | 'PUT' | 'DELETE', url: string, handler: Handler) => void

function subjectRoutes(route: Route, state: RegistryState): void {
  route('GET', '/subjects', (request) =>
    state.subjects({ deleted: flag(request, 'deleted'), prefix: queryOf(request)['subjectPrefix'] ?? '' }),
  )
  route('POST', '/subjects/:subject', async (request) =>
    view(await state.lookUp(subjectOf(request), schemaOf(request), { deleted: flag(request, 'deleted') })),
  )
  route('DELETE', '/subjects/:subject', (request) =>
    state.deleteSubject(subjectOf(request), { permanent: flag(request, 'permanent') }),
  )
  route('GET', '/subjects/:subject/versions', (request) =>
    state.versions(subjectOf(request), { deleted: flag(request, 'deleted') }),
  )
  route('POST', '/subjects/:subject/versions', async (request) => ({
    id: await state.register(subjectOf(request), schemaOf(request)),
  }))
  const version = (request: FastifyRequest): Promise<SchemaVersion> =>
    state.version(subjectOf(request), versionOf(request), { deleted: flag(request, 'deleted') })
  route('GET', '/subjects/:subject/versions/:version', async (request) => view(await version(request)))
  route('GET', '/subjects/:subject/versions/:version/schema', async (request) => new RawSchema(await version(request)))
  route('DELETE', '/subjects/:subject/versions/:version', (request) =>
    state.deleteVersion(subjectOf(request), versionOf(request), { permanent: flag(request, 'permanent') }),
  )
  const compatibility = async (request: FastifyRequest, choice: VersionChoice | null): Promise<Json> => {
    const messages = await state.explain(subjectOf(request), choice, schemaOf(request))
    return { is_compatible: messages.length === 0, ...(flag(request, 'verbose') ? { messages } : {}) }
  }
  route('POST', '/compatibility/subjects/:subject/versions', (request) => compatibility(request, null))
  route('POST', '/compatibility/subjects/:subject/versions/:version', (request) =>
    compatibility(request, versionOf(request)),
  )
}

function schemaRoutes(route: Route, state: RegistryState): void {
  const holders = (request: FastifyRequest): Promise<SchemaVersion[]> => {
    const text = paramsOf(request)['id'] ?? ''
    const id = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN
    if (!(id <= ID_MAX)) throw refusals.notFound()
    return state.holders(id)
  }
  /** Soft deleted holders are named only when asked for; the schema itself stays readable. */
  const named = async (request: FastifyRequest): Promise<SchemaVersion[]> =>
    (await holders(request)).filter((held) => !held.deleted || flag(request, 'deleted'))
  route('GET', '/schemas/types', () => ['AVRO'])
  route('GET', '/schemas/ids/:id', async (request) => {
    const [first] = await holders(request)
    const canonical = queryOf(request)['format'] === 'canonical'
    const schema = canonical ? parsingCanonicalForm(first!.schema) : first!.schema
    return { ...kindOf(first!), schema }
  })
  route('GET', '/schemas/ids/:id/schema', async (request) => new RawSchema((await holders(request))[0]!))
  route('GET', '/schemas/ids/:id/subjects', async (request) => [
    ...new Set((await named(request)).map(({ subject }) => subject)),
  ])
  route('GET', '/schemas/ids/:id/versions', async (request) =>
    (await named(request)).map(({ subject, version }) => ({ subject, version })),
  )
}

function settingRoutes(route: Route, state: RegistryState): void {
  const optionalSubject = (request: FastifyRequest): string | null =>
    paramsOf(request)['subject'] === undefined ? null : subjectOf(request)
  const inherit = (request: FastifyRequest): { inherit: boolean } => ({ inherit: flag(request, 'defaultToGlobal') })
  for (const path of ['', '/:subject']) {
    route('GET', `/config${path}`, async (request) => ({
      compatibilityLevel: await state.level(optionalSubject(request), inherit(request)),
    }))
    route('PUT', `/config${path}`, async (request) => {
      const level = bodyOf(request)['compatibility']
      if (typeof level !== 'string') throw refusals.invalidLevel()
      return { compatibility: await state.setLevel(optionalSubject(request), level) }
    })
    route('DELETE', `/config${path}`, async (request) => ({
      compatibilityLevel: await state.unsetLevel(optionalSubject(request)),
    }))
    route('GET', `/mode${path}`, async (request) => ({
      mode: await state.mode(optionalSubject(request), inherit(request)),
    }))
  }
}

/** An answer that is the schema's own JSON, not a JSON string of it. */
class RawSchema {
  readonly text: string
  constructor(version: SchemaVersion) {
    this.text = version.schema
  }
}

function answer(reply: FastifyReply, status: number, value: unknown): FastifyReply {
  reply.code(status).header('content-type', CONTENT_TYPE)
  // Bytes, because Fastify would add a charset to the type of a string, and some clients compare the type as a whole.
  return reply.send(Buffer.from(value instanceof RawSchema ? value.text : JSON.stringify(value)))
}

/** Fastify's own errors carry a status below 500; what the log failed at is a 500 that clients send again. */
function answerError(reply: FastifyReply, error: unknown, logger: RegistryLogger): FastifyReply {
  const refusal = error instanceof RegistryRefusal ? error : (ofServer(error) ?? ofLog(error, logger))
  return answer(reply, refusal.status, { error_code: refusal.errorCode, message: refusal.message })
}

function ofServer(error: unknown): RegistryRefusal | null {
  const { statusCode, message } = error as { statusCode?: number; message: string }
  if (statusCode === undefined || statusCode >= 500) return null
  return new RegistryRefusal(statusCode, statusCode === 415 ? 'HTTP 415 Unsupported Media Type' : message)
}

function ofLog(error: unknown, logger: RegistryLogger): RegistryRefusal {
  const known = classify(error)
  logger.error({ code: known.code, context: known.context, err: error }, 'registry request failed')
  if (known.code === 'LOG_APPEND_UNKNOWN') return refusals.timedOut()
  // Never the message of an unknown error: it may show what is none of the client's business.
  return known.code === 'INTERNAL'
    ? new RegistryRefusal(50001, 'Error in the registry; see its log')
    : refusals.storeFailed(known.code)
}

const paramsOf = (request: FastifyRequest): Readonly<Record<string, string | undefined>> =>
  request.params as Record<string, string | undefined>

/** A query value given twice counts as its last. */
function queryOf(request: FastifyRequest): Readonly<Record<string, string | undefined>> {
  const entries = Object.entries(request.query as Record<string, string | string[]>)
  return Object.fromEntries(entries.map(([name, value]) => [name, Array.isArray(value) ? value.at(-1) : value]))
}

const flag = (request: FastifyRequest, name: string): boolean => queryOf(request)[name]?.toLowerCase() === 'true'

/** `:.:s` names subject s of the default context, the only one there is. */
const subjectOf = (request: FastifyRequest): string => (paramsOf(request)['subject'] ?? '').replace(/^:\.:/, '')

function versionOf(request: FastifyRequest): VersionChoice {
  const text = paramsOf(request)['version'] ?? ''
  if (text === 'latest' || text === '-1') return 'latest'
  const version = /^\d{1,10}$/.test(text) ? Number(text) : 0
  if (version < 1 || version > ID_MAX) throw refusals.invalidVersion(text)
  return version
}

function bodyOf(request: FastifyRequest): Json {
  const { body } = request
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new RegistryRefusal(400, 'The body must be a JSON object')
  return body as Json
}

function schemaOf(request: FastifyRequest): SchemaRequest {
  const { schema, schemaType, references } = bodyOf(request)
  if (schema === undefined || schema === null) throw refusals.emptySchema()
  if (typeof schema !== 'string') throw new RegistryRefusal(400, '"schema" must be the schema as a JSON string')
  if (schemaType !== undefined && schemaType !== null && typeof schemaType !== 'string') {
    throw refusals.invalidSchemaType(JSON.stringify(schemaType))
  }
  if (references !== undefined && references !== null && !Array.isArray(references)) {
    throw new RegistryRefusal(400, '"references" must be a list')
  }
  return { schema, schemaType: schemaType ?? 'AVRO', references: (references as unknown[] | null | undefined) ?? [] }
}

/** Type and references are named only when they are not the usual. */
function kindOf(version: SchemaVersion): Json {
  const { schemaType, references } = version
  return { ...(schemaType === 'AVRO' ? {} : { schemaType }), ...(references.length === 0 ? {} : { references }) }
}

const view = (held: SchemaVersion): Json => ({
  subject: held.subject,
  version: held.version,
  id: held.id,
  ...kindOf(held),
  schema: held.schema,
  ...(held.deleted ? { deleted: true } : {}),
})
