/**
 * The Kafka log against a real broker: the port's conformance, then what only a broker and a network can do. Goal: under
 * lost answers, cuts and kill -9 nothing is lost and nothing doubled, and what is not known is said to be unknown.
 * Stock kafkajs, in the same process, is the oracle of what is on the wire.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { encodeBatch, openBatch, readHeader } from '#format/record-batch.ts'
import { systemClock } from '#io/clock.ts'
import { type KafkaLogOptions, openKafkaLog } from '#io/log-kafka.ts'
import type { EventLog, FetchedBatch } from '#io/ports.ts'
import { API, type FaultProxy, startFaultProxy } from '#testkit/fault-proxy.ts'
import { labelledBatch } from '#testkit/labelled-batch.ts'
import { describeEventLog, readRecords, valuesOf } from '#testkit/log-conformance.ts'
import { kafkaForTests } from '#testkit/services.ts'
import { startKafka } from '../../infra/local/launcher.ts'

interface StockMessage {
  key: Buffer | null
  value: Buffer | null
  partition?: number
  headers?: Record<string, unknown>
}
interface StockKafka {
  admin(): {
    connect(): Promise<void>
    disconnect(): Promise<void>
    fetchTopicOffsets(topic: string): Promise<unknown>
    deleteTopicRecords(options: { topic: string; partitions: { partition: number; offset: string }[] }): Promise<void>
    fetchOffsets(options: { groupId: string; topics: string[] }): Promise<{ partitions: { offset: string }[] }[]>
  }
  consumer(options: object): {
    connect(): Promise<void>
    disconnect(): Promise<void>
    subscribe(options: object): Promise<void>
    run(options: { eachMessage(payload: { message: StockMessage }): Promise<void> }): Promise<void>
  }
  producer(options: object): StockProducer
}
interface StockProducer {
  connect(): Promise<void>
  disconnect(): Promise<void>
  send(options: object): Promise<unknown>
  transaction(): Promise<{
    send(options: object): Promise<unknown>
    commit(): Promise<void>
    abort(): Promise<void>
  }>
}
const stock = createRequire(import.meta.url)('kafkajs') as {
  Kafka: new (options: object) => StockKafka
  Partitioners: { DefaultPartitioner: unknown }
}

const { brokers, skip } = await kafkaForTests()
const SPEC = { partitions: 1, retentionMs: null, cleanup: 'delete' } as const
const FETCH = { maxWaitMs: 2_000, maxBytes: 1 << 20 }
let topics = 0
const newTopic = (): string => `kafka.${process.pid}.${topics++}`
const stockKafka = (): StockKafka =>
  new stock.Kafka({ clientId: 'oracle', brokers: [brokers], logLevel: 0, retry: { retries: 20 } })

async function contentOf(log: EventLog, topic: string): Promise<(string | null)[]> {
  const [end] = await log.endOffsets(topic)
  const reader = await log.open(topic, [{ partition: 0, offset: 0 }])
  const values = valuesOf(await readRecords(reader, end!))
  await reader.close()
  return values
}

if (skip === null) {
  describeEventLog('kafka', async () => {
    const log = await openKafkaLog({ brokers: [brokers], clientId: 'test', clock: systemClock })
    return { log, dispose: () => log.close() }
  })
}

describe.skipIf(skip !== null)('kafka, what is on the wire', () => {
  let log: EventLog
  beforeAll(async () => {
    log = await openKafkaLog({ brokers: [brokers!], clientId: 'test', clock: systemClock })
  })
  afterAll(() => log.close())

  it('another client reads exactly the records that were appended', async () => {
    const topic = newTopic()
    await log.createTopics([{ ...SPEC, topic }])
    const headers = [['h', Buffer.from([0, 255])]] as const
    await log.append(
      topic,
      0,
      encodeBatch(
        [
          { key: null, value: Buffer.from('v'), headers },
          { key: Buffer.from('k'), value: null },
        ],
        1_767_225_600_000,
      ),
    )
    await log.append(topic, 0, labelledBatch('b', 3))
    const consumer = stockKafka().consumer({ groupId: `oracle-${topic}` })
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    const seen: StockMessage[] = []
    await consumer.run({ eachMessage: async ({ message }) => void seen.push(message) })
    while (seen.length < 5) await sleep(20)
    await consumer.disconnect()
    expect(seen.map(({ key, value }) => [key?.toString() ?? null, value?.toString() ?? null])).toEqual([
      [null, 'v'],
      ['k', null],
      ['k0', 'b-0'],
      ['k1', 'b-1'],
      ['k2', 'b-2'],
    ])
    expect(seen[0]!.headers).toEqual({ h: Buffer.from([0, 255]) })
  })

  it('reads what another client wrote, compressed as it is', async () => {
    const topic = newTopic()
    await log.createTopics([{ ...SPEC, topic }])
    const producer = stockKafka().producer({ createPartitioner: stock.Partitioners.DefaultPartitioner })
    await producer.connect()
    const messages = Array.from({ length: 200 }, (_, i) => ({ value: `foreign-${i}`, partition: 0 }))
    await producer.send({ topic, compression: 1, messages })
    await producer.disconnect()
    const reader = await log.open(topic, [{ partition: 0, offset: 0 }])
    let batches: FetchedBatch[] = []
    while (batches.length === 0) batches = await reader.poll(FETCH)
    await reader.close()
    expect(readHeader(batches[0]!.bytes)).toMatchObject({ codec: 1, count: 200, lastOffset: 199 })
    expect('dead' in openBatch(batches[0]!.bytes, 0)).toBe(false)
    expect(await contentOf(log, topic)).toEqual(messages.map(({ value }) => value))
  })

  it('hands over aborted transactions as control batches, interleaved ones too', async () => {
    const topic = newTopic()
    await log.createTopics([{ ...SPEC, topic }])
    const kafka = stockKafka()
    const makeProducer = async (id: string): Promise<StockProducer> => {
      const createPartitioner = stock.Partitioners.DefaultPartitioner
      const options = { transactionalId: `${topic}-${id}`, idempotent: true, maxInFlightRequests: 1, createPartitioner }
      const producer = kafka.producer(options)
      await producer.connect()
      return producer
    }
    const [one, two, three] = [await makeProducer('1'), await makeProducer('2'), await makeProducer('3')]
    const [a, b, c] = [await one.transaction(), await two.transaction(), await three.transaction()]
    const send = (transaction: typeof a, value: string): Promise<unknown> =>
      transaction.send({ topic, messages: [{ key: Buffer.alloc(4), value, partition: 0 }] })
    await send(a, 'aborted-a0')
    await send(b, 'aborted-b0')
    await send(c, 'kept-c0')
    await send(a, 'aborted-a1')
    await b.abort()
    await log.append(topic, 0, labelledBatch('plain', 1))
    await send(a, 'aborted-a2')
    await a.abort()
    await send(c, 'kept-c1')
    await c.commit()
    const again = await two.transaction()
    await send(again, 'kept-b1')
    await again.commit()
    await Promise.all([one, two, three].map((producer) => producer.disconnect()))

    // A coordinator answers a commit before its marker is in the log: eight records and four markers come in the end.
    const end = 12
    await expect.poll(() => log.endOffsets(topic), { timeout: 120_000 }).toEqual([end])
    for (let from = 0; from < end; from++) {
      const reader = await log.open(topic, [{ partition: 0, offset: from }])
      const batches: FetchedBatch[] = []
      while ((batches.at(-1)?.lastOffset ?? -1) < end - 1) {
        for (const batch of await reader.poll(FETCH)) batches.push({ ...batch, bytes: batch.bytes.slice() })
      }
      await reader.close()
      expect(batches.map((batch) => batch.baseOffset)).toEqual(Array.from({ length: end - from }, (_, i) => from + i))
      const kept = batches.filter(({ bytes }) => !readHeader(bytes).control)
      for (const { bytes } of batches) expect('dead' in openBatch(bytes, 0)).toBe(false)
      const values = kept.map(
        ({ bytes }) =>
          Buffer.from(bytes)
            .toString('latin1')
            .match(/(aborted|kept|plain)-\w+/)![0],
      )
      expect(values.filter((value) => value.startsWith('aborted'))).toEqual([])
      if (from === 0) expect(values).toEqual(['kept-c0', 'plain-0', 'kept-c1', 'kept-b1'])
    }
  })

  it('[L1] refuses a position that retention has passed, at once and while reading', async () => {
    const topic = newTopic()
    await log.createTopics([{ ...SPEC, topic }])
    for (let i = 0; i < 5; i++) await log.append(topic, 0, labelledBatch(`r${i}`, 2))
    const slow = await log.open(topic, [{ partition: 0, offset: 0 }])
    await readRecords(slow, 10)
    const admin = stockKafka().admin()
    await admin.connect()
    // Loads the metadata that the next call forgets to load.
    await admin.fetchTopicOffsets(topic)
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '4' }] })
    await admin.disconnect()
    expect(await log.startOffsets(topic)).toEqual([4])
    const below = await log.open(topic, [{ partition: 0, offset: 1 }])
    await expect(readRecords(below, 1)).rejects.toMatchObject({ code: 'DATA_LOSS_SUSPECTED' })
    await log.append(topic, 0, labelledBatch('next', 1))
    expect(valuesOf(await readRecords(slow, 1))).toEqual(['next-0'])
  })

  it('stores positions where lag tools look for them', async () => {
    const topic = newTopic()
    await log.createTopics([{ ...SPEC, topic }])
    await log.append(topic, 0, labelledBatch('a', 7))
    await log.storePositions('lag-owner', topic, new Map([[0, 6]]))
    const admin = stockKafka().admin()
    await admin.connect()
    const [offsets] = await admin.fetchOffsets({ groupId: 'lag-owner', topics: [topic] })
    await admin.disconnect()
    expect(offsets!.partitions[0]!.offset).toBe('6')
  })
})

describe.skipIf(skip !== null)('kafka, behind a bad network', () => {
  let proxy: FaultProxy
  let log: EventLog
  let topic: string
  /** An append that may be tried again as often as it takes: only a request that is lost costs time. */
  const PATIENT = { requestTimeoutMs: 2_000, deliveryTimeoutMs: 300_000 }
  /** One that is tried once, for as long as a slow broker may take to answer what is not lost. */
  const ONCE = { requestTimeoutMs: 8_000, deliveryTimeoutMs: 8_000 }
  const open = (options: Pick<KafkaLogOptions, 'requestTimeoutMs' | 'deliveryTimeoutMs'>): Promise<EventLog> =>
    openKafkaLog({
      brokers: [brokers!],
      clientId: 'test',
      clock: systemClock,
      route: () => ({ host: proxy.host, port: proxy.port }),
      ...options,
    })
  beforeAll(async () => {
    proxy = await startFaultProxy(brokers!)
  })
  afterEach(() => {
    proxy.thaw()
    return log.close()
  })
  afterAll(() => proxy?.close())
  async function begin(options: Parameters<typeof open>[0]): Promise<void> {
    log = await open(options)
    topic = newTopic()
    await log.createTopics([{ ...SPEC, topic }])
    await log.append(topic, 0, labelledBatch('first', 1))
  }

  it('sends again after a lost answer, and the broker takes the batch once', async () => {
    await begin(PATIENT)
    const before = proxy.dropped
    proxy.dropResponses(API.produce, 2)
    const appended = await log.append(topic, 0, labelledBatch('once', 3))
    expect(proxy.dropped - before).toBe(2)
    expect([appended.baseOffset, appended.nextOffset]).toEqual([1, 4])
    await log.append(topic, 0, labelledBatch('after', 1))
    expect(await contentOf(log, topic)).toEqual(['first-0', 'once-0', 'once-1', 'once-2', 'after-0'])
  })

  it('finds the batch in the log when no answer ever comes', async () => {
    await begin(ONCE)
    const before = proxy.dropped
    proxy.dropResponses(API.produce, 100)
    const appended = await log.append(topic, 0, labelledBatch('found', 2))
    proxy.dropResponses(API.produce, 0)
    expect(proxy.dropped - before).toBeGreaterThan(0)
    expect([appended.baseOffset, appended.nextOffset]).toEqual([1, 3])
    await log.append(topic, 0, labelledBatch('after', 1))
    expect(await contentOf(log, topic)).toEqual(['first-0', 'found-0', 'found-1', 'after-0'])
  })

  it('says unknown when nothing can be seen, and what was in flight appears at most once', async () => {
    await begin(ONCE)
    const before = proxy.held
    proxy.freeze()
    await expect(log.append(topic, 0, labelledBatch('doubt', 2))).rejects.toMatchObject({ code: 'LOG_APPEND_UNKNOWN' })
    expect(proxy.held).toBeGreaterThan(before)
    proxy.thaw()
    const { baseOffset } = await log.append(topic, 0, labelledBatch('after', 1))
    expect([1, 3]).toContain(baseOffset)
    const content = await contentOf(log, topic)
    expect(content.filter((value) => value === 'doubt-0').length).toBeLessThanOrEqual(1)
    expect(content.filter((value) => value === 'after-0')).toHaveLength(1)
  })

  it('goes on reading and writing when connections are cut under load', async () => {
    await begin(PATIENT)
    const reader = await log.open(topic, [{ partition: 0, offset: 0 }])
    const reading = readRecords(reader, 301)
    const appends = Array.from({ length: 300 }, (_, i) => log.append(topic, 0, labelledBatch(`n${i}`, 1)))
    for (let i = 0; i < 4; i++) {
      await sleep(60)
      proxy.cut()
    }
    const offsets = (await Promise.all(appends)).map((appended) => appended.baseOffset)
    expect(offsets).toEqual(Array.from({ length: 300 }, (_, i) => i + 1))
    const expected = ['first-0', ...Array.from({ length: 300 }, (_, i) => `n${i}-0`)]
    expect(valuesOf(await reading)).toEqual(expected)
  })

  it('tells an append that surely did not happen from one in doubt', async () => {
    await begin(PATIENT)
    const unheard = await open(ONCE)
    proxy.freeze()
    await expect(unheard.append(topic, 0, labelledBatch('never', 1))).rejects.toMatchObject({ code: 'LOG_UNREACHABLE' })
    proxy.thaw()
    await unheard.close()
  })
})

