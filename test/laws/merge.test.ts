/**
 * Law 6: for every cut, merge(view at the cut, partials of the epochs from it on) = recompute of everything before the
 * answer's own offsets (I5), whatever reaches the store in whatever order; else the answer is refused.
 *
 * Method: histories of several partitions with barriers, some of which miss ids; the real engine publishes about them, by an
 * owner and by zombies that took over from older checkpoints; tables come in small parts. Deliveries are interleaved,
 * repeated, lost (live) and shuffled, and views of any cut are proposed in between, older ones too. After every delivery
 * the store answers exactly the oracle's recompute over the offsets it states, watermark included, or refuses.
 * A failure prints its seed; repeat with SEED=… vitest run --project laws test/laws/merge.test.ts
 */
import fc from 'fast-check'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { MergeStore } from '#core/merge.ts'
import type { MetricDefinition } from '#metrics/definition.ts'
import { isGate, random, runs } from '#testkit/runs.ts'
import { divide, partitionHistories, type Reading, type Run, readHistory } from '#testkit/simulator-history.ts'
import {
  answerOf,
  cutsOf,
  exactAnswer,
  exactWatermark,
  type PublishedRecord,
  runOwner,
  viewAt,
} from '#testkit/simulator-merge.ts'
import { loadVisits } from '#testkit/simulator-stream.ts'

// Records of partials of a few rows, so that tables come in parts.
vi.mock(import('#core/limits.ts'), async (original) => {
  const { LIMITS } = await original()
  return { LIMITS: { ...LIMITS, partialRecordBytes: 400 as never } }
})

let byPlace: MetricDefinition
let paid: MetricDefinition

beforeAll(async () => {
  const { metric } = await loadVisits()
  byPlace = metric('by_place')
  paid = metric('paid')
})

/** What stands in one partition of the two topics, in the order of the log: an owner's records and a zombie's among them. */
interface Queues {
  readonly live: PublishedRecord[]
  readonly sealed: PublishedRecord[]
}

/** Keeps the order within both; `from`: how many of `a` come before the first of `b`. */
function interleave<T>(a: readonly T[], b: readonly T[], from: number, next: () => number): T[] {
  const out = a.slice(0, from)
  const rest = [a.slice(from), [...b]]
  while (rest[0]!.length > 0 || rest[1]!.length > 0) {
    const pick = rest[0]!.length === 0 || (rest[1]!.length > 0 && next() < 0.5) ? 1 : 0
    out.push(rest[pick]!.shift()!)
  }
  return out
}

function queuesOf(metric: MetricDefinition, partition: number, history: readonly Run[], next: () => number): Queues {
  const often = next()
  const owner = runOwner(metric, partition, divide(history, next, 0.5), null, () => next() < often)
  const takeover = owner.checkpoints[Math.floor(next() * (owner.checkpoints.length + 1))] ?? null
  const batches = divide(history, next, 0.5)
  const zombie = runOwner(metric, partition, batches, takeover?.state ?? null, () => next() < 0.5)
  return {
    sealed: interleave(owner.sealed, zombie.sealed, takeover?.after ?? 0, next),
    live: interleave(owner.live, zombie.live, 0, next),
  }
}

const newStore = (metric: MetricDefinition, partitions: number): MergeStore =>
  new MergeStore({
    layout: metric.layout,
    partitions,
    generation: metric.generation,
  })

/** The answer is the oracle's over the offsets it states. */
function expectExact(store: MergeStore, readings: readonly Reading[], metric: MetricDefinition): void {
  const { offsets, watermark } = store.state()
  expect(answerOf(store, metric)).toEqual(exactAnswer(readings, metric, offsets))
  expect(watermark).toBe(exactWatermark(readings, offsets))
}

const seeds = fc.integer({ min: 0, max: 2 ** 31 })

