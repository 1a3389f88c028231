/**
 * Goal: what evolution.test.ts leaves out: a record and an enum renamed into another namespace by aliases, an enum that loses a symbol
 * its readers default, a decimal that widens, a number that may be null from now on, unions that turn round and promote inside.
 * Method: producers of every shape in one record batch, record by record; a restart between the shapes; live numbers and views of
 * both arms against a plain computation over what was meant.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import avro from 'avsc'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { frame } from '#format/confluent.ts'
import { encodeBatch } from '#format/record-batch.ts'
import { startForTest, type TestPlatform } from '#testkit/embedded.ts'
import { random, SEED } from '#testkit/runs.ts'

const START_MS = Date.UTC(2024, 2, 1, 10)
const SHAPES = [1, 2, 3] as const
type Shape = (typeof SHAPES)[number]

/** A parcel as it was meant. */
interface Parcel {
  readonly id: string
  readonly at: number
  /** Shapes 2 and later know no LOST and read it as NEW. */
  readonly state: 'NEW' | 'SENT' | 'LOST'
  readonly cents: number
  /** Null only from shape 2 on. */
  readonly weight: number | null
  /** Shape 1 knows none. */
  readonly stops: number | null
  readonly shape: Shape
}

const decimal = (precision: number) => ({ type: 'bytes', logicalType: 'decimal', precision, scale: 2 })
const named = (type: string, name: string, was: string, more: object, shape: Shape) => ({
  type,
  ...(shape === 1 ? { name: was } : { name, aliases: [was] }),
  ...more,
})

function schemaOf(shape: Shape): { type: 'record'; fields: object[] } {
  const fields = [
    { name: 'id', type: 'string' },
    { name: 'at', type: { type: 'long', logicalType: 'timestamp-millis' } },
    {
      name: 'state',
      type: named(
        ...(['enum', 'post.State', 'old.depot.State'] as const),
        { symbols: shape === 1 ? ['NEW', 'SENT', 'LOST'] : ['SENT', 'NEW'], default: 'NEW' },
        shape,
      ),
    },
    { name: 'price', type: decimal(shape === 1 ? 7 : 12) },
    { name: 'weight', type: shape === 1 ? 'float' : shape === 2 ? ['null', 'double'] : ['double', 'null'] },
    ...(shape === 1 ? [] : [{ name: 'stops', type: ['null', shape === 2 ? 'int' : 'long'], default: null }]),
  ]
  return named('record', 'post.mail.Sending', 'old.Parcel', { fields }, shape) as never
}

/** Big-endian two's complement, as short as it can be. */
function unscaled(cents: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(BigInt(cents))
  return bytes.subarray(Math.abs(cents) < 2 ** 31 ? 4 : 0)
}

const types = new Map(
  SHAPES.map((shape) => [shape, avro.Type.forSchema(schemaOf(shape) as never, { wrapUnions: true })]),
)

function bytesOf(parcel: Parcel, schemaId: number): Uint8Array {
  const { id, at, state, cents, weight, stops, shape } = parcel
  const maybe = (name: string, value: number | null) => (value === null ? null : { [name]: value })
  const value = {
    ...{ id, at, state, price: unscaled(cents) },
    weight: shape === 1 ? weight : maybe('double', weight),
    ...(shape === 1 ? {} : { stops: maybe(shape === 2 ? 'int' : 'long', stops) }),
  }
  return frame(schemaId, types.get(shape)!.toBuffer(value))
}

const draw = random(SEED)
function drawParcel(id: string, shape: Shape): Parcel {
  const weight = Math.round(draw() * 64) / 4
  const isNull = (): boolean => shape > 1 && draw() < 0.3
  return {
    id,
    at: START_MS + Math.floor(draw() * 3 * 3_600_000),
    state: (['NEW', 'SENT', 'LOST'] as const)[Math.floor(draw() * (shape === 1 ? 3 : 2))]!,
    cents: Math.floor(draw() * (shape === 1 ? 9_999_999 : 10 ** 11)) * (draw() < 0.2 ? -1 : 1),
    weight: isNull() ? null : weight,
    stops: shape === 1 || isNull() ? null : Math.floor(draw() * 9),
    shape,
  }
}

