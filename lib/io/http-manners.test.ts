/** Goal: paths keep to RFC 9110 in methods, conditions and bodies. Method: one app; what a client sees, over a real socket where bytes matter. */
import { once } from 'node:events'
import { connect } from 'node:net'
import { gzipSync } from 'node:zlib'
import { Type } from 'typebox'
import { afterEach, describe, expect, it } from 'vitest'
import { createHttp, type HttpApp, listenOrExplain } from './http.ts'

const apps: HttpApp[] = []
afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.close()))
})

async function appOf(): Promise<HttpApp> {
  const app = await createHttp({
    name: 'test',
    version: '1.2.3',
    title: 'Test',
    logger: false,
    bodyLimitBytes: 1_000,
    ready: () => ({ parts: {} }),
  })
  apps.push(app)
  app.get('/v1/things/:thing', (request) => request.params)
  app.post('/v1/things/:thing', (request) => ({ body: request.body ?? 'none' }))
  app.post('/typed', { schema: { body: Type.Object({ a: Type.Integer() }) } }, () => ({ ok: true }))
  return app
}

describe('[Q1] methods', () => {
  it.each(['DELETE', 'PUT', 'PATCH'] as const)('%s where it is not: 405, and what there is', async (method) => {
    const answer = await (await appOf()).inject({ method, url: '/v1/things/a/?x=1' })
    expect([answer.statusCode, answer.json<{ code: string }>().code]).toEqual([405, 'METHOD_NOT_ALLOWED'])
    expect(answer.headers['allow']!.toString().split(', ').sort()).toEqual(['GET', 'HEAD', 'OPTIONS', 'POST'])
    expect(answer.headers['content-type']).toContain('application/problem+json')
  })

  it('OPTIONS tells the methods; a path that is not there stays 404', async () => {
    const app = await appOf()
    const options = await app.inject({ method: 'OPTIONS', url: '/healthz' })
    expect([options.statusCode, options.headers['allow'], options.body]).toEqual([204, 'GET, HEAD, OPTIONS', ''])
    for (const url of ['/v1/things', '/v1/things/a/b', '/v1xthings/a'])
      for (const method of ['OPTIONS', 'DELETE', 'GET'] as const)
        expect((await app.inject({ method, url })).json()).toMatchObject({ status: 404, code: 'NOT_FOUND' })
  })
})

describe('[Q1] conditions', () => {
  it('304 for GET and HEAD to who has the answer, in every form of the condition', async () => {
    const app = await appOf()
    const { etag } = (await app.inject('/v1/things/a')).headers as { etag: string }
    for (const method of ['GET', 'HEAD'] as const) {
      for (const condition of [etag, `W/${etag}`, `"x", ${etag}`, '*']) {
        const answer = await app.inject({ method, url: '/v1/things/a', headers: { 'if-none-match': condition } })
        expect([answer.statusCode, answer.body, answer.headers['etag']], condition).toEqual([304, '', etag])
      }
      const other = await app.inject({ method, url: '/v1/things/b', headers: { 'if-none-match': etag } })
      expect(other.statusCode).toBe(200)
    }
  })

  it('a write and a refusal are answered whatever the condition', async () => {
    const app = await appOf()
    const headers = { 'if-none-match': '*' }
    for (const [method, url, status] of [
      ['POST', '/v1/things/a', 200],
      ['GET', '/nothing', 404],
    ] as const) {
      const answer = await app.inject({ method, url, headers })
      expect([answer.statusCode, answer.headers['etag']]).toEqual([status, undefined])
      expect(answer.body).not.toBe('')
    }
  })
})