describe.skipIf(skip !== null)('kafka, broker killed', () => {
  it('[S1] survives kill -9 of the broker: appends and reads recover, nothing lost, nothing doubled', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'tidemark-kill-'))
    let broker = await startKafka({ directory })
    const log = await openKafkaLog({
      brokers: [broker.brokers],
      clientId: 'test',
      clock: systemClock,
      requestTimeoutMs: 2_000,
      // A broker that was killed is started anew in seconds, or in minutes on a slow machine.
      deliveryTimeoutMs: 600_000,
    })
    try {
      const topic = newTopic()
      await log.createTopics([{ ...SPEC, topic }])
      const reader = await log.open(topic, [{ partition: 0, offset: 0 }])
      const reading = readRecords(reader, 400)
      const appends: Promise<unknown>[] = []
      for (let i = 0; i < 400; i++) {
        appends.push(log.append(topic, 0, labelledBatch(`k${i}`, 1)))
        if (i === 200) {
          await appends[50]
          process.kill(broker.pid, 'SIGKILL')
          await broker.stop()
          broker = await startKafka({ directory })
        }
      }
      await Promise.all(appends)
      const expected = Array.from({ length: 400 }, (_, i) => `k${i}-0`)
      expect(valuesOf(await reading)).toEqual(expected)
      expect(await contentOf(log, topic)).toEqual(expected)
    } finally {
      await log.close()
      await broker.stop()
      rmSync(directory, { recursive: true, force: true })
    }
  })

  it('cannot be opened where no broker is, and says so', async () => {
    const open = openKafkaLog({ brokers: ['127.0.0.1:1'], clientId: 'test', clock: systemClock, requestTimeoutMs: 300 })
    await expect(open).rejects.toMatchObject({ code: 'LOG_UNREACHABLE' })
  })
})
