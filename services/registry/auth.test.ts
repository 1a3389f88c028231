/**
 * Goal: with keys, every route asks for the leave it needs and no other; lists and pages show what a key may read; guessing ends; and
 * what a caller sent stands in no log line. Method: the registry over HTTP on a log in memory, a real logger into a list.
 */
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { Writable } from 'node:stream'
import { type ClientConfig, SchemaRegistryClient } from '@confluentinc/schemaregistry'
import { SchemaRegistry, SchemaType } from '@kafkajs/confluent-schema-registry'
import pino from 'pino'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '#io/clock.ts'
import { createRegistryClient } from '#io/registry.ts'
import { parseRegistryKeys, printHash, type RegistryKey, scryptOf, sha256Of } from '#io/registry-keys.ts'
import { createMemoryLog } from '#testkit/log-memory.ts'
import { needOf } from './auth-access.ts'
import { startRegistry } from './start.ts'

const secrets = {
  root: 'root-secret-0123456789',
  reader: 'reader-secret-0123456789',
  writer: 'writer-secret-0123456789',
  person: 'correct horse battery staple',
  other: 'other-secret-0123456789',
}
const logged: string[] = []
const logger = pino(
  { level: 'trace' },
  new Writable({
    write(chunk, _encoding, done) {
      logged.push(String(chunk))
      done()
    },
  }),
)
let keys: RegistryKey[]
let url: string
let close: () => Promise<void>

beforeAll(async () => {
  const problems: string[] = []
  const text = `
- { name: root, hash: "${printHash(sha256Of(secrets.root))}", scopes: [{ subjects: "", allow: admin }] }
- { name: reader, hash: "${printHash(sha256Of(secrets.reader))}", scopes: [{ subjects: "a.", allow: read }] }
- { name: writer, hash: "${printHash(sha256Of(secrets.writer))}", scopes: [{ subjects: "a.", allow: write }, { subjects: "c", allow: read }] }
- { name: other, hash: "${printHash(sha256Of(secrets.other))}", scopes: [{ subjects: ":.other:a", allow: write }] }
- { name: person, hash: "${printHash(await scryptOf(secrets.person))}", scopes: [{ subjects: b, allow: admin }] }
`
  keys = parseRegistryKeys(text, problems)
  expect(problems).toEqual([])
  const log = createMemoryLog({ clock: systemClock })
  const registry = await startRegistry({ log, clock: systemClock, port: 0, host: '127.0.0.1', logger, keys })
  url = registry.url
  close = () => registry.close()
  for (const [subject, name] of [
    ['a.1', 'A1'],
    ['a.2', 'A2'],
    ['b.1', 'B1'],
    ['c.1', 'A1'],
  ])
    expect((await as('root', 'POST', `/subjects/${subject}/versions`, schemaOf(name!))).status).toBe(200)
})
afterAll(() => close())

const schemaOf = (name: string) => ({
  schema: JSON.stringify({ type: 'record', name, fields: [{ name: 'x', type: 'int' }] }),
})

