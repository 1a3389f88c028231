/** `npm run requirements`: rows of the requirements without a test that bears their id in its title. */
import { existsSync, readFileSync } from 'node:fs'
import { sourceFiles } from './source.ts'

const list = '../shared/REQUIREMENTS.md'
if (!existsSync(list)) {
  process.stdout.write('the list of requirements is not here; nothing to compare\n')
} else {
  const rows = [...readFileSync(list, 'utf8').matchAll(/^\| ([A-Z]\d{1,2}) \| (.*?) \|/gm)].map((match) => ({
    id: match[1]!,
    owed: match[2]!,
  }))
  const titles = sourceFiles()
    .filter(({ path }) => path.endsWith('.test.ts'))
    .flatMap(({ text }) => [...text.matchAll(/\[([A-Z]\d{1,2})\]/g)].map((match) => match[1]!))
  const shown = new Set(titles)
  const missing = rows.filter(({ id }) => !shown.has(id))
  for (const { id, owed } of missing) process.stdout.write(`${id.padEnd(4)}${owed.slice(0, 74)}\n`)
  process.stdout.write(`${rows.length - missing.length} of ${rows.length} rows have a test\n`)
}