describe('[D2] bodies', () => {
  it('an empty body of type JSON is none', async () => {
    const app = await appOf()
    const headers = { 'content-type': 'application/json' }
    const without = await app.inject({ method: 'POST', url: '/v1/things/a', headers })
    expect([without.statusCode, without.json()]).toEqual([200, { body: 'none' }])
    const needed = await app.inject({ method: 'POST', url: '/typed', headers })
    expect([needed.statusCode, needed.json<{ field: string }>().field]).toEqual([400, 'body'])
    const given = await app.inject({ method: 'POST', url: '/v1/things/a', headers, payload: '{"a":"é"}' })
    expect(given.json()).toEqual({ body: { a: 'é' } })
  })

  it.each([
    ['compressed', { 'content-type': 'application/json', 'content-encoding': 'gzip' }, gzipSync('{"a":1}')],
    ['in another charset', { 'content-type': 'application/json; charset=iso-8859-1' }, Buffer.from('{"a":1}')],
    ['in UTF-16', { 'content-type': 'application/json;charset="utf-16"' }, Buffer.from('{"a":1}', 'utf16le')],
  ])('a body %s is 415 and says so', async (_name, headers, payload) => {
    const answer = await (await appOf()).inject({ method: 'POST', url: '/typed', headers, payload })
    expect([answer.statusCode, answer.json<{ code: string }>().code]).toEqual([415, 'MEDIA_TYPE'])
    expect(answer.json<{ hint: string }>().hint).toMatch(/as it is|UTF-8/)
  })

  it.each([
    'application/json; charset=UTF-8',
    'application/json;charset="utf-8"',
    'application/json; charset=us-ascii',
  ])('%s is read', async (type) => {
    const app = await appOf()
    const answer = await app.inject({
      method: 'POST',
      url: '/typed',
      headers: { 'content-type': type, 'content-encoding': 'identity' },
      payload: '{"a":1}',
    })
    expect(answer.json()).toEqual({ ok: true })
  })

  it('who sends too much reads why, may send it to the end, and goes on with the connection', async () => {
    const app = await appOf()
    const { port } = new URL(await listenOrExplain(app, { host: '127.0.0.1', port: 0 }))
    const socket = connect(Number(port), '127.0.0.1')
    let seen = ''
    const says = async (text: string): Promise<void> => {
      while (!seen.includes(text)) seen += String((await once(socket, 'data'))[0])
    }
    const length = 5_000_000
    socket.write(
      `POST /typed HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n\r\n`,
    )
    await says('BODY_TOO_LARGE')
    expect(seen).toMatch(/^HTTP\/1\.1 413 /)
    socket.write(Buffer.alloc(length, 'x'))
    socket.write('GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n')
    await says('"alive"')
    socket.destroy()
  })

  it('an expectation that cannot be met is 417 with a problem body', async () => {
    const { port } = new URL(await listenOrExplain(await appOf(), { host: '127.0.0.1', port: 0 }))
    const socket = connect(Number(port), '127.0.0.1')
    socket.write('POST /typed HTTP/1.1\r\nhost: x\r\nexpect: miracles\r\ncontent-length: 2\r\n\r\n')
    let seen = ''
    for await (const chunk of socket) seen += String(chunk)
    expect(seen).toMatch(/^HTTP\/1\.1 417 [\s\S]*application\/problem\+json[\s\S]*"code":"REQUEST_INVALID"/)
  })
})

describe('[O2] a stop', () => {
  it('answers what is under way and what still comes, and says that the connection ends', async () => {
    const app = await appOf()
    const [begun, release, live] = [0, 1, 2].map(() => Promise.withResolvers<void>())
    app.get('/slow', async () => {
      begun!.resolve()
      await release!.promise
      return 'slow'
    })
    app.addHook('preClose', () => live!.promise)
    const { port } = new URL(await listenOrExplain(app, { host: '127.0.0.1', port: 0 }))
    const ask = async (path: string): Promise<string> => {
      const socket = connect(Number(port), '127.0.0.1')
      socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`)
      let seen = ''
      for await (const chunk of socket) seen += String(chunk)
      return seen
    }
    const slow = ask('/slow')
    await begun!.promise
    const closed = app.close()
    const late = await ask('/v1/things/late')
    release!.resolve()
    live!.resolve()
    for (const answer of [late, await slow]) expect(answer).toMatch(/^HTTP\/1\.1 200 [\s\S]*\r\nconnection: close\r\n/i)
    await closed
  })
})
