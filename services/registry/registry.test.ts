/**
 * The registry over HTTP on a log in memory: registration, look-up, deletion, settings, error bodies word for word,
 * restart, concurrency, and lost acknowledgements with faults as inputs.
 */
import { afterEach, describe, expect, it } from 'vitest'
import { encodeBatch, openBatch, readRecord } from '#format/record-batch.ts'
import { systemClock } from '#io/clock.ts'
import { SCHEMAS_TOPIC } from '#schemas/topics.ts'
import { type AppendFault, createMemoryLog, type MemoryLog } from '#testkit/log-memory.ts'
import { encodeSchema } from './records.ts'
import { startRegistry } from './start.ts'

const closers: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

const memoryLog = (onAppend?: (attempt: number) => AppendFault | null): MemoryLog =>
  createMemoryLog({
    clock: systemClock,
    ...(onAppend === undefined ? {} : { faults: { onAppend: ({ attempt }) => onAppend(attempt) } }),
  })

interface Answer {
  readonly status: number
  readonly body: unknown
}

/** A registry on `log` and a function that asks it: `ask('POST', '/subjects/s', { schema })`. */
async function serve(log: MemoryLog) {
  const logged: string[] = []
  const note = (_context: object, message: string): unknown => logged.push(message)
  const running = await startRegistry({
    log,
    clock: systemClock,
    port: 0,
    host: '127.0.0.1',
    logger: { warn: note, error: note },
  })
  closers.push(() => running.close())
  const ask = async (
    method: string,
    path: string,
    body?: unknown,
    type = 'application/vnd.schemaregistry.v1+json',
  ): Promise<Answer> => {
    const response = await fetch(`${running.url}${path}`, {
      method,
      ...(body === undefined
        ? {}
        : { body: typeof body === 'string' ? body : JSON.stringify(body), headers: { 'content-type': type } }),
    })
    expect(response.headers.get('content-type')).toBe('application/vnd.schemaregistry.v1+json')
    return { status: response.status, body: await response.json() }
  }
  const register = (subject: string, schema: unknown) =>
    ask('POST', `/subjects/${encodeURIComponent(subject)}/versions`, { schema: JSON.stringify(schema) })
  return { ask, register, logged, close: () => running.close() }
}

const record = (...fields: unknown[]) => ({ type: 'record', name: 'R', fields })
const A = record({ name: 'a', type: 'int' })
const AB = record({ name: 'a', type: 'int' }, { name: 'b', type: 'int', default: 0 })
const AB_REQUIRED = record({ name: 'a', type: 'int' }, { name: 'b', type: 'int' })
const ok = (body: unknown): Answer => ({ status: 200, body })
const refused = (error_code: number, message: unknown): Answer => ({
  status: error_code >= 10_000 ? Math.floor(error_code / 100) : error_code,
  body: { error_code, message },
})

/** Every record of `_schemas` as text. */
async function recordsOf(log: MemoryLog): Promise<(readonly [string, string | null])[]> {
  const found: (readonly [string, string | null])[] = []
  const reader = await log.open(SCHEMAS_TOPIC, [{ partition: 0, offset: 0 }])
  for (const { bytes } of await reader.poll({ maxWaitMs: 0, maxBytes: 2 ** 24 })) {
    const opened = openBatch(bytes, 0)
    if ('dead' in opened) throw new Error(opened.dead)
    for (let at = readRecord(opened.cursor); at !== null; at = readRecord(opened.cursor)) {
      found.push([Buffer.from(at.key!).toString(), at.value === null ? null : Buffer.from(at.value).toString()])
    }
  }
  await reader.close()
  return found
}

