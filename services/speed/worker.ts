/**
 * A speed worker thread: owns its partitions, its connection to the log and its tables, shares nothing. Composes itself from
 * plain data, because functions and connections do not cross threads.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { assert } from '#core/assert.ts'
import { createCheckpoints } from '#io/checkpoints.ts'
import { systemClock } from '#io/clock.ts'
import { readDefinitionFiles } from '#io/definition-files.ts'
import { openDuckDb } from '#io/duckdb.ts'
import { classify, type Retry } from '#io/errors.ts'
import { type LogConfig, openLog } from '#io/open-log.ts'
import type { EventLog } from '#io/ports.ts'
import { createRegistryClient } from '#io/registry.ts'
import type { Definitions, MetricDefinition, StreamDefinition } from '#metrics/definition.ts'
import { loadDefinitions } from '#metrics/load.ts'
import { eventsTopic, partialTopics } from '#schemas/topics.ts'
import { runSpeed } from './run.ts'
import type { PartitionStatus } from './status.ts'

/** What a worker is started with. */
export interface SpeedWorkerData {
  readonly log: LogConfig
  readonly registryUrl: string
  readonly definitions: string
  readonly stateDirectory: string
  readonly flushMs: number
  /** Which of all workers, of all processes, this is: it owns the partitions p of every stream with p % `slots` = `slot`. */
  readonly slot: number
  readonly slots: number
}

/** What a worker owns. */
export interface Assignment {
  readonly stream: string
  readonly partitions: readonly number[]
}

/** What a worker tells its main thread. */
export type SpeedMessage =
  | { readonly kind: 'assigned'; readonly assignments: readonly Assignment[] }
  | { readonly kind: 'status'; readonly status: PartitionStatus }
  | { readonly kind: 'warning'; readonly message: string; readonly context: Readonly<Record<string, unknown>> }
  | {
      readonly kind: 'failed'
      readonly code: string
      readonly retry: Retry
      readonly message: string
      readonly hint: string
    }
  | { readonly kind: 'stopped' }

/** A worker's partitions of a topic with `count`: shares differ by at most one. */
const ownOf = (count: number, { slot, slots }: Pick<SpeedWorkerData, 'slot' | 'slots'>): number[] =>
  Array.from({ length: count }, (_, partition) => partition).filter((partition) => partition % slots === slot)

/** Loads definitions with a DuckDB of its own, which is closed again: the reader functions need none. */
async function definitionsOf(directory: string): Promise<Definitions> {
  const duckdb = await openDuckDb({ threads: 1, memoryMb: 128, temporaryDirectory: null })
  try {
    const loaded = await loadDefinitions({ directory, files: await readDefinitionFiles(directory) }, duckdb)
    assert(loaded.ok, 'the main thread has checked the definitions')
    return loaded.definitions
  } finally {
    duckdb.close()
  }
}

/** How often the event topics are looked at, for partitions that were added. */
const LOOK_MS = 5_000

/** Resolves when the topic has more partitions than are known, or when the signal aborts. */
async function untilGrown(log: EventLog, topic: string, known: number, signal: AbortSignal): Promise<void> {
  for (;;) {
    await systemClock.sleep(LOOK_MS, signal)
    if (signal.aborted) return
    // A log that does not answer is the reader's trouble.
    const described = await log.describeTopic(topic).catch(() => null)
    if (described !== null && described.partitions > known) return
  }
}

async function main(): Promise<void> {
  const port = parentPort
  assert(port !== null, 'a speed worker runs in a worker thread')
  const data = workerData as SpeedWorkerData
  const send = (message: SpeedMessage): void => port.postMessage(message)
  const stop = new AbortController()
  port.on('message', () => stop.abort())
  try {
    const definitions = await definitionsOf(data.definitions)
    const log = await openLog(data.log, { clock: systemClock, lock: false })
    const registry = createRegistryClient({ url: data.registryUrl, timeoutMs: 5_000 })
    const checkpoints = createCheckpoints(data.stateDirectory)
    // A topic that has grown ends the worker; the next one takes the partitions as they are then.
    const ended = new AbortController()
    const signal = AbortSignal.any([stop.signal, ended.signal])
    const run = async (stream: StreamDefinition, metrics: readonly MetricDefinition[], count: number) => {
      const partitions = ownOf(count, data)
      // Partials go to the partition that their events come from.
      await log.createTopics(metrics.flatMap(({ name }) => partialTopics(name, count, stream.retentionMs)))
      const grown = untilGrown(log, eventsTopic(stream.name), count, signal).then(() => ended.abort())
      if (partitions.length === 0) return grown
      await runSpeed({
        log,
        registry,
        checkpoints,
        clock: systemClock,
        partitions,
        flushMs: data.flushMs,
        signal,
        stream,
        metrics,
        onStatus: (status) => send({ kind: 'status', status }),
        onWarning: (message, context) => send({ kind: 'warning', message, context }),
      })
    }
    try {
      const streams = []
      for (const stream of definitions.streams) {
        const metrics = definitions.metrics.filter((metric) => metric.stream.name === stream.name)
        if (metrics.length === 0) continue
        const count = (await log.describeTopic(eventsTopic(stream.name)))?.partitions ?? stream.partitions
        streams.push({ stream, metrics, count })
      }
      send({
        kind: 'assigned',
        assignments: streams.map(({ stream, count }) => ({ stream: stream.name, partitions: ownOf(count, data) })),
      })
      await Promise.all(streams.map(({ stream, metrics, count }) => run(stream, metrics, count)))
    } finally {
      ended.abort()
      await log.close()
    }
    send({ kind: 'stopped' })
  } catch (error) {
    if (stop.signal.aborted) send({ kind: 'stopped' })
    else {
      const { code, retry, message, hint } = classify(error)
      send({
        kind: 'failed',
        code,
        retry,
        message: error instanceof Error && code === 'INTERNAL' ? (error.stack ?? message) : message,
        hint,
      })
    }
  }
  port.close()
}

await main()
