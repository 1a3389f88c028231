/**
 * Goal: the view is exactly the archive below the cut, whatever way it was built and wherever a build died.
 * Method: seeded sales with duplicates, nulls, late and quarantined events, archived by plain code; rows against an
 * oracle in maps; bytes against bytes; a fault thrown at every single call on the lake.
 */
import { afterEach, expect, test } from 'vitest'
import { systemClock } from '#io/clock.ts'
import { openDuckDb } from '#io/duckdb.ts'
import type { JobContext } from '#io/ports.ts'
import { latestView, publishView, readViews, rollbackView } from '#io/views.ts'
import type { Definitions } from '#metrics/definition.ts'
import type { ViewEntry } from '#schemas/view.ts'
import { createMemoryLake, type MemoryLake } from '#testkit/lake-memory.ts'
import { createMemoryLog } from '#testkit/log-memory.ts'
import { random, SEED } from '#testkit/runs.ts'
import { archiveSales, cutOf, expectedRows, loadSales, randomSales, type SaleRecord, viewRows } from '#testkit/sales.ts'
import type { BatchDeps } from '../deps.ts'
import { DAY_MS } from '../view-blocks.ts'
import { buildViews } from './build-view.ts'

process.stdout.write(`build-view: repeat with SEED=${SEED}\n`)

const job: JobContext = {
  id: 'test',
  signal: new AbortController().signal,
  progress: async () => undefined,
  log: async () => undefined,
}
const definitions: Definitions = await loadSales()
const lakes: MemoryLake[] = []
afterEach(() => {
  for (const lake of lakes.splice(0)) lake.dispose()
})

function setUp(loaded: Definitions = definitions, onLake?: MemoryLake, limits?: BatchDeps['limits']) {
  const lake = onLake ?? createMemoryLake()
  lakes.push(lake)
  const deps: BatchDeps = {
    log: createMemoryLog({ clock: systemClock }),
    lake,
    clock: systemClock,
    definitions: loaded,
    putBarrier: () => Promise.reject(new Error('no barrier in this test')),
    openDuckDb: () => openDuckDb({ threads: 1, memoryMb: 256, temporaryDirectory: null }),
    waitMs: 0,
    ...(limits === undefined ? {} : { limits }),
  }
  const [metric] = loaded.metrics
  const build = async (cut: number, days: 'touched' | 'all' = 'touched') =>
    (await buildViews(deps, metric!.stream, [metric!], { cut, days }, job))[0]!
  return { lake, deps, build }
}

const rowsOf = (lake: MemoryLake, view: ViewEntry) =>
  viewRows(
    lake,
    view.files.map((file) => file.path),
  )
const hashesOf = (view: ViewEntry) =>
  view.files.map(({ from_day, until_day, sha256, rows }) => ({ from_day, until_day, sha256, rows }))

test('[B2] a view holds exactly the events below the cut, duplicates, quarantined and later ones left out', async () => {
  const { lake, build } = setUp()
  const partitions = randomSales(random(SEED), 30)
  await archiveSales(lake, partitions)
  for (const [cut, endsAtBarriers] of [
    [30, true],
    [11, true],
    [17, false],
  ] as const) {
    const fresh = setUp()
    await archiveSales(fresh.lake, partitions, 20, endsAtBarriers)
    const { view } = await fresh.build(cut)
    expect(view).toMatchObject({
      metric: 'takings',
      arm: 'sql',
      cut,
      offsets: cutOf(partitions, cut),
      rollback_of: null,
      sequence: 1,
    })
    expect(await rowsOf(fresh.lake, view)).toEqual(expectedRows(partitions, cutOf(partitions, cut)))
  }
  await expect(build(31)).rejects.toMatchObject({ code: 'ARCHIVE_BEHIND' })
})

