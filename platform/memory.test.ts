/** A process that settles its memory is the same process, begun again once with the C library's settings. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test } from 'vitest'
import { MEMORY_ENV } from './memory.ts'

const memory = fileURLToPath(new URL('./memory.ts', import.meta.url))
const script = `import { settleMemory } from ${JSON.stringify(memory)}
process.stdout.write('begun ')
settleMemory()
process.stdout.write(JSON.stringify({ pid: process.pid, arenas: process.env.MALLOC_ARENA_MAX, args: process.execArgv }))`

const directory = mkdtempSync(join(tmpdir(), 'tidemark-memory-'))
afterAll(() => rmSync(directory, { recursive: true }))

function run(env: Readonly<Record<string, string>>) {
  const file = join(directory, 'begin.mjs')
  writeFileSync(file, script)
  const child = spawnSync(process.execPath, [file], {
    env: { PATH: process.env['PATH'] ?? '', ...env },
    encoding: 'utf8',
  })
  return { pid: child.pid, status: child.status, output: child.stdout }
}

test.runIf(process.platform === 'linux')('[E6] begins once more with settled memory, under the same process id', () => {
  const { pid, status, output } = run({})
  expect(status).toBe(0)
  expect(output.split('begun ')).toHaveLength(3)
  const told = JSON.parse(output.slice(output.indexOf('{'))) as { pid: number; arenas: string; args: string[] }
  expect(told.pid).toBe(pid)
  expect(told.arenas).toBe(MEMORY_ENV['MALLOC_ARENA_MAX'])
  expect(told.args).toContain('--max-semi-space-size=8')
})

test('leaves a choice of the user alone', () => {
  const { output } = run({ MALLOC_ARENA_MAX: '5' })
  expect(output.split('begun ')).toHaveLength(2)
  expect(output).toContain('"arenas":"5"')
})
