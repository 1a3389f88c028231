/**
 * Goal: every offset of the log is one row of the archive, and the rows, manifests and letters say the truth.
 * Method: a log with records of every kind is archived straight; the lake is then compared with the log.
 */
import { describe, expect, it } from 'vitest'
import { bodyOf } from '#format/confluent.ts'
import { createDeadLetterCodec } from '#format/dead-letter.ts'
import { cutOffsets, cutsOf, filesCovering, readArchive, watermarkAt } from '#io/archive-reader.ts'
import { ownSchema } from '#io/own-schemas.ts'
import { appendRecords, barrierRecord, flightRecord, poison } from '#testkit/archive-fixture.ts'
import { archiveRuns, IDS, T0, TOPIC } from '#testkit/archive-runs.ts'
import { createMemoryLog } from '#testkit/log-memory.ts'
import { recordsOf } from '#testkit/records.ts'
import { SEED } from '#testkit/runs.ts'

const { clock, newLake, fill, archiveAll, rowsOf, expectWhole } = archiveRuns()

describe('archive', () => {
  it('[L1] every offset is archived once, and says what became of it', async () => {
    const log = await fill()
    const lake = newLake()
    await archiveAll(log, lake)
    const rows = await expectWhole(log, lake)
    const mine = rows.filter((row) => row['_partition'] === 0)
    const raw = await recordsOf(log, TOPIC, 0)
    const reasons = poison(IDS.flight).map(([reason]) => reason)
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
          gate: row['_schema_id'] !== IDS.ahead || n % 4 === 1 ? null : `G${n % 7}`,
          Origin_2: row['_schema_id'] === IDS.ahead ? BigInt(n + 1) : null,
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

  it('a damaged batch is dead as a whole: its bytes on the first offset, every offset a row', async () => {
    const log = createMemoryLog({ clock })
    await log.createTopics([{ topic: TOPIC, partitions: 2, retentionMs: null, cleanup: 'delete' }])
    for (const partition of [0, 1]) {
      await appendRecords(
        log,
        TOPIC,
        partition,
        [1, 2, 3].map((n) => flightRecord(n, T0 + n, IDS.flight)),
      )
      await appendRecords(
        log,
        TOPIC,
        partition,
        [4, 5, 6].map((n) => flightRecord(n, T0 + n, IDS.flight)),
      )
      await appendRecords(log, TOPIC, partition, [
        barrierRecord(7, { createdMs: clock.now(), demand: true, schemaId: IDS.barrier }),
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
})

const bytesOf = (cell: unknown): Uint8Array | null =>
  cell === null ? null : new Uint8Array((cell as { bytes: Uint8Array }).bytes)
const headersOf = (cell: unknown): unknown => (cell === null ? [] : JSON.parse(cell as string))
/** Whether a barrier's bytes state this id: stream text, then the id as zigzag. */
const isBarrier = (value: Uint8Array, id: bigint): boolean =>
  new TextDecoder('latin1').decode(value).includes(`flights${String.fromCharCode(Number(id) * 2)}`)
