/**
 * Histories of one partition for the laws of the engine: runs of records that arrived at one instant, which may be divided
 * into record batches in any way, and whole batches that are damaged or control. What each offset must count as, and which
 * epochs there are, is read off by plain code.
 *
 *   run (arrival t1)       damaged batch   run (arrival t2)
 *   e e B e x e │ e        ▒▒▒             e b F e              x dead, B barrier, b stale barrier, F future event
 */
import fc from 'fast-check'
import { encodeBatch, type RecordInput, stampBatch } from '#format/record-batch.ts'
import type { MetricDefinition } from '#metrics/definition.ts'
import {
  createPartitionEngine,
  type EngineCheckpoint,
  type EngineStep,
  type EpochPartials,
  type PartitionEngine,
  type SealedEpoch,
} from '#metrics/partition-engine.ts'
import { type Judged, judge, type OracleEvent } from './oracle.ts'
import { poisonBatches, poisonRecords, resealed } from './poison.ts'
import {
  barrierRecord,
  oracleEvent,
  SCHEMA_IDS,
  VISIT_POLICY,
  VISIT_SCHEMA,
  VISIT_START_MS,
  type Visit,
  visitRecord,
  visitSchema,
} from './simulator-stream.ts'

/** A record of a run. A barrier whose id is not above the last is stale. */
export type Entry =
  | { readonly sort: 'visit'; readonly visit: Visit; readonly old: boolean }
  | { readonly sort: 'barrier'; readonly id: number }
  | { readonly sort: 'dead'; readonly record: RecordInput }

/** Records that arrived together, or a whole batch that claims some offsets. */
export type Run =
  | { readonly sort: 'records'; readonly entries: readonly Entry[] }
  | { readonly sort: 'damaged'; readonly bytes: Uint8Array; readonly claims: number }
  | { readonly sort: 'control'; readonly claims: number }

/** An ended epoch as the barriers say it. */
export interface PlainEpoch {
  readonly epoch: number
  readonly first: number
  readonly next: number
  readonly sealedBy: number
}

/** What the offsets of a partition are. */
export interface Reading {
  readonly judged: readonly Judged[]
  /** Per offset. */
  readonly fates: readonly ('event' | 'dead' | 'barrier' | 'control')[]
  readonly epochs: readonly PlainEpoch[]
  /** Exclusive bound of each accepted barrier id. */
  readonly cuts: ReadonlyMap<number, number>
  readonly end: number
}

/** A record batch as the log hands it over. */
export interface PlainBatch {
  readonly baseOffset: number
  readonly lastOffset: number
  readonly bytes: Uint8Array
}

/** Arrival time of the n-th run; two minutes lie between runs, so that the same event time may be future in one and not in the next. */
const arrivalOf = (run: number): number => VISIT_START_MS + run * 120_000
/** Creation time of a barrier. */
export const barrierMs = (id: number): number => VISIT_START_MS + id * 60_000

const recordOf = (entry: Entry): RecordInput =>
  entry.sort === 'visit'
    ? visitRecord(entry.visit, entry.old ? SCHEMA_IDS.old : SCHEMA_IDS.current)
    : entry.sort === 'barrier'
      ? barrierRecord(entry.id, barrierMs(entry.id))
      : entry.record

/** Reads a history by plain code. */
export function readHistory(partition: number, runs: readonly Run[]): Reading {
  const events: OracleEvent[] = []
  const fates: Reading['fates'][number][] = []
  const epochs: PlainEpoch[] = []
  const cuts = new Map<number, number>()
  let epoch = 0
  let first = 0
  for (const [at, run] of runs.entries()) {
    if (run.sort !== 'records') {
      for (let i = 0; i < run.claims; i++) fates.push(run.sort === 'control' ? 'control' : 'dead')
      continue
    }
    for (const entry of run.entries) {
      const offset = fates.length
      fates.push(entry.sort === 'visit' ? 'event' : entry.sort)
      if (entry.sort === 'visit') {
        const visit = entry.old ? { ...entry.visit, ratio: 0.5 } : entry.visit
        events.push(oracleEvent(visit, { partition, offset, epoch, arrivalMs: arrivalOf(at) }))
      } else if (entry.sort === 'barrier' && entry.id > epoch) {
        epochs.push({ epoch, first, next: offset + 1, sealedBy: entry.id })
        cuts.set(entry.id, offset + 1)
        epoch = entry.id
        first = offset + 1
      }
    }
  }
  return { judged: judge(events, VISIT_POLICY), fates, epochs, cuts, end: fates.length }
}

