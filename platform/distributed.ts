/**
 * `npm run start:distributed`: every service as its own process against Kafka and Redis, which are started here as well unless
 * their addresses are given. What dies is started again with back-off; SIGINT or SIGTERM stops the services first, those that
 * take events in before those that work them off, then Kafka and Redis.
 */
import { join } from 'node:path'
import type { Logger } from 'pino'
import { systemClock } from '#io/clock.ts'
import type { Config } from '#io/config.ts'
import { OperatingError } from '#io/errors.ts'
import { lockDirectory } from '#io/process-lock.ts'
import { shownAddresses } from '#io/registry-http.ts'
import { isAlive, type Service, startKafka, startRedis } from '../infra/local/launcher.ts'
import { type Child, superviseChild } from './distributed-child.ts'
import { requireOwnKey } from './parts.ts'
import { makeDataDir, type Running, runProcess, TERMINAL_SETTINGS } from './runtime.ts'
import { SERVICE_NAMES } from './service.ts'
import { say } from './terminal.ts'

const LOOK_MS = 500
/** How often waiting says what for. */
const SAY_MS = 10_000
const RESTART_MS = { first: 500, most: 10_000 }
/** Who is stopped one after another; what is not named goes between the two groups. */
const STOP_FIRST: readonly string[] = ['feed', 'ingest']
const STOP_LAST: readonly string[] = ['registry']

/** A service of the outside that was started here, kept alive. */
interface Outside {
  readonly address: string
  readonly pid: () => number
  stop(): Promise<void>
}

/** Starts Kafka or Redis and starts it again, on the same address and data, when it dies. */
async function keepAlive<T extends Service>(
  name: string,
  logger: Logger,
  start: () => Promise<T>,
  addressOf: (service: T) => string,
): Promise<Outside> {
  let service = await start()
  const stopping = new AbortController()
  const watching = (async () => {
    for (let deaths = 0; !stopping.signal.aborted; ) {
      await systemClock.sleep(LOOK_MS, stopping.signal)
      if (stopping.signal.aborted || isAlive(service.pid)) continue
      const waitMs = Math.min(RESTART_MS.most, RESTART_MS.first * 2 ** deaths++)
      logger.error({ service: name, again_in_ms: waitMs }, 'a service died and is started again')
      await systemClock.sleep(waitMs, stopping.signal)
      if (stopping.signal.aborted) return
      try {
        service = await start()
      } catch (error) {
        logger.error({ service: name, err: error }, 'it did not start')
      }
    }
  })()
  return {
    address: addressOf(service),
    pid: () => service.pid,
    async stop() {
      stopping.abort()
      await watching
      await service.stop()
    },
  }
}

/** What is missing to start Kafka or Redis, as one sentence with the remedy. */
const cannotStart =
  (name: string, code: 'LOG_UNREACHABLE' | 'QUEUE_UNREACHABLE', variable: string) =>
  (error: Error): never => {
    const hint = `Install what is missing, or set ${variable} to one that runs.`
    throw new OperatingError(code, `${name} cannot be started: ${error.message}`, {}, { cause: error, hint })
  }

async function startOutside(config: Config, logger: Logger, onStop: (stop: () => Promise<void>) => void) {
  if (config.kafkaBrokers === null) say('Starting Kafka; the first time, Maven fetches it …')
  if (config.redisUrl === null) say('Starting Redis …')
  const started = await Promise.allSettled([
    config.kafkaBrokers !== null
      ? null
      : keepAlive(
          'kafka',
          logger,
          () => startKafka({ directory: join(config.dataDir, 'kafka') }),
          ({ brokers }) => brokers,
        ).catch(cannotStart('Kafka', 'LOG_UNREACHABLE', 'TIDEMARK_KAFKA_BROKERS')),
    config.redisUrl !== null
      ? null
      : keepAlive(
          'redis',
          logger,
          () => startRedis({ directory: join(config.dataDir, 'redis') }),
          ({ url }) => url,
        ).catch(cannotStart('Redis', 'QUEUE_UNREACHABLE', 'TIDEMARK_REDIS_URL')),
  ])
  for (const one of started) {
    if (one.status !== 'fulfilled' || one.value === null) continue
    const outside = one.value
    onStop(() => outside.stop())
  }
  const [kafka, redis] = started.map((one) => {
    if (one.status === 'rejected') throw one.reason
    return one.value
  })
  return { kafka: kafka ?? null, redis: redis ?? null }
}

/** Waits until a process says that it is ready; says now and then what it waits for. */
async function untilReady(name: string, url: string, signal: AbortSignal): Promise<void> {
  for (let waitedMs = 0; !signal.aborted; waitedMs += LOOK_MS) {
    const answer = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(5_000) }).catch(() => null)
    if (answer?.ok === true) return
    if (waitedMs > 0 && waitedMs % SAY_MS === 0) say(`waiting for ${name}: ${(await answer?.text()) ?? 'no answer'}`)
    await systemClock.sleep(LOOK_MS, signal)
  }
}

/** The variable of a service's port, and the port asked for. Processes without an API count up from the health port. */
function portOf(name: string, config: Config): { variable: string; port: number } {
  const health = ['speed', 'archive', 'batch', 'feed'].indexOf(name)
  if (name === 'registry') return { variable: 'TIDEMARK_REGISTRY_PORT', port: config.registryPort }
  if (name === 'ingest') return { variable: 'TIDEMARK_INGEST_PORT', port: config.ingestPort }
  if (health < 0) return { variable: 'TIDEMARK_PORT', port: config.port }
  return { variable: 'TIDEMARK_HEALTH_PORT', port: config.healthPort === 0 ? 0 : config.healthPort + health }
}

