/**
 * The parts of the platform, each composed from settings: the only place where adapters are made. The embedded platform takes
 * all parts in one process, a distributed one takes one per process; both run the same code.
 */
import type { Logger } from 'pino'
import { LIMITS } from '#core/limits.ts'
import { systemClock } from '#io/clock.ts'
import { type Config, logConfigOf } from '#io/config.ts'
import { OperatingError } from '#io/errors.ts'
import { createHttp, type HttpApp, listenOrExplain, type PartReadiness, type RegistryInUse } from '#io/http.ts'
import { openEmbeddedJobs, openRedisJobs } from '#io/jobs.ts'
import { openLakeFolder } from '#io/lake-folder.ts'
import { joinKafkaLeadership } from '#io/leadership-kafka.ts'
import { type OpenLog, openLog } from '#io/open-log.ts'
import type { JobQueue, Lake, Registry } from '#io/ports.ts'
import { createRegistryClient } from '#io/registry.ts'
import { shownAddresses, withAuth } from '#io/registry-http.ts'
import { createTelemetry, type Telemetry } from '#io/telemetry.ts'
import type { Definitions } from '#metrics/definition.ts'
import { batchRoutes } from '../batch/routes.ts'
import { startBatch } from '../batch/run.ts'
import manifest from '../package.json' with { type: 'json' }
import { type Archive, startArchive } from '../services/archive/run.ts'
import { verifyArchive } from '../services/archive/verify.ts'
import { type Barriers, createBarriers } from '../services/barriers/barriers.ts'
import { ingestRoutes } from '../services/ingest/routes.ts'
import { ensureTopics } from '../services/ingest/topics.ts'
import { startRegistry } from '../services/registry/start.ts'
import { serveRoutes } from '../services/serve/routes.ts'
import { type Serve, startServe } from '../services/serve/start.ts'
import { type Speed, startSpeed } from '../services/speed/start.ts'
import { makeDataDir, openDefinitions } from './runtime.ts'

/** Body of requests that are no events. */
const REQUEST_BYTES = 256 * 1024
/** A registry whose election takes longer serves reads meanwhile. */
const ELECTION_MS = 15_000

/** What every part stands on. Parts push how they are closed; the last one opened is closed first. */
export interface Base {
  readonly config: Config
  readonly logger: Logger
  readonly definitions: Definitions
  readonly log: OpenLog
  readonly telemetry: Telemetry
  readonly onClose: (close: () => Promise<void>) => void
  close(): Promise<void>
}

/** Opens settings, definitions and log. `lock`: this process owns the embedded log. */
export async function openBase(
  config: Config,
  logger: Logger,
  accept?: (definitions: Definitions) => void,
): Promise<Base> {
  const closers: (() => Promise<void>)[] = []
  const definitions = await openDefinitions(config.definitions)
  accept?.(definitions)
  await makeDataDir(config.dataDir)
  const log = await openLog(logConfigOf(config), { clock: systemClock, lock: true })
  closers.push(() => log.close())
  const telemetry = createTelemetry({
    process: true,
    onError: (error) => logger.warn({ err: error }, 'a series could not be worked out'),
  })
  return {
    config,
    logger,
    definitions,
    log,
    telemetry,
    onClose: (close) => closers.push(close),
    async close() {
      for (const close of closers.splice(0).reverse()) {
        await close().catch((error: unknown) => logger.error({ err: error }, 'a part did not stop cleanly'))
      }
    },
  }
}

/** The registry in use: where it is for people, and for clients, who send their key with it. */
export interface RegistryPlace extends RegistryInUse {
  /** May hold a password. */
  readonly clientUrl: string
}

/** A registry's place by its URL. */
export const registryPlace = (config: Config, url: string): RegistryPlace => ({
  url: shownAddresses(url),
  clientUrl: withAuth(url, config.registryAuth),
})

/**
 * Starts our own registry; its URL. On Kafka it is one of those that choose who writes. `alone`: nothing else is in this process. Only
 * then it serves the series, which it gives to who has no key: those of other parts name streams.
 */
