import { expect, it } from 'vitest'
import { systemClock } from './clock.ts'

it('sleeps at least about as long as asked, and not at all once aborted', async () => {
  const before = systemClock.monotonic()
  await systemClock.sleep(20)
  expect(systemClock.monotonic() - before).toBeGreaterThanOrEqual(18)
  const stop = new AbortController()
  const long = systemClock.sleep(3_000_000_000, stop.signal)
  stop.abort()
  await long
  await systemClock.sleep(60_000, stop.signal)
})
