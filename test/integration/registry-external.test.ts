/**
 * Goal: the distributed platform on another registry: all services use it with their key, none of ours runs, and events flow.
 * Method: `npm run start:distributed` beside a registry with keys on a log of its own.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '#io/clock.ts'
import { sha256Of } from '#io/registry-keys.ts'
import { until } from '#testkit/embedded.ts'
import { createMemoryLog } from '#testkit/log-memory.ts'
import { PlatformProcess } from '#testkit/platform-process.ts'
import { distributedMissing } from '#testkit/services.ts'
import { type RunningRegistry, startRegistry } from '../../services/registry/start.ts'
import { reading } from '../embedded/readings.ts'

const missing = await distributedMissing('the distributed platform on another registry')
const SECRET = 'a-secret-of-the-services'

describe.skipIf(missing !== null)('one process per service, on another registry', () => {
  let directory: string
  let external: RunningRegistry
  let platform: PlatformProcess
  let serve: string

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'tidemark-external-'))
    external = await startRegistry({
      log: createMemoryLog({ clock: systemClock }),
      clock: systemClock,
      port: 0,
      host: '127.0.0.1',
      keys: [{ name: 'platform', hash: sha256Of(SECRET), scopes: [{ subjects: '', allow: 'write' }] }],
    })
    platform = new PlatformProcess({
      args: ['platform/distributed.ts'],
      env: {
        TIDEMARK_DATA_DIR: directory,
        TIDEMARK_DEFINITIONS: 'test/fixtures/readings',
        TIDEMARK_REGISTRY_URL: external.url,
        TIDEMARK_REGISTRY_AUTH: `platform:${SECRET}`,
        TIDEMARK_FEED: 'none',
        TIDEMARK_NIGHTLY: 'off',
        TIDEMARK_PORT: '0',
        TIDEMARK_INGEST_PORT: '0',
        TIDEMARK_LOG_LEVEL: 'warn',
      },
    })
    serve = (await platform.untilReady())[0]!
  })
  afterAll(async () => {
    await platform?.stop()
    await external?.close()
    await rm(directory, { recursive: true, force: true })
  })

  it('[R6] no registry of ours is started, and the one in use is named without its key', () => {
    expect(platform.output).toMatch(/^ {2}registry +http:\S+ +given$/m)
    expect(platform.output).toContain(`registry ${external.url}`)
    expect(platform.output).not.toContain(SECRET)
  })

  it('[R6] schemas land there and events flow', async () => {
    const authorization = `Basic ${Buffer.from(`platform:${SECRET}`).toString('base64')}`
    const subjects = await (await fetch(`${external.url}/subjects`, { headers: { authorization } })).json()
    expect(subjects).toContain('events.readings-value')
    const sent = await fetch(`${serve}/v1/streams/readings/events`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify([reading(0), reading(1)]),
    })
    expect(sent.status).toBe(200)
    await until('both are counted', async () => {
      const answer = await fetch(`${serve}/v1/metrics/total/query?grain=1w&measures=readings`)
      const { rows } = (await answer.json()) as { rows?: { values: { readings: number } }[] }
      return rows?.[0]?.values.readings === 2
    })
  })
})
