/**
 * HTTP over jobs, views and drift reports, as a Fastify plugin for any app of lib/io/http. Jobs are added and steered here,
 * never run: the worker may be another process. Views are read from verified manifest chains.
 */
import { type Static, Type } from 'typebox'
import { OperatingError } from '#io/errors.ts'
import { type HttpApp, problemResponse } from '#io/http.ts'
import type { Clock, JobQueue, JobType, JobView, Lake } from '#io/ports.ts'
import { readViews, rollbackView } from '#io/views.ts'
import type { Definitions } from '#metrics/definition.ts'
import { type DriftReport, driftPath } from '#schemas/drift.ts'
import { metricNamed } from './deps.ts'
import { checkJob } from './run.ts'

/** What the routes need. */
export interface BatchRoutesDeps {
  readonly jobs: JobQueue
  readonly lake: Lake
  readonly definitions: Definitions
  readonly clock: Clock
}

const TYPES: readonly JobType[] = [
  'build-view',
  'drift',
  'replay',
  'backfill',
  'compact',
  'verify',
  'restore',
  'redrive',
  'export',
]
/** Fields of the types that can be run; the other types are refused until they exist. */
const FIELDS: Readonly<Record<string, readonly string[] | undefined>> = {
  'build-view': ['metric', 'days', 'cut'],
  drift: ['metric'],
  verify: ['stream', 'deep'],
}

const nullable = <T extends Parameters<typeof Type.Union>[0][number]>(schema: T) => Type.Union([schema, Type.Null()])
const jobSchema = Type.Object(
  {
    id: Type.String(),
    type: Type.String(),
    state: Type.String({ description: 'waiting, active, paused, completed, failed or cancelled.' }),
    data: Type.Record(Type.String(), Type.Unknown()),
    progress: Type.Number({ minimum: 0, maximum: 1 }),
    eta_ms: nullable(Type.Number({ description: 'Estimated ms to the end.' })),
    result: Type.Unknown(),
    error: nullable(Type.Object({ code: Type.String(), message: Type.String(), hint: Type.String() })),
    created_at: Type.String(),
    finished_at: nullable(Type.String()),
  },
  { title: 'Job' },
)
const jobType = Type.Unsafe<JobType>({ type: 'string', enum: [...TYPES] })
const newJobSchema = Type.Object(
  {
    type: jobType,
    key: Type.Optional(
      Type.String({ minLength: 1, maxLength: 200, description: 'Idempotency key: the same key gives the same job.' }),
    ),
    metric: Type.Optional(Type.String({ minLength: 1, description: 'A metric, or * for all (build-view, drift).' })),
    stream: Type.Optional(Type.String({ minLength: 1, description: 'A stream, or * for all (verify).' })),
    days: Type.Optional(Type.Unsafe<'touched' | 'all'>({ type: 'string', enum: ['touched', 'all'] })),
    cut: Type.Optional(Type.Integer({ minimum: 1, description: 'Build at this barrier instead of a new one.' })),
    deep: Type.Optional(Type.Boolean({ description: 'Read every row (verify).' })),
  },
  { title: 'New job', additionalProperties: true },
)
const idParams = Type.Object({ id: Type.String({ minLength: 1 }) })
const metricParams = Type.Object({ metric: Type.String({ minLength: 1 }) })
const reportParams = Type.Object({
  metric: Type.String({ minLength: 1 }),
  report: Type.String({ pattern: '^[0-9]{1,16}(-[0-9]{1,6})?$' }),
})
const arm = Type.Union([Type.Literal('sql'), Type.Literal('stream')])
const viewSchema = Type.Object(
  {
    sequence: Type.Integer(),
    arm,
    generation: Type.String(),
    definition_hash: Type.String(),
    cut: Type.Integer(),
    offsets: Type.Array(Type.Integer()),
    watermark: nullable(Type.String()),
    rows: Type.Integer(),
    files: Type.Array(
      Type.Object({
        from_day: Type.String(),
        until_day: Type.String(),
        path: Type.String(),
        sha256: Type.String(),
        bytes: Type.Integer(),
        rows: Type.Integer(),
      }),
    ),
    rollback_of: nullable(Type.Integer()),
    job: nullable(Type.String()),
    published: Type.String(),
    current: Type.Boolean({ description: 'Whether this is the view that is read.' }),
  },
  { title: 'View' },
)
const rollbackSchema = nullable(
  Type.Object(
    {
      to: Type.Optional(Type.Integer({ minimum: 1, description: 'Sequence of the view; default: the one before.' })),
      arm: Type.Optional(arm),
    },
    { additionalProperties: false },
  ),
)
const problems = { '4xx': problemResponse, '5xx': problemResponse } as const

