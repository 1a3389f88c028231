/** The folder lake tells the truth: the conformance suite, plus what only a file system can do wrong. */
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { describeLake } from '#testkit/lake-conformance.ts'
import { createMemoryLake } from '#testkit/lake-memory.ts'
import { lakeError, openLakeFolder } from './lake-folder.ts'

describeLake('folder', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lake-folder-'))
  return { lake: await openLakeFolder(join(folder, 'lake')), dispose: () => rmSync(folder, { recursive: true }) }
})
describeLake('memory', async () => {
  const lake = createMemoryLake()
  return { lake, dispose: () => lake.dispose() }
})

it('sweeps temporary files of dead processes at opening, never those of others', async () => {
  const root = mkdtempSync(join(tmpdir(), 'lake-folder-'))
  const temporary = join(root, '.tmp')
  await openLakeFolder(root)
  const dead = `${hostname()}-4194301-aabbcc-1`
  const restarted = `${hostname()}-${process.pid}-aabbcc-1`
  const elsewhere = 'other-host-1-aabbcc-1'
  const alive = `${hostname()}-${process.ppid}-aabbcc-1`
  for (const name of [dead, restarted, elsewhere, alive]) writeFileSync(join(temporary, name), 'x')
  await openLakeFolder(root)
  expect(readdirSync(temporary).sort()).toEqual([alive, elsewhere].sort())
  rmSync(root, { recursive: true })
})

it('refuses a folder it cannot write', async (context) => {
  if (process.getuid?.() === 0) return context.skip('root may write everywhere')
  const root = mkdtempSync(join(tmpdir(), 'lake-folder-'))
  chmodSync(root, 0o500)
  await expect(openLakeFolder(join(root, 'lake'))).rejects.toMatchObject({ code: 'LAKE_UNWRITABLE' })
  chmodSync(root, 0o700)
  rmSync(root, { recursive: true })
})

it('a full disk is LAKE_DISK_FULL, anything else LAKE_UNWRITABLE', () => {
  for (const code of ['ENOSPC', 'EDQUOT', 'EFBIG']) {
    expect(lakeError(Object.assign(new Error('x'), { code }), 'write', 'p')).toMatchObject({
      code: 'LAKE_DISK_FULL',
      retry: 'later',
    })
  }
  expect(lakeError(Object.assign(new Error('x'), { code: 'EIO' }), 'write', 'p')).toMatchObject({
    code: 'LAKE_UNWRITABLE',
  })
})

it('no path leaves the root', async () => {
  const root = mkdtempSync(join(tmpdir(), 'lake-folder-'))
  const lake = await openLakeFolder(join(root, 'lake'))
  for (const path of ['../x', 'a/../../x', '/x', 'a//b', '', '.', 'a/./b', 'a\0b']) {
    await expect(lake.createIfAbsent(path, new Uint8Array(1))).rejects.toMatchObject({ code: 'LAKE_UNWRITABLE' })
  }
  expect(existsSync(join(root, 'x'))).toBe(false)
  rmSync(root, { recursive: true })
})
