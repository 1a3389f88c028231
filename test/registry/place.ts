/** Where the suite finds a registry: REGISTRY_URL, else ours in this process on a SQLite log in a directory of its own. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '#io/clock.ts'
import { openSqliteLog } from '#io/log-sqlite.ts'
import type { EventLog } from '#io/ports.ts'
import type { RegistryPlace as ClientsPlace } from '#testkit/registry-clients.ts'
import { startRegistry } from '../../services/registry/start.ts'

/** A registry that runs. */
export interface RegistryPlace {
  readonly url: string
  close(): Promise<void>
}

/** URL of a registry that somebody else runs; null: ours is started. */
export const givenUrl: string | null = process.env['REGISTRY_URL']?.replace(/\/$/, '') ?? null

/** Ours on `openLog`, which is called again after a restart. `after` runs when all is closed. */
export async function ownRegistry(
  openLog: () => Promise<EventLog>,
  after: () => Promise<void> = async () => undefined,
): Promise<ClientsPlace> {
  const start = async () => {
    const log = await openLog()
    const registry = await startRegistry({ log, clock: systemClock, port: 0, host: '127.0.0.1' })
    const stop = async () => {
      await registry.close()
      await log.close()
    }
    return { url: registry.url, stop }
  }
  let running = await start()
  return {
    get url() {
      return running.url
    },
    async restart() {
      await running.stop()
      running = await start()
      return running.url
    },
    async close() {
      await running.stop()
      await after()
    },
  }
}

/** Ours on a SQLite log in a directory of its own. */
export async function openOwnPlace(): Promise<ClientsPlace> {
  const directory = await mkdtemp(join(tmpdir(), 'tidemark-registry-'))
  return ownRegistry(
    async () => openSqliteLog({ directory, clock: systemClock, durability: 'os', lock: true }),
    async () => rm(directory, { recursive: true, force: true }),
  )
}

/** The registry that the suite is about. */
export async function openPlace(): Promise<RegistryPlace> {
  return givenUrl === null ? openOwnPlace() : { url: givenUrl, close: async () => undefined }
}
