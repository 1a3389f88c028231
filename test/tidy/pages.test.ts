/**
 * Goal: what the pages point at is there: files, headings, scripts, and a licence in NOTICE for every package that runs.
 * Method: every Markdown file of the tree, read as text.
 */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { pageFiles } from './source.ts'

const pages = pageFiles()
const read = (path: string): string => readFileSync(path, 'utf8')

/** The anchor that a heading gets on a forge. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replaceAll(' ', '-')

const headingsOf = (path: string): string[] =>
  [...read(path).matchAll(/^#+ (.+)$/gm)].map(([, text]) => anchorOf(text!))

test.each(pages)('%s: every link leads somewhere', (page) => {
  const prose = read(page).replaceAll(/```[\s\S]*?```/g, '')
  const dead = [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, link]) => link!)
    .filter((link) => !/^https?:/.test(link))
    .filter((link) => {
      const [path = '', anchor] = link.split('#')
      const target = path === '' ? page : join(dirname(page), path)
      return !existsSync(target) || (anchor !== undefined && !headingsOf(target).includes(anchor))
    })
  expect(dead).toEqual([])
})

test.each(pages)('%s: every npm script that it names exists', (page) => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
  const named = [...read(page).matchAll(/npm (?:run ([\w:]+)|(start|test)\b)/g)].map(([, run, short]) => run ?? short!)
  expect(named.filter((name) => !(name in scripts))).toEqual([])
})

test('NOTICE names the licence of every package that runs', () => {
  const { packages } = JSON.parse(read('package-lock.json')) as {
    packages: Record<string, { dev?: boolean; license?: string }>
  }
  const notice = read('NOTICE').replaceAll(/\s+/g, ' ')
  const missing = Object.entries(packages)
    .filter(([path, { dev, license }]) => path !== '' && dev !== true && license !== undefined)
    .filter(([, { license }]) => !notice.includes(license!))
    .map(([path, { license }]) => `${path}: ${license}`)
  expect(missing).toEqual([])
})
