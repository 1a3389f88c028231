/**
 * Goal: bad input costs nothing but itself. Over HTTP each bad item is told with code, field and reason and the good ones go in; on the
 * topic each unreadable record becomes a dead letter with its bytes, the partition goes on, and nothing received is unaccounted for.
 * Method: the running platform on a stream with a field of every kind; the poison corpus appended behind its back through the log port.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { valueHash } from '#format/dead-letter.ts'
import { encodeBatch, readHeader } from '#format/record-batch.ts'
import { type IngestAnswer, type ProblemBody, startForTest, type TestPlatform, until } from '#testkit/embedded.ts'
import { goodRecord, type PoisonOptions, poisonBatches, poisonRecords } from '#testkit/poison.ts'
import { BASE_MS, reading } from './readings.ts'

const EVENTS = '/v1/streams/readings/events'
let platform: TestPlatform
/** Records on the topic that are events, whatever becomes of them; and how many barriers. */
const sent = { accepted: 0, rejected: 0, dead: 0, quarantined: 0, barriers: 0 }

beforeAll(async () => {
  platform = await startForTest('test/fixtures/readings')
})
afterAll(() => platform?.stop())

const post = async (items: readonly unknown[] | string, type = 'application/json'): Promise<IngestAnswer> => {
  const { status, text, json } = await platform.post<IngestAnswer>(EVENTS, items, type)
  if (status !== 200) throw new Error(`${status} ${text}`)
  sent.accepted += json.accepted
  sent.rejected += json.rejected.length
  return json
}
const readings = async (): Promise<number> => {
  await platform.settle('readings')
  const { rows } = await platform.query('total', { grain: '1w', measures: 'readings' })
  return rows.reduce((sum, { values }) => sum + Number(values['readings']), 0)
}

describe('over HTTP', () => {
  it('[D2][M5] every bad item is told with place, code, field and reason; the good ones go in', async () => {
    const bad: [string, Readonly<Record<string, unknown>>, string?][] = [
      ['WRONG_TYPE', { count: 'one' }, 'count'],
      ['WRONG_TYPE', { count: 1.5 }, 'count'],
      ['WRONG_TYPE', { valid: 'yes' }, 'valid'],
      ['WRONG_TYPE', { name: 7 }, 'name'],
      ['WRONG_TYPE', { note: {} }, 'note'],
      ['INT_RANGE', { count: 2 ** 31 }, 'count'],
      ['INT_RANGE', { total: '9223372036854775808' }, 'total'],
      ['NUMBER_UNSAFE', { total: 2 ** 53 }, 'total'],
      ['MISSING_FIELD', { price: undefined }, 'price'],
      ['MISSING_FIELD', { name: null }, 'name'],
      ['UNKNOWN_FIELD', { colr: 'RED' }, 'colr'],
      ['BAD_ENUM', { colour: 'BLUE' }, 'colour'],
      ['DECIMAL_SCALE', { price: '1.505' }, 'price'],
      ['DECIMAL_RANGE', { price: '10000000.00' }, 'price'],
      ['NOT_FINITE', { ratio: 'NaN' }, 'ratio'],
      ['EVENT_TIME_RANGE', { at: BASE_MS / 1000 }, 'at'],
      ['EVENT_TIME_RANGE', { at: BASE_MS * 1000 }, 'at'],
      ['EVENT_TIME_FORMAT', { at: 'yesterday' }, 'at'],
      ['EVENT_TIME_FORMAT', { at: '2024-03-01T10:00:00' }, 'at'],
    ]
    const items = bad.flatMap(([, over], i) => [reading(i), reading(i, over)])
    const answer = await post([...items, reading(0), 7, null, []])
    expect(answer.accepted).toBe(bad.length + 1)
    const got = answer.rejected.map(({ index, code, field }) => [index, code, field])
    expect(got).toEqual([
      ...bad.map(([code, , field], i) => [2 * i + 1, code, field]),
      [items.length + 1, 'WRONG_TYPE', undefined],
      [items.length + 2, 'WRONG_TYPE', undefined],
      [items.length + 3, 'WRONG_TYPE', undefined],
    ])
    for (const { reason } of answer.rejected) expect(reason.length).toBeGreaterThan(5)
    const units = answer.rejected.filter(({ code }) => code === 'EVENT_TIME_RANGE').map(({ reason }) => reason)
    expect(units).toEqual([expect.stringContaining('seconds'), expect.stringContaining('microseconds')])
    expect(await readings()).toBe(sent.accepted)
  })

  it('[D2] broken lines and NaN spoil themselves only, in NDJSON and in an array', async () => {
    const good = JSON.stringify(reading(1))
    const lines = [good, '{"name": ', '', `${good}`, good.replace('0.5', 'NaN'), 'nonsense', good]
    const ndjson = await post(lines.join('\n'), 'application/x-ndjson')
    expect(ndjson.accepted).toBe(3)
    expect(ndjson.rejected.map(({ index, code, field }) => [index, code, field])).toEqual([
      [1, 'BAD_JSON', undefined],
      [4, 'NOT_FINITE', 'ratio'],
      [5, 'BAD_JSON', undefined],
    ])
    const array = await post(`[${good}, ${good.replace('0.5', 'NaN')}, ${good}]`)
    expect(array).toMatchObject({ accepted: 2, rejected: [{ index: 1, code: 'NOT_FINITE', field: 'ratio' }] })
    expect(await readings()).toBe(sent.accepted)
  })

  it('[R5] an int64 beyond 2^53 sent as text comes out to the last digit', async () => {
    const total = '9007199254740993'
    await post([reading(5_000, { total, name: 'big' })])
    await platform.settle('readings')
    const from = reading(5_000).at
    const { rows } = await platform.query('readings_by_minute', {
      from,
      until: from + 1,
      measures: 'total',
      numbers: 'string',
    })
    expect(rows.map(({ values }) => values['total'])).toEqual([total])
  })

  it('[D2][Q3] what is refused as a whole takes nothing in', async () => {
    const line = `${JSON.stringify(reading(0, { note: 'x'.repeat(900) }))}\n`
    const refusals: [string, Promise<{ status: number; json: ProblemBody }>, number, string][] = [
      [
        '5 MB',
        platform.post(EVENTS, line.repeat(5_000_000 / line.length), 'application/x-ndjson'),
        413,
        'BODY_TOO_LARGE',
      ],
      ['too many', platform.post(EVENTS, JSON.stringify(Array(10_001).fill(1))), 413, 'BODY_TOO_LARGE'],
      ['no JSON', platform.post(EVENTS, 'name=a'), 400, 'REQUEST_INVALID'],
      ['no body', platform.post(EVENTS), 400, 'REQUEST_INVALID'],
      ['XML', platform.post(EVENTS, '<a/>', 'text/xml'), 415, 'MEDIA_TYPE'],
      ['unknown stream', platform.post('/v1/streams/reading/events', []), 404, 'STREAM_UNKNOWN'],
    ]
    for (const [name, asked, status, code] of refusals) {
      const { json, ...reply } = await asked
      expect([reply.status, json.code], name).toEqual([status, code])
      expect(json.hint.length, name).toBeGreaterThan(5)
    }
    expect(await readings()).toBe(sent.accepted)
    const counted = async (outcome: string) =>
      platform.series('tidemark_ingested_events_total', { stream: 'readings', outcome })
    expect([await counted('accepted'), await counted('rejected')]).toEqual([sent.accepted, sent.rejected])
  })
})

