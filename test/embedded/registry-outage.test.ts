/**
 * Goal: a registry that is away makes a partition wait, not lose: no dead letter for a schema that nobody could ask about, the other
 * partitions go on, a stop is not hindered, and everything counts once the registry is back.
 * Method: the platform on a registry by URL, a server of a few lines that the test switches off; records with new schema ids behind it.
 */

import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encodeBatch } from '#format/record-batch.ts'
import { startForTest, type TestPlatform, until } from '#testkit/embedded.ts'
import { goodRecord } from '#testkit/poison.ts'
import { reading } from './readings.ts'

const schemas: string[] = []
let away = false
/** Questions that were not answered. */
let refused = 0
let server: Server
let platform: TestPlatform

beforeAll(async () => {
  server = createServer((request, response) => {
    const answer = (status: number, body: object) => response.writeHead(status).end(JSON.stringify(body))
    const id = /^\/schemas\/ids\/(\d+)$/.exec(request.url!)?.[1]
    if (away) {
      refused++
      answer(500, { error_code: 50_001, message: 'away' })
    } else if (id !== undefined) {
      const schema = schemas[Number(id) - 1]
      if (schema === undefined) answer(404, { error_code: 40_403, message: `Schema ${id} not found` })
      else answer(200, { schema })
    } else {
      let body = ''
      request.on('data', (chunk: Buffer) => (body += chunk.toString()))
      request.on('end', () => {
        const { schema } = JSON.parse(body) as { schema: string }
        if (!schemas.includes(schema)) schemas.push(schema)
        answer(200, { id: schemas.indexOf(schema) + 1 })
      })
    }
  }).listen(0, '127.0.0.1')
  server.keepAliveTimeout = 60_000
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  platform = await startForTest('test/fixtures/readings', { TIDEMARK_REGISTRY_URL: url, TIDEMARK_LOG_LEVEL: 'fatal' })
})
afterAll(async () => {
  await platform?.stop()
  server?.close()
})

/** Appends a reading written with a schema id that no reader has met yet. */
async function appendWithNewSchema(partition: number): Promise<void> {
  const [stream] = platform.parts.definitions.streams
  const schema = JSON.stringify({ ...(JSON.parse(stream!.schema) as object), doc: `Schema ${schemas.length + 1}.` })
  schemas.push(schema)
  const value = goodRecord({ schema, schemaId: schemas.length, unknownId: 0, eventTime: stream!.eventTime })
  await platform.parts.log.append('events.readings', partition, encodeBatch([{ key: null, value }], 0))
}
const readings = async (): Promise<number> => {
  const { rows } = await platform.query('total', { grain: '1w', measures: 'readings' })
  return rows.reduce((sum, { values }) => sum + Number(values['readings']), 0)
}

describe('a registry that is away', () => {
  it('[R5][R6] makes the partition wait, and no dead letters; all counts when it is back', async () => {
    await platform.send('readings', [reading(0), reading(1)])
    await platform.settle('readings')
    away = true
    await appendWithNewSchema(0)
    // What is written with a known schema is still taken in.
    await platform.send('readings', [reading(2, { name: 'b' }), reading(3, { name: 'c' })])
    await until('the registry was asked', async () => refused > 0)
    away = false
    await platform.settle('readings')
    expect(await readings()).toBe(5)
    const { json } = await platform.get<{ letters: unknown[] }>('/v1/streams/readings/dead-letters')
    expect(json.letters).toEqual([])
  })

  it('[O2][S1] does not hinder a stop, and nothing is lost by it', async () => {
    away = true
    for (const partition of [0, 1, 2]) await appendWithNewSchema(partition)
    refused = 0
    await until('the registry was asked', async () => refused > 0)
    await platform.close()
    away = false
    await platform.start()
    await platform.settle('readings')
    expect(await readings()).toBe(8)
    await platform.build('*')
    expect(await platform.driftAfterBuild('total')).toMatchObject({ cells_different: 0 })
  })
})
