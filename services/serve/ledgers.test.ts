/**
 * Goal: a ledger shows every letter once, in order, whatever an archiver's crash repeated and wherever a page ends.
 * Method: letters written to a log in memory as an archiver writes them, read page by page over HTTP.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { frame } from '#format/confluent.ts'
import { createDeadLetterCodec, type DeadLetter, valueHash } from '#format/dead-letter.ts'
import { encodeBatch } from '#format/record-batch.ts'
import { systemClock } from '#io/clock.ts'
import { createHttp, type HttpApp } from '#io/http.ts'
import { ownSchema } from '#io/own-schemas.ts'
import { createMemoryLog, type MemoryLog } from '#testkit/log-memory.ts'
import { smallMetric } from '#testkit/partials.ts'
import { ledgerRoutes } from './ledgers.ts'

const codec = createDeadLetterCodec(ownSchema('dead-letter'))
const letter = (partition: number, offset: number, value: Uint8Array | null): DeadLetter => ({
  topic: 'events.smalls',
  partition,
  offset,
  arrivalMs: 1_000 + offset,
  reason: 'wrong-magic',
  schemaId: null,
  key: null,
  value,
  sha256: valueHash(value),
})

let log: MemoryLog
let app: HttpApp

beforeEach(async () => {
  log = createMemoryLog({ clock: systemClock })
  const topics = ['dead.smalls', 'quarantine.smalls'].map((topic) => ({ topic, partitions: 2, retentionMs: null }))
  await log.createTopics(topics.map((topic) => ({ ...topic, cleanup: 'delete' as const })))
  app = await createHttp({
    name: 'serve',
    version: '0',
    title: 'Tidemark',
    logger: false,
    bodyLimitBytes: 1_000,
    ready: () => ({ parts: {} }),
  })
  const { stream } = smallMetric(2)
  await app.register(ledgerRoutes, { log, definitions: { directory: '', streams: [stream], metrics: [] } })
})
afterEach(async () => {
  await app.close()
  await log.close()
})

const write = (partition: number, offsets: readonly number[], value: Uint8Array | null = Uint8Array.of(1, 2)) =>
  log.append(
    'dead.smalls',
    partition,
    encodeBatch(
      offsets.map((offset) => ({ key: null, value: frame(7, codec.encode(letter(partition, offset, value))) })),
      0,
    ),
  )
interface Page {
  letters: { partition: number; offset: number; value: string | null; reason: string; arrival: string }[]
  next: string | null
}
const page = async (search = '') => {
  const response = await app.inject({ method: 'GET', url: `/v1/streams/smalls/dead-letters${search}` })
  return { status: response.statusCode, body: response.json<Page & { code?: string; field?: string }>() }
}
const all = async (limit: number): Promise<string[]> => {
  const out: string[] = []
  for (let next: string | null = ''; next !== null; ) {
    const { body } = await page(`?limit=${limit}&after=${next}`)
    expect(body.letters.length).toBeLessThanOrEqual(limit)
    out.push(...body.letters.map(({ partition, offset }) => `${partition}/${offset}`))
    next = body.next
  }
  return out
}

describe('ledgers', () => {
  it('[D5] shows each letter once for every size of page, repeated ones included', async () => {
    await write(0, [3, 5, 9])
    await write(0, [3, 5])
    await write(0, [9, 12])
    await log.append('dead.smalls', 0, encodeBatch([{ key: null, value: Uint8Array.of(9, 9) }], 0))
    await write(1, [0, 1])
    await write(1, [0, 1, 2])
    const expected = ['0/3', '0/5', '0/9', '0/12', '1/0', '1/1', '1/2']
    for (const limit of [1, 2, 3, 4, 7, 100]) expect(await all(limit), `pages of ${limit}`).toEqual(expected)
  })

  it('[D5] a page of big letters ends early and loses none', async () => {
    const value = new Uint8Array(800 * 1024).fill(7)
    for (let offset = 0; offset < 8; offset++) await write(0, [offset], value)
    const { body } = await page('?limit=1000')
    expect(body.letters.length).toBeLessThan(8)
    expect(Buffer.from(body.letters[0]!.value!, 'base64').equals(value)).toBe(true)
    expect(await all(1000)).toHaveLength(8)
  })

  it('[D5][Q3] no letters, a tombstone, a wrong cursor, an unknown stream', async () => {
    expect((await page()).body).toEqual({ stream: 'smalls', letters: [], next: null })
    await write(1, [4], null)
    expect((await page()).body.letters).toMatchObject([
      { partition: 1, offset: 4, value: null, reason: 'wrong-magic', arrival: '1970-01-01T00:00:01.004Z' },
    ])
    expect(await page('?after=x')).toMatchObject({ status: 400, body: { code: 'REQUEST_INVALID', field: 'after' } })
    expect(await page('?limit=0')).toMatchObject({ status: 400, body: { code: 'REQUEST_INVALID', field: 'limit' } })
    const unknown = await app.inject({ method: 'GET', url: '/v1/streams/none/quarantine' })
    expect(unknown.json()).toMatchObject({ status: 404, code: 'STREAM_UNKNOWN' })
  })
})
