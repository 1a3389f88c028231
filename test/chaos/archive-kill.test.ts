/**
 * Goal: an archiver that is killed with SIGKILL at any durable step loses nothing and doubles nothing (R2).
 * Method: for every failpoint of lake and archive and several occurrences, a real process dies exactly there; another one then
 * finishes; the lake is verified deep and its rows are compared with those of a run that was never killed.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { cp, readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readArchive } from '#io/archive-reader.ts'
import { systemClock } from '#io/clock.ts'
import { openDuckDb } from '#io/duckdb.ts'
import { FAILPOINTS } from '#io/failpoints.ts'
import { openLakeFolder } from '#io/lake-folder.ts'
import { openSqliteLog } from '#io/log-sqlite.ts'
import { appendRecords, barrierRecord, fixtureRegistry, flightRecord, poison } from '#testkit/archive-fixture.ts'
import { verifyArchive } from '../../services/archive/verify.ts'

const TOPIC = 'events.flights'
const CHILD = new URL('./archive-child.ts', import.meta.url).pathname
const folder = mkdtempSync(join(tmpdir(), 'archive-kill-'))
let reference: string

/** Runs the child; resolves with the signal that ended it, or its exit code. */
function run(directory: string, fail: string): Promise<string | number | null> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [CHILD, directory], {
      env: { ...process.env, FAIL: fail },
      stdio: ['ignore', 'inherit', 'inherit'],
    })
    child.on('error', reject)
    child.on('exit', (code, signal) => resolve(signal ?? code))
  })
}

/** A checksum over every row and column, in order. */
async function checksum(directory: string): Promise<string> {
  const lake = await openLakeFolder(join(directory, 'lake'))
  const report = await verifyArchive(lake, 'flights', { deep: true })
  expect(report.findings.filter((one) => one.severity === 'damage')).toEqual([])
  const files = (await readArchive(lake, 'flights')).flat().map((entry) => `'${lake.root}/${entry.file.path}'`)
  const duck = await openDuckDb({ threads: 1, memoryMb: 256, temporaryDirectory: null })
  try {
    const [row] = await duck.query(
      `SELECT md5(string_agg(to_json(t)::VARCHAR, '' ORDER BY _partition, _offset)) AS sum, count(*) AS rows FROM read_parquet([${files.join(', ')}]) t`,
    )
    return `${row!['rows'] as bigint} ${row!['sum'] as string}`
  } finally {
    duck.close()
  }
}

beforeAll(async () => {
  const log = await openSqliteLog({
    directory: join(folder, 'origin', 'log'),
    clock: systemClock,
    durability: 'os',
    lock: true,
  })
  await log.createTopics([{ topic: TOPIC, partitions: 2, retentionMs: null, cleanup: 'delete' }])
  const { barrierId, flightId } = await fixtureRegistry()
  for (const partition of [0, 1]) {
    for (let id = 1; id <= 7; id++) {
      const flights = Array.from({ length: 60 }, (_, n) => flightRecord(id * 60 + n, Date.now() + n, flightId))
      await appendRecords(log, TOPIC, partition, [...flights, ...poison(flightId).map(([, record]) => record)])
      await appendRecords(log, TOPIC, partition, [flightRecord(9, Date.now() + 1e9, flightId)])
      await appendRecords(log, TOPIC, partition, [
        barrierRecord(id, { createdMs: Date.now(), demand: id % 2 === 1, schemaId: barrierId }),
      ])
    }
  }
  await log.close()
  await cp(join(folder, 'origin'), join(folder, 'straight'), { recursive: true })
  expect(await run(join(folder, 'straight'), '')).toBe(0)
  reference = await checksum(join(folder, 'straight'))
  expect(reference).toMatch(/^966 /)
})
afterAll(() => rmSync(folder, { recursive: true }))

describe.each(FAILPOINTS.filter((name) => name.startsWith('lake.') || name.startsWith('archive.')))(
  'killed at %s',
  (name) => {
    it.each([1, 2, 7])('[L1] occurrence %i: as if never killed', async (occurrence) => {
      const directory = join(folder, `${name}-${occurrence}`)
      await cp(join(folder, 'origin'), directory, { recursive: true })
      expect(await run(directory, `${name}:${occurrence}`)).toBe('SIGKILL')
      // Dies again while it recovers, then is left alone.
      expect(await run(directory, `${name}:1`)).toBe('SIGKILL')
      expect(await run(directory, '')).toBe(0)
      expect(await checksum(directory)).toBe(reference)
      expect(await readdir(join(directory, 'lake', '.tmp'))).toEqual([])
      rmSync(directory, { recursive: true })
    })
  },
)