/** Starts the services: the registry, then ingest, which makes the topics and registers the schemas, then all others at once. */
async function startServices(
  config: Config,
  startChild: (name: string, env: Readonly<Record<string, string>>) => Child,
): Promise<ReadonlyMap<string, string>> {
  const ownUrl = config.registryUrl === null ? await urlOf(startChild('registry', {})) : null
  const registryUrl = config.registryUrl ?? ownUrl!
  // Another registry has no /readyz to wait for; who needs it waits for it.
  const urls = new Map(ownUrl === null ? [] : [['registry', ownUrl]])
  const names = SERVICE_NAMES.filter((name) => name !== 'registry' && (name !== 'feed' || config.feed === 'demo'))
  for (const together of [['ingest'], names.filter((name) => name !== 'ingest')]) {
    const group = together.map((name) => startChild(name, { TIDEMARK_REGISTRY_URL: registryUrl }))
    for (const child of group) urls.set(child.name, await urlOf(child))
  }
  return urls
}

/** What runs where, and what to try next. */
function tell(places: readonly { name: string; address: string; pid: number | null }[], lake: string): void {
  for (const { name, address, pid } of places) {
    // A password in a given address is not for the screen.
    const shown = address.replace(/\/\/[^@/]*@/, '//')
    say(`  ${name.padEnd(9)} ${shown.padEnd(28)} ${pid === null ? 'given' : `pid ${pid}`}`)
  }
  say(`  lake      ${lake}`)
  say()
  const url = places.find(({ name }) => name === 'serve')!.address
  say('Try next:')
  say(`  curl '${url}/v1/metrics'`)
  say(`  npx tidemark jobs run build-view 'metric=*' --wait --url ${url}`)
  say('  kill -9 the pid of any of them: it comes back, and the numbers stay exact')
  say()
}

async function start(config: Config, logger: Logger): Promise<Running> {
  const sinceMs = systemClock.monotonic()
  requireOwnKey(config)
  await makeDataDir(config.dataDir)
  const lock = lockDirectory(config.dataDir, 'distributed')
  const stopping = new AbortController()
  const outsideStops: (() => Promise<void>)[] = []
  const children: Child[] = []
  async function close(): Promise<void> {
    stopping.abort()
    const stopAll = (chosen: (name: string) => boolean) =>
      Promise.all(children.filter(({ name }) => chosen(name)).map((child) => child.stop()))
    await stopAll((name) => STOP_FIRST.includes(name))
    await stopAll((name) => !STOP_LAST.includes(name))
    await stopAll(() => true)
    await Promise.all(outsideStops.map((stop) => stop()))
    lock.release()
  }
  try {
    const { kafka, redis } = await startOutside(config, logger, (stop) => outsideStops.push(stop))
    const shared = {
      ...process.env,
      TIDEMARK_KAFKA_BROKERS: kafka?.address ?? config.kafkaBrokers!.join(','),
      TIDEMARK_REDIS_URL: redis?.address ?? config.redisUrl!,
      TIDEMARK_LAKE: config.lake,
      TIDEMARK_LOG_LEVEL: config.logLevel,
    }
    say('Starting the services …')
    const urls = await startServices(config, (name, env) => {
      const { variable, port } = portOf(name, config)
      const child = superviseChild({
        name,
        args: [join(import.meta.dirname, 'service.ts'), name],
        env: { ...shared, ...env, [variable]: String(port), TIDEMARK_DATA_DIR: join(config.dataDir, 'services', name) },
        portVariable: variable,
        onDeath: (how, againInMs) =>
          logger.error({ service: name, again_in_ms: againInMs }, `a service ${how} and is started again`),
      })
      children.push(child)
      return child
    })
    return {
      close,
      async announce() {
        for (const [name, url] of urls) await untilReady(name, url, stopping.signal)
        if (stopping.signal.aborted) return
        const seconds = ((systemClock.monotonic() - sinceMs) / 1_000).toFixed(1)
        say(`Tidemark is up after ${seconds} s: one process per service`)
        say()
        const registry = urls.get('registry') ?? shownAddresses(config.registryUrl!)
        const pidOf = (name: string) => children.find((child) => child.name === name)?.pid() ?? null
        tell(
          [
            { name: 'kafka', address: shared.TIDEMARK_KAFKA_BROKERS, pid: kafka?.pid() ?? null },
            { name: 'redis', address: shared.TIDEMARK_REDIS_URL, pid: redis?.pid() ?? null },
            ...(config.registryUrl === null ? [] : [{ name: 'registry', address: registry, pid: null }]),
            ...[...urls].map(([name, address]) => ({ name, address, pid: pidOf(name) })),
          ],
          config.lake,
        )
        say(`ready ${urls.get('serve')!} registry ${registry}`)
      },
    }
  } catch (error) {
    await close()
    throw error
  }
}

/** A child's URL; one that ends before it is ready has told why on stderr. */
const urlOf = (child: Child): Promise<string> =>
  child.ready.catch((error: Error) => {
    const hint = 'Its own message stands above.'
    throw new OperatingError('CONFIG_INVALID', `${error.message}.`, { service: child.name }, { cause: error, hint })
  })

// A folder of its own: the archive of the embedded log in ./data says nothing about Kafka's, and would stop this one for suspected loss.
await runProcess('tidemark', start, { ...TERMINAL_SETTINGS, DATA_DIR: './data/distributed' })
