/**
 * Forwarding between instances: which requests are handed on, what is carried along, and what is said when nobody writes.
 * Method: two real registries on one log in memory, with an election in memory; a writer that dies is a URL that nobody serves,
 * one that breaks off is a socket that is closed after the request.
 */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import { systemClock } from '#io/clock.ts'
import type { Leader, Leadership } from '#io/ports.ts'
import { parseRegistryKeys, printHash, sha256Of } from '#io/registry-keys.ts'
import { createMemoryElection } from '#testkit/leadership-memory.ts'
import { createMemoryLog } from '#testkit/log-memory.ts'
import { forwardWrites, isWrite } from './forward.ts'
import type { RegistryRefusal } from './refusal.ts'
import { startRegistry } from './start.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})
const SILENT = { warn() {}, error() {} }
const TYPE = { 'content-type': 'application/vnd.schemaregistry.v1+json' }

/** Leadership that says what the test sets. */
class SetLeadership implements Leadership {
  now: Leader | null = null
  leader(): Leader | null {
    return this.now
  }
  changed(waitMs: number): Promise<void> {
    return systemClock.sleep(Math.min(waitMs, 5))
  }
  async close(): Promise<void> {}
}

/** An instance with the registry's routes by name only; the routes say that they were reached. */
async function follower(leadership: Leadership, patienceMs = 60) {
  const app = Fastify()
  let refreshes = 0
  app.setErrorHandler((error, _request, reply) => {
    const { errorCode, status, message } = error as RegistryRefusal
    return reply.code(status).send({ error_code: errorCode, message })
  })
  forwardWrites(app, {
    leadership: () => leadership,
    clock: systemClock,
    logger: SILENT,
    stopping: new AbortController().signal,
    patienceMs,
    refresh: async () => void (refreshes += 1),
  })
  for (const url of [
    '/subjects/:subject/versions',
    '/subjects/:subject',
    '/config/:subject',
    '/mode',
    '/compatibility/subjects/:subject/versions',
    '/subjects/:subject/versions/:version',
  ])
    app.route({ method: ['GET', 'POST', 'PUT', 'DELETE'], url, handler: () => ({ at: 'here' }) })
  closers.push(() => app.close())
  return { url: await app.listen({ port: 0, host: '127.0.0.1' }), refreshes: () => refreshes }
}

/** A server that notes requests and answers as told. */
async function writer(answer: Parameters<typeof createServer>[1]) {
  const seen: { method: string; url: string; headers: Record<string, unknown>; body: string }[] = []
  const server: Server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk) => (body += String(chunk)))
    request.on('end', () => {
      seen.push({ method: request.method!, url: request.url!, headers: request.headers, body })
      answer!(request, response)
    })
  })
  // A test that stood still must not find the connection ended under its next request.
  server.keepAliveTimeout = 600_000
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closers.push(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen }
}

const ask = async (url: string, method: string, at: string, body?: unknown, headers: Record<string, string> = TYPE) => {
  const sent = body === undefined ? { method, headers: {} } : { method, headers, body: JSON.stringify(body) }
  const response = await fetch(url + at, sent)
  return { status: response.status, body: (await response.json()) as unknown }
}

