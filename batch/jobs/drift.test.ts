/**
 * Goal: the stream arm equals the SQL arm on healthy data, and drift tells exactly what differs (law 12).
 * Method: the sales with its partials sealed by plain code; then one arm's files are changed by one cell, one row
 * less, one row twice, and the report must name those cells and no other.
 */
import { afterEach, expect, test } from 'vitest'
import { systemClock } from '#io/clock.ts'
import { openDuckDb, sqlText } from '#io/duckdb.ts'
import type { JobContext } from '#io/ports.ts'
import { latestView, type ViewDraft } from '#io/views.ts'
import type { DriftReport } from '#schemas/drift.ts'
import type { PartialTags } from '#schemas/partials.ts'
import { createMemoryLake, type MemoryLake } from '#testkit/lake-memory.ts'
import { createMemoryLog } from '#testkit/log-memory.ts'
import { tableOf } from '#testkit/partials.ts'
import { random, SEED } from '#testkit/runs.ts'
import {
  archiveSales,
  cutOf,
  expectedRows,
  loadSales,
  publishSealed,
  randomSales,
  type SaleRecord,
  sealSales,
  viewRows,
} from '#testkit/sales.ts'
import type { BatchDeps } from '../deps.ts'
import { buildViews } from './build-view.ts'
import { compareViews, runDrift } from './drift.ts'
import { streamViewAt } from './stream-view.ts'

process.stdout.write(`drift: repeat with SEED=${SEED}\n`)

const job: JobContext = {
  id: 'test',
  signal: new AbortController().signal,
  progress: async () => undefined,
  log: async () => undefined,
}
const definitions = await loadSales()
const metric = definitions.metrics[0]!
const lakes: MemoryLake[] = []
afterEach(() => {
  for (const lake of lakes.splice(0)) lake.dispose()
})

async function setUp(partitions: SaleRecord[][]) {
  const lake = createMemoryLake()
  lakes.push(lake)
  const deps: BatchDeps = {
    log: createMemoryLog({ clock: systemClock }),
    lake,
    clock: systemClock,
    definitions,
    putBarrier: () => Promise.reject(new Error('no barrier in this test')),
    openDuckDb: () => openDuckDb({ threads: 1, memoryMb: 256, temporaryDirectory: null }),
    waitMs: 0,
  }
  await archiveSales(lake, partitions, 50)
  const build = async (cut: number) =>
    (await buildViews(deps, metric.stream, [metric], { cut, days: 'touched' }, job))[0]!.view
  return { lake, deps, build }
}

test('both arms hold the same rows, built in one step or in several, and drift is zero [law 12]', async () => {
  const partitions = randomSales(random(SEED), 25)
  const { lake, deps, build } = await setUp(partitions)
  await sealSales(deps.log, metric, partitions)
  for (const cut of [9, 10, 25]) {
    await build(cut)
    const report = await runDrift(deps, metric, job)
    const marks = await deps.log.loadPositions(`stream-view.takings.${metric.generation}`, 'sealed.takings')
    expect([...marks.values()]).toEqual([cut, cut])
    expect(report).toMatchObject({
      report: String(cut),
      metric: 'takings',
      cut,
      offsets: cutOf(partitions, cut),
      cells_different: 0,
      unexplained: 0,
      causes: [],
      differences: [],
      revision: null,
    })
    const expected = expectedRows(partitions, cutOf(partitions, cut))
    expect(report.cells_compared).toBe(expected.size * 7)
    const stream = (await latestView(lake, 'takings', 'stream'))!
    expect(
      await viewRows(
        lake,
        stream.files.map((file) => file.path),
      ),
    ).toEqual(expected)
  }
  // A mark that leads past what is needed costs a second reading and nothing else.
  const marked = await setUp(partitions)
  await sealSales(marked.deps.log, metric, partitions)
  const ends = await marked.deps.log.endOffsets('sealed.takings')
  await marked.deps.log.storePositions(
    `stream-view.takings.${metric.generation}`,
    'sealed.takings',
    new Map(ends.entries()),
  )
  await marked.build(25)
  expect(await runDrift(marked.deps, metric, job)).toMatchObject({ cells_different: 0 })
  // Published twice by a second speed layer: nothing changes. A repeated run is a report of its own.
  await sealSales(deps.log, metric, partitions)
  expect(await runDrift(deps, metric, job)).toMatchObject({ report: '25-2', cells_different: 0 })
  expect(JSON.parse(new TextDecoder().decode((await lake.read('drift/takings/25-2.json'))!))).toMatchObject({ cut: 25 })
})

