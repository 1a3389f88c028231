/** Goal: whoever watches what a page tells to watch sees it. Method: the names in the pages, looked for in the table of series. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { pageFiles } from './source.ts'

const table = readFileSync('lib/io/telemetry.ts', 'utf8')
const names = new Set([...table.matchAll(/^ {2}(tidemark_\w+): \{/gm)].map(([, name]) => name!))

/** The page of changes names what is gone as well. */
const pages = pageFiles().filter((page) => page !== 'docs/CHANGELOG.md')

test.each(pages)('[O1] %s: every series that it names exists', (page) => {
  const named = [...readFileSync(page, 'utf8').matchAll(/`(tidemark_\w+)`/g)].map(([, name]) => name!)
  expect(names.size).toBeGreaterThan(10)
  expect(named.filter((name) => !names.has(name))).toEqual([])
})
