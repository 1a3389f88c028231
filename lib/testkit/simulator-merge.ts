/**
 * What a speed layer publishes about a history, for the laws of the merge; and what a right answer is: the oracle's partials,
 * watermark and views over exactly the offsets that an answer states.
 */
import type { MergeStore, MergeView } from '#core/merge.ts'
import type { PartialTable } from '#core/partial.ts'
import { rollUp } from '#core/rollup.ts'
import { decodePartials } from '#format/partials-arrow.ts'
import { openBatch, readRecord } from '#format/record-batch.ts'
import type { MetricDefinition } from '#metrics/definition.ts'
import type { EpochPartials, EpochState } from '#metrics/partition-engine.ts'
import { type PartialTags, tagsOf } from '#schemas/partials.ts'
import { encodePublication } from '../../services/speed/publish.ts'
import { type Judged, recompute } from './oracle.ts'
import {
  barrierMs,
  checkpointOf,
  drive,
  engineOf,
  type PlainBatch,
  type Reading,
  type Restorable,
} from './simulator-history.ts'
import { type Spelled, spellCells, spellRow, tableOfCells, VISIT_ORACLE, VISIT_POLICY } from './simulator-stream.ts'

/** One record of a topic of partials, decoded. */
export interface PublishedRecord {
  readonly tags: PartialTags
  readonly table: PartialTable
}

/** Decodes one record batch of partials. */
export function readPublished(batch: Uint8Array, metric: MetricDefinition): PublishedRecord[] {
  const opened = openBatch(batch, 0)
  if ('dead' in opened) throw new Error('a published batch is whole')
  const out: PublishedRecord[] = []
  for (let record = readRecord(opened.cursor); record !== null; record = readRecord(opened.cursor)) {
    out.push({ tags: tagsOf(record.headers)!, table: decodePartials(record.value!, metric.layout) })
  }
  return out
}

/** What one owner of a partition published, in order, and where others may take over: `after` sealed publications were done. */
export interface OwnerOutput {
  readonly live: readonly PublishedRecord[]
  readonly sealed: readonly PublishedRecord[]
  readonly checkpoints: readonly { readonly after: number; readonly state: Restorable }[]
}

/** Runs one owner over a partition's batches from a checkpoint (null: the log's start), flushing after some batches. */
export function runOwner(
  metric: MetricDefinition,
  partition: number,
  batches: readonly PlainBatch[],
  from: Restorable | null,
  flushes: () => boolean,
): OwnerOutput {
  const engine = engineOf([metric], partition, from)
  const live: PublishedRecord[] = []
  const sealed: PublishedRecord[] = []
  const checkpoints: { after: number; state: Restorable }[] = []
  let saved = from
  let published = { epoch: engine.state().epoch, next: engine.next }
  const encode = (partials: EpochPartials, state: EpochState, rest: Parameters<typeof encodePublication>[1]) =>
    [...encodePublication(partials, { ...rest, state })].flatMap((batch) => readPublished(batch, metric))
  for (const batch of batches) {
    if (batch.lastOffset < engine.next) continue
    drive(engine, batch, {
      sealed: (epoch) => {
        for (const partials of epoch.partials) {
          const by = { by: epoch.sealedBy, ms: epoch.sealedMs }
          sealed.push(...encode(partials, epoch, { state: epoch, base: epoch.first, sealed: by }))
        }
        saved = checkpointOf(epoch, saved)
        checkpoints.push({ after: sealed.length, state: saved })
        published = { epoch: epoch.sealedBy, next: epoch.next }
      },
    })
    const state = engine.state()
    if (state.next <= published.next || !flushes()) continue
    const base = state.epoch === published.epoch ? published.next : state.first
    for (const partials of engine.takeLive()!) live.push(...encode(partials, state, { state, base, sealed: null }))
    published = { epoch: state.epoch, next: state.next }
  }
  return { live, sealed, checkpoints }
}

