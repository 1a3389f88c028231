/**
 * The embedded platform: every part in one process, no service outside it.
 *
 *   log ─ registry ─ barriers ─ archive ─ speed (worker threads) ─ serve ─ jobs ─ HTTP
 */
import type { Logger } from 'pino'
import { systemClock } from '#io/clock.ts'
import type { Config } from '#io/config.ts'
import type { EventLog, JobQueue, Lake, Registry } from '#io/ports.ts'
import type { Definitions } from '#metrics/definition.ts'
import type { Barriers } from '../services/barriers/barriers.ts'
import { collectStart } from './memory.ts'
import {
  archiveReadiness,
  archiveSeries,
  type Base,
  listen,
  openArchive,
  openBarriers,
  openBase,
  openBatch,
  openHttp,
  openJobs,
  openLake,
  openRegistry,
  openServe,
  openSpeed,
  readRoutes,
  registryAt,
  speedSeries,
  writeRoutes,
} from './parts.ts'

/** A running platform. */
export interface Embedded {
  readonly url: string
  /** Without credentials. */
  readonly registryUrl: string
  /** True when the registry is another one by configuration: ours does not run. */
  readonly registryExternal: boolean
  readonly log: EventLog
  readonly lake: Lake
  readonly registry: Registry
  readonly definitions: Definitions
  readonly barriers: Barriers
  readonly jobs: JobQueue
  /** True when every part is ready. */
  ready(): boolean
  /** Runs `close` before the parts close. */
  onClose(close: () => Promise<void>): void
  close(): Promise<void>
}

/**
 * Starts everything; resolves when the API answers. `readyz` tells when the parts have caught up.
 * `accept` may refuse the definitions by throwing, before anything is opened.
 */
export async function startEmbedded(
  config: Config,
  logger: Logger,
  accept?: (definitions: Definitions) => void,
): Promise<Embedded> {
  const base = await openBase(config, logger, accept)
  try {
    return await compose(base)
  } catch (error) {
    await base.close()
    throw error
  }
}

async function compose(base: Base): Promise<Embedded> {
  // The embedded PostgreSQL takes the longest to start, so it starts first and is awaited last.
  const openingJobs = openJobs(base)
  openingJobs.catch(() => undefined)
  const lake = await openLake(base.config)
  const place = await openRegistry(base)
  const registry = registryAt(place)
  const barriers = await openBarriers(base, registry)
  const archive = await openArchive(base, { registry, lake })
  archiveSeries(base, archive)
  const speed = openSpeed(base, place)
  speedSeries(base, speed)
  const serve = await openServe(base, lake)
  const jobs = await openingJobs
  await openBatch(base, { jobs, lake, registry, barriers })
  const parts = () => ({ speed: speed.readiness(), serve: serve.readiness(), archive: archiveReadiness(archive) })
  const app = await openHttp('tidemark', parts, place)
  await writeRoutes(app, base, { registry, barriers })
  await readRoutes(app, base, { serve, jobs, lake })
  const url = await listen(base, app, base.config.port)
  barriers.start()
  sweepLog(base)
  collectStart()
  base.onClose(() => barriers.stop())
  return {
    url,
    registryUrl: place.url,
    registryExternal: place.external === true,
    lake,
    registry,
    barriers,
    jobs,
    log: base.log,
    definitions: base.definitions,
    ready: () => Object.values(parts()).every((part) => part.ready),
    onClose: base.onClose,
    close: () => base.close(),
  }
}

const SWEEP_MS = 60_000

/** Applies the embedded log's retention once a minute; Kafka does so by itself. */
function sweepLog({ log, logger, onClose }: Base): void {
  const { sweep } = log
  if (sweep === undefined) return
  const stop = new AbortController()
  const sweeping = (async () => {
    while (!stop.signal.aborted) {
      await systemClock.sleep(SWEEP_MS, stop.signal)
      if (!stop.signal.aborted)
        await sweep().catch((error: unknown) => logger.warn({ err: error }, 'retention was not applied'))
    }
  })()
  onClose(() => {
    stop.abort()
    return sweeping
  })
}
