import avsc from 'avsc'
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { LIMITS } from '#core/limits.ts'
import { partitionOf } from '#core/partitioner.ts'
import { OperatingError } from '#io/errors.ts'
import { createHttp, type HttpApp, listenOrExplain } from '#io/http.ts'
import type { EventLog, Registry } from '#io/ports.ts'
import type { Definitions, MetricDefinition, StreamDefinition } from '#metrics/definition.ts'
import { createVirtualClock } from '#testkit/clock-virtual.ts'
import { createMemoryLog, type LogFaults } from '#testkit/log-memory.ts'
import { recordsByPartition } from '#testkit/records.ts'
import { runs } from '#testkit/runs.ts'
import { type IngestDeps, ingestRoutes } from './routes.ts'
import { ensureTopics } from './topics.ts'

const many = runs(60, 'ingest')
const schema = JSON.stringify({
  type: 'record',
  name: 'Order',
  fields: [
    { name: 'order_id', type: 'string' },
    { name: 'customer', type: ['null', 'string'], default: null },
    { name: 'at', type: { type: 'long', logicalType: 'timestamp-millis' } },
    { name: 'cents', type: 'long' },
    { name: 'weight', type: 'double', default: 1 },
    { name: 'price', type: { type: 'bytes', logicalType: 'decimal', precision: 10, scale: 2 }, default: '\u0000' },
    { name: 'state', type: { type: 'enum', name: 'State', symbols: ['NEW', 'PAID'] }, default: 'NEW' },
  ],
})
const avro = avsc.Type.forSchema(JSON.parse(schema) as avsc.Schema)
const orders = {
  name: 'orders',
  doc: 'Orders.',
  file: 'streams/orders.yaml',
  schema,
  key: 'customer',
  id: 'order_id',
  partitions: 3,
  retentionMs: 1_000,
  eventTime: { field: 'at', unit: 'ms' },
  disorderMs: 60_000,
  futureToleranceMs: null,
  dedupHorizonEpochs: 10,
  fields: [],
} as StreamDefinition
const keyless = { ...orders, name: 'clicks', key: null, id: null } as StreamDefinition
const metric = { name: 'revenue', stream: orders } as MetricDefinition
const definitions: Definitions = { directory: '', streams: [orders, keyless], metrics: [metric] }
const registry: Registry = { register: () => Promise.resolve(41), schemaById: () => Promise.resolve(schema) }

const apps: HttpApp[] = []
afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.close()))
})

async function ingestOf(options: { faults?: LogFaults; slowLog?: Promise<void> } & Partial<IngestDeps> = {}) {
  const clock = createVirtualClock()
  const memory = createMemoryLog({ clock, ...(options.faults === undefined ? {} : { faults: options.faults }) })
  const log: EventLog =
    options.slowLog === undefined
      ? memory
      : { ...memory, append: (...args) => options.slowLog!.then(() => memory.append(...args)) }
  const app = await createHttp({
    name: 'ingest',
    version: '0',
    title: 'Ingest',
    logger: false,
    bodyLimitBytes: 1_000,
    ready: () => ({ parts: {} }),
  })
  apps.push(app)
  const barriers = { put: () => Promise.resolve({ id: 5, offsets: [1, 2, 3] }) }
  await app.register(ingestRoutes, { log, definitions, registry, barriers, clock, logger: { warn() {} }, ...options })
  return { app, log: memory }
}

type Outcome = { accepted: number; rejected: { index: number; code: string; reason: string; field?: string }[] }

async function send(app: HttpApp, payload: string | Buffer, options: { stream?: string; type?: string } = {}) {
  const answer = await app.inject({
    method: 'POST',
    url: `/v1/streams/${options.stream ?? 'orders'}/events`,
    headers: { 'content-type': options.type ?? 'application/json' },
    payload,
  })
  return {
    status: answer.statusCode,
    headers: answer.headers,
    body: answer.json<Outcome & { code: string; detail: string }>(),
  }
}