/** The answer a store gives for all windows and groups. */
export function answerOf(store: MergeStore, metric: MetricDefinition): Spelled {
  const { groups, base, speed } = store.sources()
  const { layout, window } = metric
  const groupBy = layout.dimensions.map((_, at) => at)
  const range = { from: Number.NEGATIVE_INFINITY, until: Number.POSITIVE_INFINITY, grainMs: window.sizeMs, originMs: 0 }
  const rows = rollUp(layout, groups, { base, speed }, { ...range, groupBy, filters: [], rowsMax: 100_000 })!
  const out: Spelled = new Map()
  for (let row = 0; row < rows.count; row++) {
    const group = groupBy.map((at) => {
      const value = groups.valueOf(rows.group[row]!, at)
      return value === null ? 'null' : `${typeof value}:${String(value)}`
    })
    out.set(`${rows.from[row]}|${group.join('|')}`, spellRow(layout, rows.cells, row * layout.width))
  }
  return out
}

const covered = (readings: readonly Reading[], offsets: readonly number[]): Judged[] =>
  readings.flatMap(({ judged }, partition) => judged.filter(({ event }) => event.offset < (offsets[partition] ?? 0)))

/** The oracle's answer over exactly these offsets. */
export const exactAnswer = (readings: readonly Reading[], metric: MetricDefinition, offsets: readonly number[]) =>
  spellCells(recompute(covered(readings, offsets), VISIT_ORACLE[metric.name]!), VISIT_ORACLE[metric.name]!)

/**
 * The stream's watermark over exactly these offsets, by plain code: folded over the barriers that all partitions have below
 * them (a partition without a visit since the one before is idle; all idle: on by the time between the two), then at least
 * the minimum over all partitions as they stand, for who has been silent since the last barrier may still speak.
 */
export function exactWatermark(readings: readonly Reading[], offsets: readonly number[]): number {
  const ofPartition = (partition: number, until: number): number =>
    readings[partition]!.judged.filter(
      ({ event, verdict }) => event.offset < until && verdict !== 'quarantined',
    ).reduce((most, { event }) => Math.max(most, event.eventTime - VISIT_POLICY.disorderMs), Number.NEGATIVE_INFINITY)
  const common = [...(readings[0]?.cuts.keys() ?? [])].filter((id) =>
    readings.every(({ cuts }, partition) => (cuts.get(id) ?? Number.POSITIVE_INFINITY) <= (offsets[partition] ?? 0)),
  )
  let watermark = Number.NEGATIVE_INFINITY
  let before = readings.map(() => 0)
  let previous: number | null = null
  for (const id of common.sort((a, b) => a - b)) {
    const bounds = readings.map(({ cuts }) => cuts.get(id)!)
    const active = readings.flatMap(({ judged }, partition) => {
      const spoke = judged.some(
        ({ event, verdict }) =>
          event.offset >= before[partition]! && event.offset < bounds[partition]! && verdict !== 'quarantined',
      )
      return spoke ? [ofPartition(partition, bounds[partition]!)] : []
    })
    const elapsed = previous === null ? 0 : barrierMs(id) - barrierMs(previous)
    watermark = Math.max(watermark, active.length > 0 ? Math.min(...active) : watermark + elapsed)
    before = bounds
    previous = id
  }
  return Math.max(
    watermark,
    Math.min(...readings.map((_, partition) => ofPartition(partition, offsets[partition] ?? 0))),
  )
}

/** Ids that every partition has, or that were made before the partitions that lack them were added. */
export const cutsOf = (readings: readonly Reading[]): number[] =>
  [...(readings[0]?.cuts.keys() ?? [])].filter((id) => readings.every(({ cuts }) => cuts.has(id)))

/** The batch view at a cut. */
export function viewAt(readings: readonly Reading[], metric: MetricDefinition, cut: number): MergeView {
  const offsets = readings.map(({ cuts }) => cuts.get(cut)!)
  const watermark = exactWatermark(readings, offsets)
  return {
    generation: metric.generation,
    cut,
    offsets,
    watermark: Number.isFinite(watermark) ? watermark : null,
    table: tableOfCells(metric, recompute(covered(readings, offsets), VISIT_ORACLE[metric.name]!)),
  }
}
