/**
 * One child process kept alive: started, waited for until it prints `ready`, started again with back-off when it dies, stopped in
 * order. The port that it took at first is kept over restarts, since others have its address.
 *
 *   starting ─ ready line ─▶ running ─ death ─▶ waiting (250 ms · 2ⁿ, at most 10 s) ─▶ starting        stop ends each of them
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { systemClock } from '#io/clock.ts'
import { MEMORY_ARGS, SERVICE_MEMORY_ENV } from './memory.ts'

/** How a child is run. */
export interface ChildOptions {
  readonly name: string
  /** Arguments of Node: the file to run and its own. */
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  /** Variable that carries the port; set to the port of the first `ready` line from then on. */
  readonly portVariable: string
  /** Told at every death that was not asked for. */
  readonly onDeath: (how: string, againInMs: number) => void
}

/** A child that is kept alive. */
export interface Child {
  readonly name: string
  /** URL of its first `ready` line. Rejects when it ends before that; why stands on its stderr, which is ours. */
  readonly ready: Promise<string>
  /** Process id now; null while it is down. */
  readonly pid: () => number | null
  /** SIGTERM, and SIGKILL when that takes longer than 20 s. Resolves when it is gone. */
  stop(): Promise<void>
}

const BACKOFF_MS = { first: 250, most: 10_000 }
/** A process that lived for so long begins its back-off anew. */
const STEADY_MS = 60_000
const STOP_MS = 20_000

const gone = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null

/** Starts a child and keeps it alive until `stop`. */
export function superviseChild(options: ChildOptions): Child {
  const stopping = new AbortController()
  const first = Promise.withResolvers<string>()
  let port: string | null = null
  let deaths = 0

  function start(): ChildProcess {
    const startedMs = systemClock.monotonic()
    // In a group of its own: Ctrl-C on the terminal reaches the parent only, which then stops its children in order. The
    // channel tells the child when the parent was killed.
    const started = spawn(process.execPath, [...MEMORY_ARGS, ...options.args], {
      env: { ...SERVICE_MEMORY_ENV, ...options.env, ...(port === null ? {} : { [options.portVariable]: port }) },
      detached: true,
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    })
    let output = ''
    started.stdout!.on('data', (chunk) => {
      if (port !== null) return
      output += String(chunk)
      const url = /^ready \S+ (\S+)$/m.exec(output)?.[1]
      if (url === undefined) return
      port = new URL(url).port
      first.resolve(url)
    })
    started.once('error', (error) => void died(error.message))
    started.once('exit', (code, signal) => {
      if (systemClock.monotonic() - startedMs > STEADY_MS) deaths = 0
      void died(signal === null ? `ended with ${code}` : `was ended by ${signal}`)
    })
    return started
  }

  async function died(how: string): Promise<void> {
    if (stopping.signal.aborted) return
    if (port === null) return first.reject(new Error(`${options.name} ${how} before it was ready`))
    const waitMs = Math.min(BACKOFF_MS.most, BACKOFF_MS.first * 2 ** deaths++)
    options.onDeath(how, waitMs)
    await systemClock.sleep(waitMs, stopping.signal)
    if (!stopping.signal.aborted) child = start()
  }

  let child = start()
  first.promise.catch(() => undefined)
  return {
    name: options.name,
    ready: first.promise,
    pid: () => (gone(child) ? null : (child.pid ?? null)),
    async stop() {
      stopping.abort()
      const last = child
      if (gone(last) || last.pid === undefined) return
      const ended = new Promise<void>((resolve) => last.once('exit', () => resolve()))
      last.kill('SIGTERM')
      const patience = new AbortController()
      const late = systemClock.sleep(STOP_MS, patience.signal).then(() => {
        if (!gone(last)) last.kill('SIGKILL')
      })
      await ended
      patience.abort()
      await late
    },
  }
}