/** Adds `/v1/jobs…`, `/v1/views/{metric}…` and `/v1/drift/{metric}…`. */
export async function batchRoutes(app: HttpApp, deps: BatchRoutesDeps): Promise<void> {
  jobRoutes(app, deps)
  viewRoutes(app, deps)
  driftRoutes(app, deps)
}

function jobRoutes(app: HttpApp, { jobs, definitions }: BatchRoutesDeps): void {
  const tags = ['jobs']
  app.post(
    '/v1/jobs',
    { schema: { summary: 'Start a job', tags, body: newJobSchema, response: { 202: jobSchema, ...problems } } },
    async (request, reply) => {
      const { type, key, ...data } = request.body as Static<typeof newJobSchema> & Record<string, unknown>
      const fields = FIELDS[type]
      if (fields === undefined)
        throw new OperatingError('NOT_IMPLEMENTED', `Jobs of type ${type} are not in this version yet.`, {
          field: 'type',
        })
      const unknown = Object.keys(data).find((field) => !fields.includes(field))
      if (unknown !== undefined) {
        throw new OperatingError(
          'REQUEST_INVALID',
          `A ${type} job has no field ${unknown}; it has ${fields.join(', ')}.`,
          { field: unknown },
        )
      }
      checkJob(definitions, type, data)
      const job = await jobs.add(type, data, key === undefined ? {} : { key })
      return reply.code(202).send(job as Static<typeof jobSchema>)
    },
  )
  app.get(
    '/v1/jobs',
    {
      schema: {
        summary: 'Jobs, newest first',
        tags,
        querystring: Type.Object(
          {
            type: Type.Optional(jobType),
            limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000, default: 100 })),
          },
          { additionalProperties: false },
        ),
        response: { 200: Type.Object({ jobs: Type.Array(jobSchema) }), ...problems },
      },
    },
    async (request, reply) => {
      const { type, limit = 100 } = request.query
      const list = await jobs.list(type === undefined ? { limit } : { type, limit })
      return reply.header('cache-control', 'no-store').send({ jobs: list as Static<typeof jobSchema>[] })
    },
  )
  app.get(
    '/v1/jobs/:id',
    { schema: { summary: 'A job', tags, params: idParams, response: { 200: jobSchema, ...problems } } },
    async (request, reply) => {
      const job = await jobs.get(request.params.id)
      if (job === null)
        throw new OperatingError('JOB_UNKNOWN', `There is no job ${request.params.id}.`, { job: request.params.id })
      return reply.header('cache-control', 'no-store').send(job as Static<typeof jobSchema>)
    },
  )
  app.get(
    '/v1/jobs/:id/logs',
    {
      schema: {
        summary: "A job's log",
        tags,
        params: idParams,
        response: { 200: Type.Object({ lines: Type.Array(Type.String()) }), ...problems },
      },
    },
    async (request) => ({ lines: await jobs.logs(request.params.id) }),
  )
  const verbs: Record<string, (id: string) => Promise<JobView>> = {
    pause: (id) => jobs.pause(id),
    resume: (id) => jobs.resume(id),
    cancel: (id) => jobs.cancel(id),
    retry: (id) => jobs.retry(id),
  }
  for (const [verb, act] of Object.entries(verbs)) {
    app.post(
      `/v1/jobs/:id/${verb}`,
      {
        schema: {
          summary: `${verb[0]!.toUpperCase()}${verb.slice(1)} a job`,
          tags,
          params: idParams,
          response: { 200: jobSchema, ...problems },
        },
      },
      async (request) => (await act(request.params.id)) as Static<typeof jobSchema>,
    )
  }
}

type ViewAnswer = Static<typeof viewSchema>

