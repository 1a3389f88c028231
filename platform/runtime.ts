/** What every process starts with: the right Node, checked settings and definitions, a logger, and an orderly end. */
import pino, { type Logger } from 'pino'
import { systemClock } from '#io/clock.ts'
import { type Config, loadConfig } from '#io/config.ts'
import { readDefinitionFiles } from '#io/definition-files.ts'
import { openDuckDb } from '#io/duckdb.ts'
import { classify, OperatingError } from '#io/errors.ts'
import { makeFolders } from '#io/make-folders.ts'
import type { Definitions } from '#metrics/definition.ts'
import { formatProblem, loadDefinitions } from '#metrics/load.ts'

/** Ends the process with the one command that helps when this is not the Node that the project pins. */
export function requireNode(): void {
  if (Number(process.versions.node.split('.')[0]) >= 24) return
  process.stderr.write(
    `Tidemark runs on Node 24, this is ${process.versions.node}. Run it by npm (npm start), after: npm ci\n`,
  )
  process.exit(1)
}

/** JSON lines on stderr, so that stdout stays for people and the `ready` line. */
export function createLogger(name: string, level: string): Logger {
  return pino(
    { name, level, redact: ['req.headers.authorization', '*.password', '*.secret'] },
    pino.destination({ fd: 2, sync: false }),
  )
}

/**
 * Loads and checks a definitions directory.
 * @throws OperatingError DEFINITIONS_INVALID with every problem, one per line
 */
export async function openDefinitions(directory: string): Promise<Definitions> {
  const duckdb = await openDuckDb({ threads: 1, memoryMb: 128, temporaryDirectory: null })
  try {
    const loaded = await loadDefinitions({ directory, files: await readDefinitionFiles(directory) }, duckdb)
    if (loaded.ok) return loaded.definitions
    throw new OperatingError(
      'DEFINITIONS_INVALID',
      `${loaded.problems.length} problem(s) in the definitions:\n${loaded.problems.map((problem) => `  ${formatProblem(problem)}`).join('\n')}`,
      { directory },
    )
  } finally {
    duckdb.close()
  }
}

/** Makes the data directory. @throws OperatingError DATA_DIR_UNWRITABLE */
export async function makeDataDir(path: string): Promise<void> {
  try {
    await makeFolders(path)
  } catch (error) {
    throw new OperatingError(
      'DATA_DIR_UNWRITABLE',
      `The folder ${path} cannot be made: ${(error as Error).message}.`,
      { path },
      { cause: error },
    )
  }
}

/** Resolves when `ready` says so; looks 20 times a second. A part that cannot become ready says why on /readyz. */
export async function untilReady(ready: () => boolean): Promise<void> {
  while (!ready()) await systemClock.sleep(50)
}

/** Settings of a process that a person starts by hand: on a terminal the log would push away what the person has just read. */
export const TERMINAL_SETTINGS: NonNullable<Parameters<typeof loadConfig>[1]> = process.stderr.isTTY
  ? { LOG_LEVEL: 'warn' }
  : {}

/** Ctrl-C on npm comes twice: from the terminal, which tells its whole group, and passed on by npm. */
const SAME_SIGNAL_MS = 2_000

/** A started process. `announce` runs once it is started, and may take its time; a signal ends it as well. */
export interface Running {
  announce?(): Promise<void>
  close(): Promise<void>
}

/**
 * Runs a process: settings, start, then until SIGINT or SIGTERM, then `close`. What goes wrong at the start is one sentence and
 * the remedy on stderr, exit 1. Another signal, two seconds later, ends at once. `fallbacks`: see loadConfig.
 */
export async function runProcess(
  name: string,
  start: (config: Config, logger: Logger) => Promise<Running>,
  fallbacks: Parameters<typeof loadConfig>[1] = {},
): Promise<void> {
  requireNode()
  let running: Running | null = null
  let stoppingSince: number | null = null
  const fail = (error: unknown): never => {
    const known = classify(error)
    process.stderr.write(`${name}: ${known.code}: ${known.message}\n  ${known.hint}\n`)
    if (known.code === 'INTERNAL' && error instanceof Error) process.stderr.write(`${error.stack}\n`)
    process.exit(1)
  }
  const stop = (signal: string): void => {
    const now = systemClock.monotonic()
    if (stoppingSince !== null) {
      if (now - stoppingSince >= SAME_SIGNAL_MS) process.exit(130)
      return
    }
    stoppingSince = now
    if (process.stdout.isTTY) process.stdout.write(`\n${signal}: stopping, nothing is lost …\n`)
    if (running === null) process.exit(0)
    running.close().then(() => process.exit(0), fail)
  }
  process.on('SIGINT', () => stop('SIGINT'))
  process.on('SIGTERM', () => stop('SIGTERM'))
  try {
    const config = loadConfig(process.env, fallbacks)
    running = await start(config, createLogger(name, config.logLevel))
    await running.announce?.()
  } catch (error) {
    fail(error)
  }
}