describe('registration', () => {
  it('[R1] gives ids and versions, the same schema one id across subjects', async () => {
    const { ask, register } = await serve(memoryLog())
    expect(await register('s', A)).toEqual(ok({ id: 1 }))
    expect(await register('s', A)).toEqual(ok({ id: 1 }))
    expect(await register('s', AB)).toEqual(ok({ id: 2 }))
    expect(await register('t', AB)).toEqual(ok({ id: 2 }))
    expect(await ask('GET', '/subjects')).toEqual(ok(['s', 't']))
    expect(await ask('GET', '/subjects?subjectPrefix=t')).toEqual(ok(['t']))
    expect(await ask('GET', '/subjects/s/versions')).toEqual(ok([1, 2]))
    const latest = { subject: 's', version: 2, id: 2, schema: JSON.stringify({ ...AB }) }
    expect(await ask('GET', '/subjects/s/versions/latest')).toEqual(ok(latest))
    expect(await ask('GET', '/subjects/s/versions/-1')).toEqual(ok(latest))
    expect(await ask('GET', '/subjects/s/versions/2/schema')).toEqual(ok(AB))
    expect(await ask('POST', '/subjects/s', { schema: JSON.stringify(AB, null, 2) })).toEqual(ok(latest))
    expect(await ask('GET', '/schemas/ids/2')).toEqual(ok({ schema: JSON.stringify(AB) }))
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

  it("[R3] reads another registry's records and keeps what it does not know of them", async () => {
    const log = memoryLog()
    await log.createTopics([{ topic: SCHEMAS_TOPIC, partitions: 1, retentionMs: null, cleanup: 'compact' }])
    const bytes = (value: unknown) =>
      value === null ? null : new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value))
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
    await log.append(
      SCHEMAS_TOPIC,
      0,
      encodeBatch(
        foreign.map(([key, value]) => ({ key: bytes(key), value: bytes(value) })),
        0,
      ),
    )
    const { ask, register, logged } = await serve(log)
    expect(logged).toEqual(['record is not in the format of a schema registry; passed over'])
    expect(await ask('GET', '/subjects/p/versions/3')).toEqual(
      ok({ subject: 'p', version: 3, id: 40, schemaType: 'PROTOBUF', references, schema: 'syntax = "proto3";' }),
    )
    expect(await register('t', 'string')).toEqual(ok({ id: 41 }))
    expect(await register('t2', 'int')).toEqual(ok({ id: 42 }))
    expect((await register('p', 'int')).status).toBe(409)
    expect(await register('ro', 'int')).toEqual(refused(42205, "Subject 'ro' is in read-only mode"))
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
    expect(await second.register('t', AB)).toEqual(ok({ id: 2 }))
    expect(await second.register('t2', 'long')).toEqual(ok({ id: 4 }))
  })

  it('[R1] an id is never given twice, also when its schema was removed and compaction forgot it', async () => {
    const log = memoryLog()
    const first = await serve(log)
    await first.register('s', 'int')
    await first.register('t', 'long')
    for (const query of ['', '?permanent=true']) await first.ask('DELETE', `/subjects/t${query}`)
    expect(await first.ask('GET', '/schemas/ids/2')).toEqual(refused(40403, 'Schema 2 not found'))
    const compacted = memoryLog()
    await compacted.createTopics([{ topic: SCHEMAS_TOPIC, partitions: 1, retentionMs: null, cleanup: 'compact' }])
    const last = new Map(await recordsOf(log))
    const kept = [...last].filter(([, value]) => value !== null)
    const utf8 = new TextEncoder()
    await compacted.append(
      SCHEMAS_TOPIC,
      0,
      encodeBatch(
        kept.map(([key, value]) => ({ key: utf8.encode(key), value: utf8.encode(value!) })),
        0,
      ),
    )
    const second = await serve(compacted)
    expect(await second.register('t', 'string')).toEqual(ok({ id: 3 }))
  })
})

