/**
 * Sealed partials from the log: the epochs of one metric between two cuts, proven to tile.
 *
 *   partition 0   |epoch 4      |epoch 5  |epoch 6   |        from = previous view's offsets, until = the cut's
 *                 from                               until    every epoch: the records with the highest `next`, all parts
 *
 * Values are absolute, so of several publications of one epoch only the one with the highest offset counts, and repeats do
 * no harm. A hole with something behind it is SEALED_MISSING; a missing end is a speed layer that has not come so far yet.
 */

import type { PartialTable } from '#core/partial.ts'
import { decodePartials } from '#format/partials-arrow.ts'
import { openBatch, readRecord } from '#format/record-batch.ts'
import { OperatingError } from '#io/errors.ts'
import type { EventLog } from '#io/ports.ts'
import type { MetricDefinition } from '#metrics/definition.ts'
import { type PartialTags, tagsOf } from '#schemas/partials.ts'
import { sealedTopic } from '#schemas/topics.ts'

const POLL = { maxWaitMs: 200, maxBytes: 8 * 1024 * 1024 }

/** A place on the sealed topic. */
interface Place {
  readonly partition: number
  readonly offset: number
}

/** One epoch as its best publication has it: where its parts stand, by number. */
interface SealedEpoch {
  readonly tags: PartialTags
  readonly parts: Map<number, Place>
}

/** Epochs by partition and first offset. */
export type SealedEpochs = readonly ReadonlyMap<number, SealedEpoch>[]

/** Between which offsets of the event topic, per partition. */
export interface SealedRange {
  readonly from: readonly number[]
  readonly until: readonly number[]
}

/** Polls without data after which the rest of the topic counts as not there. */
const EMPTY_POLLS_MAX = 50

/** Who stores where reading may begin next time. */
const ownerOf = (metric: MetricDefinition): string => `stream-view.${metric.name}.${metric.generation}`

/**
 * Reads every sealed epoch of the metric's generation that touches the range: the whole topic, or from where
 * {@link rememberSealed} left a mark. The mark is a hint: what is read with it may lack epochs that are there.
 */
export async function readSealed(
  log: EventLog,
  metric: MetricDefinition,
  range: SealedRange,
  options: { readonly fromMark: boolean; readonly signal: AbortSignal },
): Promise<{ readonly epochs: SealedEpochs; readonly marks: ReadonlyMap<number, number> }> {
  const topic = sealedTopic(metric.name)
  const epochs = range.until.map(() => new Map<number, SealedEpoch>())
  const marks = new Map<number, number>()
  if ((await log.describeTopic(topic)) === null) return { epochs, marks }
  const known = options.fromMark ? await log.loadPositions(ownerOf(metric), topic) : new Map<number, number>()
  const [starts, ends] = [await log.startOffsets(topic), await log.endOffsets(topic)]
  const positions = starts.map((start, partition) => ({
    partition,
    offset: Math.max(start, known.get(partition) ?? 0),
  }))
  for (const [partition, end] of ends.entries()) marks.set(partition, end)
  for await (const { place, tags } of sealedRecords(log, topic, positions, ends, options.signal)) {
    take(epochs, metric, range, tags, place)
    // Whatever a later view needs begins at the first record about offsets behind this one.
    if (tags.next > (range.until[tags.partition] ?? 0)) {
      marks.set(place.partition, Math.min(marks.get(place.partition)!, place.offset))
    }
  }
  return { epochs, marks }
}

/** Records with a value and tags in [positions, ends), a partition's in order; values live until the next is asked for. */
async function* sealedRecords(
  log: EventLog,
  topic: string,
  positions: readonly Place[],
  ends: readonly number[],
  signal: AbortSignal,
): AsyncGenerator<{ readonly place: Place; readonly tags: PartialTags; readonly value: Uint8Array }> {
  const left = positions.filter(({ offset, partition }) => offset < ends[partition]!)
  if (left.length === 0) return
  const open = new Map(left.map(({ partition, offset }) => [partition, offset]))
  const reader = await log.open(topic, left)
  try {
    for (let empty = 0; open.size > 0 && empty < EMPTY_POLLS_MAX; empty++) {
      signal.throwIfAborted()
      for (const batch of await reader.poll(POLL)) {
        empty = -1
        const { partition } = batch
        const opened = openBatch(batch.bytes, open.get(partition) ?? 0)
        if ('cursor' in opened) {
          for (let record = readRecord(opened.cursor); record !== null; record = readRecord(opened.cursor)) {
            const tags = tagsOf(record.headers)
            if (tags === null || record.value === null || record.offset >= ends[partition]!) continue
            yield { place: { partition, offset: record.offset }, tags, value: record.value }
          }
        }
        if (batch.lastOffset + 1 >= ends[partition]!) open.delete(partition)
      }
    }
  } finally {
    await reader.close()
  }
}

/** Leaves the mark for the next view, once this one is published. */
export const rememberSealed = (
  log: EventLog,
  metric: MetricDefinition,
  marks: ReadonlyMap<number, number>,
): Promise<void> => log.storePositions(ownerOf(metric), sealedTopic(metric.name), marks)

