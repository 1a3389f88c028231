/**
 * Virtual time for tests and simulation: nothing moves until the test advances it, sleepers wake in order of their
 * instant and, at one instant, in the order they went to sleep. Wall time may be set back or forward on its own, as a
 * badly kept machine does; monotonic time and sleepers never notice.
 */
import type { InstantMs } from '#core/time.ts'
import type { Clock } from '#io/ports.ts'

/** A clock that stands still until it is told to go on. */
export interface VirtualClock extends Clock {
  /** Moves time forward by `ms`, waking sleepers one after the other; each one's continuations run before the next wakes. */
  advance(ms: number): Promise<void>
  /** Moves time to the next sleeper and wakes it; false when nobody sleeps. */
  step(): Promise<boolean>
  /** Shifts the wall clock alone by `ms` (negative: back). */
  jumpWall(ms: number): void
  /** How many sleepers wait. */
  sleepers(): number
}

interface Sleeper {
  readonly at: number
  readonly wake: () => void
}

/** One turn of the event loop: every promise continuation that can run has run. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A virtual clock that starts at `startMs` (wall, UTC ms; default 2026-01-01) with monotonic time 0. */
export function createVirtualClock(startMs: InstantMs = 1_767_225_600_000): VirtualClock {
  let elapsed = 0
  let shift = 0
  /** Sorted by instant; equal instants in order of arrival. */
  const waiting: Sleeper[] = []

  async function wakeNext(): Promise<void> {
    const next = waiting.shift()!
    elapsed = Math.max(elapsed, next.at)
    next.wake()
    await settle()
  }

  return {
    now: () => startMs + shift + Math.floor(elapsed),
    monotonic: () => elapsed,
    sleep(ms, signal) {
      if (signal?.aborted === true) return Promise.resolve()
      return new Promise((resolve) => {
        const onAbort = (): void => {
          const index = waiting.indexOf(sleeper)
          if (index >= 0) waiting.splice(index, 1)
          resolve()
        }
        const sleeper: Sleeper = {
          at: elapsed + Math.max(0, ms),
          wake: () => {
            signal?.removeEventListener('abort', onAbort)
            resolve()
          },
        }
        let place = waiting.length
        while (place > 0 && waiting[place - 1]!.at > sleeper.at) place--
        waiting.splice(place, 0, sleeper)
        signal?.addEventListener('abort', onAbort, { once: true })
      })
    },
    async advance(ms) {
      const until = elapsed + ms
      await settle()
      while (waiting.length > 0 && waiting[0]!.at <= until) await wakeNext()
      elapsed = until
    },
    async step() {
      await settle()
      if (waiting.length === 0) return false
      await wakeNext()
      return true
    },
    jumpWall(ms) {
      shift += ms
    },
    sleepers: () => waiting.length,
  }
}