export async function openOwnRegistry(base: Base, { alone }: { readonly alone: boolean }): Promise<string> {
  const { config, log, logger, telemetry, onClose } = base
  const { host, registryPort: port, registryKeys: keys, registryAdvertisedUrl: advertisedUrl, kafkaBrokers } = config
  const elect = (brokers: readonly string[]) => (url: string) =>
    joinKafkaLeadership({
      brokers,
      clientId: 'tidemark-registry',
      clock: systemClock,
      group: config.registryGroup,
      url,
      onTrouble: (error) => logger.warn({ err: error }, 'the registries cannot agree on who writes'),
    })
  const election = kafkaBrokers === null ? {} : { elect: elect(kafkaBrokers), advertisedUrl }
  const series = alone ? telemetry : null
  const own = await startRegistry({ log, clock: systemClock, host, port, logger, keys, series, ...election })
  onClose(() => own.close())
  // Who comes next registers schemas at once, and would wait for less long than a first election takes.
  await own.elected(ELECTION_MS)
  telemetry.onScrape(() => {
    telemetry.set('tidemark_registry_passed_over_records', { reason: 'malformed' }, own.passedOver.malformed)
    telemetry.set('tidemark_registry_passed_over_records', { reason: 'conflicting' }, own.passedOver.conflicting)
    telemetry.set('tidemark_registry_writer', {}, own.leader()?.self === true ? 1 : 0)
  })
  return own.url
}

/**
 * The registry by configuration, of which nothing is started here, else our own.
 * @throws OperatingError CONFIG_INVALID when our own knows keys and the platform's services have none
 */
export async function openRegistry(base: Base): Promise<RegistryPlace> {
  const { config } = base
  if (config.registryUrl !== null) return { ...registryPlace(config, config.registryUrl), external: true }
  requireOwnKey(config)
  return { ...registryPlace(config, await openOwnRegistry(base, { alone: false })), external: false }
}

/** @throws OperatingError CONFIG_INVALID when our own registry knows keys and the platform's services have none */
export function requireOwnKey({ registryUrl, registryKeys, registryAuth }: Config): void {
  if (registryUrl !== null || registryKeys === null || registryAuth !== null) return
  const message =
    'TIDEMARK_REGISTRY_KEYS is set, but TIDEMARK_REGISTRY_AUTH, the key of the platform’s services, is not.'
  const hint = 'Set it to name:secret of a key that may write every subject of the definitions.'
  throw new OperatingError('CONFIG_INVALID', message, {}, { hint })
}

/** Without its schemas no process starts, and on a slow machine the registry is busy with starting, too. */
const REGISTER_MS = 30_000

/** A client of the registry. */
export const registryAt = ({ clientUrl }: RegistryPlace): Registry =>
  createRegistryClient({ url: clientUrl, timeoutMs: 5_000, registerMs: REGISTER_MS })

/** Opens the lake folder. */
export const openLake = (config: Config): Promise<Lake> => openLakeFolder(config.lake)

/** Opens the job queue: on Redis when it is configured, else on embedded PostgreSQL in the data directory. */
export function openJobs({ config, logger }: Base): Promise<JobQueue> {
  const onError = (error: Error): void => logger.warn({ err: error }, 'the job queue reports trouble')
  return config.redisUrl === null
    ? openEmbeddedJobs({ directory: `${config.dataDir}/jobs`, clock: systemClock, onError })
    : openRedisJobs({ url: config.redisUrl, clock: systemClock, onError })
}

/** Creates the topics that are missing; every process that needs them does it first. */
export const openTopics = ({ log, definitions }: Base): Promise<void> => ensureTopics(log, definitions)

/** Topics and the putter of barriers; its ticker is not started. */
export async function openBarriers(base: Base, registry: Registry): Promise<Barriers> {
  const { log, definitions, config, logger } = base
  await openTopics(base)
  return createBarriers({
    log,
    definitions,
    registry,
    clock: systemClock,
    intervalMs: config.barrierIntervalMs,
    logger,
  })
}

/** Starts the archive. */
export async function openArchive(
  { log, definitions, config, logger, onClose }: Base,
  deps: { registry: Registry; lake: Lake },
): Promise<Archive> {
  const archive = await startArchive({
    log,
    definitions,
    logger,
    clock: systemClock,
    archiveIntervalMs: config.archiveIntervalMs,
    ...deps,
  })
  onClose(() => archive.close())
  return archive
}