/** Every event of a topic: partition, key, decoded. */
async function eventsOf(log: EventLog, topic = 'events.orders') {
  return (await recordsByPartition(log, topic)).flatMap((records, partition) =>
    records.map(({ key, value }) => {
      expect([...value!.subarray(0, 5)]).toEqual([0, 0, 0, 0, 41])
      const event = { ...(avro.fromBuffer(Buffer.from(value!.subarray(5))) as Record<string, unknown>) }
      return { partition, key: key === null ? null : Buffer.from(key).toString(), event }
    }),
  )
}

const at = 1_767_225_600_000
const good = (order_id: string, more: object = {}) => ({ order_id, customer: 'c1', at, cents: 100, ...more })

describe('[D2] events over HTTP', () => {
  it('take a JSON array, one object, and NDJSON', async () => {
    const { app, log } = await ingestOf()
    expect((await send(app, JSON.stringify([good('a'), good('b')]))).body).toEqual({ accepted: 2, rejected: [] })
    expect((await send(app, `\ufeff ${JSON.stringify(good('c'))}`)).body).toEqual({ accepted: 1, rejected: [] })
    const lines = `${JSON.stringify(good('d'))}\r\n\n${JSON.stringify(good('e'))}`
    for (const type of ['application/x-ndjson', 'application/jsonl; charset=utf-8']) {
      expect((await send(app, lines, { type })).body).toEqual({ accepted: 2, rejected: [] })
    }
    expect((await send(app, '[]')).body).toEqual({ accepted: 0, rejected: [] })
    expect((await send(app, '', { type: 'application/x-ndjson' })).status).toBeLessThan(500)
    const records = await eventsOf(log)
    expect(records.map(({ event }) => event['order_id'])).toEqual(['a', 'b', 'c', 'd', 'e', 'd', 'e'])
    expect(records[0]!.event).toMatchObject({ customer: 'c1', at, cents: 100, weight: 1, state: 'NEW' })
  })

  it('[D3] go to the partition of their key, in order; one batch per partition', async () => {
    const { app, log } = await ingestOf()
    const events = Array.from({ length: 60 }, (_, i) => good(String(i), { customer: `kunde-${i % 7}é` }))
    await send(app, JSON.stringify(events))
    const records = await eventsOf(log)
    expect(records).toHaveLength(60)
    for (const { partition, key, event } of records) {
      expect(key).toBe(event['customer'])
      expect(partition).toBe(partitionOf(Buffer.from(key!), 3))
    }
    for (let c = 0; c < 7; c++) {
      const order = records.filter(({ key }) => key === `kunde-${c}é`).map(({ event }) => Number(event['order_id']))
      expect(order).toEqual([...order].sort((a, b) => a - b))
    }
    const reader = await log.open(
      'events.orders',
      [0, 1, 2].map((partition) => ({ partition, offset: 0 })),
    )
    const batches = await reader.poll({ maxWaitMs: 0, maxBytes: 1 << 24 })
    expect(batches.length).toBe(new Set(records.map(({ partition }) => partition)).size)
    await reader.close()
  })

  it('[S5] an event with a null key comes to the same partition when it is sent again', async () => {
    const { app, log } = await ingestOf()
    const events = Array.from({ length: 20 }, (_, i) => good(`id-${i}`, { customer: null }))
    await send(app, JSON.stringify(events))
    await send(app, JSON.stringify(events.slice(7)))
    const places = new Map<unknown, Set<number>>()
    for (const { partition, key, event } of await eventsOf(log)) {
      expect(key).toBeNull()
      places.set(event['order_id'], (places.get(event['order_id']) ?? new Set()).add(partition))
    }
    expect([...places.values()].every((each) => each.size === 1)).toBe(true)
    expect(new Set([...places.values()].flatMap((each) => [...each])).size).toBe(3)
  })

  it('without key and id, requests go round the partitions', async () => {
    const { app, log } = await ingestOf()
    for (let i = 0; i < 3; i++) await send(app, JSON.stringify([good('a'), good('b')]), { stream: 'clicks' })
    expect(await log.endOffsets('events.clicks')).toEqual([2, 2, 2])
  })

  const bad: [title: string, item: string, code: string, field?: string][] = [
    ['schema mismatch', '{"nothing":1}', 'MISSING_FIELD', 'order_id'],
    ['unknown field', JSON.stringify(good('x', { colour: 'red' })), 'UNKNOWN_FIELD', 'colour'],
    ['wrong type', JSON.stringify(good('x', { cents: 'ten' })), 'WRONG_TYPE', 'cents'],
    ['missing field', '{"order_id":"x","at":1767225600000}', 'MISSING_FIELD', 'cents'],
    ['seconds for milliseconds', JSON.stringify(good('x', { at: at / 1_000 })), 'EVENT_TIME_RANGE', 'at'],
    ['microseconds', JSON.stringify(good('x', { at: at * 1_000 })), 'EVENT_TIME_RANGE', 'at'],
    [
      'event time without an offset',
      JSON.stringify(good('x', { at: '2026-01-01T00:00:00' })),
      'EVENT_TIME_FORMAT',
      'at',
    ],
    ['bare NaN', '{"order_id":"x","at":1767225600000,"cents":1,"weight":NaN}', 'NOT_FINITE', 'weight'],
    ['NaN as text', JSON.stringify(good('x', { weight: 'NaN' })), 'NOT_FINITE', 'weight'],
    ['int64 beyond 2^53', '{"order_id":"x","at":1767225600000,"cents":9007199254740993}', 'NUMBER_UNSAFE', 'cents'],
    ['int64 beyond int64', JSON.stringify(good('x', { cents: '9223372036854775808' })), 'INT_RANGE', 'cents'],
    ['decimal of three places', JSON.stringify(good('x', { price: '1.005' })), 'DECIMAL_SCALE', 'price'],
    ['unknown symbol', JSON.stringify(good('x', { state: 'LOST' })), 'BAD_ENUM', 'state'],
    ['a huge event', JSON.stringify(good('x'.repeat(LIMITS.recordBytes))), 'RECORD_TOO_LARGE'],
    ['broken JSON', '{"order_id": "x", "at": }', 'BAD_JSON'],
    ['not an object', '17', 'WRONG_TYPE'],
    ['null', 'null', 'WRONG_TYPE'],
  ]
  it.each(bad)('%s is refused by item, and the good go in', async (_title, item, code, field) => {
    const { app, log } = await ingestOf()
    const [before, after] = [JSON.stringify(good('g1')), JSON.stringify(good('g2'))]
    for (const [payload, type] of [
      [`[${before},${item} ,\n${after}]`, 'application/json'],
      [`${before}\n${item}\n${after}\n`, 'application/x-ndjson'],
    ] as const) {
      const { status, body } = await send(app, payload, { type })
      expect(status).toBe(200)
      expect(body.accepted).toBe(2)
      expect(body.rejected).toEqual([
        { index: 1, code, reason: expect.any(String) as string, ...(field === undefined ? {} : { field }) },
      ])
    }
    expect((await eventsOf(log)).map(({ event }) => event['order_id'])).toEqual(['g1', 'g2', 'g1', 'g2'])
  })

  it('bytes that are no UTF-8 spoil their own line or item only', async () => {
    const { app } = await ingestOf()
    const one = Buffer.from(JSON.stringify(good('g1')))
    const broken = Buffer.concat([Buffer.from('{"order_id":"'), Buffer.from([0xff]), Buffer.from('"}')])
    const lines = await send(app, Buffer.concat([one, Buffer.from('\n'), broken]), { type: 'application/x-ndjson' })
    expect(lines.body).toMatchObject({ accepted: 1, rejected: [{ index: 1, code: 'BAD_JSON', reason: 'not UTF-8' }] })
    const array = await send(app, Buffer.concat([Buffer.from('['), broken, Buffer.from(','), one, Buffer.from(']')]))
    expect(array.body).toMatchObject({ accepted: 1, rejected: [{ index: 0, code: 'BAD_JSON' }] })
  })

  it.each([
    ['unknown stream', '[]', 404, 'STREAM_UNKNOWN', { stream: 'nope' }],
    ['truncated array', '[{"order_id":"a"},{"order', 400, 'REQUEST_INVALID', {}],
    ['no JSON at all', 'hello', 400, 'REQUEST_INVALID', {}],
    ['text behind the array', '[{}] x', 400, 'REQUEST_INVALID', {}],
    ['form', 'a=b', 415, 'MEDIA_TYPE', { type: 'application/x-www-form-urlencoded' }],
    ['5 MB', `[${'1,'.repeat(2_500_000)}1]`, 413, 'BODY_TOO_LARGE', {}],
    ['too many events', `[${'1,'.repeat(LIMITS.ingestEvents)}1]`, 413, 'BODY_TOO_LARGE', {}],
    ['too many lines', '1\n'.repeat(LIMITS.ingestEvents + 1), 413, 'BODY_TOO_LARGE', { type: 'application/x-ndjson' }],
  ])('%s is refused as a whole, and nothing goes in', async (_title, payload, status, code, options) => {
    const { app, log } = await ingestOf()
    const answer = await send(app, payload, options)
    expect([answer.status, answer.body.code]).toEqual([status, code])
    expect(await log.endOffsets('events.orders')).toEqual([0, 0, 0])
  })

  // Goal: conservation, accepted + rejected = received = on the log + told. Method: bodies mixed from good, bad and broken items, both
  // forms, any order; the log is counted from outside.
  it('[D5] accepted + rejected = received, and what is accepted is on the log', async () => {
    const { app, log } = await ingestOf()
    let logged = 0
    const item = fc.oneof(
      { weight: 3, arbitrary: fc.string({ maxLength: 8 }).map((id) => ({ text: JSON.stringify(good(id)), ok: true })) },
      { weight: 1, arbitrary: fc.constantFrom(...bad.slice(0, 13).map(([, text]) => ({ text, ok: false }))) },
      {
        weight: 1,
        arbitrary: fc
          .constantFrom('{', '"', ']', '{"a":[1,2]', 'x,y', '\\', '{"a":"]"')
          .map((text) => ({ text, ok: false })),
      },
    )
    await fc.assert(
      fc.asyncProperty(fc.array(item, { maxLength: 30 }), async (items) => {
        const { status, body } = await send(app, items.map(({ text }) => text).join('\n'), {
          type: 'application/x-ndjson',
        })
        if (items.length === 0) return
        expect(status).toBe(200)
        expect(body.accepted).toBe(items.filter(({ ok }) => ok).length)
        expect(body.rejected.map(({ index }) => index)).toEqual(items.flatMap(({ ok }, i) => (ok ? [] : [i])))
        logged += body.accepted
        expect((await log.endOffsets('events.orders')).reduce((a, b) => a + b)).toBe(logged)
      }),
      many,
    )
  })
})

