/**
 * The job queue: BullMQ on embedded PostgreSQL (PGlite) or on Redis. This file opens the two; jobs-queue.ts is the queue.
 *
 * Both keep jobs over restarts and hand a dead worker's job to another one. Delivery is at least once, always: a handler is
 * a pure function of its data with an atomic publish.
 */
import { createPostgresBackend, createRedisBackend, withBackend } from 'bullmq'
import { Redis } from 'ioredis'
import { OperatingError } from './errors.ts'
import { JobsOnBullMq, type JobsOptions } from './jobs-queue.ts'
import { openPglitePool } from './pglite-pool.ts'
import type { JobQueue } from './ports.ts'

/** How long a Redis that does not answer is waited for, ms. */
const CONNECT_MS = 3_000

/**
 * Jobs in a folder of this process: an embedded PostgreSQL. First start takes about 2.5 s, later ones 0.5 s.
 * @throws OperatingError LOG_LOCKED when another process has the folder open, DATA_DIR_UNWRITABLE
 */
export async function openEmbeddedJobs(options: JobsOptions & { directory: string }): Promise<JobQueue> {
  const { pool, close } = await openPglitePool(options.directory)
  return new JobsOnBullMq(withBackend(createPostgresBackend), { producer: pool, worker: pool }, options, close)
}

/**
 * Jobs on Redis or Valkey (5.0 or later; `maxmemory-policy noeviction`), shared by any number of processes.
 * @throws OperatingError QUEUE_UNREACHABLE when it does not answer within 3 s
 */
export async function openRedisJobs(options: JobsOptions & { url: string }): Promise<JobQueue> {
  const common = { connectTimeout: CONNECT_MS, lazyConnect: true } as const
  // Whoever asks over HTTP must get an answer soon; a worker waits for Redis to come back.
  const producer = new Redis(options.url, { ...common, maxRetriesPerRequest: 1 })
  const worker = new Redis(options.url, { ...common, maxRetriesPerRequest: null })
  const quiet = () => undefined
  producer.on('error', quiet)
  worker.on('error', quiet)
  const disconnect = () => {
    producer.disconnect()
    worker.disconnect()
  }
  try {
    await producer.connect()
    await producer.ping()
    await worker.connect()
  } catch (error) {
    disconnect()
    const message = error instanceof Error ? error.message : String(error)
    throw new OperatingError(
      'QUEUE_UNREACHABLE',
      `no Redis answers: ${message}`,
      { operation: 'connect' },
      { cause: error },
    )
  }
  return new JobsOnBullMq(withBackend(createRedisBackend), { producer, worker }, options, async () => disconnect())
}
