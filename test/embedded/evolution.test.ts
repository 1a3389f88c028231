/**
 * Goal: a stream's schema gains a field, renames one, promotes three, drops one and renames a dimension while events flow, from
 * producers of every shape so far; live numbers, archive, views of both arms and drift read all writer versions as the current one.
 * Method: what a user does: change the .avsc and the metrics in the definitions folder, start again, go on. Events by HTTP in the
 * current shape, and bytes of older shapes straight onto the topic; every answer against a plain computation.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { encodeBatch } from '#format/record-batch.ts'
import { openDuckDb, sqlText } from '#io/duckdb.ts'
import { startForTest, type TestPlatform } from '#testkit/embedded.ts'
import { random, SEED } from '#testkit/runs.ts'
import {
  bytesOf,
  drawOrder,
  eventOf,
  type Order,
  SHAPES,
  type Shape,
  START_MS,
  schemaOf,
  tableOf,
  writeDefinitions,
} from './evolution.ts'

const SUBJECT = 'events.orders-value'
const draw = random(SEED)
let definitions: string
let platform: TestPlatform
/** Everything sent, in order. */
const orders: Order[] = []
/** Id under which the registry has each shape. */
const ids = new Map<Shape, number>()
/** The first order that went to partition 0 as bytes, in shape 1: sent again and again, counted once. */
let repeated: Order | null = null

beforeAll(async () => {
  process.stdout.write(`evolution: repeat with SEED=${SEED}\n`)
  definitions = await mkdtemp(join(tmpdir(), 'tidemark-evolution-'))
  await writeDefinitions(definitions, 1)
  platform = await startForTest(definitions)
})
afterAll(async () => {
  await platform?.stop()
  await rm(definitions, { recursive: true, force: true })
})

/** A registry request. */
async function registry(method: string, path: string, body?: unknown): Promise<{ status: number; body: unknown }> {
  const response = await fetch(`${platform.parts.registryUrl}${path}`, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  })
  return { status: response.status, body: await response.json() }
}

/** Orders of the current shape by HTTP, older ones as bytes on the topic, mixed. */
async function flow(now: Shape): Promise<void> {
  const known = SHAPES.filter((shape) => shape <= now)
  for (let round = 0; round < 3; round++) {
    const fresh = Array.from({ length: 12 }, () => drawOrder(draw, `o${orders.length + Math.floor(draw() * 1e9)}`, now))
    await platform.send('orders', fresh.map(eventOf))
    const old = known.flatMap((shape) =>
      Array.from({ length: 4 }, () => drawOrder(draw, `o${orders.length + Math.floor(draw() * 1e9)}`, shape)),
    )
    const records = old.map((order) => ({ key: Buffer.from(order.shop), value: bytesOf(order, ids.get(order.shape)!) }))
    await platform.parts.log.append('events.orders', round % 2, encodeBatch(records, START_MS))
    orders.push(...fresh, ...old)
    repeated ??= old[0]!
  }
  const again = { key: null, value: bytesOf(repeated!, ids.get(1)!) }
  await platform.parts.log.append('events.orders', 0, encodeBatch([again], START_MS))
}

/** What the platform answers, in the form of `tableOf`. */
async function answered(metric: string, layer: string): Promise<Record<string, unknown[]>> {
  const { json } = await platform.get<{ dimensions: { name: string }[] }>(`/v1/metrics/${metric}`)
  const names = json.dimensions.map(({ name }) => name)
  const { rows } = await platform.query(metric, { group_by: names, layer })
  return Object.fromEntries(
    rows.map(({ from, group, values }) => [
      [(Date.parse(from) - START_MS) / 3_600_000, ...names.map((name) => group[name])].join(' '),
      Object.values(values),
    ]),
  )
}

const metricsOf = (shape: Shape): string[] => ['sales', 'steady', ...(shape < 2 ? [] : ['channels'])]

