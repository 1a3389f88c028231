/** Content types and methods: what Accept picks, what a body may be, what a path offers. */
import { connect } from 'node:net'
import { describe, expect, it } from 'vitest'
import { serve } from '#testkit/registry-served.ts'
import { isConsumed, typeFor } from './negotiation.ts'
import { startRegistry } from './start.ts'

const V1 = 'application/vnd.schemaregistry.v1+json'
const DEFAULT = 'application/vnd.schemaregistry+json'
const JSON_TYPE = 'application/json'

describe('negotiation', () => {
  it.each([
    [undefined, V1],
    ['*/*', V1],
    ['text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2', V1],
    [`${JSON_TYPE};q=0.5, ${DEFAULT};q=0.4`, JSON_TYPE],
    [`${V1};q=0, application/*`, DEFAULT],
    [`${JSON_TYPE}, ${V1};q=0.9`, JSON_TYPE],
    ['APPLICATION/JSON; charset=utf-8', JSON_TYPE],
    ['text/plain', null],
    [`${JSON_TYPE};q=0`, null],
    ['', V1],
  ])('[R1] Accept %s is answered as %s', (accept, expected) => {
    expect(typeFor(accept)).toBe(expected)
    // Kept from the first time.
    expect(typeFor(accept)).toBe(expected)
  })

  it.each([
    [undefined, true],
    [V1, true],
    [`${DEFAULT}; charset=utf-8`, true],
    ['Application/JSON', true],
    ['application/octet-stream', true],
    ['text/json', false],
    [`${V1}x`, false],
  ])('[R1] a body of type %s: %s', (type, expected) => {
    expect(isConsumed(type)).toBe(expected)
  })

  it('[R1] a path tells its methods, HEAD is GET without a body, and a path serves more than a thousand requests', async () => {
    const { url, register } = await serve(startRegistry)
    await register('s', 'int')
    const tell = async (method: string, path: string) => {
      const { status, headers } = await fetch(url + path, { method })
      return [status, headers.get('allow'), headers.get('content-type')]
    }
    expect(await tell('OPTIONS', '/subjects/s/versions')).toEqual([200, 'GET,POST,HEAD,OPTIONS', V1])
    expect(await tell('OPTIONS', '/compatibility/subjects/s/versions')).toEqual([200, 'POST,OPTIONS', V1])
    expect(await tell('PUT', '/subjects/s')).toEqual([405, 'POST,DELETE,OPTIONS', V1])
    expect(await tell('HEAD', '/subjects/s')).toEqual([405, 'POST,DELETE,OPTIONS', V1])
    expect(await tell('HEAD', '/schemas/ids/1')).toEqual([200, null, V1])
    for (let i = 0; i < 1_100; i++) expect((await fetch(`${url}/schemas/types`)).status).toBe(200)
  })

  it.each([
    ['GET / HTTP/1.1\r\nx: ' + 'y'.repeat(20_000), 431],
    ['no such thing\r\n\r\n', 400],
  ])(
    '[R1] what is not HTTP is refused as everything else, and the end of the connection is told',
    async (sent, status) => {
      const { url } = await serve(startRegistry)
      const socket = connect(Number(new URL(url).port), '127.0.0.1')
      socket.write(sent)
      const chunks: Buffer[] = []
      for await (const chunk of socket) chunks.push(chunk as Buffer)
      const [head, body] = Buffer.concat(chunks).toString().split('\r\n\r\n')
      expect(head).toMatch(new RegExp(`^HTTP/1.1 ${status} .*\r\nConnection: close`))
      expect(JSON.parse(body!)).toEqual({ error_code: status, message: expect.any(String) })
    },
  )
})
