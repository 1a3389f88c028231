/**
 * What every event log must do, run on the memory log, the embedded log and Kafka alike: it keeps the simulator honest.
 * Goal: offsets, order, wake-ups, refusals and bytes are the same everywhere. Method: small stories through the port alone.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encodeBatch, openBatch, type RawRecord, readHeader, readRecord } from '#format/record-batch.ts'
import type { OperatingError } from '#io/errors.ts'
import type { EventLog, FetchedBatch, LogReader } from '#io/ports.ts'
import { labelledBatch } from './labelled-batch.ts'

/** A log under test. */
export interface LogUnderTest {
  readonly log: EventLog
  /** Ends what `make` began, the log included. */
  dispose(): Promise<void>
}

const utf8 = new TextEncoder()
const text = new TextDecoder()

/** All records of fetched batches at or above their partition's position, with their partitions. */
export function recordsOf(
  batches: readonly FetchedBatch[],
  from: ReadonlyMap<number, number> = new Map(),
): { partition: number; record: RawRecord }[] {
  const out: { partition: number; record: RawRecord }[] = []
  for (const { partition, bytes } of batches) {
    const opened = openBatch(bytes, from.get(partition) ?? 0)
    if ('dead' in opened) throw new Error(`dead batch: ${opened.dead}`)
    for (let record = readRecord(opened.cursor); record !== null; record = readRecord(opened.cursor)) {
      out.push({ partition, record })
    }
  }
  return out
}

/** Values of records as text. */
export const valuesOf = (records: readonly { record: RawRecord }[]): (string | null)[] =>
  records.map(({ record }) => (record.value === null ? null : text.decode(record.value)))

/** How long nothing may come, ms: as long as a broker may take to start anew on a slow machine. */
const PATIENCE_MS = 300_000

/**
 * Polls until `count` records at or above the positions have come; bytes are copied. A broker that is away for longer than a
 * reader waits by itself is asked again, as services do. Fewer when nothing comes for five minutes.
 */
export async function readRecords(
  reader: LogReader,
  count: number,
  from: ReadonlyMap<number, number> = new Map(),
): Promise<{ partition: number; record: RawRecord }[]> {
  const out: { partition: number; record: RawRecord }[] = []
  for (let since = performance.now(); out.length < count && performance.now() - since < PATIENCE_MS; ) {
    const batches = await reader.poll({ maxWaitMs: 1_000, maxBytes: 1 << 20 }).catch((error: OperatingError) => {
      if (error.code === 'LOG_UNREACHABLE') return []
      throw error
    })
    if (batches.length > 0) since = performance.now()
    out.push(...recordsOf(batches, from))
  }
  return out
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'no error',
    (error: OperatingError) => error.code,
  )
}

