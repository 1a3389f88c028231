/**
 * `tidemark schemas` on a folder of its own, beside a real registry on a log in memory: the working copy of a CI run.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest'
import { systemClock } from '#io/clock.ts'
import { runCli } from '../../batch/cli/run.ts'
import { type RunningRegistry, startRegistry } from '../../services/registry/start.ts'
import { captured } from './captured.ts'
import { writeFiles } from './files.ts'
import { createMemoryLog } from './log-memory.ts'

/** What `--json` prints. */
export interface SchemasAnswer {
  readonly ok: boolean
  readonly schemas: readonly {
    readonly file: string
    readonly subject: string
    readonly state: string
    readonly level: string
    readonly version: number | null
    readonly findings: readonly {
      readonly type: string
      readonly path: string
      readonly line: number
      readonly reader: Side
      readonly writer: Side
      readonly advice: string
    }[]
    readonly changes: readonly {
      readonly what: string
      readonly path: string
      readonly name: string
      readonly from: string | null
      readonly to: string | null
      readonly line: number | null
    }[]
  }[]
  readonly registered: readonly object[]
}
interface Side {
  readonly name: string
  readonly at?: unknown
}

/** A folder that is new for each test, and one registry for the file's tests; sets up and tears down by itself. */
export function workingCopy() {
  let registry: RunningRegistry
  let folder: string
  beforeAll(async () => {
    const log = createMemoryLog({ clock: systemClock })
    registry = await startRegistry({ log, clock: systemClock, port: 0, host: '127.0.0.1' })
  })
  afterAll(() => registry.close())
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidemark-schemas-'))
  })
  afterEach(() => rm(folder, { recursive: true }))

  const run = async (...args: string[]) => {
    const { exitCode, out, error } = await captured(() => runCli(args))
    // File names are as long as the temporary folder's; what the command itself writes stays within 80 columns.
    for (const line of out.replaceAll(folder, '.').split('\n'))
      if (!args.includes('--json')) expect(line.length, line).toBeLessThanOrEqual(80)
    return { exitCode, out: out.replaceAll(`${folder}/`, ''), error: error.replaceAll(`${folder}/`, '') }
  }
  const schemas = (verb: string, ...args: string[]) => run('schemas', verb, folder, '--registry', registry.url, ...args)
  return {
    get folder() {
      return folder
    },
    get registryUrl() {
      return registry.url
    },
    /** The command line as given. */
    run,
    /** `tidemark schemas <verb>` on the folder and the registry. */
    schemas,
    /** The same with `--json`; its parsed answer. */
    json: async (verb: string, ...args: string[]) => {
      const { exitCode, out } = await schemas(verb, '--json', ...args)
      return { exitCode, answer: JSON.parse(out) as SchemasAnswer }
    },
    /** Writes a file of the folder; what is no text is written as indented JSON. */
    put: (path: string, content: unknown) =>
      writeFiles(folder, { [path]: typeof content === 'string' ? content : JSON.stringify(content, null, 2) }),
    /** Sets a subject's compatibility level. */
    setLevel: (subject: string, compatibility: string) =>
      fetch(`${registry.url}/config/${subject}`, {
        method: 'PUT',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ compatibility }),
      }),
  }
}

let named = 0
/** A subject that no other test has. */
export const freshSubject = (): string => `s${++named}`

/** The record `shop.Order`. */
export const orderSchema = (fields: readonly object[], more: object = {}) => ({
  type: 'record',
  name: 'Order',
  namespace: 'shop',
  fields,
  ...more,
})

/** Fields of an order's first version. */
export const ORDER_FIELDS = [
  { name: 'id', type: 'string' },
  { name: 'cents', type: 'int' },
  { name: 'state', type: { type: 'enum', name: 'State', symbols: ['OPEN', 'PAID', 'GONE'] } },
]
