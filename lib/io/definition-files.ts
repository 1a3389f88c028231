/**
 * Reads a definitions directory: every `*.yaml` and `*.yml` in it and one folder down (streams, metrics, tables, rules), and every
 * `*.avsc` however deep, for schemas lie as their makers lay them; folders that begin with a dot and `node_modules` hold others'.
 * Paths are relative to the directory with forward slashes, in a stable order; `lib/metrics/load.ts` checks the texts.
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { OperatingError } from './errors.ts'

/** One file of a definitions directory. */
export interface DefinitionFile {
  /** Relative to the directory, with `/`: `streams/flights.yaml`. */
  readonly path: string
  readonly text: string
}

const isForeign = (folder: string): boolean => folder.startsWith('.') || folder === 'node_modules'

/** Paths below `inner`, which is `depth` folders down. */
async function pathsIn(directory: string, inner: string, depth: number): Promise<string[]> {
  const entries = await readdir(join(directory, inner), { withFileTypes: true })
  const found = entries.map(async (entry) => {
    const path = inner === '' ? entry.name : `${inner}/${entry.name}`
    if (entry.isDirectory()) return isForeign(entry.name) ? [] : pathsIn(directory, path, depth + 1)
    const isWanted = entry.name.endsWith('.avsc') || (depth < 2 && /\.ya?ml$/.test(entry.name))
    return isWanted ? [path] : []
  })
  return (await Promise.all(found)).flat()
}

/** A file's text without the mark that some editors put before it. */
const textOf = async (path: string): Promise<string> => (await readFile(path, 'utf8')).replace(/^\uFEFF/, '')

/**
 * The directory's definition files, sorted by path.
 * @throws OperatingError DEFINITIONS_INVALID when the directory or a file cannot be read
 */
export async function readDefinitionFiles(directory: string): Promise<DefinitionFile[]> {
  try {
    const paths = (await pathsIn(directory, '', 0)).sort()
    return await Promise.all(paths.map(async (path) => ({ path, text: await textOf(join(directory, path)) })))
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw new OperatingError(
      'DEFINITIONS_INVALID',
      `the definitions directory cannot be read: ${message}`,
      { directory },
      {
        cause: error,
        hint: 'Set TIDEMARK_DEFINITIONS to a directory with streams/*.yaml and metrics/*.yaml.',
      },
    )
  }
}
