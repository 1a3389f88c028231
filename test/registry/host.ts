/**
 * A registry in a process of its own, for tests and benches that look at its memory and CPU time: on a SQLite log in the directory
 * given as first argument. Says `{ url }` to its parent when it listens; answers the message `sample` with figures after a collection.
 * Start it with --expose-gc. It ends when the parent disconnects.
 */
import { systemClock } from '#io/clock.ts'
import { openSqliteLog } from '#io/log-sqlite.ts'
import { startRegistry } from '../../services/registry/start.ts'

const begun = systemClock.monotonic()
const log = await openSqliteLog({ directory: process.argv[2]!, clock: systemClock, durability: 'os', lock: true })
const registry = await startRegistry({ log, clock: systemClock, port: 0, host: '127.0.0.1' })
process.on('message', (message) => {
  if (message !== 'sample') return
  for (let i = 0; i < 3; i++) (globalThis as { gc?: () => void }).gc?.()
  const { heapUsed, rss } = process.memoryUsage()
  const { user, system } = process.cpuUsage()
  process.send!({ heapBytes: heapUsed, rssBytes: rss, cpuMs: (user + system) / 1_000 })
})
async function stop(): Promise<void> {
  await registry.close()
  await log.close()
  process.exit(0)
}
process.once('disconnect', () => void stop())
process.send!({ url: registry.url, startMs: systemClock.monotonic() - begun })
