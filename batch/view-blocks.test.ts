/**
 * Goal: which days share a file depends on the rows alone, whatever the order in which they came and were written.
 * Method: small roots by few days and many rows; fast-check draws the history of a view as steps of added rows.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { runs } from '#testkit/runs.ts'
import { type Block, blocksOf, commonRanges, DAY_MS, dayName, dayStart, ROOT_DAYS, rangeOf } from './view-blocks.ts'

const ALL = Number.POSITIVE_INFINITY
const daysOf = (rows: ReadonlyMap<number, number>) =>
  [...rows].sort(([a], [b]) => a - b).map(([day, count]) => ({ from: day * DAY_MS, rows: count }))
const named = (blocks: readonly Block[]) =>
  blocks.map(({ from, until, rows }) => `${from / DAY_MS}..${until / DAY_MS}: ${rows}`)

test('a block is halved until its rows fit or it is a day', () => {
  const rows = new Map([3, 0, 2, 9, 1].map((count, day) => [day, count] as const).filter(([, count]) => count > 0))
  expect(named(blocksOf(daysOf(rows), [], { rowsMax: 10, until: ALL }))).toEqual([
    '0..2: 3',
    '2..3: 2',
    '3..4: 9',
    '4..8: 1',
  ])
  expect(named(blocksOf(daysOf(new Map([[-1, 50]])), [], { rowsMax: 10, until: ALL }))).toEqual(['-1..0: 50'])
  expect(named(blocksOf(daysOf(new Map([[-1, 5]])), [], { rowsMax: 10, until: ALL }))).toEqual([`${-ROOT_DAYS}..0: 5`])
})

test('a block waits while days of it may get more rows', () => {
  const days = daysOf(
    new Map([
      [0, 6],
      [1, 6],
      [2, 1],
    ]),
  )
  expect(named(blocksOf(days, [], { rowsMax: 10, until: 3 * DAY_MS }))).toEqual(['0..1: 6', '1..2: 6'])
  expect(named(blocksOf(days, [], { rowsMax: 20, until: 3 * DAY_MS }))).toEqual([])
})

const steps = fc.array(
  fc.array(fc.tuple(fc.integer({ min: -20, max: 40 }), fc.integer({ min: 1, max: 12 })), {
    minLength: 1,
    maxLength: 5,
  }),
  { minLength: 1, maxLength: 6 },
)

test('[B2] rows added in steps, touched files rewritten, others carried over: the files of one step', () => {
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 40 }), (history, rowsMax) => {
      const rows = new Map<number, number>()
      let files: Block[] = []
      for (const step of history) {
        const touched = new Set(step.map(([day]) => day * DAY_MS))
        for (const [day, count] of step) rows.set(day, (rows.get(day) ?? 0) + count)
        const isTouched = (file: Block) => [...touched].some((day) => day >= file.from && day < file.until)
        const kept = files.filter((file) => !isTouched(file))
        const days = daysOf(rows).filter(({ from }) => !kept.some((file) => from >= file.from && from < file.until))
        files = [...kept, ...blocksOf(days, kept, { rowsMax, until: ALL })].sort((a, b) => a.from - b.from)
        expect(named(files)).toEqual(named(blocksOf(daysOf(rows), [], { rowsMax, until: ALL })))
      }
      for (const file of files) {
        expect(file.rows <= rowsMax || file.until - file.from === DAY_MS).toBe(true)
        expect(rangeOf({ from_day: dayName(file.from), until_day: dayName(file.until) })).toMatchObject({
          from: file.from,
          until: file.until,
        })
      }
      expect(files.reduce((sum, file) => sum + file.rows, 0)).toBe([...rows.values()].reduce((a, b) => a + b, 0))
    }),
    runs(100, 'blocks in steps'),
  )
})

test('days given piece by piece, what is complete written at once: the files of one piece', () => {
  fc.assert(
    fc.property(
      steps,
      fc.integer({ min: 1, max: 40 }),
      fc.array(fc.integer({ min: -20, max: 40 })),
      (history, rowsMax, ends) => {
        const rows = new Map<number, number>()
        for (const [day, count] of history.flat()) rows.set(day, (rows.get(day) ?? 0) + count)
        const written: Block[] = []
        for (const until of [...ends.sort((a, b) => a - b).map((day) => day * DAY_MS), ALL]) {
          const there = daysOf(rows).filter(
            ({ from }) => from < until && !written.some((file) => from >= file.from && from < file.until),
          )
          written.push(...blocksOf(there, written, { rowsMax, until }))
        }
        const sorted = written.sort((a, b) => a.from - b.from)
        expect(named(sorted)).toEqual(named(blocksOf(daysOf(rows), [], { rowsMax, until: ALL })))
      },
    ),
    runs(100, 'blocks piece by piece'),
  )
})

test('names of days are read back, the bounds of the first and the last root included', () => {
  for (const instant of [-62_135_596_800_000, 253_402_300_800_000]) {
    const root = Math.floor(instant / DAY_MS / ROOT_DAYS) * ROOT_DAYS * DAY_MS
    for (const bound of [root, root + ROOT_DAYS * DAY_MS]) expect(dayStart(dayName(bound))).toBe(bound)
  }
  expect(dayName(Date.UTC(2026, 0, 5))).toBe('2026-01-05')
})

test('files of two arms that overlap are compared together', () => {
  const range = (from: number, until: number) => ({ from, until })
  expect(commonRanges([range(0, 4), range(8, 9), range(2, 3), range(4, 8), range(9, 10), range(8, 10)])).toEqual([
    range(0, 4),
    range(4, 8),
    range(8, 10),
  ])
})