describe('law 6: merge', () => {
  test('[T5] [D1] [Q9] in the order of the topics every answer is exact for its offsets and none is refused, for every cut and back', () => {
    const seen = { lost: 0, parts: 0, adopted: 0, rollbacks: 0, late: 0 }
    fc.assert(
      fc.property(partitionHistories, seeds, (histories, seed) => {
        const next = random(seed)
        const metric = next() < 0.7 ? byPlace : paid
        const readings = histories.map((history, partition) => readHistory(partition, history))
        const cuts = cutsOf(readings)
        const all = histories.map((history, partition) => queuesOf(metric, partition, history, next))
        const queues = all.flatMap(({ live, sealed }) => [[...sealed], [...live]])
        const store = newStore(metric, histories.length)
        store.publish(null)
        const history: PublishedRecord[] = []
        const deliver = (record: PublishedRecord): void => {
          store.apply(record.tags, record.table)
          expect(store.refusal()).toBeNull()
          expectExact(store, readings, metric)
        }
        const loss = next() * 0.6
        let watermark = Number.NEGATIVE_INFINITY
        for (;;) {
          const open = queues.filter((queue) => queue.length > 0)
          if (open.length === 0) break
          const record = open[Math.floor(next() * open.length)]!.shift()!
          if (record.tags.parts > 1) seen.parts++
          if (record.tags.kind === 'live' && next() < loss) {
            seen.lost++
            continue
          }
          history.push(record)
          deliver(record)
          if (next() < 0.2) deliver(history[Math.floor(next() * history.length)]!)
          if (cuts.length > 0 && next() < 0.15) {
            const before = store.state().cut
            store.publish(viewAt(readings, metric, cuts[Math.floor(next() * cuts.length)]!))
            expect(store.refusal()).toBeNull()
            expectExact(store, readings, metric)
            if (store.needsHistory) {
              seen.rollbacks++
              for (const earlier of history) if (earlier.tags.kind === 'sealed') deliver(earlier)
            }
            if (store.state().cut > before) seen.adopted++
          }
          expect(store.state().watermark).toBeGreaterThanOrEqual(watermark)
          watermark = store.state().watermark
        }
        // Everything sealed has come: only the open epochs may be unknown.
        const { offsets } = store.state()
        for (const [partition, { epochs }] of readings.entries()) {
          expect(offsets[partition]).toBeGreaterThanOrEqual(epochs.at(-1)?.next ?? 0)
        }
        for (const cut of cuts) {
          store.publish(viewAt(readings, metric, cut))
          for (const { sealed } of all) for (const record of sealed) deliver(record)
          expect(store.state().cut).toBe(cut)
        }
        // Events that came late, after the last cut too, are in the answer once: the oracle above counts them once.
        const last = cuts.at(-1)
        seen.late += readings.reduce((sum, { judged, cuts: bounds }, partition) => {
          const after = last === undefined ? 0 : bounds.get(last)!
          const counted = judged.filter(({ event }) => event.offset >= after && event.offset < offsets[partition]!)
          return sum + counted.filter(({ event, watermark: at }) => at !== null && event.eventTime < at).length
        }, 0)
      }),
      runs(100, 'laws/merge in order'),
    )
    if (isGate) for (const count of Object.values(seen)) expect(count).toBeGreaterThan(0)
  })

  test('[Q3] [D1] in any order at all every answer is exact for its offsets, or refused by a code; with everything there it is given', () => {
    const seen = { refused: 0, answered: 0, grown: 0 }
    fc.assert(
      fc.property(partitionHistories, seeds, (drawn, seed) => {
        const next = random(seed)
        // The last partition may have been added when some barriers were already there.
        const added = drawn.length > 1 && next() < 0.3 ? Math.floor(next() * drawn.at(-1)!.length) : 0
        const histories = drawn.map((history, at) => (at === drawn.length - 1 ? history.slice(added) : history))
        const readings = histories.map((history, partition) => readHistory(partition, history))
        const firstId = readings.at(-1)!.epochs[0]?.sealedBy ?? 0
        const older = added === 0 ? [] : cutsOf(readings.slice(0, -1)).filter((id) => id < firstId)
        const cuts = [...older, ...cutsOf(readings)]
        const view = (cut: number) => {
          if (older.includes(cut)) seen.grown++
          return viewAt(older.includes(cut) ? readings.slice(0, -1) : readings, byPlace, cut)
        }
        const records = histories.flatMap((history, partition) => {
          const { live, sealed } = queuesOf(byPlace, partition, history, next)
          return [...live, ...sealed]
        })
        const shuffled = records.map((record) => ({ record, at: next() })).sort((a, b) => a.at - b.at)
        const store = newStore(byPlace, next() < 0.5 ? histories.length : 1)
        if (next() < 0.5 || cuts.length === 0) store.publish(null)
        const check = (): void => {
          const refusal = store.refusal()
          if (refusal === null) {
            seen.answered++
            expectExactAnswer(store, readings)
          } else {
            seen.refused++
            expect(['CUT_UNCOVERED', 'SPEED_BEHIND']).toContain(refusal.code)
          }
        }
        for (const { record } of shuffled) {
          store.apply(record.tags, record.table)
          check()
          if (cuts.length > 0 && next() < 0.1) {
            store.publish(view(cuts[Math.floor(next() * cuts.length)]!))
            check()
          }
        }
        if (store.pendingCut === null && store.refusal()?.code === 'SPEED_BEHIND') {
          store.publish(view(cuts.at(-1)!))
        }
        for (const record of records) {
          store.apply(record.tags, record.table)
          check()
        }
        expect(store.refusal()).toBeNull()
        expect(store.pendingCut).toBeNull()
      }),
      runs(120, 'laws/merge any order'),
    )
    if (isGate) for (const count of Object.values(seen)) expect(count).toBeGreaterThan(0)
  })

  test('[Q3] a planted hole in the sealed topic is never answered across: exact before it, refused after it, healed by a view', () => {
    const seen = { refused: 0, healed: 0 }
    fc.assert(
      fc.property(partitionHistories, seeds, (histories, seed) => {
        const next = random(seed)
        const readings = histories.map((history, partition) => readHistory(partition, history))
        const cuts = cutsOf(readings)
        const partition = Math.floor(next() * histories.length)
        const { epochs } = readings[partition]!
        // The hole is not the last epoch, so that something sealed lies behind it.
        if (epochs.length < 2) return
        const hole = epochs[Math.floor(next() * (epochs.length - 1))]!
        const queues = histories.map((history, at) => queuesOf(byPlace, at, history, next))
        const store = newStore(byPlace, histories.length)
        store.publish(null)
        for (const { live, sealed } of queues) {
          for (const record of interleave(sealed, live, 0, next)) {
            const { tags } = record
            if (tags.kind === 'sealed' && tags.partition === partition && tags.epoch === hole.epoch) continue
            store.apply(tags, record.table)
            if (store.refusal() === null) expectExactAnswer(store, readings)
            expect(store.state().offsets[partition]!).toBeLessThanOrEqual(hole.next)
          }
        }
        expect(store.refusal()).toMatchObject({ code: 'CUT_UNCOVERED', partition })
        expect(store.refusal()!.reason).toContain(`epoch ${hole.epoch} `)
        seen.refused++
        const cut = cuts.find((id) => id > hole.epoch)
        if (cut === undefined) return
        store.publish(viewAt(readings, byPlace, cut))
        expect(store.refusal()).toBeNull()
        expectExact(store, readings, byPlace)
        seen.healed++
      }),
      runs(80, 'laws/merge planted hole'),
    )
    if (isGate) for (const count of Object.values(seen)) expect(count).toBeGreaterThan(0)
  })
})

function expectExactAnswer(store: MergeStore, readings: readonly Reading[]): void {
  expect(answerOf(store, byPlace)).toEqual(exactAnswer(readings, byPlace, store.state().offsets))
}