test('[B2] an incremental run equals a full one, and a repeated one has the same bytes', async () => {
  const { lake, build } = setUp()
  const partitions = randomSales(random(SEED + 1), 40)
  for (const cut of [5, 18, 19, 40]) {
    await archiveSales(
      lake,
      partitions.map((records, at) => records.slice(0, cutOf(partitions, cut)[at])),
    )
    const { view } = await build(cut)
    const full = setUp()
    await archiveSales(full.lake, partitions, 1_000)
    const whole = await full.build(cut)
    expect(hashesOf(view)).toEqual(hashesOf(whole.view))
    expect(await rowsOf(lake, view)).toEqual(expectedRows(partitions, cutOf(partitions, cut)))
  }
  const before = (await latestView(lake, 'takings', 'sql'))!
  const again = await build(40)
  expect(again).toMatchObject({ view: before, days: 0 })
  expect(hashesOf((await build(40, 'all')).view)).toEqual(hashesOf(before))
})

test('[B2] with many small files and many queries too: incremental, full and repeated runs give the same files', async () => {
  let carried = 0
  for (let run = 0; run < 2; run++) {
    const draw = random(SEED + 10 + run)
    const limits = { fileRows: 4 + Math.floor(draw() * 40), chunkEvents: 1 + Math.floor(draw() * 60) }
    const { lake, build } = setUp(definitions, undefined, limits)
    const partitions = randomSales(draw, 26, undefined, 30 * DAY_MS)
    for (const cut of [7, 25, 26]) {
      await archiveSales(
        lake,
        partitions.map((records, at) => records.slice(0, cutOf(partitions, cut)[at])),
        50,
      )
      const { view } = await build(cut)
      const full = setUp(definitions, undefined, cut === 25 ? { ...limits, chunkEvents: 1_000_000 } : limits)
      await archiveSales(full.lake, partitions, 1_000)
      expect(hashesOf(view), JSON.stringify(limits)).toEqual(hashesOf((await full.build(cut)).view))
      expect(await rowsOf(lake, view)).toEqual(expectedRows(partitions, cutOf(partitions, cut)))
      carried += view.files.filter((file) => !file.path.includes(`/${cut}/`)).length
    }
    const last = (await latestView(lake, 'takings', 'sql'))!
    expect(last.files.length).toBeGreaterThan(1)
    expect(hashesOf((await build(26, 'all')).view)).toEqual(hashesOf(last))
  }
  expect(carried).toBeGreaterThan(0)
})

test('files whose days no new event touches are carried over by reference', async () => {
  const { lake, build } = setUp(definitions, undefined, { fileRows: 1, chunkEvents: 100 })
  const day = (date: number, id: string): SaleRecord => ({
    id,
    time: Date.UTC(2026, 0, date, 12),
    shop: 'a',
    cents: 100,
  })
  const first: SaleRecord[][] = [[day(1, 'a'), day(2, 'b'), { barrier: 1 }], [{ barrier: 1 }]]
  await archiveSales(lake, first)
  const one = await build(1)
  await archiveSales(lake, [
    [...first[0]!, day(2, 'c'), day(4, 'd'), { barrier: 2 }],
    [...first[1]!, { barrier: 2 }],
  ])
  const two = await build(2)
  expect(one.days).toBe(2)
  expect(two.days).toBe(2)
  expect(two.view.files.map((file) => file.path.split('/').slice(-2).join('/'))).toEqual([
    '1/2026-01-01_2026-01-02.parquet',
    '2/2026-01-02_2026-01-03.parquet',
    '2/2026-01-03_2026-01-11.parquet',
  ])
})

