/**
 * Laws of the stream engine, on histories with late, repeated and future events, poison, damaged and control batches,
 * unknown schemas, stale and forged barriers.
 *
 *   1 poll split   any division into record batches gives the same sealed bytes, and the oracle's live values at every offset
 *   3 replay       feeding any batch again changes nothing
 *   5 crash        stopping at any step and going on from the checkpoint gives the same sealed bytes
 *   7 monotone     stale barriers are ignored; epochs and watermarks never go back
 *   8 conservation every offset is counted once, as what it is
 * A failure prints its seed; repeat with SEED=… vitest run --project laws test/laws/engine.test.ts
 */

import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import type { MetricDefinition } from '#metrics/definition.ts'
import type { EpochPartials, PartitionEngine, SealedEpoch } from '#metrics/partition-engine.ts'
import { recompute } from '#testkit/oracle.ts'
import { isGate, random, runs } from '#testkit/runs.ts'
import {
  checkpointOf,
  divide,
  drive,
  engineOf,
  histories,
  type PlainBatch,
  type Reading,
  type Restorable,
  type Run,
  readHistory,
  wholeTable,
} from '#testkit/simulator-history.ts'
import {
  loadVisits,
  type Spelled,
  spellCells,
  spellTable,
  VISIT_ORACLE,
  VISIT_START_MS,
} from '#testkit/simulator-stream.ts'
import { encodePublication } from '../../services/speed/publish.ts'

let metrics: MetricDefinition[]
/** Exact metrics first; `doubled` overflows, and must refuse alike. */
const EXACT = ['by_place', 'paid'] as const

beforeAll(async () => {
  const { metric } = await loadVisits()
  metrics = [...EXACT.map(metric), metric('doubled')]
})

/** A sealed epoch as it is published, byte for byte, per metric. */
function published(sealed: SealedEpoch): string[] {
  return sealed.partials.map((partials) => {
    const hash = createHash('sha256')
    const parts = encodePublication(partials, {
      state: sealed,
      base: sealed.first,
      sealed: { by: sealed.sealedBy, ms: sealed.sealedMs },
    })
    for (const batch of parts) hash.update(batch)
    return `${partials.metric.name} ${sealed.epoch} [${sealed.first}, ${sealed.next}) ${hash.digest('hex')}`
  })
}

/** The oracle's partials of [first, next). */
const expectedOf = (reading: Reading, metric: string, first: number, next: number): Spelled =>
  spellCells(
    recompute(
      reading.judged.filter(({ event }) => event.offset >= first && event.offset < next),
      VISIT_ORACLE[metric]!,
    ),
    VISIT_ORACLE[metric]!,
  )

/** Live values as a reader keeps them: replaced entry by entry, dropped when the epoch changes. */
class LiveReader {
  epoch = 0
  readonly held = new Map<string, Spelled>()

  take(engine: PartitionEngine): boolean {
    const live = engine.takeLive()
    if (live === null) return false
    const { epoch } = engine.state()
    if (epoch !== this.epoch) this.held.clear()
    this.epoch = epoch
    for (const partials of live) this.#take(partials)
    return true
  }

  #take(partials: EpochPartials): void {
    const { name } = partials.metric
    this.held.set(name, spellTable(wholeTable(partials), this.held.get(name)))
  }
}

/** Drives a new engine over all batches; checks live values at every batch end when `reading` is given. */
function straight(batches: readonly PlainBatch[], reading: Reading | null, takes: () => boolean): string[] {
  const engine = engineOf(metrics, 0, null)
  const reader = new LiveReader()
  const out: string[] = []
  for (const batch of batches) {
    drive(engine, batch, { sealed: (sealed) => void out.push(...published(sealed)) })
    if (reading === null || !takes()) continue
    expect(reader.take(engine)).toBe(true)
    const { first, next } = engine.state()
    for (const name of EXACT) {
      expect(reader.held.get(name) ?? new Map()).toEqual(expectedOf(reading, name, first, next))
    }
  }
  return out
}

