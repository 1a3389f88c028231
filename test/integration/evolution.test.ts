/**
 * Goal: on real Kafka, one process per service, a stream's schema changes while producers of older shapes go on; and a producer that
 * goes past the registry's check costs its own records only: each is a dead letter with its bytes and the reason, and the numbers of
 * its partition go on, exact.
 * Method: `npm run start:distributed`, stopped and started again with changed definitions; stock Kafka clients; plain computation.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { SchemaRegistry } from '@kafkajs/confluent-schema-registry'
import kafkajs from 'kafkajs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { frame } from '#format/confluent.ts'
import type { DriftReport } from '#schemas/drift.ts'
import { PlatformProcess } from '#testkit/platform-process.ts'
import { random, SEED } from '#testkit/runs.ts'
import { distributedMissing } from '#testkit/services.ts'
import { startKafka } from '../../infra/local/launcher.ts'
import { until } from '../chaos/shift.ts'
import {
  bytesOf,
  drawOrder,
  eventOf,
  type Order,
  SHAPES,
  type Shape,
  START_MS,
  schemaOf,
  tableOf,
  writeDefinitions,
} from '../embedded/evolution.ts'
import { readLetters } from './letters.ts'

const missing = await distributedMissing('evolution on Kafka')

const SUBJECT = 'events.orders-value'
const METRICS = ['sales', 'steady', 'channels']

describe.skipIf(missing !== null)('evolution on Kafka', () => {
  const draw = random(SEED)
  const orders: Order[] = []
  const ids = new Map<Shape, number>()
  let data: string
  let definitions: string
  let platform: PlatformProcess
  let addresses: Map<string, string>
  let broker: Awaited<ReturnType<typeof startKafka>>
  let kafka: InstanceType<typeof kafkajs.Kafka>

  async function start(shape: Shape): Promise<void> {
    await writeDefinitions(definitions, shape)
    platform = new PlatformProcess({
      args: ['platform/distributed.ts'],
      env: {
        TIDEMARK_DATA_DIR: data,
        TIDEMARK_KAFKA_BROKERS: broker.brokers,
        TIDEMARK_DEFINITIONS: definitions,
        TIDEMARK_FEED: 'none',
        TIDEMARK_NIGHTLY: 'off',
        TIDEMARK_PORT: '0',
        TIDEMARK_REGISTRY_PORT: '0',
        TIDEMARK_INGEST_PORT: '0',
        TIDEMARK_BARRIER_INTERVAL: '1h',
        TIDEMARK_LOG_LEVEL: 'error',
      },
    })
    await platform.untilReady()
    addresses = new Map(
      [...platform.output.matchAll(/^ {2}(\w+) +(\S+) +pid \d+$/gm)].map(([, name = '', address = '']) => [
        name,
        address,
      ]),
    )
    const latest = await ask<{ id: number; version: number }>('registry', `/subjects/${SUBJECT}/versions/latest`)
    ids.set(shape, latest.id)
  }

  /** A request that must succeed; what is not ready yet is asked again. */
  async function ask<T>(part: string, path: string, body?: unknown): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      const response = await fetch(`${addresses.get(part)}${path}`, {
        ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
        headers: { 'content-type': 'application/json' },
      })
      const text = await response.text()
      if (response.ok) return JSON.parse(text) as T
      if ((response.status !== 503 && response.status !== 409) || attempt === 3_000)
        throw new Error(`${path}: ${response.status} ${text}`)
      await sleep(100)
    }
  }

  async function produce(messages: { key: string; value: Uint8Array; partition?: number }[]): Promise<void> {
    const producer = kafka.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner })
    await producer.connect()
    await producer.send({
      topic: 'events.orders',
      messages: messages.map(({ value, ...rest }) => ({ ...rest, value: Buffer.from(value) })),
    })
    await producer.disconnect()
  }

  const some = (count: number, shape: Shape): Order[] =>
    Array.from({ length: count }, (_, i) => drawOrder(draw, `${shape}-${orders.length}-${i}`, shape))

  /** Orders of the current shape by HTTP, and of every shape so far by a stock producer. */
  async function flow(now: Shape): Promise<void> {
    const fresh = some(20, now)
    const taken = await ask<{ accepted: number; rejected: unknown[] }>(
      'ingest',
      '/v1/streams/orders/events',
      fresh.map(eventOf),
    )
    expect(taken).toMatchObject({ accepted: fresh.length, rejected: [] })
    orders.push(...fresh)
    const old = [...ids.keys()].flatMap((shape) => some(10, shape).map((order) => ({ ...order, id: `k-${order.id}` })))
    await produce(old.map((order) => ({ key: order.shop, value: bytesOf(order, ids.get(order.shape)!) })))
    orders.push(...old)
  }

  /** One order at a time until it is over, and at least `least`. */
  async function produceUntil(over: () => boolean, least: number, shape: Shape): Promise<void> {
    const producer = kafka.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner })
    await producer.connect()
    for (let sent = 0; sent < least || !over(); sent++) {
      const order = drawOrder(draw, `m-${shape}-${sent}`, shape)
      const value = Buffer.from(bytesOf(order, ids.get(shape)!))
      await producer.send({ topic: 'events.orders', messages: [{ key: order.shop, value }] })
      orders.push(order)
      await sleep(50)
    }
    await producer.disconnect()
  }

  async function settle(): Promise<void> {
    const { end_offsets: ends } = await ask<{ end_offsets: number[] }>('serve', '/v1/streams/orders')
    for (const metric of METRICS) {
      await until(`${metric} stands on ${ends.join(', ')}`, async () => {
        const { offsets } = await ask<{ offsets: number[] }>('serve', `/v1/metrics/${metric}`)
        return ends.every((end, partition) => (offsets[partition] ?? 0) >= end)
      })
    }
  }

  async function expectTables(layer: string): Promise<void> {
    for (const metric of METRICS) {
      const { dimensions } = await ask<{ dimensions: { name: string }[] }>('serve', `/v1/metrics/${metric}`)
      const names = dimensions.map(({ name }) => name)
      const { rows } = await ask<{ rows: { from: string; group: Record<string, string>; values: object }[] }>(
        'serve',
        `/v1/metrics/${metric}/query`,
        { group_by: names, layer },
      )
      const found = rows.map(({ from, group, values }) => [
        [(Date.parse(from) - START_MS) / 3_600_000, ...names.map((name) => group[name])].join(' '),
        Object.values(values),
      ])
      expect(Object.fromEntries(found), `${metric}, ${layer}`).toEqual(tableOf(metric, orders))
    }
  }

  async function job(type: string, fields: object): Promise<void> {
    const { id } = await ask<{ id: string }>('serve', '/v1/jobs', { type, ...fields })
    await until(`job ${type} ends`, async () => {
      const { state, error } = await ask<{ state: string; error: unknown }>('serve', `/v1/jobs/${id}`)
      if (state === 'failed' || state === 'cancelled') throw new Error(`job ${type}: ${JSON.stringify(error)}`)
      return state === 'completed'
    })
  }

  async function build(): Promise<void> {
    await job('build-view', { metric: '*' })
    for (const metric of METRICS) {
      const { views } = await ask<{ views: { cut: number }[] }>('serve', `/v1/views/${metric}`)
      await until(`${metric} stands on its view`, async () => {
        const { cut } = await ask<{ cut: number }>('serve', `/v1/metrics/${metric}`)
        return cut >= views[0]!.cut
      })
    }
  }

  beforeAll(async () => {
    process.stdout.write(`evolution on Kafka: repeat with SEED=${SEED}\n`)
    data = await mkdtemp(join(tmpdir(), 'tidemark-evolution-kafka-'))
    definitions = await mkdtemp(join(tmpdir(), 'tidemark-evolution-'))
    broker = await startKafka({ directory: join(data, 'kafka'), temporary: true })
    kafka = new kafkajs.Kafka({
      clientId: 'stock',
      brokers: [broker.brokers],
      logLevel: kafkajs.logLevel.NOTHING,
    })
    await start(2)
  })
  afterAll(async () => {
    await platform?.stop()
    await broker?.stop()
    for (const directory of [data, definitions]) await rm(directory, { recursive: true, force: true })
  })

  for (const shape of SHAPES.filter((each) => each >= 2)) {
    it(`[R5] [M4] shape ${shape}: producers of every shape so far are read as it, live and in views`, async () => {
      if (shape > 2) {
        // Producers of the shape before know nothing of the change: they go on while the platform is away.
        let isBack = false
        const meanwhile = produceUntil(() => isBack, 10, (shape - 1) as Shape)
        expect(await platform.stop()).toBe(0)
        await start(shape)
        isBack = true
        await meanwhile
        await settle()
        await expectTables('merged')
      }
      await flow(shape)
      await settle()
      await expectTables('merged')
      if (shape % 2 === 0) {
        await build()
        await expectTables('batch')
        for (const metric of METRICS) {
          await job('drift', { metric })
          const report = await ask<DriftReport>('serve', `/v1/drift/${metric}`)
          expect(report, metric).toMatchObject({ cells_different: 0, unexplained: 0 })
        }
      }
      await flow(shape)
      await settle()
      await expectTables('merged')
    })
  }

  it('[R4] [R5] [D5] a producer that bypasses the registry is dead-lettered with bytes and reason; its partitions go on', async () => {
    const broken = { ...schemaOf(6), fields: schemaOf(6).fields.filter(({ name }) => name !== 'cents') }
    const refused = await fetch(`${addresses.get('registry')}/subjects/${SUBJECT}/versions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      // A reader of this would find no value for `must` in what is there.
      body: JSON.stringify({
        schema: JSON.stringify({ ...broken, fields: [...broken.fields, { name: 'must', type: 'int' }] }),
      }),
    })
    expect(refused.status).toBe(409)
    // The way around: the same schema where nothing is compared, its id on the stream's topic.
    const registry = new SchemaRegistry({ host: addresses.get('registry')! })
    const { id: bypass } = await registry.register(
      { type: 'AVRO' as never, schema: JSON.stringify(broken) },
      { subject: 'private-value', compatibility: 'NONE' as never },
    )
    const order = some(1, 6)[0]!
    const good = bytesOf(order, ids.get(6)!)
    const { cents: _, ...rest } = eventOf(order)
    const avsc = await import('avsc')
    const incompatible = frame(bypass, avsc.default.Type.forSchema(broken as never).toBuffer(rest))
    const unknown = Uint8Array.from(good)
    new DataView(unknown.buffer).setUint32(1, 999_999)
    const bad: [string, Uint8Array][] = [
      ['unknown-schema', unknown],
      ['incompatible-schema', incompatible],
      ['truncated', good.subarray(0, -1)],
      ['wrong-magic', Uint8Array.from(good, (byte, i) => (i === 0 ? 7 : byte))],
    ]
    for (const partition of [0, 1]) {
      const behind = some(5, 6).map((each) => ({ ...each, id: `${each.id}-behind-${partition}` }))
      await produce([
        ...bad.map(([, value]) => ({ key: 'x', value, partition })),
        ...behind.map((each) => ({ key: 'x', value: bytesOf(each, ids.get(6)!), partition })),
      ])
      orders.push(...behind)
    }
    await settle()
    await expectTables('merged')
    await flow(6)
    await settle()
    await expectTables('merged')
    await build()
    await expectTables('batch')

    const letters = await readLetters(kafka, registry, 'dead.orders', 2 * bad.length)
    const told = (list: readonly { reason: string; value: Uint8Array | null; partition: number }[]) =>
      list
        .map(({ reason, value, partition }) => `${partition} ${reason} ${Buffer.from(value!).toString('hex')}`)
        .toSorted()
    expect(told(letters)).toEqual(
      told([0, 1].flatMap((partition) => bad.map(([reason, value]) => ({ reason, value, partition })))),
    )
    await job('verify', { stream: 'orders' })
  })
})
