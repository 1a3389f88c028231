/**
 * The archiver on a log in memory: a log with records of every kind, lakes that go with the test, and what must hold of a lake
 * that has all of a log.
 */
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest'
import { readArchive } from '#io/archive-reader.ts'
import { systemClock } from '#io/clock.ts'
import { type DuckDb, openDuckDb, type Row } from '#io/duckdb.ts'
import { ownSchema } from '#io/own-schemas.ts'
import type { Lake } from '#io/ports.ts'
import { type Archive, type ArchiveDeps, startArchive } from '../../services/archive/run.ts'
import { verifyArchive } from '../../services/archive/verify.ts'
import {
  appendRecords,
  barrierRecord,
  createMemoryRegistry,
  definitionsOf,
  FLIGHT,
  FLIGHT_AHEAD,
  FLIGHT_OLD,
  flightRecord,
  flightStream,
  type MemoryRegistry,
  poison,
  quietLogger,
} from './archive-fixture.ts'
import { createMemoryLake, type MemoryLake } from './lake-memory.ts'
import { createMemoryLog, type MemoryLog } from './log-memory.ts'

/** The event topic of the stream. */
export const TOPIC = 'events.flights'
/** Wall time of the log at its first record. */
export const T0 = 1_700_000_000_000
/** Schema ids, in the order in which they are registered. */
export const IDS = { barrier: 1, flight: 2, old: 3, ahead: 4 } as const
/** How long anything may take before a test gives up, ms. */
const PATIENCE_MS = 120_000

/** Resolves when the archive has a barrier; rejects when the archiver has failed. */
export const reached = (archive: Archive, barrier: number): Promise<void> =>
  archive.waitForBarrier('flights', barrier, AbortSignal.timeout(PATIENCE_MS))

