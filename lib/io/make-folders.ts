/**
 * Makes a folder with its parents. Node's own `recursive` never ends where a folder cannot be made although its parent is there
 * (ENOENT below /proc): it takes the parent for missing, finds it, and tries again.
 */
import { mkdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Makes what is missing of an absolute path; the first folder made, undefined when all were there. @throws what the system says */
export async function makeFolders(path: string): Promise<string | undefined> {
  const reason = await make(path)
  if (reason === null) return path
  if (reason.code === 'EEXIST' && (await stat(path)).isDirectory()) return undefined
  const parent = dirname(path)
  if (reason.code !== 'ENOENT' || parent === path) throw reason
  const first = await makeFolders(parent)
  const again = await make(path)
  // Another process may have been faster.
  if (again !== null && !(again.code === 'EEXIST' && (await stat(path)).isDirectory())) throw again
  return first ?? path
}

async function make(path: string): Promise<NodeJS.ErrnoException | null> {
  try {
    await mkdir(path)
    return null
  } catch (error) {
    return error as NodeJS.ErrnoException
  }
}
