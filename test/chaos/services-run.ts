/**
 * Kills of the distributed platform: every service as a process of its own on a Kafka and a Redis of this run, and any of them may
 * die: at a failpoint, or by SIGKILL at any moment. What died is started again, as a supervisor would.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Failpoint } from '#io/failpoints.ts'
import { PlatformProcess } from '#testkit/platform-process.ts'
import { random } from '#testkit/runs.ts'
import { freePort, isAlive, type Service, startKafka, startRedis } from '../../infra/local/launcher.ts'
import { type Kill, killText } from './kill-run.ts'
import { PARCELS, Scanner } from './parcels.ts'
import { complaintsOf, Shift, workRound } from './shift.ts'

/** The services, in the order in which they start, and the variable of their port. */
const PORTS = {
  registry: 'TIDEMARK_REGISTRY_PORT',
  ingest: 'TIDEMARK_INGEST_PORT',
  speed: 'TIDEMARK_HEALTH_PORT',
  archive: 'TIDEMARK_HEALTH_PORT',
  batch: 'TIDEMARK_HEALTH_PORT',
  serve: 'TIDEMARK_PORT',
} as const
/** A service of the platform. */
export type ServiceName = keyof typeof PORTS
/** All of them. */
export const SERVICE_NAMES = Object.keys(PORTS) as ServiceName[]
/** What may be killed. */
export type Victim = ServiceName | 'kafka' | 'redis'

const ROUNDS_MAX = 8

/** Which service passes a failpoint under this load. */
export function serviceOf(name: Failpoint): ServiceName {
  const [part = ''] = name.split('.')
  if (part === 'lake') return 'archive'
  return part === 'barriers' ? 'ingest' : (part as ServiceName)
}

interface Running {
  readonly process: PlatformProcess
  /** Whether its death is meant. */
  expected: boolean
}

/** The distributed platform over many deaths. */
export class ServicesRun {
  readonly shift: Shift
  readonly scanner: Scanner
  readonly directory: string
  #kafka: (Service & { brokers: string }) | null = null
  #redis: (Service & { url: string }) | null = null
  #ports = new Map<ServiceName, number>()
  #running = new Map<ServiceName, Running>()
  #deaths = 0
  #fired = 0
  /** What is under way to bring back; calls share it. */
  #reviving: Promise<void> | null = null

  private constructor(directory: string, seed: number) {
    this.directory = directory
    this.scanner = new Scanner(random(seed))
    this.shift = new Shift({
      url: (path) => `http://127.0.0.1:${this.#ports.get(path.startsWith('/v1/streams') ? 'ingest' : 'serve')!}`,
      revive: () => this.#revive(),
      deaths: () => this.#deaths,
    })
  }

  /** Starts everything and waits until it is ready. */
  static async make(seed: number): Promise<ServicesRun> {
    const directory = await mkdtemp(join(tmpdir(), 'tidemark-services-'))
    const run = new ServicesRun(directory, seed)
    const [kafka, redis] = await Promise.all([run.#startKafka(), run.#startRedis()])
    run.#kafka = kafka
    run.#redis = redis
    for (const name of SERVICE_NAMES) run.#ports.set(name, await freePort())
    for (const name of SERVICE_NAMES) {
      run.#start(name, null)
      // The registry first, then ingest, which makes the topics; the others need both.
      if (name === 'registry' || name === 'ingest') await run.#running.get(name)!.process.untilReady()
    }
    for (const { process } of run.#running.values()) await process.untilReady()
    return run
  }

  #startKafka = () => startKafka({ directory: join(this.directory, 'kafka') })
  #startRedis = () => startRedis({ directory: join(this.directory, 'redis') })

  #start(name: ServiceName, kill: Kill | null): void {
    const process = new PlatformProcess({
      args: ['platform/service.ts', name],
      env: {
        TIDEMARK_KAFKA_BROKERS: this.#kafka!.brokers,
        TIDEMARK_REDIS_URL: this.#redis!.url,
        TIDEMARK_REGISTRY_URL: name === 'registry' ? '' : `http://127.0.0.1:${this.#ports.get('registry')!}`,
        [PORTS[name]]: String(this.#ports.get(name)!),
        TIDEMARK_DATA_DIR: join(this.directory, name),
        TIDEMARK_LAKE: join(this.directory, 'lake'),
        TIDEMARK_DEFINITIONS: PARCELS,
        TIDEMARK_FEED: 'none',
        TIDEMARK_NIGHTLY: 'off',
        TIDEMARK_BARRIER_INTERVAL: '3s',
        TIDEMARK_FLUSH_INTERVAL: '50ms',
        TIDEMARK_ARCHIVE_INTERVAL: '3s',
        TIDEMARK_LOG_LEVEL: 'warn',
        FAIL: kill === null ? '' : killText(kill),
      },
    })
    this.#running.set(name, { process, expected: kill !== null })
  }

  #revive(): Promise<void> {
    this.#reviving ??= this.#reviveDead().finally(() => {
      this.#reviving = null
    })
    return this.#reviving
  }

  /** @throws Error when a service ended in a way that was not meant; one that could not start while another was down may */
  async #reviveDead(): Promise<void> {
    if (!isAlive(this.#kafka!.pid)) this.#kafka = await this.#startKafka()
    if (!isAlive(this.#redis!.pid)) this.#redis = await this.#startRedis()
    for (const [name, { process, expected }] of [...this.#running]) {
      if (process.ending === null) continue
      const unreachable = process.ending === 1 && /_UNREACHABLE/.test(process.output)
      if (!unreachable && (process.ending !== 'SIGKILL' || !expected))
        throw new Error(`${name} ended with ${process.ending}:\n${process.output}`)
      if (process.ending === 'SIGKILL') this.#fired++
      this.#deaths++
      this.#start(name, null)
    }
  }

  /** Works until the service of this failpoint died there; true when it did. It is started again and lives. */
  async survive(kill: Kill): Promise<boolean> {
    const name = serviceOf(kill.name)
    await this.#revive()
    await this.#running.get(name)!.process.kill()
    this.#start(name, kill)
    const before = this.#fired
    for (let round = 0; round < ROUNDS_MAX && this.#fired === before; round++) await workRound(this.shift, this.scanner)
    return this.#fired > before
  }

  /** Kills it now; what needs it fails until it is brought back by the next call. */
  kill(victim: Victim): void {
    if (victim === 'kafka' || victim === 'redis') {
      process.kill((victim === 'kafka' ? this.#kafka : this.#redis)!.pid, 'SIGKILL')
      this.#deaths++
      return
    }
    const running = this.#running.get(victim)!
    running.expected = true
    process.kill(running.process.pid, 'SIGKILL')
  }

  /** What is wrong with the platform now, in words; empty = nothing. */
  complaints(): Promise<string[]> {
    return complaintsOf(this.shift, this.scanner)
  }

  /** Removes what the speed layer keeps between runs, while it is down. */
  async wipeSpeed(): Promise<void> {
    await this.#revive()
    await this.#running.get('speed')!.process.kill()
    await rm(join(this.directory, 'speed'), { recursive: true, force: true })
    this.#start('speed', null)
  }

  /** Kills everything and removes the directory. */
  async remove(): Promise<void> {
    await Promise.all([...this.#running.values()].map(({ process }) => process.kill()))
    await Promise.all([this.#kafka?.stop(), this.#redis?.stop()])
    await rm(this.directory, { recursive: true, force: true })
  }
}