describe('[D6] back-pressure and failure', () => {
  it('a log that may or may not have the events is 503, to be sent again', async () => {
    const { app, log } = await ingestOf({
      faults: { onAppend: ({ attempt }) => (attempt === 0 ? { kind: 'ack-lost' } : null) },
    })
    const answer = await send(app, JSON.stringify([good('a')]))
    expect(log.fired['ack-lost']).toBe(1)
    expect([answer.status, answer.body.code, answer.headers['retry-after']]).toEqual([503, 'LOG_APPEND_UNKNOWN', '1'])
    expect((await send(app, JSON.stringify([good('a')]))).status).toBe(200)
    const records = await eventsOf(log)
    expect(records.map(({ partition }) => partition)).toEqual([records[0]!.partition, records[0]!.partition])
  })

  it('beyond the bytes in flight requests are 503 with Retry-After, and the bytes come back', async () => {
    let release = () => {}
    const slowLog = new Promise<void>((resolve) => (release = resolve))
    const payload = JSON.stringify([good('a')])
    const { app } = await ingestOf({ slowLog, bytesInFlightMax: 2.5 * payload.length })
    const url = await listenOrExplain(app, { host: '127.0.0.1', port: 0 })
    const post = () =>
      fetch(`${url}/v1/streams/orders/events`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: payload,
      })
    // One of three finds no room; the others wait for the log until it is released.
    const all = [post(), post(), post()]
    const refused = await Promise.race(all)
    expect([
      refused.status,
      ((await refused.json()) as { code: string }).code,
      refused.headers.get('retry-after'),
    ]).toEqual([503, 'OVERLOADED', '1'])
    release()
    expect((await Promise.all(all)).map(({ status }) => status).sort((a, b) => a - b)).toEqual([200, 200, 503])
    for (let i = 0; i < 5; i++) expect((await post()).status).toBe(200)
  })
})

