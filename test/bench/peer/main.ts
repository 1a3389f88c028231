/**
 * Tidemark as a peer of the Kafka Streams and Flink programs: raw batches from Kafka to sealed partials on Kafka, by two
 * worker threads. `sealed` ends with durable partials; a program that is not part of the measured process turns them into rows
 * for the checker. `emit` also writes every final row as JSON from the workers themselves.
 */
import { spawn } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { systemClock } from '#io/clock.ts'
import { openLog } from '#io/open-log.ts'
import { easeWorkerHeaps } from '#io/worker-heap.ts'
import type { PeerWorkerData } from './worker.ts'

const env = process.env as Record<string, string>
const mode = process.argv[2] === 'emit' ? 'emit' : 'sealed'
const workers = Number(process.argv[3] ?? availableParallelism())
const brokers = env['BOOTSTRAP']!.split(',')
const runId = env['RUN_ID']!
const definitions = fileURLToPath(new URL('./definitions', import.meta.url))
const outputs = { by_country: env['OUT_BY_COUNTRY']!, by_user: env['OUT_BY_USER']! }

const log = await openLog({ kind: 'kafka', brokers }, { clock: systemClock, lock: false })
const { partitions } = (await log.describeTopic(env['TOPIC']!))!
await log.createTopics(
  Object.keys(outputs).map((metric) => ({
    topic: `${runId}.sealed.${metric}`,
    partitions,
    retentionMs: null,
    cleanup: 'delete' as const,
  })),
)
await log.close()

const cpuSeconds = (): number => (process.cpuUsage().user + process.cpuUsage().system) / 1e6

// The workers begin together: what it costs to start them is outside of what is measured, as it is for the JVM peers.
easeWorkerHeaps()
let starting = workers
let startCpu = 0
let first = true
const started: Worker[] = []
await Promise.all(
  Array.from({ length: workers }, (_, w) => {
    const workerData: PeerWorkerData = {
      brokers,
      topic: env['TOPIC']!,
      definitions,
      runId,
      emit: mode === 'emit' ? outputs : null,
      partitions: Array.from({ length: partitions }, (__, p) => p).filter((p) => p % workers === w),
    }
    return new Promise<void>((resolve, reject) => {
      const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData })
      started.push(worker)
      worker.on('message', (message: string) => {
        if (message === 'ready' && --starting === 0) for (const each of started) each.postMessage('go')
        if (message === 'first' && first) {
          first = false
          startCpu = cpuSeconds()
          process.stdout.write(`first_record ${systemClock.now()}\n`)
        }
        if (message === 'done') resolve()
      })
      worker.on('error', reject)
    })
  }),
)
process.stdout.write(
  `sealed ${systemClock.now()} cpu ${(cpuSeconds() - startCpu).toFixed(2)} after ${startCpu.toFixed(2)} of start\n`,
)
if (mode === 'sealed') {
  const reader = spawn(process.execPath, [fileURLToPath(new URL('./read-sealed.ts', import.meta.url))], {
    stdio: 'inherit',
  })
  await new Promise((resolve) => reader.on('exit', resolve))
}
