/**
 * Configuration: environment variables `TIDEMARK_*`, and one YAML file (`TIDEMARK_CONFIG`) with the same settings in lower
 * case without the prefix. The environment wins. Everything wrong is reported at once. A secret may come from a file by its
 * `_FILE` variant. Loopback only: a host other than a loopback address is refused until keys exist, but for the explicit
 * TIDEMARK_ALLOW_REMOTE of containers, whose ports are published on the loopback address of their host.
 */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { parse as parseYaml } from 'yaml'
import { formatDuration, parseDuration } from '#core/time.ts'
import { OperatingError } from './errors.ts'
import type { LogConfig } from './open-log.ts'
import { addressesOf, isHttpUrl } from './registry-http.ts'
import { parseRegistryKeys, type RegistryKey } from './registry-keys.ts'

/** Checked settings of a process. Paths are absolute. */
export interface Config {
  readonly definitions: string
  readonly dataDir: string
  readonly host: string
  /** 0 = any free port. */
  readonly port: number
  readonly registryPort: number
  readonly ingestPort: number
  /** Port of the health and series endpoint of a process without an API of its own. */
  readonly healthPort: number
  /** null = embedded. */
  readonly kafkaBrokers: readonly string[] | null
  readonly redisUrl: string | null
  /** null = the registry of this platform. Several instances of another one are separated by commas; may hold a password. */
  readonly registryUrl: string | null
  /** `name:secret` of the platform's own services at the registry; null = none. */
  readonly registryAuth: string | null
  /** Who may use the registry of this platform; null = whoever reaches it. */
  readonly registryKeys: readonly RegistryKey[] | null
  /** Group of the registries that share a topic on Kafka. */
  readonly registryGroup: string
  /** Where the other registries reach this one; null = where it listens. */
  readonly registryAdvertisedUrl: string | null
  readonly lake: string
  readonly barrierIntervalMs: number
  readonly flushMs: number
  readonly archiveIntervalMs: number
  readonly feed: 'demo' | 'none'
  /** Data days of the time-lapse per minute of wall time. */
  readonly lapseDaysPerMinute: number
  readonly nightly: { readonly pattern: string; readonly zone: string } | null
  readonly speedWorkers: number
  /** This process's share of the partitions in the distributed mode: `index` of `count`. */
  readonly share: { readonly index: number; readonly count: number }
  readonly batchThreads: number
  readonly batchMemoryMb: number
  readonly durability: 'fsync' | 'os'
  readonly logLevel: string
}

type Reader<T> = (text: string) => T | string

const text: Reader<string> = (value) => value
const port: Reader<number> = (value) =>
  /^\d{1,5}$/.test(value) && Number(value) < 65_536 ? Number(value) : 'is no port (0 to 65535)'
const duration: Reader<number> = (value) => parseDuration(value) ?? 'is no duration (for example 60s, 5m)'
const count =
  (max: number): Reader<number> =>
  (value) =>
    /^\d{1,9}$/.test(value) && Number(value) >= 1 && Number(value) <= max
      ? Number(value)
      : `is no whole number from 1 to ${max}`
const oneOf =
  <T extends string>(...values: readonly T[]): Reader<T> =>
  (value) =>
    (values as readonly string[]).includes(value) ? (value as T) : (`is none of ${values.join(', ')}` as never)