describe('on the topic', () => {
  /** The archiver writes letters when it closes a file, which a barrier on demand makes it do. */
  const archived = async (): Promise<void> => {
    const { json } = await platform.post<{ id: number }>('/v1/streams/readings/barriers')
    sent.barriers += 3
    await until(`the archive covers cut ${json.id}`, async () => {
      const seen = (await letters('dead-letters')).length + (await letters('quarantine')).length
      return seen >= sent.dead + sent.quarantined
    })
  }
  const letters = async (ledger: 'dead-letters' | 'quarantine') => {
    const out: Letter[] = []
    for (let next: string | null = ''; next !== null; ) {
      const search = new URLSearchParams({ limit: '7', after: next })
      const { json } = await platform.get<{ letters: Letter[]; next: string | null }>(
        `/v1/streams/readings/${ledger}?${search.toString()}`,
      )
      out.push(...json.letters)
      next = json.next
    }
    return out
  }
  interface Letter {
    topic: string
    partition: number
    offset: number
    reason: string
    key: string | null
    value: string | null
    sha256: string
  }
  const base64 = (bytes: Uint8Array | null): string | null =>
    bytes === null ? null : Buffer.from(bytes).toString('base64')

  it('[D5][R5] poison becomes dead letters with its bytes, and the good records around it count', async () => {
    const { log, registry, definitions } = platform.parts
    const [stream] = definitions.streams
    const schemaId = await registry.register('events.readings-value', stream!.schema)
    const options: PoisonOptions = {
      schema: stream!.schema,
      schemaId,
      unknownId: 987_654,
      eventTime: stream!.eventTime,
    }
    const before = sent.accepted
    const expected: Omit<Letter, 'topic'>[] = []
    let rows = 0
    for (const [at, { name, record, fate }] of poisonRecords(options).entries()) {
      const partition = at % 3
      const good = { key: null, value: goodRecord(options) }
      const { baseOffset } = await log.append('events.readings', partition, encodeBatch([good, record, good], 0))
      rows += 2
      const offset = baseOffset + 1
      if (fate === 'row') {
        // Of the year 9999: nothing wrong with it but that it has not happened yet.
        if (name.includes('before the year 10000')) sent.quarantined++
        else rows++
        continue
      }
      const { key, value } = record
      const reason = fate === 'barrier' ? 'bad-barrier' : fate
      expected.push({ partition, offset, reason, key: base64(key), value: base64(value), sha256: valueHash(value) })
    }
    sent.accepted += rows
    sent.dead += expected.length
    expect(await readings()).toBe(before + rows)
    await archived()
    const found = await letters('dead-letters')
    const place = (letter: { partition: number; offset: number }) => letter.partition * 1e9 + letter.offset
    expect(
      found.map(({ topic, partition, offset, reason, key, value, sha256 }) => ({
        topic,
        partition,
        offset,
        reason,
        key,
        value,
        sha256,
      })),
    ).toEqual(expected.sort((a, b) => place(a) - place(b)).map((letter) => ({ topic: 'events.readings', ...letter })))
  })

  it('[D5] whole batches that lie are dead letters for each offset they claim', async () => {
    const { log, registry, definitions } = platform.parts
    const [stream] = definitions.streams
    const schemaId = await registry.register('events.readings-value', stream!.schema)
    const options: PoisonOptions = { schema: stream!.schema, schemaId, unknownId: 1, eventTime: stream!.eventTime }
    const before = await readings()
    const known = (await letters('dead-letters')).length
    let claimed = 0
    for (const { batch, fate } of poisonBatches(options)) {
      // The log stamps what it appends, so that a wrong CRC or a short header cannot come this way; lies inside can.
      if (fate === 'damaged-batch') continue
      const { baseOffset } = await log.append('events.readings', 1, batch)
      claimed += readHeader(batch).lastOffset + 1
      expect(baseOffset).toBeGreaterThan(0)
    }
    expect(claimed).toBeGreaterThan(0)
    sent.dead += claimed
    await post([reading(1)])
    expect(await readings()).toBe(before + 1)
    await archived()
    expect(await letters('dead-letters')).toHaveLength(known + claimed)
  })

  it('[D5] events from the future are quarantined, not counted, and do not move the watermark', async () => {
    const watermark = async () => (await platform.get<{ watermark: string }>('/v1/metrics/total')).json.watermark
    const [before, count] = [await watermark(), await readings()]
    const future = { at: '2099-01-01T00:00:00Z', name: 'future' }
    const answer = await post([reading(0, future), reading(0), reading(0, future)])
    expect(answer.accepted).toBe(3)
    sent.accepted -= 2
    sent.quarantined += 2
    expect(await readings()).toBe(count + 1)
    expect(await watermark()).toBe(before)
    await archived()
    const quarantined = await letters('quarantine')
    expect(quarantined.map(({ reason }) => reason)).toEqual(Array(sent.quarantined).fill('future'))
    expect(quarantined.every(({ value }) => value !== null)).toBe(true)
  })

  it('[D5][L1][F1] everything received is accounted for: by the series, in the archive, in both layers', async () => {
    await platform.build('*')
    sent.barriers += 3
    const ends = (await platform.get<{ end_offsets: number[] }>('/v1/streams/readings')).json.end_offsets
    const received = ends.reduce((sum, end) => sum + end, 0)
    expect(sent.accepted + sent.dead + sent.quarantined + sent.barriers).toBe(received)
    const series = (name: string) => platform.series(name, { stream: 'readings' })
    for (const [name, count] of [
      ['tidemark_events_total', sent.accepted],
      ['tidemark_dead_letters_total', sent.dead],
      ['tidemark_quarantined_events_total', sent.quarantined],
    ] as const) {
      await until(`the last epochs are in ${name}`, async () => (await series(name)) >= count)
      expect(await series(name), name).toBe(count)
    }
    const { result } = await platform.job('verify', { stream: 'readings', deep: true })
    expect(result).toMatchObject({ ok: true, rows: received, findings: [] })
    expect(await platform.driftAfterBuild('total')).toMatchObject({ cells_different: 0 })
    expect(await platform.driftAfterBuild('readings_by_minute')).toMatchObject({ cells_different: 0 })
  })

  it('[S1] after a restart the ledgers and the answers are the same', async () => {
    const state = async () => ({
      dead: await letters('dead-letters'),
      future: await letters('quarantine'),
      count: await readings(),
    })
    const before = await state()
    await platform.restart()
    expect(await state()).toEqual(before)
  })
})
