/**
 * Goal: every offset of the log is one row of the archive, whatever stops the archiver, and the rows say the truth.
 * Method: a log with records of every kind; the archiver runs straight, is stopped at every step of the lake and restarted,
 * meets full disks, rivals, registries that are down and logs that were replaced; the lake is then compared with the log.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { bodyOf } from '#format/confluent.ts'
import { createDeadLetterCodec } from '#format/dead-letter.ts'
import { cutOffsets, cutsOf, filesCovering, readArchive, watermarkAt } from '#io/archive-reader.ts'
import { systemClock } from '#io/clock.ts'
import { type DuckDb, openDuckDb, type Row } from '#io/duckdb.ts'
import { OperatingError } from '#io/errors.ts'
import { ownSchema } from '#io/own-schemas.ts'
import type { Lake } from '#io/ports.ts'
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
  recordsOf,
} from '#testkit/archive-fixture.ts'
import { createMemoryLake, type LakeCall, type MemoryLake } from '#testkit/lake-memory.ts'
import { createMemoryLog, type MemoryLog } from '#testkit/log-memory.ts'
import { SEED } from '#testkit/runs.ts'
import { type Archive, type ArchiveDeps, startArchive } from './run.ts'
import { verifyArchive } from './verify.ts'

const TOPIC = 'events.flights'
const T0 = 1_700_000_000_000
/** How long anything may take before a test gives up, ms. */
const PATIENCE_MS = 120_000
const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined }

let registry: MemoryRegistry
let flightId: number
let oldId: number
let aheadId: number
let barrierId: number
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
const newLake = (): MemoryLake => {
  const lake = createMemoryLake()
  lakes.push(lake)
  return lake
}

beforeEach(async () => {
  now = T0
  registry = createMemoryRegistry()
  barrierId = await registry.register('barrier', ownSchema('barrier'))
  flightId = await registry.register('flights', FLIGHT)
  oldId = await registry.register('flights', FLIGHT_OLD)
  aheadId = await registry.register('flights', FLIGHT_AHEAD)
})
afterEach(() => {
  for (const lake of lakes.splice(0)) lake.dispose()
})

/** Two partitions: good events of three schemas, future ones, poison, barriers (one on demand), a stale and a forged barrier. */
async function fill(options: { seed?: number } = {}): Promise<MemoryLog> {
  const log = createMemoryLog({ clock, ...options })
  await log.createTopics([{ topic: TOPIC, partitions: 2, retentionMs: null, cleanup: 'delete' }])
  const barrier = (id: number, demand = false) => barrierRecord(id, { createdMs: now, demand, schemaId: barrierId })
  for (const partition of [0, 1]) {
    now = T0
    let n = partition * 1000
    const flights = (count: number, id = flightId, schema = FLIGHT) =>
      Array.from({ length: count }, () => flightRecord(++n, T0 + (n % 1000) * 1000, id, schema))
    await appendRecords(log, TOPIC, partition, flights(20))
    await appendRecords(log, TOPIC, partition, [
      ...flights(3),
      ...poison(flightId).map(([, record]) => record),
      ...flights(2, oldId, FLIGHT_OLD),
    ])
    now += 60_000
    await appendRecords(log, TOPIC, partition, [barrier(1)])
    await appendRecords(log, TOPIC, partition, [
      ...flights(3),
      ...flights(1, aheadId, FLIGHT_AHEAD),
      flightRecord(7777, now + 86_400_000, flightId),
      ...flights(2),
      ...flights(2, aheadId, FLIGHT_AHEAD),
    ])
    now += 60_000
    await appendRecords(log, TOPIC, partition, [
      barrier(2, true),
      ...flights(1),
      barrier(2),
      barrierRecord(3, { createdMs: now, stream: 'other', schemaId: barrierId }),
      ...flights(2),
    ])
    now += 400_000
    await appendRecords(log, TOPIC, partition, [...flights(3), barrier(5), ...flights(partition === 0 ? 30 : 0)])
    await appendRecords(log, TOPIC, partition, [...flights(2, aheadId, FLIGHT_AHEAD), ...flights(1, oldId, FLIGHT_OLD)])
    now += 60_000
    if (partition === 0) await appendRecords(log, TOPIC, partition, [barrier(6)])
    await appendRecords(log, TOPIC, partition, flights(2))
    now += 60_000
    await appendRecords(log, TOPIC, partition, [barrier(7, true)])
  }
  return log
}

