/** Findings of the simulation, kept as plain examples: each is the shortest way to what went wrong once. */
import { beforeAll, expect, test } from 'vitest'
import { encodeBatch } from '#format/record-batch.ts'
import { OperatingError } from '#io/errors.ts'
import type { EventLog, Registry } from '#io/ports.ts'
import type { MetricDefinition } from '#metrics/definition.ts'
import { createVirtualClock, type VirtualClock } from '#testkit/clock-virtual.ts'
import { type AppendFault, createMemoryLog, type MemoryLog } from '#testkit/log-memory.ts'
import { createMemoryCheckpoints, type MemoryCheckpoints } from '#testkit/simulator-process.ts'
import { barrierRecord, loadVisits, VISIT_START_MS, visitRecord, visitSchema } from '#testkit/simulator-stream.ts'
import { runSpeed } from '../../services/speed/run.ts'

let metric: MetricDefinition
beforeAll(async () => {
  metric = (await loadVisits()).metric('by_place')
})

const registry: Registry = { register: async () => 1, schemaById: async (id) => visitSchema(id) }
const visit = visitRecord({ id: 'v', time: VISIT_START_MS, place: 'a', score: 1n, cents: 1, ratio: 0 })

/** A log of one partition; `fault` is applied to the topics of partials. */
async function worldOf(fault: AppendFault | null = null): Promise<{ clock: VirtualClock; log: MemoryLog }> {
  const clock = createVirtualClock()
  const onAppend = ({ topic }: { topic: string }) => (topic.startsWith('events.') ? null : fault)
  const log = createMemoryLog({ clock, faults: { onAppend } })
  const topics = ['events.visits', 'live.by_place', 'sealed.by_place']
  await log.createTopics(topics.map((topic) => ({ topic, partitions: 1, retentionMs: null, cleanup: 'delete' })))
  return { clock, log }
}

/** Starts the loop over partition 0; `outcome` is null while it runs. */
function start(
  world: { clock: VirtualClock; log: EventLog },
  more: { registry?: Registry; checkpoints?: MemoryCheckpoints } = {},
) {
  const stop = new AbortController()
  const running = { stop, outcome: null as 'ended' | Error | null }
  const silent = () => undefined
  const deps = { ...world, registry, checkpoints: createMemoryCheckpoints(), ...more }
  const own = { stream: metric.stream, metrics: [metric], partitions: [0], flushMs: 100, signal: stop.signal }
  void runSpeed({ ...deps, ...own, onStatus: silent, onWarning: silent }).then(
    () => (running.outcome = 'ended'),
    (error: Error) => (running.outcome = error),
  )
  return running
}

async function advance(clock: VirtualClock, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 50) await clock.advance(50)
}

test('[S1] told to stop while the registry is away, the loop ends: waiting does not turn into spinning', async () => {
  const world = await worldOf()
  let asked = 0
  const away: Registry = {
    ...registry,
    schemaById() {
      // A loop that spins would never give the test a turn again.
      if (++asked > 500) return new Promise(() => undefined)
      return Promise.reject(new OperatingError('REGISTRY_UNREACHABLE', 'injected'))
    },
  }
  await world.log.append('events.visits', 0, encodeBatch([visit], 0))
  const running = start(world, { registry: away })
  await advance(world.clock, 1_000)
  expect(asked).toBeGreaterThan(1)
  expect(running.outcome).toBeNull()
  running.stop.abort()
  await advance(world.clock, 5_000)
  expect(running.outcome).not.toBeNull()
  expect(asked).toBeLessThan(20)
})

test('[S1] told to stop while the log takes nothing, the loop gives up its last live partials after a while', async () => {
  const world = await worldOf({ kind: 'refused' })
  const running = start(world)
  await advance(world.clock, 210)
  await world.log.append('events.visits', 0, encodeBatch([visit], 0))
  await world.clock.advance(10)
  running.stop.abort()
  await advance(world.clock, 1_000)
  expect(running.outcome).toBeNull()
  expect(world.log.fired.refused).toBeGreaterThan(0)
  await advance(world.clock, 9_000)
  expect(running.outcome).toBe('ended')
})

test('[S1] a checkpoint that another owner moved after the end of the log was read is no data loss', async () => {
  const world = await worldOf()
  const checkpoints = createMemoryCheckpoints()
  let release: (() => void) | null = null
  const slow: EventLog = {
    ...world.log,
    // The first answer is kept back until the other owner has gone on, as when the process is stopped there.
    async endOffsets(topic) {
      const ends = await world.log.endOffsets(topic)
      if (release === null) await new Promise<void>((resolve) => (release = resolve))
      return ends
    },
  }
  const late = start({ ...world, log: slow }, { checkpoints })
  await advance(world.clock, 100)
  const other = start(world, { checkpoints })
  await world.log.append('events.visits', 0, encodeBatch([visit, barrierRecord(1, VISIT_START_MS)], 0))
  await advance(world.clock, 1_000)
  expect((await checkpoints.load('visits', 0))?.saved.state).toMatchObject({ next: 2 })
  release!()
  await advance(world.clock, 1_000)
  expect(late.outcome).toBeNull()
  for (const { stop } of [late, other]) stop.abort()
  await advance(world.clock, 3_000)
  expect([late.outcome, other.outcome]).toEqual(['ended', 'ended'])
})

test('[S1] a checkpoint of a topic that was created again is not used: the new log is read from its start', async () => {
  const world = await worldOf()
  const checkpoints = createMemoryCheckpoints()
  const before = start(world, { checkpoints })
  await world.log.append('events.visits', 0, encodeBatch([visit, barrierRecord(1, VISIT_START_MS)], 0))
  await advance(world.clock, 1_000)
  before.stop.abort()
  await advance(world.clock, 3_000)
  world.log.recreate('events.visits')
  await world.log.append('events.visits', 0, encodeBatch([visit, visit, barrierRecord(2, VISIT_START_MS)], 0))
  const after = start(world, { checkpoints })
  await advance(world.clock, 1_000)
  expect(after.outcome).toBeNull()
  expect((await checkpoints.load('visits', 0))?.saved.state).toMatchObject({
    next: 3,
    epoch: 2,
    counts: { accepted: 1, duplicates: 1 },
  })
  after.stop.abort()
  await advance(world.clock, 3_000)
})
