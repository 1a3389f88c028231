/**
 * Goal: whatever reaches the store, in whatever order, an answer is the recompute of the log up to its own offsets, or refused.
 * Method: small logs of two partitions with common barriers; the records a speed layer would publish; random delivery with
 * duplicates, losses and interleavings; after every single delivery the answer is compared with an oracle (testkit/partials).
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  cutOffset,
  eventsOf,
  expectedOf,
  publishedBy,
  SMALL_GENERATION,
  SMALL_LAYOUT,
  type SmallPublished,
  type SmallRecord,
  smallTable,
} from '#testkit/partials.ts'
import { isGate, runs } from '#testkit/runs.ts'
import { MergeStore, type MergeView } from './merge.ts'
import { present } from './present.ts'
import { rollUp } from './rollup.ts'

const newStore = (): MergeStore =>
  new MergeStore({
    layout: SMALL_LAYOUT,
    partitions: 2,
    generation: SMALL_GENERATION,
  })

/** The store's answer per `window|group` in the oracle's spelling. */
function answerOf(store: MergeStore): Map<string, string> {
  const { groups, base, speed } = store.sources()
  const rows = rollUp(
    SMALL_LAYOUT,
    groups,
    { base, speed },
    {
      from: -Infinity,
      until: Infinity,
      grainMs: 1,
      originMs: 0,
      groupBy: [0],
      filters: [],
      rowsMax: 1_000,
    },
  )!
  const out = new Map<string, string>()
  for (let row = 0; row < rows.count; row++) {
    const values = SMALL_LAYOUT.measures.map((one) => String(present(one, rows.cells, row * SMALL_LAYOUT.width, false)))
    out.set(`${rows.from[row]}|${String(groups.valueOf(rows.group[row]!, 0))}`, values.join(' '))
  }
  return out
}

function expectExact(store: MergeStore, logs: readonly SmallRecord[][]): void {
  const { offsets } = store.state()
  const events = logs.flatMap((log, partition) => eventsOf(log.slice(0, offsets[partition])))
  expect(Object.fromEntries(answerOf(store))).toEqual(Object.fromEntries(expectedOf(events)))
}

const viewAt = (logs: readonly SmallRecord[][], cut: number): MergeView => {
  const offsets = logs.map((log) => cutOffset(log, cut))
  const events = logs.flatMap((log, partition) => eventsOf(log.slice(0, offsets[partition])))
  return { generation: SMALL_GENERATION, cut, offsets, watermark: null, table: smallTable(events) }
}

const event = fc.record({
  window: fc.integer({ min: 0, max: 3 }),
  group: fc.constantFrom('a', 'b', null),
  value: fc.constantFrom(null, -1, 0, 1, 2 ** 40),
})
const stretch = fc.array(event, { maxLength: 6 })

/** Two logs with the barriers 1..n in both; partition 1 misses id `skipped` (then it is no cut). */
const logs = fc
  .tuple(fc.array(fc.tuple(stretch, stretch), { minLength: 3, maxLength: 6 }), fc.integer({ min: 0, max: 5 }))
  .map(([epochs, skipped]) =>
    [0, 1].map((partition) =>
      epochs.flatMap((pair, at): SmallRecord[] => {
        const last = at === epochs.length - 1 || (partition === 1 && at + 1 === skipped)
        return last ? pair[partition]! : [...pair[partition]!, { barrier: at + 1 }]
      }),
    ),
  )

const plan = fc.record({
  logs,
  flushes: fc.array(fc.nat(40), { maxLength: 20 }),
  full: fc.array(fc.nat(40), { maxLength: 4 }),
  parts: fc.integer({ min: 1, max: 2 }),
  /** Per delivery: which of the four queues goes next, whether a live record is lost, whether the record comes twice. */
  choices: fc.infiniteStream(
    fc.record({ queue: fc.nat(3), lost: fc.boolean(), twice: fc.boolean(), view: fc.nat(12) }),
  ),
})

/** Four queues (topic × partition), each in its own order. */
function queuesOf(one: {
  logs: SmallRecord[][]
  flushes: number[]
  full: number[]
  parts: number
}): SmallPublished[][] {
  const options = { flushes: new Set(one.flushes), full: new Set(one.full), parts: one.parts }
  return one.logs.flatMap((log, partition) => {
    const all = publishedBy(partition, log, options)
    return [all.filter(({ tags }) => tags.kind === 'sealed'), all.filter(({ tags }) => tags.kind === 'live')]
  })
}