describe('lost acknowledgements', () => {
  it('[D1] an append that happened is found and not repeated', async () => {
    const log = memoryLog((attempt) => (attempt === 0 ? { kind: 'ack-lost' } : null))
    const { register } = await serve(log)
    expect(await register('s', A)).toEqual(ok({ id: 1 }))
    expect(log.fired['ack-lost']).toBe(1)
    expect((await recordsOf(log)).length).toBe(1)
  })

  it('[D1] an append that did not happen is made again', async () => {
    const log = memoryLog((attempt) => (attempt < 2 ? { kind: 'lost' } : null))
    const { register } = await serve(log)
    expect(await register('s', A)).toEqual(ok({ id: 1 }))
    expect(log.fired.lost).toBe(2)
    expect((await recordsOf(log)).length).toBe(1)
  })

  it('[D1] a deletion whose acknowledgement was lost answers as the deletion, not as a second one', async () => {
    const log = memoryLog((attempt) => (attempt === 1 ? { kind: 'ack-lost' } : null))
    const { ask, register } = await serve(log)
    await register('s', A)
    expect(await ask('DELETE', '/subjects/s')).toEqual(ok([1]))
    expect(log.fired['ack-lost']).toBe(1)
  })

  it('[D1] numbers of an append given up on are not given to another schema, and when it comes late both stand', async () => {
    const log = memoryLog((attempt) =>
      attempt === 0 ? { kind: 'late', delayMs: 300 } : attempt < 3 ? { kind: 'lost' } : null,
    )
    const { ask, register } = await serve(log)
    const given = await register('s', A)
    expect(given).toEqual(refused(50002, 'Operation timed out: the write may or may not have happened'))
    expect(await register('s', AB)).toEqual(ok({ id: 2 }))
    await expect.poll(async () => (await log.endOffsets(SCHEMAS_TOPIC))[0], { timeout: 5_000 }).toBe(2)
    expect(await ask('GET', '/readyz')).toEqual(ok({ status: 'ready' }))
    expect(await ask('GET', '/subjects/s/versions')).toEqual(ok([1, 2]))
    expect(await ask('GET', '/schemas/ids/1')).toEqual(ok({ schema: JSON.stringify(A) }))
    expect(await ask('GET', '/schemas/ids/2')).toEqual(ok({ schema: JSON.stringify(AB) }))
  })

  it('[R5] a log that refuses is a 500, and the next request finds everything in order', async () => {
    const log = memoryLog((attempt) => (attempt === 0 ? { kind: 'refused' } : null))
    const { register, logged } = await serve(log)
    expect(await register('s', A)).toEqual(refused(50001, 'Error in the backend data store: LOG_UNREACHABLE'))
    expect(logged).toEqual(['registry request failed'])
    expect((await register('s', A)).status).toBe(200)
  })

  it('[R5] a log that lost records makes the registry unready, and unknown ids are then no 404', async () => {
    const log = memoryLog()
    const { ask, register } = await serve(log)
    await register('s', A)
    log.truncateFrom(SCHEMAS_TOPIC, 0, 0)
    expect(await ask('GET', '/readyz')).toEqual({
      status: 503,
      body: { status: 'unready', code: 'DATA_LOSS_SUSPECTED' },
    })
    expect(await ask('GET', '/schemas/ids/9')).toEqual(
      refused(50001, 'Error in the backend data store: DATA_LOSS_SUSPECTED'),
    )
    expect(await ask('GET', '/schemas/ids/1')).toEqual(ok({ schema: JSON.stringify(A) }))
  })

  it('[R3] a record that binds a known id to another schema is passed over', async () => {
    const log = memoryLog()
    const { ask, register, logged } = await serve(log)
    await register('s', A)
    const rogue = encodeSchema({ subject: 'z', version: 1, id: 1, schema: '"int"', deleted: false })
    await log.append(SCHEMAS_TOPIC, 0, encodeBatch([rogue], 0))
    expect(await ask('GET', '/subjects/z/versions')).toEqual(refused(40401, "Subject 'z' not found."))
    expect(await ask('GET', '/schemas/ids/1')).toEqual(ok({ schema: JSON.stringify(A) }))
    expect(logged).toEqual(['record binds a known id or version to another schema; passed over'])
  })
})

