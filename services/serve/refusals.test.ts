/** What a serve says that starts on a log and a lake it cannot answer from: the true reason, by its own code. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { encodeBatch } from '#format/record-batch.ts'
import { systemClock } from '#io/clock.ts'
import { type DuckDb, openDuckDb } from '#io/duckdb.ts'
import { OperatingError } from '#io/errors.ts'
import { openLakeFolder } from '#io/lake-folder.ts'
import { entryPath } from '#io/manifest.ts'
import type { EventLog, Lake } from '#io/ports.ts'
import { createTelemetry } from '#io/telemetry.ts'
import { viewManifest } from '#io/views.ts'
import type { MetricDefinition } from '#metrics/definition.ts'
import { createMemoryLog, type MemoryLog } from '#testkit/log-memory.ts'
import { smallMetric } from '#testkit/partials.ts'
import { type Serve, startServe } from './start.ts'

let directory: string
let duckdb: DuckDb
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'refusals-'))
  duckdb = await openDuckDb({ threads: 1, memoryMb: 256, temporaryDirectory: null })
})
afterAll(async () => {
  duckdb.close()
  await rm(directory, { recursive: true, force: true })
})

const serveOf = (log: EventLog, lake: Lake, metrics: readonly MetricDefinition[]): Promise<Serve> =>
  startServe({
    log,
    lake,
    definitions: { directory, streams: metrics.map(({ stream }) => stream), metrics },
    clock: systemClock,
    logger: { info: () => undefined, warn: () => undefined, error: () => undefined },
    telemetry: createTelemetry({ process: false, onError: () => undefined }),
    duckdb,
  })

/** Why a serve of its own on this log and lake refuses the metric `small` once it has looked at both. */
async function refusalOn(log: EventLog, lake: Lake): Promise<{ code: string; reason: string } | null> {
  const alone = await serveOf(log, lake, [smallMetric(2)])
  await alone.refresh()
  const refusal = alone.refusalOf(alone.metric('small'))
  await alone.stop()
  await log.close()
  return refusal
}

async function logOfSmalls(retentionMs: number | null): Promise<MemoryLog> {
  const log = createMemoryLog({ clock: systemClock })
  const topics = ['events.smalls', 'sealed.small', 'live.small']
  await log.createTopics(topics.map((topic) => ({ topic, partitions: 2, retentionMs, cleanup: 'delete' as const })))
  return log
}

it('[Q3] [S1] what retention has taken from log and partials before a view had it is refused, not left out', async () => {
  const log = await logOfSmalls(1)
  for (let n = 0; n < 3; n++) {
    await log.append('events.smalls', 1, encodeBatch([{ key: null, value: Uint8Array.of(n), headers: [] }], 0))
  }
  log.truncateBelow('events.smalls', 1, 3)
  expect(await refusalOn(log, await openLakeFolder(join(directory, 'empty')))).toMatchObject({
    code: 'CUT_UNCOVERED',
    reason: expect.stringContaining('partition 1: offsets [0, 3)') as string,
  })
})

it('[Q3] a view that cannot be read is the reason of the refusal, not that the speed layer is behind', async () => {
  const lake = await openLakeFolder(join(directory, 'damaged'))
  const entry = entryPath(viewManifest('small', 'sql'), 1)
  await lake.createIfAbsent(entry, new TextEncoder().encode('{"torn'))
  expect(await refusalOn(await logOfSmalls(null), lake)).toMatchObject({
    code: 'LAKE_DAMAGED',
    reason: expect.stringContaining(entry) as string,
  })
})

it('[O2] streams are asked at once where their logs begin: a stop waits once for a log that does not answer', async () => {
  const log = createMemoryLog({ clock: systemClock })
  const asked = new Set<string>()
  const answers = Promise.withResolvers<void>()
  const silentLog: EventLog = {
    ...log,
    async startOffsets(topic) {
      if (!topic.startsWith('events.')) return log.startOffsets(topic)
      asked.add(topic)
      await answers.promise
      throw new OperatingError('LOG_UNREACHABLE', 'injected')
    },
  }
  const metrics = ['a', 'b'].map((name) => {
    const metric = smallMetric(2)
    return { ...metric, name, stream: { ...metric.stream, name } }
  })
  const serve = await serveOf(silentLog, await openLakeFolder(join(directory, 'silent')), metrics)
  await expect.poll(() => [...asked].sort(), { timeout: 60_000 }).toEqual(['events.a', 'events.b'])
  answers.resolve()
  await serve.stop()
  await log.close()
})
