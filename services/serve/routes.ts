/**
 * Routes of the serving process: metrics, queries, live push, machine series. Register on any app of lib/io/http.
 * A query is answered from the cache while the state has not changed; refusals are problem bodies (Q3).
 */
import { Type } from 'typebox'
import { type HttpApp, problemResponse } from '#io/http.ts'
import type { Clock, EventLog } from '#io/ports.ts'
import type { Telemetry } from '#io/telemetry.ts'
import type { Definitions } from '#metrics/definition.ts'
import { computeAnswer, refusalError } from './answer.ts'
import { describeMetric } from './describe.ts'
import { laterRoutes } from './later.ts'
import { ledgerRoutes } from './ledgers.ts'
import { startLive } from './live.ts'
import { formOf, render } from './render.ts'
import { fieldsOf, invalid, parseQuery, QUERY_FIELDS, type RawQuery } from './request.ts'
import { answerSchema, metricSchema } from './schemas.ts'
import type { Answer } from './served-metric.ts'
import type { Serve } from './start.ts'
import { webRoutes } from './web.ts'

/** What the routes need. */
export interface ServeRoutesDeps {
  readonly serve: Serve
  readonly telemetry: Telemetry
  readonly clock: Clock
  readonly log: EventLog
  readonly definitions: Definitions
}

const described = (field: keyof typeof QUERY_FIELDS) => ({ description: QUERY_FIELDS[field] })
const names = Object.keys(QUERY_FIELDS) as (keyof typeof QUERY_FIELDS)[]
const params = Type.Object({ metric: Type.String() })
const querystring = Type.Object(
  Object.fromEntries(
    names.map((field) => [
      field,
      Type.Optional(field === 'filter' ? Type.Array(Type.String(), described(field)) : Type.String(described(field))),
    ]),
  ),
)
const body = Type.Object(
  Object.fromEntries(names.map((field) => [field, Type.Optional(Type.Unknown(described(field)))])),
)
/** Widened on purpose: bodies are finished bytes, so the answers are not typed by the schema. */
const problems: Record<string, unknown> = { '4xx': problemResponse, '5xx': problemResponse }
const answered: unknown = {
  description: 'Rows and envelope',
  content: {
    'application/json': { schema: answerSchema },
    'text/csv': {
      schema: Type.String({
        description: 'from, until, dimensions, measures, finality; the envelope is in the header tidemark-envelope',
      }),
    },
  },
}
const exposed: unknown = {
  description: 'Exposition format 0.0.4',
  content: { 'text/plain': { schema: Type.String() } },
}
const pushed: unknown = {
  description: 'Events `snapshot`, `upsert`, `envelope`, `refusal`',
  content: { 'text/event-stream': { schema: Type.String() } },
}