/** Sets up a registry for each test, and tears down the lakes that it made. */
export function archiveRuns() {
  let registry: MemoryRegistry
  let duck: DuckDb
  /** Wall time of the log: arrival times are then a function of the test. */
  let now = T0
  const clock = {
    ...systemClock,
    now: () => now,
    // Pauses pass quickly; only their order matters here.
    monotonic: () => systemClock.monotonic() * 50,
    sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(Math.min(ms, 2), signal),
  }
  const lakes: MemoryLake[] = []

  beforeAll(async () => {
    duck = await openDuckDb({ threads: 1, memoryMb: 256, temporaryDirectory: null })
  })
  beforeEach(async () => {
    now = T0
    registry = createMemoryRegistry()
    for (const [subject, schema] of [
      ['barrier', ownSchema('barrier')],
      ['flights', FLIGHT],
      ['flights', FLIGHT_OLD],
      ['flights', FLIGHT_AHEAD],
    ] as const)
      await registry.register(subject, schema)
  })
  afterEach(() => {
    for (const lake of lakes.splice(0)) lake.dispose()
  })
  afterAll(() => duck.close())

  /** A lake that is disposed of with the test. */
  const newLake = (): MemoryLake => {
    const lake = createMemoryLake()
    lakes.push(lake)
    return lake
  }

  /** Two partitions: good events of three schemas, future ones, poison, barriers (one on demand), a stale and a forged barrier. */
  async function fill(options: { seed?: number } = {}): Promise<MemoryLog> {
    const log = createMemoryLog({ clock, ...options })
    await log.createTopics([{ topic: TOPIC, partitions: 2, retentionMs: null, cleanup: 'delete' }])
    const barrier = (id: number, demand = false) => barrierRecord(id, { createdMs: now, demand, schemaId: IDS.barrier })
    for (const partition of [0, 1]) {
      now = T0
      let n = partition * 1000
      const flights = (count: number, id: number = IDS.flight, schema = FLIGHT) =>
        Array.from({ length: count }, () => flightRecord(++n, T0 + (n % 1000) * 1000, id, schema))
      await appendRecords(log, TOPIC, partition, flights(20))
      await appendRecords(log, TOPIC, partition, [
        ...flights(3),
        ...poison(IDS.flight).map(([, record]) => record),
        ...flights(2, IDS.old, FLIGHT_OLD),
      ])
      now += 60_000
      await appendRecords(log, TOPIC, partition, [barrier(1)])
      await appendRecords(log, TOPIC, partition, [
        ...flights(3),
        ...flights(1, IDS.ahead, FLIGHT_AHEAD),
        flightRecord(7777, now + 86_400_000, IDS.flight),
        ...flights(2),
        ...flights(2, IDS.ahead, FLIGHT_AHEAD),
      ])
      now += 60_000
      await appendRecords(log, TOPIC, partition, [
        barrier(2, true),
        ...flights(1),
        barrier(2),
        barrierRecord(3, { createdMs: now, stream: 'other', schemaId: IDS.barrier }),
        ...flights(2),
      ])
      now += 400_000
      await appendRecords(log, TOPIC, partition, [...flights(3), barrier(5), ...flights(partition === 0 ? 30 : 0)])
      await appendRecords(log, TOPIC, partition, [
        ...flights(2, IDS.ahead, FLIGHT_AHEAD),
        ...flights(1, IDS.old, FLIGHT_OLD),
      ])
      now += 60_000
      if (partition === 0) await appendRecords(log, TOPIC, partition, [barrier(6)])
      await appendRecords(log, TOPIC, partition, flights(2))
      now += 60_000
      await appendRecords(log, TOPIC, partition, [barrier(7, true)])
    }
    return log
  }

  /** Starts an archiver; small files, long intervals. */
  function start(log: MemoryLog, lake: Lake, options: Partial<ArchiveDeps> = {}): Promise<Archive> {
    return startArchive({
      log,
      lake,
      registry,
      clock,
      logger: quietLogger,
      definitions: definitionsOf(flightStream()),
      archiveIntervalMs: 300_000,
      fileRows: 25,
      ...options,
    })
  }

  /** Archives the log of `fill` to its last barrier, and stops. */
  async function archiveAll(log: MemoryLog, lake: Lake, options: Partial<ArchiveDeps> = {}): Promise<void> {
    const archive = await start(log, lake, options)
    await reached(archive, 7)
    await archive.close()
  }

  /** Every row of the lake, in the order of the log. */
  async function rowsOf(lake: Lake): Promise<Row[]> {
    const files = (await readArchive(lake, 'flights', { fresh: true }))
      .flat()
      .map((entry) => `'${lake.root}/${entry.file.path}'`)
    return duck.query(
      `SELECT * FROM read_parquet([${files.join(', ')}], union_by_name = true) ORDER BY _partition, _offset`,
    )
  }

  /** Everything that must hold of a lake that has all of `log`. */
  async function expectWhole(log: MemoryLog, lake: Lake): Promise<Row[]> {
    const report = await verifyArchive(lake, 'flights', { deep: true })
    expect(report.findings.filter((one) => one.severity === 'damage')).toEqual([])
    const rows = await rowsOf(lake)
    const ends = await log.endOffsets(TOPIC)
    expect(rows.map((row) => `${row['_partition'] as number}/${row['_offset'] as bigint}`)).toEqual(
      ends.flatMap((end, partition) => Array.from({ length: end }, (_, offset) => `${partition}/${offset}`)),
    )
    const entries = await readArchive(lake, 'flights', { fresh: true })
    for (const [partition, list] of entries.entries()) {
      let from = -1
      for (const barrier of list.flatMap((entry) => entry.barriers)) {
        const events = rows.filter(
          (row) =>
            row['_partition'] === partition && row['_kind'] === 'event' && Number(row['_offset']) < barrier.offset,
        )
        const times = events.map((row) => Number(row['_event_time']) - 60_000)
        expect(barrier.events).toBe(events.filter((row) => Number(row['_offset']) > from).length)
        expect(barrier.watermark).toBe(Math.max(...times))
        from = barrier.offset
      }
    }
    return rows
  }

  /** The rows of a run that nothing disturbs. */
  const straight = async (log: MemoryLog): Promise<Row[]> => {
    const lake = newLake()
    await archiveAll(log, lake)
    return rowsOf(lake)
  }

  return {
    clock,
    get registry() {
      return registry
    },
    newLake,
    fill,
    start,
    archiveAll,
    rowsOf,
    expectWhole,
    straight,
  }
}
