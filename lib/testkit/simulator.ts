/**
 * The simulator of the speed layer: one seed draws a world (a faulty log, a virtual clock, a registry that goes away, a disk
 * that is wiped) and its history (producers, tickers, owners that are killed, stopped, doubled), runs the real loop in it, and
 * has the checker look from outside. Then everything heals, and what is missing after that is lost.
 *
 *   producer, ticker ─▶ events.visits ─▶ runSpeed × owners ─▶ live.*, sealed.* ─▶ checker
 *                            ▲ appends lost, unacknowledged, late      ▲ killed before or after any call, stopped, two at once
 */
import { encodeBatch, type RecordInput } from '#format/record-batch.ts'
import { classify, OperatingError } from '#io/errors.ts'
import type { Registry } from '#io/ports.ts'
import type { MetricDefinition } from '#metrics/definition.ts'
import { eventsTopic, liveTopic, sealedTopic } from '#schemas/topics.ts'
import { runSpeed } from '../../services/speed/run.ts'
import { createVirtualClock } from './clock-virtual.ts'
import { type AppendFault, createMemoryLog } from './log-memory.ts'
import { random } from './runs.ts'
import { Checker, type Known, recordKey } from './simulator-checker.ts'
import { barrierMs, DEAD_RECORDS } from './simulator-history.ts'
import {
  createMemoryCheckpoints,
  createSimulatedProcess,
  type SimulatedProcess,
  type StepFault,
} from './simulator-process.ts'
import { barrierRecord, SCHEMA_IDS, VISIT_POLICY, type Visit, visitRecord, visitSchema } from './simulator-stream.ts'

/** Everything that a seed draws besides the history itself; rates are probabilities per call, tick or record. */
export interface SimulationOptions {
  readonly seed: number
  readonly partitions: number
  readonly metrics: number
  readonly ticks: number
  readonly flushMs: number
  /** Ids that visits are drawn from: few ids are many duplicates. */
  readonly ids: number
  readonly dead: number
  readonly appends: Readonly<Record<AppendFault['kind'], number>>
  readonly poll: number
  readonly kill: number
  /** Tick at which an owner is killed whatever the rates are: no world is without a fault. */
  readonly killTick: number
  readonly stop: number
  readonly zombie: number
  readonly wipe: number
  readonly registry: number
  readonly wall: number
  readonly missedBarrier: number
  readonly staleBarrier: number
}

/** How often each fault fired, and how much was checked. */
export type SimulationCounts = Record<
  | AppendFault['kind']
  | 'poll'
  | 'kill-before'
  | 'kill-after'
  | 'kill'
  | 'stop'
  | 'zombie'
  | 'restart'
  | 'shutdown'
  | 'wipe'
  | 'segment'
  | 'registry'
  | 'wall'
  | 'missed-barrier'
  | 'stale-barrier'
  | 'events'
  | 'sealed'
  | 'repeats'
  | 'answers',
  number
>

/** Draws the options of a seed. Each kind of fault is in some worlds and not in others (swarm). */
export function drawOptions(seed: number): SimulationOptions {
  const next = random(seed)
  const swarm = (most: number): number => (next() < 0.5 ? 0 : next() * most)
  return {
    seed,
    partitions: 1 + Math.floor(next() * 3),
    metrics: next() < 0.7 ? 1 : 2,
    ticks: 10 + Math.floor(next() * 15),
    flushMs: [40, 100, 250][Math.floor(next() * 3)]!,
    ids: next() < 0.5 ? 15 : 80,
    dead: swarm(0.2),
    appends: { refused: swarm(0.1), lost: swarm(0.15), 'ack-lost': swarm(0.15), late: swarm(0.1) },
    poll: swarm(0.2),
    kill: swarm(0.05),
    killTick: 2 + Math.floor(next() * 8),
    stop: swarm(0.03),
    zombie: swarm(0.3),
    wipe: swarm(0.1),
    registry: swarm(0.2),
    wall: swarm(0.1),
    missedBarrier: swarm(0.2),
    staleBarrier: swarm(0.2),
  }
}

interface Owner {
  readonly partitions: readonly number[]
  readonly process: SimulatedProcess
  readonly stop: AbortController
  ended: boolean
}