function start(log: MemoryLog, lake: Lake, options: Partial<ArchiveDeps> = {}): Promise<Archive> {
  return startArchive({
    log,
    lake,
    registry,
    clock,
    logger: quiet,
    definitions: definitionsOf(flightStream()),
    archiveIntervalMs: 300_000,
    fileRows: 25,
    ...options,
  })
}

async function archiveAll(log: MemoryLog, lake: Lake, options: Partial<ArchiveDeps> = {}): Promise<void> {
  const archive = await start(log, lake, options)
  await archive.waitForBarrier('flights', 7, AbortSignal.timeout(PATIENCE_MS))
  await archive.close()
}

let duck: DuckDb
beforeEach(async () => {
  duck ??= await openDuckDb({ threads: 1, memoryMb: 256, temporaryDirectory: null })
})

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
        (row) => row['_partition'] === partition && row['_kind'] === 'event' && Number(row['_offset']) < barrier.offset,
      )
      const times = events.map((row) => Number(row['_event_time']) - 60_000)
      expect(barrier.events).toBe(events.filter((row) => Number(row['_offset']) > from).length)
      expect(barrier.watermark).toBe(Math.max(...times))
      from = barrier.offset
    }
  }
  return rows
}

const straight = async (log: MemoryLog): Promise<Row[]> => {
  const lake = newLake()
  await archiveAll(log, lake)
  return rowsOf(lake)
}

