/**
 * How a process of the platform holds its memory. It moves buffers of many sizes between threads, and with the C library's usual
 * settings what is freed is kept in pieces that nothing fits into: a quarter of the resident memory of a long feed.
 *
 *   arenas      2 instead of 8 per core
 *   thresholds  buffers from 128 KiB on are the system's own and given back when freed; in a service with a process of its own from
 *               4 MiB on: that would hold 100 MB more at the peak of the embedded platform, and costs a twelfth less CPU time from Kafka to partials
 *   new space   8 MB instead of 16: few objects live on the hot path, so little is copied more often
 *
 * The C library reads its settings when a process begins, so `settleMemory` begins it again, under the same process id.
 */
import { execve } from 'node:process'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Environment of the embedded platform's process. */
export const MEMORY_ENV: Readonly<Record<string, string>> = {
  MALLOC_ARENA_MAX: '2',
  MALLOC_MMAP_THRESHOLD_: '131072',
  MALLOC_TRIM_THRESHOLD_: '131072',
}

/** Environment of a service's process. */
export const SERVICE_MEMORY_ENV: Readonly<Record<string, string>> = {
  MALLOC_ARENA_MAX: '2',
  MALLOC_MMAP_THRESHOLD_: '4194304',
  MALLOC_TRIM_THRESHOLD_: '16777216',
}

/** Arguments of Node for either. */
export const MEMORY_ARGS: readonly string[] = ['--max-semi-space-size=8']

/**
 * Begins this process again with settled memory, unless it has it, somebody chose otherwise, or this is not Linux (whose C library it
 * is about). Call it before anything is open: what follows it has not happened. A channel to a parent would be lost, so a child
 * process is left as it is; its parent gives it one of these.
 */
export function settleMemory(): void {
  const { env } = process
  const chosen = Object.keys(MEMORY_ENV).some((name) => env[name] !== undefined)
  if (process.platform !== 'linux' || chosen || env['NODE_CHANNEL_FD'] !== undefined || execve === undefined) return
  const args = [...MEMORY_ARGS, ...process.execArgv, ...process.argv.slice(1)]
  execve(process.execPath, [process.execPath, ...args], { ...env, ...MEMORY_ENV })
}

/**
 * Collects what the start has left behind, some 300 MB of PostgreSQL's image and compiled sources, which would otherwise stay
 * until the first load makes V8 collect.
 */
export function collectStart(): void {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  setFlagsFromString('--no-expose-gc')
  collect()
}
