/**
 * Goal: with TIDEMARK_REGISTRY_URL every service uses that registry, whatever ids it has given to others, with the platform's key; ours
 * is off and says so. Method: a registry with keys on a log of its own and the platform beside it; then processes, for what they print.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '#io/clock.ts'
import { createRegistryClient } from '#io/registry.ts'
import { withAuth } from '#io/registry-http.ts'
import { printHash, sha256Of } from '#io/registry-keys.ts'
import { SCHEMAS_TOPIC } from '#schemas/topics.ts'
import { startForTest, type TestPlatform, until } from '#testkit/embedded.ts'
import { createMemoryLog, type MemoryLog } from '#testkit/log-memory.ts'
import { freePort } from '../../infra/local/launcher.ts'
import { type RunningRegistry, startRegistry } from '../../services/registry/start.ts'
import { reading } from './readings.ts'

const SECRET = 'a-secret-that-nobody-may-see'
const AUTH = `platform:${SECRET}`
let log: MemoryLog
let external: RunningRegistry
let port: number
let directory: string
const logged: string[] = []

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tidemark-external-'))
  log = createMemoryLog({ clock: systemClock })
  const note = (context: object, message: string): unknown => logged.push(`${JSON.stringify(context)} ${message}`)
  external = await startRegistry({
    log,
    clock: systemClock,
    port: 0,
    host: '127.0.0.1',
    logger: { warn: note, error: note },
    keys: [{ name: 'platform', hash: sha256Of(SECRET), scopes: [{ subjects: '', allow: 'write' }] }],
  })
  const others = createRegistryClient({ url: withAuth(external.url, AUTH), timeoutMs: 60_000 })
  for (const name of ['Invoice', 'Order', 'Refund'])
    await others.register(`${name}-value`, JSON.stringify({ type: 'fixed', name, size: 4 }))
  // For the registry that must not be there.
  port = await freePort()
})
afterAll(async () => {
  await external.close()
  await rm(directory, { recursive: true, force: true })
})

const listens = (at: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(at, '127.0.0.1')
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })

const settings = () => ({
  TIDEMARK_REGISTRY_URL: external.url,
  TIDEMARK_REGISTRY_AUTH: AUTH,
  TIDEMARK_REGISTRY_PORT: String(port),
})

/** A process to its end, or until `enough` of its output came. */
async function run(args: string[], env: Readonly<Record<string, string>>, enough: RegExp) {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(TIDEMARK_|NODE_OPTIONS)/.test(name))
  const child = spawn(process.execPath, args, {
    env: {
      ...Object.fromEntries(inherited),
      TIDEMARK_PORT: '0',
      TIDEMARK_FEED: 'none',
      TIDEMARK_NIGHTLY: 'off',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const ended = once(child, 'close')
  await until(`${args.join(' ')} says enough: ${output}`, async () => enough.test(output) || child.exitCode !== null)
  child.kill('SIGTERM')
  const [code] = (await ended) as [number]
  return { code, output }
}

describe('another registry by configuration', () => {
  let platform: TestPlatform
  beforeAll(async () => {
    platform = await startForTest('test/fixtures/readings', settings())
  })
  afterAll(async () => platform?.stop())

  it('[R6] ours does not listen, and has no topic; health says which one is in use', async () => {
    expect(await listens(Number(new URL(platform.url).port))).toBe(true)
    expect(await listens(port)).toBe(false)
    expect(await platform.parts.log.describeTopic(SCHEMAS_TOPIC)).toBeNull()
    expect((await platform.get('/healthz')).json).toMatchObject({ registry: { url: external.url, external: true } })
  })

  it('[R6] schemas land there beside those of others, and events written with its ids are counted', async () => {
    const authorization = `Basic ${Buffer.from(AUTH).toString('base64')}`
    const get = async (path: string) => (await fetch(`${external.url}${path}`, { headers: { authorization } })).json()
    expect(await get('/subjects')).toEqual(
      expect.arrayContaining(['Invoice-value', 'events.readings-value', 'dead.readings-value']),
    )
    expect(((await get('/subjects/events.readings-value/versions/1')) as { id: number }).id).toBeGreaterThan(3)
    await platform.send('readings', [reading(0), reading(1), reading(2)])
    await platform.settle('readings')
    const { rows } = await platform.query('total', { grain: '1w', measures: 'readings' })
    expect(rows.map(({ values }) => values['readings'])).toEqual([3])
    await platform.build('*')
    expect(await platform.driftAfterBuild('total')).toMatchObject({ cells_different: 0 })
  })

  it('keeps its key to itself', async () => {
    for (const path of ['/healthz', '/readyz', '/openapi.json', '/metrics'])
      expect((await platform.get(path)).text).not.toContain(SECRET)
    expect(logged.join('\n')).not.toContain(SECRET)
  })
})

describe('our own registry with keys', () => {
  it('[R1] is closed to others, and the platform works with its key', async () => {
    const keys = [{ name: 'platform', hash: printHash(sha256Of(SECRET)), scopes: [{ subjects: '', allow: 'write' }] }]
    const platform = await startForTest('test/fixtures/readings', {
      TIDEMARK_REGISTRY_KEYS: JSON.stringify(keys),
      TIDEMARK_REGISTRY_AUTH: AUTH,
    })
    try {
      const { registryUrl } = platform.parts
      expect((await platform.get('/healthz')).json).toMatchObject({ registry: { url: registryUrl, external: false } })
      // Series of the whole platform name its streams.
      for (const path of ['/subjects', '/metrics']) expect((await fetch(registryUrl + path)).status).toBe(401)
      await platform.send('readings', [reading(0)])
      await platform.settle('readings')
      const { rows } = await platform.query('total', { grain: '1w', measures: 'readings' })
      expect(rows.map(({ values }) => values['readings'])).toEqual([1])
    } finally {
      await platform.stop()
    }
  })
})

describe('processes', () => {
  const own = (name: string) => ({
    TIDEMARK_DEFINITIONS: 'test/fixtures/readings',
    TIDEMARK_DATA_DIR: join(directory, name),
    ...settings(),
  })

  it('[R6] npm start says that ours is off, and shows no password', async () => {
    const url = withAuth(external.url, AUTH)
    const { code, output } = await run(
      ['platform/start.ts'],
      { ...own('start'), TIDEMARK_REGISTRY_URL: url },
      /^ready /m,
    )
    expect(code).toBe(0)
    expect(output).toContain(`registry      ${external.url}   (TIDEMARK_REGISTRY_URL; ours is off)`)
    expect(output).toContain(`registry ${external.url}\n`)
    expect(output).not.toContain(SECRET)
  })

  it('[R6] a registry of its own does not start beside it', async () => {
    const env = { ...own('service'), TIDEMARK_KAFKA_BROKERS: '127.0.0.1:1' }
    const { code, output } = await run(['platform/service.ts', 'registry'], env, /never/)
    expect(code).toBe(1)
    expect(output).toMatch(/^registry: CONFIG_INVALID: TIDEMARK_REGISTRY_URL names another registry.*\n.*Unset it/m)
  })

  it('a registry with keys and services without one is a mistake, said at the start; a wrong key is, too', async () => {
    const keys = JSON.stringify([
      { name: 'a', hash: `sha256:${'0'.repeat(64)}`, scopes: [{ subjects: '', allow: 'admin' }] },
    ])
    const without = await run(
      ['platform/start.ts'],
      { ...own('keys'), TIDEMARK_REGISTRY_URL: '', TIDEMARK_REGISTRY_AUTH: '', TIDEMARK_REGISTRY_KEYS: keys },
      /never/,
    )
    expect([without.code, without.output]).toEqual([1, expect.stringContaining('TIDEMARK_REGISTRY_AUTH')])
    const wrong = await run(
      ['platform/start.ts'],
      { ...own('wrong'), TIDEMARK_REGISTRY_AUTH: 'platform:not-the-secret' },
      /never/,
    )
    expect([wrong.code, wrong.output]).toEqual([
      1,
      expect.stringMatching(/REGISTRY_DENIED: .*answered 401 Unauthorized\n.*TIDEMARK_REGISTRY_AUTH/),
    ])
  })
})
