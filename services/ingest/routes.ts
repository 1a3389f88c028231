/**
 * HTTP ingest: validated, encoded, partitioned, and answered only after the log has the events (D2).
 *
 *   POST body ─▶ items ─▶ intake (encode, partition) ─▶ append, all partitions at once ─▶ 200 {accepted, rejected}
 *
 * Guarantees: accepted + rejected = received; what is accepted is on the log. An append that may or may not have happened is
 * answered 503: send again, the event ids make it harmless. Refuses, before the body is read, what would exceed the bytes
 * in flight (503 with Retry-After).
 */
import type { Logger } from 'pino'
import { Type } from 'typebox'
import { LIMITS } from '#core/limits.ts'
import { formatDuration } from '#core/time.ts'
import { OperatingError } from '#io/errors.ts'
import { failpoint } from '#io/failpoints.ts'
import { type HttpApp, problemResponse } from '#io/http.ts'
import type { Clock, EventLog, Registry } from '#io/ports.ts'
import type { Definitions } from '#metrics/definition.ts'
import { eventsTopic } from '#schemas/topics.ts'
import type { Intake, Taken } from './intake.ts'
import { type Items, jsonItems, NDJSON, ndjsonItems } from './items.ts'
import { openIntakes } from './start.ts'

/** What the routes need. */
export interface IngestDeps {
  readonly log: EventLog
  readonly definitions: Definitions
  readonly registry: Registry
  readonly barriers: { put(stream: string, options: { demand: boolean }): Promise<{ id: number; offsets: number[] }> }
  readonly clock: Clock
  readonly logger: Pick<Logger, 'warn'>
  readonly telemetry?: {
    add(name: 'tidemark_ingested_events_total', labels: { stream: string; outcome: string }, value: number): void
  }
  /** Bytes of one body; default `LIMITS.ingestBodyBytes`. */
  readonly bodyLimitBytes?: number
  /** Bytes of bodies held at a time; default `LIMITS.ingestBytesInFlight`. */
  readonly bytesInFlightMax?: number
}

const params = Type.Object({ stream: Type.String() })
const rejection = Type.Object({
  index: Type.Integer({ description: 'Place in the array; for NDJSON the line, from 0.' }),
  code: Type.String(),
  reason: Type.String(),
  field: Type.Optional(Type.String()),
})
const outcome = Type.Object({ accepted: Type.Integer(), rejected: Type.Array(rejection) })
const cut = Type.Object({ id: Type.Integer(), offsets: Type.Array(Type.Integer()) })
const nullable = <T extends Type.TSchema>(type: T) => Type.Union([type, Type.Null()])
const streamView = Type.Object({
  stream: Type.String(),
  doc: Type.String(),
  topic: Type.String(),
  schema_id: Type.Integer(),
  partitions: Type.Integer(),
  key: nullable(Type.String()),
  id: nullable(Type.String()),
  event_time: Type.Object({ field: Type.String(), unit: Type.String() }),
  disorder: Type.String(),
  future_tolerance: nullable(Type.String()),
  dedup_horizon_epochs: nullable(Type.Integer()),
  retention: nullable(Type.String()),
  end_offsets: Type.Array(Type.Integer(), { description: 'Next offset per partition, barriers included.' }),
})
const problems = { '4xx': problemResponse, '5xx': problemResponse }

/** Adds the routes. Creates missing topics and registers the streams' schemas first; see {@link openIntakes} for what that throws. */
export async function ingestRoutes(app: HttpApp, deps: IngestDeps): Promise<void> {
  const intakes = await openIntakes(deps)
  const intakeOf = (stream: string): Intake => {
    const intake = intakes.get(stream)
    if (intake === undefined) throw new OperatingError('STREAM_UNKNOWN', `There is no stream ${stream.slice(0, 100)}.`)
    return intake
  }
  await app.register(async (scope) => eventRoute(scope as HttpApp, deps, intakeOf))

  app.post(
    '/v1/streams/:stream/barriers',
    {
      schema: {
        summary: 'Put a barrier into every partition',
        tags: ['streams'],
        params,
        response: { 200: cut, ...problems },
      },
    },
    async (request) => {
      const { stream } = intakeOf(request.params.stream)
      return deps.barriers.put(stream.name, { demand: true })
    },
  )
  const viewOf = async ({ stream, schemaId, partitions }: Intake) => ({
    stream: stream.name,
    doc: stream.doc,
    topic: eventsTopic(stream.name),
    schema_id: schemaId,
    partitions,
    key: stream.key,
    id: stream.id,
    event_time: { field: stream.eventTime.field, unit: stream.eventTime.unit },
    disorder: formatDuration(stream.disorderMs),
    future_tolerance: stream.futureToleranceMs === null ? null : formatDuration(stream.futureToleranceMs),
    dedup_horizon_epochs: stream.dedupHorizonEpochs,
    retention: stream.retentionMs === null ? null : formatDuration(stream.retentionMs),
    end_offsets: await deps.log.endOffsets(eventsTopic(stream.name)),
  })
  app.get(
    '/v1/streams',
    {
      schema: {
        summary: 'Streams',
        tags: ['streams'],
        response: { 200: Type.Object({ streams: Type.Array(streamView) }), ...problems },
      },
    },
    async (_request, reply) => {
      void reply.header('cache-control', 'no-store')
      return { streams: await Promise.all([...intakes.values()].map(viewOf)) }
    },
  )
  app.get(
    '/v1/streams/:stream',
    { schema: { summary: 'One stream', tags: ['streams'], params, response: { 200: streamView, ...problems } } },
    async (request, reply) => {
      void reply.header('cache-control', 'no-store')
      return viewOf(intakeOf(request.params.stream))
    },
  )
}

