/**
 * One worker of the benchmark peer: owns its partitions and its connection, drives the partition engine over raw record
 * batches, seals each partition at its end and publishes the sealed partials to Kafka, as the speed service does.
 * The input topic is foreign and has no barriers, so the barrier that ends the epoch is given to the engine, not written.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { encodeBarrier } from '#format/barrier.ts'
import { stampBatch } from '#format/record-batch.ts'
import { systemClock } from '#io/clock.ts'
import { readDefinitionFiles } from '#io/definition-files.ts'
import { openDuckDb } from '#io/duckdb.ts'
import { openLog } from '#io/open-log.ts'
import type { EventLog } from '#io/ports.ts'
import { loadDefinitions } from '#metrics/load.ts'
import { createPartitionEngine, type PartitionEngine, type SealedEpoch } from '#metrics/partition-engine.ts'
import { publish } from '../../../services/speed/publish.ts'
import { rowBatches } from './rows.ts'

/** What a worker is started with. `emit` also writes every final row as JSON to the output topics. */
export interface PeerWorkerData {
  readonly brokers: readonly string[]
  readonly topic: string
  readonly partitions: readonly number[]
  readonly definitions: string
  readonly runId: string
  readonly emit: Readonly<Record<string, string>> | null
}

const data = workerData as PeerWorkerData
const duckdb = await openDuckDb({ threads: 1, memoryMb: 128, temporaryDirectory: null })
const loaded = await loadDefinitions(
  { directory: data.definitions, files: await readDefinitionFiles(data.definitions) },
  duckdb,
)
duckdb.close()
if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems))
const { streams, metrics } = loaded.definitions
const stream = streams[0]!
const log = await openLog({ kind: 'kafka', brokers: [...data.brokers] }, { clock: systemClock, lock: false })
/** The run's own topics bear its id, so that the runner can delete them. */
const published: EventLog = {
  ...log,
  append: (topic, partition, batch) => log.append(`${data.runId}.${topic}`, partition, batch),
}

const ends = await log.endOffsets(data.topic)
const engines = new Map<number, PartitionEngine>()
for (const partition of data.partitions) {
  engines.set(partition, createPartitionEngine({ stream, metrics, partition, restore: null, startOffset: 0 }))
}
parentPort!.postMessage('ready')
await new Promise((resolve) => parentPort!.once('message', resolve))
const reader = await log.open(
  data.topic,
  data.partitions.map((partition) => ({ partition, offset: 0 })),
)

async function seal(sealed: SealedEpoch): Promise<void> {
  for (const partials of sealed.partials) {
    await publish(
      { log: published, clock: systemClock, signal: new AbortController().signal, onRetry: () => {} },
      partials,
      {
        state: sealed,
        base: sealed.first,
        sealed: { by: sealed.sealedBy, ms: sealed.sealedMs },
      },
    )
    const topic = data.emit?.[partials.metric.name]
    if (topic === undefined) continue
    const { rows } = partials
    for (let from = 0; from < rows.count; from += EMIT_ROWS) {
      const table = rows.table(from, Math.min(rows.count, from + EMIT_ROWS))
      for (const batch of rowBatches(table, partials.metric, sealed.partition))
        await log.append(topic, sealed.partition, batch)
    }
  }
}

/** Rows turned into JSON at a time: bounds memory. */
const EMIT_ROWS = 10_000

let first = true
let open = engines.size
while (open > 0) {
  for (const batch of await reader.poll({ maxWaitMs: 1_000, maxBytes: 4 * 1024 * 1024 })) {
    if (first) parentPort!.postMessage('first')
    first = false
    const engine = engines.get(batch.partition)!
    let step = engine.feed(batch)
    while (step.kind === 'schema') step = engine.provide(step.id, stream.schema)
    if (engine.next >= ends[batch.partition]!) {
      const barrier = encodeBarrier(
        { stream: stream.name, id: 1, partitions: engines.size, createdMs: systemClock.now(), demand: false },
        2,
      )
      stampBatch(barrier, engine.next, systemClock.now())
      step = engine.feed({ baseOffset: engine.next, lastOffset: engine.next, bytes: barrier })
      if (step.kind !== 'sealed') throw new Error(`the barrier sealed nothing: ${step.kind}`)
      await seal(step.sealed)
      engines.delete(batch.partition)
      open--
    }
  }
}
await reader.close()
await log.close()
parentPort!.postMessage('done')
