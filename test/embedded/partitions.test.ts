/**
 * Goal: answers stand on every partition that the event topic has, whatever the definition says and also when partitions are
 * added while the platform runs. Method: the running platform over HTTP; partitions by definition and by the log; sums by hand.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import avsc from 'avsc'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { encodeBatch } from '#format/record-batch.ts'
import { startForTest, type TestPlatform } from '#testkit/embedded.ts'
import { recordsOf } from '#testkit/records.ts'

const SCHEMA = {
  type: 'record',
  name: 'Click',
  fields: [
    { name: 'id', type: 'string' },
    { name: 'at', type: 'long' },
    { name: 'n', type: 'long' },
  ],
}
const METRIC = 'metric: clicked\nstream: clicks\nwindow: { tumbling: 1h }\nmeasures: { clicks: count(*), n: sum(n) }\n'
const EVENTS_TOPIC = 'events.clicks'

let directory: string
let platform: TestPlatform
/** What the answer must be: clicks, and the sum of n. */
const expected = { clicks: 0, n: 0 }

const define = (partitions: number) =>
  writeFile(
    join(directory, 'streams/clicks.yaml'),
    `stream: clicks\nschema: click.avsc\nid: id\nkey: id\nevent_time: at\ndedup: { horizon: 100 }\npartitions: ${partitions}\n`,
  )

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tidemark-partitions-'))
  for (const folder of ['streams', 'metrics']) await mkdir(join(directory, folder))
  await writeFile(join(directory, 'click.avsc'), JSON.stringify(SCHEMA))
  await writeFile(join(directory, 'metrics/clicked.yaml'), METRIC)
  await define(4)
  platform = await startForTest(directory)
})
afterAll(async () => {
  await platform?.stop()
  await rm(directory, { recursive: true, force: true })
})

const START = Date.UTC(2024, 2, 1)
let next = 0
async function send(count: number): Promise<void> {
  const events = Array.from({ length: count }, () => ({ id: `c${++next}`, at: START + next * 60_000, n: next }))
  await platform.send('clicks', events)
  expected.clicks += count
  for (const { n } of events) expected.n += n
}

async function expectAnswer(): Promise<void> {
  await platform.settle('clicks')
  const { rows } = await platform.query('clicked')
  const found = { clicks: 0, n: 0 }
  for (const { values } of rows) {
    found.clicks += Number(values['clicks'])
    found.n += Number(values['n'])
  }
  expect(found).toEqual(expected)
}

test('[W11] a definition with fewer partitions than the topic: all of them are read, before and after a build', async () => {
  await send(100)
  await expectAnswer()
  await define(2)
  await platform.restart()
  await send(100)
  await expectAnswer()
  expect((await platform.parts.log.endOffsets(EVENTS_TOPIC)).every((end) => end > 0)).toBe(true)
  await platform.build('clicked')
  await expectAnswer()
})

test('[W11] partitions that are added while it runs are read, archived and built', async () => {
  const { log } = platform.parts
  await log.createTopics([{ topic: EVENTS_TOPIC, partitions: 6, retentionMs: null, cleanup: 'delete' }])
  // Every event of partition 0 again: in another partition its id is another event, duplicates are looked for in one.
  const copied = (await recordsOf(log, EVENTS_TOPIC, 0)).filter(({ headers }) => headers.length === 0)
  const type = avsc.Type.forSchema(SCHEMA as avsc.Schema)
  for (const { value } of copied) {
    for (const partition of [4, 5]) {
      await log.append(EVENTS_TOPIC, partition, encodeBatch([{ key: null, value, headers: [] }], 0))
      expected.clicks++
      expected.n += (type.fromBuffer(Buffer.from(value!.subarray(5))) as { n: number }).n
    }
  }
  expect(copied.length).toBeGreaterThan(0)
  await expectAnswer()
  await platform.build('clicked')
  await send(50)
  await expectAnswer()
  await platform.restart()
  await expectAnswer()
  expect(await platform.drift('clicked')).toMatchObject({ cells_different: 0 })
})
