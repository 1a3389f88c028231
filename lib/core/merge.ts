/**
 * Merge: answer = present(combine(view at cut k, partials of epochs ≥ k)), for ONE generation of a metric (DESIGN idea 2, P14).
 *
 *   partition   │ view: every record before the cut │ sealed k │ sealed … │ live (open epoch) │
 *               0                             offsets[k]                              offsets read
 *
 * 1. A table is an absolute value tagged (partition, epoch, base, next). Per (partition, epoch) the highest `next` counts; a
 *    record with `next` at or below what is held is ignored. So duplicates, zombies and replays do no harm.
 * 2. A live record holds what changed in [base, next): it applies only on top of `base` or more. Else one was lost: it waits
 *    for the sealed table, or for a record whose base is the epoch's first offset.
 * 3. Live and sealed are two topics, so a live record of a later epoch may come first: it waits until the epochs before it are sealed.
 * 4. A table in several parts applies when all are there. Other generations are ignored.
 * 5. The pieces tile each partition without gap: [0, cut) the view, then sealed epochs linked by (sealed_by, next), then the open
 *    epoch. Only what is tiled is used, so the answer is a function of the log up to `offsets`, exactly.
 * 6. A sealed table beyond a gap can never be reached (each topic keeps its order): that is a hole, and the metric refuses.
 * 7. A new view is adopted in every partition at once, when speed has reached its cut in all of them. Until then the old pair
 *    of view and partials goes on; both are exact. Epochs before the adopted cut are dropped whole.
 * 8. A table tagged `refused` makes the metric refuse with that code while its epoch is part of the answer.
 */
import { CellTable } from './cells.ts'
import { GroupDictionary } from './group-key.ts'
import { LIMITS } from './limits.ts'
import { type MergeTags, PartitionTiling, type Shared, type Start } from './merge-partition.ts'
import type { PartialLayout, PartialTable } from './partial.ts'
import type { Offsets } from './position.ts'
import { type InstantMs, NO_WATERMARK } from './time.ts'
import { foldWatermark } from './watermark.ts'

/** A batch view as the store takes it. `offsets` may be shorter than the partitions: those left out, and those at 0, were added after the cut. */
export interface MergeView {
  readonly generation: string
  readonly cut: number
  readonly offsets: Offsets
  /** Watermark of the stream at the cut; null = none. */
  readonly watermark: number | null
  readonly table: PartialTable
}

/** Why there is no answer. `code` is one of the closed set, or what a `refused` tag names. */
export interface Refusal {
  readonly code: 'CUT_UNCOVERED' | 'SPEED_BEHIND' | (string & {})
  readonly reason: string
  readonly partition: number | null
}

/** What the next answer covers. */
export interface MergeState {
  /** Cut of the adopted view; 0 without a view. */
  readonly cut: number
  /** True when a view was adopted. */
  readonly view: boolean
  /** Next offset per partition: the answer is a function of the records before it. */
  readonly offsets: Offsets
  /** Watermark of the stream at `offsets`, and at the cut; NO_WATERMARK = none. */
  readonly watermark: InstantMs
  readonly viewWatermark: InstantMs
  /** Latest arrival time among the partials in use; 0 without any. For freshness series only. */
  readonly arrivalMs: InstantMs
}

/** Options of a store. */
export interface MergeOptions {
  readonly layout: PartialLayout
  readonly partitions: number
  readonly generation: string
}

/** What became of a record. `waiting`: held back until what it builds on arrives. */
export type Applied = 'applied' | 'ignored' | 'waiting'

/** The cells an answer is combined from. `groups` gives the meaning of their group ids. */
export interface MergeSources {
  readonly groups: GroupDictionary
  readonly base: CellTable
  /** Sealed epochs at or after the cut, merged, then one table per open epoch. */
  readonly speed: readonly CellTable[]
}

/** The serving store of one metric generation. Pure and synchronous: one request sees one state. */
export class MergeStore {
  /** Grows with every change that may change an answer. */
  version = 0
  readonly groups: GroupDictionary
  readonly #layout: PartialLayout
  readonly #generation: string
  readonly #shared: Shared
  readonly #partitions: PartitionTiling[] = []
  #base: CellTable
  #active: MergeView | null = null
  #started = false
  /** A table was left out because of LIMITS.servedEntries: refuses until a new view is adopted. */
  #overflown = false
  #pending: MergeView | null = null
  #refusal: { version: number; refusal: Refusal | null } | null = null
  #state: { version: number; state: MergeState } | null = null

  constructor({ layout, partitions, generation }: MergeOptions) {
    this.groups = new GroupDictionary(layout.dimensions)
    this.#layout = layout
    this.#generation = generation
    this.#base = new CellTable(layout)
    this.#shared = { layout, groups: this.groups, merged: new CellTable(layout), pendingCut: null }
    this.grow(partitions)
  }

  /** Takes up partitions that were added to the stream; they begin at offset 0. */
  grow(partitions: number): void {
    while (this.#partitions.length < partitions) {
      this.#partitions.push(new PartitionTiling(this.#shared, startOf(this.#active, this.#partitions.length)))
      this.version++
    }
  }

