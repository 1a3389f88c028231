/** Definitions for benches, loaded and bound as the platform does. */
import { readDefinitionFiles } from '#io/definition-files.ts'
import { openDuckDb } from '#io/duckdb.ts'
import type { Definitions } from '#metrics/definition.ts'
import { loadDefinitions } from '#metrics/load.ts'

/** Loads a directory. @throws Error with the problems */
export async function loadBenchDefinitions(directory: string): Promise<Definitions> {
  const duckdb = await openDuckDb({ threads: 1, memoryMb: 128, temporaryDirectory: null })
  try {
    const loaded = await loadDefinitions({ directory, files: await readDefinitionFiles(directory) }, duckdb)
    if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems))
    return loaded.definitions
  } finally {
    duckdb.close()
  }
}
