/**
 * Goal: whatever happens to an archive at rest is found, with file, partition and range.
 * Method: archive a small log, damage the lake in every way of the list, verify; a sound lake has no finding.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { canonicalJson } from '#format/canonical-json.ts'
import { checkFile, filesCovering, readArchive } from '#io/archive-reader.ts'
import { systemClock } from '#io/clock.ts'
import { appendEntry, entryPath, nextOf } from '#io/manifest.ts'
import { ownSchema } from '#io/own-schemas.ts'
import type { ArchiveEntry } from '#schemas/archive.ts'
import {
  appendRecords,
  barrierRecord,
  createMemoryRegistry,
  definitionsOf,
  FLIGHT,
  flightRecord,
  flightStream,
  quietLogger,
} from '#testkit/archive-fixture.ts'
import { createMemoryLake, type MemoryLake } from '#testkit/lake-memory.ts'
import { createMemoryLog } from '#testkit/log-memory.ts'
import { startArchive } from './run.ts'
import { type Finding, verifyArchive } from './verify.ts'

const TOPIC = 'events.flights'
let lake: MemoryLake

beforeEach(async () => {
  lake = createMemoryLake()
  const log = createMemoryLog({ clock: systemClock })
  await log.createTopics([{ topic: TOPIC, partitions: 2, retentionMs: null, cleanup: 'delete' }])
  const registry = createMemoryRegistry()
  const barrierId = await registry.register('barrier', ownSchema('barrier'))
  const flightId = await registry.register('flights', FLIGHT)
  for (const partition of [0, 1]) {
    for (let id = 1; id <= 4; id++) {
      const flights = Array.from({ length: 10 }, (_, n) => flightRecord(id * 10 + n, 1_700_000_000_000 + n, flightId))
      await appendRecords(log, TOPIC, partition, flights)
      await appendRecords(log, TOPIC, partition, [
        barrierRecord(id, { createdMs: id, demand: true, schemaId: barrierId }),
      ])
    }
  }
  const archive = await startArchive({
    log,
    lake,
    registry,
    clock: systemClock,
    logger: quietLogger,
    definitions: definitionsOf(flightStream()),
  })
  await archive.waitForBarrier('flights', 4, AbortSignal.timeout(120_000))
  await archive.close()
})
afterEach(() => lake.dispose())

const chain = async (partition: number) => (await readArchive(lake, 'flights', { fresh: true }))[partition]!
const filePath = async (partition: number, index: number) => (await chain(partition))[index]!.file.path
const damage = async (deep = false): Promise<Finding[]> => {
  const report = await verifyArchive(lake, '*', { deep })
  const found = report.findings.filter((one) => one.severity === 'damage')
  expect(report.ok).toBe(found.length === 0)
  for (const one of found) expect(one.remedy).not.toBe('')
  return [...found]
}

describe('verify', () => {
  it('[L1] a sound archive has no finding, shallow and deep', async () => {
    const progress: number[] = []
    const report = await verifyArchive(lake, 'flights', {
      deep: true,
      onProgress: (fraction) => void progress.push(fraction),
    })
    expect(report).toMatchObject({
      ok: true,
      deep: true,
      streams: ['flights'],
      partitions: 2,
      files: 8,
      rows: 88,
      findings: [],
    })
    expect(progress.at(-1)).toBe(1)
    expect(progress).toHaveLength(8)
    expect((await verifyArchive(lake, '*')).findings).toEqual([])
  })

  it('[L2] every flipped bit of a file is found, before a reader opens it', async () => {
    const path = await filePath(0, 1)
    const good = lake.files.get(path)!
    const [file] = filesCovering(await readArchive(lake, 'flights'), [22, 0]).filter((one) => one.path === path)
    for (let bit = 0; bit < good.length * 8; bit += 41) {
      const bad = good.slice()
      bad[bit >> 3]! ^= 1 << (bit & 7)
      lake.damage(path, bad)
      expect(await damage()).toMatchObject([{ kind: 'changed-file', partition: 0, path, first: 11, next: 22 }])
      await expect(checkFile(lake, file!)).rejects.toMatchObject({
        code: 'LAKE_DAMAGED',
        context: { path, first: 11, next: 22 },
      })
    }
  })

  it('[L2] truncation, a swapped and a missing file are found', async () => {
    const [path, other] = [await filePath(1, 2), await filePath(1, 3)]
    const [good, swapped] = [lake.files.get(path)!, lake.files.get(other)!]
    for (let length = 0; length < good.length; length += 97) {
      lake.damage(path, good.slice(0, length))
      expect(await damage()).toMatchObject([{ kind: 'changed-file', partition: 1, path, first: 22, next: 33 }])
    }
    lake.damage(path, swapped)
    expect(await damage(true)).toMatchObject([{ kind: 'changed-file', partition: 1, path }])
    lake.damage(path, null)
    expect(await damage(true)).toMatchObject([{ kind: 'missing-file', partition: 1, path, first: 22, next: 33 }])
  })

  it('[L2] a missing entry in the middle is found, and the range from it on', async () => {
    const path = entryPath('events/flights/p=0/manifest', 2)
    lake.damage(path, null)
    expect(await damage()).toMatchObject([{ kind: 'manifest', partition: 0, path, first: 11, next: null }])
    lake.damage(entryPath('events/flights/p=1/manifest', 1), null)
    expect(await damage()).toMatchObject([
      { kind: 'manifest', partition: 0, first: 11 },
      { kind: 'manifest', partition: 1, first: 0, next: null },
    ])
  })

  it('a missing last entry leaves a file that no entry names: said, and archived again by the archiver', async () => {
    lake.damage(entryPath('events/flights/p=0/manifest', 4), null)
    const report = await verifyArchive(lake, 'flights')
    expect(report.findings).toMatchObject([
      { kind: 'unnamed-file', severity: 'notice', partition: 0, first: 33, next: 44 },
    ])
  })

  it('[L2] a changed entry is found by its own hash', async () => {
    const path = entryPath('events/flights/p=1/manifest', 4)
    const entry = JSON.parse(new TextDecoder().decode(lake.files.get(path)!))
    lake.damage(path, canonicalJson({ ...entry, watermark: 5 }))
    expect(await damage()).toMatchObject([{ kind: 'manifest', partition: 1, path, first: 33 }])
  })

  it('[L1] holes, overlaps, wrong counts and foreign topics in a well-formed chain are found', async () => {
    const prefix = 'events/flights/p=0/manifest'
    const entries = await chain(0)
    const append = async (changes: Partial<ArchiveEntry>) => {
      for (const path of await lake.list(prefix)) lake.damage(path, null)
      let previous: string | null = null
      for (const [index, entry] of entries.entries()) {
        const changed: ArchiveEntry = {
          ...entry,
          ...(index === 2 ? changes : {}),
          ...nextOf({ entries: entries.slice(0, index), lastHash: previous }),
        }
        previous = await appendEntry(lake, prefix, changed)
      }
      return damage()
    }
    expect(await append({})).toEqual([])
    expect(await append({ first_offset: 24, rows: 9 })).toMatchObject([
      { kind: 'identity' },
      { kind: 'hole', first: 22, next: 24 },
    ])
    expect(await append({ first_offset: 20, rows: 13 })).toMatchObject([
      { kind: 'identity' },
      { kind: 'overlap', first: 20, next: 22 },
    ])
    expect(await append({ rows: 10 })).toMatchObject([{ kind: 'rows', first: 22, next: 33 }])
    expect(await append({ incarnation: 'another' })).toMatchObject([{ kind: 'identity' }, { kind: 'identity' }])
    expect(await append({ file: entries[1]!.file })).toMatchObject([{ kind: 'identity', first: 22, next: 33 }])
    // Only a deep look sees a file that is whole and has the wrong rows.
    const wrong = { ...entries[1]!.file, path: entries[2]!.file.path.replace('.parquet', '.2.parquet') }
    lake.damage(wrong.path, lake.files.get(entries[1]!.file.path)!)
    expect(await append({ file: wrong })).toEqual([])
    expect(await damage(true)).toMatchObject([{ kind: 'offsets', partition: 0, first: 22, next: 33 }])
  })
})
