/** The client's one promise: an unknown id and a registry that does not answer are never mistaken for one another. */
import { describe, expect, it } from 'vitest'
import { createRegistryClient } from './registry.ts'

type Reply = { status: number; body: unknown } | Error

/** A client whose requests are answered in order; the last reply repeats. */
function client(...replies: Reply[]) {
  const asked: { url: string; init: RequestInit }[] = []
  let now = 0
  const registry = createRegistryClient({
    url: 'http://user:p%40ss@registry.test/base/',
    timeoutMs: 1_000,
    monotonic: () => now,
    fetch: async (url, init) => {
      const reply = replies[Math.min(asked.length, replies.length - 1)]!
      asked.push({ url: url as string, init: init! })
      if (reply instanceof Error) throw reply
      const text = typeof reply.body === 'string' ? reply.body : JSON.stringify(reply.body)
      return new Response(text, { status: reply.status })
    },
  })
  return { registry, asked, pass: (ms: number) => (now += ms) }
}

const unknownId = { status: 404, body: { error_code: 40403, message: 'Schema 7 not found' } }

describe('createRegistryClient', () => {
  it('[R6] asks for an id once and keeps it for ever', async () => {
    const { registry, asked, pass } = client({ status: 200, body: { schema: '"int"' } }, new Error('gone'))
    expect(await Promise.all([registry.schemaById(7), registry.schemaById(7)])).toEqual(['"int"', '"int"'])
    pass(1e9)
    expect(await registry.schemaById(7)).toBe('"int"')
    expect(asked.map(({ url }) => url)).toEqual(['http://registry.test/base/schemas/ids/7'])
    expect(new Headers(asked[0]!.init.headers).get('authorization')).toBe(`Basic ${btoa('user:p@ss')}`)
  })

  it('[R6] keeps an unknown id for a short time only', async () => {
    const { registry, asked, pass } = client(unknownId, { status: 200, body: { schema: '"int"' } })
    expect(await registry.schemaById(7)).toBeNull()
    pass(4_999)
    expect(await registry.schemaById(7)).toBeNull()
    expect(asked.length).toBe(1)
    pass(1)
    expect(await registry.schemaById(7)).toBe('"int"')
  })

  it('[R5][D5] an id that no registry can give out is unknown without asking', async () => {
    const { registry, asked } = client({ status: 404, body: { error_code: 404, message: 'HTTP 404 Not Found' } })
    expect(await registry.schemaById(2 ** 31)).toBeNull()
    expect(await registry.schemaById(2 ** 32 - 1)).toBeNull()
    expect(asked).toEqual([])
    await expect(registry.schemaById(2 ** 31 - 1)).rejects.toMatchObject({ code: 'REGISTRY_UNREACHABLE' })
  })

  const noAnswers: readonly (readonly [string, Reply])[] = [
    ['no connection', new TypeError('fetch failed')],
    ['a server error', { status: 500, body: { error_code: 50001, message: 'Error in the backend data store' } }],
    ["a proxy's 404 page", { status: 404, body: '<html>not found</html>' }],
    ["another program's 404", { status: 404, body: { error: 'no such route' } }],
    ['a 404 of another code', { status: 404, body: { error_code: 404, message: 'HTTP 404 Not Found' } }],
    ['no leave', { status: 401, body: { error_code: 401, message: 'Unauthorized' } }],
    ['200 without a schema', { status: 200, body: {} }],
    ['an endless answer', { status: 200, body: { schema: 'x'.repeat(2 ** 21) } }],
    ['null', { status: 200, body: null }],
  ]
  it.each(noAnswers)('[R5] %s is REGISTRY_UNREACHABLE, and asked again the next time', async (_name, reply) => {
    const { registry } = client(reply, { status: 200, body: { schema: '"int"' } })
    await expect(registry.schemaById(7)).rejects.toMatchObject({ code: 'REGISTRY_UNREACHABLE', retry: 'later' })
    expect(await registry.schemaById(7)).toBe('"int"')
  })

  it('[R4] tells a refused schema from a refused connection', async () => {
    const refused = client({
      status: 409,
      body: { error_code: 409, message: 'Schema being registered is incompatible …' },
    })
    await expect(refused.registry.register('a/b', '"int"')).rejects.toMatchObject({
      code: 'SCHEMA_INCOMPATIBLE',
      message: 'Schema being registered is incompatible …',
    })
    expect(refused.asked[0]!.url).toBe('http://registry.test/base/subjects/a%2Fb/versions')
    const invalid = client({ status: 422, body: { error_code: 42201, message: 'Invalid schema' } })
    await expect(invalid.registry.register('s', 'x')).rejects.toMatchObject({ code: 'SCHEMA_INVALID' })
    const down = client({ status: 503, body: {} })
    await expect(down.registry.register('s', '"int"')).rejects.toMatchObject({ code: 'REGISTRY_UNREACHABLE' })
    expect(await client({ status: 200, body: { id: 3 } }).registry.register('s', '"int"')).toBe(3)
  })
})