describe('compatibility', () => {
  it('[R4] refuses an incompatible change with the reason and the path', async () => {
    const { register } = await serve(memoryLog())
    await register('s', A)
    expect(await register('s', AB_REQUIRED)).toEqual(
      refused(
        409,
        `Schema being registered is incompatible with an earlier schema for subject "s", details: [{errorType:'READER_FIELD_MISSING_DEFAULT_VALUE', ` +
          `description:'The field 'b' at path '/fields/1' in the new schema has no default value and is missing in the old schema', additionalInfo:'b'}, ` +
          `{oldSchemaVersion: 1}, {oldSchema: '${JSON.stringify(A)}'}, {validateFields: 'false', compatibility: 'BACKWARD'}]`,
      ),
    )
  })

  /** v1 {a}, v2 {a, b = 0}, then a candidate; which levels let it pass. */
  const C = record({ name: 'a', type: 'int' }, { name: 'b', type: 'int' })
  const B_ONLY = record({ name: 'b', type: 'int', default: 0 })
  const candidates: readonly (readonly [string, unknown, Readonly<Record<string, boolean>>])[] = [
    [
      'drops the default',
      C,
      {
        NONE: true,
        BACKWARD: true,
        BACKWARD_TRANSITIVE: false,
        FORWARD: true,
        FORWARD_TRANSITIVE: true,
        FULL: true,
        FULL_TRANSITIVE: false,
      },
    ],
    [
      'drops a field without default',
      B_ONLY,
      {
        NONE: true,
        BACKWARD: true,
        BACKWARD_TRANSITIVE: true,
        FORWARD: false,
        FORWARD_TRANSITIVE: false,
        FULL: false,
        FULL_TRANSITIVE: false,
      },
    ],
    [
      'changes a type',
      record({ name: 'a', type: 'string' }),
      {
        NONE: true,
        BACKWARD: false,
        BACKWARD_TRANSITIVE: false,
        FORWARD: false,
        FORWARD_TRANSITIVE: false,
        FULL: false,
        FULL_TRANSITIVE: false,
      },
    ],
    [
      'widens a type',
      record({ name: 'a', type: 'long' }),
      {
        NONE: true,
        BACKWARD: true,
        BACKWARD_TRANSITIVE: true,
        FORWARD: false,
        FORWARD_TRANSITIVE: false,
        FULL: false,
        FULL_TRANSITIVE: false,
      },
    ],
  ]
  it.each(candidates)('[R2] every level on a schema that %s', async (_name, schema, expected) => {
    const { ask, register } = await serve(memoryLog())
    await register('s', A)
    await register('s', AB)
    const verdicts: Record<string, unknown> = {}
    for (const level of Object.keys(expected)) {
      expect(await ask('PUT', '/config/s', { compatibility: level.toLowerCase() })).toEqual(
        ok({ compatibility: level }),
      )
      const { body } = await ask('POST', '/compatibility/subjects/s/versions', { schema: JSON.stringify(schema) })
      verdicts[level] = (body as { is_compatible: boolean }).is_compatible
    }
    expect(verdicts).toEqual(expected)
  })

  it('[R1] a check names its reasons when asked, takes no side effect, and one version when given', async () => {
    const { ask, register } = await serve(memoryLog())
    await register('s', A)
    await register('s', AB)
    const body = { schema: JSON.stringify(C) }
    expect(await ask('POST', '/compatibility/subjects/s/versions/latest', body)).toEqual(ok({ is_compatible: true }))
    expect(await ask('POST', '/compatibility/subjects/s/versions/1?verbose=true', body)).toEqual(
      ok({
        is_compatible: false,
        messages: [
          "{errorType:'READER_FIELD_MISSING_DEFAULT_VALUE', description:'The field 'b' at path '/fields/1' in the new schema has no default value and is missing in the old schema', additionalInfo:'b'}",
          '{oldSchemaVersion: 1}',
          `{oldSchema: '${JSON.stringify(A)}'}`,
          "{validateFields: 'false', compatibility: 'BACKWARD'}",
        ],
      }),
    )
    expect(await ask('POST', '/compatibility/subjects/none/versions/latest?verbose=true', body)).toEqual(
      ok({ is_compatible: true, messages: [] }),
    )
    expect(await ask('POST', '/compatibility/subjects/s/versions/9', body)).toEqual(
      refused(40402, 'Version 9 not found.'),
    )
    expect(await ask('GET', '/subjects/s/versions')).toEqual(ok([1, 2]))
  })

  it('[R1] deleted versions are not compared with, and their numbers are not used again', async () => {
    const { ask, register } = await serve(memoryLog())
    await register('s', A)
    expect((await register('s', 'string')).status).toBe(409)
    await ask('DELETE', '/subjects/s/versions/1')
    expect(await register('s', 'string')).toEqual(ok({ id: 2 }))
    expect(await ask('GET', '/subjects/s/versions')).toEqual(ok([2]))
  })
})

