/** The client's one promise: an unknown id and a registry that does not answer are never mistaken for one another. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { createRegistryClient } from './registry.ts'
import { shownAddresses, withAuth } from './registry-http.ts'

type Reply = { status: number; body: unknown; headers?: Record<string, string> } | Error

/** A client whose requests are answered in order; the last reply repeats. Waiting moves its clock. */
function client(replies: readonly Reply[], options: { url?: string; timeoutMs?: number; registerMs?: number } = {}) {
  const { url = 'http://user:p%40ss@registry.test/base/', timeoutMs = 5_000, registerMs = timeoutMs } = options
  const asked: { url: string; init: RequestInit }[] = []
  const waits: number[] = []
  let now = 0
  const registry = createRegistryClient({
    url,
    timeoutMs,
    registerMs,
    monotonic: () => now,
    sleep: async (ms) => {
      waits.push(ms)
      now += ms
    },
    fetch: async (to, init) => {
      const reply = replies[Math.min(asked.length, replies.length - 1)]!
      asked.push({ url: to as string, init: init! })
      if (reply instanceof Error) throw reply
      const text = typeof reply.body === 'string' ? reply.body : JSON.stringify(reply.body)
      return new Response(text, { status: reply.status, headers: reply.headers ?? {} })
    },
  })
  return { registry, asked, waits, pass: (ms: number) => (now += ms) }
}

const unknownId = { status: 404, body: { error_code: 40403, message: 'Schema 7 not found' } }
const found = { status: 200, body: { schema: '"int"' } }
const away = { status: 503, body: { error_code: 50301, message: 'no master' } }

