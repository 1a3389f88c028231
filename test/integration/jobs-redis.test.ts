/**
 * Goal: the queue on a real Redis keeps the same promises as the embedded one, and two processes share it.
 * Method: the conformance suite of the port; a worker process that is killed with SIGKILL in the middle of a job; pause and
 * cancel asked from a queue that does not run the job. Skipped, and counted, where there is no redis-server.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '#io/clock.ts'
import { openRedisJobs } from '#io/jobs.ts'
import { jobsConformance, untilState } from '#testkit/jobs-conformance.ts'
import { redisMissing, startRedis } from '../../infra/local/launcher.ts'

const missing = await redisMissing()
if (missing !== null) process.stderr.write(`skipped, jobs on Redis: ${missing}\n`)

/** Starts a Redis of its own; `stop` removes its folder. */
async function redis(): Promise<{ url: string; stop(): Promise<void> }> {
  const directory = await mkdtemp(join(tmpdir(), 'tidemark-redis-'))
  const service = await startRedis({ directory })
  return {
    url: service.url,
    async stop() {
      await service.stop()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

describe.skipIf(missing !== null)('with redis-server', () => {
  jobsConformance('Redis', async () => {
    const server = await redis()
    return { open: (options) => openRedisJobs({ url: server.url, ...options }), destroy: () => server.stop() }
  })

  describe('two processes', () => {
    let server: Awaited<ReturnType<typeof redis>>
    beforeAll(async () => {
      server = await redis()
    })
    afterAll(() => server?.stop())
    const open = (queue: string) =>
      openRedisJobs({ url: server.url, queue, clock: systemClock, lockMs: 1_000, controlPollMs: 50 })

    test('[B4] the job of a worker that was killed is taken up by another process', async () => {
      const queue = await open('killed')
      const script = `
        import { openRedisJobs } from '#io/jobs.ts'
        import { systemClock } from '#io/clock.ts'
        const queue = await openRedisJobs({ url: '${server.url}', queue: 'killed', clock: systemClock, lockMs: 1000 })
        await queue.work({ drift: async () => { process.stdout.write('started'); await systemClock.sleep(600000) } }, { concurrency: 1 })`
      const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      const { id } = await queue.add('drift', {})
      await once(child.stdout, 'data')
      child.kill('SIGKILL')
      await once(child, 'exit')
      expect((await queue.get(id))!.state).toBe('active')
      await queue.work({ drift: async () => 'taken up' }, { concurrency: 1 })
      expect((await untilState(queue, id, 'completed')).result).toBe('taken up')
      await queue.close()
    })

    test('[B4] pause, resume and cancel reach a job that another process runs', async () => {
      const worker = await open('steered')
      const client = await open('steered')
      let steps = 0
      await worker.work(
        {
          drift: async (_data, context) => {
            for (;;) {
              await context.progress(0.5)
              steps++
              await systemClock.sleep(5)
            }
          },
        },
        { concurrency: 1 },
      )
      const { id } = await client.add('drift', {})
      await untilState(client, id, 'active')
      expect((await client.pause(id)).state).toBe('paused')
      // The worker looks now and then whether it was asked for something: soon it goes on no more.
      let held = -1
      while (held !== steps) {
        held = steps
        await systemClock.sleep(500)
      }
      await client.resume(id)
      await expect.poll(() => steps, { timeout: 120_000 }).toBeGreaterThan(held)
      await client.cancel(id)
      await untilState(client, id, 'cancelled')
      await worker.close()
      await client.close()
    })

    test('a Redis that stops answering makes requests fail by name, and work goes on when it is back', async () => {
      const directory = await mkdtemp(join(tmpdir(), 'tidemark-redis-'))
      const first = await startRedis({ directory })
      const queue = await openRedisJobs({ url: first.url, clock: systemClock, lockMs: 1_000 })
      await queue.work({ drift: async (data) => data['n'] }, { concurrency: 1 })
      const before = await queue.add('drift', { n: 1 })
      await untilState(queue, before.id, 'completed')
      await first.stop()
      await expect(queue.add('drift', { n: 2 })).rejects.toMatchObject({ code: 'QUEUE_UNREACHABLE' })
      const second = await startRedis({ directory })
      expect(second.url).toBe(first.url)
      const key = { key: 'once' }
      await expect.poll(() => queue.add('drift', { n: 3 }, key).catch(() => null), { timeout: 120_000 }).not.toBeNull()
      const added = await queue.add('drift', { n: 3 }, key)
      expect((await untilState(queue, added.id, 'completed')).result).toBe(3)
      expect((await queue.get(before.id))!.result).toBe(1)
      await queue.close()
      await second.stop()
      await rm(directory, { recursive: true, force: true })
    })
  })
})
