import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { makeFolders } from './make-folders.ts'

let root: string
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tidemark-folders-'))
})
afterAll(() => rm(root, { recursive: true }))

it('makes what is missing, and tells the first', async () => {
  await mkdir(join(root, 'a'))
  expect(await makeFolders(join(root, 'a/b/c'))).toBe(join(root, 'a/b'))
  expect((await stat(join(root, 'a/b/c'))).isDirectory()).toBe(true)
  expect(await makeFolders(join(root, 'a/b/c'))).toBeUndefined()
  const many = await Promise.all(Array.from({ length: 8 }, () => makeFolders(join(root, 'x/y/z'))))
  expect(many.filter((first) => first === join(root, 'x'))).toHaveLength(1)
})

it('[O2] says why it cannot, below a file and where the system takes no folders', async () => {
  await writeFile(join(root, 'file'), '')
  await expect(makeFolders(join(root, 'file'))).rejects.toMatchObject({ code: 'EEXIST' })
  await expect(makeFolders(join(root, 'file/a/b'))).rejects.toMatchObject({ code: 'ENOTDIR' })
  if (process.platform === 'linux')
    await expect(makeFolders('/proc/tidemark/a')).rejects.toMatchObject({ code: expect.stringMatching(/^E/) as string })
})
