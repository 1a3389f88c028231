/** The demo feed of `npm start`: the flights time-lapse, with a build at each night of the lapse instead of each night of ours. */
import type { Logger } from 'pino'
import { systemClock } from '#io/clock.ts'
import { classify, OperatingError } from '#io/errors.ts'
import type { EventLog, JobQueue, Registry } from '#io/ports.ts'
import type { Definitions, StreamDefinition } from '#metrics/definition.ts'
import { feedFlights } from '../services/feed/flights.ts'

/** Wall time of history that is sent at once: half an hour, thirty days at one day per minute. */
const HISTORY_MS = 30 * 60_000
const DAY_MS = 86_400_000

/** What the lapse needs. */
export interface LapseDeps {
  readonly log: EventLog
  readonly registry: Registry
  readonly jobs: JobQueue
  readonly stream: StreamDefinition
  readonly daysPerMinute: number
  readonly logger: Logger
  /** Told once, when the history is on the log. */
  readonly onLive: (sent: number) => void
}

/** The stream that the lapse feeds. @throws OperatingError CONFIG_INVALID when the definitions have none */
export function demoStream({ streams }: Definitions): StreamDefinition {
  const stream = streams.find(({ name }) => name === 'flights')
  if (stream !== undefined) return stream
  const message = 'The demo feed needs a stream named flights, which the definitions do not have.'
  throw new OperatingError('CONFIG_INVALID', message, {}, { hint: 'Set TIDEMARK_FEED=none for your own definitions.' })
}

/** Starts feeding and building; `close` ends both. */
export function startLapse(deps: LapseDeps): { close(): Promise<void> } {
  const { log, registry, jobs, stream, logger } = deps
  const stop = new AbortController()
  const speed = deps.daysPerMinute * 1_440
  let live = false
  const feeding = feedFlights(
    { log, registry, stream, clock: systemClock, logger },
    {
      order: 'departure',
      pace: { lapse: { speed, historyMs: HISTORY_MS } },
      signal: stop.signal,
      onProgress: ({ sent, history }) => {
        if (history || live) return
        live = true
        deps.onLive(sent)
      },
    },
  ).catch((error: unknown) => {
    if (!stop.signal.aborted) logger.error({ code: classify(error).code, err: error }, 'the demo feed stopped')
  })
  const nightMs = DAY_MS / speed
  const building = (async () => {
    while (!stop.signal.aborted) {
      const now = systemClock.now()
      const night = Math.ceil((now + 1) / nightMs) * nightMs
      await systemClock.sleep(night - now, stop.signal)
      if (stop.signal.aborted || !live) continue
      await jobs.add('build-view', { metric: '*' }, { key: `lapse night ${night}` }).catch((error: unknown) => {
        logger.warn({ code: classify(error).code }, 'the build of a lapse night was not added')
      })
    }
  })()
  return {
    async close() {
      stop.abort()
      await Promise.all([feeding, building])
    },
  }
}