function viewRoutes(app: HttpApp, { lake, definitions, clock }: BatchRoutesDeps): void {
  const tags = ['views']
  const armOf = (metric: string) => (metricNamed(definitions, metric).mode === 'kappa' ? 'stream' : 'sql')
  const shown = (view: Awaited<ReturnType<typeof rollbackView>>, current: boolean): ViewAnswer => ({
    sequence: view.sequence,
    arm: view.arm,
    generation: view.generation,
    definition_hash: view.definition_hash,
    cut: view.cut,
    offsets: [...view.offsets],
    watermark: view.watermark === null ? null : new Date(view.watermark).toISOString(),
    rows: view.rows,
    files: view.files.map((file) => ({ ...file })),
    rollback_of: view.rollback_of,
    job: view.job,
    published: new Date(view.published_ms).toISOString(),
    current,
  })
  app.get(
    '/v1/views/:metric',
    {
      schema: {
        summary: 'Published views, newest first',
        tags,
        params: metricParams,
        querystring: Type.Object(
          {
            arm: Type.Optional(arm),
            limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000, default: 50 })),
          },
          { additionalProperties: false },
        ),
        response: { 200: Type.Object({ metric: Type.String(), views: Type.Array(viewSchema) }), ...problems },
      },
    },
    async (request) => {
      const { metric } = request.params
      const primary = armOf(metric)
      const views = await readViews(lake, metric, request.query.arm ?? primary)
      const last = views.at(-1)
      const newest = views.slice(-(request.query.limit ?? 50)).reverse()
      return { metric, views: newest.map((view) => shown(view, view === last)) }
    },
  )
  app.post(
    '/v1/views/:metric/rollback',
    {
      schema: {
        summary: 'Point back to an older view',
        tags,
        params: metricParams,
        body: Type.Optional(rollbackSchema),
        response: { 200: viewSchema, ...problems },
      },
    },
    async (request) => {
      const { metric } = request.params
      const primary = armOf(metric)
      const body = request.body ?? {}
      const view = await rollbackView(lake, {
        metric,
        arm: body.arm ?? primary,
        to: body.to ?? null,
        job: null,
        publishedMs: clock.now(),
      })
      return shown(view, true)
    },
  )
}

const reportSchema = Type.Object(
  {
    report: Type.String(),
    metric: Type.String(),
    generation: Type.String(),
    cut: Type.Integer(),
    offsets: Type.Array(Type.Integer()),
    cells_compared: Type.Integer(),
    cells_different: Type.Integer(),
    unexplained: Type.Integer(),
    causes: Type.Array(Type.Unknown()),
    differences: Type.Array(Type.Unknown()),
    revision: Type.Unknown(),
    created: Type.String(),
  },
  { title: 'Drift report' },
)
const driftSchema = Type.Object({
  ...reportSchema.properties,
  reports: Type.Array(Type.String(), { description: 'Names of all reports, newest first.' }),
})

function driftRoutes(app: HttpApp, { lake, definitions }: BatchRoutesDeps): void {
  const tags = ['drift']
  const read = async (metric: string, report: string): Promise<Static<typeof reportSchema>> => {
    const bytes = await lake.read(driftPath(metric, report))
    if (bytes === null)
      throw new OperatingError(
        'NOT_FOUND',
        `There is no drift report ${report} of ${metric}.`,
        { metric, report },
        { hint: 'List them with GET /v1/drift/{metric}.' },
      )
    return JSON.parse(new TextDecoder().decode(bytes)) as DriftReport as unknown as Static<typeof reportSchema>
  }
  app.get(
    '/v1/drift/:metric',
    {
      schema: {
        summary: 'The newest drift report, and the names of all',
        tags,
        params: metricParams,
        response: { 200: driftSchema, ...problems },
      },
    },
    async (request) => {
      const { metric } = request.params
      metricNamed(definitions, metric)
      const reports = (await lake.list(`drift/${metric}`)).map((path) =>
        path.slice(path.lastIndexOf('/') + 1, -'.json'.length),
      )
      const order = (name: string): number[] => name.split('-').map(Number)
      reports.sort((a, b) => order(b)[0]! - order(a)[0]! || (order(b)[1] ?? 1) - (order(a)[1] ?? 1))
      const [newest] = reports
      if (newest === undefined) {
        throw new OperatingError(
          'NOT_FOUND',
          `There is no drift report of ${metric} yet.`,
          { metric },
          { hint: 'Start one with POST /v1/jobs {"type": "drift", "metric": …}.' },
        )
      }
      return { ...(await read(metric, newest)), reports }
    },
  )
  app.get(
    '/v1/drift/:metric/:report',
    { schema: { summary: 'A drift report', tags, params: reportParams, response: { 200: reportSchema, ...problems } } },
    async (request) => {
      metricNamed(definitions, request.params.metric)
      return read(request.params.metric, request.params.report)
    },
  )
}
