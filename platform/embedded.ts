/**
 * The embedded platform: every service in one process, no service outside it. Composition only: adapters are made here and
 * nowhere else, services get ports. Start order follows the way of an event; the end goes the other way round.
 *
 *   log ─ registry ─ topics ─ barriers ─ archive ─ speed (worker threads) ─ serve ─ jobs ─ HTTP ─ feed
 */
import type { Logger } from 'pino'
import { LIMITS } from '#core/limits.ts'
import { systemClock } from '#io/clock.ts'
import { type Config, logConfigOf } from '#io/config.ts'
import { createHttp, type HttpApp, listenOrExplain, type PartReadiness } from '#io/http.ts'
import { openEmbeddedJobs, openRedisJobs } from '#io/jobs.ts'
import { openLakeFolder } from '#io/lake-folder.ts'
import { openLog } from '#io/open-log.ts'
import type { EventLog, JobQueue, Lake, Registry } from '#io/ports.ts'
import { createRegistryClient } from '#io/registry.ts'
import { createTelemetry } from '#io/telemetry.ts'
import type { Definitions } from '#metrics/definition.ts'
import { batchRoutes } from '../batch/routes.ts'
import { startBatch } from '../batch/run.ts'
import { startArchive } from '../services/archive/run.ts'
import { verifyArchive } from '../services/archive/verify.ts'
import { type Barriers, createBarriers } from '../services/barriers/barriers.ts'
import { ingestRoutes } from '../services/ingest/routes.ts'
import { ensureTopics } from '../services/ingest/topics.ts'
import { startRegistry } from '../services/registry/start.ts'
import { serveRoutes } from '../services/serve/routes.ts'
import { startServe } from '../services/serve/start.ts'
import { startSpeed } from '../services/speed/start.ts'
import { makeDataDir, openDefinitions } from './runtime.ts'

/** A running platform. */
export interface Embedded {
  readonly url: string
  readonly registryUrl: string
  readonly log: EventLog
  readonly lake: Lake
  readonly registry: Registry
  readonly definitions: Definitions
  readonly barriers: Barriers
  readonly jobs: JobQueue
  /** True when every part is ready. */
  ready(): boolean
  close(): Promise<void>
}

/** Starts everything; resolves when the API answers. `readyz` tells when the parts have caught up. */
export async function startEmbedded(config: Config, logger: Logger): Promise<Embedded> {
  const closers: (() => Promise<void>)[] = []
  const closeAll = async (): Promise<void> => {
    for (const close of closers.splice(0).reverse())
      await close().catch((error: unknown) => logger.error({ err: error }, 'a part did not stop cleanly'))
  }
  try {
    return await compose(config, logger, closers, closeAll)
  } catch (error) {
    await closeAll()
    throw error
  }
}

async function compose(
  config: Config,
  logger: Logger,
  closers: (() => Promise<void>)[],
  closeAll: () => Promise<void>,
): Promise<Embedded> {
  const clock = systemClock
  const definitions = await openDefinitions(config.definitions)
  await makeDataDir(config.dataDir)
  const log = await openLog(logConfigOf(config), { clock, lock: true })
  closers.push(() => log.close())
  // The embedded PostgreSQL takes the longest to start, so it starts first and is awaited last.
  const opening =
    config.redisUrl === null
      ? openEmbeddedJobs({ directory: `${config.dataDir}/jobs`, clock })
      : openRedisJobs({ url: config.redisUrl, clock })
  opening.catch(() => {})
  const lake = await openLakeFolder(config.lake)

  let registryUrl = config.registryUrl
  if (registryUrl === null) {
    const own = await startRegistry({ log, clock, host: config.host, port: config.registryPort, logger })
    closers.push(() => own.close())
    registryUrl = own.url
  }
  const registry = createRegistryClient({ url: registryUrl, timeoutMs: 5_000 })
  await ensureTopics(log, definitions)
  const telemetry = createTelemetry()
  const barriers = await createBarriers({
    log,
    definitions,
    registry,
    clock,
    intervalMs: config.barrierIntervalMs,
    logger,
  })
  const archive = await startArchive({
    log,
    lake,
    registry,
    definitions,
    clock,
    logger,
    archiveIntervalMs: config.archiveIntervalMs,
  })
  closers.push(() => archive.close())
  const speed = startSpeed({
    log: logConfigOf(config),
    registryUrl,
    definitions,
    stateDirectory: `${config.dataDir}/speed`,
    flushMs: config.flushMs,
    workers: config.speedWorkers,
    share: config.share,
    clock,
    logger,
  })
  closers.push(() => speed.close())
  const serve = await startServe({ log, lake, definitions, clock, logger, telemetry })
  closers.push(() => serve.stop())
  const jobs = await opening
  closers.push(() => jobs.close())
  const batch = await startBatch({
    jobs,
    log,
    lake,
    registry,
    definitions,
    clock,
    logger,
    putBarrier: (stream) => barriers.put(stream, { demand: true }),
    verify: (stream, options) => verifyArchive(lake, stream, options),
    threads: config.batchThreads,
    memoryMb: config.batchMemoryMb,
    temporaryDirectory: `${config.dataDir}/spill`,
    nightly: config.nightly,
  })
  closers.push(() => batch.close())

  const parts = (): Record<string, PartReadiness> => {
    const failure = archive.failed()
    return {
      speed: speed.readiness(),
      serve: serve.readiness(),
      archive:
        failure === null
          ? { ready: true, reason: null }
          : { ready: false, reason: `${failure.code}: ${failure.message}` },
    }
  }
  const app: HttpApp = await createHttp({
    name: 'tidemark',
    version: '0.1.0',
    title: 'Tidemark',
    logger: false,
    bodyLimitBytes: 256 * 1024,
    ready: () => ({ parts: parts() }),
  })
  await app.register(ingestRoutes, {
    log,
    definitions,
    registry,
    barriers,
    clock,
    logger,
    bodyLimitBytes: LIMITS.ingestBodyBytes,
  })
  await app.register(batchRoutes, { jobs, lake, definitions, clock })
  await app.register(serveRoutes, { serve, lake, definitions, telemetry, clock })
  const url = await listenOrExplain(app, { host: config.host, port: config.port })
  closers.push(() => app.close())
  barriers.start()
  closers.push(() => barriers.stop())
  return {
    url,
    registryUrl,
    log,
    lake,
    registry,
    definitions,
    barriers,
    jobs,
    ready: () => Object.values(parts()).every((part) => part.ready),
    close: closeAll,
  }
}