describe('streams and barriers', () => {
  it('are listed with policy, schema id and end offsets', async () => {
    const { app } = await ingestOf()
    await send(app, JSON.stringify([good('a')]))
    const { streams } = (await app.inject('/v1/streams')).json<{ streams: Record<string, unknown>[] }>()
    expect(streams.map(({ stream }) => stream)).toEqual(['orders', 'clicks'])
    const one = (await app.inject('/v1/streams/orders')).json<Record<string, unknown>>()
    expect(one).toMatchObject({
      topic: 'events.orders',
      schema_id: 41,
      partitions: 3,
      key: 'customer',
      disorder: '1m',
      retention: '1s',
      future_tolerance: null,
    })
    expect((one['end_offsets'] as number[]).reduce((a, b) => a + b)).toBe(1)
    expect((await app.inject('/v1/streams/nope')).statusCode).toBe(404)
  })

  it('put a barrier on demand', async () => {
    const { app } = await ingestOf()
    for (const request of [{}, { payload: {} }]) {
      const answer = await app.inject({ method: 'POST', url: '/v1/streams/orders/barriers', ...request })
      expect([answer.statusCode, answer.json()]).toEqual([200, { id: 5, offsets: [1, 2, 3] }])
    }
    expect((await app.inject({ method: 'POST', url: '/v1/streams/nope/barriers' })).statusCode).toBe(404)
  })

  it('[R4] an incompatible schema stops the start, naming file and reason', async () => {
    const refusing: Registry = {
      ...registry,
      register: () =>
        Promise.reject(
          new OperatingError('SCHEMA_INCOMPATIBLE', 'reader type: int not compatible with writer type: double'),
        ),
    }
    await expect(ingestOf({ registry: refusing })).rejects.toMatchObject({
      code: 'SCHEMA_INCOMPATIBLE',
      message: expect.stringMatching(/^streams\/orders.yaml: .*events.orders-value: reader type/) as string,
    })
  })

  it('have topics for events, dead letters, quarantine and the partials of their metrics, as many partitions as the events have', async () => {
    const log = createMemoryLog({ clock: createVirtualClock() })
    await log.createTopics([{ topic: 'events.clicks', partitions: 5, retentionMs: null, cleanup: 'delete' }])
    await ensureTopics(log, definitions)
    const topics = ['orders', 'clicks'].flatMap((stream) => [
      `events.${stream}`,
      `dead.${stream}`,
      `quarantine.${stream}`,
    ])
    const counts = [...topics, 'live.revenue', 'sealed.revenue'].map((topic) => log.describeTopic(topic))
    expect((await Promise.all(counts)).map((described) => described?.partitions)).toEqual([3, 3, 3, 5, 5, 5, 3, 3])
  })

  it('are in the OpenAPI document with both body forms', async () => {
    const { app } = await ingestOf()
    await app.ready()
    const document = (await app.inject('/openapi.json')).json<{
      paths: Record<string, { post?: { requestBody: { content: object } } }>
    }>()
    expect(Object.keys(document.paths['/v1/streams/{stream}/events']!.post!.requestBody.content)).toEqual([
      'application/json',
      'application/x-ndjson',
    ])
  })
})