/** Every setting: name after `TIDEMARK_`, default, meaning. Shown by `npx tidemark config`, and the table of docs/operating.md. */
export const SETTINGS = {
  DEFINITIONS: { fallback: './definitions', meaning: 'definitions directory (streams/, metrics/, *.avsc)' },
  DATA_DIR: {
    fallback: './data',
    meaning: 'log, lake and state; npm run start:distributed has ./data/distributed unless it is set',
  },
  HOST: { fallback: '127.0.0.1', meaning: 'address to listen on; loopback only, unless ALLOW_REMOTE' },
  ALLOW_REMOTE: {
    fallback: 'false',
    meaning:
      'true = HOST may be any address. Only the registry knows keys: inside a container, publish ports to loopback only',
  },
  PORT: { fallback: '7070', meaning: 'API and console; 0 = any free port, printed' },
  REGISTRY_PORT: { fallback: '8081', meaning: 'Schema Registry; 0 = any free port, printed' },
  INGEST_PORT: { fallback: '7071', meaning: 'ingest process of the distributed mode; 0 = any free port' },
  HEALTH_PORT: { fallback: '0', meaning: 'health and series of a process without an API; 0 = any free port, printed' },
  KAFKA_BROKERS: { fallback: '', meaning: 'host:port[,host:port…] of Apache Kafka; empty = the embedded log' },
  REDIS_URL: { fallback: '', meaning: 'redis://… for jobs; empty = embedded PostgreSQL' },
  REGISTRY_URL: {
    fallback: '',
    meaning: 'a Confluent-compatible registry, its instances separated by commas; empty = the platform’s own',
  },
  REGISTRY_AUTH: {
    fallback: '',
    meaning: 'name:secret for the registry, where its URL has none; of the services, and of `tidemark schemas`',
  },
  REGISTRY_KEYS: {
    fallback: '',
    meaning:
      'keys of the platform’s own registry, as YAML or JSON (docs/schemas.md); empty = open to whoever reaches it',
  },
  REGISTRY_GROUP: {
    fallback: 'schema-registry',
    meaning: 'Kafka group in which the registries of one topic choose who writes, Confluent’s included',
  },
  REGISTRY_ADVERTISED_URL: {
    fallback: '',
    meaning: 'URL at which the other registries reach this one; empty = where it listens',
  },
  LAKE: { fallback: '', meaning: 'folder of the lake; empty = <data dir>/lake' },
  BARRIER_INTERVAL: { fallback: '60s', meaning: 'barrier cadence' },
  FLUSH_INTERVAL: { fallback: '100ms', meaning: 'cadence of live partials' },
  ARCHIVE_INTERVAL: { fallback: '5m', meaning: 'longest time events wait for an archive file' },
  FEED: { fallback: 'demo', meaning: 'demo = the flights time-lapse; none = no feed' },
  LAPSE: { fallback: '1', meaning: 'data days per minute of the time-lapse' },
  NIGHTLY: { fallback: '0 2 * * *', meaning: 'cron pattern of the nightly build; off = none' },
  NIGHTLY_ZONE: { fallback: 'UTC', meaning: 'IANA zone of the pattern' },
  SPEED_WORKERS: { fallback: '1', meaning: 'worker threads of a speed process' },
  SHARE: { fallback: '1/1', meaning: 'this process’s share of the partitions: index/count, from 1' },
  BATCH_THREADS: { fallback: '1', meaning: 'DuckDB threads of a build' },
  BATCH_MEMORY_MB: {
    fallback: '192',
    meaning: 'DuckDB memory limit of all batch jobs together, MB; beyond it they spill to disk',
  },
  DURABILITY: { fallback: 'fsync', meaning: 'embedded log: fsync survives power loss, os survives kill -9' },
  LOG_LEVEL: {
    fallback: 'info',
    meaning:
      'fatal, error, warn, info, debug, trace; on a terminal npm start and start:distributed have warn unless it is set',
  },
} as const

type Setting = keyof typeof SETTINGS

/**
 * Reads the settings. `fallbacks`: what stands in for a setting that is not given, where a process has another default.
 * @throws OperatingError CONFIG_INVALID listing every problem
 */
