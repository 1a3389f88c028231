import { describe, expect, it } from 'vitest'
import { readBarrier } from '#format/barrier.ts'
import { encodeBatch } from '#format/record-batch.ts'
import type { EventLog, Registry } from '#io/ports.ts'
import type { Definitions, StreamDefinition } from '#metrics/definition.ts'
import { BARRIERS_TOPIC, eventsTopic } from '#schemas/topics.ts'
import { createVirtualClock } from '#testkit/clock-virtual.ts'
import { createMemoryLog, type LogFaults } from '#testkit/log-memory.ts'
import { recordsByPartition } from '#testkit/records.ts'
import { createBarriers } from './barriers.ts'

const registry: Registry = { register: () => Promise.resolve(9), schemaById: () => Promise.resolve(null) }

function definitionsOf(...names: string[]): Definitions {
  const streams = names.map((name) => ({ name, partitions: 3, retentionMs: null }) as unknown as StreamDefinition)
  return { directory: '', streams, metrics: [] }
}

async function logOf(names: string[], faults?: LogFaults) {
  const clock = createVirtualClock()
  const log = createMemoryLog({ clock, ...(faults === undefined ? {} : { faults }) })
  await log.createTopics(
    names.map((name) => ({ topic: eventsTopic(name), partitions: 3, retentionMs: null, cleanup: 'delete' as const })),
  )
  return { clock, log }
}

/** What a reader accepts: per partition, barrier id → offset, stale ids ignored. The rule of core/barrier, spelt out again. */
async function acceptedOf(log: EventLog, stream: string): Promise<Map<number, number>[]> {
  return (await recordsByPartition(log, eventsTopic(stream))).map((records) => {
    const accepted = new Map<number, number>()
    let last = 0
    for (const record of records) {
      const barrier = readBarrier(record)
      if (barrier === null || barrier.id <= last) continue
      last = barrier.id
      accepted.set(barrier.id, record.offset)
    }
    return accepted
  })
}

const boundsOf = (accepted: Map<number, number>[], id: number) =>
  accepted.map((each) => (each.get(id) ?? Number.NaN) + 1)