test('of several publications of one epoch only the one with the highest offset counts, part by part', async () => {
  const start = Date.UTC(2026, 0, 5)
  const sale = (id: string): SaleRecord => ({ id, time: start, shop: 'a', cents: 1 })
  const partitions: SaleRecord[][] = [[sale('a'), sale('b'), { barrier: 1 }], [{ barrier: 1 }]]
  const { lake, deps } = await setUp(partitions)
  const tags = (next: number, part: number, parts: number): PartialTags => ({
    kind: 'sealed',
    metric: metric.name,
    generation: metric.generation,
    partition: 0,
    epoch: 0,
    first: 0,
    base: 0,
    next,
    part,
    parts,
    watermark: null,
    events: 0,
    duplicates: 0,
    dead: 0,
    quarantined: 0,
    late: null,
    opened_ms: 0,
    sealed_ms: 1,
    sealed_by: 1,
    arrival_ms: 0,
    live_next: null,
    refused: null,
  })
  const table = (from: number, n: number) =>
    tableOf(metric.layout, [{ from, group: ['a'], cells: [n, 0, n, 0, n, n, 0, n, 1, 0, 1, 0, 0] }])
  await sealSales(deps.log, metric, partitions, ({ partition }) => partition === 0)
  const at = { cut: 1, offsets: [3, 1], watermark: null }
  await publishSealed(deps.log, metric, tags(1, 0, 1), table(start, 9))
  // A version that cut tables otherwise died in the middle of it.
  for (const part of [0, 1]) await publishSealed(deps.log, metric, tags(3, part, 3), table(start, 8))
  await publishSealed(deps.log, metric, tags(3, 0, 2), table(start, 2))
  await publishSealed(deps.log, metric, tags(2, 0, 1), table(start, 7))
  await expect(streamViewAt(deps, metric, at, job)).rejects.toMatchObject({
    code: 'SPEED_BEHIND',
    context: { partition: 0, from: 0, until: 3 },
  })
  await publishSealed(deps.log, metric, tags(3, 1, 2), table(start + 3_600_000, 5))
  await publishSealed(deps.log, metric, tags(3, 1, 2), table(start + 3_600_000, 5))
  // And one that dies after it, in the middle of the same again.
  await publishSealed(deps.log, metric, tags(3, 0, 3), table(start, 1))
  const view = await streamViewAt(deps, metric, at, job)
  const rows = await viewRows(
    lake,
    view.files.map((file) => file.path),
  )
  expect([...rows.values()].map((row) => row.split(' ')[0])).toEqual(['2', '5'])
})

test('a missing sealed epoch is refused by partition and range; a speed layer on its way is waited for', async () => {
  const partitions = randomSales(random(SEED + 1), 8)
  const hole = await setUp(partitions)
  await sealSales(hole.deps.log, metric, partitions, (tags) => tags.partition === 1 && tags.epoch === 3)
  const [from, until] = [cutOf(partitions, 3)[1]!, cutOf(partitions, 4)[1]!]
  const at = { cut: 8, offsets: cutOf(partitions, 8), watermark: null }
  await expect(streamViewAt(hole.deps, metric, at, job)).rejects.toMatchObject({
    code: 'SEALED_MISSING',
    context: { partition: 1, from, until },
  })
  const behind = await setUp(partitions)
  await sealSales(behind.deps.log, metric, partitions, (tags) => tags.partition === 1 && tags.epoch >= 7)
  await expect(streamViewAt(behind.deps, metric, at, job)).rejects.toMatchObject({
    code: 'SPEED_BEHIND',
    retry: 'later',
  })
  await sealSales(behind.deps.log, metric, partitions)
  expect(await streamViewAt(behind.deps, metric, at, job)).toMatchObject({ cut: 8, arm: 'stream' })
})

/** A copy of the view whose first file holds `select` over the old one (`t`). */
async function changed(lake: MemoryLake, view: ViewDraft, select: string): Promise<ViewDraft> {
  const db = await openDuckDb({ threads: 1, memoryMb: 128, temporaryDirectory: null })
  const temporary = await lake.temporaryPath()
  const file = view.files[0]!
  await db.run(`COPY (WITH t AS (SELECT * FROM read_parquet(${sqlText(`${lake.root}/${file.path}`)})), one AS (SELECT * FROM t ORDER BY window_from, d_shop LIMIT 1)
    ${select}) TO ${sqlText(temporary)} (FORMAT parquet)`)
  db.close()
  const path = `views/changed/${file.from_day}.parquet`
  lake.damage(path, null)
  const published = await lake.publishFile(temporary, path)
  return { ...view, files: [{ ...file, ...published, path }, ...view.files.slice(1)] }
}

