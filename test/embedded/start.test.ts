/**
 * Goal: a process that cannot start says in one sentence what is wrong and what to do, and ends with 1; one that can says where it is,
 * and ends with 0 when it is told to.
 * Method: `node platform/start.ts` as a child, with one thing wrong at a time.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { until } from '#testkit/embedded.ts'
import { writeFiles } from '#testkit/files.ts'

let directory: string
const children = new Set<ChildProcess>()
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tidemark-start-'))
})
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL')
  await rm(directory, { recursive: true, force: true })
})

interface Started {
  readonly child: ChildProcess
  /** Code and both streams, once it has ended. */
  readonly ended: Promise<{ code: number | null; stdout: string; stderr: string }>
  stdout(): string
}

/** `command`: of node platform/start.ts itself when left out. */
function start(
  env: Readonly<Record<string, string>>,
  command: readonly [string, ...string[]] = [process.execPath, 'platform/start.ts'],
): Started {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !name.startsWith('TIDEMARK_') && name !== 'NODE_OPTIONS',
  )
  const child = spawn(command[0], command.slice(1), {
    env: {
      ...Object.fromEntries(inherited),
      TIDEMARK_DEFINITIONS: 'test/fixtures/readings',
      TIDEMARK_DATA_DIR: join(directory, 'data'),
      TIDEMARK_PORT: '0',
      TIDEMARK_REGISTRY_PORT: '0',
      TIDEMARK_FEED: 'none',
      TIDEMARK_NIGHTLY: 'off',
      TIDEMARK_LOG_LEVEL: 'fatal',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  children.add(child)
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const ended = once(child, 'close').then(([code]) => {
    children.delete(child)
    return { code: code as number | null, stdout, stderr }
  })
  return { child, ended, stdout: () => stdout }
}

/** A failed start: exit 1, nothing on stdout, `tidemark: CODE: sentence` and an indented remedy; no stack trace. */
async function refused(env: Readonly<Record<string, string>>, code: string): Promise<string> {
  const result = await start(env).ended
  expect(result.code, result.stderr).toBe(1)
  expect(result.stdout).toBe('')
  expect(result.stderr).toMatch(new RegExp(`^tidemark: ${code}: \\S.+\\n(  .*\\n)*  \\S.{10,}\\n$`))
  expect(result.stderr).not.toMatch(/^\s+at .*:\d+:\d+/m)
  return result.stderr
}

const own = (name: string) => ({ TIDEMARK_DATA_DIR: join(directory, name) })

describe('a start that cannot be', () => {
  it('[M5] wrong definitions: every problem at once, with file, line and advice', async () => {
    const definitions = join(directory, 'definitions')
    await writeFiles(definitions, {
      'order.avsc':
        '{ "type": "record", "name": "Order", "fields": [{ "name": "id", "type": "long" }, { "name": "at", "type": "long" }] }',
      'streams/orders.yaml': 'stream: orders\nschema: ../order.avsc\nkey: idd\nevent_time: at\ndisorder: soon\n',
      'metrics/a.yaml': 'metric: a\nstream: order\nwindow: { tumbling: 1h }\nmeasures: { n: count(*) }\n',
      'metrics/b.yaml':
        'metric: b\nstream: orders\nwindow: { tumbling: 1h }\nmeasures:\n  n: count(*)\n  m: median(id)\n',
    })
    const said = await refused({ ...own('d'), TIDEMARK_DEFINITIONS: definitions }, 'DEFINITIONS_INVALID')
    for (const place of ['streams/orders.yaml:3:', 'streams/orders.yaml:5:', 'metrics/a.yaml:2:', 'metrics/b.yaml:6:'])
      expect(said).toContain(place)
    expect(said).toContain('median')
    expect(said).toMatch(/idd.*\n?.*id/)
  })

  it('[M5] a definitions directory that is not there', async () => {
    expect(
      await refused({ ...own('e'), TIDEMARK_DEFINITIONS: join(directory, 'none') }, 'DEFINITIONS_INVALID'),
    ).toContain('TIDEMARK_DEFINITIONS')
  })

  it('[O2] wrong settings: all of them', async () => {
    const said = await refused(
      { TIDEMARK_PORT: 'high', TIDEMARK_FEED: 'lots', TIDEMARK_PROT: '1', TIDEMARK_HOST: '0.0.0.0' },
      'CONFIG_INVALID',
    )
    for (const name of ['TIDEMARK_PORT', 'TIDEMARK_FEED', 'TIDEMARK_PROT', 'TIDEMARK_HOST'])
      expect(said).toContain(name)
  })

  it('[M1] the demo feed on definitions without its stream: before anything is opened', async () => {
    expect(await refused({ ...own('k'), TIDEMARK_FEED: 'demo' }, 'CONFIG_INVALID')).toContain('TIDEMARK_FEED=none')
    expect(existsSync(join(directory, 'k'))).toBe(false)
  })

  it('[O2] a taken port', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    const said = await refused({ ...own('f'), TIDEMARK_PORT: String(port) }, 'PORT_TAKEN')
    expect(said).toContain(String(port))
    expect(said).toContain('TIDEMARK_PORT')
    expect(await refused({ ...own('f'), TIDEMARK_REGISTRY_PORT: String(port) }, 'PORT_TAKEN')).toContain(
      'TIDEMARK_REGISTRY_PORT',
    )
    other.close()
  })

  it('[O2] a data directory or a lake that cannot be written', async () => {
    const file = join(directory, 'a-file')
    await writeFile(file, 'not a folder')
    expect(await refused({ TIDEMARK_DATA_DIR: join(file, 'data') }, 'DATA_DIR_UNWRITABLE')).toContain(
      'TIDEMARK_DATA_DIR',
    )
    expect(await refused({ ...own('g'), TIDEMARK_LAKE: join(file, 'lake') }, 'LAKE_UNWRITABLE')).toContain(
      'TIDEMARK_LAKE',
    )
  })

  it('[O2][R6] a broker or a registry that does not answer', async () => {
    expect(await refused({ ...own('h'), TIDEMARK_KAFKA_BROKERS: '127.0.0.1:1' }, 'LOG_UNREACHABLE')).toContain('broker')
    expect(
      await refused({ ...own('i'), TIDEMARK_REGISTRY_URL: 'http://127.0.0.1:1' }, 'REGISTRY_UNREACHABLE'),
    ).toContain('TIDEMARK_REGISTRY_URL')
  })
})

describe('a start', () => {
  it('[M1][O2] says where it is, keeps a second one out, and ends with 0 on SIGTERM', async () => {
    const first = start(own('j'))
    await until('it is ready', async () => first.stdout().includes('ready '))
    const [, url, registry] = /^ready (http:\S+) registry (http:\S+)$/m.exec(first.stdout())!
    expect((await fetch(`${url}/healthz`)).status).toBe(200)
    await until('readyz is 200', async () => (await fetch(`${url}/readyz`)).status === 200)
    expect(await (await fetch(`${registry}/subjects`)).json()).toContain('events.readings-value')
    const said = await refused(own('j'), 'LOG_LOCKED')
    expect(said).toContain('TIDEMARK_DATA_DIR')
    first.child.kill('SIGTERM')
    const { code, stderr } = await first.ended
    expect([code, stderr]).toEqual([0, ''])
    const again = start(own('j'))
    await until('it is ready again', async () => again.stdout().includes('ready '))
    // Ctrl-C on npm start: the terminal tells every process, and npm passes it on.
    again.child.kill('SIGINT')
    again.child.kill('SIGINT')
    expect((await again.ended).code).toBe(0)
  })

  it('[O2] npm start: SIGTERM to npm reaches the platform, and npm ends with its 0', async () => {
    const npm = start(own('k'), ['npm', 'start'])
    await until('it is ready', async () => npm.stdout().includes('ready '))
    const [, url] = /^ready (http:\S+) /m.exec(npm.stdout())!
    npm.child.kill('SIGTERM')
    const { code, stderr } = await npm.ended
    expect(code, stderr).toBe(0)
    await expect(fetch(`${url}/healthz`)).rejects.toThrow()
  })
})