/** Divides a history into record batches; `next` draws from [0, 1). A run is cut before a record when the draw is below `density`. */
export function divide(runs: readonly Run[], next: () => number, density: number): PlainBatch[] {
  const batches: PlainBatch[] = []
  let offset = 0
  const put = (bytes: Uint8Array, at: number, count: number): void => {
    stampBatch(bytes, offset, arrivalOf(at))
    batches.push({ baseOffset: offset, lastOffset: offset + count - 1, bytes })
    offset += count
  }
  for (const [at, run] of runs.entries()) {
    if (run.sort === 'damaged') {
      batches.push({ baseOffset: offset, lastOffset: offset + run.claims - 1, bytes: run.bytes })
      offset += run.claims
    } else if (run.sort === 'control') {
      const records = Array.from({ length: run.claims }, () => ({ key: null, value: new Uint8Array(6) }))
      put(
        resealed(encodeBatch(records, 0), (view) => view.setInt16(21, 32)),
        at,
        run.claims,
      )
    } else {
      let part: RecordInput[] = []
      for (const entry of run.entries) {
        if (part.length > 0 && next() < density) {
          put(encodeBatch(part, 0), at, part.length)
          part = []
        }
        part.push(recordOf(entry))
      }
      if (part.length > 0) put(encodeBatch(part, 0), at, part.length)
    }
  }
  return batches
}

const OPTIONS = {
  schema: VISIT_SCHEMA,
  schemaId: SCHEMA_IDS.current,
  unknownId: SCHEMA_IDS.unknown,
  eventTime: { field: 'at', unit: 'ms' },
} as const
/** Records that must be counted as dead: the poison corpus, an unresolvable schema, and barriers that are none. */
export const DEAD_RECORDS: readonly RecordInput[] = [
  ...poisonRecords(OPTIONS).flatMap(({ record, fate }) => (fate === 'row' ? [] : [record])),
  { key: null, value: Uint8Array.of(0, 0, 0, 0, SCHEMA_IDS.incompatible, 2, 97) },
  barrierRecord(5, barrierMs(5), 'another-stream'),
  { ...barrierRecord(6, barrierMs(6)), headers: [['tidemark-barrier', Uint8Array.of(55)]] },
]
const DAMAGED = poisonBatches(OPTIONS)
  .filter(({ name }) => !name.includes('bomb'))
  .map(({ batch }) => batch)

/** Visits of small domains, so that ids, windows and groups collide; some late, some future, some beyond 2^53, some exactly at an edge. */
const visits = (options: { ids: number; overflow: boolean }): fc.Arbitrary<Visit> =>
  fc.record({
    id: fc.oneof(
      { weight: 4, arbitrary: fc.nat(options.ids).map((n) => `visit-${n}`) },
      {
        weight: 1,
        arbitrary: fc.constantFrom(null, '', 'exactly16bytes!!', 'an id that is longer than fifteen bytes'),
      },
    ),
    time: fc
      .oneof(
        fc.constantFrom(0, 60_000, 59_999, -1, 240_000, 300_000, 300_001, 420_000, 420_001),
        fc.integer({ min: -400_000, max: 900_000 }),
      )
      .map((delta) => VISIT_START_MS + delta),
    place: fc.constantFrom(null, '', 'a', 'b', 'Zoë', 'a place with a name of more than twenty bytes'),
    score: fc.constantFrom(null, 0n, -1n, 1n, 2n ** 53n + 1n, -(2n ** 60n), ...(options.overflow ? [2n ** 62n] : [])),
    cents: fc.constantFrom(null, -500, 0, 1, 1000, 1001, 99_999_999),
    ratio: fc.constantFrom(-1.5, 0, 0.25, 1e300),
  })

/** Histories of one partition: barriers (some stale), poison, damaged and control batches among visits. */
export function histories(options: { ids: number; overflow: boolean; clean?: boolean }): fc.Arbitrary<Run[]> {
  const entry = fc.oneof(
    {
      weight: 12,
      arbitrary: fc.record({
        sort: fc.constant('visit' as const),
        visit: visits(options),
        old: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ sort: fc.constant('barrier' as const), id: fc.integer({ min: -1, max: 3 }) }),
    },
    ...(options.clean === true
      ? []
      : [
          {
            weight: 2,
            arbitrary: fc.record({ sort: fc.constant('dead' as const), record: fc.constantFrom(...DEAD_RECORDS) }),
          },
        ]),
  )
  const run: fc.Arbitrary<Run> = fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({
        sort: fc.constant('records' as const),
        entries: fc.array(entry, { minLength: 1, maxLength: 12 }),
      }),
    },
    ...(options.clean === true
      ? []
      : [
          {
            weight: 1,
            arbitrary: fc.record({
              sort: fc.constant('damaged' as const),
              bytes: fc.constantFrom(...DAMAGED),
              claims: fc.integer({ min: 1, max: 3 }),
            }),
          },
          {
            weight: 1,
            arbitrary: fc.record({ sort: fc.constant('control' as const), claims: fc.integer({ min: 1, max: 2 }) }),
          },
        ]),
  )
  return fc.array(run, { minLength: 1, maxLength: 7 }).map(withBarrierIds)
}