describe('forwarding', () => {
  it('[R3] knows what writes', () => {
    const writes = [
      'POST /subjects/:subject/versions',
      'POST /contexts/:context/subjects/:subject/versions',
      'DELETE /subjects/:subject',
      'DELETE /subjects/:subject/versions/:version',
      'PUT /config',
      'PUT /mode/:subject',
      'DELETE /config/:subject',
    ]
    const reads = [
      'GET /subjects',
      'POST /subjects/:subject',
      'POST /compatibility/subjects/:subject/versions',
      'POST /compatibility/subjects/:subject/versions/:version',
      'GET /mode',
    ]
    const isWriting = (line: string): boolean => isWrite(...(line.split(' ') as [string, string]))
    expect(writes.filter((line) => !isWriting(line))).toEqual([])
    expect(reads.filter(isWriting)).toEqual([])
  })

  it('[R3] two registries on one log: a write at either is in the answers of the one that was asked', async () => {
    const log = createMemoryLog({ clock: systemClock })
    const election = createMemoryElection()
    const start = async () => {
      const running = await startRegistry({
        log,
        clock: systemClock,
        port: 0,
        host: '127.0.0.1',
        elect: (url) => election.join(url),
      })
      closers.push(() => running.close())
      return running
    }
    const [first, second] = [await start(), await start()]
    expect([first.leader()?.self, second.leader()?.self]).toEqual([true, false])
    const schema = JSON.stringify({ type: 'enum', name: 'A', symbols: ['A'] })
    expect(await ask(second.url, 'POST', '/subjects/s/versions', { schema })).toMatchObject({
      status: 200,
      body: { id: 1 },
    })
    expect(await ask(second.url, 'GET', '/subjects/s/versions')).toEqual({ status: 200, body: [1] })
    expect(await ask(second.url, 'PUT', '/config/s', { compatibility: 'FULL' })).toMatchObject({ status: 200 })
    expect(await ask(second.url, 'GET', '/config/s')).toMatchObject({ body: { compatibilityLevel: 'FULL' } })
    await first.close()
    expect(await ask(second.url, 'POST', '/subjects/t/versions', { schema })).toMatchObject({
      status: 200,
      body: { id: 1 },
    })
  })

  it('[R3] a key is asked for where the request comes in, and goes along to the writer', async () => {
    const secret = 'writer-secret-0123456789'
    const text = `- { name: w, hash: "${printHash(sha256Of(secret))}", scopes: [{ subjects: "a.", allow: write }] }`
    const keys = parseRegistryKeys(text, [])
    const log = createMemoryLog({ clock: systemClock })
    const election = createMemoryElection()
    const start = async () => {
      const elect = (url: string) => election.join(url)
      const running = await startRegistry({ log, clock: systemClock, port: 0, host: '127.0.0.1', keys, elect })
      closers.push(() => running.close())
      return running
    }
    await start()
    const second = await start()
    const { url } = second
    expect(second.leader()?.self).toBe(false)
    const body = { schema: JSON.stringify({ type: 'enum', name: 'A', symbols: ['A'] }) }
    const key = { ...TYPE, authorization: `Basic ${Buffer.from(`w:${secret}`).toString('base64')}` }
    expect(await ask(url, 'POST', '/subjects/a.s/versions', body)).toMatchObject({ status: 401 })
    expect(await ask(url, 'POST', '/subjects/b.s/versions', body, key)).toMatchObject({ status: 403 })
    expect(await ask(url, 'POST', '/subjects/a.s/versions', body, key)).toMatchObject({ status: 200, body: { id: 1 } })
  })

  it('[R3] carries path, query, body and the key along, marks the request, and reads the log before it answers', async () => {
    const { url: leader, seen } = await writer((_request, response) => {
      response.writeHead(200, { 'content-type': TYPE['content-type'], 'x-inner': 'stays' }).end('{"id":7}')
    })
    const leadership = new SetLeadership()
    leadership.now = { url: leader, self: false }
    const { url, refreshes } = await follower(leadership)
    const response = await fetch(`${url}/subjects/a%2Fb/versions?normalize=true`, {
      method: 'POST',
      headers: { ...TYPE, 'content-type': 'application/json', authorization: 'Basic eDp5' },
      body: '{"schema": "x"}',
    })
    expect([response.status, await response.text(), response.headers.get('content-type')]).toEqual([
      200,
      '{"id":7}',
      TYPE['content-type'],
    ])
    expect(response.headers.get('x-inner')).toBeNull()
    expect(seen).toHaveLength(1)
    expect(seen[0]).toMatchObject({
      method: 'POST',
      url: '/subjects/a%2Fb/versions?normalize=true',
      body: '{"schema":"x"}',
    })
    expect(seen[0]!.headers).toMatchObject({
      'x-forward': 'true',
      authorization: 'Basic eDp5',
      'content-type': 'application/json',
    })
    expect(refreshes()).toBe(1)
    expect(
      await ask(url, 'POST', '/compatibility/subjects/s/versions', {}, { 'content-type': 'application/json' }),
    ).toMatchObject({ body: { at: 'here' } })
    expect(seen).toHaveLength(1)
  })

  it('[R3] passes a refusal on as it is', async () => {
    const { url: leader } = await writer((_request, response) => {
      response.writeHead(409, TYPE).end('{"error_code":409,"message":"no"}')
    })
    const leadership = new SetLeadership()
    leadership.now = { url: leader, self: false }
    const { url, refreshes } = await follower(leadership)
    expect(await ask(url, 'DELETE', '/subjects/s')).toEqual({ status: 409, body: { error_code: 409, message: 'no' } })
    expect(refreshes()).toBe(0)
  })

  it('[R3] what was handed on once is not handed on again', async () => {
    const { url: leader, seen } = await writer((_request, response) => response.end('{}'))
    const leadership = new SetLeadership()
    leadership.now = { url: leader, self: false }
    const { url } = await follower(leadership)
    const headers = { 'content-type': 'application/json', 'x-forward': 'true' }
    expect(await ask(url, 'POST', '/subjects/s/versions', {}, headers)).toEqual({
      status: 500,
      body: { error_code: 50004, message: 'Leader not known.' },
    })
    expect(seen).toEqual([])
  })

  it.each([
    [
      'POST',
      '/subjects/s/versions',
      'Leader not known.',
      'Error while forwarding register schema request to the leader',
    ],
    ['DELETE', '/subjects/s', 'Leader not known.', 'Error while forwarding delete subject request to the leader'],
    [
      'DELETE',
      '/subjects/s/versions/1',
      'Leader not known.',
      'Error while forwarding delete schema version request to the leader',
    ],
    [
      'PUT',
      '/config/s',
      'Failed to update compatibility level',
      'Error while forwarding update config request to the leader',
    ],
    [
      'DELETE',
      '/config/s',
      'Failed to delete compatibility level',
      'Error while forwarding delete config request to the leader',
    ],
    ['PUT', '/mode', 'Failed to update mode', 'Error while forwarding update mode request to the leader'],
  ])(
    '[R3] %s %s says in Confluent’s words that nobody writes, or that it cannot be reached',
    async (method, at, unknown, forwarding) => {
      const leadership = new SetLeadership()
      const { url } = await follower(leadership)
      const body = method === 'DELETE' ? undefined : {}
      const headers = { 'content-type': 'application/json' }
      expect(await ask(url, method, at, body, headers)).toEqual({
        status: 500,
        body: { error_code: 50004, message: unknown },
      })
      leadership.now = { url: 'http://127.0.0.1:9', self: false }
      expect(await ask(url, method, at, body, headers)).toEqual({
        status: 500,
        body: { error_code: 50003, message: forwarding },
      })
    },
  )

  it('[D1] a writer that breaks off: a registration is sent again to the next one, a deletion is not', async () => {
    const { url: dying, seen } = await writer((request) => request.socket.destroy())
    const { url: next } = await writer((_request, response) => response.end('{"id":3}'))
    const leadership = new SetLeadership()
    leadership.now = { url: dying, self: false }
    const { url } = await follower(leadership, 120_000)
    const answer = ask(url, 'POST', '/subjects/s/versions', {}, { 'content-type': 'application/json' })
    while (seen.length === 0) await systemClock.sleep(1)
    leadership.now = { url: next, self: false }
    expect(await answer).toEqual({ status: 200, body: { id: 3 } })
    leadership.now = { url: dying, self: false }
    const before = seen.length
    expect(await ask(url, 'DELETE', '/subjects/s')).toMatchObject({ status: 500, body: { error_code: 50003 } })
    expect(seen.length).toBe(before + 1)
  })

  it('[D1] a writer that does not answer: when another one leads, the registration goes there', async () => {
    const { url: hanging, seen } = await writer(() => undefined)
    const { url: next } = await writer((_request, response) => response.end('{"id":4}'))
    const leadership = new SetLeadership()
    leadership.now = { url: hanging, self: false }
    const { url } = await follower(leadership, 50)
    const answer = ask(url, 'POST', '/subjects/s/versions', {}, { 'content-type': 'application/json' })
    while (seen.length === 0) await systemClock.sleep(1)
    // Longer than the patience for a leader that is not there: this one is, as far as is known.
    await systemClock.sleep(100)
    leadership.now = { url: next, self: false }
    expect(await answer).toEqual({ status: 200, body: { id: 4 } })
  })

  it('[D1] one that says that it does not lead is asked again until somebody does', async () => {
    const leadership = new SetLeadership()
    const { url: stale } = await writer((_request, response) => {
      leadership.now = { url: 'unused', self: true }
      response.writeHead(500, TYPE).end('{"error_code":50004,"message":"Leader not known."}')
    })
    leadership.now = { url: stale, self: false }
    const { url } = await follower(leadership, 120_000)
    expect(await ask(url, 'POST', '/subjects/s/versions', {}, { 'content-type': 'application/json' })).toEqual({
      status: 200,
      body: { at: 'here' },
    })
  })
})
