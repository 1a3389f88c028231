/**
 * Conformance suite of the JobQueue port: what services rely on, run on every backend (PGlite as a unit test, Redis as an
 * integration test). Each test has a queue of its own in one shared store and opens it as often as its story needs.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '#io/clock.ts'
import { OperatingError } from '#io/errors.ts'
import type { JobsOptions } from '#io/jobs-queue.ts'
import type { JobHandler, JobQueue, JobState } from '#io/ports.ts'

/** A place that keeps jobs between openings. */
export interface JobsStore {
  open(options: JobsOptions): Promise<JobQueue>
  destroy(): Promise<void>
}

const FAST = { clock: systemClock, controlPollMs: 50, backoffMs: 20, closeMs: 300 } as const

/** Resolves when the job is in the state; fails with the state it was last in. */
export async function untilState(queue: JobQueue, id: string, state: JobState, withinMs = 120_000) {
  const endMs = systemClock.monotonic() + withinMs
  for (;;) {
    const view = await queue.get(id)
    if (view?.state === state) return view
    if (systemClock.monotonic() > endMs)
      throw new Error(`job ${id} is ${view?.state}, not ${state}: ${JSON.stringify(view)}`)
    await systemClock.sleep(20)
  }
}

/** A latch that a handler and its test share. */
function latch(): { promise: Promise<void>; open: () => void } {
  let open: () => void = () => undefined
  const promise = new Promise<void>((resolve) => (open = resolve))
  return { promise, open }
}

