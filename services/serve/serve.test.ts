/**
 * Goal: what a caller sees of the serving process over HTTP: values, grain, groups, filters, order, limits, layers, forms, refusals.
 * Method: a small log of two partitions; the partials and the view that the other services would have published; a real app.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Value } from 'typebox/value'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '#io/clock.ts'
import { type DuckDb, openDuckDb } from '#io/duckdb.ts'
import { createHttp, type HttpApp, listenOrExplain } from '#io/http.ts'
import { openLakeFolder } from '#io/lake-folder.ts'
import type { Lake } from '#io/ports.ts'
import { createTelemetry } from '#io/telemetry.ts'
import { createMemoryLog, type MemoryLog } from '#testkit/log-memory.ts'
import {
  cutOffset,
  eventsOf,
  partialBatch,
  publishedBy,
  publishSmallView,
  type SmallRecord,
  smallMetric,
} from '#testkit/partials.ts'
import { readEvents } from '#testkit/server-sent.ts'
import { describeMetric } from './describe.ts'
import { serveRoutes } from './routes.ts'
import { answerSchema, metricSchema } from './schemas.ts'
import { type Serve, startServe } from './start.ts'

const MINUTE = 60_000
const e = (minute: number, group: string | null, value: number | null): SmallRecord => ({
  window: minute * MINUTE,
  group,
  value,
})
/** Minutes 0 to 2 before cut 1, 1 (late) to 61 after it; one partition has an unsealed epoch. */
const LOGS: SmallRecord[][] = [
  [
    e(0, 'a', 5),
    e(0, 'b', -2),
    e(1, 'a', 7),
    { barrier: 1 },
    e(1, 'a', 1),
    e(60, null, 3),
    { barrier: 2 },
    e(61, 'a', 2 ** 53 - 1),
  ],
  [e(0, 'a', 10), e(2, 'b', null), { barrier: 1 }, e(60, 'b', 4), { barrier: 2 }, e(61, 'a', 2 ** 53 - 1)],
]
const LIVE = new Set([5, 7])

interface Body {
  rows: {
    from: string
    until: string
    group: Record<string, unknown>
    values: Record<string, unknown>
    finality: string
  }[]
  envelope: Record<string, unknown>
  [key: string]: unknown
}

let log: MemoryLog
let lake: Lake
let duckdb: DuckDb
let serve: Serve
let app: HttpApp
let directory: string
/** What the series could not count; none, in the end. */
const troubles: unknown[] = []

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tidemark-serve-'))
  log = createMemoryLog({ clock: systemClock })
  lake = await openLakeFolder(directory)
  duckdb = await openDuckDb({ threads: 1, memoryMb: 200, temporaryDirectory: null })
  await log.createTopics(
    ['events.smalls', 'sealed.small', 'live.small'].map((topic) => ({
      topic,
      partitions: 2,
      retentionMs: null,
      cleanup: 'delete' as const,
    })),
  )
  const telemetry = createTelemetry({ process: false, onError: (error) => void troubles.push(error) })
  const logger = { info: () => undefined, warn: () => undefined, error: () => undefined }
  const definitions = { directory, streams: [smallMetric(2).stream], metrics: [smallMetric(2)] }
  serve = await startServe({ log, lake, definitions, clock: systemClock, logger, telemetry, duckdb })
  app = await createHttp({
    name: 'serve',
    version: '0',
    title: 'Tidemark',
    logger: false,
    bodyLimitBytes: 100_000,
    ready: () => ({ parts: { serve: serve.readiness() } }),
  })
  await app.register(serveRoutes, { serve, telemetry, clock: systemClock, log, definitions })
})

afterAll(async () => {
  await app.close()
  await serve.stop()
  duckdb.close()
  await log.close()
  await rm(directory, { recursive: true })
  expect(troubles).toEqual([])
})

const get = async (path: string, headers: Record<string, string> = {}) => {
  const response = await app.inject({ method: 'GET', url: path, headers })
  const json = response.body !== '' && response.headers['content-type']?.toString().includes('json')
  return {
    status: response.statusCode,
    headers: response.headers,
    text: response.body,
    body: (json ? response.json() : {}) as Body,
  }
}
const query = (search: string) => get(`/v1/metrics/small/query${search}`)
const values = ({ body }: { body: Body }, name: string) => body.rows.map((row) => row.values[name])

