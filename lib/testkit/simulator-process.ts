/**
 * A simulated process: the ports it was given, each call of which is a step at which it may be killed (before or after the
 * effect) or stopped for a while as SIGSTOP does. A killed process never hears an answer again, so nothing in it goes on;
 * what survives is what its ports reached: the log and the disk with the checkpoints.
 */
import type { Checkpoints, LoadedCheckpoint, SavedCheckpoint } from '#io/checkpoints.ts'
import type { Clock, EventLog, LogReader, Registry } from '#io/ports.ts'

/** What happens at one step. `stop`: the call's effect waits `ms`, as does all else of the process. */
export type StepFault =
  | { readonly kind: 'kill'; readonly when: 'before' | 'after' }
  | { readonly kind: 'stop'; readonly ms: number }

/** The ports of a process and its end. */
export interface SimulatedProcess {
  readonly log: EventLog
  readonly registry: Registry
  readonly checkpoints: Checkpoints
  readonly clock: Clock
  readonly alive: boolean
  readonly steps: number
  /** Kills it between two steps. */
  kill(): void
}

const never = <T>(): Promise<T> => new Promise<T>(() => undefined)

/** Wraps the world's ports. `onStep` is asked once per call, in order. */
export function createSimulatedProcess(
  world: { log: EventLog; registry: Registry; checkpoints: Checkpoints; clock: Clock },
  onStep: (step: number) => StepFault | null,
): SimulatedProcess {
  let alive = true
  let steps = 0
  let stopped: Promise<void> = Promise.resolve()

  async function step<T>(work: () => Promise<T>): Promise<T> {
    if (!alive) return never()
    const fault = onStep(steps++)
    if (fault?.kind === 'stop') stopped = world.clock.sleep(fault.ms)
    await stopped
    if (fault?.kind === 'kill' && fault.when === 'before') alive = false
    if (!alive) return never()
    try {
      return await work()
    } finally {
      if (fault?.kind === 'kill') alive = false
      // A stopped process hears the answer only once it goes on, a killed one never.
      await stopped
      if (!alive) await never()
    }
  }
  const wrapReader = (reader: LogReader): LogReader => ({
    poll: (options) => step(() => reader.poll(options)),
    close: () => step(() => reader.close()),
  })
  const { log, registry, checkpoints, clock } = world
  return {
    get alive() {
      return alive
    },
    get steps() {
      return steps
    },
    kill() {
      alive = false
    },
    log: {
      createTopics: (specs) => step(() => log.createTopics(specs)),
      describeTopic: (topic) => step(() => log.describeTopic(topic)),
      append: (topic, partition, batch) => step(() => log.append(topic, partition, batch)),
      open: (topic, positions) => step(async () => wrapReader(await log.open(topic, positions))),
      startOffsets: (topic) => step(() => log.startOffsets(topic)),
      endOffsets: (topic) => step(() => log.endOffsets(topic)),
      loadPositions: (owner, topic) => step(() => log.loadPositions(owner, topic)),
      storePositions: (owner, topic, next) => step(() => log.storePositions(owner, topic, next)),
      close: () => step(() => log.close()),
    },
    registry: {
      register: (subject, schema) => step(() => registry.register(subject, schema)),
      schemaById: (id) => step(() => registry.schemaById(id)),
    },
    checkpoints: {
      save: (stream, partition, saved, segment) => step(() => checkpoints.save(stream, partition, saved, segment)),
      load: (stream, partition) => step(() => checkpoints.load(stream, partition)),
    },
    clock: {
      now: () => clock.now(),
      monotonic: () => clock.monotonic(),
      sleep: (ms, signal) => step(() => clock.sleep(ms, signal)),
    },
  }
}

/** Checkpoints on a disk in memory. */
export interface MemoryCheckpoints extends Checkpoints {
  /** Loses the folder. */
  wipe(): void
  /** Loses one file of id segments of a partition, as a torn disk does; false when there is none. */
  loseSegment(stream: string, partition: number): boolean
}

/** The files and the order of lib/io/checkpoints.ts: the id file, then the checkpoint, then what it no longer names goes. */
export function createMemoryCheckpoints(): MemoryCheckpoints {
  const files = new Map<string, string>()
  const folder = (stream: string, partition: number): string => `${stream}/${partition}`
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
  return {
    async save(stream, partition, saved, segment) {
      const at = folder(stream, partition)
      if (segment !== null) files.set(`${at}/ids-${segment.epoch}`, JSON.stringify([...segment.ids]))
      await turn()
      files.set(`${at}/checkpoint`, JSON.stringify(saved))
      await turn()
      const needed = new Set(saved.epochs.map((epoch) => `${at}/ids-${epoch}`))
      for (const name of files.keys()) if (name.startsWith(`${at}/ids-`) && !needed.has(name)) files.delete(name)
    },
    async load(stream, partition): Promise<LoadedCheckpoint | null> {
      const at = folder(stream, partition)
      const text = files.get(`${at}/checkpoint`)
      if (text === undefined) return null
      const saved = JSON.parse(text) as SavedCheckpoint
      const ids = []
      for (const epoch of saved.epochs) {
        const segment = files.get(`${at}/ids-${epoch}`)
        if (segment === undefined) return null
        ids.push({ epoch, ids: Int32Array.from(JSON.parse(segment) as number[]) })
      }
      return { saved, ids }
    },
    wipe() {
      files.clear()
    },
    loseSegment(stream, partition) {
      const name = [...files.keys()].find((one) => one.startsWith(`${folder(stream, partition)}/ids-`))
      return name !== undefined && files.delete(name)
    },
  }
}