/** Runs one world to its end. Throws with what the checker found. */
export async function simulateSpeed(
  options: SimulationOptions,
  metrics: readonly MetricDefinition[],
): Promise<SimulationCounts> {
  const next = random(options.seed ^ 0x5bd1e995)
  const below = (bound: number): number => Math.floor(next() * bound)
  const counts = new Proxy({} as SimulationCounts, {
    get: (all, name) => Reflect.get(all, name) ?? 0,
  })
  const clock = createVirtualClock()
  /** While the checker looks, and once the world has healed. */
  let calm = false
  let registryDown = false
  const log = createMemoryLog({
    clock,
    seed: options.seed,
    faults: {
      onAppend: () => {
        if (calm) return null
        const draw = next()
        const { refused, lost, late, 'ack-lost': acked } = options.appends
        if (draw < refused) return { kind: 'refused' }
        if (draw < refused + lost) return { kind: 'lost' }
        if (draw < refused + lost + acked) return { kind: 'ack-lost' }
        return draw < refused + lost + acked + late ? { kind: 'late', delayMs: below(3_000) } : null
      },
      onPoll: () => (!calm && next() < options.poll ? new OperatingError('LOG_UNREACHABLE', 'injected: poll') : null),
    },
  })
  const registry: Registry = {
    register: async () => SCHEMA_IDS.current,
    async schemaById(id) {
      if (!registryDown) return visitSchema(id)
      counts.registry++
      throw new OperatingError('REGISTRY_UNREACHABLE', 'injected: registry')
    },
  }
  const checkpoints = createMemoryCheckpoints()
  const stream = metrics[0]!.stream
  const topics = [eventsTopic(stream.name), ...metrics.flatMap(({ name }) => [liveTopic(name), sealedTopic(name)])]
  const spec = { partitions: options.partitions, retentionMs: null, cleanup: 'delete' } as const
  await log.createTopics(topics.map((topic) => ({ topic, ...spec })))
  const known = new Map<string, Known>()
  const checker = new Checker(log, metrics, options.partitions, known)
  const owners: Owner[] = []
  let failure: unknown = null

  const onStep = (): StepFault | null => {
    if (calm) return null
    const draw = next()
    if (draw < options.kill) {
      const when = draw < options.kill / 2 ? 'before' : 'after'
      counts[`kill-${when}`]++
      return { kind: 'kill', when }
    }
    if (draw >= options.kill + options.stop) return null
    counts.stop++
    return { kind: 'stop', ms: 200 + below(4_000) }
  }
  const startOwner = (partitions: readonly number[]): void => {
    const process = createSimulatedProcess({ log, registry, checkpoints, clock }, onStep)
    const owner: Owner = { partitions, process, stop: new AbortController(), ended: false }
    owners.push(owner)
    const { signal } = owner.stop
    const { flushMs } = options
    const silent = () => undefined
    runSpeed({ ...process, stream, metrics, partitions, flushMs, signal, onStatus: silent, onWarning: silent })
      .catch((error: unknown) => {
        // What cannot be retried ends the run; a worker that died of an outage is started again by the next tick.
        if (!signal.aborted && classify(error).retry === 'never') failure ??= error
      })
      .finally(() => {
        owner.ended = true
      })
  }
  const running = (partition: number): Owner | undefined =>
    owners.find((owner) => owner.process.alive && !owner.ended && owner.partitions.includes(partition))
  const tendOwners = (): void => {
    const orphans = Array.from({ length: options.partitions }, (_, p) => p).filter((p) => running(p) === undefined)
    if (orphans.length > 0) {
      if (owners.length > 0) counts.restart++
      startOwner(orphans)
    }
    if (calm) return
    if (next() < options.zombie) {
      counts.zombie++
      startOwner(Array.from({ length: options.partitions }, (_, p) => p).filter(() => next() < 0.6))
    }
    const shut = owners[below(owners.length)]!
    if (next() < 0.03 && shut.process.alive) {
      counts.shutdown++
      shut.stop.abort()
    }
  }

  /** A producer that repeats what it does not know to be there, as it should. */
  const append = async (partition: number, records: readonly RecordInput[]): Promise<void> => {
    for (;;) {
      try {
        await log.append(topics[0]!, partition, encodeBatch(records, 0))
        return
      } catch (error) {
        if (classify(error).retry !== 'later') throw error
      }
    }
  }
  /** Around now; some late, some in the future, some exactly at the edge of a window or of the future. */
  const drawTime = (): number => {
    const time = clock.now() + Math.floor((next() - 0.7) * 300_000)
    const draw = next()
    if (draw < 0.05) return clock.now() + VISIT_POLICY.futureToleranceMs + below(2)
    if (draw < 0.08) return time + 3_600_000
    return draw < 0.4 ? Math.floor(time / 60_000) * 60_000 - below(2) : time
  }
  const drawVisit = (): Visit => ({
    id: next() < 0.1 ? null : `visit-${below(options.ids)}`,
    time: drawTime(),
    place: [null, '', 'a', 'b', 'Zoë'][below(5)]!,
    score: next() < 0.1 ? 2n ** 53n + 1n : next() < 0.1 ? null : BigInt(below(9) - 4),
    cents: next() < 0.1 ? null : below(3_000) - 800,
    ratio: below(5) / 4,
  })
  const produce = async (): Promise<void> => {
    for (let batch = below(3); batch > 0; batch--) {
      const records = Array.from({ length: 1 + below(6) }, (): RecordInput => {
        if (next() < options.dead) return DEAD_RECORDS[below(DEAD_RECORDS.length)]!
        const visit = drawVisit()
        const old = next() < 0.1
        const record = visitRecord(visit, old ? SCHEMA_IDS.old : SCHEMA_IDS.current)
        known.set(recordKey(record), { sort: 'visit', visit: old ? { ...visit, ratio: 0.5 } : visit })
        counts.events++
        return record
      })
      await append(below(options.partitions), records)
    }
  }
  let lastBarrier = 0
  const tick = async (complete: boolean): Promise<void> => {
    lastBarrier += 1 + below(2)
    for (let partition = 0; partition < options.partitions; partition++) {
      if (!complete && next() < options.missedBarrier) {
        counts['missed-barrier']++
        continue
      }
      const ids = [lastBarrier]
      if (next() < options.staleBarrier) {
        counts['stale-barrier']++
        ids.splice(below(2), 0, Math.max(1, lastBarrier - below(3)))
      }
      for (const id of ids) {
        const record = barrierRecord(id, barrierMs(id))
        known.set(recordKey(record), { sort: 'barrier', id })
        await append(partition, [record])
      }
    }
  }
  const look = async () => {
    const before = calm
    calm = true
    const readings = await checker.look(below)
    calm = before
    if (failure !== null) throw failure
    return readings
  }

  for (let at = 0; at < options.ticks; at++) {
    registryDown = next() < options.registry
    if (next() < options.wall) {
      counts.wall++
      clock.jumpWall(below(7_200_000) - 3_600_000)
    }
    if (next() < options.wipe) {
      if (next() < 0.5) {
        counts.wipe++
        checkpoints.wipe()
      } else if (checkpoints.loseSegment(stream.name, below(options.partitions))) counts.segment++
    }
    tendOwners()
    if (at === options.killTick) {
      counts.kill++
      owners.find(({ process, ended }) => process.alive && !ended)!.process.kill()
    }
    await produce()
    if (next() < 0.35) await tick(false)
    await clock.advance(below(400))
    if (next() < 0.4) await look()
  }

  // Everything heals; a killed owner has been replaced, a stopped one goes on, late appends arrive.
  calm = true
  registryDown = false
  await tick(true)
  await produce()
  for (let turn = 0; ; turn++) {
    tendOwners()
    await clock.advance(500)
    if (turn < 8 || turn % 4 > 0) continue
    const readings = await look()
    const ends = readings.map(({ end }) => end)
    if (checker.stores.every((store) => store.state().offsets.join() === ends.join())) break
    if (turn > 200) {
      const offsets = checker.stores.map((store) => store.state().offsets.join())
      throw new Error(`unseen: the log ends at ${ends.join()}, the answers at ${offsets.join(' and ')}`)
    }
  }
  for (const owner of owners) {
    owner.stop.abort()
    owner.process.kill()
  }
  Object.assign(counts, {
    ...log.fired,
    sealed: checker.publications,
    repeats: checker.repeats,
    answers: checker.answers,
  })
  return counts
}
