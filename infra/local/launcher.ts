/**
 * Kafka and Redis as plain processes of this machine, without containers: for integration tests, CI and
 * `npm run start:distributed`. Kafka's jars come from Maven Central once, into `.cache/kafka`; Redis is the system's.
 *
 * Each service runs under a small shell that ends it when the owning process is gone, however that died, so nothing is
 * left behind. Both listen on loopback only. A data directory may be started again after a stop or a kill: same address.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes, randomInt } from 'node:crypto'
import { existsSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** A running service. */
export interface Service {
  /** The service itself, to be killed by tests; `stop` ends it in order. */
  readonly pid: number
  /** Asks it to end, waits, and kills it after 15 s. */
  stop(): Promise<void>
}

/** What both launchers take. */
export interface ServiceOptions {
  /** Data, configuration and log of the service; created when absent. */
  readonly directory: string
  /** Default: a free one, or the one the directory was first started on. */
  readonly port?: number
  /** The service ends when this process does (default: this one). */
  readonly ownerPid?: number
  /** Remove the directory once the owner is gone (default false). */
  readonly temporary?: boolean
}

const KAFKA_VERSION = '4.3.1'
/** Quiet, and never waiting for ever for a repository that does not answer: Maven's own patience is half an hour. */
const MAVEN = ['-q', '-B', '-Dstyle.color=never', '-Dmaven.wagon.rto=60000', '-Dmaven.wagon.http.retryHandler.count=3']
const ROOT = join(import.meta.dirname, '../..')
const CACHE = join(ROOT, '.cache/kafka')
const READY_MS = 180_000
const STOP_MS = 15_000
/** Below the ports that systems hand out by themselves, to whoever connects or asks for any port. */
const PORTS = { from: 20_000, until: 32_000 }

/** Ends the child when the owner is gone, and says the child's pid first. Arguments: owner, directory to remove or '', command. */
const SUPERVISOR = `
owner=$1; remove=$2; shift 2
"$@" & child=$!
echo $child
( while kill -0 $owner 2>/dev/null && kill -0 $child 2>/dev/null; do sleep 1; done
  kill -0 $owner 2>/dev/null || { kill -9 $child 2>/dev/null; [ -n "$remove" ] && sleep 1 && rm -rf "$remove"; } ) >/dev/null &
wait $child
`