const cutsOf = (two: readonly SmallRecord[][]): number[] =>
  [1, 2, 3, 4, 5].filter((id) => two.every((log) => cutOffset(log, id) >= 0))

describe('merge laws', () => {
  it('[T5] [D1] [Q9] any interleaving, duplication and loss of live records gives the exact answer for its offsets', () => {
    fc.assert(
      fc.property(plan, (one) => {
        const store = newStore()
        store.publish(null)
        const queues = queuesOf(one)
        const cuts = cutsOf(one.logs)
        const seen: SmallPublished[] = []
        for (const choice of one.choices) {
          const queue = queues.slice(choice.queue).find((q) => q.length > 0) ?? queues.find((q) => q.length > 0)
          if (queue === undefined) break
          const record = queue.shift()!
          if (record.tags.kind === 'live' && choice.lost) continue
          store.apply(record.tags, record.table)
          seen.push(record)
          if (choice.twice) {
            const again = seen[choice.view % seen.length]!
            store.apply(again.tags, again.table)
          }
          const cut = cuts[choice.view]
          if (cut !== undefined && cut > store.state().cut) store.publish(viewAt(one.logs, cut))
          expect(store.refusal()).toBeNull()
          expectExact(store, one.logs)
        }
        // Everything sealed has arrived: at most the open epochs' live records are missing.
        const { offsets } = store.state()
        one.logs.forEach((log, partition) => {
          const last = log.findLastIndex((record) => 'barrier' in record) + 1
          expect(offsets[partition]).toBeGreaterThanOrEqual(last)
        })
      }),
      runs(300, 'merge, live records'),
    )
  })

  it('[Q3] [D1] records in any order at all give the exact answer for their offsets, or a refusal', () => {
    const shuffled = plan.chain((one) =>
      fc.record({
        one: fc.constant(one),
        records: fc.shuffledSubarray(queuesOf(one).flat()),
        cut: fc.nat(4),
        at: fc.nat(20),
        start: fc.boolean(),
      }),
    )
    let [answered, refused] = [0, 0]
    fc.assert(
      fc.property(shuffled, ({ one, records, cut, at, start }) => {
        const store = newStore()
        if (start) store.publish(null)
        records.forEach((record, index) => {
          if (index === at) store.publish(viewAt(one.logs, cutsOf(one.logs)[cut] ?? cutsOf(one.logs)[0] ?? 1))
          store.apply(record.tags, record.table)
          if (store.refusal() !== null) {
            refused++
            return
          }
          expectExact(store, one.logs)
          answered++
        })
      }),
      runs(300, 'merge, any order'),
    )
    if (isGate) expect(Math.min(answered, refused)).toBeGreaterThan(0)
  })

  it('[Q3] a planted hole in the sealed topic is refused by name, and a view behind it heals it', () => {
    const log: SmallRecord[] = [1, 2, 3].flatMap((id) => [{ window: 0, group: 'a', value: id }, { barrier: id }])
    const records = publishedBy(0, log, { flushes: new Set(), full: new Set(), parts: 1 })
    const other = publishedBy(1, log, { flushes: new Set(), full: new Set(), parts: 1 })
    const store = newStore()
    store.publish(null)
    for (const { tags, table } of [...other, records[0]!, records[2]!]) store.apply(tags, table)
    expect(store.refusal()).toMatchObject({ code: 'CUT_UNCOVERED', partition: 0 })
    expect(store.refusal()?.reason).toContain('epoch 1')
    store.publish(viewAt([log, log], 2))
    expect(store.refusal()).toBeNull()
    expectExact(store, [log, log])
    expect(store.state()).toMatchObject({ cut: 2, offsets: [6, 6] })
  })
})