describe('archive', () => {
  it('[L1] every offset is archived once, and says what became of it', async () => {
    const log = await fill()
    const lake = newLake()
    await archiveAll(log, lake)
    const rows = await expectWhole(log, lake)
    const mine = rows.filter((row) => row['_partition'] === 0)
    const raw = await recordsOf(log, TOPIC, 0)
    const reasons = poison(flightId).map(([reason]) => reason)
    expect(mine.filter((row) => row['_kind'] === 'dead').map((row) => row['_reason'])).toEqual([
      ...reasons,
      'bad-barrier',
    ])
    expect(mine.filter((row) => row['_kind'] === 'quarantined').map((row) => row['flight_id'])).toEqual(['f-7777'])
    expect(mine.filter((row) => row['_kind'] === 'barrier')).toHaveLength(6)
    let watermark = Number.NEGATIVE_INFINITY
    let epoch = 0n
    for (const [index, row] of mine.entries()) {
      const record = raw[index]!
      expect(row['_watermark']).toBe(Number.isFinite(watermark) ? BigInt(watermark) : null)
      expect(row['_epoch']).toBe(epoch)
      expect(bytesOf(row['_key'])).toEqual(record.key === null ? null : new Uint8Array(record.key))
      expect(headersOf(row['_headers'])).toEqual(
        record.headers.map(([name, value]) => [name, value === null ? null : Buffer.from(value).toString('base64')]),
      )
      if (row['_kind'] === 'event') {
        expect(row['_event_time']).toBe(row['scheduled'])
        watermark = Math.max(watermark, Number(row['_event_time']) - 60_000)
        const n = Number(String(row['flight_id']).slice(2))
        expect(row).toMatchObject({
          distance: BigInt(n * 100),
          ratio: n / 7,
          cancelled: n % 10 === 0,
          delay: n % 3 === 0 ? null : BigInt((n % 50) - 10),
          gate: row['_schema_id'] !== aheadId || n % 4 === 1 ? null : `G${n % 7}`,
          Origin_2: row['_schema_id'] === aheadId ? BigInt(n + 1) : null,
        })
        expect((row['fare'] as unknown as { value: bigint }).value).toBe(BigInt(n * 199 - 5000))
      } else if (row['_kind'] === 'dead' || row['_kind'] === 'barrier') {
        expect(bytesOf(row['_raw'])).toEqual(record.value === null ? null : new Uint8Array(record.value))
      }
      if (row['_kind'] === 'barrier')
        epoch = [1n, 2n, 5n, 6n, 7n].find((id) => id > epoch && isBarrier(record.value!, id)) ?? epoch
    }
    expect(new Set(mine.map((row) => row['_epoch']))).toEqual(new Set([0n, 1n, 2n, 5n, 6n]))
  })

  it('cuts and watermarks come from the manifests alone', async () => {
    const log = await fill()
    const lake = newLake()
    await archiveAll(log, lake)
    const entries = await readArchive(lake, 'flights')
    const ends = await log.endOffsets(TOPIC)
    expect(cutsOf(entries).at(-1)).toMatchObject({ id: 7, offsets: ends })
    expect(cutOffsets(entries, 6)).toBeNull() // partition 1 has missed it
    expect(cutOffsets(entries, 3)).toBeNull() // of another stream
    const first = cutOffsets(entries, 1)!
    const rows = await rowsOf(lake)
    for (const [partition, offset] of first.entries()) {
      const barrier = rows.find((row) => row['_partition'] === partition && row['_kind'] === 'barrier')!
      expect(Number(barrier['_offset'])).toBe(offset - 1)
    }
    const files = filesCovering(entries, first)
    expect(files.every((file) => file.first < first[file.partition]! && file.until <= first[file.partition]!)).toBe(
      true,
    )
    const watermarks = first.map((offset, partition) =>
      Math.max(
        ...rows
          .filter(
            (row) => row['_partition'] === partition && row['_kind'] === 'event' && Number(row['_offset']) < offset,
          )
          .map((row) => Number(row['_event_time']) - 60_000),
      ),
    )
    expect(watermarkAt(entries, 1)).toBe(Math.min(...watermarks))
    expect(watermarkAt(entries, 6)).toBeNull()
  })

  it('dead letters and quarantined events are on their topics, with their bytes', async () => {
    const log = await fill()
    await archiveAll(log, newLake())
    const codec = createDeadLetterCodec(ownSchema('dead-letter'))
    const raw = await recordsOf(log, TOPIC, 1)
    for (const [topic, kind] of [
      ['dead.flights', 8],
      ['quarantine.flights', 1],
    ] as const) {
      const letters = (await recordsOf(log, topic, 1)).map((record) => codec.decode(bodyOf(record.value!)))
      expect(letters).toHaveLength(kind)
      for (const letter of letters) {
        const record = raw.find((one) => one.offset === letter.offset)!
        expect(letter).toMatchObject({
          topic: TOPIC,
          partition: 1,
          reason: topic === 'quarantine.flights' ? 'future' : letter.reason,
        })
        expect(letter.value === null ? null : new Uint8Array(letter.value)).toEqual(
          record.value === null ? null : new Uint8Array(record.value),
        )
        expect(letter.key === null ? null : new Uint8Array(letter.key)).toEqual(
          record.key === null ? null : new Uint8Array(record.key),
        )
      }
    }
  })

  it(`poll sizes change nothing: same files, same bytes (SEED=${SEED})`, async () => {
    const hashes: string[][] = []
    for (const seed of [undefined, SEED, SEED + 1]) {
      const log = await fill(seed === undefined ? {} : { seed })
      const lake = newLake()
      await archiveAll(log, lake)
      hashes.push([...lake.files.keys()].filter((path) => path.endsWith('.parquet')).sort())
      hashes.push((await readArchive(lake, 'flights')).flat().map((entry) => entry.file.sha256))
    }
    expect(hashes[2]).toEqual(hashes[0])
    expect(hashes[4]).toEqual(hashes[0])
    expect(hashes[3]).toEqual(hashes[1])
    expect(hashes[5]).toEqual(hashes[1])
  })

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
        await killed.waitForBarrier('flights', 7, AbortSignal.timeout(PATIENCE_MS)).catch(() => undefined)
        fired += lake.fired
        // A killed process writes nothing more, not even its open files.
        lake.onCall = () => ({ when: 'before', error: new Error('dead') })
        await killed.close()
        lake.onCall = null
        await archiveAll(log, lake)
        await expectWhole(log, lake)
        expect(await rowsOf(lake)).toEqual(reference)
        lakes.splice(lakes.indexOf(lake), 1)[0]!.dispose()
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
    await Promise.all(rivals.map((rival) => rival.waitForBarrier('flights', 7, AbortSignal.timeout(PATIENCE_MS))))
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
    registry.down = true
    while (registry.refused < 5) await new Promise((resolve) => setTimeout(resolve, 1))
    expect(archive.failed()).toBeNull()
    registry.down = false
    await archive.waitForBarrier('flights', 7, AbortSignal.timeout(PATIENCE_MS))
    await archive.close()
    expect(await rowsOf(lake)).toEqual(reference)
  })

  it('a damaged batch is dead as a whole: its bytes on the first offset, every offset a row', async () => {
    const log = createMemoryLog({ clock })
    await log.createTopics([{ topic: TOPIC, partitions: 2, retentionMs: null, cleanup: 'delete' }])
    for (const partition of [0, 1]) {
      await appendRecords(
        log,
        TOPIC,
        partition,
        [1, 2, 3].map((n) => flightRecord(n, T0 + n, flightId)),
      )
      await appendRecords(
        log,
        TOPIC,
        partition,
        [4, 5, 6].map((n) => flightRecord(n, T0 + n, flightId)),
      )
      await appendRecords(log, TOPIC, partition, [
        barrierRecord(7, { createdMs: now, demand: true, schemaId: barrierId }),
      ])
    }
    const flipped = {
      ...log,
      open: async (topic: string, positions: readonly { partition: number; offset: number }[]) => {
        const reader = await log.open(topic, positions)
        return {
          ...reader,
          poll: async (options: { maxWaitMs: number; maxBytes: number }) => {
            const batches = await reader.poll(options)
            return batches.map((batch) => {
              if (topic !== TOPIC || batch.baseOffset !== 3) return batch
              const bytes = batch.bytes.slice()
              bytes[bytes.length - 1]! ^= 1
              return { ...batch, bytes }
            })
          },
        }
      },
    }
    const lake = newLake()
    await archiveAll(flipped, lake)
    const rows = (await expectWhole(log, lake)).filter((row) => row['_partition'] === 0)
    expect(rows.map((row) => row['_kind'])).toEqual(['event', 'event', 'event', 'dead', 'dead', 'dead', 'barrier'])
    expect(rows.slice(3, 6).map((row) => row['_reason'])).toEqual(['damaged-batch', 'damaged-batch', 'damaged-batch'])
    expect(rows.slice(3, 6).map((row) => row['_raw'] !== null)).toEqual([true, false, false])
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
    await archive.waitForBarrier('flights', 99, AbortSignal.timeout(PATIENCE_MS)).catch(() => undefined)
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
    await appendRecords(log, TOPIC, 0, [flightRecord(1, T0, flightId), flightRecord(2, T0, flightId)])
    expect(await failureOf(log, lake)).toBe('LOG_INCARNATION_CHANGED')
  })

  it('cut short, or expired beyond the position: stops by name', async () => {
    const log = await fill()
    const lake = newLake()
    await archiveAll(log, lake)
    const [end] = await log.endOffsets(TOPIC)
    log.truncateFrom(TOPIC, 0, end! - 1)
    expect(await failureOf(log, lake)).toBe('DATA_LOSS_SUSPECTED')
    await appendRecords(log, TOPIC, 0, [barrierRecord(7, { createdMs: now, demand: true, schemaId: barrierId })])
    await appendRecords(log, TOPIC, 0, [flightRecord(1, T0, flightId)])
    await appendRecords(log, TOPIC, 0, [flightRecord(2, T0, flightId)])
    log.truncateBelow(TOPIC, 0, end! + 1)
    expect(await failureOf(log, lake)).toBe('DATA_LOSS_SUSPECTED')
  })

  it('created again while it is read: stops within the next look', async () => {
    const log = await fill()
    const lake = newLake()
    const archive = await start(log, lake)
    await archive.waitForBarrier('flights', 7, AbortSignal.timeout(PATIENCE_MS))
    log.recreate(TOPIC)
    await expect(archive.waitForBarrier('flights', 99, AbortSignal.timeout(PATIENCE_MS))).rejects.toBeInstanceOf(
      OperatingError,
    )
    await archive.close()
    expect(['LOG_INCARNATION_CHANGED', 'DATA_LOSS_SUSPECTED']).toContain(archive.failed()?.code)
  })
})

const bytesOf = (cell: unknown): Uint8Array | null =>
  cell === null ? null : new Uint8Array((cell as { bytes: Uint8Array }).bytes)
const headersOf = (cell: unknown): unknown => (cell === null ? [] : JSON.parse(cell as string))
/** Whether a barrier's bytes state this id: stream text, then the id as zigzag. */
const isBarrier = (value: Uint8Array, id: bigint): boolean =>
  new TextDecoder('latin1').decode(value).includes(`flights${String.fromCharCode(Number(id) * 2)}`)
