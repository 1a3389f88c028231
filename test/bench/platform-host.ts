/**
 * The embedded platform as the child of a bench, like `npm start` without the demo feed; what the bench asks for by message is
 * fed inside this process, since only it may open the embedded log.
 *
 *   bench ──▶ {feed} a worker thread appends record batches, at a rate or as fast as they are taken
 *         ──▶ {flights} feedFlights, as the demo does       ──▶ {close}
 *   host  ──▶ {ready} · {slab: due, total} when a slab was due · {fed}
 */
import { Worker } from 'node:worker_threads'
import { systemClock } from '#io/clock.ts'
import { loadConfig, logConfigOf } from '#io/config.ts'
import { type Embedded, startEmbedded } from '../../platform/embedded.ts'
import { createLogger } from '../../platform/runtime.ts'
import { feedFlights } from '../../services/feed/flights.ts'
import type { FeederData } from './feeder.ts'

/** What a bench asks of the host. */
export type HostRequest =
  | { readonly feed: Omit<FeederData, 'log' | 'registryUrl' | 'definitions'> }
  | { readonly flights: number }
  | { readonly close: true }

/** What the host tells; `dueMs` is wall time with fractions. */
export type HostMessage =
  | { readonly ready: string }
  | { readonly slab: { readonly dueMs: number; readonly total: number } }
  | { readonly fed: { readonly records: number; readonly amount: number; readonly seconds: number } }

const config = loadConfig(process.env)
const platform: Embedded = await startEmbedded(config, createLogger('bench', 'error'))
const tell = (message: HostMessage): void => void process.send!(message)

async function serve(request: HostRequest): Promise<void> {
  if ('feed' in request) {
    const workerData: FeederData = {
      ...request.feed,
      log: logConfigOf(config),
      registryUrl: platform.registryUrl,
      definitions: config.definitions,
    }
    const worker = new Worker(new URL('./feeder.ts', import.meta.url), { workerData })
    worker.on('message', tell)
    worker.on('error', fail)
  } else if ('flights' in request) {
    const before = performance.now()
    const stream = platform.definitions.streams.find(({ name }) => name === 'flights')!
    const { sent } = await feedFlights(
      { log: platform.log, registry: platform.registry, clock: systemClock, stream },
      { order: 'departure', pace: 'fast', limit: request.flights },
    )
    tell({ fed: { records: sent, amount: 0, seconds: (performance.now() - before) / 1_000 } })
  } else {
    await platform.close()
    process.exit(0)
  }
}

function fail(error: unknown): never {
  process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`)
  process.exit(1)
}

process.on('message', (request: HostRequest) => void serve(request).catch(fail))
process.on('disconnect', () => process.exit(1))
tell({ ready: platform.url })
