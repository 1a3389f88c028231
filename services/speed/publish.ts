/**
 * Publishing partials: one table → one or more records on live.<metric> or sealed.<metric>. Values are absolute and tagged
 * with the offset they cover, so an append whose outcome is unknown is simply done again (DESIGN idea 2).
 */
import { LIMITS } from '#core/limits.ts'
import type { PartialTable } from '#core/partial.ts'
import { encodePartials } from '#format/partials-arrow.ts'
import { encodeBatch } from '#format/record-batch.ts'
import { classify } from '#io/errors.ts'
import type { Clock, EventLog } from '#io/ports.ts'
import type { EpochPartials, EpochState } from '#metrics/partition-engine.ts'
import type { PartialTags } from '#schemas/partials.ts'
import { PARTIAL_HEADER } from '#schemas/partials.ts'
import { liveTopic, sealedTopic } from '#schemas/topics.ts'

const utf8 = new TextEncoder()

/** What a table says about itself besides its rows. */
export interface Publication {
  readonly state: EpochState
  /** Lowest offset from which on changes are in a live record; the epoch's first for a sealed one. */
  readonly base: number
  readonly sealed: { readonly by: number; readonly ms: number; readonly liveNext?: number | null } | null
}

/** Bytes of a row in a record, texts left out: an estimate from the widths. */
const rowBytes = ({ rows: { layout } }: EpochPartials): number => (layout.width + layout.dimensions.length * 4 + 2) * 8

function lateOf({ cells, count, layout }: PartialTable): number {
  let late = 0
  for (let row = 0; row < count; row++) late += cells[row * layout.width + layout.late]!
  return late
}

/** Encodes the records of one publication, one at a time: a big table never stands twice in memory. */
export function* encodePublication(partials: EpochPartials, publication: Publication): Generator<Uint8Array> {
  const { state, base, sealed } = publication
  const { rows, metric } = partials
  const bounds = rows.parts({ rowBytes: rowBytes(partials), bytesMax: LIMITS.partialRecordBytes })
  const parts = bounds.length - 1
  for (let part = 0; part < parts; part++) {
    const table = rows.table(bounds[part]!, bounds[part + 1]!)
    const tags: PartialTags = {
      kind: sealed === null ? 'live' : 'sealed',
      metric: metric.name,
      generation: metric.generation,
      partition: state.partition,
      epoch: state.epoch,
      first: state.first,
      base,
      next: state.next,
      part,
      parts,
      watermark: state.watermark,
      events: state.events,
      duplicates: state.duplicates,
      dead: state.dead,
      quarantined: state.quarantined,
      late: sealed === null ? null : lateOf(table),
      opened_ms: state.openedMs,
      sealed_ms: sealed?.ms ?? null,
      sealed_by: sealed?.by ?? null,
      arrival_ms: state.arrivalMs,
      live_next: sealed?.liveNext ?? null,
      refused: partials.refused,
    }
    const value = encodePartials(table)
    yield encodeBatch([{ key: null, value, headers: [[PARTIAL_HEADER, utf8.encode(JSON.stringify(tags))]] }], 0)
  }
}

/**
 * Appends the records of one publication in order; an unknown or failed append is repeated until it holds or `signal` aborts.
 * Returns the offset behind the last one.
 */
export async function publish(
  deps: { log: EventLog; clock: Clock; signal: AbortSignal; onRetry: (error: Error) => void },
  partials: EpochPartials,
  publication: Publication,
): Promise<number> {
  const topic = publication.sealed === null ? liveTopic(partials.metric.name) : sealedTopic(partials.metric.name)
  let next = 0
  for (const batch of encodePublication(partials, publication)) {
    for (let attempt = 0; ; attempt++) {
      deps.signal.throwIfAborted()
      try {
        next = (await deps.log.append(topic, publication.state.partition, batch)).nextOffset
        break
      } catch (error) {
        const known = classify(error)
        if (known.retry === 'never') throw known
        deps.onRetry(known)
        await deps.clock.sleep(Math.min(2_000, 50 * 2 ** attempt), deps.signal)
      }
    }
  }
  return next
}
