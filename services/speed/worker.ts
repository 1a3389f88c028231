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
import { createRegistryClient } from '#io/registry.ts'
import type { Definitions } from '#metrics/definition.ts'
import { loadDefinitions } from '#metrics/load.ts'
import { runSpeed } from './run.ts'
import type { PartitionStatus } from './status.ts'

/** What a worker is started with. */
export interface SpeedWorkerData {
  readonly log: LogConfig
  readonly registryUrl: string
  readonly definitions: string
  readonly stateDirectory: string
  readonly flushMs: number
  readonly assignments: readonly { readonly stream: string; readonly partitions: readonly number[] }[]
}

/** What a worker tells its main thread. */
export type SpeedMessage =
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
    try {
      await Promise.all(
        data.assignments.map(({ stream, partitions }) =>
          runSpeed({
            log,
            registry,
            checkpoints,
            clock: systemClock,
            partitions,
            flushMs: data.flushMs,
            signal: stop.signal,
            stream: definitions.streams.find(({ name }) => name === stream)!,
            metrics: definitions.metrics.filter((metric) => metric.stream.name === stream),
            onStatus: (status) => send({ kind: 'status', status }),
            onWarning: (message, context) => send({ kind: 'warning', message, context }),
          }),
        ),
      )
    } finally {
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
