/**
 * Starts the speed service: spreads the partitions over worker threads, restarts a worker that dies, and tells the truth
 * about all of it (readiness, status). A worker that stops with a `never` error keeps the service failed, by name.
 */
import { Worker } from 'node:worker_threads'
import type { Logger } from 'pino'
import type { PartReadiness } from '#io/http.ts'
import type { Clock } from '#io/ports.ts'
import { easeWorkerHeaps } from '#io/worker-heap.ts'
import type { Definitions } from '#metrics/definition.ts'
import type { PartitionStatus } from './status.ts'
import type { Assignment, SpeedMessage, SpeedWorkerData } from './worker.ts'

/** What the service needs; `share` picks the partitions of this process. */
export interface SpeedOptions extends Omit<SpeedWorkerData, 'slot' | 'slots' | 'definitions'> {
  readonly definitions: Definitions
  readonly workers: number
  readonly share: { readonly index: number; readonly count: number }
  readonly clock: Clock
  readonly logger: Logger
}

/** The running service. */
export interface Speed {
  /** Latest status of every partition of this process. */
  status(): readonly PartitionStatus[]
  readiness(): PartReadiness
  /** Flushes what is open and stops the workers. */
  close(): Promise<void>
}

/** Starts the workers; resolves at once, `readiness` tells when they have caught up. */
export function startSpeed(options: SpeedOptions): Speed {
  easeWorkerHeaps()
  const statuses = new Map<string, PartitionStatus>()
  let failure: string | null = null
  let closing = false
  /** What each running worker of this process owns, by slot; one that has just started is not in it yet. */
  const assigned = new Map<number, readonly Assignment[]>()
  const slots = options.share.count * options.workers
  // Without a metric a worker would have nothing to do and end at once, again and again.
  const workerCount = options.definitions.metrics.length === 0 ? 0 : options.workers
  const own = Array.from({ length: workerCount }, (_, worker) => options.share.index * options.workers + worker)

  const startWorker = (slot: number, deaths: number): { stop(): Promise<void> } => {
    const workerData: SpeedWorkerData = {
      log: options.log,
      registryUrl: options.registryUrl,
      definitions: options.definitions.directory,
      stateDirectory: options.stateDirectory,
      flushMs: options.flushMs,
      slot,
      slots,
    }
    const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData })
    let replacement: { stop(): Promise<void> } | null = null
    let gone = false
    worker.on('message', (message: SpeedMessage) => {
      switch (message.kind) {
        case 'assigned':
          assigned.set(slot, message.assignments)
          break
        case 'status':
          statuses.set(`${message.status.stream}/${message.status.partition}`, message.status)
          break
        case 'warning':
          options.logger.warn(message.context, message.message)
          break
        case 'failed':
          // What may heal (the log is away for longer than its reader waits) is tried again by a new worker.
          if (message.retry === 'never') failure = `${message.code}: ${message.message}`
          options.logger.error({ code: message.code, hint: message.hint }, message.message)
          break
        case 'stopped':
          break
      }
    })
    worker.on('error', (error) => options.logger.error({ err: error }, 'a speed worker died'))
    const exited = new Promise<void>((resolve) => {
      worker.on('exit', () => {
        gone = true
        resolve()
        for (const { stream, partitions } of assigned.get(slot) ?? [])
          for (const partition of partitions) statuses.delete(`${stream}/${partition}`)
        assigned.delete(slot)
        if (closing || failure !== null) return
        // A crash loop backs off; the log still has everything that was not sealed.
        void options.clock.sleep(Math.min(30_000, 200 * 2 ** deaths)).then(() => {
          if (!closing) replacement = startWorker(slot, deaths + 1)
        })
      })
    })
    return {
      async stop() {
        if (replacement !== null) return replacement.stop()
        if (gone) return
        worker.postMessage('stop')
        await exited
      },
    }
  }
  const workers = own.map((slot) => startWorker(slot, 0))
  return {
    status: () => [...statuses.values()],
    readiness() {
      if (failure !== null) return { ready: false, reason: failure }
      if (assigned.size < own.length) return { ready: false, reason: 'the workers are starting' }
      const expected = [...assigned.values()].flat().reduce((sum, { partitions }) => sum + partitions.length, 0)
      const recovered = [...statuses.values()].filter((status) => status.recovered).length
      return recovered === expected
        ? { ready: true, reason: null }
        : { ready: false, reason: `${recovered} of ${expected} partitions have caught up with the log` }
    },
    async close() {
      closing = true
      await Promise.all(workers.map((worker) => worker.stop()))
    },
  }
}
