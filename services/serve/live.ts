/**
 * Live push: per (metric, query) one hub that works out the rows every 250 ms when the state has changed and gives each
 * changed row a revision. A client is only a revision up to which it has been sent; so a snapshot (0), a resumption (from
 * Last-Event-ID) and a slow client (skipped while its socket is full, then sent the latest values) are the same thing, and
 * nothing is queued per client beyond one message.
 *
 *   event: snapshot   data: {rows, envelope}           first message, or after a resumption that is not possible
 *   event: upsert     data: {from, until, group, values, finality, revision}
 *   event: envelope   data: envelope                   closes each batch and carries the id to resume from
 *   event: refusal    data: {code, reason}             while no answer can be given
 */
import type { ServerResponse } from 'node:http'
import { LIMITS } from '#core/limits.ts'
import { bucketOf } from '#core/rollup.ts'
import { OperatingError } from '#io/errors.ts'
import type { Clock } from '#io/ports.ts'
import { type AnswerRow, computeAnswer, type Envelope } from './answer.ts'
import type { MetricQuery } from './request.ts'
import type { ServedMetric } from './served-metric.ts'
import type { Serve } from './start.ts'

/** Time over which changes are conflated, ms. */
const CONFLATE_MS = 250
/** Comment lines that keep idle connections open, ms. */
const HEARTBEAT_MS = 10_000
/** Buckets shown when no `from` is given. */
const RECENT_BUCKETS = 120
/** A hub without clients is kept this long, so that a reconnecting client can resume, ms. */
const LINGER_MS = 60_000

interface Client {
  readonly response: ServerResponse
  /** Everything up to this revision has been sent. */
  revision: number
  /** The refusal it was told last; null when it was told none since the last rows. */
  refusal: string | null
  blocked: boolean
}

interface Row {
  readonly json: string
  readonly revision: number
}

interface Hub {
  readonly id: string
  readonly served: ServedMetric
  readonly query: MetricQuery
  readonly clients: Set<Client>
  rows: Map<string, Row>
  envelope: Envelope | null
  refusal: string | null
  revision: number
  stamp: string
  emptySince: number
}

/** The live pushes of a process. */
export interface Live {
  /** Takes over the response and pushes until the client goes. @throws OperatingError OVERLOADED */
  join(
    served: ServedMetric,
    query: MetricQuery,
    client: { response: ServerResponse; lastEventId: string | undefined },
  ): void
  clients(metric: string): number
  stop(): Promise<void>
}

