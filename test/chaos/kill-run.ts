/**
 * Kills of the embedded platform: (failpoint, occurrence) after another over one data directory. A process is started that dies
 * exactly there while a shift is worked; it is started again, and everything that was acknowledged must be in every answer. A
 * fault that did not fire is told, never passed over.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Failpoint } from '#io/failpoints.ts'
import { type Ending, PlatformProcess, untilOk } from '#testkit/platform-process.ts'
import { random } from '#testkit/runs.ts'
import { freePort } from '../../infra/local/launcher.ts'
import { PARCELS, Scanner } from './parcels.ts'
import { complaintsOf, Shift, workRound } from './shift.ts'

/** Where and when a process is to die. */
export interface Kill {
  readonly name: Failpoint
  readonly occurrence: number
}

/** Rounds of work in which a failpoint must be passed often enough. On a busy machine a round may bring no live record: events and barrier come in one poll. */
const ROUNDS_MAX = 60

/** The embedded platform over many deaths. */
export class KillRun {
  readonly shift: Shift
  readonly scanner: Scanner
  readonly directory: string
  /** Kills that fired, in order. */
  readonly fired: Kill[] = []
  readonly #env: Readonly<Record<string, string>>
  #process: PlatformProcess | null = null
  /** What ends it as meant; `timer` is set when that strikes. */
  #armed: Kill | 'timer' | null = null
  #deaths = 0
  /** What the next ones that are started die of. */
  #next: Kill[] = []

  private constructor(directory: string, seed: number, env: Readonly<Record<string, string>>) {
    this.directory = directory
    this.#env = env
    this.scanner = new Scanner(random(seed))
    this.shift = new Shift({
      url: () => `http://127.0.0.1:${env['TIDEMARK_PORT']}`,
      revive: () => this.#revive(),
      deaths: () => this.#deaths,
    })
  }

  /** A run on a new directory; nothing is started. */
  static async make(seed: number): Promise<KillRun> {
    const directory = await mkdtemp(join(tmpdir(), 'tidemark-kill-'))
    return new KillRun(directory, seed, {
      TIDEMARK_DATA_DIR: directory,
      TIDEMARK_DEFINITIONS: PARCELS,
      TIDEMARK_FEED: 'none',
      TIDEMARK_NIGHTLY: 'off',
      TIDEMARK_PORT: String(await freePort()),
      TIDEMARK_REGISTRY_PORT: String(await freePort()),
      TIDEMARK_BARRIER_INTERVAL: '2s',
      TIDEMARK_FLUSH_INTERVAL: '50ms',
      TIDEMARK_ARCHIVE_INTERVAL: '2s',
      TIDEMARK_DURABILITY: 'os',
      TIDEMARK_LOG_LEVEL: 'warn',
    })
  }

  #start(kill: Kill | null): void {
    const fail = kill === null ? '' : `${kill.name}:${kill.occurrence}`
    this.#armed = kill
    this.#process = new PlatformProcess({ args: ['platform/start.ts'], env: { ...this.#env, FAIL: fail } })
  }

  /** Starts it again when it is dead. @throws Error when it ended in any way but the kill that was meant */
  async #revive(): Promise<void> {
    const ending = this.#process?.ending ?? null
    if (ending === null) return
    if (ending !== 'SIGKILL' || this.#armed === null)
      throw new Error(`the platform ended with ${ending}:\n${this.#process!.output}`)
    if (this.#armed !== 'timer') this.fired.push(this.#armed)
    this.#deaths++
    this.#start(this.#next.shift() ?? null)
  }

  /**
   * Works until the platform has died of each kill in turn; it is started again armed with the next one, so that it may die while it
   * recovers, and lives after the last. The kills that did not fire: the first that was not reached and those behind it.
   */
  async survive(...kills: readonly Kill[]): Promise<readonly Kill[]> {
    await this.end()
    const before = this.fired.length
    this.#next = kills.slice(1)
    this.#start(kills[0]!)
    for (let idle = 0, seen = before; this.fired.length < before + kills.length && idle < ROUNDS_MAX; idle++) {
      await workRound(this.shift, this.scanner)
      if (this.fired.length > seen) idle = 0
      seen = this.fired.length
    }
    return kills.slice(this.fired.length - before)
  }

  /** Starts it unarmed and kills it so long after its start, wherever it is then; works on until it lives again. */
  async surviveTimed(afterMs: number): Promise<void> {
    await this.end()
    this.#start(null)
    const timer = setTimeout(() => {
      this.#armed = 'timer'
      void this.#process?.kill()
    }, afterMs)
    for (const before = this.#deaths; this.#deaths === before; ) await workRound(this.shift, this.scanner)
    clearTimeout(timer)
  }

  /** Starts it unarmed and waits for it. */
  async resume(): Promise<void> {
    await this.end()
    this.#start(null)
    await this.#process!.untilReady()
    await untilOk(`http://127.0.0.1:${this.#env['TIDEMARK_PORT']}/readyz`)
  }

  /** What is wrong with the platform now, in words; empty = nothing. */
  complaints(): Promise<string[]> {
    return complaintsOf(this.shift, this.scanner)
  }

  /** SIGKILL now, wherever it is. */
  async end(): Promise<void> {
    await this.#process?.kill()
    this.#process = null
  }

  /** Ends it and removes what the speed layer keeps between runs. */
  async wipeSpeed(): Promise<void> {
    await this.end()
    await rm(join(this.directory, 'speed'), { recursive: true })
  }

  /** Stops it in order; how it ended. */
  async stop(): Promise<Ending> {
    const ending = await this.#process!.stop()
    this.#process = null
    return ending
  }

  /** Kills it and removes the directory. */
  async remove(): Promise<void> {
    await this.end()
    await rm(this.directory, { recursive: true, force: true })
  }
}

/** A kill as it is written in messages and in the environment variable FAIL. */
export const killText = ({ name, occurrence }: Kill): string => `${name}:${occurrence}`