  /**
   * Proposes the view that should be read (null: none is published, everything comes from partials). It is adopted at once
   * when the partials reach its cut in every partition, else as soon as they do. Other generations are ignored.
   */
  publish(view: MergeView | null): void {
    if (view !== null && view.generation !== this.#generation) return
    // The view may be the first to tell of a partition; its records are in the view, so its offset is in the answer.
    if (view !== null) this.grow(view.offsets.length)
    this.#propose(view)
    if (view === null) {
      if (!this.#started) this.#adopt(null)
    } else {
      this.#tryAdopt()
    }
  }

  /** Cut of the view that waits to be adopted; null when none waits. */
  get pendingCut(): number | null {
    return this.#shared.pendingCut
  }

  /** True when a pending view is older than the tables kept (a rollback): the sealed topic must be read again from its start. */
  get needsHistory(): boolean {
    return this.#pending !== null && this.#started && this.#pending.cut < this.#activeCut
  }

  /** False when `apply` would ignore the record: its table need not be decoded. Takes note of its tags all the same. */
  wants(tags: MergeTags): boolean {
    if (tags.generation !== this.#generation) return false
    if (tags.partition >= this.#partitions.length) this.grow(tags.partition + 1)
    const partition = this.#partitions[tags.partition]!
    if (tags.kind === 'sealed') {
      if (partition.noteEnd(tags, this.#floor(tags.partition))) this.#tryAdopt()
      return partition.wantsSealed(tags, this.#floor(tags.partition))
    }
    partition.noteLive(tags)
    return partition.wantsLive(tags)
  }

  /** Applies one published record. `table` has the store's layout; it is kept, so the caller must not reuse it. */
  apply(tags: MergeTags, table: PartialTable): Applied {
    if (!this.wants(tags)) return 'ignored'
    if (table.count > 0 && this.#entries() + table.count > LIMITS.servedEntries) {
      this.#overflown = true
      this.version++
      return 'ignored'
    }
    const partition = this.#partitions[tags.partition]!
    const tables = partition.collect(tags, table)
    if (tables === null) return 'waiting'
    if (tags.kind === 'sealed') {
      const before = partition.chain.length
      partition.takeSealed(tags, tables)
      this.#tryAdopt()
      this.version++
      return partition.chain.length > before ? 'applied' : 'waiting'
    }
    const applied = partition.takeLive(tags, tables)
    this.#tryAdopt()
    if (applied) this.version++
    return applied ? 'applied' : 'waiting'
  }

  /** Why the merged answer is withheld; null when there is one. */
  refusal(): Refusal | null {
    if (!this.#started) return this.#pendingRefusal()
    if (this.#refusal?.version !== this.version) this.#refusal = { version: this.version, refusal: this.#findRefusal() }
    return this.#refusal.refusal
  }

  /** What an answer computed now covers. */
  state(): MergeState {
    if (this.#state?.version === this.version) return this.#state.state
    const viewWatermark = this.#active?.watermark ?? NO_WATERMARK
    const chains = this.#partitions.map(({ chain }) => chain)
    const last = this.#partitions.map((partition) => partition.lastTags(this.#activeCut))
    const state: MergeState = {
      cut: this.#activeCut,
      view: this.#active !== null,
      offsets: this.#partitions.map(({ next }) => next),
      watermark: watermarkOf(viewWatermark, chains, last),
      viewWatermark,
      arrivalMs: Math.max(0, ...this.#partitions.map(({ arrivalMs }) => arrivalMs)),
    }
    this.#state = { version: this.version, state }
    return state
  }

  /** The cells of the answer. Valid until the next call that changes the store. */
  sources(): MergeSources {
    return {
      groups: this.groups,
      base: this.#base,
      speed: [this.#shared.merged, ...this.#partitions.map(({ liveCells }) => liveCells)],
    }
  }

  /** Tables of another view (for `as_of`) as cells with this store's group ids. */
  cellsOf(table: PartialTable): CellTable {
    const cells = new CellTable(this.#layout, table.count)
    cells.combine(table, this.groups.idsOf(table))
    return cells
  }

  /** Entries and estimated bytes: rows in use, tables kept for the next cut, dictionary. */
  memory(): { entries: number; groups: number; bytes: number; bytesPerEntry: number } {
    const entries = this.#entries()
    let bytes = this.#base.bytes() + this.#shared.merged.bytes() + this.groups.bytes()
    for (const partition of this.#partitions) bytes += partition.bytes()
    return { entries, groups: this.groups.count, bytes, bytesPerEntry: entries === 0 ? 0 : bytes / entries }
  }

  #entries(): number {
    let entries = this.#base.count + this.#shared.merged.count
    for (const { liveCells } of this.#partitions) entries += liveCells.count
    return entries
  }

  get #activeCut(): number {
    return this.#active?.cut ?? 0
  }

  /** Lowest epoch of a partition whose sealed table may still be needed. */
  #floor(partition: number): number {
    const pending = this.#pending === null ? Number.POSITIVE_INFINITY : startOf(this.#pending, partition).epoch
    const active = this.#started ? startOf(this.#active, partition).epoch : Number.POSITIVE_INFINITY
    const floor = Math.min(pending, active)
    return floor === Number.POSITIVE_INFINITY ? 0 : floor
  }

  #propose(view: MergeView | null): void {
    this.#pending = view
    this.#shared.pendingCut = view?.cut ?? null
  }

  #tryAdopt(): void {
    const view = this.#pending
    if (view === null) return
    for (const [index, partition] of this.#partitions.entries()) {
      const start = startOf(view, index)
      if (!partition.reaches(start) || (this.#started && !partition.keepsUp(start))) return
    }
    this.#adopt(view)
  }

  /** Makes `view` the base and rebuilds what is merged on top of it. */
  #adopt(view: MergeView | null): void {
    this.#active = view
    this.#propose(null)
    this.#started = true
    this.#overflown = false
    this.#base = view === null ? new CellTable(this.#layout) : this.cellsOf(view.table)
    this.#shared.merged = new CellTable(this.#layout)
    for (const [index, partition] of this.#partitions.entries()) partition.restart(startOf(view, index))
    this.version++
  }

  #findRefusal(): Refusal | null {
    if (this.#overflown) {
      const reason = `the metric has more than ${LIMITS.servedEntries} (window, group) entries to serve`
      return { code: 'METRIC_LIMIT', reason, partition: null }
    }
    for (const [index, { chain, open }] of this.#partitions.entries()) {
      for (const tags of chain) if (tags.refused !== null) return refused(tags.refused, index, tags.epoch)
      if (open.refused !== null) return refused(open.refused, index, open.epoch)
      const epoch = this.#partitions[index]!.unreached(startOf(this.#active, index).epoch)
      if (epoch === null) continue
      const reason = `partition ${index}: the sealed partial of epoch ${open.epoch} (from offset ${open.first}) is missing, that of epoch ${epoch} is there`
      return { code: 'CUT_UNCOVERED', reason, partition: index }
    }
    return null
  }

  #pendingRefusal(): Refusal {
    const view = this.#pending
    if (view === null) return { code: 'SPEED_BEHIND', reason: 'the store has not been loaded yet', partition: null }
    for (const [index, partition] of this.#partitions.entries()) {
      const start = startOf(view, index)
      if (partition.reaches(start)) continue
      const { epoch, first } = start
      const beyond = partition.seenEpoch
      if (beyond > epoch) {
        const reason = `partition ${index}: no partial begins at cut ${epoch} (offset ${first}), though epoch ${beyond} is there`
        return { code: 'CUT_UNCOVERED', reason, partition: index }
      }
      const reason = `partition ${index}: the speed layer has not reached cut ${epoch} (offset ${first}) yet`
      return { code: 'SPEED_BEHIND', reason, partition: index }
    }
    return { code: 'SPEED_BEHIND', reason: 'the view is being taken up', partition: null }
  }
}

/** Where speed takes over from a view in a partition. A bound lies behind a barrier: at 0 the partition does not have the cut. */
function startOf(view: MergeView | null, partition: number): Start {
  const first = view?.offsets[partition] ?? 0
  return view === null || first === 0 ? { epoch: 0, first: 0 } : { epoch: view.cut, first }
}

const refused = (code: string, partition: number, epoch: number): Refusal => ({
  code,
  partition,
  reason: `partition ${partition}: the speed layer refused epoch ${epoch} with ${code}`,
})

/**
 * The stream's watermark at the offsets: folded over the barriers that every partition in use has passed, from the view's on.
 * In the open stretch no partition is idle yet: one that has been silent may still speak with an old event, and what was
 * closed without it would have to open again. Its silence counts at the next barrier, so the watermark only grows (I4).
 * `last`: the last tags in use per partition.
 */
function watermarkOf(
  viewWatermark: InstantMs,
  chains: readonly (readonly MergeTags[])[],
  last: readonly (MergeTags | null)[],
): InstantMs {
  let watermark = viewWatermark
  const ends = chains.map((chain) => new Map(chain.map((tags, at) => [tags.sealed_by!, at])))
  const at = chains.map(() => 0)
  // The first epoch in use was opened by the cut's barrier, whether or not the barrier that ended it is in every partition.
  let previousMs = chains[0]?.[0]?.opened_ms ?? 0
  for (const tags of chains[0] ?? []) {
    const id = tags.sealed_by!
    if (!ends.every((one) => one.has(id))) continue
    const activity = chains.map((chain, index) => {
      const until = ends[index]!.get(id)! + 1
      let events = 0
      for (let one = at[index]!; one < until; one++) events += chain[one]!.events
      at[index] = until
      return { watermark: chain[until - 1]!.watermark ?? NO_WATERMARK, events }
    })
    watermark = foldWatermark(watermark, activity, tags.sealed_ms! - previousMs)
    previousMs = tags.sealed_ms!
  }
  const open = last.map((tags) => ({ watermark: tags?.watermark ?? NO_WATERMARK, events: 1 }))
  return foldWatermark(watermark, open, 0)
}