describe('serve', () => {
  it('[M1] an empty platform answers no rows at offset 0', async () => {
    await serve.refresh()
    const { status, body } = await query('')
    expect(status).toBe(200)
    expect(body).toMatchObject({
      rows: [],
      envelope: { cut: 0, offsets: [0, 0], watermark: null, shares: { batch: 0, speed: 0 }, bounds: {} },
    })
    expect((await query('?layer=batch')).body['code']).toBe('VIEW_UNKNOWN')
  })

  it('[Q1] [T5] follows partials and views to the merged answer', async () => {
    for (const [partition, records] of LOGS.entries()) {
      for (const published of publishedBy(partition, records, { flushes: LIVE, full: LIVE, parts: 1 })) {
        const tags = { ...published.tags, watermark: [3, 62][partition]! * MINUTE }
        await log.append(
          tags.kind === 'live' ? 'live.small' : 'sealed.small',
          partition,
          partialBatch({ tags, table: published.table }),
        )
      }
    }
    const offsets = LOGS.map((records) => cutOffset(records, 1))
    const events = LOGS.flatMap((records, at) => eventsOf(records.slice(0, offsets[at])))
    await publishSmallView({ lake, duckdb }, { cut: 1, offsets, watermark: 2 * MINUTE, events })
    await serve.refresh()
    const { status, body, headers } = await query('?group_by=g&numbers=string')
    expect(status).toBe(200)
    expect(body.envelope).toMatchObject({
      metric: 'small',
      cut: 1,
      offsets: [8, 6],
      layer: 'merged',
      watermark: '1970-01-01T00:03:00.000Z',
      shares: { batch: 4, speed: 5 },
    })
    expect(
      body.rows.map(({ from, group, values: { n, s, lo, hi, mean }, finality }) => [
        from.slice(11, 16),
        group['g'],
        n,
        s,
        lo,
        hi,
        mean,
        finality,
      ]),
    ).toEqual([
      ['00:00', 'a', 2, 15, 5, 10, 7.5, 'confirmed'],
      ['00:00', 'b', 1, -2, -2, -2, -2, 'confirmed'],
      ['00:01', 'a', 2, 8, 1, 7, 4, 'closed'],
      ['00:02', 'b', 1, null, null, null, null, 'closed'],
      ['01:00', null, 1, 3, 3, 3, 3, 'provisional'],
      ['01:00', 'b', 1, 4, 4, 4, 4, 'provisional'],
      ['01:01', 'a', 2, '18014398509481982', 9007199254740991, 9007199254740991, 9007199254740991, 'provisional'],
    ])
    expect(headers['cache-control']).toBe('no-store')
    expect((await get('/readyz')).status).toBe(200)
  })

  it('[W10] a coarser grain and missing group_by roll up partials', async () => {
    const hours = await query('?grain=1h&until=1970-01-01T01:00:00Z')
    expect(hours.body.rows).toEqual([
      {
        from: '1970-01-01T00:00:00.000Z',
        until: '1970-01-01T01:00:00.000Z',
        group: {},
        values: { n: 6, s: 21, lo: -2, hi: 10, mean: 3.5 },
        finality: 'provisional',
      },
    ])
    expect((await query('?grain=1d&numbers=string&measures=n')).body.rows).toMatchObject([
      { until: '1970-01-02T00:00:00.000Z', values: { n: 10 } },
    ])
    expect(values(await query('?grain=3m&until=360000&measures=n'), 'n')).toEqual([6])
  })

  it('[Q1] from is inclusive, until exclusive; filters know null; measures are picked', async () => {
    expect(values(await query('?from=60000&until=120000&measures=n'), 'n')).toEqual([2])
    expect(
      (await query('?filter=g:b,&group_by=g&measures=mean')).body.rows.map(({ group, values: v }) => [group['g'], v]),
    ).toEqual([
      ['b', { mean: -2 }],
      ['b', { mean: null }],
      [null, { mean: 3 }],
      ['b', { mean: 4 }],
    ])
    const posted = await app.inject({
      method: 'POST',
      url: '/v1/metrics/small/query',
      payload: { filter: { g: ['b', null] }, measures: ['n'], from: 0 },
    })
    expect(posted.json<Body>().rows.map((row) => row.values)).toEqual([{ n: 1 }, { n: 1 }, { n: 2 }])
  })

  it('[Q1] [Q3] order gives the top n, nulls last; without order more rows than the limit are refused', async () => {
    expect(values(await query('?group_by=g&order=-s&limit=3&measures=s&numbers=string'), 's')).toEqual([
      '18014398509481982',
      15,
      8,
    ])
    expect(values(await query('?order=mean&measures=mean&until=180000'), 'mean')).toEqual([4, 13 / 3, null])
    expect((await query('?order=-from&limit=1&measures=n')).body.rows[0]?.from).toBe('1970-01-01T01:01:00.000Z')
    const refused = await query('?group_by=g&limit=3')
    expect(refused.status).toBe(422)
    expect(refused.body).toMatchObject({ code: 'RANGE_TOO_WIDE', status: 422 })
    expect(refused.headers['content-type']).toContain('application/problem+json')
  })

  it('[Q2] min_finality leaves out what is less final, before the limit counts', async () => {
    expect((await query('?min_finality=closed&limit=3&measures=n')).body.rows.map(({ finality }) => finality)).toEqual([
      'confirmed',
      'closed',
      'closed',
    ])
    expect((await query('?min_finality=confirmed')).headers['cache-control']).toBe('no-cache')
  })

  it('[Q4] [Q5] layers add up, and an older view can be asked for', async () => {
    const counts = async (search: string) => values(await query(`?grain=1d&measures=n&${search}`), 'n')[0]
    expect([await counts('layer=batch'), await counts('layer=speed'), await counts('layer=merged')]).toEqual([5, 5, 10])
    const offsets = LOGS.map((records) => cutOffset(records, 2))
    const events = LOGS.flatMap((records, at) => eventsOf(records.slice(0, offsets[at])))
    await publishSmallView({ lake, duckdb }, { cut: 2, offsets, watermark: 62 * MINUTE, events })
    await serve.refresh()
    expect([
      await counts('layer=batch'),
      await counts('layer=speed'),
      await counts('layer=merged'),
      await counts('as_of=1'),
    ]).toEqual([8, 2, 10, 5])
    expect((await query('?as_of=1')).body.envelope).toMatchObject({ cut: 1, layer: 'batch', offsets: [4, 3] })
    expect((await query('?as_of=7')).body).toMatchObject({ code: 'VIEW_UNKNOWN', status: 404 })
  })

  it('[Q3] a number that JSON cannot hold exactly is refused, unless text is asked for', async () => {
    expect((await query('?from=3660000')).body).toMatchObject({ code: 'NUMBER_INEXACT', status: 406 })
    expect((await query('?from=3660000&measures=hi')).status).toBe(200)
  })

  it.each([
    ['grain=soon', 'grain'],
    ['from=yesterday', 'from'],
    ['from=2001-01-01', 'from'],
    ['from=5&until=4', 'until'],
    ['group_by=h', 'group_by'],
    ['group_by=g,g', 'group_by'],
    ['filter=g', 'filter'],
    ['filter=h:1', 'filter'],
    ['measures=x', 'measures'],
    ['layer=both', 'layer'],
    ['order=x', 'order'],
    ['limit=0', 'limit'],
    ['limit=1000001', 'limit'],
    ['numbers=all', 'numbers'],
    ['min_finality=done', 'min_finality'],
    ['as_of=-1', 'as_of'],
    ['layer=speed&as_of=1', 'as_of'],
    ['zone=Mars/Base', 'zone'],
    ['form=csv', 'form'],
    ['limit=1&limit=2', 'limit'],
  ])('[Q3] ?%s is refused and names %s', async (search, field) => {
    const { status, body } = await query(`?${search}`)
    expect([status, body['code']]).toEqual([400, 'REQUEST_INVALID'])
    expect(body['field']).toBe(field)
    expect(body['hint']).toBeTruthy()
  })

  it('[Q3] a grain that the windows do not add up to is refused', async () => {
    expect((await query('?grain=90s')).body).toMatchObject({ code: 'NOT_ADDITIVE', status: 422, field: 'grain' })
  })

  it('[Q1] CSV has the same rows; other forms are refused', async () => {
    const { text, headers } = await get('/v1/metrics/small/query?group_by=g&measures=n,mean&until=180000', {
      accept: 'text/csv',
    })
    expect(text.split('\n')[0]).toBe('from,until,g,n,mean,finality')
    expect(text.split('\n')[4]).toBe('1970-01-01T00:02:00.000Z,1970-01-01T00:03:00.000Z,b,1,,confirmed')
    expect(headers['content-type']).toContain('text/csv')
    expect(JSON.parse(String(headers['tidemark-envelope']))).toMatchObject({ cut: 2 })
    expect((await get('/v1/metrics/small/query', { accept: 'image/png' })).body).toMatchObject({
      code: 'NOT_ACCEPTABLE',
      status: 406,
    })
  })

  it('[Q1] the same answer has the same strong ETag and is given as 304', async () => {
    const first = await query('?measures=n')
    const etag = String(first.headers['etag'])
    expect(etag).toMatch(/^"[\w-]+"$/)
    expect((await get('/v1/metrics/small/query?measures=n', { 'if-none-match': etag })).status).toBe(304)
    expect((await query('?measures=lo')).headers['etag']).not.toBe(etag)
  })

  it('[Q1] metrics are described; unknown ones are 404', async () => {
    expect((await get('/v1/metrics')).body['metrics']).toMatchObject([
      { metric: 'small', cut: 2, window: { tumbling: '1m' }, refusal: null, view: { cut: 2 } },
    ])
    expect((await get('/v1/metrics/none')).body).toMatchObject({ code: 'METRIC_UNKNOWN', status: 404 })
    expect((await get('/openapi.json')).text).toContain('/v1/metrics/{metric}/query')
  })

  it('[Q1] answers are what the OpenAPI document says of them, whole', async () => {
    const described = describeMetric(serve, serve.metric('small'))
    expect((await get('/v1/metrics/small')).body).toEqual(JSON.parse(JSON.stringify(described)))
    expect((await get('/v1/metrics')).body).toEqual({ metrics: [JSON.parse(JSON.stringify(described))] })
    expect(Value.Errors(metricSchema, described)).toEqual([])
    for (const search of ['?numbers=string', '?group_by=g&layer=batch'])
      expect(Value.Errors(answerSchema, (await query(search)).body), search).toEqual([])
    const { paths } = (await get('/openapi.json')).body as unknown as {
      paths: Record<string, Record<string, { responses: object }>>
    }
    for (const [path, verbs] of Object.entries(paths))
      for (const [verb, { responses }] of Object.entries(verbs))
        expect(
          Object.keys(responses).some((status) => /^20\d$/.test(status)),
          `${verb} ${path}`,
        ).toBe(true)
  })

  it('[Q1] a POST may have fields in its query string; a HEAD of a live push does not wait for ever', async () => {
    const posted = await app.inject({
      method: 'POST',
      url: '/v1/metrics/small/query?measures=n',
      payload: { limit: 100 },
    })
    expect(posted.json()).toEqual((await query('?measures=n&limit=100')).body)
    expect((await app.inject({ method: 'HEAD', url: '/v1/metrics/small/live' })).statusCode).toBe(405)
  })

  it('[O1] machine series are exposed', async () => {
    const { text } = await get('/metrics')
    expect(text).toMatch(/tidemark_state_entries\{service="serve",metric="small"\} \d+/)
    expect(text).toMatch(/tidemark_view_cut\{metric="small"\} 2/)
    expect(text).toMatch(/tidemark_events_total\{stream="smalls"\} 8/)
  })

  it('[G4] the page and its assets are served without inline script', async () => {
    const page = await get('/')
    expect(page.text).not.toMatch(/<script(?![^>]*src=)/)
    expect(String(page.headers['content-security-policy'])).toContain("default-src 'self'")
    const assets = [...page.text.matchAll(/(?:href|src)="(\/assets\/[^"]+)"/g)].map(([, path]) => path!)
    expect(assets).toContain('/assets/uplot/uPlot.min.css')
    for (const path of [...assets, '/assets/uplot/uPlot.esm.js']) expect((await get(path)).status, path).toBe(200)
  })

  it('[Q6] live push sends a snapshot, then each change once, and resumes from an id', async () => {
    const url = await listenOrExplain(app, { host: '127.0.0.1', port: 0 })
    const first = await readEvents(`${url}/v1/metrics/small/live?measures=n`, {}, 2)
    expect(first[0]).toMatchObject({ event: 'snapshot', data: { rows: [{ revision: 1 }, {}, {}, {}, {}] } })
    expect(first[1]).toMatchObject({ event: 'envelope', data: { cut: 2 } })
    const [published] = publishedBy(1, [...LOGS[1]!, e(61, 'a', 1)], {
      flushes: new Set([6]),
      full: new Set([6]),
      parts: 1,
    }).slice(-1)
    await log.append('live.small', 1, partialBatch(published!))
    await serve.refresh()
    const resumed = await readEvents(`${url}/v1/metrics/small/live?measures=n`, { 'last-event-id': first[1]!.id }, 2)
    expect(resumed.map(({ event }) => event)).toEqual(['upsert', 'envelope'])
    expect(resumed[0]!.data).toMatchObject({
      from: '1970-01-01T01:01:00.000Z',
      values: { n: 3 },
      finality: 'closed',
      revision: 2,
    })
  })

  it('[Q3] a hole in the sealed partials is refused with 409 and the reason', async () => {
    const tail = publishedBy(0, [...LOGS[0]!, { barrier: 3 }, e(62, 'a', 1), { barrier: 4 }], {
      flushes: new Set(),
      full: new Set(),
      parts: 1,
    })
    await log.append('sealed.small', 0, partialBatch(tail[3]!))
    await serve.refresh()
    const { status, body } = await query('')
    expect([status, body['code']]).toEqual([409, 'CUT_UNCOVERED'])
    expect(String(body['detail'])).toContain('partition 0')
    expect((await query('?layer=batch')).status).toBe(200)
  })
})