describe('createRegistryClient', () => {
  it('[R6] asks for an id once and keeps it for ever', async () => {
    const { registry, asked, pass } = client([found, new Error('gone')])
    expect(await Promise.all([registry.schemaById(7), registry.schemaById(7)])).toEqual(['"int"', '"int"'])
    pass(1e9)
    expect(await registry.schemaById(7)).toBe('"int"')
    expect(asked.map(({ url }) => url)).toEqual(['http://registry.test/base/schemas/ids/7'])
    expect(new Headers(asked[0]!.init.headers).get('authorization')).toBe(`Basic ${btoa('user:p@ss')}`)
  })

  it('[R6] keeps an unknown id for a short time only', async () => {
    const { registry, asked, pass } = client([unknownId, found])
    expect(await registry.schemaById(7)).toBeNull()
    pass(4_999)
    expect(await registry.schemaById(7)).toBeNull()
    expect(asked.length).toBe(1)
    pass(1)
    expect(await registry.schemaById(7)).toBe('"int"')
  })

  it('[R5][D5] an id that no registry can give out is unknown without asking', async () => {
    const { registry, asked } = client([{ status: 404, body: { error_code: 404, message: 'HTTP 404 Not Found' } }])
    expect(await registry.schemaById(2 ** 31)).toBeNull()
    expect(await registry.schemaById(2 ** 32 - 1)).toBeNull()
    expect(asked).toEqual([])
    await expect(registry.schemaById(2 ** 31 - 1)).rejects.toMatchObject({ code: 'REGISTRY_UNREACHABLE' })
  })

  /** Name, answer, and how often one call asks before it gives up. */
  const noAnswers: readonly (readonly [string, Reply, number])[] = [
    ['no connection', new TypeError('fetch failed'), 4],
    ['a server error', { status: 500, body: { error_code: 50001, message: 'Error in the backend data store' } }, 4],
    ["a proxy's 404 page", { status: 404, body: '<html>not found</html>' }, 4],
    ['too many requests', { status: 429, body: { error_code: 429, message: 'Too Many Requests' } }, 4],
    ["another program's 404", { status: 404, body: { error: 'no such route' } }, 1],
    ['a 404 of another code', { status: 404, body: { error_code: 404, message: 'HTTP 404 Not Found' } }, 1],
    ['200 without a schema', { status: 200, body: {} }, 1],
    ['an endless answer', { status: 200, body: { schema: 'x'.repeat(2 ** 21) } }, 4],
    ['null', { status: 200, body: null }, 4],
  ]
  it.each(noAnswers)('[R5] %s is REGISTRY_UNREACHABLE, and asked again the next time', async (_name, reply, times) => {
    const { registry, asked } = client([...Array.from({ length: times }, () => reply), found])
    await expect(registry.schemaById(7)).rejects.toMatchObject({ code: 'REGISTRY_UNREACHABLE', retry: 'later' })
    expect(asked.length).toBe(times)
    expect(await registry.schemaById(7)).toBe('"int"')
  })

  it.each([
    ['a refused key', { status: 401, body: { error_code: 401, message: 'Unauthorized' } }],
    ['a key without leave', { status: 403, body: { error_code: 40301, message: 'User is denied operation' } }],
    ["a proxy's 403 page", { status: 403, body: '<html>forbidden</html>' }],
  ])('[R5] %s is REGISTRY_DENIED at the first answer, and asked again the next time', async (_name, reply) => {
    const { registry, asked } = client([reply, found])
    await expect(registry.schemaById(7)).rejects.toMatchObject({ code: 'REGISTRY_DENIED', retry: 'later' })
    expect(asked.length).toBe(1)
    expect(await registry.schemaById(7)).toBe('"int"')
  })

  it('[R4] tells a refused schema from a refused connection', async () => {
    const message = 'Schema being registered is incompatible …'
    const refused = client([{ status: 409, body: { error_code: 409, message } }])
    await expect(refused.registry.register('a/b', '"int"')).rejects.toMatchObject({
      code: 'SCHEMA_INCOMPATIBLE',
      message,
    })
    expect(refused.asked[0]!.url).toBe('http://registry.test/base/subjects/a%2Fb/versions')
    const invalid = client([{ status: 422, body: { error_code: 42201, message: 'Invalid schema' } }])
    await expect(invalid.registry.register('s', 'x')).rejects.toMatchObject({ code: 'SCHEMA_INVALID' })
    const down = client([away])
    await expect(down.registry.register('s', '"int"')).rejects.toMatchObject({ code: 'REGISTRY_UNREACHABLE' })
    expect(await client([{ status: 200, body: { id: 3 } }]).registry.register('s', '"int"')).toBe(3)
  })

  it('[R6] waits longer each time, as long as it is told to, and never beyond its time', async () => {
    const doubling = client([away, away, away, found])
    expect(await doubling.registry.schemaById(7)).toBe('"int"')
    expect(doubling.waits).toEqual([100, 200, 400])
    const told = client([{ ...away, headers: { 'retry-after': '2' } }, found])
    expect(await told.registry.schemaById(7)).toBe('"int"')
    expect(told.waits).toEqual([2_000])
    const tooLong = client([{ ...away, headers: { 'retry-after': '600' } }, found])
    await expect(tooLong.registry.schemaById(7)).rejects.toMatchObject({ code: 'REGISTRY_UNREACHABLE' })
    expect(tooLong.waits).toEqual([])
    const short = client([away], { timeoutMs: 150 })
    await expect(short.registry.schemaById(7)).rejects.toMatchObject({ code: 'REGISTRY_UNREACHABLE' })
    expect(short.waits).toEqual([100])
  })

  it('[R6] gives a registration its own time: without it nothing starts', async () => {
    const busy = { ...away, headers: { 'retry-after': '20' } }
    const { registry, waits } = client([busy, { status: 200, body: { id: 3 } }], { registerMs: 30_000 })
    expect(await registry.register('s', '"int"')).toBe(3)
    expect(waits).toEqual([20_000])
    await expect(client([busy], { registerMs: 30_000 }).registry.schemaById(7)).rejects.toMatchObject({
      code: 'REGISTRY_UNREACHABLE',
    })
  })

  it('[R6] goes to the next instance at once, stays there, and gives each only its own credentials', async () => {
    const { registry, asked, waits } = client([new TypeError('fetch failed'), found, found], {
      url: 'http://a:1@one.test, http://two.test:81/x/',
    })
    expect(await registry.schemaById(7)).toBe('"int"')
    expect(await registry.schemaById(8)).toBe('"int"')
    expect(asked.map(({ url }) => url)).toEqual([
      'http://one.test/schemas/ids/7',
      'http://two.test:81/x/schemas/ids/7',
      'http://two.test:81/x/schemas/ids/8',
    ])
    expect(asked.map(({ init }) => new Headers(init.headers).has('authorization'))).toEqual([true, false, false])
    expect(waits).toEqual([])
  })

  it('[R1] a schema with references comes as one text', async () => {
    const body = {
      schema: '{"type":"record","name":"R","fields":[{"name":"e","type":"E"}]}',
      references: [{ name: 'E', subject: 'e/x', version: 2 }],
    }
    const enumText = '{"type":"enum","name":"E","symbols":["A"]}'
    const { registry, asked } = client([
      { status: 200, body },
      { status: 200, body: { schema: enumText } },
    ])
    expect(await registry.schemaById(7)).toBe(`{"type":"record","name":"R","fields":[{"name":"e","type":${enumText}}]}`)
    expect(asked[1]!.url).toBe('http://registry.test/base/subjects/e%2Fx/versions/2?deleted=true')
    const broken = client([
      { status: 200, body },
      { status: 404, body: { error_code: 40401, message: 'gone' } },
    ])
    await expect(broken.registry.schemaById(7)).rejects.toMatchObject({ code: 'REGISTRY_UNREACHABLE' })
  })

  it('shows no password, neither in an error nor in an address', async () => {
    const { registry } = client([new TypeError('fetch failed')])
    const error = await registry.schemaById(7).catch((caught: unknown) => caught)
    expect(JSON.stringify([error, String(error), (error as { context: object }).context])).not.toMatch(
      /p@ss|p%40ss|user/,
    )
    expect(shownAddresses('http://user:p%40ss@a.test/,http://b.test')).toBe('http://a.test,http://b.test')
    expect(withAuth('http://a.test,http://own:1@b.test', 'me:p@:s')).toBe(
      'http://me:p%40%3As@a.test/,http://own:1@b.test',
    )
    expect(() => createRegistryClient({ url: 'user:secret', timeoutMs: 1 })).toThrow(/no http\(s\) URL\.$/)
  })
})