/** Starts the loop of the live pushes. */
export function startLive(deps: { readonly serve: Pick<Serve, 'refusalOf'>; readonly clock: Clock }): Live {
  const { serve, clock } = deps
  const hubs = new Map<string, Hub>()
  const stopping = new AbortController()
  let created = 0
  let heartbeatAt = clock.monotonic()

  function update(hub: Hub): void {
    const refused = serve.refusalOf(hub.served)
    hub.refusal = refused === null ? null : JSON.stringify({ code: refused.code, reason: refused.reason })
    if (refused !== null || hub.stamp === hub.served.stamp) return
    hub.stamp = hub.served.stamp
    try {
      const { rows, envelope } = computeAnswer(hub.served, recent(hub.served, hub.query), null)
      hub.envelope = envelope
      hub.revision++
      hub.rows = changedRows(hub, rows)
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error
      hub.refusal = JSON.stringify({ code: error.code, reason: error.message })
    }
  }

  const loop = (async () => {
    while (!stopping.signal.aborted) {
      await clock.sleep(CONFLATE_MS, stopping.signal)
      const now = clock.monotonic()
      const beat = now - heartbeatAt >= HEARTBEAT_MS
      if (beat) heartbeatAt = now
      for (const [key, hub] of hubs) {
        if (hub.clients.size === 0) {
          if (now - hub.emptySince > LINGER_MS) hubs.delete(key)
          continue
        }
        update(hub)
        for (const client of hub.clients) {
          if (beat && !client.blocked) client.response.write(': alive\n\n')
          send(hub, client)
        }
      }
    }
  })()

  return {
    join(served, query, { response, lastEventId }) {
      let total = 0
      for (const { clients } of hubs.values()) total += clients.size
      if (total >= LIMITS.liveClients)
        throw new OperatingError('OVERLOADED', `There are ${total} live connections already.`)
      const key = `${served.definition.name}|${query.key}`
      let hub = hubs.get(key)
      if (hub === undefined) {
        const id = `${clock.now().toString(36)}${(created++).toString(36)}`
        hub = {
          id,
          served,
          query,
          clients: new Set(),
          rows: new Map(),
          envelope: null,
          refusal: null,
          revision: 0,
          stamp: '',
          emptySince: 0,
        }
        hubs.set(key, hub)
      }
      const known = /^(\w+)-(\d{1,15})$/.exec(lastEventId ?? '')
      const resumes = known !== null && known[1] === hub.id
      const client: Client = { response, revision: resumes ? Number(known[2]) : 0, refusal: null, blocked: false }
      response.writeHead(200, {
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-store',
        'x-accel-buffering': 'no',
      })
      response.write('retry: 2000\n\n')
      response.on('drain', () => {
        client.blocked = false
      })
      const joined = hub
      response.on('close', () => {
        joined.clients.delete(client)
        joined.emptySince = clock.monotonic()
      })
      hub.clients.add(client)
      update(hub)
      send(hub, client)
    },
    clients(metric) {
      let total = 0
      for (const { served, clients } of hubs.values()) if (served.definition.name === metric) total += clients.size
      return total
    },
    async stop() {
      stopping.abort()
      await loop
      for (const { clients } of hubs.values()) for (const { response } of clients) response.end()
    },
  }
}

/** The query with its moving range: without `from`, the last buckets that hold anything. */
function recent(served: ServedMetric, query: MetricQuery): MetricQuery {
  if (query.from !== Number.NEGATIVE_INFINITY) return query
  const { base, speed } = served.store.sources()
  let last = Number.NEGATIVE_INFINITY
  for (const cells of [base, ...speed]) last = Math.max(last, cells.windows().at(-1) ?? Number.NEGATIVE_INFINITY)
  if (last === Number.NEGATIVE_INFINITY) return query
  return { ...query, from: bucketOf(Math.min(last, query.until), query) - (RECENT_BUCKETS - 1) * query.grainMs }
}

/** Rows by identity; one that did not change keeps its revision, a changed one gets the hub's. */
function changedRows(hub: Hub, rows: readonly AnswerRow[]): Map<string, Row> {
  const next = new Map<string, Row>()
  for (const row of rows) {
    const key = JSON.stringify([row.from, row.group])
    const json = JSON.stringify(row)
    const before = hub.rows.get(key)
    next.set(key, before?.json === json ? before : { json, revision: hub.revision })
  }
  return next
}

/** Sends what the client does not have; nothing while its socket is full. */
function send(hub: Hub, client: Client): void {
  if (client.blocked) return
  const out: string[] = []
  if (hub.refusal !== null) {
    if (client.refusal !== hub.refusal) out.push(`event: refusal\ndata: ${hub.refusal}\n\n`)
  } else if (hub.envelope !== null && (client.revision < hub.revision || client.refusal !== null)) {
    const changed = [...hub.rows.values()].filter(({ revision }) => revision > client.revision).map(withRevision)
    const envelope = JSON.stringify(hub.envelope)
    if (client.revision === 0)
      out.push(`event: snapshot\ndata: {"rows":[${changed.join(',')}],"envelope":${envelope}}\n\n`)
    else for (const row of changed) out.push(`event: upsert\ndata: ${row}\n\n`)
    out.push(`id: ${hub.id}-${hub.revision}\nevent: envelope\ndata: ${envelope}\n\n`)
    client.revision = hub.revision
  }
  client.refusal = hub.refusal
  if (out.length > 0) client.blocked = !client.response.write(out.join(''))
}

const withRevision = ({ json, revision }: Row): string => `${json.slice(0, -1)},"revision":${revision}}`