function take(
  epochs: Map<number, SealedEpoch>[],
  metric: MetricDefinition,
  { from, until }: SealedRange,
  tags: PartialTags,
  place: Place,
): void {
  if (tags.kind !== 'sealed' || tags.metric !== metric.name || tags.generation !== metric.generation) return
  const partition = epochs[tags.partition]
  if (partition === undefined || tags.next <= (from[tags.partition] ?? 0)) return
  // What lies behind the cut is kept without its parts: it tells a hole from a speed layer that is on its way.
  const behind = tags.first >= until[tags.partition]!
  const known = partition.get(tags.first)
  const isWhole = known !== undefined && known.parts.size === known.tags.parts
  // Published again by another version it may be cut otherwise: parts of two cuts make no table.
  const isCutAnew = known !== undefined && tags.next === known.tags.next && tags.parts !== known.tags.parts && !isWhole
  if (known === undefined || tags.next > known.tags.next || isCutAnew) {
    partition.set(tags.first, { tags, parts: new Map(behind ? [] : [[tags.part, place]]) })
  } else if (tags.next === known.tags.next && !behind && !isWhole) known.parts.set(tags.part, place)
}

/** Outcome of laying the epochs end to end. */
export type Tiling =
  | { readonly kind: 'whole'; readonly epochs: readonly SealedEpoch[] }
  /** The partials end before the cut: [from, until) is not sealed yet. */
  | { readonly kind: 'behind'; readonly partition: number; readonly from: number; readonly until: number }

/**
 * Lays the epochs of every partition end to end from `from` to `until`.
 * @throws OperatingError SEALED_MISSING naming partition and range of a hole; METRIC_LIMIT or MEASURE_OVERFLOW of an epoch
 *   in which the metric was refused
 */
export function tile(epochs: SealedEpochs, { from, until }: SealedRange): Tiling {
  const whole: SealedEpoch[] = []
  for (const [partition, end] of until.entries()) {
    const sealed = epochs[partition] ?? new Map<number, SealedEpoch>()
    let at = from[partition] ?? 0
    while (at < end) {
      const epoch = sealed.get(at)
      if (epoch === undefined || epoch.parts.size < epoch.tags.parts) {
        const later = Math.min(...[...sealed.keys()].filter((first) => first > at))
        if (epoch === undefined && !Number.isFinite(later)) return { kind: 'behind', partition, from: at, until: end }
        const next = epoch?.tags.next ?? Math.min(later, end)
        if (epoch !== undefined && !Number.isFinite(later)) return { kind: 'behind', partition, from: at, until: next }
        throw new OperatingError(
          'SEALED_MISSING',
          `sealed partials of offsets [${at}, ${next}) of partition ${partition} are missing`,
          {
            partition,
            from: at,
            until: next,
          },
        )
      }
      const { tags } = epoch
      if (tags.refused !== null) {
        const code = tags.refused.startsWith('MEASURE_OVERFLOW') ? 'MEASURE_OVERFLOW' : 'METRIC_LIMIT'
        throw new OperatingError(
          code,
          `${tags.metric} was refused in epoch ${tags.epoch} of partition ${partition}: ${tags.refused}`,
          {
            partition,
            epoch: tags.epoch,
          },
        )
      }
      if (tags.next > end) {
        throw new OperatingError(
          'SEALED_MISSING',
          `an epoch of partition ${partition} ends at ${tags.next}, behind the cut at ${end}`,
          {
            partition,
            from: at,
            until: end,
          },
        )
      }
      whole.push(epoch)
      at = tags.next
    }
  }
  return { kind: 'whole', epochs: whole }
}

/**
 * The tables of tiled epochs, read from the log a second time: so a job holds as much of them as one poll brings, however many
 * there are. In the order of the topic.
 * @throws OperatingError SEALED_MISSING when retention has taken one since
 */
export async function* readTables(
  log: EventLog,
  metric: MetricDefinition,
  epochs: readonly SealedEpoch[],
  signal: AbortSignal,
): AsyncGenerator<PartialTable> {
  const wanted = new Map<number, Set<number>>()
  for (const { parts } of epochs) {
    for (const { partition, offset } of parts.values()) {
      wanted.set(partition, (wanted.get(partition) ?? new Set()).add(offset))
    }
  }
  const topic = sealedTopic(metric.name)
  const positions = [...wanted].map(([partition, offsets]) => ({ partition, offset: Math.min(...offsets) }))
  const ends: number[] = []
  for (const [partition, offsets] of wanted) ends[partition] = Math.max(...offsets) + 1
  for await (const { place, value } of sealedRecords(log, topic, positions, ends, signal)) {
    if (wanted.get(place.partition)!.delete(place.offset)) yield decodePartials(value, metric.layout)
  }
  for (const [partition, offsets] of wanted) {
    if (offsets.size === 0) continue
    const offset = Math.min(...offsets)
    throw new OperatingError(
      'SEALED_MISSING',
      `the sealed partial at offset ${offset} of partition ${partition} of ${topic} is gone`,
      { topic, partition, offset },
    )
  }
}
