/** Starts the registry: state from the log, then the HTTP server with every limit set. Composition passes log and clock in. */
import Fastify from 'fastify'
import { LIMITS } from '#core/limits.ts'
import { OperatingError } from '#io/errors.ts'
import type { Clock, EventLog } from '#io/ports.ts'
import type { RegistryKey } from '#io/registry-keys.ts'
import { registryAuth } from './auth.ts'
import { registryRoutes, SUBJECT_LENGTH_MAX } from './routes.ts'
import { openRegistryState } from './state.ts'
import type { RegistryLogger } from './store.ts'

/** A running registry. */
export interface RunningRegistry {
  /** Base URL without a trailing slash. */
  readonly url: string
  /** Ends open requests, then lets go of the log's reader. The log itself stays the caller's. */
  close(): Promise<void>
}

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
}): Promise<RunningRegistry> {
  const { log, clock, port, host, logger = SILENT, keys = null } = deps
  const state = await openRegistryState({ log, clock, logger })
  const app = Fastify({
    // A schema as a JSON string in JSON: escaping may double it.
    bodyLimit: 2 * LIMITS.schemaBytes + 16 * 1024,
    requestTimeout: 15_000,
    connectionTimeout: 20_000,
    keepAliveTimeout: 30_000,
    maxRequestsPerSocket: 1_000,
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: SUBJECT_LENGTH_MAX, ignoreTrailingSlash: true },
  })
  if (keys !== null) registryAuth(app, { keys, clock, logger, holders: (id) => state.holders(id) })
  await app.register(registryRoutes, { state, logger })
  const close = async (): Promise<void> => {
    await app.close()
    await state.close()
  }
  try {
    const url = await app.listen({ port, host })
    return { url, close }
  } catch (error) {
    await close()
    if ((error as { code?: unknown }).code !== 'EADDRINUSE') throw error
    throw new OperatingError('PORT_TAKEN', `${host}:${port} is taken`, { host, port }, { cause: error })
  }
}
