/**
 * Goal: a producer that is ahead of the definitions loses nothing: what it wrote that the schema of the day could not hold is in
 * the archive, and once the definitions catch up, live numbers, views of both arms and drift read it.
 * Method: the producer registers version 2 and sends its bytes while the platform runs on version 1, beside producers of version 1;
 * builds under version 1 at different times, or none; then version 2 in the definitions folder and a restart, or never. Version 2
 * adds fields of several types, renames one that had a default, and knows one more symbol. Version 3 widens a type, which version 1
 * cannot read: its records are dead until the definitions change. Every answer against a plain computation.
 */
import { mkdtemp, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import avro from 'avsc'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { frame } from '#format/confluent.ts'
import { encodeBatch } from '#format/record-batch.ts'
import { startForTest, type TestPlatform } from '#testkit/embedded.ts'
import { writeFiles } from '#testkit/files.ts'
import { random, SEED } from '#testkit/runs.ts'

const START_MS = Date.UTC(2024, 2, 1, 10)
const SUBJECT = 'events.visits-value'
const VERSIONS = [1, 2, 3] as const
type Version = (typeof VERSIONS)[number]

/** A visit as it was meant. Producers of version 1 know no channel, tip or score's new name, and no kind `tour`. */
interface Visit {
  readonly version: Version
  readonly id: string
  readonly at: number
  readonly kind: 'solo' | 'group' | 'tour'
  readonly score: number
  readonly channel: string | null
  readonly tip: number
}

const schemaOf = (version: Version) => ({
  type: 'record',
  name: 'Visit',
  fields: [
    { name: 'id', type: 'string' },
    { name: 'at', type: { type: 'long', logicalType: 'timestamp-millis' } },
    {
      name: 'kind',
      type: {
        type: 'enum',
        name: 'Kind',
        symbols: ['solo', 'group', ...(version < 2 ? [] : ['tour'])],
        default: 'solo',
      },
    },
    { name: 'size', type: version < 3 ? 'int' : 'long' },
    version < 2
      ? { name: 'points', type: 'long', default: -1 }
      : { name: 'score', type: 'long', default: -2, aliases: ['points'] },
    ...(version < 2
      ? []
      : [
          { name: 'channel', type: ['null', 'string'], default: null },
          { name: 'tip', type: { type: 'bytes', logicalType: 'decimal', precision: 9, scale: 2 }, default: '\u0007' },
        ]),
  ],
})

function bytesOf(visit: Visit, schemaId: number): Uint8Array {
  const tip = Buffer.alloc(4)
  tip.writeInt32BE(visit.tip)
  const value = { ...visit, points: visit.score, size: 1, tip }
  return frame(schemaId, avro.Type.forSchema(schemaOf(visit.version) as never, { wrapUnions: false }).toBuffer(value))
}

async function writeDefinitions(directory: string, version: Version): Promise<void> {
  const score = version < 2 ? 'points' : 'score'
  const files: Record<string, string> = {
    'visit.avsc': JSON.stringify(schemaOf(version)),
    'streams/visits.yaml': `stream: visits
doc: Visits whose producers are ahead.
schema: ../visit.avsc
id: id
event_time: at
disorder: 1h
dedup: { horizon: 100 }
partitions: 2
`,
    'metrics/kinds.yaml': `metric: kinds
doc: Visits by kind and hour.
stream: visits
window: { tumbling: 1h }
dimensions: { kind: kind }
measures:
  visits: count(*)
  score: sum(${score})
`,
    ...(version < 2
      ? {}
      : {
          'metrics/channels.yaml': `metric: channels
doc: Visits by channel and hour.
stream: visits
window: { tumbling: 1h }
dimensions: { channel: channel }
measures:
  visits: count(*)
  tip: sum(tip)
`,
        }),
  }
  await writeFiles(directory, files)
}

type Table = Readonly<Record<string, readonly number[]>>

/** What a reader of `version` sees of what was meant, by plain loops. */
function tableOf(metric: string, version: Version, visits: readonly Visit[]): Table {
  const table: Record<string, number[]> = {}
  for (const visit of new Map(visits.map((each) => [each.id, each])).values()) {
    if (version === 1 && visit.version === 3) continue
    const isAhead = visit.version > 1 && version === 1
    const isBehind = visit.version === 1 && version > 1
    const kind = isAhead && visit.kind === 'tour' ? 'solo' : visit.kind
    const channel = isBehind ? null : visit.channel
    const hour = Math.floor((visit.at - START_MS) / 3_600_000)
    const row = (table[`${hour} ${metric === 'kinds' ? kind : String(channel)}`] ??= [0, 0])
    row[0]! += 1
    row[1]! += metric === 'kinds' ? (isAhead ? -1 : visit.score) : isBehind ? 7 : visit.tip
  }
  if (metric === 'kinds') return table
  return Object.fromEntries(Object.entries(table).map(([key, [visited, cents]]) => [key, [visited!, cents! / 100]]))
}

let draw: () => number
let definitions: string
let platform: TestPlatform
let ids: ReadonlyMap<Version, number>
let visits: Visit[]

beforeEach(async () => {
  process.stdout.write(`evolution-ahead: repeat with SEED=${SEED}\n`)
  draw = random(SEED)
  visits = []
  definitions = await mkdtemp(join(tmpdir(), 'tidemark-ahead-'))
  await writeDefinitions(definitions, 1)
  platform = await startForTest(definitions)
  const registered: [Version, number][] = []
  for (const version of VERSIONS) {
    const response = await fetch(`${platform.parts.registryUrl}/subjects/${SUBJECT}/versions`, {
      method: 'POST',
      body: JSON.stringify({ schema: JSON.stringify(schemaOf(version)) }),
      headers: { 'content-type': 'application/json' },
    })
    expect(response.status).toBe(200)
    registered.push([version, ((await response.json()) as { id: number }).id])
  }
  ids = new Map(registered)
})
afterEach(async () => {
  await platform?.stop()
  await rm(definitions, { recursive: true, force: true })
})

/** Visits of version 1 and a newer one, mixed within the batches of both partitions; some ids come twice in one partition. */
async function flow(newer: 2 | 3 = 2): Promise<void> {
  for (let round = 0; round < 4; round++) {
    const sent = Array.from({ length: 15 }, (): Visit => {
      const version: Version = draw() < 0.5 ? 1 : newer
      const kinds = ['solo', 'group', ...(version < 2 ? [] : ['tour'])] as const
      return {
        version,
        id: `v${visits.length}-${Math.floor(draw() * 1e9)}`,
        at: START_MS + Math.floor(draw() * 3 * 3_600_000),
        kind: kinds[Math.floor(draw() * kinds.length)] as Visit['kind'],
        score: Math.floor(draw() * 2 ** 40),
        channel: draw() < 0.3 ? null : draw() < 0.5 ? 'app' : 'phone',
        tip: Math.floor(draw() * 10_000) - 5_000,
      }
    })
    const records = [...sent, sent[round]!].map((visit) => ({
      key: null,
      value: bytesOf(visit, ids.get(visit.version)!),
    }))
    await platform.parts.log.append('events.visits', round % 2, encodeBatch(records, START_MS))
    visits.push(...sent)
  }
  await platform.settle('visits')
}

async function answered(metric: string, layer: string): Promise<Table> {
  const { rows } = await platform.query(metric, { group_by: [metric === 'kinds' ? 'kind' : 'channel'], layer })
  return Object.fromEntries(
    rows.map(({ from, group, values }) => [
      `${(Date.parse(from) - START_MS) / 3_600_000} ${Object.values(group).join(' ') || 'null'}`,
      Object.values(values).map(Number),
    ]),
  )
}

async function expectTables(version: Version, layer: string): Promise<void> {
  for (const metric of version < 2 ? ['kinds'] : ['kinds', 'channels']) {
    expect(await answered(metric, layer), `${metric} of version ${version}, ${layer}`).toEqual(
      tableOf(metric, version, visits),
    )
  }
}

/** Builds, and compares both arms cell by cell. */
async function expectBuilt(version: Version): Promise<void> {
  await platform.build('*')
  await expectTables(version, 'batch')
  for (const metric of version < 2 ? ['kinds'] : ['kinds', 'channels']) {
    const report = await platform.driftAfterBuild(metric)
    expect(report, metric).toMatchObject({ cells_different: 0, unexplained: 0 })
    expect(report.cells_compared).toBeGreaterThan(0)
  }
}

async function catchUp(version: 2 | 3 = 2): Promise<void> {
  await platform.close()
  await writeDefinitions(definitions, version)
  await platform.start()
  await platform.settle('visits')
}

it('[R5] a producer ahead, builds under the old definitions, and then they catch up: its fields are all there', async () => {
  await flow()
  await expectBuilt(1)
  await flow()
  await expectTables(1, 'merged')
  await expectBuilt(1)
  await flow()
  await catchUp()
  await expectTables(2, 'merged')
  await expectBuilt(2)
  await flow()
  await expectTables(2, 'merged')
  await expectBuilt(2)
  await platform.job('verify', { stream: 'visits' })
  expect(await platform.series('tidemark_dead_letters_total')).toBe(0)
})

it('[R5] a producer ahead, and the definitions catch up before the first build', async () => {
  await flow()
  await catchUp()
  await expectTables(2, 'merged')
  await expectBuilt(2)
})

it('[R5] a producer ahead, and definitions that never catch up: they read on what they know', async () => {
  await flow()
  await expectBuilt(1)
  await platform.restart()
  await platform.settle('visits')
  await flow()
  await expectTables(1, 'merged')
  await expectBuilt(1)
  await platform.job('verify', { stream: 'visits' })
})

it('[R5] a producer that the old definitions cannot read: dead there, and in views once the archive was written anew', async () => {
  await flow(3)
  await expectBuilt(1)
  await catchUp(3)
  await expectTables(3, 'merged')
  await platform.build('*')
  // The archive holds what was dead on the day as dead: the views lack it, and drift says so.
  for (const metric of ['kinds', 'channels']) {
    expect((await platform.driftAfterBuild(metric)).unexplained, metric).toBeGreaterThan(0)
  }
  await platform.close()
  await rename(join(platform.directory, 'lake/events/visits'), join(platform.directory, 'aside'))
  await platform.start()
  await platform.settle('visits')
  await platform.build('*', { days: 'all' })
  await expectTables(3, 'batch')
  for (const metric of ['kinds', 'channels']) {
    expect(await platform.driftAfterBuild(metric), metric).toMatchObject({ cells_different: 0, unexplained: 0 })
  }
  await flow(3)
  await expectBuilt(3)
})