describe('a server that misbehaves', () => {
  const close: (() => void)[] = []
  afterEach(() => {
    for (const one of close.splice(0)) one()
  })

  /** A real server that answers its n-th request (from 0) by `handlers[n]`, the last one from then on. */
  async function serverOf(...handlers: ((request: IncomingMessage, response: ServerResponse) => void)[]) {
    let requests = 0
    const server = createServer((request, response) => {
      handlers[Math.min(requests++, handlers.length - 1)]!(request, response)
    }).listen(0, '127.0.0.1')
    // A test that stood still must not find the connection ended under its next request.
    server.keepAliveTimeout = 600_000
    await once(server, 'listening')
    close.push(() => {
      server.closeAllConnections()
      server.close()
    })
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests: () => requests }
  }
  type Handler = Parameters<typeof serverOf>[number]
  const json =
    (status: number, body: object): Handler =>
    (_request, response) =>
      void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  const reset: Handler = (request) => request.socket.resetAndDestroy()
  const cut: Handler = (_request, response) => {
    response.writeHead(200, { 'content-length': '100' }).write('{"schema":')
    setImmediate(() => response.destroy())
  }
  const page: Handler = (_request, response) => void response.writeHead(404).end('<html>Not here</html>')
  const silent: Handler = (_request, response) => void response.writeHead(200).write('{"sch')
  const schema = json(200, { schema: '"int"' })
  const registered = json(200, { id: 9 })

  it('[R6] resets, broken answers, 503 and pages are asked again within the call', async () => {
    const { url, requests } = await serverOf(reset, cut, page, schema)
    expect(await createRegistryClient({ url, timeoutMs: 120_000 }).schemaById(1)).toBe('"int"')
    expect(requests()).toBe(4)
    const other = await serverOf(reset, json(503, { error_code: 50301, message: 'no master' }), registered)
    expect(await createRegistryClient({ url: other.url, timeoutMs: 120_000 }).register('s', '"int"')).toBe(9)
  })

  it('[R5] an endless wait for a body ends, as no answer', async () => {
    const { url } = await serverOf(silent)
    await expect(createRegistryClient({ url, timeoutMs: 300 }).schemaById(1)).rejects.toMatchObject({
      code: 'REGISTRY_UNREACHABLE',
    })
  })

  it('[R6] an instance that hangs leaves the next one its share of the time', async () => {
    const hanging = await serverOf(silent)
    const good = await serverOf(schema)
    const registry = createRegistryClient({ url: `${hanging.url},${good.url}`, timeoutMs: 16_000 })
    expect(await registry.schemaById(1)).toBe('"int"')
    expect(await registry.schemaById(2)).toBe('"int"')
    expect([hanging.requests(), good.requests()]).toEqual([1, 2])
  })

  it('[R5] a dead instance and one that does not know the id: it is unknown', async () => {
    const good = await serverOf(json(404, { error_code: 40403, message: 'Schema 7 not found' }))
    const registry = createRegistryClient({ url: `http://127.0.0.1:1,${good.url}`, timeoutMs: 120_000 })
    expect(await registry.schemaById(7)).toBeNull()
  })
})
