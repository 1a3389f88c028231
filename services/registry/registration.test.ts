/** Registration and look-up over HTTP: ids, versions, records in the log, restart, many at once, references, metadata. */
import { describe, expect, it } from 'vitest'
import { systemClock } from '#io/clock.ts'
import type { MemoryLog } from '#testkit/log-memory.ts'
import {
  appendForeign,
  memoryLog,
  ok,
  record,
  recordsOf,
  refused,
  type Served,
  serve as serveBy,
} from '#testkit/registry-served.ts'
import { startRegistry } from './start.ts'

const serve = (log?: MemoryLog): Promise<Served> => serveBy(startRegistry, log)

const A = record({ name: 'a', type: 'int' })
const AB = record({ name: 'a', type: 'int' }, { name: 'b', type: 'int', default: 0 })

describe('registration', () => {
  it('[R1] gives ids and versions, the same schema one id across subjects', async () => {
    const { ask, register } = await serve()
    expect(await register('s', A)).toMatchObject(ok({ id: 1 }))
    expect(await register('s', A)).toMatchObject(ok({ id: 1 }))
    expect(await register('s', AB)).toMatchObject(ok({ id: 2 }))
    expect(await register('t', AB)).toMatchObject(ok({ id: 2 }))
    expect(await ask('GET', '/subjects')).toEqual(ok(['s', 't']))
    expect(await ask('GET', '/subjects?subjectPrefix=t')).toEqual(ok(['t']))
    expect(await ask('GET', '/subjects/s/versions')).toEqual(ok([1, 2]))
    const latest = { subject: 's', version: 2, id: 2, schemaType: 'AVRO', schema: JSON.stringify(AB) }
    expect(await ask('GET', '/subjects/s/versions/latest')).toMatchObject(ok(latest))
    expect(await ask('GET', '/subjects/s/versions/-1')).toMatchObject(ok(latest))
    expect(await ask('GET', '/subjects/s/versions/2/schema')).toEqual(ok(AB))
    expect(await ask('POST', '/subjects/s', { schema: JSON.stringify(AB, null, 2) })).toMatchObject(ok(latest))
    expect(await ask('GET', '/schemas/ids/2')).toMatchObject(ok({ schema: JSON.stringify(AB) }))
    expect(await ask('GET', '/schemas/ids/2/schema')).toEqual(ok(AB))
    expect(await ask('GET', '/schemas/ids/2/subjects')).toEqual(ok(['s', 't']))
    expect(await ask('GET', '/schemas/ids/2/versions')).toEqual(
      ok([
        { subject: 's', version: 2 },
        { subject: 't', version: 1 },
      ]),
    )
    expect(await ask('GET', '/schemas/types')).toEqual(ok(['AVRO']))
    expect(await ask('GET', '/')).toEqual(ok({}))
    expect(await ask('GET', '/healthz')).toEqual(ok({ status: 'ok' }))
    expect(await ask('GET', '/readyz')).toEqual(ok({ status: 'ready' }))
    expect(await ask('GET', '/metrics')).toEqual(refused(404, 'HTTP 404 Not Found'))
  })

  it('serves the figures of the machine, also to who has no key', async () => {
    const series = { contentType: 'text/plain; version=0.0.4', text: async () => 'up 1\n' }
    const { url } = await serveBy((deps) => startRegistry({ ...deps, keys: [], series }))
    const response = await fetch(`${url}/metrics`)
    expect([response.status, response.headers.get('content-type'), await response.text()]).toEqual([
      200,
      series.contentType,
      'up 1\n',
    ])
    expect((await fetch(`${url}/subjects`)).status).toBe(401)
  })

  it("[R3] writes Confluent's records", async () => {
    const log = memoryLog()
    const { ask, register } = await serve(log)
    await register('s', A)
    await ask('PUT', '/config', { compatibility: 'FULL' })
    await ask('PUT', '/config/s', { compatibility: 'NONE' })
    await ask('DELETE', '/config/s')
    await ask('DELETE', '/subjects/s')
    await ask('DELETE', '/subjects/s?permanent=true')
    const schema = JSON.stringify(JSON.stringify(A))
    expect(await recordsOf(log)).toEqual([
      [
        '{"keytype":"SCHEMA","subject":"s","version":1,"magic":1}',
        `{"subject":"s","version":1,"id":1,"schema":${schema},"deleted":false}`,
      ],
      ['{"keytype":"CONFIG","magic":0}', '{"compatibilityLevel":"FULL"}'],
      ['{"keytype":"CONFIG","subject":"s","magic":0}', '{"subject":"s","compatibilityLevel":"NONE"}'],
      ['{"keytype":"CONFIG","subject":"s","magic":0}', null],
      ['{"keytype":"DELETE_SUBJECT","subject":"s","magic":0}', '{"subject":"s","version":1}'],
      [
        '{"keytype":"CONFIG","subject":"__tidemark-ids-used-1","magic":0}',
        '{"subject":"__tidemark-ids-used-1","compatibilityLevel":"NONE"}',
      ],
      ['{"keytype":"SCHEMA","subject":"s","version":1,"magic":1}', null],
    ])
  })

  it('[R3] lists a context in the topic before its first schema, once, and knows one that others listed', async () => {
    const log = memoryLog()
    const { ask, register } = await serve(log)
    await register(':.c:s', A)
    await register(':.c:t', A)
    const keys = (await recordsOf(log)).map(([key]) => JSON.parse(key) as Record<string, unknown>)
    expect(keys.map(({ keytype, subject, context }) => [keytype, subject ?? context])).toEqual([
      ['CONTEXT', '.c'],
      ['SCHEMA', ':.c:s'],
      ['SCHEMA', ':.c:t'],
    ])
    expect((await recordsOf(log))[0]).toEqual([
      '{"keytype":"CONTEXT","tenant":"default","context":".c","magic":0}',
      '{"tenant":"default","context":".c"}',
    ])
    await appendForeign(log, [
      [
        { keytype: 'CONTEXT', tenant: 'default', context: '.others', magic: 0 },
        { tenant: 'default', context: '.others' },
      ],
    ])
    const again = await serve(log)
    expect((await again.ask('GET', '/contexts')).body).toEqual(['.', '.c', '.others'])
    expect((await ask('GET', '/subjects/:.c:s/versions')).body).toEqual([1])
  })

  it("[R3] reads another registry's records and keeps what it does not know of them", async () => {
    const log = memoryLog()
    const references = [{ name: 'other.proto', subject: 'o', version: 1 }]
    const foreign: [unknown, unknown][] = [
      [{ keytype: 'NOOP', magic: 0 }, null],
      [
        { keytype: 'SCHEMA', subject: 'p', version: 3, magic: 1 },
        {
          subject: 'p',
          version: 3,
          id: 40,
          schemaType: 'PROTOBUF',
          references,
          schema: 'syntax = "proto3";',
          deleted: false,
          metadata: { x: 1 },
        },
      ],
      [
        { keytype: 'SCHEMA', subject: 's', version: 1, magic: 1 },
        { subject: 's', version: 1, id: 41, schema: '{ "type" : "string" }' },
      ],
      [{ keytype: 'CLEAR_SUBJECT', subject: 'z', magic: 0 }, { subject: 'z' }],
      [{ keytype: 'MODE', subject: 'ro', magic: 0 }, { mode: 'READONLY' }],
      ['not json', 'at all'],
    ]
    await appendForeign(log, foreign)
    const { ask, register, logged } = await serve(log)
    expect(logged).toEqual(['record is not in the format of a schema registry; passed over'])
    expect(await ask('GET', '/subjects/p/versions/3')).toMatchObject(
      ok({ subject: 'p', version: 3, id: 40, schemaType: 'PROTOBUF', references, schema: 'syntax = "proto3";' }),
    )
    expect(await register('t', 'string')).toMatchObject(ok({ id: 41 }))
    expect(await register('t2', 'int')).toMatchObject(ok({ id: 42 }))
    expect((await register('p', 'int')).status).toBe(409)
    expect(await register('ro', 'int')).toEqual(refused(42205, 'Subject ro in context  is in read-only mode'))
    expect(await ask('GET', '/mode/ro')).toEqual(ok({ mode: 'READONLY' }))
    expect(await ask('DELETE', '/subjects/p/versions/3')).toEqual(ok(3))
    expect((await recordsOf(log)).at(-1)![1]).toContain('"metadata":{"x":1}')
  })

  it('[R1] 200 at once: each schema one id, each subject gapless versions, ids without gaps', async () => {
    const memory = memoryLog()
    // A real log answers later: without turns, others would decide in between on the same table.
    const log: MemoryLog = {
      ...memory,
      append: async (topic, partition, batch) => {
        await systemClock.sleep(2)
        return memory.append(topic, partition, batch)
      },
    }
    const { ask, register } = await serve(log)
    const schemaOf = (i: number) => record({ name: 'a', type: 'int', doc: `schema ${i}` })
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, i) =>
        register(`s${i % 7}`, schemaOf(i % 50)).then(({ body }) => [i % 50, (body as { id: number }).id] as const),
      ),
    )
    const ids = new Map<number, Set<number>>()
    for (const [schema, id] of answers) ids.set(schema, (ids.get(schema) ?? new Set()).add(id))
    expect([...ids.values()].every((set) => set.size === 1)).toBe(true)
    expect([...ids.values()].map((set) => [...set][0]!).toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 50 }, (_, i) => i + 1),
    )
    for (let i = 0; i < 7; i++) {
      const { body } = await ask('GET', `/subjects/s${i}/versions`)
      expect(body).toEqual(Array.from({ length: (body as number[]).length }, (_, at) => at + 1))
    }
    expect((await recordsOf(log)).length).toBe(
      new Set(Array.from({ length: 200 }, (_, i) => `${i % 7}:${i % 50}`)).size,
    )
  })

  it('[R1] a restart knows what was registered, set and deleted', async () => {
    const log = memoryLog()
    const first = await serve(log)
    await first.register('s', A)
    await first.register('s', AB)
    await first.register('gone', 'int')
    await first.ask('PUT', '/config/s', { compatibility: 'FULL_TRANSITIVE' })
    await first.ask('DELETE', '/subjects/s/versions/1')
    await first.ask('DELETE', '/subjects/gone')
    const paths = [
      '/subjects',
      '/subjects?deleted=true',
      '/subjects/s/versions?deleted=true',
      '/config/s',
      '/schemas/ids/1',
      '/schemas/ids/3',
    ]
    const before = await Promise.all(paths.map((path) => first.ask('GET', path)))
    await first.close()
    const second = await serve(log)
    expect(await Promise.all(paths.map((path) => second.ask('GET', path)))).toEqual(before)
    expect(await second.register('t', AB)).toMatchObject(ok({ id: 2 }))
    expect(await second.register('t2', 'long')).toMatchObject(ok({ id: 4 }))
  })

  it('[R1] an id is never given twice, also when its schema was removed and compaction forgot it', async () => {
    const log = memoryLog()
    const first = await serve(log)
    await first.register('s', 'int')
    await first.register('t', 'long')
    for (const query of ['', '?permanent=true']) await first.ask('DELETE', `/subjects/t${query}`)
    expect(await first.ask('GET', '/schemas/ids/2')).toEqual(refused(40403, 'Schema 2 not found'))
    const compacted = memoryLog()
    const last = new Map(await recordsOf(log))
    await appendForeign(
      compacted,
      [...last].filter(([, value]) => value !== null),
    )
    const second = await serve(compacted)
    expect(await second.register('t', 'string')).toMatchObject(ok({ id: 3 }))
  })

  it('[R1] [R3] what another registry wrote with rules and empty metadata is the same schema when it comes from a client', async () => {
    const log = memoryLog()
    const rule = { name: 'check', type: 'CEL', expr: 'true' }
    const written = { name: 'check', kind: 'TRANSFORM', mode: 'WRITEREAD', type: 'CEL', expr: 'true', disabled: false }
    const value = {
      ...{ subject: 's', version: 1, id: 42, metadata: {}, ruleSet: { domainRules: [written] } },
      ...{ schema: JSON.stringify(A), deleted: false },
    }
    await appendForeign(log, [[{ keytype: 'SCHEMA', subject: 's', version: 1, magic: 1 }, value]])
    const { register } = await serve(log)
    const more = { metadata: {}, ruleSet: { domainRules: [rule] } }
    expect(await register('s', A, more)).toMatchObject(ok({ id: 42, version: 1 }))
    expect(await register('t', A, more)).toMatchObject(ok({ id: 42, version: 1 }))
    const [, own] = (await recordsOf(log)).find(([key]) => key.includes('"subject":"t"'))!
    expect(JSON.parse(own!)).toEqual({ ...value, subject: 't' })
    expect(own).toBe(JSON.stringify({ ...value, subject: 't' }))
  })

  it("[R1] bodies have Confluent's properties in Confluent's order", async () => {
    const { ask, register } = await serve()
    const more = {
      metadata: { sensitive: ['z'], properties: { b: 'x' }, tags: { '**.a': ['PII'] } },
      ruleSet: { domainRules: [{ type: 'CEL', name: 'check', kind: 'CONDITION', mode: 'WRITE', expr: 'true' }] },
    }
    const guid = expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
    const { body } = await register('s', A, more)
    expect(body).toMatchObject({ id: 1, version: 1, guid, schemaType: 'AVRO', schema: JSON.stringify(A) })
    const orderOf = async (path: string, method = 'GET', sent?: unknown) =>
      Object.keys((await ask(method, path, sent)).body as object).join(' ')
    expect(Object.keys(body as object).join(' ')).toBe('id version guid schemaType metadata ruleSet schema')
    expect(await orderOf('/subjects/s/versions/1')).toBe(
      'subject version id guid schemaType metadata schema ts deleted ruleSet',
    )
    expect(await orderOf('/subjects/s', 'POST', { schema: JSON.stringify(A), ...more })).toBe(
      'subject version id guid schemaType metadata schema ruleSet',
    )
    expect(await orderOf('/schemas/ids/1')).toBe('guid schemaType schema metadata ruleSet ts deleted')
    expect(await orderOf('/schemas/ids/1?fetchMaxId=true&subject=s')).toBe(
      'subject version guid schemaType schema metadata ruleSet maxId ts deleted',
    )
    const { guid: own } = body as { guid: string }
    expect(await ask('GET', `/schemas/guids/${own}`)).toMatchObject(ok({ guid: own, schema: JSON.stringify(A) }))
    expect(await ask('GET', `/schemas/guids/${own}/ids`)).toEqual(ok([{ context: '.', id: 1 }]))
    expect(await ask('GET', '/schemas/guids/none')).toEqual(refused(40403, 'Schema not found'))
  })

  it('[R1] metadata and rules take part in what a schema is, and go from version to version', async () => {
    const { ask, register } = await serve()
    expect(await register('s', A)).toMatchObject(ok({ id: 1 }))
    expect(await register('s', A, { metadata: { properties: { owner: 'me' } } })).toMatchObject(
      ok({ id: 2, version: 2 }),
    )
    expect(await register('s', AB)).toMatchObject(ok({ id: 3, metadata: { properties: { owner: 'me' } } }))
    expect(await register('s', AB)).toMatchObject(ok({ id: 3, version: 3 }))
    expect(await register('s', A)).toMatchObject(ok({ id: 1, version: 1 }))
    expect(await ask('POST', '/subjects/s', { schema: JSON.stringify(AB) })).toMatchObject(ok({ version: 3 }))
    expect(await register('s', A, { ruleSet: { domainRules: [{}] } })).toEqual(refused(42210, 'Missing rule name'))
  })

  it('[R1] lists come in pages, prefixes and kinds', async () => {
    const { ask, register } = await serve()
    for (const subject of ['c', 'a', 'b']) await register(subject, A)
    await register('a', AB)
    await ask('DELETE', '/subjects/a/versions/1')
    await ask('DELETE', '/subjects/b')
    expect(await ask('GET', '/subjects?offset=1&limit=1')).toEqual(ok(['c']))
    expect(await ask('GET', '/subjects?deleted=true')).toEqual(ok(['a', 'b', 'c']))
    expect(await ask('GET', '/subjects?deletedOnly=true')).toEqual(ok(['b']))
    expect(await ask('GET', '/subjects/a/versions?deleted=true&deletedAsNegative=true')).toEqual(ok([-1, 2]))
    expect(await ask('GET', '/subjects/a/versions?deletedOnly=true')).toEqual(ok([1]))
    const shown = async (query: string) =>
      ((await ask('GET', `/schemas${query}`)).body as { subject: string; version: number }[])
        .map(({ subject, version }) => `${subject}${version}`)
        .join(' ')
    expect(await shown('')).toBe('a2 c1')
    expect(await shown('?deleted=true')).toBe('a1 a2 b1 c1')
    expect(await shown('?deleted=true&latestOnly=true&offset=1')).toBe('b1 c1')
    expect(await shown('?subjectPrefix=c')).toBe('c1')
    expect(await ask('GET', '/schemas/ids/1/subjects')).toEqual(ok(['c']))
    expect(await ask('GET', '/schemas/ids/1/subjects?deleted=true&limit=2')).toEqual(ok(['a', 'b']))
    expect(await ask('GET', '/schemas/ids/9/subjects')).toEqual(refused(40403, 'Schema not found'))
  })
})