/** A stretch of a partition up to one barrier; `has` says whether the partition has the barrier. */
const stretch = fc.record({
  visits: fc.array(visits({ ids: 9, overflow: false }), { maxLength: 5 }),
  has: fc.integer({ min: 0, max: 9 }).map((n) => n > 0),
  stale: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
})

/** Histories of 1 to 3 partitions over the barriers 1, 2, …, some missing or stale; the last stretch stays open. */
export const partitionHistories: fc.Arbitrary<Run[][]> = fc
  .tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 6 }))
  .chain(([partitions, epochs]) =>
    fc.array(fc.array(stretch, { minLength: epochs, maxLength: epochs }), {
      minLength: partitions,
      maxLength: partitions,
    }),
  )
  .map((all) =>
    all.map((stretches) =>
      stretches.flatMap(({ visits: those, has, stale }, at): Run[] => {
        const entries = [
          ...those.map((visit) => ({ sort: 'visit' as const, visit, old: false })),
          ...(stale ? [{ sort: 'barrier' as const, id: Math.max(1, at) }] : []),
          ...(has && at < stretches.length - 1 ? [{ sort: 'barrier' as const, id: at + 1 }] : []),
        ]
        return entries.length === 0 ? [] : [{ sort: 'records', entries }]
      }),
    ),
  )

/** Barrier ids are drawn as steps from the partition's last one: 0 and -1 are stale. */
function withBarrierIds(runs: readonly Run[]): Run[] {
  let last = 0
  return runs.map((run) => {
    if (run.sort !== 'records') return run
    const entries = run.entries.map((entry) => {
      if (entry.sort !== 'barrier') return entry
      const id = Math.max(1, last + entry.id)
      last = Math.max(last, id)
      return { ...entry, id }
    })
    return { ...run, entries }
  })
}

/** What a driver of the engine is told. Returning false stops the drive there, as a crash would. */
export interface DriveHooks {
  readonly step?: (step: EngineStep, engine: PartitionEngine) => boolean
  readonly sealed?: (sealed: SealedEpoch) => unknown
}

/** Feeds one batch and answers the engine until it wants the next; false when a hook stopped it. */
export function drive(engine: PartitionEngine, batch: PlainBatch, hooks: DriveHooks): boolean {
  let step = engine.feed(batch)
  for (;;) {
    if (hooks.step?.(step, engine) === false) return false
    if (step.kind === 'read') return true
    if (step.kind === 'sealed' && hooks.sealed?.(step.sealed) === false) return false
    step = step.kind === 'schema' ? engine.provide(step.id, visitSchema(step.id)) : engine.continue()
  }
}

/** A checkpoint and its id segments, kept by the rule of the speed loop; both go through their stored forms. */
export interface Restorable {
  readonly checkpoint: string
  readonly ids: ReadonlyMap<number, readonly number[]>
}

/** The restorable state after a seal. */
export function checkpointOf(sealed: SealedEpoch, before: Restorable | null): Restorable {
  const ids = new Map(before?.ids)
  if (sealed.ids !== null) ids.set(sealed.epoch, [...sealed.ids])
  for (const epoch of ids.keys()) if (epoch <= sealed.sealedBy - VISIT_POLICY.dedupHorizonEpochs) ids.delete(epoch)
  return { checkpoint: JSON.stringify(sealed.checkpoint), ids }
}

/** An engine, new or restored. */
export function engineOf(
  metrics: readonly MetricDefinition[],
  partition: number,
  from: Restorable | null,
  startOffset = 0,
): PartitionEngine {
  const restore = from && {
    checkpoint: JSON.parse(from.checkpoint) as EngineCheckpoint,
    ids: [...from.ids].map(([epoch, ids]) => ({ epoch, ids: Int32Array.from(ids) })),
  }
  return createPartitionEngine({ stream: metrics[0]!.stream, metrics, partition, restore, startOffset })
}

/** All rows of a metric's part as one table. */
export const wholeTable = ({ rows }: EpochPartials) => rows.table(0, rows.count)
