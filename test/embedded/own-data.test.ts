/**
 * Goal: a stranger who follows docs/own-data.md gets what it says. Method: its files and its request are taken out of the page as they
 * stand there, put to a running platform, and the answers compared with those on the page.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startForTest, type TestPlatform, until } from '#testkit/embedded.ts'

const page = await readFile('docs/own-data.md', 'utf8')
let directory: string
let platform: TestPlatform

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tidemark-own-data-'))
  const files = [...page.matchAll(/^`(my-definitions\/[^`]+)`.*:\n\n```\w+\n([\s\S]*?)```$/gm)]
  expect(files).toHaveLength(3)
  for (const [, path, text] of files) {
    await mkdir(dirname(join(directory, path!)), { recursive: true })
    await writeFile(join(directory, path!), text!)
  }
  platform = await startForTest(join(directory, 'my-definitions'))
})
afterAll(async () => {
  await platform?.stop()
  await rm(directory, { recursive: true, force: true })
})

test('[M5] docs/own-data.md: its events are answered as it says, and its query gives its table', async () => {
  const body = /\/v1\/streams\/orders\/events -d '(\[[\s\S]*?\])'/.exec(page)![1]!
  const answer = await platform.post<{ accepted: number; rejected: { index: number; code: string }[] }>(
    '/v1/streams/orders/events',
    JSON.parse(body),
  )
  expect(page).toContain(`\`{"accepted":${answer.json.accepted},"rejected":[{"index":3,"code":"DECIMAL_SCALE",…}]}\``)
  expect(answer.json.rejected).toMatchObject([{ index: 3, code: 'DECIMAL_SCALE' }])
  let shown = ''
  await until('the page’s row is answered', async () => {
    const { rows } = await platform.query('revenue', { group_by: 'country', numbers: 'string' })
    shown = rows
      .map(({ from, group, values, finality }) =>
        [
          from.slice(0, 16).replace('T', ' '),
          group['country'],
          ...['orders', 'revenue', 'paid', 'paid_ratio'].map((name) => values[name]),
          finality,
        ].join(' '),
      )
      .join('\n')
    return shown !== '' && page.replaceAll(/ +/g, ' ').includes(`\n${shown}\n\`\`\``)
  })
  expect(shown).toBe('2026-01-05 09:00 DE 2 20.00 1 0.5 provisional')
})

test('docs/own-data.md names every key of a stream and of a metric', async () => {
  const keysOf = async (path: string) =>
    [.../^const KEYS = \[([^\]]+)\]/m.exec(await readFile(path, 'utf8'))![1]!.matchAll(/'(\w+)'/g)].map(
      ([, key]) => key,
    )
  const streams = page.slice(page.indexOf('\n## Streams'), page.indexOf('\n## Metrics'))
  const metrics = page.slice(page.indexOf('\n## Metrics'))
  for (const key of await keysOf('lib/metrics/load-stream.ts')) expect(streams).toMatch(new RegExp(`\`${key}\\b`))
  // No drift is tolerated yet, so `tolerance` has nothing to say to a reader.
  for (const key of await keysOf('lib/metrics/load-metric.ts'))
    if (key !== 'tolerance') expect(metrics).toMatch(new RegExp(`\`${key}\\b`))
})