test('a duplicate is judged by its own partition and horizon, also when the first one lies in another file and day', async () => {
  const { lake, build } = setUp()
  const sale = (id: string, date: number): SaleRecord => ({ id, time: Date.UTC(2026, 0, date), shop: 'a', cents: 1 })
  const b = (barrier: number): SaleRecord => ({ barrier })
  const partitions = [
    [sale('x', 1), b(1), sale('x', 2), b(2), sale('y', 2), b(3), b(4), b(5), sale('x', 5), sale('y', 5), b(6)],
    [sale('x', 1), b(1), b(2), b(3), b(4), b(5), b(6)],
  ]
  await archiveSales(
    lake,
    partitions.map((records, at) => records.slice(0, cutOf(partitions, 2)[at])),
    1,
  )
  await build(2)
  await archiveSales(lake, partitions, 1)
  const { view } = await build(6)
  // x of epoch 1 repeats x of epoch 0; x of epoch 5 is 4 epochs behind the last x; y of epoch 5 is 3 behind: both count.
  expect(
    [...(await rowsOf(lake, view)).entries()].map(([key, row]) => [
      new Date(Number(key.split('|')[0])).getUTCDate(),
      row.split(' ')[0],
    ]),
  ).toEqual([
    [1, '2'],
    [2, '1'],
    [5, '2'],
  ])
})

test('files of a build that failed go once a later cut is published; what any entry names stays', async () => {
  const { lake, build } = setUp(definitions, undefined, { fileRows: 4, chunkEvents: 1_000 })
  const partitions = randomSales(random(SEED + 6), 12, undefined, 20 * DAY_MS)
  await archiveSales(lake, partitions)
  const old = (await build(4)).view
  const filesOf = (cut: number) => [...lake.files.keys()].filter((path) => path.includes(`/${old.generation}/${cut}/`))
  lake.onCall = ({ operation }) => (operation === 'create' ? { when: 'before', error: new Error('killed') } : null)
  for (const cut of [12, 8]) await expect(build(cut)).rejects.toThrow('killed')
  lake.onCall = null
  expect(lake.fired).toBe(2)
  const ahead = filesOf(12)
  expect([ahead.length, filesOf(8).length].every((count) => count > 0)).toBe(true)
  const fresh = (await build(10)).view
  expect(filesOf(8)).toEqual([])
  // Cut 12 may still come.
  expect(filesOf(12)).toEqual(ahead)
  const carried = fresh.files.filter(({ path }) => path.includes('/4/'))
  expect(carried.length).toBeGreaterThan(0)
  for (const view of [old, fresh]) await rowsOf(lake, view)
})

test('[law 7] after a rollback a cut that was overtaken and never published is not published either', async () => {
  const { lake, build } = setUp()
  const partitions = randomSales(random(SEED + 7), 9)
  await archiveSales(lake, partitions)
  await build(3)
  await build(9)
  await rollbackView(lake, { metric: 'takings', arm: 'sql', to: null, job: null, publishedMs: 1 })
  const late = await build(6)
  expect(late.view).toMatchObject({ sequence: 3, cut: 3 })
  expect(late.draft.cut).toBe(6)
  expect((await build(9)).view).toMatchObject({ sequence: 4, cut: 9 })
  const left = () => [...lake.files.keys()].filter((path) => path.includes(`/sql/${late.view.generation}/6/`))
  expect(left()).toEqual([])
  // Where the other arm has a view, drift reads this one's, published or not.
  await publishView(lake, { ...late.draft, arm: 'stream' })
  const { draft } = await build(6)
  expect(left()).toEqual(draft.files.map(({ path }) => path))
  expect(await rowsOf(lake, { ...late.view, ...draft })).toEqual(expectedRows(partitions, cutOf(partitions, 6)))
})

const DURABLE = new Set(['temporary', 'publish', 'create'])

/** A lake with the files of another one. */
function copyOf(lake: MemoryLake): MemoryLake {
  const copy = createMemoryLake()
  for (const [path, bytes] of lake.files) copy.damage(path, bytes)
  return copy
}

