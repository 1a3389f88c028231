import { connect } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { Type } from 'typebox'
import { afterEach, describe, expect, it } from 'vitest'
import { OperatingError } from './errors.ts'
import { createHttp, type HttpApp, listenOrExplain, type ReadinessReport, type RegistryInUse } from './http.ts'

// Goal: every error a client can cause has one shape. Method: one app, one route per cause, answers looked at from outside.
const apps: HttpApp[] = []
afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.close()))
})

async function appOf(
  parts: ReadinessReport['parts'] = {},
  extra: { rateLimit?: { max: number; windowMs: number }; registry?: RegistryInUse } = {},
) {
  const app = await createHttp({
    name: 'test',
    version: '1.2.3',
    title: 'Test',
    logger: false,
    bodyLimitBytes: 1_000,
    ready: () => ({ parts }),
    ...extra,
  })
  apps.push(app)
  app.get('/boom', () => {
    throw new Error('secret detail')
  })
  app.get('/busy', () => {
    throw new OperatingError('OVERLOADED', 'Too many bytes in flight.')
  })
  app.get('/conflict', () => {
    throw new OperatingError('CUT_UNCOVERED', 'Cut 4 is not covered.', { cut: 4 })
  })
  app.get(
    '/typed',
    { schema: { querystring: Type.Object({ limit: Type.Integer({ minimum: 1 }) }, { additionalProperties: false }) } },
    (request) => ({ limit: request.query.limit }),
  )
  app.post('/typed', { schema: { body: Type.Object({ a: Type.Object({ b: Type.Number() }) }) } }, () => ({ ok: true }))
  return app
}

describe('[Q3] problem bodies', () => {
  const cases: [
    name: string,
    request: { method: 'GET' | 'POST'; url: string; payload?: string; headers?: Record<string, string> },
    status: number,
    code: string,
    field?: string,
  ][] = [
    ['unknown route', { method: 'GET', url: '/nothing?x=1' }, 404, 'NOT_FOUND'],
    ['operating error', { method: 'GET', url: '/conflict' }, 409, 'CUT_UNCOVERED'],
    ['query of the wrong type', { method: 'GET', url: '/typed?limit=x' }, 400, 'REQUEST_INVALID', 'limit'],
    ['query out of range', { method: 'GET', url: '/typed?limit=0' }, 400, 'REQUEST_INVALID', 'limit'],
    ['missing query', { method: 'GET', url: '/typed' }, 400, 'REQUEST_INVALID', 'limit'],
    ['unknown query', { method: 'GET', url: '/typed?limit=1&filtre=x' }, 400, 'REQUEST_INVALID', 'filtre'],
    [
      'nested body field',
      { method: 'POST', url: '/typed', payload: '{"a":{"b":"x"}}', headers: { 'content-type': 'application/json' } },
      400,
      'REQUEST_INVALID',
      'a.b',
    ],
    [
      'broken JSON',
      { method: 'POST', url: '/typed', payload: '{"a":', headers: { 'content-type': 'application/json' } },
      400,
      'REQUEST_INVALID',
    ],
    [
      'big body',
      {
        method: 'POST',
        url: '/typed',
        payload: `"${'x'.repeat(2_000)}"`,
        headers: { 'content-type': 'application/json' },
      },
      413,
      'BODY_TOO_LARGE',
    ],
    [
      'media type',
      {
        method: 'POST',
        url: '/typed',
        payload: 'a=b',
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
      },
      415,
      'MEDIA_TYPE',
    ],
    ['malformed URL', { method: 'GET', url: '/typed/%zz' }, 400, 'REQUEST_INVALID'],
  ]
  it.each(cases)('%s', async (_name, request, status, code, field) => {
    const answer = await (await appOf()).inject(request)
    expect(answer.headers['content-type']).toContain('application/problem+json')
    const body = answer.json<Record<string, unknown>>()
    expect({ status: answer.statusCode, code: body['code'], inBody: body['status'] }).toEqual({
      status,
      code,
      inBody: status,
    })
    for (const name of ['type', 'title', 'detail', 'hint']) expect(body[name], name).toBeTypeOf('string')
    if (field !== undefined) expect(body['field']).toBe(field)
  })

  it('a value that is none of those allowed: the detail names them', async () => {
    const app = await appOf()
    const body = Type.Object({ type: Type.Unsafe<string>({ type: 'string', enum: ['build-view', 'drift'] }) })
    app.post('/chosen', { schema: { body } }, () => ({ ok: true }))
    const answer = await app.inject({ method: 'POST', url: '/chosen', payload: { type: 'build-veiw' } })
    expect(answer.json()).toMatchObject({ code: 'REQUEST_INVALID', field: 'type' })
    expect(answer.json<{ detail: string }>().detail).toMatch(/: build-view, drift$/)
  })

  it('shows nothing of a defect but its log id', async () => {
    const answer = await (await appOf()).inject({ method: 'GET', url: '/boom' })
    expect(answer.statusCode).toBe(500)
    expect(answer.body).not.toContain('secret')
    expect(answer.body).not.toContain('http.test.ts')
    expect(answer.json<{ id: string }>().id).toBeTypeOf('string')
  })

  it('says when to come again, and only where coming again helps', async () => {
    const app = await appOf()
    expect((await app.inject('/busy')).headers['retry-after']).toBe('1')
    expect((await app.inject('/conflict')).headers['retry-after']).toBeUndefined()
  })

  it('limits the rate when asked to', async () => {
    const app = await appOf({}, { rateLimit: { max: 1, windowMs: 60_000 } })
    app.get('/limited', () => 'ok')
    expect((await app.inject('/limited')).statusCode).toBe(200)
    const refused = await app.inject('/limited')
    expect([refused.statusCode, refused.json<{ code: string }>().code]).toEqual([429, 'RATE_LIMITED'])
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
  })
})