async function ask(authorization: string | null, method: string, path: string, body?: unknown) {
  const response = await fetch(`${url}${path}`, {
    method,
    headers: {
      ...(authorization === null ? {} : { authorization }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  return {
    status: response.status,
    headers: response.headers,
    body: (text === '' ? null : JSON.parse(text)) as unknown,
  }
}
const basic = (name: string, secret: string): string => `Basic ${Buffer.from(`${name}:${secret}`).toString('base64')}`
const as = (name: keyof typeof secrets, method: string, path: string, body?: unknown) =>
  ask(basic(name, secrets[name]), method, path, body)

describe('keys of the registry', () => {
  it('[R1] without a key: 401 with a challenge, in Confluent’s words; only health is open', async () => {
    for (const path of ['/', '/subjects', '/schemas/ids/1', '/config', '/no/such/path', '/subjects/a.1/versions/1']) {
      const { status, headers, body } = await ask(null, 'GET', path)
      expect([path, status, body]).toEqual([path, 401, { error_code: 401, message: 'Unauthorized' }])
      expect(headers.get('www-authenticate')).toMatch(/^Basic realm=/)
      expect(headers.get('content-type')).toBe('application/vnd.schemaregistry.v1+json')
    }
    expect((await ask(null, 'GET', '/healthz')).status).toBe(200)
    expect((await ask(null, 'GET', '/readyz')).status).toBe(200)
    // Figures of the machine are open too, where they are served: here they are not.
    expect((await ask(null, 'GET', '/metrics')).status).toBe(401)
    expect((await ask(basic('root', 'wrong'), 'GET', '/subjects')).status).toBe(401)
    expect((await ask(`Bearer root.${secrets.root}`, 'GET', '/subjects')).status).toBe(200)
    expect((await ask('Bearer rubbish', 'GET', '/subjects')).status).toBe(401)
    expect((await as('person', 'GET', '/subjects')).body).toEqual(['b.1'])
  })

  it('the body of who has no key is not waited for, and that of who has one is bounded', async () => {
    const asking = request(`${url}/subjects/a.1/versions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'content-length': '3000000' },
    })
    asking.flushHeaders()
    const [response] = (await once(asking, 'response')) as [IncomingMessage]
    expect(response.statusCode).toBe(401)
    asking.destroy()
    const large = await as('root', 'POST', '/subjects/a.1/versions', { schema: 'x'.repeat(1_000_000) })
    expect([large.status, large.body]).toMatchObject([413, { error_code: 413 }])
  })

  /** Method, path, body, and the status for: reader of a., writer of a., admin of b, admin of all. */
  const newer = { schema: schemaOf('A1').schema.replace('"int"}', '"long"}') }
  const cases: readonly (readonly [string, string, object | undefined, number, number, number, number])[] = [
    ['GET', '/subjects/a.1/versions', undefined, 200, 200, 403, 200],
    ['GET', '/subjects/a.1/versions/latest', undefined, 200, 200, 403, 200],
    ['GET', '/subjects/:.:a.1/versions/1/schema', undefined, 200, 200, 403, 200],
    ['GET', '/subjects/b.1/versions/1', undefined, 403, 403, 200, 200],
    ['GET', '/subjects/%62.1/versions/1', undefined, 403, 403, 200, 200],
    ['GET', '/config', undefined, 200, 200, 200, 200],
    ['GET', '/config/a.1?defaultToGlobal=true', undefined, 200, 200, 403, 200],
    ['GET', '/mode/b.1?defaultToGlobal=true', undefined, 403, 403, 200, 200],
    ['POST', '/subjects/a.1', schemaOf('A1'), 200, 200, 403, 200],
    ['POST', '/compatibility/subjects/a.1/versions/latest', newer, 200, 200, 403, 200],
    ['POST', '/subjects/a.1/versions', schemaOf('A1'), 403, 200, 403, 200],
    ['POST', '/subjects/b.1/versions', schemaOf('B1'), 403, 403, 200, 200],
    ['PUT', '/config/b.1', { compatibility: 'FULL' }, 403, 403, 200, 200],
    ['PUT', '/config', { compatibility: 'BACKWARD' }, 403, 403, 403, 200],
    ['DELETE', '/config/b.1', undefined, 403, 403, 200, 200],
    ['DELETE', '/subjects/a.2/versions/9', undefined, 403, 403, 403, 404],
    ['GET', '/schemas/types', undefined, 200, 200, 200, 200],
    ['GET', '/schemas/ids/99', undefined, 404, 404, 404, 404],
    ['GET', '/schemas/ids/nan', undefined, 404, 404, 404, 404],
    ['GET', '/no/such/path', undefined, 404, 404, 404, 404],
  ]
  it.each(cases)('%s %s asks for its own leave', async (method, path, body, reader, writer, person, root) => {
    expect((await as('reader', method, path, body)).status).toBe(reader)
    expect((await as('writer', method, path, body)).status).toBe(writer)
    expect((await as('person', method, path, body)).status).toBe(person)
    // Twice the same setting can only be unset once.
    if (method !== 'DELETE' || root !== 200) expect((await as('root', method, path, body)).status).toBe(root)
  })

  it('[R1] says what is denied, as Confluent does', async () => {
    expect((await as('reader', 'POST', '/subjects/a.1/versions', schemaOf('A1'))).body).toEqual({
      error_code: 40301,
      message: 'User is denied operation Write on Subject: a.1',
    })
    expect((await as('person', 'PUT', '/config', { compatibility: 'NONE' })).body).toMatchObject({ error_code: 40301 })
  })

  it('lists show what the key may read, and pages are counted after that', async () => {
    expect((await as('root', 'GET', '/subjects')).body).toEqual(['a.1', 'a.2', 'b.1', 'c.1'])
    expect((await as('reader', 'GET', '/subjects')).body).toEqual(['a.1', 'a.2'])
    expect((await as('writer', 'GET', '/subjects')).body).toEqual(['a.1', 'a.2', 'c.1'])
    expect((await as('writer', 'GET', '/subjects?offset=1&limit=1')).body).toEqual(['a.2'])
    expect((await as('writer', 'GET', '/subjects?offset=2')).body).toEqual(['c.1'])
    expect((await as('person', 'GET', '/subjects?subjectPrefix=a')).body).toEqual([])
  })

  it('[R5] an id that may not be read is 403 and never "unknown"; its holders are shown by scope', async () => {
    const idOf = async (subject: string) =>
      ((await as('root', 'GET', `/subjects/${subject}/versions/1`)).body as { id: number }).id
    const [shared, other] = [await idOf('a.1'), await idOf('b.1')]
    expect(await idOf('c.1')).toBe(shared)
    expect((await as('reader', 'GET', `/schemas/ids/${shared}`)).status).toBe(200)
    expect((await as('reader', 'GET', `/schemas/ids/${shared}/subjects`)).body).toEqual(['a.1'])
    expect((await as('writer', 'GET', `/schemas/ids/${shared}/versions`)).body).toHaveLength(2)
    const denied = await as('reader', 'GET', `/schemas/ids/${other}`)
    expect([denied.status, denied.body]).toEqual([
      403,
      { error_code: 40301, message: `User is denied operation Read on Schema: ${other}` },
    ])
    const client = createRegistryClient({ url: url.replace('//', `//reader:${secrets.reader}@`), timeoutMs: 60_000 })
    expect(await client.schemaById(shared)).toContain('A1')
    expect(await client.schemaById(99)).toBeNull()
    await expect(client.schemaById(other)).rejects.toMatchObject({
      code: 'REGISTRY_DENIED',
      hint: expect.stringContaining('TIDEMARK_REGISTRY_AUTH') as string,
    })
  })

  it('a reference to what may not be read is refused before the route sees it', async () => {
    for (const subject of ['b.1', ':.:b.1', 7]) {
      const body = { ...schemaOf('R'), references: [{ name: 'B1', subject, version: 1 }] }
      expect((await as('writer', 'POST', '/subjects/a.r/versions', body)).body).toEqual({
        error_code: 40301,
        message: `User is denied operation Read on Subject: ${subject === 7 ? '7' : 'b.1'}`,
      })
    }
  })

  it('what a schema refers to is written out for those who may read all of it', async () => {
    const refer = (name: string, to: readonly [string, string]) => ({
      schema: JSON.stringify({ type: 'record', name, fields: [{ name: 'x', type: to[0] }] }),
      references: [{ name: to[0], subject: to[1], version: 1 }],
    })
    const subjects = { 'a.over-b': refer('OverB', ['B1', 'b.1']), 'a.over': refer('Over', ['OverB', 'a.over-b']) }
    const ids: number[] = []
    for (const [subject, body] of Object.entries({ ...subjects, 'a.over-a': refer('OverA', ['A1', 'a.1']) })) {
      const { id } = (await as('root', 'POST', `/subjects/${subject}/versions`, body)).body as { id: number }
      ids.push(id)
      for (const path of [
        `/subjects/${subject}/versions/1?`,
        `/subjects/${subject}/versions/1/schema?`,
        `/subjects/${subject}/metadata?`,
        `/schemas/ids/${id}?`,
        `/schemas/ids/${id}/schema?`,
        `/schemas/ids/${id}?subject=${subject}&`,
      ]) {
        const [plain, resolved] = [await as('reader', 'GET', path), await as('reader', 'GET', `${path}format=resolved`)]
        expect([path, plain.status, resolved.status]).toEqual([path, 200, subject === 'a.over-a' ? 200 : 403])
        expect((await as('root', 'GET', `${path}format=resolved`)).status).toBe(200)
      }
    }
    const found = await as('reader', 'POST', '/subjects/a.over-b?format=resolved', subjects['a.over-b'])
    expect([found.status, found.body]).toEqual([
      403,
      { error_code: 40301, message: 'User is denied operation Read on Subject: b.1' },
    ])
    const whole = (await as('reader', 'GET', `/schemas/ids/${ids[2]}?format=resolved`)).body as { schema: string }
    expect(whole.schema).toContain('"name":"A1"')
    for (const subject of ['a.over', 'a.over-b', 'a.over-a']) {
      await as('root', 'DELETE', `/subjects/${subject}`)
      expect((await as('root', 'DELETE', `/subjects/${subject}?permanent=true`)).status).toBe(200)
    }
  })

  /** The status for the reader, of a path that is sent as it is written: fetch would tidy it. */
  async function statusOfRaw(path: string): Promise<number> {
    const { hostname, port } = new URL(url)
    const headers = { authorization: basic('reader', secrets.reader) }
    const asking = request({ hostname, port, path, headers, agent: false }).end()
    const [response] = (await once(asking, 'response')) as [IncomingMessage]
    response.resume()
    return response.statusCode!
  }

  it('no other spelling of an id, a subject or an address opens what is closed', async () => {
    const { id } = (await as('root', 'GET', '/subjects/b.1/versions/1')).body as { id: number }
    for (const path of [
      `/schemas/ids/${id}`,
      `/schemas/ids/+${id}`,
      `/schemas/ids/%2B${id}`,
      `/schemas/ids/${String(id).padStart(20, '0')}`,
      `/schemas/ids/${id}/`,
      `//schemas//ids/${id}`,
      `/schemas/ids/${id}/schema?subject=a.1`,
      `/schemas/ids/${id}?subject=a.1&subject=b.1`,
      `/contexts/./schemas/ids/${id}`,
      '/subjects/:.:b.1/versions/latest',
      '/subjects/%3A.%3Ab.1/versions/latest/schema',
      '/contexts/./subjects/b.1/versions/1',
      '/contexts/%2E/subjects/b.1/versions/1',
      '/subjects/b.1/metadata',
      '/subjects/b.1/versions/1/referencedby',
    ])
      expect([path, await statusOfRaw(path)]).toEqual([path, 403])
    const { guid } = (await as('root', 'GET', `/schemas/ids/${id}?format=`)).body as { guid?: string }
    expect((await as('reader', 'GET', `/schemas/guids/${guid ?? '0'}`)).status).toBe(403)
    expect((await as('reader', 'GET', '/contexts/a:b/subjects')).status).not.toBe(200)
  })

  it('a plain prefix is one of the default context; others are named', async () => {
    const schema = schemaOf('Elsewhere')
    for (const subject of [':.other:a.9', ':.other:b.9'])
      expect((await as('root', 'POST', `/subjects/${subject}/versions`, schema)).status).toBe(200)
    expect((await as('reader', 'GET', '/subjects/a.9/versions/1')).status).toBe(404)
    expect((await as('reader', 'GET', '/subjects/:.other:a.9/versions/1')).status).toBe(403)
    expect((await as('reader', 'GET', '/contexts/.other/subjects/a.9/versions/1')).status).toBe(403)
    expect((await as('writer', 'POST', '/contexts/.other/subjects/a.9/versions', schema)).status).toBe(403)
    expect((await as('reader', 'GET', '/subjects')).body).toEqual(['a.1', 'a.2'])
    expect((await as('other', 'GET', '/subjects')).body).toEqual([':.other:a.9'])
    expect((await as('other', 'GET', '/contexts')).body).toEqual(['.', '.other'])
    expect((await as('other', 'GET', '/contexts?offset=1&limit=1')).body).toEqual(['.other'])
    expect((await as('reader', 'GET', '/contexts')).body).toEqual(['.'])
    expect((await as('root', 'GET', '/contexts')).body).toEqual(['.', '.other'])
    expect((await as('other', 'POST', '/contexts/.other/subjects/a.9/versions', schema)).status).toBe(200)
    // A name without its context is looked for in those that the key may read, and nothing is told of the others.
    expect((await as('root', 'GET', '/subjects/a.9/versions/1')).body).toMatchObject({ subject: ':.other:a.9' })
    expect((await as('reader', 'POST', '/subjects/a.9', schema)).status).toBe(404)
    // Settings of every context are everybody's.
    for (const subject of [':.__GLOBAL:', ':.__GLOBAL:a.9'])
      expect(needOf({ method: 'PUT', route: '/config/:subject', params: { subject } })).toMatchObject({ subject: '' })
    // Ids are those of a context: what the hint leads to is what counts.
    const { id } = (await as('root', 'GET', '/subjects/:.other:a.9/versions/1')).body as { id: number }
    expect((await as('other', 'GET', `/schemas/ids/${id}?subject=:.other:a.9`)).status).toBe(200)
    expect((await as('other', 'GET', `/schemas/ids/${id}?subject=a.9`)).status).toBe(200)
    expect((await as('other', 'GET', `/schemas/ids/${id}`)).status).toBe(403)
  })

  it('an alias counts for what it means, and its name is shown to who may read it', async () => {
    expect((await as('root', 'PUT', '/config/a.alias', { alias: 'b.1' })).status).toBe(200)
    expect((await as('reader', 'GET', '/subjects/a.alias/versions/1')).status).toBe(403)
    expect((await as('writer', 'POST', '/subjects/a.alias/versions', schemaOf('B1'))).status).toBe(403)
    const list = (await as('person', 'GET', '/schemas?aliases=true')).body as { subject: string; aliases?: string[] }[]
    // As if there were none.
    expect(list.filter(({ subject }) => subject === 'b.1')).toEqual([expect.not.objectContaining({ aliases: [] })])
    const asked = async (who: Parameters<typeof as>[0]) =>
      ((await as(who, 'GET', '/schemas?aliases=true&subjectPrefix=a.alias')).body as { subject: string }[]).map(
        ({ subject }) => subject,
      )
    expect(await asked('root')).toEqual(['b.1'])
    expect(await asked('reader')).toEqual([])
    // Nor does the prefix tell that a name is there.
    expect(await asked('person')).toEqual([])
    expect((await as('root', 'DELETE', '/config/a.alias')).status).toBe(200)
  })

  it('of those who hold a schema an answer names one that the key may read', async () => {
    // a.1 and c.1 hold it too, and the key may read neither.
    const { id } = (await as('root', 'GET', '/subjects/c.1/versions/1')).body as { id: number }
    expect((await as('root', 'POST', '/subjects/b.same/versions', schemaOf('A1'))).body).toMatchObject({ id })
    for (const hint of ['', '?subject=a.1', '?subject=none', '?subject=b.same', '?subject=:.:']) {
      const { status, body } = await as('person', 'GET', `/schemas/ids/${id}${hint}`)
      expect([status, (body as { subject?: string }).subject]).toEqual([200, hint === '' ? undefined : 'b.same'])
    }
    expect((await as('root', 'GET', `/schemas/ids/${id}?subject=none`)).body).toMatchObject({ subject: 'a.1' })
    expect((await as('root', 'DELETE', '/subjects/b.same')).status).toBe(200)
    expect((await as('root', 'DELETE', '/subjects/b.same?permanent=true')).status).toBe(200)
  })

  it('ids are given away only by who may do everything in their context', async () => {
    expect((await as('person', 'PUT', '/mode/b.new', { mode: 'READONLY' })).status).toBe(200)
    for (const mode of ['IMPORT', 'import'])
      expect((await as('person', 'PUT', '/mode/b.new', { mode })).body).toEqual({
        error_code: 40301,
        message: 'User is denied operation WriteMode on Subject: __GLOBAL',
      })
    expect((await as('root', 'PUT', '/mode/b.new', { mode: 'IMPORT' })).status).toBe(200)
    expect((await as('person', 'DELETE', '/mode/b.new')).status).toBe(200)
  })

  it('[R1] stock clients bring their key', async () => {
    // This one sets the level of a subject that it registers first, which is for admins.
    const auth = { username: 'root', password: secrets.root }
    const schema = { type: SchemaType.AVRO as const, schema: schemaOf('Stock').schema }
    const { id } = await new SchemaRegistry({ host: url, auth }).register(schema, { subject: 'a.stock' })
    const confluent = (config: Partial<ClientConfig>) => new SchemaRegistryClient({ baseURLs: [url], ...config })
    const userInfo = {
      basicAuthCredentials: { credentialsSource: 'USER_INFO' as const, userInfo: `root:${secrets.root}` },
    }
    expect(await confluent(userInfo).getLatestSchemaMetadata('a.stock')).toMatchObject({ id })
    const token = {
      credentialsSource: 'STATIC_TOKEN' as const,
      token: `writer.${secrets.writer}`,
      logicalCluster: 'c',
      identityPoolId: 'p',
    }
    expect(await confluent({ bearerAuthCredentials: token }).getAllSubjects()).toContain('a.stock')
    await expect(new SchemaRegistry({ host: url }).getLatestSchemaId('a.stock')).rejects.toThrow(/Unauthorized/)
    await expect(confluent({ bearerAuthCredentials: token }).deleteSubject('a.stock')).rejects.toMatchObject({
      status: 403,
      errorCode: 40301,
    })
  })

  it('HEAD asks for what GET asks for', async () => {
    expect((await as('reader', 'HEAD', '/subjects/a.1/versions')).status).toBe(200)
    expect((await as('reader', 'HEAD', '/subjects/b.1/versions')).status).toBe(403)
    expect((await as('reader', 'HEAD', '/subjects')).status).toBe(200)
    expect((await ask(null, 'HEAD', '/subjects')).status).toBe(401)
  })

  it('who guesses is told to wait, others are not', async () => {
    const statuses: number[] = []
    for (let i = 0; i < 22; i++) statuses.push((await ask(basic('reader', `guess ${i}`), 'GET', '/')).status)
    expect(statuses.slice(0, 20)).toEqual(Array.from({ length: 20 }, () => 401))
    const { status, headers, body } = await ask(basic('reader', 'once more'), 'GET', '/')
    expect([status, body]).toEqual([429, { error_code: 429, message: 'Too Many Requests' }])
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0)
    expect((await as('reader', 'GET', '/')).status).toBe(429)
    expect((await as('writer', 'GET', '/')).status).toBe(200)
  })

  it('no secret, header or hash stands in a log line', async () => {
    await ask(basic('root', 'typed-by-mistake'), 'GET', '/')
    await ask(basic('my-password-as-name', 'x'), 'GET', '/')
    await as('root', 'POST', '/subjects/a.1/versions', { schema: '{' })
    const text = logged.join('')
    expect(text).toContain('a request with a wrong key was refused')
    for (const secret of [...Object.values(secrets), 'typed-by-mistake', 'my-password-as-name', 'guess']) {
      expect(text).not.toContain(secret)
      expect(text).not.toContain(Buffer.from(secret).toString('base64').replace(/=+$/, ''))
    }
    expect(text).not.toMatch(/authorization|basic |sha256|scrypt/i)
  })

  it('a route that nobody decided about needs admin of all', () => {
    for (const [method, route] of [
      ['GET', '/exporters'],
      ['POST', '/dek-registry/v1/keks'],
      ['PATCH', '/subjects/:subject/versions'],
      ['POST', '/subjects/:subject/secret'],
      ['OPTIONS', '/subjects'],
    ])
      expect(needOf({ method: method!, route, params: { subject: 's' } })).toMatchObject({
        subject: '',
        allow: 'admin',
      })
  })
})
