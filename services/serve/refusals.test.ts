/** What a serve says that starts on a log and a lake it cannot answer from: the true reason, by its own code. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { encodeBatch } from '#format/record-batch.ts'
import { systemClock } from '#io/clock.ts'
import { type DuckDb, openDuckDb } from '#io/duckdb.ts'
import { openLakeFolder } from '#io/lake-folder.ts'
import { entryPath } from '#io/manifest.ts'
import type { EventLog, Lake } from '#io/ports.ts'
import { createTelemetry } from '#io/telemetry.ts'
import { viewManifest } from '#io/views.ts'
import { createMemoryLog, type MemoryLog } from '#testkit/log-memory.ts'
import { smallMetric } from '#testkit/partials.ts'
import { startServe } from './start.ts'

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

/** Why a serve of its own on this log and lake refuses the metric `small` once it has looked at both. */
async function refusalOn(log: EventLog, lake: Lake): Promise<{ code: string; reason: string } | null> {
  const metric = smallMetric(2)
  const alone = await startServe({
    log,
    lake,
    definitions: { directory, streams: [metric.stream], metrics: [metric] },
    clock: systemClock,
    logger: { info: () => undefined, warn: () => undefined, error: () => undefined },
    telemetry: createTelemetry({ process: false, onError: () => undefined }),
    duckdb,
  })
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
