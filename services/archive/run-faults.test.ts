/**
 * Goal: whatever stops the archiver, every offset is archived once; what is not the log it knows is refused by name.
 * Method: the archiver is stopped at every step of the lake and restarted, meets full disks, rivals, registries that are down and
 * logs that were replaced; the lake is then compared with the log and with that of a run that nothing disturbed.
 */
import { describe, expect, it } from 'vitest'
import { readArchive } from '#io/archive-reader.ts'
import { OperatingError } from '#io/errors.ts'
import type { Lake } from '#io/ports.ts'
import { appendRecords, barrierRecord, flightRecord } from '#testkit/archive-fixture.ts'
import { archiveRuns, IDS, reached, T0, TOPIC } from '#testkit/archive-runs.ts'
import type { LakeCall } from '#testkit/lake-memory.ts'
import type { MemoryLog } from '#testkit/log-memory.ts'

const runs = archiveRuns()
const { clock, newLake, fill, start, archiveAll, rowsOf, expectWhole, straight } = runs

describe('an archiver that is disturbed', () => {
  it('[L1] stopped at every step of the lake, before and after it took effect, and restarted: as if never stopped', async () => {
    const log = await fill()
    const reference = await straight(log)
    const probe = newLake()
    const operations: LakeCall['operation'][] = []
    probe.onCall = ({ operation }) => {
      operations.push(operation)
      return null
    }
    await archiveAll(log, probe)
    let fired = 0
    let stops = 0
    for (const [step, operation] of operations.entries()) {
      // After a step that only looks is before the next one.
      const writes = operation === 'publish' || operation === 'create' || operation === 'remove'
      for (const when of writes ? (['before', 'after'] as const) : (['before'] as const)) {
        stops++
        const lake = newLake()
        lake.onCall = ({ attempt }) => (attempt === step ? { when, error: new Error('killed') } : null)
        const killed = await start(log, lake)
        await reached(killed, 7).catch(() => undefined)
        fired += lake.fired
        // A killed process writes nothing more, not even its open files.
        lake.onCall = () => ({ when: 'before', error: new Error('dead') })
        await killed.close()
        lake.onCall = null
        await archiveAll(log, lake)
        await expectWhole(log, lake)
        expect(await rowsOf(lake)).toEqual(reference)
        lake.dispose()
      }
    }
    expect(fired).toBe(stops)
  })

  it('[L1] a disk that is full at any step heals by itself', async () => {
    const log = await fill()
    const reference = await straight(log)
    const writes: LakeCall['operation'][] = ['temporary', 'publish', 'create']
    for (let from = 0; from < 24; from += 2) {
      const lake = newLake()
      let writesSeen = 0
      lake.onCall = ({ operation }) => {
        if (!writes.includes(operation)) return null
        writesSeen++
        const full = writesSeen > from && writesSeen <= from + 3
        return full ? { when: 'before', error: new OperatingError('LAKE_DISK_FULL', 'injected') } : null
      }
      await archiveAll(log, lake)
      expect(lake.fired).toBeGreaterThan(0)
      await expectWhole(log, lake)
      expect(await rowsOf(lake)).toEqual(reference)
    }
  })

  it('two archivers of one stream: one wins each entry, the other reads on behind it', async () => {
    const log = await fill()
    const reference = await straight(log)
    const lake = newLake()
    const rivals = await Promise.all([start(log, lake), start(log, lake, { fileRows: 17 })])
    await Promise.all(rivals.map((rival) => reached(rival, 7)))
    await Promise.all(rivals.map((rival) => rival.close()))
    expect(rivals.map((rival) => rival.failed())).toEqual([null, null])
    await expectWhole(log, lake)
    expect(await rowsOf(lake)).toEqual(reference)
  })

  it('a registry that is down pauses the stream and makes no dead letter', async () => {
    const log = await fill()
    const reference = await straight(log)
    const lake = newLake()
    const archive = await start(log, lake)
    runs.registry.down = true
    while (runs.registry.refused < 5) await new Promise((resolve) => setTimeout(resolve, 1))
    expect(archive.failed()).toBeNull()
    runs.registry.down = false
    await reached(archive, 7)
    await archive.close()
    expect(await rowsOf(lake)).toEqual(reference)
  })

  it('a file that a dead archiver left under the name is passed over, and swept once it is covered', async () => {
    const log = await fill()
    const reference = await straight(log)
    const probe = newLake()
    await archiveAll(log, probe)
    const path = (await readArchive(probe, 'flights'))[0]![0]!.file.path
    const lake = newLake()
    lake.damage(path, new Uint8Array([1, 2, 3]))
    await archiveAll(log, lake)
    expect((await readArchive(lake, 'flights'))[0]![0]!.file.path).toBe(path.replace('.parquet', '.2.parquet'))
    expect(await rowsOf(lake)).toEqual(reference)
    await archiveAll(log, lake)
    expect(lake.files.has(path)).toBe(false)
    expect(await rowsOf(lake)).toEqual(reference)
  })

  it('a graceful stop publishes what it has, and the next run goes on there', async () => {
    const log = await fill()
    const reference = await straight(log)
    const lake = newLake()
    for (let round = 0; round < 50; round++) {
      const archive = await start(log, lake, { fileRows: 1_000_000, archiveIntervalMs: 1e9 })
      for (let turns = 0; turns < 3 + round * 2; turns++) await new Promise((resolve) => setImmediate(resolve))
      await archive.close()
      expect(archive.failed()).toBeNull()
    }
    await archiveAll(log, lake)
    await expectWhole(log, lake)
    expect(await rowsOf(lake)).toEqual(reference)
  })
})

