/** The launcher's promises that need no Kafka: one clear sentence when a program is missing, and nothing left behind. */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { isAlive, kafkaMissing, redisMissing, startRedis } from './launcher.ts'

let directory: string
const path = process.env['PATH']
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tidemark-launcher-'))
})
afterEach(() => {
  process.env['PATH'] = path
  rmSync(directory, { recursive: true, force: true })
})

it('names the Debian package of what is missing', async () => {
  process.env['PATH'] = directory
  expect(await kafkaMissing()).toBe('java is missing: install it with `apt-get install openjdk-17-jre-headless`.')
  await expect(startRedis({ directory })).rejects.toThrow(
    'redis-server is missing: install it with `apt-get install redis-server`.',
  )
})

const missing = await redisMissing()

it.skipIf(missing !== null)('starts Redis again on the same address, and ends it with its owner', async () => {
  const owner = spawn('sleep', ['60'])
  const first = await startRedis({ directory })
  await first.stop()
  const second = await startRedis({ directory, ownerPid: owner.pid! })
  expect(second.url).toBe(first.url)
  owner.kill('SIGKILL')
  await expect.poll(() => isAlive(second.pid), { timeout: 60_000 }).toBe(false)
})
