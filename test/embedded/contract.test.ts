/**
 * Goal: the query contract of the running platform, field by field and refusal by refusal, as a program written against it relies on.
 * Method: a few readings by hand, half of them in a view, and every question over real HTTP.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ProblemBody, type QueryAnswer, startForTest, type TestPlatform, until } from '#testkit/embedded.ts'
import { reading } from './readings.ts'

const METRIC = '/v1/metrics/readings_by_minute'
const BIG = String(2 ** 53 - 1)
const BEFORE = [
  reading(0),
  reading(0.5, { colour: 'GREEN', price: '2.25', note: 'x' }),
  reading(1, { price: '-0.75', valid: false }),
  reading(60, { price: '10.00', note: '' }),
  reading(61, { note: 'comma, "quote"\nline' }),
]
const AFTER = [
  reading(0.2, { price: '0.01' }),
  reading(61, { total: BIG }),
  reading(61.5, { total: BIG }),
  reading(120, { colour: 'GREEN' }),
]
const iso = (minute: number): string => new Date(reading(minute).at).toISOString()

let platform: TestPlatform
let firstCut: QueryAnswer

beforeAll(async () => {
  platform = await startForTest('test/fixtures/readings')
  await platform.send('readings', BEFORE)
  await platform.build('*')
  firstCut = await platform.query('readings_by_minute', { group_by: 'colour,note', numbers: 'string' })
  await platform.send('readings', AFTER)
  // The other partitions' silence counts from a barrier on; then the watermark is that of the one with events.
  await platform.barrier('readings')
  await platform.settle('readings')
})
afterAll(() => platform?.stop())

const ask = async (search: string) => (await platform.get<QueryAnswer>(`${METRIC}/query${search}`)).json
const counts = ({ rows }: QueryAnswer) => rows.map(({ values }) => values['readings'])

describe('answers', () => {
  it('[Q1][Q2][T5] a row per window, groups on demand, nulls apart from empty texts, and the envelope', async () => {
    const { rows, envelope } = await ask('?group_by=colour,note&measures=readings,price,per_reading&numbers=string')
    const row = (minute: number, colour: string, note: string | null, values: object) => ({
      from: iso(minute),
      until: iso(minute + 1),
      group: { colour, note },
      values,
      finality: expect.stringMatching(/^(provisional|closed|confirmed|restated)$/) as string,
    })
    expect(rows).toEqual([
      row(0, 'GREEN', 'x', { readings: 1, price: '2.25', per_reading: 2.25 }),
      row(0, 'RED', null, { readings: 2, price: '1.51', per_reading: 0.755 }),
      row(1, 'RED', null, { readings: 1, price: '-0.75', per_reading: -0.75 }),
      row(60, 'RED', '', { readings: 1, price: '10.00', per_reading: 10 }),
      row(61, 'RED', null, { readings: 2, price: '3.00', per_reading: 1.5 }),
      row(61, 'RED', 'comma, "quote"\nline', { readings: 1, price: '1.50', per_reading: 1.5 }),
      row(120, 'GREEN', null, { readings: 1, price: '1.50', per_reading: 1.5 }),
    ])
    expect(envelope).toMatchObject({ metric: 'readings_by_minute', layer: 'merged', bounds: {} })
    expect(envelope.cut).toBeGreaterThan(0)
    expect(envelope.offsets).toHaveLength(3)
    expect(envelope.generation).toMatch(/^[0-9a-f]{12}$/)
    expect(envelope.shares).toEqual({ batch: 5, speed: 3 })
    expect(envelope.watermark).toBe(iso(119))
  })

  it('[Q1] without group_by everything is rolled up; a POST says the same as a GET', async () => {
    const rolled = await ask('?numbers=string')
    expect(counts(rolled)).toEqual([3, 1, 1, 3, 1])
    expect(await platform.query('readings_by_minute', { numbers: 'string' })).toEqual(rolled)
    const search = `?from=${iso(0)}&until=${reading(61).at}&group_by=note,colour&filter=colour:RED&filter=note:,x&measures=price&order=-price&limit=2`
    const posted = await platform.query('readings_by_minute', {
      from: iso(0),
      until: reading(61).at,
      group_by: ['note', 'colour'],
      filter: { colour: 'RED', note: [null, 'x'] },
      measures: ['price'],
      order: '-price',
      limit: 2,
    })
    expect(posted).toEqual(await ask(search))
    expect(posted.rows.map(({ values }) => values)).toEqual([{ price: 1.51 }, { price: -0.75 }])
    expect(Object.keys(posted.rows[0]!.group)).toEqual(['note', 'colour'])
  })

  it('[Q1] a CSV holds what the JSON holds, and the envelope', async () => {
    const search = '?group_by=colour,note&measures=readings,price&numbers=string'
    const csv = await platform.get(`${METRIC}/query${search}`, { accept: 'text/csv' })
    const json = await ask(search)
    expect(csv.headers.get('content-type')).toBe('text/csv; charset=utf-8')
    expect(JSON.parse(csv.headers.get('tidemark-envelope')!)).toEqual(json.envelope)
    const quoted = (note: string | null) => {
      if (note === null) return ''
      return note === '' || /[",\n]/.test(note) ? `"${note.replaceAll('"', '""')}"` : note
    }
    const lines = json.rows.map(({ from, until, group, values, finality }) =>
      [
        from,
        until,
        group['colour'],
        quoted(group['note'] as string | null),
        values['readings'],
        values['price'],
        finality,
      ].join(','),
    )
    expect(csv.text).toBe(['from,until,colour,note,readings,price,finality', ...lines, ''].join('\n'))
  })

  it('[Q4] batch and speed add up to merged, cell by cell', async () => {
    const search = '?group_by=colour,note&measures=readings,total&numbers=string'
    const cells = async (layer: string) =>
      new Map(
        (await ask(`${search}&layer=${layer}`)).rows.map(({ from, group, values }) => [
          JSON.stringify([from, group]),
          values,
        ]),
      )
    const [batch, speed, merged] = [await cells('batch'), await cells('speed'), await cells('merged')]
    expect([batch.size, speed.size, merged.size]).toEqual([5, 3, 7])
    for (const [key, values] of merged) {
      for (const name of ['readings', 'total']) {
        const sum = BigInt(batch.get(key)?.[name] ?? 0) + BigInt(speed.get(key)?.[name] ?? 0)
        expect(String(values[name]), `${key} ${name}`).toBe(String(sum))
      }
    }
  })

  it('[W10] coarser grains are built from partials: means of all, not of means', async () => {
    const hours = await ask('?grain=1h&measures=readings,price_mean,weight_max,ratio_min,valid&numbers=string')
    expect(
      hours.rows.map(({ from, values }) => [from, values['readings'], values['price_mean'], values['valid']]),
    ).toEqual([
      [iso(0), 4, (2.25 + 1.51 - 0.75) / 4, 3],
      [iso(60), 4, 14.5 / 4, 4],
      [iso(120), 1, 1.5, 1],
    ])
    expect(hours.rows[0]!.values).toMatchObject({ weight_max: '0.125', ratio_min: 0.5 })
    const day = await ask('?grain=1d&zone=UTC&measures=readings')
    expect(day.rows).toMatchObject([
      { from: '2024-03-01T00:00:00.000Z', until: '2024-03-02T00:00:00.000Z', values: { readings: 9 } },
    ])
    const other = await platform.query('total', { group_by: 'bucket,valid', filter: 'bucket:0' })
    expect(other.rows.map(({ group, values }) => [group['valid'], values['readings']])).toEqual([
      [false, 1],
      [true, 3],
      [true, 4],
      [true, 1],
    ])
  })

  it('[Q3] a number that JSON cannot hold exactly is refused, and given as text on demand', async () => {
    const exact = await ask('?measures=total&numbers=string')
    expect(exact.rows[3]!.values).toEqual({ total: String(2n * (2n ** 53n - 1n) + 1n) })
    const refused = await platform.get<ProblemBody>(`${METRIC}/query?measures=total`)
    expect([refused.status, refused.json.code]).toEqual([406, 'NUMBER_INEXACT'])
    expect(refused.json.hint).toContain('numbers=string')
    expect(counts(await ask('?measures=readings'))).toEqual([3, 1, 1, 3, 1])
  })

  it('[Q2] min_finality leaves out what is less', async () => {
    const order = ['provisional', 'closed', 'confirmed', 'restated']
    const all = (await ask('?measures=readings')).rows
    for (const [least, finality] of order.entries()) {
      const wanted = all.filter((row) => order.indexOf(row.finality) >= least)
      expect((await ask(`?measures=readings&min_finality=${finality}`)).rows, finality).toEqual(wanted)
    }
    expect(all.map((row) => row.finality)).toEqual(['restated', 'confirmed', 'closed', 'closed', 'provisional'])
  })

  it('[Q5][B3] as_of answers from the older view, however often it is built anew', async () => {
    const whole = { group_by: 'colour,note', numbers: 'string' }
    const before = await platform.query('readings_by_minute', { ...whole, as_of: firstCut.envelope.cut })
    expect(before.rows.map(({ from, group, values }) => ({ from, group, values }))).toEqual(
      firstCut.rows.map(({ from, group, values }) => ({ from, group, values })),
    )
    const merged = await platform.query('readings_by_minute', whole)
    await platform.build('readings_by_minute')
    const confirmed = await platform.query('readings_by_minute', whole)
    expect(confirmed.rows.map(({ values }) => values)).toEqual(merged.rows.map(({ values }) => values))
    expect(confirmed.envelope.cut).toBeGreaterThan(merged.envelope.cut)
    expect(await platform.query('readings_by_minute', { ...whole, as_of: firstCut.envelope.cut })).toEqual(before)
    const views = (await platform.get<{ views: { cut: number; current: boolean }[] }>('/v1/views/readings_by_minute'))
      .json.views
    expect(views.map(({ cut, current }) => [cut, current])).toEqual([
      [confirmed.envelope.cut, true],
      [firstCut.envelope.cut, false],
    ])
  })
})

describe('refusals', () => {
  const refusals: [name: string, path: string, status: number, code: string, field?: string][] = [
    ['an unknown metric', '/v1/metrics/none/query', 404, 'METRIC_UNKNOWN'],
    ['an unknown field', `${METRIC}/query?groupby=colour`, 400, 'REQUEST_INVALID', 'groupby'],
    ['an unknown dimension', `${METRIC}/query?group_by=color`, 400, 'REQUEST_INVALID', 'group_by'],
    ['a dimension twice', `${METRIC}/query?group_by=note,note`, 400, 'REQUEST_INVALID', 'group_by'],
    ['an unknown measure', `${METRIC}/query?measures=readings,sum`, 400, 'REQUEST_INVALID', 'measures'],
    ['a filter without a value', `${METRIC}/query?filter=colour`, 400, 'REQUEST_INVALID', 'filter'],
    ['a filter of another type', '/v1/metrics/total/query?filter=bucket:red', 400, 'REQUEST_INVALID', 'filter'],
    ['a time without an offset', `${METRIC}/query?from=2024-03-01T10:00:00`, 400, 'REQUEST_INVALID', 'from'],
    ['an empty range', `${METRIC}/query?from=2&until=1`, 400, 'REQUEST_INVALID', 'until'],
    ['a grain that is none', `${METRIC}/query?grain=fast`, 400, 'REQUEST_INVALID', 'grain'],
    ['a finer grain', `${METRIC}/query?grain=1s`, 422, 'NOT_ADDITIVE', 'grain'],
    ['a grain that does not nest', `${METRIC}/query?grain=90s`, 422, 'NOT_ADDITIVE', 'grain'],
    ['another zone', `${METRIC}/query?zone=Europe/London`, 501, 'NOT_IMPLEMENTED', 'zone'],
    ['a zone that is none', `${METRIC}/query?zone=Mars/Base`, 400, 'REQUEST_INVALID', 'zone'],
    ['late events', '/v1/streams/readings/late', 501, 'NOT_IMPLEMENTED'],
    ['why a window is open', '/v1/explain/window?metric=total', 501, 'NOT_IMPLEMENTED'],
    ['live push by WebSocket', `${METRIC}/live/ws`, 501, 'NOT_IMPLEMENTED'],
    ['a Prometheus query', '/prometheus/api/v1/query?query=up', 501, 'NOT_IMPLEMENTED'],
    ['an unknown layer', `${METRIC}/query?layer=both`, 400, 'REQUEST_INVALID', 'layer'],
    ['an unknown finality', `${METRIC}/query?min_finality=final`, 400, 'REQUEST_INVALID', 'min_finality'],
    ['an unknown order', `${METRIC}/query?order=colour`, 400, 'REQUEST_INVALID', 'order'],
    ['a limit of nothing', `${METRIC}/query?limit=0`, 400, 'REQUEST_INVALID', 'limit'],
    ['a limit beyond a million', `${METRIC}/query?limit=1000001`, 400, 'REQUEST_INVALID', 'limit'],
    ['more rows than the limit', `${METRIC}/query?limit=2`, 422, 'RANGE_TOO_WIDE'],
    ['a view that never was', `${METRIC}/query?as_of=999`, 404, 'VIEW_UNKNOWN'],
    ['a job that never was', '/v1/jobs/none', 404, 'JOB_UNKNOWN'],
    ['views of an unknown metric', '/v1/views/none', 404, 'METRIC_UNKNOWN'],
    ['drift of an unknown metric', '/v1/drift/none', 404, 'METRIC_UNKNOWN'],
    ['an unknown stream', '/v1/streams/none', 404, 'STREAM_UNKNOWN'],
    ['dead letters of an unknown stream', '/v1/streams/none/dead-letters', 404, 'STREAM_UNKNOWN'],
    ['an unknown path', '/v1/metric', 404, 'NOT_FOUND'],
  ]
  it.each(refusals)('[Q3] %s', async (_name, path, status, code, field) => {
    const { headers, json, ...reply } = await platform.get<ProblemBody>(path)
    expect([reply.status, json.code, json.field]).toEqual([status, code, field])
    expect(headers.get('content-type')).toContain('application/problem+json')
    expect(json).toMatchObject({ status, type: expect.stringContaining('urn:'), title: expect.any(String) as string })
    expect(json.detail.length).toBeGreaterThan(10)
    expect(json.hint.length).toBeGreaterThan(10)
  })

  it('[Q3] a form that is not given, a body of another kind, a job that cannot be', async () => {
    const form = await platform.get<ProblemBody>(`${METRIC}/query`, { accept: 'image/png' })
    expect([form.status, form.json.code]).toEqual([406, 'NOT_ACCEPTABLE'])
    const body = await platform.post<ProblemBody>(`${METRIC}/query`, 'from=1', 'text/plain')
    expect([body.status, body.json.code]).toEqual([415, 'MEDIA_TYPE'])
    const broken = await platform.post<ProblemBody>(`${METRIC}/query`, '{"from": ')
    expect([broken.status, broken.json.code]).toEqual([400, 'REQUEST_INVALID'])
    const jobs: [object, number, string][] = [
      [{ type: 'build-view', metric: 'none' }, 404, 'METRIC_UNKNOWN'],
      [{ type: 'build-view' }, 400, 'REQUEST_INVALID'],
      [{ type: 'bild-view', metric: '*' }, 400, 'REQUEST_INVALID'],
      [{ type: 'verify', stream: 'none' }, 404, 'STREAM_UNKNOWN'],
      [{ type: 'build-view', metric: '*', speed: 9 }, 400, 'REQUEST_INVALID'],
    ]
    for (const [job, status, code] of jobs) {
      const refused = await platform.post<ProblemBody>('/v1/jobs', job)
      expect([refused.status, refused.json.code], JSON.stringify(job)).toEqual([status, code])
    }
  })
})

describe('surface', () => {
  it('[Q1] the OpenAPI document names every route of the contract, and each reference in it leads somewhere', async () => {
    const { json } = await platform.get<{ openapi: string; info: object; paths: Record<string, object> }>(
      '/openapi.json',
    )
    expect(json.openapi).toMatch(/^3\.1\./)
    const routes = Object.entries(json.paths).flatMap(([path, verbs]) =>
      Object.keys(verbs).map((verb) => `${verb.toUpperCase()} ${path}`),
    )
    expect(routes).toEqual(
      expect.arrayContaining([
        'POST /v1/streams/{stream}/events',
        'POST /v1/streams/{stream}/barriers',
        'GET /v1/streams',
        'GET /v1/streams/{stream}',
        'GET /v1/streams/{stream}/dead-letters',
        'GET /v1/streams/{stream}/quarantine',
        'GET /v1/metrics',
        'GET /v1/metrics/{metric}',
        'GET /v1/metrics/{metric}/query',
        'POST /v1/metrics/{metric}/query',
        'GET /v1/metrics/{metric}/live',
        'POST /v1/jobs',
        'GET /v1/jobs',
        'GET /v1/jobs/{id}',
        ...['pause', 'resume', 'cancel', 'retry'].map((verb) => `POST /v1/jobs/{id}/${verb}`),
        'GET /v1/views/{metric}',
        'POST /v1/views/{metric}/rollback',
        'GET /v1/drift/{metric}',
        'GET /v1/drift/{metric}/{report}',
        'GET /healthz',
        'GET /readyz',
        'GET /metrics',
      ]),
    )
    for (const [path, verbs] of Object.entries(json.paths)) {
      for (const [verb, operation] of Object.entries(verbs) as [
        string,
        { summary?: string; responses?: object; parameters?: { in: string; name: string }[] },
      ][]) {
        expect(operation.summary, `${verb} ${path}`).toBeTypeOf('string')
        expect(Object.keys(operation.responses ?? {}), `${verb} ${path}`).not.toEqual([])
        const named = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1])
        const declared = (operation.parameters ?? [])
          .filter((parameter) => parameter.in === 'path')
          .map(({ name }) => name)
        expect(declared, `${verb} ${path}`).toEqual(named)
      }
    }
    for (const [, reference] of JSON.stringify(json).matchAll(/"\$ref":"#\/([^"]+)"/g)) {
      const target = reference!.split('/').reduce<unknown>((at, key) => (at as Record<string, unknown>)?.[key], json)
      expect(target, reference).toBeDefined()
    }
  })

  it('[Q1] an answer has a strong ETag; the same answer again is 304, another one is not', async () => {
    const path = `${METRIC}/query?until=${iso(2)}&measures=readings`
    const first = await platform.get(path)
    const etag = first.headers.get('etag')!
    expect(etag).toMatch(/^"[\w-]+"$/)
    const again = await platform.get(path, { 'if-none-match': etag })
    expect([again.status, again.text]).toEqual([304, ''])
    const csv = await platform.get(path, { accept: 'text/csv', 'if-none-match': etag })
    expect(csv.status).toBe(200)
    await platform.send('readings', [reading(1)])
    await platform.settle('readings')
    const changed = await platform.get(path, { 'if-none-match': etag })
    expect(changed.status).toBe(200)
    expect(changed.headers.get('etag')).not.toBe(etag)
  })

  it('[O2] health, readiness part by part, and machine series', async () => {
    expect((await platform.get('/healthz')).json).toMatchObject({ status: 'alive' })
    const { json } = await platform.get<{ ready: boolean; parts: Record<string, { ready: boolean }> }>('/readyz')
    expect(json.ready).toBe(true)
    expect(Object.keys(json.parts)).toEqual(expect.arrayContaining(['speed', 'serve', 'archive']))
    const series = await platform.get('/metrics')
    expect(series.headers.get('content-type')).toMatch(/^text\/plain/)
    for (const name of [
      'tidemark_events_total',
      'tidemark_view_cut',
      'tidemark_consumer_lag_records',
      'tidemark_state_bytes',
      'tidemark_archive_lag_records',
    ])
      expect(series.text).toContain(`\n${name}{`)
    await until('nothing is behind', async () => {
      return (await platform.series('tidemark_consumer_lag_records', { metric: 'total' })) === 0
    })
  })

  it('[Q6] live rows: a snapshot, an upsert for a new event, resumption without repetition', async () => {
    const stop = new AbortController()
    const response = await fetch(`${platform.url}${METRIC}/live?measures=readings&from=${iso(0)}`, {
      signal: stop.signal,
    })
    let text = ''
    const reading_ = (async () => {
      for await (const chunk of response.body!) text += Buffer.from(chunk).toString()
    })().catch(() => undefined)
    const whole = (event: string) => [...text.matchAll(new RegExp(`event: ${event}\\ndata: (.*)\\n\\n`, 'g'))]
    await until('the snapshot comes', async () => whole('envelope').length > 0)
    const snapshot = JSON.parse(whole('snapshot')[0]![1]!) as QueryAnswer
    expect(snapshot.rows).toMatchObject((await ask('?measures=readings')).rows)
    const id = [...text.matchAll(/^id: (.*)$/gm)].at(-1)![1]!
    await platform.send('readings', [reading(120, { colour: 'GREEN' })])
    await until('the upsert comes', async () => whole('upsert').length > 0)
    const upserts = whole('upsert').map((match) => JSON.parse(match[1]!) as object)
    expect(upserts).toMatchObject([{ from: iso(120), values: { readings: 2 }, revision: expect.any(Number) as number }])
    stop.abort()
    await reading_
    const resumed = await fetch(`${platform.url}${METRIC}/live?measures=readings&from=${iso(0)}`, {
      headers: { 'last-event-id': id },
    })
    let rest = ''
    for await (const chunk of resumed.body!) {
      rest += Buffer.from(chunk).toString()
      if (rest.includes('event: envelope')) break
    }
    expect(rest).toContain('event: upsert')
    expect(rest).not.toContain('event: snapshot')
  })

  it('[B4] the same key gives the same job; a barrier names its offsets', async () => {
    const add = () => platform.post<{ id: string }>('/v1/jobs', { type: 'verify', stream: 'readings', key: 'once' })
    const [one, two] = [await add(), await add()]
    expect([one.status, two.status]).toEqual([202, 202])
    expect(two.json.id).toBe(one.json.id)
    const { json } = await platform.post<{ id: number; offsets: number[] }>('/v1/streams/readings/barriers')
    const stream = (await platform.get<{ end_offsets: number[] }>('/v1/streams/readings')).json
    expect(json.offsets).toEqual(stream.end_offsets)
    const next = await platform.post<{ id: number }>('/v1/streams/readings/barriers')
    expect(next.json.id).toBeGreaterThan(json.id)
  })
})
