/** The house in order: import law, banned calls, docstrings. Each rule is shown to fail on a planted breach. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { ERRORS } from '#io/errors.ts'
import { referencePages } from '../../infra/docs/generate.ts'
import { bannedBreaches, docBreaches, importBreaches, importCircles, sizeQuestions } from './rules.ts'
import { importsOf, largeFiles, sourceFiles } from './source.ts'

const files = sourceFiles()
const planted = (path: string, text: string) => ({ path, text, imports: importsOf(text) })

test('who may import whom', () => {
  expect(importBreaches(planted('lib/core/x.ts', "import { a } from '../io/clock.ts'"))).toHaveLength(1)
  expect(importBreaches(planted('services/speed/x.ts', "import { a } from '../serve/y.ts'"))).toHaveLength(1)
  expect(importBreaches(planted('lib/metrics/x.ts', "import { a } from '#io/clock.ts'"))).toHaveLength(1)
  expect(importBreaches(planted('services/speed/x.ts', "import { a } from 'kafkajs'"))).toHaveLength(1)
  expect(importBreaches(planted('services/speed/x.ts', "import { a } from '#testkit/clock.ts'"))).toHaveLength(1)
  expect(importBreaches(planted('batch/x.ts', "import { a } from '#core/time.ts'"))).toHaveLength(0)
  expect(files.flatMap(importBreaches)).toEqual([])
})

test('imports go one way: no circle', () => {
  const a = planted('lib/core/a.ts', "import { b } from './b.ts'")
  const b = planted('lib/core/b.ts', "import type { c } from '#core/c.ts'")
  const c = planted('lib/core/c.ts', "import { a } from './a.ts'")
  expect(importCircles([a, b])).toEqual([])
  expect(importCircles([a, b, c])).toEqual(['lib/core/a.ts > lib/core/b.ts > lib/core/c.ts > lib/core/a.ts'])
  expect(importCircles(files)).toEqual([])
})

test('no wall clock, randomness, console or file system outside their places', () => {
  expect(bannedBreaches(planted('lib/core/x.ts', 'const t = Date.now()'))).toHaveLength(1)
  expect(bannedBreaches(planted('services/x/y.ts', 'Math.random()'))).toHaveLength(1)
  expect(files.flatMap(bannedBreaches)).toEqual([])
})

test('every export says what it is', () => {
  expect(docBreaches(planted('lib/core/x.ts', '\nexport const a = 1'))).toHaveLength(1)
  expect(docBreaches(planted('lib/core/x.ts', '/** One. */\nexport const a = 1'))).toHaveLength(0)
  expect(files.flatMap(docBreaches)).toEqual([])
})

test('files stay small (a question, not a failure)', () => {
  for (const question of files.flatMap(sizeQuestions)) process.stdout.write(`${question}\n`)
})

test('no file is big: what a run leaves behind does not belong here', () => {
  expect(largeFiles(200_000)).toContain('package-lock.json')
  expect(largeFiles(1_000_000)).toEqual([])
})

test('generated pages are fresh: node infra/docs/generate.ts', () => {
  for (const [path, text] of Object.entries(referencePages())) expect(readFileSync(path, 'utf8'), path).toBe(text)
})

test('every error code has a hint that is a sentence, and is raised somewhere', () => {
  const code = files
    .filter(({ path }) => path !== 'lib/io/errors.ts')
    .map(({ text }) => text)
    .join('\n')
  for (const [name, { hint }] of Object.entries(ERRORS)) {
    expect(hint, name).toMatch(/^[A-Z].*[.]$/)
    expect(code.includes(`'${name}'`), `${name} is used by nobody: delete it`).toBe(true)
  }
})