describe('merge store', () => {
  const log: SmallRecord[] = [1, 2, 3].flatMap((id) => [{ window: id, group: 'a', value: id }, { barrier: id }])
  const none = { flushes: new Set<number>(), full: new Set<number>(), parts: 1 }

  it('[Q3] refuses SPEED_BEHIND while speed has not reached the first view, and serves once it has', () => {
    const store = newStore()
    expect(store.refusal()?.code).toBe('SPEED_BEHIND')
    store.publish(viewAt([log, log], 2))
    expect(store.refusal()).toMatchObject({ code: 'SPEED_BEHIND', partition: 0 })
    for (const { tags, table } of [...publishedBy(0, log, none), ...publishedBy(1, log, none)]) store.apply(tags, table)
    expect(store.refusal()).toBeNull()
    expectExact(store, [log, log])
  })

  it('[Q3] takes a view whose cut a partition does not have, for it was added after the barrier', () => {
    const added: SmallRecord[] = [
      { window: 1, group: 'a', value: 5 },
      { barrier: 3 },
      { window: 2, group: 'b', value: 7 },
      { barrier: 4 },
    ]
    const store = newStore()
    const { table } = viewAt([log], 2)
    store.publish({ generation: SMALL_GENERATION, cut: 2, offsets: [cutOffset(log, 2), 0], watermark: null, table })
    for (const { tags, table } of [...publishedBy(0, log, none), ...publishedBy(1, added, none)])
      store.apply(tags, table)
    expect(store.refusal()).toBeNull()
    expect(store.state()).toMatchObject({ cut: 2, offsets: [log.length, added.length] })
    expectExact(store, [log, added])
  })

  it('[Q3] refuses CUT_UNCOVERED when partials begin behind the cut', () => {
    const store = newStore()
    store.publish(viewAt([log, log], 1))
    for (const partition of [0, 1]) {
      const { tags, table } = publishedBy(partition, log, none)[2]!
      store.apply({ ...tags, epoch: 4, first: 99, base: 99, next: 120, sealed_by: 5 }, table)
    }
    expect(store.refusal()).toMatchObject({ code: 'CUT_UNCOVERED', partition: 0 })
  })

  it('[B3] a rollback needs the history again and is adopted only when nothing is missing in between', () => {
    const store = newStore()
    store.publish(viewAt([log, log], 2))
    const records = [...publishedBy(0, log, none), ...publishedBy(1, log, none)]
    for (const { tags, table } of records) store.apply(tags, table)
    expect(store.state().cut).toBe(2)
    store.publish(viewAt([log, log], 1))
    expect(store.needsHistory).toBe(true)
    expect(store.state().cut).toBe(2)
    for (const { tags, table } of records) {
      store.apply(tags, table)
      expect(store.refusal()).toBeNull()
      expectExact(store, [log, log])
    }
    expect(store.state().cut).toBe(1)
    expect(store.needsHistory).toBe(false)
  })

  it('[S4] a table that the speed layer refused makes the metric refuse with its code until a view covers it', () => {
    const store = newStore()
    store.publish(null)
    const [first, second] = publishedBy(0, log, none)
    store.apply({ ...first!.tags, refused: 'METRIC_LIMIT' }, first!.table)
    for (const { tags, table } of publishedBy(1, log, none)) store.apply(tags, table)
    store.apply(second!.tags, second!.table)
    expect(store.refusal()).toMatchObject({ code: 'METRIC_LIMIT', partition: 0 })
    store.publish(viewAt([log, log], 1))
    expect(store.refusal()).toBeNull()
  })

  it('ignores other generations, and needs no table for what it holds', () => {
    const store = newStore()
    store.publish(null)
    const { tags, table } = publishedBy(0, log, none)[0]!
    expect(store.apply({ ...tags, generation: 'bbbbbbbbbbbb' }, table)).toBe('ignored')
    expect(store.apply(tags, table)).toBe('applied')
    expect(store.wants(tags)).toBe(false)
  })

  it('[T2] the watermark is the minimum over partitions, without those idle for a whole epoch, and never goes back', () => {
    const store = newStore()
    store.publish(null)
    const sealed = (partition: number, epoch: number, events: number, watermark: number | null): void => {
      const { tags, table } = publishedBy(partition, log, none)[epoch]!
      store.apply({ ...tags, events, watermark }, table)
    }
    sealed(0, 0, 1, 500)
    expect(store.state().watermark).toBe(-Infinity)
    sealed(1, 0, 1, 300)
    expect(store.state().watermark).toBe(300)
    sealed(0, 1, 1, 900)
    expect(store.state().watermark).toBe(300)
    sealed(1, 1, 0, 300)
    expect(store.state().watermark).toBe(900)
    // Both idle: it moves on by the second between the barriers.
    sealed(0, 2, 0, 900)
    sealed(1, 2, 0, 300)
    expect(store.state().watermark).toBe(1900)
  })

  it('[E6] publishes its memory', () => {
    const store = newStore()
    store.publish(viewAt([log, log], 1))
    for (const { tags, table } of [...publishedBy(0, log, none), ...publishedBy(1, log, none)]) store.apply(tags, table)
    const memory = store.memory()
    expect(memory.entries).toBeGreaterThan(0)
    expect(memory.bytesPerEntry).toBeGreaterThan(SMALL_LAYOUT.width * 8)
  })
})
