/** What the speed service says of itself. */

import { pino } from 'pino'
import { expect, test } from 'vitest'
import { systemClock } from '#io/clock.ts'
import { startSpeed } from './start.ts'

test('[O2] definitions without a metric leave the service nothing to do, and it is ready', async () => {
  const speed = startSpeed({
    definitions: { directory: '/nowhere', streams: [], metrics: [] },
    log: { kind: 'sqlite', directory: '/nowhere', durability: 'os' },
    registryUrl: 'http://127.0.0.1:0',
    stateDirectory: '/nowhere',
    flushMs: 50,
    workers: 2,
    share: { index: 0, count: 1 },
    clock: systemClock,
    logger: pino({ level: 'silent' }),
  })
  expect(speed.readiness()).toEqual({ ready: true, reason: null })
  await speed.close()
})
