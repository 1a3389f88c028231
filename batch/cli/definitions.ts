/** `tidemark definitions check`: checks a directory without a running platform and lists every problem with file and line. */
import { resolve } from 'node:path'
import { readDefinitionFiles } from '#io/definition-files.ts'
import { openDuckDb } from '#io/duckdb.ts'
import type { Problem } from '#metrics/definition.ts'
import { formatProblem, loadDefinitions } from '#metrics/load.ts'

/** What was found. */
export interface Checked {
  readonly ok: boolean
  readonly streams: readonly string[]
  readonly metrics: readonly string[]
  readonly problems: readonly Problem[]
}

/** Checks a definitions directory. @throws OperatingError DEFINITIONS_INVALID when it cannot be read */
export async function checkDefinitions(directory: string): Promise<Checked> {
  const root = resolve(directory)
  const duckdb = await openDuckDb({ threads: 1, memoryMb: 256, temporaryDirectory: null })
  try {
    const outcome = await loadDefinitions({ directory, files: await readDefinitionFiles(root) }, duckdb)
    if (!outcome.ok) return { ok: false, streams: [], metrics: [], problems: outcome.problems }
    const { streams, metrics } = outcome.definitions
    return {
      ok: true,
      streams: streams.map(({ name }) => name),
      metrics: metrics.map(({ name }) => name),
      problems: [],
    }
  } finally {
    duckdb.close()
  }
}

const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`

/** The findings for a terminal. */
export function checkedText({ ok, streams, metrics, problems }: Checked): string {
  if (ok)
    return `ok: ${counted(streams.length, 'stream')} (${streams.join(', ')}), ${counted(metrics.length, 'metric')} (${metrics.join(', ')})`
  return [...problems.map(formatProblem), counted(problems.length, 'problem')].join('\n')
}