const seeds = fc.integer({ min: 0, max: 2 ** 31 })

describe('laws of the stream engine', () => {
  test('[T10] law 1: any division into record batches gives the same sealed bytes and the live values of its offset', () => {
    let refusals = 0
    let epochs = 0
    fc.assert(
      fc.property(histories({ ids: 12, overflow: true }), seeds, (history, seed) => {
        const next = random(seed)
        const reading = readHistory(0, history)
        const reference = straight(
          divide(history, () => 0, 0),
          reading,
          () => true,
        )
        expect(straight(divide(history, next, 1), reading, () => true)).toEqual(reference)
        expect(straight(divide(history, next, next()), reading, () => next() < 0.5)).toEqual(reference)
        epochs += reading.epochs.length
        expect(reference).toHaveLength(reading.epochs.length * metrics.length)
        const engine = engineOf(metrics, 0, null)
        for (const batch of divide(history, next, 0.3)) {
          drive(engine, batch, {
            sealed: (sealed) => {
              for (const name of EXACT) {
                const partials = sealed.partials.find(({ metric }) => metric.name === name)!
                expect(partials.refused).toBeNull()
                expect(spellTable(wholeTable(partials))).toEqual(expectedOf(reading, name, sealed.first, sealed.next))
              }
              if (sealed.partials.at(-1)!.refused !== null) refusals++
            },
          })
        }
      }),
      runs(150, 'laws/engine poll split'),
    )
    expect([refusals, epochs].every((count) => count > 0)).toBe(true)
  })

  test('[T10] law 1: batches larger than a chunk of columns are no different', () => {
    const next = random(7)
    const entries = Array.from({ length: 4_000 }, (_, n) => {
      if (n % 1_500 === 1_499) return { sort: 'barrier' as const, id: Math.ceil(n / 1_500) }
      const visit = {
        id: `v${Math.floor(next() * 3_000)}`,
        time: VISIT_START_MS + Math.floor(next() * 400_000),
        place: `p${Math.floor(next() * 200)}`,
        score: next() < 0.01 ? 2n ** 53n + BigInt(n) : BigInt(n),
        cents: Math.floor(next() * 2_000) - 500,
        ratio: next(),
      }
      return { sort: 'visit' as const, visit, old: false }
    })
    const history: Run[] = [{ sort: 'records', entries }]
    const reference = straight(divide(history, next, 0), null, () => false)
    expect(reference).toHaveLength(6)
    expect(straight(divide(history, next, 0.01), null, () => false)).toEqual(reference)
    expect(straight(divide(history, next, 0.0005), null, () => false)).toEqual(reference)
  })

  test('[T10] [D1] law 3: feeding any batch again, whole or from its middle, changes nothing', () => {
    let again = 0
    fc.assert(
      fc.property(histories({ ids: 12, overflow: false }), seeds, (history, seed) => {
        const next = random(seed)
        const reading = readHistory(0, history)
        const batches = divide(history, next, 0.3)
        const other = divide(history, next, 0.3)
        const reference = straight(batches, null, () => false)
        const engine = engineOf(metrics, 0, null)
        const reader = new LiveReader()
        const out: string[] = []
        const hooks = { sealed: (sealed: SealedEpoch) => void out.push(...published(sealed)) }
        for (const batch of batches) {
          drive(engine, batch, hooks)
          reader.take(engine)
          const before = JSON.stringify([engine.state(), engine.counts, engine.entries])
          for (const earlier of [...batches, ...other]) {
            if (earlier.lastOffset >= engine.next || next() < 0.5) continue
            drive(engine, earlier, hooks)
            again++
          }
          expect(JSON.stringify([engine.state(), engine.counts, engine.entries])).toBe(before)
          expect(engine.takeLive()!.every(({ rows }) => rows.count === 0)).toBe(true)
          // A batch of another division that reaches beyond what was read: only its rest is new.
          const beyond = other.find(
            ({ baseOffset, lastOffset }) => baseOffset < engine.next && lastOffset >= engine.next,
          )
          if (beyond !== undefined && next() < 0.3) drive(engine, beyond, hooks)
        }
        expect(out).toEqual(reference)
        expect(engine.next).toBe(reading.end)
      }),
      runs(100, 'laws/engine replay'),
    )
    if (isGate) expect(again).toBeGreaterThan(0)
  })

  test('[S1] [S5] law 5: stopped at any step and restored from the last checkpoint, it seals the same bytes', () => {
    let crashes = 0
    fc.assert(
      fc.property(histories({ ids: 6, overflow: false }), seeds, (history, seed) => {
        const next = random(seed)
        const batches = divide(history, next, 0.4)
        const reading = readHistory(0, history)
        const reference = new Set(straight(batches, null, () => false))
        const seen = new Set<string>()
        let saved: Restorable | null = null
        let engine = engineOf(metrics, 0, null)
        const reader = new LiveReader()
        const hooks = {
          // A crash at a seal comes before or after its publication, and before or after its checkpoint.
          step: () => next() >= 0.08,
          sealed: (sealed: SealedEpoch) => {
            for (const bytes of published(sealed)) seen.add(bytes)
            if (next() < 0.1) return false
            saved = checkpointOf(sealed, saved)
            return next() >= 0.05
          },
        }
        for (let at = 0; at < batches.length; ) {
          if (drive(engine, batches[at]!, hooks)) {
            at++
            continue
          }
          crashes++
          engine = engineOf(metrics, 0, saved)
          reader.held.clear()
          reader.epoch = engine.state().epoch
          at = batches.findIndex(({ lastOffset }) => lastOffset >= engine.next)
          if (at < 0) at = batches.length
          // The log may hand over earlier batches too.
          at = Math.max(0, at - Math.floor(next() * 2))
        }
        expect([...seen].sort()).toEqual([...reference].sort())
        expect(engine.next).toBe(reading.end)
        expect(reader.take(engine)).toBe(true)
        const { first, next: end } = engine.state()
        for (const name of EXACT) {
          expect(reader.held.get(name) ?? new Map()).toEqual(expectedOf(reading, name, first, end))
        }
        expectConserved(engine, reading)
      }),
      runs(200, 'laws/engine crash'),
    )
    expect(crashes).toBeGreaterThan(100)
  })

  test('[T2] law 7: stale barrier ids are ignored; epochs and watermarks never go back', () => {
    let stale = 0
    fc.assert(
      fc.property(histories({ ids: 30, overflow: false }), seeds, (history, seed) => {
        const reading = readHistory(0, history)
        const engine = engineOf(metrics, 0, null)
        const epochs: unknown[] = []
        let watermark = Number.NEGATIVE_INFINITY
        for (const batch of divide(history, random(seed), 0.5)) {
          drive(engine, batch, {
            sealed: ({ epoch, first, next, sealedBy, checkpoint }) => {
              epochs.push({ epoch, first, next, sealedBy })
              expect(checkpoint).toMatchObject({ next, epoch: sealedBy })
            },
          })
          const now = engine.state().watermark ?? Number.NEGATIVE_INFINITY
          expect(now).toBeGreaterThanOrEqual(watermark)
          watermark = now
          // The running maximum of event times that are not from the future, minus the disorder bound: nothing else moves it.
          const known = reading.judged.filter(
            ({ event, verdict }) => event.offset < engine.next && verdict !== 'quarantined',
          )
          expect(now).toBe(Math.max(Number.NEGATIVE_INFINITY, ...known.map(({ event }) => event.eventTime - 120_000)))
        }
        expect(epochs).toEqual(reading.epochs)
        stale += reading.fates.filter((fate) => fate === 'barrier').length - reading.epochs.length
      }),
      runs(150, 'laws/engine monotone'),
    )
    if (isGate) expect(stale).toBeGreaterThan(0)
  })

  test('[D5] [T6] law 8: every offset is counted once, as what it is, in total and per epoch', () => {
    fc.assert(
      fc.property(histories({ ids: 8, overflow: false }), seeds, (history, seed) => {
        const reading = readHistory(0, history)
        const engine = engineOf(metrics, 0, null)
        let sealedRecords = 0
        for (const batch of divide(history, random(seed), 0.4)) {
          drive(engine, batch, {
            sealed: ({ first, next, events, duplicates, dead, quarantined }) => {
              const inside = reading.judged.filter(({ event }) => event.offset >= first && event.offset < next)
              const count = (verdict: string) => inside.filter((one) => one.verdict === verdict).length
              expect({ events, duplicates, quarantined }).toEqual({
                events: count('accepted') + count('duplicate'),
                duplicates: count('duplicate'),
                quarantined: count('quarantined'),
              })
              expect(dead).toBe(reading.fates.slice(first, next).filter((fate) => fate === 'dead').length)
              sealedRecords += next - first
            },
          })
          expectConserved(engine, reading)
        }
        expect(sealedRecords).toBe(engine.state().first)
        expect(engine.next).toBe(reading.end)
      }),
      runs(150, 'laws/engine conservation'),
    )
  })

  test('[S1] a start in the middle of the log without a checkpoint publishes nothing before its first barrier, then what the rest of the log says', () => {
    let torn = 0
    fc.assert(
      fc.property(histories({ ids: 12, overflow: false }), seeds, fc.nat(), (history, seed, cut) => {
        const whole = readHistory(0, history)
        const startOffset = 1 + (cut % Math.max(1, whole.end - 1))
        if (startOffset >= whole.end) return
        const rest = readHistory(0, from(history, startOffset))
        const firstBarrier = rest.epochs[0]?.next ?? Number.POSITIVE_INFINITY
        const engine = engineOf(metrics, 0, null, startOffset)
        const reader = new LiveReader()
        for (const batch of divide(history, random(seed), 0.4)) {
          drive(engine, batch, {
            sealed: (sealed) => {
              const [first, next] = [sealed.first - startOffset, sealed.next - startOffset]
              if (next <= firstBarrier) {
                torn++
                expect(sealed.partials).toEqual([])
                return
              }
              for (const name of EXACT) {
                const partials = sealed.partials.find(({ metric }) => metric.name === name)!
                // Ids and watermark from before the start are not known: the values are those of a log that begins there.
                expect(spellTable(wholeTable(partials))).toEqual(expectedOf(rest, name, first, next))
              }
            },
          })
          if (engine.next <= startOffset) continue
          expect(reader.take(engine)).toBe(engine.next - startOffset >= firstBarrier)
        }
      }),
      runs(100, 'laws/engine torn start'),
    )
    if (isGate) expect(torn).toBeGreaterThan(0)
  })
})

/** The history without its first records; runs keep their arrival times. */
function from(history: readonly Run[], offset: number): Run[] {
  let left = offset
  return history.map((run) => {
    if (run.sort !== 'records') {
      const claims = Math.max(0, run.claims - left)
      left = Math.max(0, left - run.claims)
      return { ...run, claims }
    }
    const entries = run.entries.slice(left)
    left = Math.max(0, left - run.entries.length)
    return { ...run, entries }
  })
}

function expectConserved(engine: PartitionEngine, reading: Reading): void {
  const fates = reading.fates.slice(0, engine.next)
  const verdicts = reading.judged.filter(({ event }) => event.offset < engine.next)
  const verdict = (wanted: string) => verdicts.filter((one) => one.verdict === wanted).length
  const fate = (wanted: string) => fates.filter((one) => one === wanted).length
  expect(engine.counts).toEqual({
    accepted: verdict('accepted'),
    duplicates: verdict('duplicate'),
    quarantined: verdict('quarantined'),
    dead: fate('dead'),
    barriers: fate('barrier'),
    control: fate('control'),
  })
  expect(Object.values(engine.counts).reduce((sum, count) => sum + count, 0)).toBe(engine.next)
}
