/** Reads the sealed partials of a run back from Kafka and writes them as rows for the checker: what was published is what counts. */
import { fileURLToPath } from 'node:url'
import { decodePartials } from '#format/partials-arrow.ts'
import { openBatch, readRecord } from '#format/record-batch.ts'
import { systemClock } from '#io/clock.ts'
import { readDefinitionFiles } from '#io/definition-files.ts'
import { openDuckDb } from '#io/duckdb.ts'
import { openLog } from '#io/open-log.ts'
import { loadDefinitions } from '#metrics/load.ts'
import { rowBatches } from './rows.ts'

const env = process.env as Record<string, string>
const directory = fileURLToPath(new URL('./definitions', import.meta.url))
const duckdb = await openDuckDb({ threads: 1, memoryMb: 128, temporaryDirectory: null })
const loaded = await loadDefinitions({ directory, files: await readDefinitionFiles(directory) }, duckdb)
duckdb.close()
if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems))
const log = await openLog({ kind: 'kafka', brokers: env['BOOTSTRAP']!.split(',') }, { clock: systemClock, lock: false })
for (const metric of loaded.definitions.metrics) {
  const topic = `${env['RUN_ID']}.sealed.${metric.name}`
  const out = metric.name === 'by_country' ? env['OUT_BY_COUNTRY']! : env['OUT_BY_USER']!
  const ends = await log.endOffsets(topic)
  const reader = await log.open(
    topic,
    ends.map((_, partition) => ({ partition, offset: 0 })),
  )
  let left = ends.reduce((sum, end) => sum + end, 0)
  while (left > 0) {
    for (const batch of await reader.poll({ maxWaitMs: 1_000, maxBytes: 4 * 1024 * 1024 })) {
      const opened = openBatch(batch.bytes, batch.baseOffset)
      if ('dead' in opened) throw new Error(opened.dead)
      for (let record = readRecord(opened.cursor); record !== null; record = readRecord(opened.cursor)) {
        left--
        for (const rows of rowBatches(decodePartials(record.value!, metric.layout), metric, batch.partition))
          await log.append(out, batch.partition, rows)
      }
    }
  }
  await reader.close()
}
await log.close()
