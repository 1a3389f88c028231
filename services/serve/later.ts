/** Paths of the contract that this version does not have yet: refused by name, so that nobody takes them for mistyped ones. */
import { OperatingError } from '#io/errors.ts'
import type { HttpApp } from '#io/http.ts'

const LATER: readonly (readonly [path: string, what: string, hint?: string])[] = [
  ['/v1/streams/:stream/late', 'The ledger of late events', 'tidemark_late_events_total in /metrics counts them.'],
  ['/v1/explain/window', 'Explaining a window'],
  ['/v1/explain/value', 'Explaining a value'],
  [
    '/v1/metrics/:metric/live/ws',
    'Live push by WebSocket',
    'GET /v1/metrics/{metric}/live pushes the same as server-sent events.',
  ],
  ['/prometheus/*', 'The Prometheus API over KPIs', 'GET /v1/metrics/{metric}/query answers the same numbers.'],
]

/** Adds them. */
export function laterRoutes(app: HttpApp): void {
  for (const [url, what, hint] of LATER) {
    const refuse = (): never => {
      const options = hint === undefined ? {} : { hint }
      throw new OperatingError('NOT_IMPLEMENTED', `${what} is not in this version yet.`, {}, options)
    }
    app.route({ method: ['GET', 'POST'], url, schema: { hide: true }, onRequest: refuse, handler: refuse })
  }
}