/** Rows by `hour state`, by plain loops. */
function tableOf(parcels: readonly Parcel[], now: Shape): Record<string, unknown[]> {
  const cells = new Map<string, { n: number; cents: number; weights: number[]; stops: number }>()
  for (const { at, state, cents, weight, stops } of parcels) {
    const key = `${Math.floor((at - START_MS) / 3_600_000)} ${now > 1 && state === 'LOST' ? 'NEW' : state}`
    const cell = cells.get(key) ?? { n: 0, cents: 0, weights: [], stops: 0 }
    cells.set(key, {
      ...{ n: cell.n + 1, cents: cell.cents + cents, stops: cell.stops + (stops === null ? 0 : 1) },
      weights: weight === null ? cell.weights : [...cell.weights, weight],
    })
  }
  return Object.fromEntries(
    [...cells].map(([key, { n, cents, weights, stops }]) => [
      key,
      [n, cents, weights.length === 0 ? null : Math.max(...weights), ...(now === 1 ? [] : [stops])],
    ]),
  )
}

async function writeDefinitions(directory: string, shape: Shape): Promise<void> {
  const files: Record<string, string> = {
    'parcel.avsc': JSON.stringify(schemaOf(shape), null, 2),
    'streams/parcels.yaml':
      'stream: parcels\nschema: ../parcel.avsc\nkey: id\nid: id\nevent_time: at\ndisorder: 1h\ndedup: { horizon: 100 }\npartitions: 2\n',
    'metrics/sent.yaml': `metric: sent
stream: parcels
window: { tumbling: 1h }
dimensions: { state: state }
measures:
  n: count(*)
  cents: sum(price * 100)
  heaviest: max(weight)
${shape === 1 ? '' : '  stops: count(stops)\n'}`,
  }
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(directory, path)), { recursive: true })
    await writeFile(join(directory, path), text)
  }
}

let definitions: string
let platform: TestPlatform
const parcels: Parcel[] = []
const ids = new Map<Shape, number>()

beforeAll(async () => {
  process.stdout.write(`evolution of kinds: repeat with SEED=${SEED}\n`)
  definitions = await mkdtemp(join(tmpdir(), 'tidemark-evolution-kinds-'))
  await writeDefinitions(definitions, 1)
  platform = await startForTest(definitions)
})
afterAll(async () => {
  await platform?.stop()
  await rm(definitions, { recursive: true, force: true })
})

/** Parcels of every shape so far, the writer changing from record to record of one batch. */
async function flow(now: Shape): Promise<void> {
  for (const partition of [0, 1]) {
    const batch = Array.from({ length: 60 }, (_, i) => drawParcel(`p${parcels.length + i}`, (1 + (i % now)) as Shape))
    const records = batch.map((parcel) => ({ key: null, value: bytesOf(parcel, ids.get(parcel.shape)!) }))
    await platform.parts.log.append('events.parcels', partition, encodeBatch(records, START_MS))
    parcels.push(...batch)
  }
}

async function expectTable(now: Shape, layer: string): Promise<void> {
  const { rows } = await platform.query('sent', { group_by: ['state'], layer })
  const answered = Object.fromEntries(
    rows.map(({ from, group, values }) => [
      `${(Date.parse(from) - START_MS) / 3_600_000} ${group['state'] as string}`,
      Object.values(values).map((value) => (typeof value === 'string' ? Number(value) : value)),
    ]),
  )
  expect(answered, `shape ${now}, ${layer}`).toEqual(tableOf(parcels, now))
}

for (const now of SHAPES) {
  it(`[R5] shape ${now}: names, enums, decimals and unions of every writer are read as today's`, async () => {
    if (now > 1) {
      await writeDefinitions(definitions, now)
      await platform.restart()
      await platform.settle('parcels')
      await expectTable(now, 'merged')
    }
    const response = await fetch(`${platform.parts.registryUrl}/subjects/events.parcels-value/versions/latest`)
    ids.set(now, ((await response.json()) as { id: number }).id)
    await flow(now)
    await platform.settle('parcels')
    await expectTable(now, 'merged')
    await platform.build('*')
    await expectTable(now, 'batch')
    expect(await platform.driftAfterBuild('sent')).toMatchObject({ cells_different: 0, unexplained: 0 })
    await flow(now)
    await platform.restart()
    await platform.settle('parcels')
    await expectTable(now, 'merged')
    expect(await platform.series('tidemark_dead_letters_total')).toBe(0)
  })
}
