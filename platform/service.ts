/**
 * One service as a process of its own: `node platform/service.ts <registry|ingest|speed|archive|batch|serve|feed>`. All of them meet
 * at Apache Kafka, Redis and a shared lake folder; none talks to another, but for the registry's HTTP. A service that was
 * started with a channel to its parent stops in order when the parent is gone.
 */
import type { Logger } from 'pino'
import type { Config } from '#io/config.ts'
import { OperatingError } from '#io/errors.ts'
import type { HttpApp, PartReadiness } from '#io/http.ts'
import { demoStream, startLapse } from './lapse.ts'
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
  openOwnRegistry,
  openServe,
  openSpeed,
  openTopics,
  type RegistryPlace,
  readRoutes,
  registryAt,
  registryPlace,
  speedSeries,
  writeRoutes,
} from './parts.ts'
import { runProcess } from './runtime.ts'

const NEED_REDIS: ReadonlySet<string> = new Set(['batch', 'serve', 'feed'])
const READY: PartReadiness = { ready: true, reason: null }
type Parts = () => Readonly<Record<string, PartReadiness>>

/** The machine series, for processes that do not serve metrics. */
function seriesRoute(app: HttpApp, { telemetry }: Base): void {
  app.get('/metrics', { schema: { hide: true } }, async (_, reply) =>
    reply.type(telemetry.contentType).send(await telemetry.text()),
  )
}

/** Health and series of a process without an API. */
async function health(base: Base, name: string, parts: Parts): Promise<string> {
  const app = await openHttp(name, parts, needRegistry(base))
  seriesRoute(app, base)
  return listen(base, app, base.config.healthPort)
}

const needRegistry = ({ config }: Base): RegistryPlace => {
  if (config.registryUrl !== null) return registryPlace(config, config.registryUrl)
  throw new OperatingError(
    'CONFIG_INVALID',
    'TIDEMARK_REGISTRY_URL is not set; a service of its own needs the registry’s address',
  )
}

const SERVICES: Record<string, (base: Base) => Promise<string>> = {
  registry: (base) => openOwnRegistry(base, { alone: true }),
  async ingest(base) {
    const registry = registryAt(needRegistry(base))
    const barriers = await openBarriers(base, registry)
    const app = await openHttp('ingest', () => ({ ingest: READY }), needRegistry(base))
    seriesRoute(app, base)
    await writeRoutes(app, base, { registry, barriers })
    const url = await listen(base, app, base.config.ingestPort)
    barriers.start()
    base.onClose(() => barriers.stop())
    return url
  },
  async speed(base) {
    await openTopics(base)
    const speed = openSpeed(base, needRegistry(base))
    speedSeries(base, speed)
    return health(base, 'speed', () => ({ speed: speed.readiness() }))
  },
  async archive(base) {
    const registry = registryAt(needRegistry(base))
    const archive = await openArchive(base, { registry, lake: await openLake(base.config) })
    archiveSeries(base, archive)
    return health(base, 'archive', () => ({ archive: archiveReadiness(archive) }))
  },
  async batch(base) {
    const registry = registryAt(needRegistry(base))
    const barriers = await openBarriers(base, registry)
    await openBatch(base, { jobs: await openJobs(base), lake: await openLake(base.config), registry, barriers })
    return health(base, 'batch', () => ({ batch: READY }))
  },
  async serve(base) {
    const registry = registryAt(needRegistry(base))
    // The API is whole at one address: what writes is stateless and may run in any number of processes.
    const barriers = await openBarriers(base, registry)
    const lake = await openLake(base.config)
    const serve = await openServe(base, lake)
    const jobs = await openJobs(base)
    base.onClose(() => jobs.close())
    const app = await openHttp('serve', () => ({ serve: serve.readiness() }), needRegistry(base))
    await writeRoutes(app, base, { registry, barriers })
    await readRoutes(app, base, { serve, jobs, lake })
    return listen(base, app, base.config.port)
  },
  async feed(base) {
    const registry = registryAt(needRegistry(base))
    await openTopics(base)
    const jobs = await openJobs(base)
    base.onClose(() => jobs.close())
    const lapse = startLapse({
      log: base.log,
      registry,
      jobs,
      stream: demoStream(base.definitions),
      logger: base.logger,
      daysPerMinute: base.config.lapseDaysPerMinute,
      onLive: (sent) => base.logger.info({ sent }, 'the history is in; the feed is live'),
    })
    base.onClose(() => lapse.close())
    return health(base, 'feed', () => ({ feed: READY }))
  },
}

/** Names of the services, in the order in which they start. */
export const SERVICE_NAMES = Object.keys(SERVICES)

async function start(name: string, config: Config, logger: Logger): Promise<{ close(): Promise<void> }> {
  if (name === 'registry' && config.registryUrl !== null) {
    const message = 'TIDEMARK_REGISTRY_URL names another registry, which all services use, so this one stays off.'
    throw new OperatingError('CONFIG_INVALID', message, {}, { hint: 'Unset it to run this one.' })
  }
  if (config.kafkaBrokers === null || (config.redisUrl === null && NEED_REDIS.has(name))) {
    throw new OperatingError(
      'CONFIG_INVALID',
      'a service of its own needs TIDEMARK_KAFKA_BROKERS; batch, serve and feed also TIDEMARK_REDIS_URL',
    )
  }
  const base = await openBase(config, logger)
  try {
    const url = await SERVICES[name]!(base)
    process.stdout.write(`ready ${name} ${url}\n`)
    return base
  } catch (error) {
    await base.close()
    throw error
  }
}

if (import.meta.main) {
  const name = process.argv[2] ?? ''
  if (!(name in SERVICES)) {
    process.stderr.write(`usage: node platform/service.ts <${SERVICE_NAMES.join('|')}>\n`)
    process.exit(2)
  }
  // A parent that was killed cannot ask for a stop: the end of its channel does.
  process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'))
  process.channel?.unref()
  await runProcess(name, (config, logger) => start(name, config, logger))
}