async function expectTables(shape: Shape, layer: string): Promise<void> {
  for (const metric of metricsOf(shape)) {
    expect(await answered(metric, layer), `${metric} in shape ${shape}, ${layer}`).toEqual(tableOf(metric, orders))
  }
}

for (const shape of SHAPES) {
  it(`[R5] shape ${shape}: live numbers, views of both arms and drift read every shape so far`, async () => {
    if (shape > 1) {
      await writeDefinitions(definitions, shape)
      await platform.restart()
      // What was sent before the change is answered in the words of today, without a build.
      await platform.settle('orders')
      await expectTables(shape, 'merged')
    }
    const latest = await registry('GET', `/subjects/${SUBJECT}/versions/latest`)
    expect(latest.body).toMatchObject({ version: shape })
    expect(JSON.parse((latest.body as { schema: string }).schema)).toMatchObject({ name: 'Order' })
    ids.set(shape, (latest.body as { id: number }).id)

    await flow(shape)
    await platform.settle('orders')
    await expectTables(shape, 'merged')
    await platform.build('*')
    await expectTables(shape, 'batch')
    for (const metric of metricsOf(shape)) {
      const report = await platform.driftAfterBuild(metric)
      expect(report, metric).toMatchObject({ cells_different: 0, unexplained: 0 })
      expect(report.cells_compared).toBeGreaterThan(0)
    }
    await flow(shape)
    await platform.settle('orders')
    await expectTables(shape, 'merged')
    expect(await platform.series('tidemark_dead_letters_total')).toBe(0)
  })
}

it('[R5] the archive names the writer of every event, and verifies whole', async () => {
  await platform.build('*')
  await platform.job('verify', { stream: 'orders' })
  const duckdb = await openDuckDb({ threads: 1, memoryMb: 200, temporaryDirectory: null })
  const files = `${platform.parts.lake.root}/events/orders/**/*.parquet`
  const rows = await duckdb.query(
    `SELECT _schema_id AS id, count(*) AS n FROM read_parquet(${sqlText(files)}, union_by_name = true, hive_partitioning = false)
     WHERE _kind = 'event' GROUP BY 1 ORDER BY 1`,
  )
  const found = new Map(rows.map(({ id, n }) => [Number(id), Number(n)]))
  expect([...found.keys()]).toEqual([...ids.values()].toSorted((a, b) => a - b))
  for (const shape of SHAPES) {
    const repeats = shape === 1 ? SHAPES.length * 2 : 0
    const written = orders.filter((order) => order.shape === shape).length
    expect(found.get(ids.get(shape)!), `shape ${shape}`).toBe(written + repeats)
  }
  duckdb.close()
})

it('[R4] [R5] an incompatible schema is refused at the registry, with the path, and the platform does not start on it', async () => {
  const fields = schemaOf(6).fields.map((field) => (field.name === 'cents' ? { ...field, type: 'string' } : field))
  const broken = JSON.stringify({ ...schemaOf(6), fields })
  const refused = await registry('POST', `/subjects/${SUBJECT}/versions`, { schema: broken })
  expect(refused).toMatchObject({
    status: 409,
    body: { error_code: 409, message: expect.stringMatching(/TYPE_MISMATCH.*\/fields\/3\/type/) as unknown as string },
  })
  const without = JSON.stringify({ ...schemaOf(6), fields: [...schemaOf(6).fields, { name: 'must', type: 'int' }] })
  expect(await registry('POST', `/subjects/${SUBJECT}/versions`, { schema: without })).toMatchObject({
    status: 409,
    body: { message: expect.stringMatching(/READER_FIELD_MISSING_DEFAULT_VALUE.*\/fields\/7/) as unknown as string },
  })
  const before = await answered('sales', 'merged')
  await writeFile(join(definitions, 'order.avsc'), without)
  await platform.close()
  await expect(platform.start()).rejects.toMatchObject({ code: 'SCHEMA_INCOMPATIBLE' })
  await writeDefinitions(definitions, 6)
  await platform.start()
  await platform.settle('orders')
  expect(await answered('sales', 'merged')).toEqual(before)
})