describe('a process with little time', () => {
  it('answers when turns of its loop take a second each: that is slow, and not overloaded', async () => {
    const app = await appOf()
    for (let turns = 0; turns < 2; turns++) {
      for (const until = performance.now() + 1_010; performance.now() < until; );
      await turn()
    }
    expect((await app.inject('/typed?limit=1')).statusCode).toBe(200)
  })
})

describe('process routes', () => {
  it('answers health, and readiness part by part', async () => {
    const parts = { log: { ready: true, reason: null }, speed: { ready: false, reason: 'Restoring.' } }
    const app = await appOf(parts)
    expect((await app.inject('/healthz')).json()).toEqual({ status: 'alive', name: 'test', version: '1.2.3' })
    const registry = { url: 'http://registry.test', external: true }
    expect((await (await appOf({}, { registry })).inject('/healthz')).json()).toMatchObject({ registry })
    const unready = await app.inject('/readyz')
    expect([unready.statusCode, unready.json()]).toEqual([503, { ready: false, parts }])
    const ready = await (await appOf({ log: { ready: true, reason: null } })).inject('/readyz')
    expect([ready.statusCode, ready.json<{ ready: boolean }>().ready]).toEqual([200, true])
  })

  it('derives OpenAPI 3.1 from the routes', async () => {
    const app = await appOf()
    await app.ready()
    const document = (await app.inject('/openapi.json')).json<{ openapi: string; paths: Record<string, unknown> }>()
    expect(document.openapi).toBe('3.1.0')
    expect(Object.keys(document.paths)).toEqual(expect.arrayContaining(['/healthz', '/readyz', '/typed']))
  })

  it('sends a strict content policy and a validator for caches', async () => {
    const answer = await (await appOf()).inject('/healthz')
    expect(answer.headers['content-security-policy']).toContain(
      "default-src 'self';img-src 'self' data:;style-src 'self' 'unsafe-inline'",
    )
    expect(answer.headers['x-content-type-options']).toBe('nosniff')
    expect(answer.headers['etag']).toBeDefined()
  })
})

describe('listening', () => {
  it('explains a taken port in one sentence and prints the real one', async () => {
    const first = await appOf()
    const url = new URL(await listenOrExplain(first, { host: '127.0.0.1', port: 0 }))
    const taken = listenOrExplain(await appOf(), { host: '127.0.0.1', port: Number(url.port) })
    await expect(taken).rejects.toMatchObject({
      code: 'PORT_TAKEN',
      message: `Port ${url.port} on 127.0.0.1 is taken by another process.`,
    })
    await expect(listenOrExplain(await appOf(), { host: '192.0.2.1', port: 0 })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    })
  })

  it('does not wait for idle keep-alive connections when it closes', async () => {
    const app = await appOf()
    const url = new URL(await listenOrExplain(app, { host: '127.0.0.1', port: 0 }))
    const socket = connect(Number(url.port), '127.0.0.1')
    await new Promise<void>((resolve) => socket.once('connect', resolve))
    socket.write('GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n')
    await new Promise<void>((resolve) => socket.once('data', () => resolve()))
    await app.close()
    await new Promise<void>((resolve) => (socket.destroyed ? resolve() : socket.once('close', () => resolve())))
  })

  it('says that the connection ends when it cannot read a request, so that no next one is sent into it', async () => {
    const url = new URL(await listenOrExplain(await appOf(), { host: '127.0.0.1', port: 0 }))
    const told = (bytes: string): Promise<string> =>
      new Promise((resolve) => {
        const socket = connect(Number(url.port), '127.0.0.1', () => socket.write(bytes))
        let text = ''
        socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
        socket.on('error', () => {})
        socket.on('close', () => resolve(text))
      })
    const long = await told(`GET /healthz HTTP/1.1\r\nhost: x\r\nx-long: ${'y'.repeat(16_400)}`)
    expect(long).toMatch(/^HTTP\/1\.1 431 [\s\S]*\r\nConnection: close\r\n[\s\S]*"status":431/)
    expect(long).toContain('"code":"REQUEST_INVALID"')
    expect(await told('no request\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 [\s\S]*\r\nConnection: close\r\n/)
  })
})