describe('a log that is not the archived one', () => {
  const failureOf = async (log: MemoryLog, lake: Lake): Promise<string | undefined> => {
    const archive = await start(log, lake)
    await reached(archive, 99).catch(() => undefined)
    await archive.close()
    return archive.failed()?.code
  }

  it('created again: stops by name', async () => {
    const log = await fill()
    const lake = newLake()
    await archiveAll(log, lake)
    log.recreate(TOPIC)
    expect(await failureOf(log, lake)).toBe('LOG_INCARNATION_CHANGED')
  })

  it('other records under the same offsets, without an identity to tell: stops by name', async () => {
    const log = await fill()
    const lake = newLake()
    await archiveAll(log, lake)
    const [end] = await log.endOffsets(TOPIC)
    log.truncateFrom(TOPIC, 0, end! - 1)
    await appendRecords(log, TOPIC, 0, [flightRecord(1, T0, IDS.flight), flightRecord(2, T0, IDS.flight)])
    expect(await failureOf(log, lake)).toBe('LOG_INCARNATION_CHANGED')
  })

  it('cut short, or expired beyond the position: stops by name', async () => {
    const log = await fill()
    const lake = newLake()
    await archiveAll(log, lake)
    const [end] = await log.endOffsets(TOPIC)
    log.truncateFrom(TOPIC, 0, end! - 1)
    expect(await failureOf(log, lake)).toBe('DATA_LOSS_SUSPECTED')
    await appendRecords(log, TOPIC, 0, [
      barrierRecord(7, { createdMs: clock.now(), demand: true, schemaId: IDS.barrier }),
    ])
    await appendRecords(log, TOPIC, 0, [flightRecord(1, T0, IDS.flight)])
    await appendRecords(log, TOPIC, 0, [flightRecord(2, T0, IDS.flight)])
    log.truncateBelow(TOPIC, 0, end! + 1)
    expect(await failureOf(log, lake)).toBe('DATA_LOSS_SUSPECTED')
  })

  it('created again while it is read: stops within the next look', async () => {
    const log = await fill()
    const lake = newLake()
    const archive = await start(log, lake)
    await reached(archive, 7)
    log.recreate(TOPIC)
    await expect(reached(archive, 99)).rejects.toBeInstanceOf(OperatingError)
    await archive.close()
    expect(['LOG_INCARNATION_CHANGED', 'DATA_LOSS_SUSPECTED']).toContain(archive.failed()?.code)
  })
})