/** Starts the speed workers. */
export function openSpeed({ config, definitions, logger, onClose }: Base, { clientUrl }: RegistryPlace): Speed {
  const speed = startSpeed({
    log: logConfigOf(config),
    registryUrl: clientUrl,
    definitions,
    stateDirectory: `${config.dataDir}/speed`,
    flushMs: config.flushMs,
    workers: config.speedWorkers,
    share: config.share,
    clock: systemClock,
    logger,
  })
  onClose(() => speed.close())
  return speed
}

/** Starts the merge stores. */
export async function openServe({ log, definitions, logger, telemetry, onClose }: Base, lake: Lake): Promise<Serve> {
  const serve = await startServe({ log, lake, definitions, logger, telemetry, clock: systemClock })
  onClose(() => serve.stop())
  return serve
}

/** Starts a batch worker with the nightly schedule. It closes the queue when it ends. */
export async function openBatch(
  { log, definitions, config, logger, onClose }: Base,
  deps: { jobs: JobQueue; lake: Lake; registry: Registry; barriers: Barriers },
): Promise<void> {
  const { jobs, lake, registry, barriers } = deps
  const batch = await startBatch({
    jobs,
    log,
    lake,
    registry,
    definitions,
    logger,
    clock: systemClock,
    putBarrier: (stream) => barriers.put(stream, { demand: true }),
    verify: (stream, options) => verifyArchive(lake, stream, options),
    threads: config.batchThreads,
    memoryMb: config.batchMemoryMb,
    temporaryDirectory: `${config.dataDir}/spill`,
    nightly: config.nightly,
  })
  onClose(() => batch.close())
}

/** The routes that write: events and barriers. */
export const writeRoutes = (
  app: HttpApp,
  { log, definitions, logger, telemetry }: Base,
  deps: { registry: Registry; barriers: Barriers },
) => app.register(ingestRoutes, { log, definitions, logger, telemetry, clock: systemClock, ...deps })

/** The routes that read and steer: queries, pages, jobs, views, drift. */
export async function readRoutes(
  app: HttpApp,
  { definitions, telemetry, log }: Base,
  deps: { serve: Serve; jobs: JobQueue; lake: Lake },
): Promise<void> {
  await app.register(batchRoutes, { jobs: deps.jobs, lake: deps.lake, definitions, clock: systemClock })
  await app.register(serveRoutes, { serve: deps.serve, telemetry, clock: systemClock, log, definitions })
}

/** An HTTP surface with health; register routes, then `listen`. */
export async function openHttp(
  name: string,
  parts: () => Readonly<Record<string, PartReadiness>>,
  { clientUrl: _, ...registry }: RegistryPlace,
): Promise<HttpApp> {
  return createHttp({
    registry,
    name,
    version: manifest.version,
    title: 'Tidemark',
    logger: false,
    bodyLimitBytes: Math.max(REQUEST_BYTES, LIMITS.ingestBodyBytes),
    ready: () => ({ parts: parts() }),
  })
}

/** Listens; the URL with the real port. */
export async function listen({ config, onClose }: Base, app: HttpApp, port: number): Promise<string> {
  onClose(() => app.close())
  return listenOrExplain(app, { host: config.host, port })
}

/** Readiness of the archive. */
export function archiveReadiness(archive: Archive): PartReadiness {
  const failure = archive.failed()
  return failure === null
    ? { ready: true, reason: null }
    : { ready: false, reason: `${failure.code}: ${failure.message}` }
}

/** Series of the speed layer, brought up to date at every scrape. */
export function speedSeries({ telemetry }: Base, speed: Speed): void {
  telemetry.onScrape(() => {
    const bytes = new Map<string, number>()
    for (const status of speed.status()) bytes.set(status.stream, (bytes.get(status.stream) ?? 0) + status.bytes)
    for (const [stream, total] of bytes)
      telemetry.set('tidemark_state_bytes', { service: 'speed', metric: stream }, total)
  })
}

/** Series of the archive, brought up to date at every scrape. */
export function archiveSeries({ telemetry }: Base, archive: Archive): void {
  telemetry.onScrape(() => {
    const records = new Map<string, number>()
    for (const { stream, archived, end } of archive.lag())
      records.set(stream, (records.get(stream) ?? 0) + end - archived)
    for (const [stream, total] of records) telemetry.set('tidemark_archive_lag_records', { stream }, total)
  })
}