export function loadConfig(
  env: Readonly<Record<string, string | undefined>>,
  fallbacks: Readonly<Partial<Record<Setting, string>>> = {},
): Config {
  const problems: string[] = []
  const file = readFile(env['TIDEMARK_CONFIG'], problems)
  for (const name of Object.keys(env)) {
    if (name.startsWith('TIDEMARK_') && !NO_SETTINGS.has(name) && !isKnown(name)) problems.push(`${name} is no setting`)
  }
  const get = <T>(name: Setting, read: Reader<T>): T => {
    const raw = givenSetting(env, name, problems) ?? file[name.toLowerCase()]
    const value = raw === undefined || raw === '' ? (fallbacks[name] ?? SETTINGS[name].fallback) : raw
    const read_ = read(value)
    if (typeof read_ === 'string' && read !== (text as unknown) && read_ !== value)
      problems.push(`TIDEMARK_${name}=${value} ${read_}`)
    return read_ as T
  }
  const optional = (name: Setting): string | null => {
    const value = get(name, text)
    return value === '' ? null : value
  }
  const dataDir = resolve(get('DATA_DIR', text))
  const host = get('HOST', text)
  const allowRemote = get('ALLOW_REMOTE', oneOf('true', 'false')) === 'true'
  if (!allowRemote && !['127.0.0.1', '::1', 'localhost'].includes(host))
    problems.push(
      `TIDEMARK_HOST=${host} is no loopback address; others need API keys, which this version does not have, or TIDEMARK_ALLOW_REMOTE=true`,
    )
  const lake = optional('LAKE')
  if (lake !== null && /^[a-z][a-z\d+.-]*:\/\//i.test(lake))
    problems.push(`TIDEMARK_LAKE=${lake} is no folder; this version has no object storage yet`)
  const share = /^(\d+)\/(\d+)$/.exec(get('SHARE', text))
  const [index, of] = [Number(share?.[1]), Number(share?.[2])]
  if (share === null || index < 1 || index > of)
    problems.push('TIDEMARK_SHARE is no index/count with 1 ≤ index ≤ count')
  const pattern = get('NIGHTLY', text)
  const brokers = optional('KAFKA_BROKERS')
  const registryUrl = optional('REGISTRY_URL')
  const registryAuth = optional('REGISTRY_AUTH')
  if (registryAuth !== null && !registryAuth.includes(':')) problems.push('TIDEMARK_REGISTRY_AUTH is no name:secret')
  if (registryUrl !== null && !addressesOf(registryUrl).every(isHttpUrl))
    problems.push('TIDEMARK_REGISTRY_URL is no http(s) URL, or list of such')
  const advertisedUrl = optional('REGISTRY_ADVERTISED_URL')
  if (advertisedUrl !== null && !isHttpUrl(advertisedUrl))
    problems.push('TIDEMARK_REGISTRY_ADVERTISED_URL is no http(s) URL')
  const keys = optional('REGISTRY_KEYS')
  const lapse = Number(get('LAPSE', text))
  if (!(lapse > 0 && lapse <= 10_000)) problems.push('TIDEMARK_LAPSE is no number above 0')
  const config: Config = {
    definitions: resolve(get('DEFINITIONS', text)),
    dataDir,
    host,
    port: get('PORT', port),
    registryPort: get('REGISTRY_PORT', port),
    ingestPort: get('INGEST_PORT', port),
    healthPort: get('HEALTH_PORT', port),
    kafkaBrokers: brokers === null ? null : brokers.split(',').map((broker) => broker.trim()),
    redisUrl: optional('REDIS_URL'),
    registryUrl,
    registryAuth,
    registryGroup: get('REGISTRY_GROUP', text),
    registryAdvertisedUrl: advertisedUrl,
    registryKeys: keys === null ? null : parseRegistryKeys(keys, problems),
    lake: resolve(lake ?? `${dataDir}/lake`),
    barrierIntervalMs: get('BARRIER_INTERVAL', duration),
    flushMs: get('FLUSH_INTERVAL', duration),
    archiveIntervalMs: get('ARCHIVE_INTERVAL', duration),
    feed: get('FEED', oneOf('demo', 'none')),
    lapseDaysPerMinute: lapse,
    nightly: pattern === 'off' ? null : { pattern, zone: get('NIGHTLY_ZONE', text) },
    speedWorkers: get('SPEED_WORKERS', count(64)),
    share: { index: index - 1, count: of },
    batchThreads: get('BATCH_THREADS', count(256)),
    batchMemoryMb: get('BATCH_MEMORY_MB', count(1_000_000)),
    durability: get('DURABILITY', oneOf('fsync', 'os')),
    logLevel: get('LOG_LEVEL', oneOf('fatal', 'error', 'warn', 'info', 'debug', 'trace')),
  }
  for (const [name, value] of [
    ['BARRIER_INTERVAL', config.barrierIntervalMs],
    ['FLUSH_INTERVAL', config.flushMs],
  ] as const) {
    if (typeof value === 'number' && value < 10)
      problems.push(`TIDEMARK_${name}=${formatDuration(value)} is below 10ms`)
  }
  if (problems.length > 0) {
    throw new OperatingError(
      'CONFIG_INVALID',
      `the settings have ${problems.length} problem${problems.length > 1 ? 's' : ''}:\n  ${problems.join('\n  ')}`,
    )
  }
  return config
}

/** A setting as the environment gives it, by itself or by its `_FILE` variant; undefined when it does not. */
function givenSetting(
  env: Readonly<Record<string, string | undefined>>,
  name: Setting,
  problems: string[],
): string | undefined {
  const path = env[`TIDEMARK_${name}_FILE`]
  const given = env[`TIDEMARK_${name}`]
  if (given !== undefined || path === undefined || path === '') return given
  try {
    return readFileSync(path, 'utf8').trim()
  } catch (error) {
    problems.push(`TIDEMARK_${name}_FILE cannot be read: ${(error as Error).message}`)
    return undefined
  }
}

/**
 * One setting of the environment, unchecked, or its default; for commands, which need few and heed no others.
 * @throws OperatingError CONFIG_INVALID when its file cannot be read
 */
export function settingOf(env: Readonly<Record<string, string | undefined>>, name: Setting): string {
  const problems: string[] = []
  const given = givenSetting(env, name, problems)
  if (problems.length > 0) throw new OperatingError('CONFIG_INVALID', problems.join('; '))
  return given === undefined || given === '' ? SETTINGS[name].fallback : given
}

/** Where the log is, as plain data for worker threads. */
export function logConfigOf(config: Config): LogConfig {
  return config.kafkaBrokers === null
    ? { kind: 'sqlite', directory: `${config.dataDir}/log`, durability: config.durability }
    : { kind: 'kafka', brokers: [...config.kafkaBrokers] }
}

/** A file may write the keys as they are, without quoting YAML in YAML. */
const textIn = (value: unknown): string =>
  typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value)

/** Variables that are read elsewhere: the settings' own file, and where the command line finds the platform. */
const NO_SETTINGS: ReadonlySet<string> = new Set(['TIDEMARK_CONFIG', 'TIDEMARK_URL'])

const isKnown = (name: string): boolean =>
  Object.keys(SETTINGS).some((setting) => name === `TIDEMARK_${setting}` || name === `TIDEMARK_${setting}_FILE`)

function readFile(path: string | undefined, problems: string[]): Readonly<Record<string, string>> {
  if (path === undefined || path === '') return {}
  try {
    const parsed: unknown = parseYaml(readFileSync(path, 'utf8'))
    if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
      problems.push(`${path}: a configuration file is a mapping of settings`)
      return {}
    }
    const entries = Object.entries(parsed).map(([name, value]) => [name, textIn(value)] as const)
    for (const [name] of entries) if (!(name.toUpperCase() in SETTINGS)) problems.push(`${path}: ${name} is no setting`)
    return Object.fromEntries(entries)
  } catch (error) {
    problems.push(`${path}: ${(error as Error).message}`)
    return {}
  }
}