test('[B3] a build that dies before or after any durable step leaves the old view, and the next one gives the same bytes', async () => {
  const partitions = randomSales(random(SEED + 2), 8)
  const start = setUp()
  await archiveSales(
    start.lake,
    partitions.map((records, at) => records.slice(0, cutOf(partitions, 4)[at])),
    50,
  )
  const old = (await start.build(4)).view
  await archiveSales(start.lake, partitions, 50)
  const reference = setUp(definitions, copyOf(start.lake))
  const expected = hashesOf((await reference.build(8)).view)
  let fired = 0
  for (let step = 0; ; step++) {
    for (const when of ['before', 'after'] as const) {
      const { lake, build } = setUp(definitions, copyOf(start.lake))
      let calls = 0
      lake.onCall = ({ operation }) =>
        DURABLE.has(operation) && calls++ === step ? { when, error: new Error('killed') } : null
      const outcome = await build(8).then(
        () => 'done',
        (error: Error) => error.message,
      )
      lake.onCall = null
      if (outcome === 'done') {
        expect(lake.fired).toBe(0)
        expect(fired).toBeGreaterThanOrEqual(6)
        return
      }
      expect(outcome).toBe('killed')
      fired += lake.fired
      const seen = (await latestView(lake, 'takings', 'sql'))!
      if (seen.sequence === 1) expect(seen).toEqual(old)
      else expect(hashesOf(seen)).toEqual(expected)
      expect(hashesOf((await build(8)).view)).toEqual(expected)
      lakes.splice(lakes.indexOf(lake), 1)
      lake.dispose()
    }
  }
})

test('[L2] a damaged archive file is refused before a number is made of it, also by a process that has read it whole', async () => {
  for (const hasRead of [false, true]) {
    const { lake, build } = setUp()
    const partitions = randomSales(random(SEED + 3), 6)
    await archiveSales(lake, partitions)
    const path = [...lake.files.keys()].find((name) => name.endsWith('.parquet'))!
    if (hasRead) await build(5)
    const bytes = lake.files.get(path)!.slice()
    bytes[40]! ^= 1
    lake.damage(path, bytes)
    await expect(build(6)).rejects.toMatchObject({ code: 'LAKE_DAMAGED', context: { path } })
    lake.damage(path, null)
    await expect(build(6)).rejects.toMatchObject({ code: 'LAKE_DAMAGED', context: { path } })
    expect(await readViews(lake, 'takings', 'sql')).toHaveLength(hasRead ? 1 : 0)
  }
})

test('another definition is another generation and is built whole', async () => {
  const { lake, build } = setUp()
  const partitions = randomSales(random(SEED + 4), 8)
  await archiveSales(lake, partitions)
  const old = await build(8)
  const changed = setUp(await loadSales('count(*) filter (where amount > 20)'), lake)
  const fresh = await changed.build(8)
  expect(fresh.view.generation).not.toBe(old.view.generation)
  expect(fresh.days).toBe(old.days)
})

test('[B3] rollback points back to an older view by a new entry; old views stay readable', async () => {
  const { lake, build } = setUp()
  const partitions = randomSales(random(SEED + 5), 9)
  await archiveSales(lake, partitions)
  await build(3)
  await build(6)
  await build(9)
  const back = await rollbackView(lake, { metric: 'takings', arm: 'sql', to: null, job: null, publishedMs: 1 })
  expect(back).toMatchObject({ sequence: 4, cut: 6, rollback_of: 2 })
  expect(
    await rollbackView(lake, { metric: 'takings', arm: 'sql', to: null, job: null, publishedMs: 2 }),
  ).toMatchObject({ sequence: 5, cut: 3, rollback_of: 1 })
  await expect(
    rollbackView(lake, { metric: 'takings', arm: 'sql', to: null, job: null, publishedMs: 3 }),
  ).rejects.toMatchObject({ code: 'VIEW_UNKNOWN' })
  const views = await readViews(lake, 'takings', 'sql')
  expect(views.map((view) => view.cut)).toEqual([3, 6, 9, 6, 3])
  expect(await rowsOf(lake, views[2]!)).toEqual(expectedRows(partitions, cutOf(partitions, 9)))
  expect((await build(9)).view).toMatchObject({ sequence: 6, cut: 9 })
})
