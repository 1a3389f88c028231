/** Worker thread of log-sqlite.test.ts: opens the embedded log for itself and appends `batches` batches of two records. */
import { workerData } from 'node:worker_threads'
import { systemClock } from '#io/clock.ts'
import { openSqliteLog } from '#io/log-sqlite.ts'
import { labelledBatch } from './labelled-batch.ts'

const { directory, topic, partition, batches } = workerData as {
  directory: string
  topic: string
  partition: number
  batches: number
}
const log = await openSqliteLog({ directory, clock: systemClock, durability: 'os', lock: false })
for (let i = 0; i < batches; i++) await log.append(topic, partition, labelledBatch(`thread${i}`, 2))
await log.close()
