/**
 * Platform processes for tests: started as a user starts them, killed as fate kills them, awaited in both cases. A process that
 * a test forgets dies with the test's process. What a process says on stderr is kept and told when something is wrong.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '../..')
const READY_MS = 300_000
const STOP_MS = 180_000
const STDERR_BYTES = 64 * 1024

/** How a process ended: its exit code, or the signal that ended it. */
export type Ending = number | NodeJS.Signals

/** What to start. */
export interface ProcessOptions {
  /** File below the repository's root and its arguments: `['platform/service.ts', 'speed']`. */
  readonly args: readonly string[]
  /** Settings; nothing of the test's own `TIDEMARK_*` and FAIL is passed on. */
  readonly env: Readonly<Record<string, string>>
}

const living = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of living) child.kill('SIGKILL')
})

function environment(own: Readonly<Record<string, string>>): Record<string, string | undefined> {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('TIDEMARK_') && name !== 'FAIL')
  return { ...Object.fromEntries(kept), ...own }
}

/** A process under test. */
export class PlatformProcess {
  readonly name: string
  /** Resolves when it is gone, however that came. */
  readonly ended: Promise<Ending>
  /** The words of its first `ready` line; null when it ended before. */
  readonly ready: Promise<readonly string[] | null>
  readonly #child: ChildProcess
  #ending: Ending | null = null
  #stderr = ''
  #stdout = ''

  constructor(options: ProcessOptions) {
    this.name = options.args.slice(-1)[0]!
    const [file = '', ...rest] = options.args
    const child = spawn(process.execPath, [join(ROOT, file), ...rest], {
      cwd: ROOT,
      env: environment(options.env),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    living.add(child)
    child.stderr!.on('data', (chunk) => (this.#stderr = (this.#stderr + String(chunk)).slice(-STDERR_BYTES)))
    this.ended = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        living.delete(child)
        this.#ending = signal ?? code ?? 1
        resolve(this.#ending)
      })
    })
    this.ready = new Promise((resolve) => {
      child.stdout!.on('data', (chunk) => {
        this.#stdout = (this.#stdout + String(chunk)).slice(-STDERR_BYTES)
        const line = /^ready (.*)$/m.exec(this.#stdout)?.[1]
        if (line !== undefined) resolve(line.split(' '))
      })
      void this.ended.then(() => resolve(null))
    })
  }

  get pid(): number {
    return this.#child.pid!
  }

  /** How it ended; null while it lives. */
  get ending(): Ending | null {
    return this.#ending
  }

  /** The last of what it said, for failures of tests. */
  get output(): string {
    return `${this.#stdout}\n${this.#stderr}`
  }

  /** Waits for the `ready` line; its words. @throws Error with what it said when it ends or takes too long */
  async untilReady(): Promise<readonly string[]> {
    const late = AbortSignal.timeout(READY_MS)
    const words = await Promise.race([
      this.ready,
      new Promise<null>((resolve) => late.addEventListener('abort', () => resolve(null), { once: true })),
    ])
    if (words !== null) return words
    throw new Error(`${this.name} is not ready (${this.#ending ?? 'still running'}):\n${this.output}`)
  }

  /** SIGKILL; resolves when it is gone. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.ended
  }

  /** SIGTERM; how it ended: SIGKILL when it does not within three minutes */
  async stop(): Promise<Ending> {
    this.#child.kill('SIGTERM')
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS)
    const ending = await this.ended
    clearTimeout(timer)
    return ending
  }
}

/** Waits until a URL answers 200. @throws Error with the last answer after five minutes */
export async function untilOk(url: string, signal?: AbortSignal): Promise<void> {
  let last = 'no answer'
  for (const begun = performance.now(); performance.now() - begun < READY_MS; ) {
    if (signal?.aborted === true) return
    const answer = await fetch(url, { signal: AbortSignal.timeout(5_000) }).catch(() => null)
    if (answer?.ok === true) return
    if (answer !== null) last = `${answer.status} ${await answer.text()}`
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error(`${url} does not answer 200: ${last}`)
}
