/** Goal: time in tests passes only when told, in one order. Method: sleepers that write down when they wake. */
import { expect, it } from 'vitest'
import { createVirtualClock } from './clock-virtual.ts'

it('wakes sleepers in order of time, then of arrival, and lets each run before the next', async () => {
  const clock = createVirtualClock(1_000)
  const log: string[] = []
  const sleeper = async (name: string, ms: number): Promise<void> => {
    await clock.sleep(ms)
    log.push(`${name}@${clock.now()}`)
    if (name === 'a') await sleeper('again', 5)
  }
  void sleeper('c', 30)
  void sleeper('a', 10)
  void sleeper('b', 10)
  await clock.advance(9)
  expect(log).toEqual([])
  await clock.advance(11)
  expect(log).toEqual(['a@1010', 'b@1010', 'again@1015'])
  expect([clock.now(), clock.monotonic(), clock.sleepers()]).toEqual([1_020, 20, 1])
  expect(await clock.step()).toBe(true)
  expect(log.at(-1)).toBe('c@1030')
  expect(await clock.step()).toBe(false)
})

it('sets wall time back without moving monotonic time or sleepers', async () => {
  const clock = createVirtualClock(10_000)
  let awake = false
  void clock.sleep(50).then(() => (awake = true))
  clock.jumpWall(-3_600_000)
  await clock.advance(50)
  expect([awake, clock.now(), clock.monotonic()]).toEqual([true, 10_050 - 3_600_000, 50])
})

it('ends a sleep early, without error, when its signal aborts', async () => {
  const clock = createVirtualClock()
  const stop = new AbortController()
  const sleeping = clock.sleep(1_000, stop.signal)
  stop.abort()
  await sleeping
  await clock.sleep(1_000, stop.signal)
  expect(clock.sleepers()).toBe(0)
})