/** Registers the suite. `make` gives a log that may be shared with other suites: topic names are unique. */
export function describeEventLog(name: string, make: () => Promise<LogUnderTest>): void {
  describe(`event log: ${name}`, () => {
    let made: LogUnderTest
    let log: EventLog
    let topics = 0
    const unique = crypto.randomUUID().slice(0, 8)

    async function newTopic(partitions = 1): Promise<string> {
      const topic = `conformance.${unique}.${topics++}`
      await log.createTopics([{ topic, partitions, retentionMs: null, cleanup: 'delete' }])
      return topic
    }
    async function reading<T>(
      topic: string,
      positions: Record<number, number>,
      work: (reader: LogReader, from: ReadonlyMap<number, number>) => Promise<T>,
    ): Promise<T> {
      const from = new Map(Object.entries(positions).map(([partition, offset]) => [Number(partition), offset]))
      const reader = await log.open(
        topic,
        [...from].map(([partition, offset]) => ({ partition, offset })),
      )
      try {
        return await work(reader, from)
      } finally {
        await reader.close()
      }
    }

    beforeAll(async () => {
      made = await make()
      log = made.log
    })
    afterAll(async () => {
      await made?.dispose()
    })

    it('gives each batch the offsets after the last one, per partition', async () => {
      const topic = await newTopic(2)
      const a = await log.append(topic, 0, labelledBatch('a', 3))
      const b = await log.append(topic, 0, labelledBatch('b', 2))
      const other = await log.append(topic, 1, labelledBatch('c', 4))
      expect([a.baseOffset, a.nextOffset, b.baseOffset, b.nextOffset]).toEqual([0, 3, 3, 5])
      expect([other.baseOffset, other.nextOffset]).toEqual([0, 4])
      expect(await log.startOffsets(topic)).toEqual([0, 0])
      expect(await log.endOffsets(topic)).toEqual([5, 4])
    })

    it('hands over whole batches in offset order, with their own offsets in the bytes', async () => {
      const topic = await newTopic()
      for (const label of ['a', 'b', 'c']) await log.append(topic, 0, labelledBatch(label, 2))
      await reading(topic, { 0: 0 }, async (reader) => {
        const seen: number[][] = []
        while (seen.length < 3) {
          for (const batch of await reader.poll({ maxWaitMs: 2_000, maxBytes: 1 })) {
            const header = readHeader(batch.bytes)
            expect([header.baseOffset, header.lastOffset]).toEqual([batch.baseOffset, batch.lastOffset])
            expect(header.byteLength).toBe(batch.bytes.byteLength)
            seen.push([batch.baseOffset, batch.lastOffset])
          }
        }
        expect(seen).toEqual([
          [0, 1],
          [2, 3],
          [4, 5],
        ])
      })
    })

    it('reads from the middle of a batch: the batch may begin below the position', async () => {
      const topic = await newTopic()
      await log.append(topic, 0, labelledBatch('a', 5))
      await log.append(topic, 0, labelledBatch('b', 5))
      await reading(topic, { 0: 3 }, async (reader, from) => {
        expect(valuesOf(await readRecords(reader, 7, from))).toEqual(['a-3', 'a-4', 'b-0', 'b-1', 'b-2', 'b-3', 'b-4'])
      })
      await reading(topic, { 0: 9 }, async (reader, from) => {
        expect(valuesOf(await readRecords(reader, 1, from))).toEqual(['b-4'])
      })
    })

    it('reads several partitions by one reader and only those', async () => {
      const topic = await newTopic(3)
      for (let partition = 0; partition < 3; partition++) {
        await log.append(topic, partition, labelledBatch(`p${partition}`, 2))
      }
      await reading(topic, { 0: 1, 2: 0 }, async (reader, from) => {
        const records = await readRecords(reader, 3, from)
        expect(new Set(valuesOf(records))).toEqual(new Set(['p0-1', 'p2-0', 'p2-1']))
        expect(await reader.poll({ maxWaitMs: 50, maxBytes: 1 << 20 })).toEqual([])
      })
    })

    it('serves several readers of one partition independently', async () => {
      const topic = await newTopic()
      await log.append(topic, 0, labelledBatch('a', 4))
      await reading(topic, { 0: 0 }, (one) =>
        reading(topic, { 0: 2 }, async (two) => {
          const at2 = new Map([[0, 2]])
          expect(valuesOf(await readRecords(two, 2, at2))).toEqual(['a-2', 'a-3'])
          expect(valuesOf(await readRecords(one, 4))).toEqual(['a-0', 'a-1', 'a-2', 'a-3'])
          await log.append(topic, 0, labelledBatch('b', 1))
          expect(valuesOf(await readRecords(one, 1))).toEqual(['b-0'])
          expect(valuesOf(await readRecords(two, 1, at2))).toEqual(['b-0'])
        }),
      )
    })

    it('answers an empty poll after its wait, and wakes when something comes', async () => {
      const topic = await newTopic()
      await reading(topic, { 0: 0 }, async (reader) => {
        expect(await reader.poll({ maxWaitMs: 20, maxBytes: 1 << 20 })).toEqual([])
        const waiting = readRecords(reader, 1)
        await log.append(topic, 0, labelledBatch('late', 1))
        expect(valuesOf(await waiting)).toEqual(['late-0'])
      })
    })

    it('reads on after having caught up, many times', async () => {
      const topic = await newTopic()
      await reading(topic, { 0: 0 }, async (reader) => {
        for (let i = 0; i < 20; i++) {
          await log.append(topic, 0, labelledBatch(`r${i}`, 1))
          expect(valuesOf(await readRecords(reader, 1))).toEqual([`r${i}-0`])
        }
      })
    })

    it('[L1] refuses a position above the end or of no topic, and never resets by itself', async () => {
      const topic = await newTopic()
      await log.append(topic, 0, labelledBatch('a', 2))
      const above = async (): Promise<unknown> => reading(topic, { 0: 3 }, (reader) => readRecords(reader, 1))
      expect(await codeOf(above())).toBe('DATA_LOSS_SUSPECTED')
      expect(await codeOf(log.open(`${topic}.absent`, [{ partition: 0, offset: 0 }]))).toBe('LOG_TOPIC_UNKNOWN')
      expect(await codeOf(log.open(topic, [{ partition: 7, offset: 0 }]))).toBe('LOG_TOPIC_UNKNOWN')
    })

    it('refuses appends to what is not there, and batches above the limit', async () => {
      const topic = await newTopic()
      expect(await codeOf(log.append(`${topic}.absent`, 0, labelledBatch('a', 1)))).toBe('LOG_TOPIC_UNKNOWN')
      expect(await codeOf(log.append(topic, 1, labelledBatch('a', 1)))).toBe('LOG_TOPIC_UNKNOWN')
      const huge = encodeBatch([{ key: null, value: new Uint8Array(7 * 1024 * 1024) }], 0)
      expect(await codeOf(log.append(topic, 0, huge))).toBe('RECORD_TOO_LARGE')
      expect(await log.endOffsets(topic)).toEqual([0])
    })

    it('carries batches of several megabytes', async () => {
      const topic = await newTopic()
      const value = new Uint8Array(900 * 1024).map((_, i) => i * 31)
      const big = encodeBatch(
        Array.from({ length: 5 }, () => ({ key: null, value })),
        1_767_225_600_000,
      )
      await log.append(topic, 0, big)
      await log.append(topic, 0, labelledBatch('small', 1))
      await reading(topic, { 0: 0 }, async (reader) => {
        const records = await readRecords(reader, 6)
        expect(records.map(({ record }) => record.value?.byteLength)).toEqual([...Array(5).fill(value.byteLength), 7])
        expect(Buffer.compare(records[4]!.record.value!, value)).toBe(0)
      })
    })

    it('keeps null keys, null values, empty values and headers', async () => {
      const topic = await newTopic()
      const headers = [
        ['tidemark-barrier', utf8.encode('1')],
        ['naïve', new Uint8Array([0, 255])],
        ['tidemark-barrier', new Uint8Array(0)],
      ] as const
      await log.append(
        topic,
        0,
        encodeBatch(
          [
            { key: null, value: utf8.encode('v'), headers },
            { key: utf8.encode('k'), value: null },
            { key: new Uint8Array(0), value: new Uint8Array(0) },
            { key: new Uint8Array(4), value: null },
          ],
          1_767_225_600_000,
        ),
      )
      await reading(topic, { 0: 0 }, async (reader) => {
        const [a, b, c, d] = (await readRecords(reader, 4)).map(({ record }) => record)
        expect(a!.key).toBeNull()
        expect(a!.headers.map(([key, value]) => [key, [...value!]])).toEqual(
          headers.map(([key, value]) => [key, [...value]]),
        )
        expect([text.decode(b!.key!), b!.value]).toEqual(['k', null])
        expect([c!.key!.byteLength, c!.value!.byteLength]).toEqual([0, 0])
        expect([[...d!.key!], d!.value]).toEqual([[0, 0, 0, 0], null])
      })
    })

    it('keeps the call order of concurrent appends, whole batches, per partition', async () => {
      const topic = await newTopic(3)
      const calls = Array.from({ length: 60 }, (_, i) => ({ partition: i % 3, size: 1 + (i % 4), label: `c${i}` }))
      const done = await Promise.all(
        calls.map(({ partition, size, label }) => log.append(topic, partition, labelledBatch(label, size))),
      )
      const next = [0, 0, 0]
      done.forEach((appended, i) => {
        const { partition, size } = calls[i]!
        expect([appended.baseOffset, appended.nextOffset]).toEqual([next[partition], next[partition]! + size])
        next[partition] = appended.nextOffset
      })
      expect(await log.endOffsets(topic)).toEqual(next)
      await reading(topic, { 0: 0, 1: 0, 2: 0 }, async (reader) => {
        const records = await readRecords(reader, next[0]! + next[1]! + next[2]!)
        for (let partition = 0; partition < 3; partition++) {
          const expected = calls
            .filter((call) => call.partition === partition)
            .flatMap(({ label, size }) => Array.from({ length: size }, (_, i) => `${label}-${i}`))
          expect(valuesOf(records.filter((record) => record.partition === partition))).toEqual(expected)
        }
      })
    })

    it('gives arrival times that never go back, in the answer and in the bytes', async () => {
      const topic = await newTopic()
      const appended = []
      for (let i = 0; i < 5; i++) appended.push(await log.append(topic, 0, labelledBatch(`t${i}`, 1)))
      const times = appended.map((one) => one.arrivalMs)
      expect(times).toEqual(times.toSorted((a, b) => a - b))
      await reading(topic, { 0: 0 }, async (reader) => {
        const inBytes: number[] = []
        while (inBytes.length < 5) {
          for (const { bytes } of await reader.poll({ maxWaitMs: 5_000, maxBytes: 1 << 20 })) {
            const header = readHeader(bytes)
            expect(header.timestampType).toBe('append')
            inBytes.push(header.maxTimestamp)
          }
        }
        expect(inBytes).toEqual(times)
      })
    })

    it('does not touch the bytes it is given', async () => {
      const topic = await newTopic()
      const batch = labelledBatch('mine', 2)
      const before = batch.slice()
      await log.append(topic, 0, batch)
      await log.append(topic, 0, batch)
      expect(Buffer.compare(batch, before)).toBe(0)
      await reading(topic, { 0: 0 }, async (reader) => {
        expect(valuesOf(await readRecords(reader, 4))).toEqual(['mine-0', 'mine-1', 'mine-0', 'mine-1'])
      })
    })

    it('creates topics idempotently, grows partitions, never shrinks, and tells their identity', async () => {
      const topic = await newTopic(2)
      const first = await log.describeTopic(topic)
      await log.append(topic, 1, labelledBatch('a', 1))
      const spec = { topic, retentionMs: 3_600_000, cleanup: 'delete' } as const
      await log.createTopics([{ ...spec, partitions: 4 }])
      await log.createTopics([{ ...spec, partitions: 3 }])
      expect(await log.describeTopic(topic)).toEqual({ partitions: 4, incarnation: first!.incarnation })
      expect(await log.endOffsets(topic)).toEqual([0, 1, 0, 0])
      expect((await log.append(topic, 3, labelledBatch('b', 1))).baseOffset).toBe(0)
      expect(await log.describeTopic(`${topic}.absent`)).toBeNull()
    })

    it('stores positions per owner and topic as a hint', async () => {
      const topic = await newTopic(2)
      const owner = `owner-${unique}`
      expect(await log.loadPositions(owner, topic)).toEqual(new Map())
      await log.append(topic, 0, labelledBatch('a', 9))
      await log.append(topic, 1, labelledBatch('b', 9))
      await log.storePositions(owner, topic, new Map([[0, 3]]))
      await log.storePositions(
        owner,
        topic,
        new Map([
          [0, 5],
          [1, 8],
        ]),
      )
      expect(new Map(await log.loadPositions(owner, topic))).toEqual(
        new Map([
          [0, 5],
          [1, 8],
        ]),
      )
      expect(await log.loadPositions(`${owner}.other`, topic)).toEqual(new Map())
    })

    it('ends a waiting poll when its reader is closed', async () => {
      const topic = await newTopic()
      const reader = await log.open(topic, [{ partition: 0, offset: 0 }])
      const waiting = reader.poll({ maxWaitMs: 20_000, maxBytes: 1 << 20 })
      await reader.close()
      expect(await waiting).toEqual([])
    })
  })
}