/** Runs a command to its end; its output, or an error in one sentence that names the Debian package when it is missing. */
async function run(command: string, args: readonly string[], debianPackage: string): Promise<string> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += String(chunk)))
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', () =>
      reject(new Error(`${command} is missing: install it with \`apt-get install ${debianPackage}\`.`)),
    )
    child.once('close', resolve)
  })
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}:\n${output.trim().slice(-2_000)}`)
  return output
}

/** Starts `command` under the supervisor; output goes to `logPath`. */
async function supervise(
  command: readonly string[],
  logPath: string,
  options: ServiceOptions,
): Promise<{ pid: number; ended: () => boolean; shell: ChildProcess }> {
  const log = openSync(logPath, 'a')
  const owner = String(options.ownerPid ?? process.pid)
  const shell = spawn(
    'sh',
    ['-c', SUPERVISOR, 'sh', owner, options.temporary === true ? options.directory : '', ...command],
    {
      stdio: ['ignore', 'pipe', log],
      detached: true,
    },
  )
  const pid = await new Promise<number>((resolve, reject) => {
    shell.once('error', reject)
    shell.stdout!.once('data', (chunk) => resolve(Number(String(chunk).split('\n')[0])))
  })
  shell.stdout!.resume()
  shell.unref()
  ;(shell.stdout as unknown as { unref(): void }).unref()
  let over = false
  shell.once('exit', () => (over = true))
  return { pid, ended: () => over, shell }
}

/** Waits until `probe` succeeds; tells the end of the service's log when it dies or takes too long. */
async function untilReady(
  name: string,
  logPath: string,
  { pid, ended }: { pid: number; ended: () => boolean },
  probe: () => Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + READY_MS
  while (!(await probe())) {
    if (ended() || performance.now() > deadline) {
      const tail = readFileSync(logPath, 'utf8').trim().slice(-2_000)
      const what = ended() ? 'ended' : 'did not get ready'
      // Nobody else knows of it: left alone it would keep the directory and the port from the next one.
      await stopProcess(pid, ended)
      throw new Error(`${name} ${what} while starting:\n${tail}`)
    }
    await sleep(50)
  }
}

/** Sends a line and answers whether the reply begins with `expected`; an empty line only connects. */
function answers(port: number, line: string, expected: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    const end = (well: boolean): void => {
      socket.destroy()
      resolve(well)
    }
    socket.setTimeout(1_000, () => end(false))
    socket.once('error', () => end(false))
    socket.once('connect', () => (line === '' ? end(true) : socket.write(line)))
    socket.once('data', (chunk) => end(String(chunk).startsWith(expected)))
  })
}

async function stopProcess(pid: number, ended: () => boolean): Promise<void> {
  const deadline = performance.now() + STOP_MS
  for (let signal: NodeJS.Signals = 'SIGTERM'; !ended(); ) {
    try {
      process.kill(pid, signal)
    } catch {
      // Already gone; its shell follows.
    }
    await sleep(50)
    if (performance.now() > deadline) signal = 'SIGKILL'
  }
}

/**
 * A TCP port that is free on loopback now, and stays so: one of a range in which nobody gets a port without asking for it by
 * number. Whoever takes it may be stopped and started on it again.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(PORTS.from, PORTS.until)
    const server = createServer()
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => resolve(true))
    })
    if (!isFree) continue
    await new Promise((resolve) => server.close(resolve))
    return port
  }
}

/** Kafka's jars, fetched once. @throws Error in one sentence when java or mvn is missing, with Maven's words when it fails */
async function kafkaJars(): Promise<string> {
  await run('java', ['-version'], 'openjdk-17-jre-headless')
  return fetched(`libs-${KAFKA_VERSION}`, ['dependency:copy-dependencies'])
}

/** A directory of the cache that a goal of Maven fills; whole or not there. @throws Error with Maven's words when it fails */
async function fetched(name: string, goal: readonly string[]): Promise<string> {
  const directory = join(CACHE, name)
  if (existsSync(directory)) return directory
  const partial = `${directory}.${process.pid}`
  const pom = join(import.meta.dirname, 'pom.xml')
  try {
    await run('mvn', [...MAVEN, '-f', pom, ...goal, `-DoutputDirectory=${partial}`], 'maven')
    renameSync(partial, directory)
  } catch (error) {
    rmSync(partial, { recursive: true, force: true })
    // There all the same: another process was faster.
    if (!existsSync(directory)) throw inOneSentence(error as Error)
  }
  return directory
}

/** Maven's first error stands for all that it says; what it mostly lacks is the network. */
function inOneSentence(error: Error): Error {
  const first = /^.*?\[ERROR\] (.+)$/m.exec(error.message)?.[1]
  if (first === undefined) return error
  return new Error(`Maven could not fetch it from Maven Central; is the network there? ${first}`, { cause: error })
}

/** Why Kafka or its tools cannot be run here, in one sentence; null when they can. */
export async function kafkaMissing(): Promise<string | null> {
  try {
    await kafkaJars()
    await kafkaTools()
    return null
  } catch (error) {
    return (error as Error).message
  }
}

/** Why Redis cannot be run here, in one sentence; null when it can. */
export async function redisMissing(): Promise<string | null> {
  try {
    await redisVersion()
    return null
  } catch (error) {
    return (error as Error).message
  }
}

const redisVersion = () => run('redis-server', ['--version'], 'redis-server')

/** True while a process of this number runs. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** The jar of Kafka's command-line tools, which the server does without; fetched once. @throws Error as `kafkaJars` */
const kafkaTools = (): Promise<string> =>
  fetched(`tools-${KAFKA_VERSION}`, ['dependency:copy', `-Dartifact=org.apache.kafka:kafka-tools:${KAFKA_VERSION}`])

/**
 * The first `records` records of a topic as the JVM's console consumer prints them: key, tab, value; `null` is none.
 * @throws Error in one sentence when java or mvn is missing
 */
export async function printTopic(options: { brokers: string; topic: string; records: number }): Promise<string[]> {
  const { brokers, topic, records } = options
  const classes = [await kafkaJars(), await kafkaTools()].map((directory) => join(directory, '*')).join(':')
  const java = ['-cp', classes, '-Dorg.slf4j.simpleLogger.defaultLogLevel=off', '-XX:TieredStopAtLevel=1', '-Xmx64m']
  const what = ['--bootstrap-server', brokers, '--topic', topic, '--from-beginning', '--max-messages', String(records)]
  const how = ['--timeout-ms', '120000', '--formatter-property', 'print.key=true']
  const tool = 'org.apache.kafka.tools.consumer.ConsoleConsumer'
  const output = await run('java', [...java, tool, ...what, ...how], 'openjdk-17-jre-headless')
  return output.split('\n').filter((line) => line.includes('\t'))
}

function kafkaProperties(port: number, controllerPort: number, data: string): string {
  const settings = {
    'process.roles': 'broker,controller',
    'node.id': 1,
    'controller.quorum.bootstrap.servers': `127.0.0.1:${controllerPort}`,
    'controller.listener.names': 'CONTROLLER',
    listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
    'listener.security.protocol.map': 'CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT',
    'log.dirs': data,
    'offsets.topic.replication.factor': 1,
    'offsets.topic.num.partitions': 4,
    'transaction.state.log.replication.factor': 1,
    'transaction.state.log.min.isr': 1,
    'transaction.state.log.num.partitions': 4,
    'share.coordinator.state.topic.replication.factor': 1,
    'share.coordinator.state.topic.min.isr': 1,
    'group.initial.rebalance.delay.ms': 0,
    'auto.create.topics.enable': false,
    'message.max.bytes': 8 * 1024 * 1024,
    'log.cleaner.dedupe.buffer.size': 8 * 1024 * 1024,
    'log.cleaner.backoff.ms': 1_000,
  }
  return Object.entries(settings)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('')
}

/**
 * One Kafka broker (KRaft, one node). About 340 MB of memory and 3 s to start.
 * @throws Error in one sentence when java or mvn is missing, with the end of its log when it does not start
 */
export async function startKafka(options: ServiceOptions): Promise<Service & { readonly brokers: string }> {
  const { directory } = options
  const libs = await kafkaJars()
  const java = ['-cp', join(libs, '*'), '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn']
  const properties = join(directory, 'server.properties')
  mkdirSync(directory, { recursive: true })
  if (!existsSync(properties)) {
    const port = options.port ?? (await freePort())
    const draft = `${properties}.new`
    writeFileSync(draft, kafkaProperties(port, await freePort(), join(directory, 'data')))
    const clusterId = `t${randomBytes(16).toString('base64url').slice(1)}`
    const format = ['kafka.tools.StorageTool', 'format', '-t', clusterId, '-c', draft, '--standalone']
    await run('java', [...java, '-Xmx128m', '-XX:TieredStopAtLevel=1', ...format], 'openjdk-17-jre-headless')
    renameSync(draft, properties)
  }
  const port = Number(/^listeners=PLAINTEXT:\/\/127\.0\.0\.1:(\d+)/m.exec(readFileSync(properties, 'utf8'))![1])
  const logPath = join(directory, 'kafka.log')
  const flags = ['-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1']
  const started = await supervise(['java', ...java, ...flags, 'kafka.Kafka', properties], logPath, options)
  await untilReady('Kafka', logPath, started, () => answers(port, '', ''))
  return { brokers: `127.0.0.1:${port}`, pid: started.pid, stop: () => stopProcess(started.pid, started.ended) }
}

/**
 * One Redis server as BullMQ needs it: append-only file, no eviction.
 * @throws Error in one sentence when redis-server is missing, with the end of its log when it does not start
 */
export async function startRedis(options: ServiceOptions): Promise<Service & { readonly url: string }> {
  const { directory } = options
  await redisVersion()
  mkdirSync(directory, { recursive: true })
  const portPath = join(directory, 'port')
  const port = options.port ?? (existsSync(portPath) ? Number(readFileSync(portPath, 'utf8')) : await freePort())
  writeFileSync(portPath, String(port))
  const logPath = join(directory, 'redis.log')
  const settings = {
    port,
    bind: '127.0.0.1',
    dir: directory,
    appendonly: 'yes',
    appendfsync: 'everysec',
    save: '',
    'maxmemory-policy': 'noeviction',
    logfile: logPath,
  }
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)])
  const started = await supervise(['redis-server', ...args], logPath, options)
  await untilReady('Redis', logPath, started, () => answers(port, 'PING\r\n', '+PONG'))
  return { url: `redis://127.0.0.1:${port}`, pid: started.pid, stop: () => stopProcess(started.pid, started.ended) }
}