describe('settings', () => {
  it('[R1] levels: global, per subject, inherited, unset', async () => {
    const { ask } = await serve(memoryLog())
    expect(await ask('GET', '/config')).toEqual(ok({ compatibilityLevel: 'BACKWARD' }))
    expect(await ask('GET', '/config/s')).toEqual(
      refused(40408, "Subject 's' does not have subject-level compatibility configured"),
    )
    expect(await ask('GET', '/config/s?defaultToGlobal=true')).toEqual(ok({ compatibilityLevel: 'BACKWARD' }))
    expect(await ask('PUT', '/config', { compatibility: 'FULL' })).toEqual(ok({ compatibility: 'FULL' }))
    expect(await ask('PUT', '/config/s', { compatibility: 'NONE' })).toEqual(ok({ compatibility: 'NONE' }))
    expect(await ask('GET', '/config/s')).toEqual(ok({ compatibilityLevel: 'NONE' }))
    expect(await ask('DELETE', '/config/s')).toEqual(ok({ compatibilityLevel: 'NONE' }))
    expect(await ask('DELETE', '/config/s')).toEqual(refused(40401, "Subject 's' not found."))
    expect(await ask('DELETE', '/config')).toEqual(ok({ compatibilityLevel: 'FULL' }))
    expect(await ask('GET', '/config')).toEqual(ok({ compatibilityLevel: 'BACKWARD' }))
    expect(await ask('PUT', '/config', { compatibility: 'SIDEWAYS' })).toEqual(
      refused(
        42203,
        'Invalid compatibility level. Valid values are none, backward, forward, full, backward_transitive, forward_transitive, and full_transitive',
      ),
    )
    expect(await ask('GET', '/mode')).toEqual(ok({ mode: 'READWRITE' }))
    expect(await ask('GET', '/mode/s')).toEqual(
      refused(40409, "Subject 's' does not have subject-level mode configured"),
    )
    expect(await ask('GET', '/mode/s?defaultToGlobal=true')).toEqual(ok({ mode: 'READWRITE' }))
  })
})

