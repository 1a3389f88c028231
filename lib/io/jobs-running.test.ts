/** What is asked of a running job from this process outlives a look at the store that began before it. */

import type { Job } from 'bullmq'
import { expect, test } from 'vitest'
import { createVirtualClock } from '#testkit/clock-virtual.ts'
import { RunningJobs } from './jobs-running.ts'

test('[B4] a pause holds although a look that was on its way found none', async () => {
  const clock = createVirtualClock()
  let look = (): void => undefined
  let asked = 0
  const jobs = new RunningJobs({
    clock,
    controlPollMs: 10,
    controlOf: async () => {
      // The first is asked before the job runs; the second is the look that takes long; later ones see the pause.
      if (++asked === 2) await new Promise<void>((resolve) => (look = resolve))
      return asked > 2 ? 'pause' : 'run'
    },
    onError: (error) => expect(error).toBeUndefined(),
  })
  const steps: string[] = []
  const job = { id: 'a', data: { input: {}, control: 'run' }, updateProgress: async () => undefined }
  let go = (): void => undefined
  const going = new Promise<void>((resolve) => (go = resolve))
  const done = jobs.run(job as unknown as Job, '', undefined, async (_data, context) => {
    await going
    steps.push('asks')
    await context.progress(0.5)
    steps.push('goes on')
  })
  await clock.advance(10)
  expect(asked).toBe(2)
  jobs.steer('a', 'pause')
  look()
  await clock.advance(0)
  go()
  await clock.advance(0)
  expect(steps).toEqual(['asks'])
  jobs.steer('a', 'run')
  await clock.advance(0)
  expect(steps).toEqual(['asks', 'goes on'])
  await clock.advance(10)
  await done
})
