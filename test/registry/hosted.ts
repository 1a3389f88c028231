/** The parent's side of host.ts: starts a registry in a process of its own and asks it for figures. */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** Figures of the registry's process: heap after a collection, CPU time since its start. */
export interface Sample {
  readonly heapBytes: number
  readonly rssBytes: number
  readonly cpuMs: number
}

/** A registry in a process of its own. */
export class HostedRegistry {
  readonly url: string
  /** From the opening of the log to listening. */
  readonly startMs: number
  readonly #child: ChildProcess

  constructor(child: ChildProcess, told: { url: string; startMs: number }) {
    this.#child = child
    this.url = told.url
    this.startMs = told.startMs
  }

  get pid(): number {
    return this.#child.pid!
  }

  /** True while the process lives. */
  get alive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  async sample(): Promise<Sample> {
    this.#child.send('sample')
    return told<Sample>(this.#child)
  }

  async stop(): Promise<void> {
    if (!this.alive) return
    const ended = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.disconnect()
    await ended
  }
}

/** Starts it on a log directory, which is created when absent. @throws Error when it ends before it listens */
export async function hostRegistry(directory: string): Promise<HostedRegistry> {
  const child = fork(fileURLToPath(new URL('./host.ts', import.meta.url)), [directory], {
    execArgv: ['--expose-gc'],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  process.once('exit', () => child.kill('SIGKILL'))
  return new HostedRegistry(child, await told(child))
}

function told<T>(child: ChildProcess): Promise<T> {
  return new Promise((resolve, reject) => {
    const gone = (code: number | null) => reject(new Error(`the registry's process ended with ${code}`))
    child.once('exit', gone)
    child.once('message', (message) => {
      child.off('exit', gone)
      resolve(message as T)
    })
  })
}