describe('[S2] barriers', () => {
  it('put one barrier into every partition and say where', async () => {
    const { log, clock } = await logOf(['a'])
    await log.append(eventsTopic('a'), 1, encodeBatch([{ key: null, value: Uint8Array.of(1) }], 0))
    const barriers = await createBarriers({ log, clock, registry, definitions: definitionsOf('a'), intervalMs: 1_000 })
    expect(await barriers.put('a', { demand: true })).toEqual({ id: 1, offsets: [1, 2, 1] })
    expect(await barriers.put('a', { demand: true })).toEqual({ id: 2, offsets: [2, 3, 2] })
    await expect(barriers.put('b', { demand: true })).rejects.toMatchObject({ code: 'STREAM_UNKNOWN' })
    await barriers.stop()
  })

  it('serialise concurrent puts of one stream', async () => {
    const { log, clock } = await logOf(['a'])
    const barriers = await createBarriers({ log, clock, registry, definitions: definitionsOf('a'), intervalMs: 1_000 })
    const cuts = await Promise.all(Array.from({ length: 8 }, () => barriers.put('a', { demand: true })))
    expect(cuts.map(({ id }) => id)).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    const accepted = await acceptedOf(log, 'a')
    for (const { id, offsets } of cuts) expect(boundsOf(accepted, id)).toEqual(offsets)
    await barriers.stop()
  })

  it('after a stop refuse to put: a build that asked then held the stop up for ever', async () => {
    const { log, clock } = await logOf(['a'])
    const barriers = await createBarriers({ log, clock, registry, definitions: definitionsOf('a'), intervalMs: 1_000 })
    await barriers.put('a', { demand: true })
    await barriers.stop()
    await expect(barriers.put('a', { demand: true })).rejects.toMatchObject({ code: 'OVERLOADED', retry: 'later' })
    expect((await acceptedOf(log, 'a'))[0]!.size).toBe(1)
  })

  it('[L1] ids go on after a restart, also after one that died half-way through the partitions', async () => {
    let failing = false
    const { log, clock } = await logOf(['a'], {
      onAppend: ({ topic, partition }) =>
        failing && topic === eventsTopic('a') && partition === 2 ? { kind: 'refused' } : null,
    })
    const deps = { log, clock, registry, definitions: definitionsOf('a'), intervalMs: 1_000 }
    const first = await createBarriers(deps)
    await first.put('a', { demand: true })
    failing = true
    await expect(first.put('a', { demand: true })).rejects.toMatchObject({ code: 'LOG_UNREACHABLE' })
    expect(log.fired.refused).toBe(1)
    failing = false
    const second = await createBarriers(deps)
    const cut = await second.put('a', { demand: true })
    expect(cut.id).toBe(3)
    const accepted = await acceptedOf(log, 'a')
    expect(boundsOf(accepted, 3)).toEqual(cut.offsets)
    // Id 2 stands in two partitions only: no cut.
    expect(accepted.map((each) => each.has(2))).toEqual([true, true, false])
    await second.stop()
  })

  // Goal: an id that `put` returns is a cut at the offsets it returns, whoever else puts. Method: three tickers on one log, no
  // coordination but the log; then the acceptance rule is applied to what stands there.
  it('never return an id that some partition ignored, with several tickers at once', async () => {
    const { log, clock } = await logOf(['a', 'b'])
    const deps = { log, clock, registry, definitions: definitionsOf('a', 'b'), intervalMs: 1_000 }
    const tickers = await Promise.all([createBarriers(deps), createBarriers(deps), createBarriers(deps)])
    const outcomes = await Promise.allSettled(
      Array.from({ length: 30 }, async (_, i) => {
        const stream = i % 2 === 0 ? 'a' : 'b'
        return { stream, cut: await tickers[i % 3]!.put(stream, { demand: true }) }
      }),
    )
    const accepted = { a: await acceptedOf(log, 'a'), b: await acceptedOf(log, 'b') }
    const cuts = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
    expect(cuts.length).toBeGreaterThan(5)
    for (const { stream, cut } of cuts) expect(boundsOf(accepted[stream as 'a' | 'b'], cut.id)).toEqual(cut.offsets)
    const ids = cuts.map(({ stream, cut }) => `${stream} ${cut.id}`)
    expect(new Set(ids).size).toBe(ids.length)
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'OVERLOADED' })
    }
    // An overtaken ticker gives way; alone again, it succeeds.
    const cut = await tickers[0].put('a', { demand: true })
    expect(boundsOf(await acceptedOf(log, 'a'), cut.id)).toEqual(cut.offsets)
    await Promise.all(tickers.map((each) => each.stop()))
  })

  it('a ticker that stalls half-way and is overtaken does not claim its stale id', async () => {
    const { log, clock } = await logOf(['a'])
    let open = () => {}
    let stalled = () => {}
    const gate = new Promise<void>((resolve) => (open = resolve))
    const reached = new Promise<void>((resolve) => (stalled = resolve))
    let first = true
    const slow: EventLog = {
      ...log,
      async append(topic, partition, batch) {
        if (first && topic === eventsTopic('a') && partition === 1) {
          first = false
          stalled()
          await gate
        }
        return log.append(topic, partition, batch)
      },
    }
    const deps = { clock, registry, definitions: definitionsOf('a'), intervalMs: 1_000 }
    const [zombie, other] = [await createBarriers({ ...deps, log: slow }), await createBarriers({ ...deps, log })]
    const late = zombie.put('a', { demand: true })
    await reached
    expect((await other.put('a', { demand: true })).id).toBe(2)
    open()
    const cut = await late
    expect(cut.id).toBe(3)
    expect(boundsOf(await acceptedOf(log, 'a'), cut.id)).toEqual(cut.offsets)
    await Promise.all([zombie.stop(), other.stop()])
  })

  it('an append of unknown outcome is no cut, even when it arrives late', async () => {
    let faulty = true
    const { log, clock } = await logOf(['a'], {
      onAppend: ({ topic, partition }) => {
        if (!faulty || topic !== eventsTopic('a') || partition !== 0) return null
        faulty = false
        return { kind: 'late', delayMs: 50 }
      },
    })
    const barriers = await createBarriers({ log, clock, registry, definitions: definitionsOf('a'), intervalMs: 1_000 })
    await expect(barriers.put('a', { demand: true })).rejects.toMatchObject({ code: 'LOG_APPEND_UNKNOWN' })
    const cut = await barriers.put('a', { demand: true })
    await clock.advance(100)
    expect(log.fired.late).toBe(1)
    expect(boundsOf(await acceptedOf(log, 'a'), cut.id)).toEqual(cut.offsets)
    await barriers.stop()
  })

  it('[L1] number each stream by itself: the dedup horizon counts the epochs of its own stream', async () => {
    const { log, clock } = await logOf(['a', 'b', 'c'])
    const deps = { log, clock, registry, definitions: definitionsOf('a', 'b', 'c'), intervalMs: 1_000 }
    const barriers = await createBarriers(deps)
    const idsOf = async (each: typeof barriers, streams: string): Promise<number[]> => {
      const ids: number[] = []
      for (const stream of streams) ids.push((await each.put(stream, { demand: true })).id)
      return ids
    }
    expect(await idsOf(barriers, 'aab')).toEqual([1, 2, 3])
    expect(await idsOf(barriers, 'abab')).toEqual([3, 4, 4, 5])
    await barriers.stop()
    const again = await createBarriers(deps)
    expect(await idsOf(again, 'aba')).toEqual([5, 6, 6])
    await again.stop()
    // Long idle: no reservation is left, but what stands in the streams is still below what comes.
    log.truncateBelow(BARRIERS_TOPIC, 0, (await log.endOffsets(BARRIERS_TOPIC))[0]!)
    const later = await createBarriers(deps)
    for (const stream of ['b', 'c', 'a']) {
      const cut = await later.put(stream, { demand: true })
      expect(boundsOf(await acceptedOf(log, stream), cut.id)).toEqual(cut.offsets)
    }
    await later.stop()
  })

  it('tick every stream once per interval, idle ones too, and survive a refused append', async () => {
    let refuse = 1
    const { log, clock } = await logOf(['a', 'b'], {
      onAppend: ({ topic }) => (topic === eventsTopic('b') && refuse-- > 0 ? { kind: 'refused' } : null),
    })
    const warned: string[] = []
    const logger = { warn: (_context: object, message: string) => void warned.push(message) }
    const barriers = await createBarriers({
      log,
      clock,
      registry,
      definitions: definitionsOf('a', 'b'),
      intervalMs: 1_000,
      logger,
    })
    barriers.start()
    await clock.advance(500)
    expect((await acceptedOf(log, 'a'))[0]!.size).toBe(1)
    expect((await acceptedOf(log, 'b'))[0]!.size).toBe(0)
    await clock.advance(2_500)
    expect((await acceptedOf(log, 'a'))[0]!.size).toBe(3)
    expect((await acceptedOf(log, 'b')).map((each) => each.size)).toEqual([2, 3, 3])
    expect(warned).toHaveLength(1)
    await barriers.stop()
    await clock.advance(5_000)
    expect((await acceptedOf(log, 'a'))[0]!.size).toBe(3)
  })

  it('leave one reservation per id on the log', async () => {
    const { log, clock } = await logOf(['a'])
    const barriers = await createBarriers({ log, clock, registry, definitions: definitionsOf('a'), intervalMs: 1_000 })
    await barriers.put('a', { demand: true })
    await barriers.put('a', { demand: false })
    expect(await log.endOffsets(BARRIERS_TOPIC)).toEqual([2])
    await barriers.stop()
  })
})