const KEY = "(window_from, coalesce(d_shop, '')) = (SELECT (window_from, coalesce(d_shop, '')) FROM one)"
const CASES: [name: string, select: string, cells: string[]][] = [
  ['one sum altered by one', `SELECT * REPLACE (CASE WHEN ${KEY} THEN s_s + 1 ELSE s_s END AS s_s) FROM t`, ['s']],
  [
    'one late counter altered',
    `SELECT * REPLACE (CASE WHEN ${KEY} THEN late + 1 ELSE late END AS late) FROM t`,
    ['late'],
  ],
  ['one minimum gone', `SELECT * REPLACE (CASE WHEN ${KEY} THEN NULL ELSE lo_v END AS lo_v) FROM t`, ['lo']],
  ['one row removed', `SELECT * FROM t WHERE NOT ${KEY}`, ['n', 'big', 's', 'a', 'lo', 'hi', 'late']],
  ['one row doubled', 'SELECT * FROM t UNION ALL SELECT * FROM one', ['n', 'big', 's', 'a', 'lo', 'hi', 'late']],
  [
    'one row under another key',
    `SELECT * REPLACE (CASE WHEN ${KEY} THEN 'nobody' ELSE d_shop END AS d_shop) FROM t`,
    ['n', 'big', 's', 'a', 'lo', 'hi', 'late', 'n', 'big', 's', 'a', 'lo', 'hi', 'late'],
  ],
]

test('remove, double or change one cell in either arm and exactly that is reported [law 12]', async () => {
  const start = Date.UTC(2026, 0, 5)
  const sale = (i: number, shop: string | null): SaleRecord => ({
    id: `i${i}`,
    time: start + i * 600_000,
    shop,
    cents: 100 + i,
  })
  const partitions: SaleRecord[][] = [
    [sale(1, 'a'), sale(2, 'b'), sale(3, null), sale(9, 'a'), sale(200, 'a'), { barrier: 1 }],
    [sale(4, 'a'), { barrier: 1 }],
  ]
  const { lake, deps, build } = await setUp(partitions)
  await sealSales(deps.log, metric, partitions)
  const sql = await build(1)
  const stream = await streamViewAt(deps, metric, sql, job)
  expect(await compareViews(deps, metric, { sql, stream }, job)).toEqual({ cells: 35, different: 0, differences: [] })
  for (const [name, select, cells] of CASES) {
    for (const arm of ['sql', 'stream'] as const) {
      const arms = { sql, stream, [arm]: await changed(lake, arm === 'sql' ? sql : stream, select) }
      const found = await compareViews(deps, metric, arms, job)
      expect(found.different, `${name} in ${arm}`).toBe(cells.length)
      expect(found.differences.map((each) => each.measure).sort(), name).toEqual([...cells].sort())
      expect(found.differences.every((each) => each.windowFrom === start)).toBe(true)
    }
  }
})

test('the report shows exact values and null for an arm without the row', async () => {
  const partitions: SaleRecord[][] = [
    [{ id: 'a', time: Date.UTC(2026, 0, 5), shop: 'a', cents: 5 }, { barrier: 1 }],
    [{ barrier: 1 }],
  ]
  const { deps, build } = await setUp(partitions)
  await build(1)
  await sealSales(deps.log, metric, [
    [{ id: 'a', time: Date.UTC(2026, 0, 5), shop: null, cents: 7 }, { barrier: 1 }],
    [{ barrier: 1 }],
  ])
  const report: DriftReport = await runDrift(deps, metric, job)
  expect(report).toMatchObject({ cells_compared: 14, cells_different: 14, unexplained: 14 })
  expect(report.differences.filter(({ measure }) => measure === 's')).toEqual([
    { window_from: '2026-01-05T00:00:00.000Z', group: { shop: null }, measure: 's', sql: null, stream: { n: 1, s: 7 } },
    { window_from: '2026-01-05T00:00:00.000Z', group: { shop: 'a' }, measure: 's', sql: { n: 1, s: 5 }, stream: null },
  ])
})

test('drift without a view is refused', async () => {
  const { deps } = await setUp([[{ barrier: 1 }], [{ barrier: 1 }]])
  await expect(runDrift(deps, metric, job)).rejects.toMatchObject({ code: 'VIEW_UNKNOWN' })
})
