/**
 * Goal: a metric of mode kappa is published and served from the stream arm's views; the SQL arm is only its check.
 * Method: the running platform over HTTP, two builds with a duplicate, a late event and a carried minute between them; rows
 * against a map; which arm has views, and when, from the manifests.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readViews } from '#io/views.ts'
import { startForTest, type TestPlatform, until } from '#testkit/embedded.ts'

const START = Date.UTC(2024, 2, 1, 10)
const sale = (id: string, minute: number, shop: string, cents: number) => ({
  id,
  sold: START + minute * 60_000,
  shop,
  cents,
})
const FIRST = [
  sale('a', 0, 'x', 5),
  sale('b', 0.5, 'y', 7),
  sale('a', 0, 'x', 5),
  sale('c', 9, 'x', -3),
  sale('d', 2000, 'y', 1),
]
const SECOND = [sale('e', 9.5, 'x', 11), sale('f', 2001, 'x', 2), sale('b', 0.5, 'y', 7)]
const THIRD = [sale('g', 2001, 'x', 40)]

let platform: TestPlatform
beforeAll(async () => {
  platform = await startForTest('test/fixtures/kappa')
})
afterAll(() => platform?.stop())

/** `minute shop` → sales, cents, greatest. */
function expected(events: readonly ReturnType<typeof sale>[]): Record<string, number[]> {
  const cells: Record<string, number[]> = {}
  for (const { sold, shop, cents } of new Map(events.map((event) => [event.id, event])).values()) {
    const [sales, sum, most] = (cells[`${Math.floor((sold - START) / 60_000)} ${shop}`] ??= [
      0,
      0,
      Number.NEGATIVE_INFINITY,
    ])
    cells[`${Math.floor((sold - START) / 60_000)} ${shop}`] = [sales! + 1, sum! + cents, Math.max(most!, cents)]
  }
  return cells
}

async function answered(layer: string): Promise<{ cells: Record<string, unknown[]>; cut: number }> {
  const { rows, envelope } = await platform.query('takings', { group_by: ['shop'], layer })
  const cells = rows.map(({ from, group, values }) => [
    `${(Date.parse(from) - START) / 60_000} ${group['shop']}`,
    [values['sales'], values['cents'], values['cents_max']],
  ])
  return { cells: Object.fromEntries(cells), cut: envelope.cut }
}

test('a kappa metric is built, published and served from its stream arm; drift builds the SQL arm beside it and finds no difference', async () => {
  const views = (arm: 'sql' | 'stream') => readViews(platform.parts.lake, 'takings', arm)
  const sent: ReturnType<typeof sale>[] = []
  for (const events of [FIRST, SECOND]) {
    await platform.send('sales', events)
    sent.push(...events)
    const { result } = await platform.build('takings')
    expect(result).toMatchObject({ views: [{ metric: 'takings', arm: 'stream' }] })
    const latest = (await views('stream')).at(-1)!
    expect(await answered('batch')).toEqual({ cells: expected(sent), cut: latest.cut })
    const report = await platform.driftAfterBuild('takings')
    expect(report).toMatchObject({ cut: latest.cut, cells_different: 0, unexplained: 0 })
    expect(report.cells_compared).toBeGreaterThan(0)
    expect((await views('sql')).at(-1)).toMatchObject({ arm: 'sql', cut: latest.cut, rows: latest.rows })
  }
  const [first] = await views('stream')
  const back = await platform.post<{ arm: string; cut: number }>('/v1/views/takings/rollback')
  expect(back.json).toMatchObject({ arm: 'stream', cut: first!.cut })
  const { result } = await platform.job('drift', { metric: 'takings' })
  expect(result).toMatchObject({ reports: [{ cut: first!.cut, cells_different: 0 }] })
  await platform.send('sales', THIRD)
  await platform.settle('sales')
  expect((await answered('merged')).cells).toEqual(expected([...sent, ...THIRD]))
  await platform.build('takings')
  expect((await answered('batch')).cells).toEqual(expected([...sent, ...THIRD]))
  expect(await platform.drift('takings')).toMatchObject({ cells_different: 0 })
})

test('[S5][O1] the series count each event once, and the duplicates apart', async () => {
  const all = [...FIRST, ...SECOND, ...THIRD]
  const distinct = new Set(all.map(({ id }) => id)).size
  const series = (name: string) => platform.series(name, { stream: 'sales' })
  await until('the last epochs are counted', async () => {
    const [events, duplicates] = [
      await series('tidemark_events_total'),
      await series('tidemark_duplicate_events_total'),
    ]
    return events + duplicates >= all.length
  })
  expect(await series('tidemark_events_total')).toBe(distinct)
  expect(await series('tidemark_duplicate_events_total')).toBe(all.length - distinct)
})