describe('deletion and error bodies', () => {
  it('[R1] soft, then permanent', async () => {
    const { ask, register } = await serve(memoryLog())
    await register('s', A)
    await register('s', AB)
    await register('s2', A)
    expect(await ask('DELETE', '/subjects/s/versions/1?permanent=true')).toEqual(
      refused(40407, "Subject 's' Version 1 was not deleted first before being permanently deleted"),
    )
    expect(await ask('DELETE', '/subjects/s/versions/latest')).toEqual(ok(2))
    expect(await ask('DELETE', '/subjects/s/versions/2')).toEqual(
      refused(40406, "Subject 's' Version 2 was soft deleted.Set permanent=true to delete permanently"),
    )
    expect(await ask('GET', '/subjects/s/versions/2')).toEqual(refused(40402, 'Version 2 not found.'))
    expect(await ask('GET', '/subjects/s/versions/2?deleted=true')).toEqual(
      ok({ subject: 's', version: 2, id: 2, schema: JSON.stringify(AB), deleted: true }),
    )
    expect(await ask('GET', '/schemas/ids/2')).toEqual(ok({ schema: JSON.stringify(AB) }))
    expect(await ask('GET', '/schemas/ids/2/versions')).toEqual(ok([]))
    expect(await ask('POST', '/subjects/s', { schema: JSON.stringify(AB) })).toEqual(refused(40403, 'Schema not found'))
    expect(await ask('POST', '/subjects/s?deleted=true', { schema: JSON.stringify(AB) })).toMatchObject(
      ok({ version: 2 }),
    )
    expect(await ask('DELETE', '/subjects/s/versions/2?permanent=true')).toEqual(ok(2))
    expect(await ask('GET', '/schemas/ids/2')).toEqual(refused(40403, 'Schema 2 not found'))
    expect(await ask('DELETE', '/subjects/s?permanent=true')).toEqual(
      refused(40405, "Subject 's' was not deleted first before being permanently deleted"),
    )
    expect(await ask('DELETE', '/subjects/s')).toEqual(ok([1]))
    expect(await ask('DELETE', '/subjects/s')).toEqual(
      refused(40404, "Subject 's' was soft deleted.Set permanent=true to delete permanently"),
    )
    expect(await ask('GET', '/subjects')).toEqual(ok(['s2']))
    expect(await ask('GET', '/subjects?deleted=true')).toEqual(ok(['s', 's2']))
    expect(await ask('DELETE', '/subjects/s?permanent=true')).toEqual(ok([1]))
    expect(await ask('GET', '/subjects?deleted=true')).toEqual(ok(['s2']))
    expect(await ask('GET', '/schemas/ids/1')).toEqual(ok({ schema: JSON.stringify(A) }))
    expect(await ask('DELETE', '/subjects/s')).toEqual(refused(40401, "Subject 's' not found."))
  })

  const invalidVersion = (version: string) =>
    refused(
      42202,
      `The specified version '${version}' is not a valid version id. Allowed values are between [1, 2^31-1] and the string "latest"`,
    )
  const bodies: readonly (readonly [string, string, unknown, Answer])[] = [
    ['GET', '/subjects/x/versions', undefined, refused(40401, "Subject 'x' not found.")],
    ['GET', '/subjects/x/versions/1', undefined, refused(40401, "Subject 'x' not found.")],
    ['GET', '/subjects/s/versions/9', undefined, refused(40402, 'Version 9 not found.')],
    ['GET', '/subjects/s/versions/0', undefined, invalidVersion('0')],
    ['GET', '/subjects/s/versions/earliest', undefined, invalidVersion('earliest')],
    ['GET', '/subjects/s/versions/2147483648', undefined, invalidVersion('2147483648')],
    ['POST', '/subjects/x', { schema: '"int"' }, refused(40401, "Subject 'x' not found.")],
    ['POST', '/subjects/s', { schema: '"int"' }, refused(40403, 'Schema not found')],
    ['GET', '/schemas/ids/77', undefined, refused(40403, 'Schema 77 not found')],
    ['GET', '/schemas/ids/77/schema', undefined, refused(40403, 'Schema 77 not found')],
    ['GET', '/schemas/ids/abc', undefined, refused(404, 'HTTP 404 Not Found')],
    ['GET', '/nowhere', undefined, refused(404, 'HTTP 404 Not Found')],
    ['POST', '/subjects/s/versions', { schema: '' }, refused(42201, 'Empty schema')],
    ['POST', '/subjects/s/versions', {}, refused(42201, 'Empty schema')],
    [
      'POST',
      '/subjects/s/versions',
      { schema: '"strin"' },
      refused(42201, 'Invalid schema "strin" with refs [] of type AVRO, details: undefined name: "strin" (at /)'),
    ],
    [
      'POST',
      '/subjects/s/versions',
      { schema: '{' },
      refused(42201, expect.stringMatching(/^Invalid schema \{ with refs \[\] of type AVRO, details: not JSON/)),
    ],
    ['POST', '/subjects/s/versions', { schema: '{}', schemaType: 'JSON' }, refused(42201, 'Invalid schema type JSON')],
    [
      'POST',
      '/subjects/s/versions',
      { schema: '"int"', references: [{}] },
      refused(42201, expect.stringMatching(/references are not supported/)),
    ],
    ['POST', '/subjects/s/versions', '[]', refused(400, 'The body must be a JSON object')],
    ['POST', '/subjects/s/versions', '{"schema"', refused(400, expect.stringMatching(/^Malformed JSON/))],
    ['POST', '/subjects/s/versions', { schema: 5 }, refused(400, '"schema" must be the schema as a JSON string')],
    [
      'POST',
      '/subjects/__GLOBAL/versions',
      { schema: '"int"' },
      refused(42208, "The specified subject '__GLOBAL' is not a valid."),
    ],
    [
      'POST',
      '/subjects/a%0Ab/versions',
      { schema: '"int"' },
      refused(42208, "The specified subject 'a\nb' is not a valid."),
    ],
    [
      'POST',
      '/subjects/s/versions',
      { schema: `"${'x'.repeat(300_000)}"` },
      refused(42201, expect.stringMatching(/larger than 262144 bytes/)),
    ],
    ['POST', '/subjects/s/versions', { schema: `"${'x'.repeat(900_000)}"` }, refused(413, 'Request body is too large')],
    ['PUT', '/config', {}, refused(42203, expect.stringMatching(/^Invalid compatibility level/))],
  ]
  it("[R1] says each thing in Confluent's code and words", async () => {
    const { ask, register } = await serve(memoryLog())
    await register('s', A)
    for (const [method, path, body, expected] of bodies)
      expect(await ask(method, path, body), `${method} ${path}`).toEqual(expected)
    expect(await ask('POST', '/subjects/s', '<x/>', 'text/xml')).toEqual(
      refused(415, 'HTTP 415 Unsupported Media Type'),
    )
    expect((await ask('POST', '/subjects/s', { schema: JSON.stringify(A) }, 'application/json')).status).toBe(200)
  })

  it('[R1] subjects may hold slashes, blanks, umlauts and be long', async () => {
    const { ask, register } = await serve(memoryLog())
    for (const subject of ['a/b', 'a b', 'größe-value', '%2F', 'x'.repeat(700), '日本']) {
      expect((await register(subject, 'int')).status, subject).toBe(200)
      expect(await ask('GET', `/subjects/${encodeURIComponent(subject)}/versions`)).toEqual(ok([1]))
    }
    expect(await ask('GET', '/subjects/%3A.%3Aa%2Fb/versions')).toEqual(ok([1]))
  })
})
