/** Deletions, and every refusal in Confluent's code and words. */
import { Worker } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import type { MemoryLog } from '#testkit/log-memory.ts'
import { type Answer, ok, record, refused, type Served, serve as serveBy } from '#testkit/registry-served.ts'
import { startRegistry } from './start.ts'

const serve = (log?: MemoryLog): Promise<Served> => serveBy(startRegistry, log)

const A = record({ name: 'a', type: 'int' })
const AB = record({ name: 'a', type: 'int' }, { name: 'b', type: 'int', default: 0 })

describe('deletion and error bodies', () => {
  it('[R1] a body that is too large is refused in words, also to a client that is still sending it', async () => {
    const { url } = await serve()
    // On a thread of its own: in this one the answer would always find a client that has sent what the system takes.
    const client = `
      const { parentPort, workerData } = require('node:worker_threads')
      const headers = { 'content-type': 'application/json' }
      const post = () => fetch(workerData, { method: 'POST', headers, body: JSON.stringify({ schema: 'x'.repeat(2e7) }) })
      void (async () => {
        const seen = []
        for (let i = 0; i < 20; i++) seen.push(await post().then(({ status }) => status, (error) => String(error.cause)))
        parentPort.postMessage(seen)
      })()`
    const worker = new Worker(client, { eval: true, workerData: `${url}/subjects/s/versions` })
    const seen = await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
    await worker.terminate()
    expect(seen).toEqual(Array(20).fill(413))
  })

  it('[R1] soft, then permanent', async () => {
    const { ask, register } = await serve()
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
    expect(await ask('GET', '/subjects/s/versions/2?deleted=true')).toMatchObject(
      ok({ subject: 's', version: 2, id: 2, schema: JSON.stringify(AB), deleted: true }),
    )
    expect(await ask('GET', '/schemas/ids/2')).toMatchObject(ok({ schema: JSON.stringify(AB) }))
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
    expect(await ask('GET', '/schemas/ids/1')).toMatchObject(ok({ schema: JSON.stringify(A) }))
    expect(await ask('DELETE', '/subjects/s')).toEqual(refused(40401, "Subject 's' not found."))
  })

  const invalidVersion = (version: string) =>
    refused(
      42202,
      `The specified version '${version}' is not a valid version id. Allowed values are between [1, 2^31-1] and the string "latest"`,
    )
  const notSupported = (name: string) => refused(422, `${name} is not supported by this registry; leave it out`)
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
    ['POST', '/subjects/new/versions', { schema: '' }, refused(42201, 'Empty schema')],
    ['POST', '/subjects/new/versions', {}, refused(42201, 'Empty schema')],
    [
      'POST',
      '/subjects/s/versions',
      { schema: '"strin"' },
      refused(
        42201,
        'Invalid schema {subject=s,version=0,id=-1,schemaType=AVRO,references=[],metadata=null,ruleSet=null,schema="strin",schemaTags=null} ' +
          'with refs [] of type AVRO, details: undefined name: "strin" (at /)',
      ),
    ],
    [
      'POST',
      '/subjects/s/versions',
      { schema: '{' },
      refused(42201, expect.stringMatching(/^Invalid schema .* with refs \[\] of type AVRO, details: not JSON/)),
    ],
    ['POST', '/subjects/s/versions', { schema: '{}', schemaType: 'JSON' }, refused(42201, 'Invalid schema type JSON')],
    [
      'POST',
      '/subjects/s/versions',
      { schema: '"int"', references: [{}] },
      refused(
        42201,
        expect.stringMatching(/details: Invalid reference: \{name='null', subject='null', version=null\}$/),
      ),
    ],
    [
      'POST',
      '/subjects/s/versions',
      '[]',
      refused(
        400,
        'Cannot deserialize value of type `RegisterSchemaRequest` from Array value (token `JsonToken.START_ARRAY`)',
      ),
    ],
    ['POST', '/subjects/s/versions', '', refused(422, 'register.arg5 must not be null (was null)')],
    ['POST', '/subjects/s', 'null', refused(422, 'lookUpSchemaUnderSubject.arg5 must not be null (was null)')],
    ['PUT', '/config/s', 'null', refused(422, 'updateSubjectLevelConfig.arg2 must not be null (was null)')],
    ['PUT', '/mode', 'null', refused(422, 'updateTopLevelMode.arg1 must not be null (was null)')],
    ['PATCH', '/subjects', undefined, refused(405, 'HTTP 405 Method Not Allowed')],
    ['GET', '/subjects?limit=many', undefined, refused(404, 'HTTP 404 Not Found')],
    ['GET', '/subjects?offset=-1', undefined, refused(400, 'offset must not be negative')],
    ['GET', '/config/%ZZ', undefined, refused(400, "'/config/%ZZ' is not a valid url component")],
    ['GET', `/config/${'x'.repeat(2_000)}`, undefined, refused(414, 'HTTP 414 Request-URI Too Long')],
    ['GET', '/contexts/a:b/subjects', undefined, refused(400, 'Context name cannot contain a colon')],
    ['POST', '/subjects/s/versions', '{"schema"', refused(400, expect.stringMatching(/^Malformed JSON/))],
    [
      'POST',
      '/subjects/s/versions',
      { schema: ['int'] },
      refused(400, 'Cannot deserialize value of type `String` from Array value (token `JsonToken.START_ARRAY`)'),
    ],
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
    [
      'POST',
      '/subjects/s/versions',
      { schema: `"${'x'.repeat(900_000)}"` },
      refused(413, 'HTTP 413 Request Entity Too Large'),
    ],
    [
      'PUT',
      '/config',
      { compatibility: 'SIDEWAYS' },
      refused(42203, expect.stringMatching(/^Invalid compatibility level/)),
    ],
    ['PUT', '/config', { validateFields: true }, notSupported('validateFields')],
    ['PUT', '/config', { compatibilityPolicy: 'LENIENT' }, notSupported('compatibilityPolicy')],
    ['POST', '/subjects/s/versions', { schema: '"int"', schemaTagsToAdd: [{}] }, notSupported('schemaTagsToAdd')],
    [
      'POST',
      '/subjects/s/versions',
      { schema: '"int"', propagateSchemaTags: true },
      notSupported('propagateSchemaTags'),
    ],
  ]
  it("[R1] says each thing in Confluent's code and words", async () => {
    const { ask, register } = await serve()
    await register('s', A)
    for (const [method, path, body, expected] of bodies)
      expect(await ask(method, path, body), `${method} ${path}`).toEqual(expected)
    expect(await ask('POST', '/subjects/s', '<x/>', 'text/xml')).toEqual(
      refused(415, 'HTTP 415 Unsupported Media Type'),
    )
    expect((await ask('POST', '/subjects/s', { schema: JSON.stringify(A) }, 'application/json')).status).toBe(200)
  })

  it('[R1] subjects may hold slashes, blanks, umlauts and be long', async () => {
    const { ask, register } = await serve()
    for (const subject of ['a/b', 'a b', 'größe-value', '%2F', 'x'.repeat(700), '日本']) {
      expect((await register(subject, 'int')).status, subject).toBe(200)
      expect(await ask('GET', `/subjects/${encodeURIComponent(subject)}/versions`)).toEqual(ok([1]))
    }
    expect(await ask('GET', '/subjects/%3A.%3Aa%2Fb/versions')).toEqual(ok([1]))
  })
})