/** Registers the suite under `name`. */
export function jobsConformance(name: string, makeStore: () => Promise<JobsStore>): void {
  describe(`JobQueue on ${name}`, () => {
    let store: JobsStore
    let queues = 0
    beforeAll(async () => {
      store = await makeStore()
    })
    afterAll(() => store?.destroy())

    /** Opens one queue for a story and closes it whatever happens. */
    async function withQueue(
      story: (queue: JobQueue, reopen: () => Promise<JobQueue>) => Promise<void>,
      options: Partial<JobsOptions> = {},
    ) {
      const all = { ...FAST, queue: `q${++queues}`, ...options }
      let queue = await store.open(all)
      try {
        await story(queue, async () => {
          await queue.close()
          queue = await store.open(all)
          return queue
        })
      } finally {
        await queue.close()
      }
    }

    test('[B4] a job runs, reports progress with an estimate, logs, and keeps its result', () =>
      withQueue(async (queue) => {
        const half = latch()
        const go = latch()
        const handler: JobHandler = async (data, context) => {
          await systemClock.sleep(30)
          await context.progress(0.5, 'half')
          half.open()
          await go.promise
          await context.log('almost')
          return { doubled: (data['n'] as number) * 2 }
        }
        const added = await queue.add('drift', { n: 21 })
        expect(added).toMatchObject({
          type: 'drift',
          state: 'waiting',
          data: { n: 21 },
          progress: 0,
          eta_ms: null,
          result: null,
          error: null,
          finished_at: null,
        })
        await queue.work({ drift: handler }, { concurrency: 1 })
        await half.promise
        const during = await untilState(queue, added.id, 'active')
        expect(during.progress).toBe(0.5)
        expect(during.eta_ms).toBeGreaterThanOrEqual(0)
        go.open()
        const done = await untilState(queue, added.id, 'completed')
        expect(done).toMatchObject({ progress: 1, eta_ms: null, result: { doubled: 42 } })
        expect(done.finished_at).not.toBeNull()
        expect((await queue.logs(added.id)).map((line) => line.replace(/^\S+ /, ''))).toEqual(['half', 'almost'])
      }))

    test('[B4] the same key gives the same job, which runs once', () =>
      withQueue(async (queue) => {
        let runs = 0
        const first = await queue.add('build-view', { metric: 'a' }, { key: 'night:1' })
        const again = await queue.add('build-view', { metric: 'b' }, { key: 'night:1' })
        const other = await queue.add('build-view', { metric: 'c' }, { key: 'night:2' })
        expect(again.id).toBe(first.id)
        expect(again.data).toEqual({ metric: 'a' })
        expect(other.id).not.toBe(first.id)
        await queue.work({ 'build-view': async () => ++runs }, { concurrency: 2 })
        await untilState(queue, first.id, 'completed')
        await untilState(queue, other.id, 'completed')
        const late = await queue.add('build-view', { metric: 'a' }, { key: 'night:1' })
        expect(late).toMatchObject({ id: first.id, state: 'completed' })
        expect(runs).toBe(2)
      }))

    test('[B4] an error that says never fails the job at once; retry runs it again', () =>
      withQueue(async (queue) => {
        let runs = 0
        await queue.work(
          {
            drift: async () => {
              if (++runs === 1) throw new OperatingError('SEALED_MISSING', 'hole at 5')
              return 'fine'
            },
          },
          { concurrency: 1 },
        )
        const { id } = await queue.add('drift', {})
        const view = await untilState(queue, id, 'failed')
        expect(view.error).toEqual({
          code: 'SEALED_MISSING',
          message: 'hole at 5',
          hint: 'A sealed partial is missing; run a replay of the range.',
        })
        expect(runs).toBe(1)
        await queue.retry(id)
        expect(await untilState(queue, id, 'completed')).toMatchObject({ result: 'fine', error: null })
        await expect(queue.retry(id)).rejects.toMatchObject({ code: 'JOB_STATE' })
      }))

    test('[B4] an error that says later is tried again with back-off, and fails in the end', () =>
      withQueue(
        async (queue) => {
          let runs = 0
          await queue.work(
            {
              drift: async (data) => {
                if (++runs < 3 || data['always'] === true) throw new OperatingError('ARCHIVE_BEHIND', 'not yet')
                return runs
              },
            },
            { concurrency: 1 },
          )
          const { id } = await queue.add('drift', {})
          expect((await untilState(queue, id, 'completed')).result).toBe(3)
          runs = 0
          const hopeless = await queue.add('drift', { always: true })
          expect((await untilState(queue, hopeless.id, 'failed')).error).toMatchObject({ code: 'ARCHIVE_BEHIND' })
          expect(runs).toBe(4)
        },
        { attemptsMax: 4 },
      ))

    test('[B4] pause takes effect at the next progress call; resume goes on from there', () =>
      withQueue(async (queue) => {
        const started = latch()
        const go = latch()
        const steps: number[] = []
        await queue.work(
          {
            drift: async (_data, context) => {
              steps.push(1)
              started.open()
              await go.promise
              await context.progress(0.5)
              steps.push(2)
            },
          },
          { concurrency: 1 },
        )
        const { id } = await queue.add('drift', {})
        await started.promise
        expect((await queue.pause(id)).state).toBe('paused')
        go.open()
        await systemClock.sleep(150)
        expect(steps).toEqual([1])
        expect((await queue.get(id))!.state).toBe('paused')
        await queue.resume(id)
        await untilState(queue, id, 'completed')
        expect(steps).toEqual([1, 2])
        await expect(queue.resume(id)).rejects.toMatchObject({ code: 'JOB_STATE' })
      }))

    test('[B4] a waiting job that is paused is held, others pass it', () =>
      withQueue(async (queue) => {
        const order: unknown[] = []
        const held = await queue.add('drift', { n: 1 })
        await queue.pause(held.id)
        const next = await queue.add('drift', { n: 2 })
        await queue.work({ drift: async (data) => void order.push(data['n']) }, { concurrency: 1 })
        await untilState(queue, next.id, 'completed')
        expect((await queue.get(held.id))!.state).toBe('paused')
        expect((await queue.resume(held.id)).state).not.toBe('paused')
        await untilState(queue, held.id, 'completed')
        expect(order).toEqual([2, 1])
      }))

    test('[B4] cancel stops an active job through its signal, and a waiting one before it runs', () =>
      withQueue(async (queue) => {
        const started = latch()
        let ran = 0
        await queue.work(
          {
            drift: async (_data, { signal }) => {
              ran++
              started.open()
              await systemClock.sleep(60_000, signal)
              signal.throwIfAborted()
            },
          },
          { concurrency: 1 },
        )
        const active = await queue.add('drift', {})
        const waiting = await queue.add('drift', {})
        await started.promise
        expect((await queue.cancel(waiting.id)).state).toBe('cancelled')
        await queue.cancel(active.id)
        expect(await untilState(queue, active.id, 'cancelled')).toMatchObject({ error: null, result: null })
        await systemClock.sleep(200)
        expect((await queue.get(waiting.id))!.state).toBe('cancelled')
        expect(ran).toBe(1)
        await expect(queue.pause(active.id)).rejects.toMatchObject({ code: 'JOB_STATE' })
        await expect(queue.cancel('nobody')).rejects.toMatchObject({ code: 'JOB_UNKNOWN' })
        await expect(queue.logs('nobody')).rejects.toMatchObject({ code: 'JOB_UNKNOWN' })
        expect(await queue.get('nobody')).toBeNull()
      }))

    test('[B4] closing hands an active job back; the next worker runs it', () =>
      withQueue(async (queue, reopen) => {
        const started = latch()
        await queue.work(
          {
            drift: async (_data, { signal }) => {
              started.open()
              await systemClock.sleep(60_000, signal)
              signal.throwIfAborted()
            },
          },
          { concurrency: 1 },
        )
        const { id } = await queue.add('drift', { n: 7 })
        await started.promise
        const again = await reopen()
        await again.work({ drift: async (data) => data['n'] }, { concurrency: 1 })
        expect((await untilState(again, id, 'completed')).result).toBe(7)
      }))

    test("[B4] a dead worker's job is taken up by another one", () =>
      withQueue(
        async (queue, reopen) => {
          const started = latch()
          const never = new Promise<void>(() => undefined)
          const hang: JobHandler = () => {
            started.open()
            return never
          }
          await queue.work({ drift: hang }, { concurrency: 1 })
          const { id } = await queue.add('drift', {})
          await started.promise
          // The handler does not stop, so its job stays locked as if the process had died.
          const again = await reopen()
          expect((await again.get(id))!.state).toBe('active')
          await again.work({ drift: async () => 'taken up' }, { concurrency: 1 })
          expect((await untilState(again, id, 'completed')).result).toBe('taken up')
        },
        { lockMs: 1_000 },
      ))

    test('[B1] a schedule runs in its zone; a run missed while the platform was down is caught up once', () =>
      withQueue(async (queue, reopen) => {
        const data = { metric: '*', days: 'touched' }
        let nightly = { pattern: '', zone: 'UTC', type: 'build-view' as const, data }
        // Fires soon and then not before tomorrow. Set too late on a slow machine, it is tomorrow's: then with more time.
        let dueMs = 0
        for (let leadMs = 2_000; systemClock.now() >= dueMs; leadMs *= 2) {
          const due = new Date(systemClock.now() + leadMs)
          dueMs = due.setUTCMilliseconds(0)
          nightly = { ...nightly, pattern: `${due.getUTCSeconds()} ${due.getUTCMinutes()} ${due.getUTCHours()} * * *` }
          await queue.schedule('nightly', null)
          await queue.schedule('nightly', nightly)
        }
        await queue.close()
        await systemClock.sleep(dueMs + 500 - systemClock.now())
        const again = await reopen()
        await again.schedule('nightly', nightly)
        const runs: unknown[] = []
        await again.work({ 'build-view': async (data) => void runs.push(data) }, { concurrency: 1 })
        await expect.poll(() => runs.length, { timeout: 120_000 }).toBe(1)
        await systemClock.sleep(300)
        expect(runs).toEqual([data])
        await again.schedule('nightly', null)
        await expect
          .poll(() => again.list({ type: 'build-view' }), { timeout: 120_000 })
          .toMatchObject([{ state: 'completed' }])
      }))

    test('[B4] the list is newest first, by type, and bounded', () =>
      withQueue(async (queue) => {
        for (let n = 0; n < 3; n++) {
          await queue.add(n === 1 ? 'verify' : 'drift', { n })
          await systemClock.sleep(3)
        }
        expect((await queue.list()).map((view) => view.data['n'])).toEqual([2, 1, 0])
        expect((await queue.list({ type: 'drift' })).map((view) => view.data['n'])).toEqual([2, 0])
        expect((await queue.list({ limit: 1 })).map((view) => view.data['n'])).toEqual([2])
      }))
  })
}