/** Adds the routes and the start page. Live connections end with the app. */
export async function serveRoutes(app: HttpApp, deps: ServeRoutesDeps): Promise<void> {
  const { serve, telemetry, clock } = deps
  const live = startLive({ serve, clock })
  app.addHook('preClose', () => live.stop())
  telemetry.onScrape(() => {
    for (const { definition } of serve.metrics) {
      telemetry.set('tidemark_live_clients', { metric: definition.name }, live.clients(definition.name))
    }
  })

  async function answer(metric: string, raw: RawQuery, accept: string | undefined): Promise<Answer> {
    const served = serve.metric(metric)
    const query = parseQuery(raw, served.definition)
    const form = formOf(accept)
    if (query.layer !== 'batch') {
      const refusal = serve.refusalOf(served)
      if (refusal !== null) {
        telemetry.add('tidemark_queries_total', { metric, outcome: 'refused' })
        throw refusalError(metric, refusal)
      }
    }
    const key = `${form}|${query.key}`
    const known = served.cached(key)
    if (known !== undefined) {
      telemetry.add('tidemark_queries_total', { metric, outcome: 'cached' })
      return known
    }
    const batch = query.layer === 'batch' ? await served.batchLayer(query.asOf) : null
    const startedMs = clock.monotonic()
    // From here on nothing waits: cut, offsets and cells belong together.
    const { stamp } = served
    const dimensions = query.groupBy.map((at) => served.definition.layout.dimensions[at]!.name)
    const fresh = render(computeAnswer(served, query, batch), query, form, dimensions)
    telemetry.observe('tidemark_query_duration_seconds', { layer: query.layer }, (clock.monotonic() - startedMs) / 1000)
    telemetry.add('tidemark_queries_total', { metric, outcome: 'computed' })
    served.remember(stamp, key, fresh)
    return fresh
  }

  const all: unknown = Type.Object({ metrics: Type.Array(metricSchema) })
  app.get(
    '/v1/metrics',
    { schema: { summary: 'All metrics', tags: ['metrics'], response: { 200: all, ...problems } } },
    (_, reply) => {
      void reply.header('cache-control', 'no-store')
      return { metrics: serve.metrics.map((served) => describeMetric(serve, served)) }
    },
  )
  const one: unknown = metricSchema
  app.get(
    '/v1/metrics/:metric',
    { schema: { summary: 'One metric', tags: ['metrics'], params, response: { 200: one, ...problems } } },
    (request, reply) => {
      void reply.header('cache-control', 'no-store')
      return describeMetric(serve, serve.metric(request.params.metric))
    },
  )
  app.get(
    '/v1/metrics/:metric/query',
    {
      schema: {
        summary: 'Query a metric',
        tags: ['metrics'],
        params,
        querystring,
        response: { 200: answered, ...problems },
      },
    },
    async (request, reply) => {
      const { body, headers } = await answer(request.params.metric, request.query as RawQuery, request.headers.accept)
      return reply.headers(headers).serializer(asIs).send(body)
    },
  )
  app.post(
    '/v1/metrics/:metric/query',
    {
      schema: {
        summary: 'Query a metric',
        description: 'Fields may stand in the body or in the query string.',
        tags: ['metrics'],
        params,
        querystring,
        body,
        response: { 200: answered, ...problems },
      },
    },
    async (request, reply) => {
      const raw = fieldsOf(request.body as RawQuery, request.query as RawQuery)
      const { body, headers } = await answer(request.params.metric, raw, request.headers.accept)
      return reply.headers(headers).serializer(asIs).send(body)
    },
  )
  app.get(
    '/v1/metrics/:metric/live',
    {
      // A HEAD would hold a connection that nothing is sent on.
      exposeHeadRoute: false,
      schema: {
        summary: 'Live rows as server-sent events',
        tags: ['metrics'],
        params,
        querystring,
        response: { 200: pushed, ...problems },
      },
    },
    (request, reply) => {
      const served = serve.metric(request.params.metric)
      const query = parseQuery(request.query as RawQuery, served.definition)
      if (query.layer !== 'merged') throw invalid(query.asOf === null ? 'layer' : 'as_of', 'live rows are merged ones')
      if (query.order !== null) throw invalid('order', 'live rows come as they change')
      reply.hijack()
      const security = reply.getHeaders()
      for (const [name, value] of Object.entries(security)) if (value !== undefined) reply.raw.setHeader(name, value)
      const given = request.headers['last-event-id']
      live.join(served, query, { response: reply.raw, lastEventId: Array.isArray(given) ? given[0] : given })
    },
  )
  const series = { summary: 'Machine series for Prometheus', tags: ['process'], response: { 200: exposed } }
  app.get('/metrics', { schema: series }, async (_, reply) => {
    const text = await telemetry.text()
    return reply.header('content-type', telemetry.contentType).header('cache-control', 'no-store').send(text)
  })
  await ledgerRoutes(app, deps)
  laterRoutes(app)
  await webRoutes(app)
}

/** The body is finished bytes: no serialiser may touch it. */
const asIs = (payload: unknown): string => payload as string