/** The one route with bodies of its own kind, so that no other route takes them. */
function eventRoute(app: HttpApp, deps: IngestDeps, intakeOf: (stream: string) => Intake): void {
  const bodyLimit = deps.bodyLimitBytes ?? LIMITS.ingestBodyBytes
  const inFlightMax = deps.bytesInFlightMax ?? LIMITS.ingestBytesInFlight
  let inFlight = 0

  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  app.addContentTypeParser([...NDJSON], { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  app.addHook('onRequest', (request, reply, done) => {
    const stated = Number(request.headers['content-length'])
    // Without a length the body may be as big as is allowed; one that is bigger is refused while it is read.
    const bytes = Number.isSafeInteger(stated) ? Math.min(stated, bodyLimit) : bodyLimit
    if (inFlight + bytes > inFlightMax) {
      done(
        new OperatingError(
          'OVERLOADED',
          `Bodies of ${inFlight} bytes are being taken in; the limit is ${inFlightMax}.`,
        ),
      )
      return
    }
    inFlight += bytes
    // Fires once, however the exchange ends: answered, refused or torn down.
    reply.raw.once('close', () => {
      inFlight -= bytes
    })
    done()
  })
  app.post(
    '/v1/streams/:stream/events',
    {
      bodyLimit,
      schema: {
        summary: 'Send events',
        description: `Up to ${LIMITS.ingestEvents} events: a JSON array, one JSON object, or NDJSON. Answered after the log has the good ones.`,
        tags: ['streams'],
        params,
        // Described, not validated: the encoder judges each item on its own.
        body: {
          content: {
            'application/json': { schema: Type.Unknown({ description: 'Array of events, or one event.' }) },
            [NDJSON[0]]: { schema: Type.Unknown({ description: 'One event per line.' }) },
          },
        },
        response: { 200: outcome, ...problems },
      },
    },
    async (request) => {
      const intake = intakeOf(request.params.stream)
      if (!Buffer.isBuffer(request.body)) {
        throw new OperatingError(
          'REQUEST_INVALID',
          'The request has no body.',
          {},
          { hint: 'Send a JSON array of events.' },
        )
      }
      const mediaType = request.headers['content-type']!.split(';', 1)[0]!.trim().toLowerCase()
      const items: Items = mediaType === 'application/json' ? jsonItems(request.body) : ndjsonItems(request.body)
      const taken = intake.take(items, deps.clock.now())
      failpoint('ingest.before-append')
      await append(deps.log, intake, taken)
      failpoint('ingest.after-append')
      const stream = intake.stream.name
      deps.telemetry?.add('tidemark_ingested_events_total', { stream, outcome: 'accepted' }, taken.accepted)
      deps.telemetry?.add('tidemark_ingested_events_total', { stream, outcome: 'rejected' }, taken.rejected.length)
      return { accepted: taken.accepted, rejected: [...taken.rejected] }
    },
  )
}

/** Appends all partitions at once, a partition's batches one after another; the first failure is told when all have come to an end. */
async function append(log: EventLog, intake: Intake, taken: Taken): Promise<void> {
  const topic = eventsTopic(intake.stream.name)
  const settled = await Promise.allSettled(
    [...taken.batches].map(async ([partition, batches]) => {
      for (const batch of batches) await log.append(topic, partition, batch)
    }),
  )
  for (const each of settled) if (each.status === 'rejected') throw each.reason
}
