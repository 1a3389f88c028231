/**
 * Appends generated record batches to the embedded log from a thread of its own, as any producer would: as fast as the log takes
 * them, or by a fixed schedule that does not wait for anything (a late append is late, it does not move the next one).
 */
import { parentPort, workerData } from 'node:worker_threads'
import { systemClock } from '#io/clock.ts'
import { type LogConfig, openLog } from '#io/open-log.ts'
import { createRegistryClient } from '#io/registry.ts'
import { eventsTopic } from '#schemas/topics.ts'
import { loadBenchDefinitions } from './load.ts'
import { recordBatches } from './workload.ts'

/** What to feed. */
export interface FeederData {
  readonly log: LogConfig
  readonly registryUrl: string
  readonly definitions: string
  readonly records: number
  readonly perBatch: number
  readonly users: number
  readonly startMs: number
  readonly spanMs: number
  readonly firstId: number
  readonly seed: number
  /** Records per second by schedule; null = as fast as possible. */
  readonly rate: number | null
}

/** Appends under way at most when there is no schedule. */
const IN_FLIGHT = 16

const data = workerData as FeederData
const { streams } = await loadBenchDefinitions(data.definitions)
const stream = streams[0]!
const topic = eventsTopic(stream.name)
const log = await openLog(data.log, { clock: systemClock, lock: false })
const schemaId = await createRegistryClient({ url: data.registryUrl, timeoutMs: 5_000 }).register(
  `${topic}-value`,
  stream.schema,
)
let amount = 0
const now = (): number => performance.timeOrigin + performance.now()

// By schedule, everything is drawn before the first slab is due.
const source = recordBatches(stream, schemaId, data)
const batches = data.rate === null ? source : [...source]
const beganMs = now()
let total = 0
let at = 0
let flying: Promise<unknown>[] = []
for (const batch of batches) {
  total += batch.count
  amount += batch.amount
  if (data.rate !== null) {
    const dueMs = beganMs + 200 + (total / data.rate) * 1_000
    while (now() < dueMs) await systemClock.sleep(Math.max(0, dueMs - now()))
    const slab = { dueMs, total }
    flying.push(log.append(topic, at++ % stream.partitions, batch.bytes).then(() => parentPort!.postMessage({ slab })))
  } else {
    flying.push(log.append(topic, at++ % stream.partitions, batch.bytes))
    if (flying.length >= IN_FLIGHT) {
      await Promise.all(flying)
      flying = []
    }
  }
}
await Promise.all(flying)
parentPort!.postMessage({ fed: { records: total, amount, seconds: (now() - beganMs) / 1_000 } })
await log.close()
