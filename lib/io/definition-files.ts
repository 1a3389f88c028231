/**
 * Reads a definitions directory: every `*.yaml`, `*.yml` and `*.avsc` in it and one folder down (streams, metrics, tables, rules).
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

const isDefinition = (name: string): boolean => /\.(ya?ml|avsc)$/.test(name)

/**
 * The directory's definition files, sorted by path.
 * @throws OperatingError DEFINITIONS_INVALID when the directory or a file cannot be read
 */
export async function readDefinitionFiles(directory: string): Promise<DefinitionFile[]> {
  try {
    const paths: string[] = []
    for (const entry of await readdir(directory, { withFileTypes: true })) {
      if (entry.isDirectory()) {
        for (const inner of await readdir(join(directory, entry.name)))
          if (isDefinition(inner)) paths.push(`${entry.name}/${inner}`)
      } else if (isDefinition(entry.name)) paths.push(entry.name)
    }
    paths.sort()
    return await Promise.all(paths.map(async (path) => ({ path, text: await readFile(join(directory, path), 'utf8') })))
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
