/** Stock registry clients on the embedded log: a real SQLite file, so a restart reads what was written. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe } from 'vitest'
import { systemClock } from '#io/clock.ts'
import { openSqliteLog } from '#io/log-sqlite.ts'
import { stockClientTests } from '#testkit/registry-clients.ts'
import { startRegistry } from './start.ts'

describe('stock clients on the embedded log', () => {
  stockClientTests(async () => {
    const directory = await mkdtemp(path.join(tmpdir(), 'tidemark-registry-'))
    const start = async () => {
      const log = await openSqliteLog({ directory, clock: systemClock, durability: 'os', lock: true })
      const registry = await startRegistry({ log, clock: systemClock, port: 0, host: '127.0.0.1' })
      const stop = async () => {
        await registry.close()
        await log.close()
      }
      return { url: registry.url, stop }
    }
    let running = await start()
    return {
      url: running.url,
      async restart() {
        await running.stop()
        running = await start()
        return running.url
      },
      async close() {
        await running.stop()
        await rm(directory, { recursive: true })
      },
    }
  })
})
