import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { jobsConformance } from '#testkit/jobs-conformance.ts'
import { systemClock } from './clock.ts'
import { openEmbeddedJobs, openRedisJobs } from './jobs.ts'
import { queueFailed } from './jobs-model.ts'

const makeDirectory = () => mkdtemp(join(tmpdir(), 'tidemark-jobs-'))

jobsConformance('embedded PostgreSQL', async () => {
  const directory = await makeDirectory()
  return {
    open: (options) => openEmbeddedJobs({ directory, ...options }),
    destroy: () => rm(directory, { recursive: true, force: true }),
  }
})

test('a second opening of the same folder is refused, and possible again after close', async () => {
  const directory = await makeDirectory()
  const first = await openEmbeddedJobs({ directory, clock: systemClock })
  await expect(openEmbeddedJobs({ directory, clock: systemClock })).rejects.toMatchObject({ code: 'LOG_LOCKED' })
  await first.close()
  await (await openEmbeddedJobs({ directory, clock: systemClock })).close()
  await rm(directory, { recursive: true, force: true })
})

test('a full disk under the embedded queue is told as that', () => {
  const full = Object.assign(new Error('could not extend file: No space left on device'), { code: '53100' })
  expect(queueFailed(full)).toMatchObject({ code: 'LAKE_DISK_FULL', message: full.message, retry: 'later' })
  expect(queueFailed(new Error('gone'))).toMatchObject({ code: 'QUEUE_UNREACHABLE' })
})

test('a Redis that is not there is QUEUE_UNREACHABLE', async () => {
  await expect(openRedisJobs({ url: 'redis://127.0.0.1:1', clock: systemClock })).rejects.toMatchObject({
    code: 'QUEUE_UNREACHABLE',
  })
})
