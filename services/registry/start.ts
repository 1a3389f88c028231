/** Starts the registry: state from the log, then the HTTP server with every limit set. Composition passes log and clock in. */
import Fastify from 'fastify'
import { OperatingError } from '#io/errors.ts'
import type { Clock, EventLog, Leader, Leadership } from '#io/ports.ts'
import type { RegistryKey } from '#io/registry-keys.ts'
import { resolveNames, searchContexts } from './addresses.ts'
import { registryAuth } from './auth.ts'
import { forwardWrites } from './forward.ts'
import { type MachineSeries, registryRoutes, SERVER_OPTIONS } from './routes.ts'
import { openRegistryState } from './state.ts'
import type { PassedOver, RegistryLogger } from './store.ts'

/** A running registry. */
export interface RunningRegistry {
  /** Base URL without a trailing slash. */
  readonly url: string
  /** Who writes; null while that is not known. Without an election it is this one. */
  leader(): Leader | null
  /** The leader once it is known; null when it is not after `waitMs`. Until then writes wait. */
  elected(waitMs: number): Promise<Leader | null>
  /** Records of the topic that count for nothing. */
  readonly passedOver: Readonly<PassedOver>
  /** Ends open requests, then lets go of the log's reader. The log itself stays the caller's. */
  close(): Promise<void>
}

const ELECTION_LOOK_MS = 250
const SILENT: RegistryLogger = { warn() {}, error() {} }

/**
 * Reads `_schemas` and listens. `port` 0 takes any free one.
 * @throws OperatingError PORT_TAKEN; LOG_UNREACHABLE, DATA_LOSS_SUSPECTED, CONFIG_INVALID of the state
 */
export async function startRegistry(deps: {
  log: EventLog
  clock: Clock
  port: number
  host: string
  logger?: RegistryLogger
  /** Who may use it; null or left out = whoever reaches it. */
  keys?: readonly RegistryKey[] | null
  /** What `/metrics` shows; null or left out = there is no such path. */
  series?: MachineSeries | null
  /** Makes this instance, at a URL, one of several that choose who writes; left out = it is the only one. */
  elect?: (url: string) => Leadership
  /** How long a write waits for a writer; left out = as forwarding does. */
  patienceMs?: number
  /** URL at which the others reach it; null or left out = the one it listens on. */
  advertisedUrl?: string | null
}): Promise<RunningRegistry> {
  const { log, clock, port, host, logger = SILENT, keys = null, series = null } = deps
  const { elect, patienceMs, advertisedUrl = null } = deps
  const stopping = new AbortController()
  let leadership: Leadership | null = null
  const state = await openRegistryState({ log, clock, logger })
  const app = Fastify({
    ...SERVER_OPTIONS,
    requestTimeout: 15_000,
    // Silence on a connection. A write may wait so long for the writer, or one of very many for its turn, and is then still answered.
    connectionTimeout: 120_000,
    keepAliveTimeout: 30_000,
    forceCloseConnections: 'idle',
  })
  resolveNames(app, state.table)
  if (keys !== null) registryAuth(app, { keys, clock, logger, holders: (id, hint) => state.holders(id, hint) })
  searchContexts(app, state.table)
  if (elect !== undefined)
    forwardWrites(app, {
      leadership: () => leadership,
      clock,
      logger,
      stopping: stopping.signal,
      refresh: () => state.refresh(),
      ...(patienceMs === undefined ? {} : { patienceMs }),
    })
  await app.register(registryRoutes, { state, logger, series })
  const close = async (): Promise<void> => {
    stopping.abort()
    await leadership?.close()
    await app.close()
    await state.close()
  }
  try {
    const url = await app.listen({ port, host })
    leadership = elect?.(advertisedUrl ?? url) ?? null
    const leader = (): Leader | null => (leadership === null ? { url, self: true } : leadership.leader())
    const elected = async (waitMs: number): Promise<Leader | null> => {
      const deadline = clock.monotonic() + waitMs
      for (;;) {
        const [known, leftMs] = [leader(), deadline - clock.monotonic()]
        if (known !== null || leftMs <= 0) return known
        await leadership?.changed(Math.min(ELECTION_LOOK_MS, leftMs))
      }
    }
    return { url, leader, elected, passedOver: state.passedOver, close }
  } catch (error) {
    await close()
    if ((error as { code?: unknown }).code !== 'EADDRINUSE') throw error
    throw new OperatingError('PORT_TAKEN', `${host}:${port} is taken`, { host, port }, { cause: error })
  }
}
