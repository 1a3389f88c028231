/**
 * The system clock: the only reader of wall time, monotonic time and timers that services are given.
 * Everything else takes a `Clock`, so a test can put a virtual one in its place (testkit/clock-virtual).
 */
import { setTimeout as sleepMs } from 'node:timers/promises'
import type { Clock } from '#io/ports.ts'

/** Longest delay a Node timer takes; a longer one would fire at once. */
const TIMER_MS_MAX = 2 ** 31 - 1

/** Real time. `sleep` resolves early, without an error, when its signal aborts. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  async sleep(ms, signal) {
    try {
      for (let left = Math.max(0, ms); left >= 0; left -= TIMER_MS_MAX) {
        await sleepMs(Math.min(left, TIMER_MS_MAX), undefined, signal === undefined ? {} : { signal })
      }
    } catch (error) {
      if (signal?.aborted !== true) throw error
    }
  },
}
