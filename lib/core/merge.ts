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
import type { PartialLayout, PartialTable } from './partial.ts'
import type { Offsets } from './position.ts'
import { type DurationMs, type InstantMs, NO_WATERMARK } from './time.ts'
import { foldWatermark } from './watermark.ts'

/** Tags of a published table, as far as merging needs them; `PartialTags` of schemas/partials.ts fits. */
export interface MergeTags {
  readonly kind: 'live' | 'sealed'
  readonly generation: string
  readonly partition: number
  readonly epoch: number
  readonly first: number
  readonly base: number
  readonly next: number
  readonly part: number
  readonly parts: number
  readonly watermark: number | null
  readonly events: number
  readonly opened_ms: number
  readonly sealed_ms: number | null
  readonly sealed_by: number | null
  readonly arrival_ms: number
  readonly refused: string | null
}

/** A batch view as the store takes it. `offsets` may be shorter than the partitions: later ones were added after the cut. */
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
  readonly windowSizeMs: DurationMs
  readonly allowedLatenessMs: DurationMs
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

/** Records a partition holds back at most. The oldest go first: they cost freshness until the next seal, never exactness. */
export const WAITING_MAX = 64

/** Incomplete tables in parts a partition keeps; the log keeps their order, so more than one or two means that parts were lost. */
const PARTS_MAX = 16

interface Sealed {
  readonly tags: MergeTags
  readonly tables: readonly PartialTable[]
  readonly groups: readonly Int32Array[]
}

interface Waiting {
  readonly tags: MergeTags
  readonly tables: readonly PartialTable[]
}

/** One partition: sealed tables by epoch, the end of the tiled part, the open epoch's state, what waits. */
interface PartitionState {
  readonly sealed: Map<number, Sealed>
  /** Tags of sealed tables by the barrier that ended them; the table itself may have been dropped. */
  readonly ended: Map<number, MergeTags>
  /** Sealed epochs in use, in order; then the open epoch begins at (epoch, first). */
  chain: MergeTags[]
  epoch: number
  first: number
  /** Open epoch: covered up to `next`; `live` is null until a live record applied. */
  next: number
  live: MergeTags | null
  liveCells: CellTable
  liveRefused: string | null
  waiting: Waiting[]
  /** Tables of which parts are missing, by their identity. */
  readonly parts: Map<string, (PartialTable | undefined)[]>
  /** Highest open epoch and offset seen in any live record: tells how far speed is. */
  seenEpoch: number
}

/** The serving store of one metric generation. Pure and synchronous: one request sees one state. */
export class MergeStore {
  readonly options: MergeOptions
  /** Grows with every change that may change an answer. */
  version = 0
  readonly groups: GroupDictionary
  #base: CellTable
  #merged: CellTable
  #active: MergeView | null = null
  #started = false
  /** A table was left out because of LIMITS.servedEntries: refuses until a new view is adopted. */
  #overflown = false
  #pending: MergeView | null = null
  readonly #partitions: PartitionState[] = []
  #refusal: { version: number; refusal: Refusal | null } | null = null
  #state: { version: number; state: MergeState } | null = null

  constructor(options: MergeOptions) {
    this.options = options
    this.groups = new GroupDictionary(options.layout.dimensions)
    this.#base = new CellTable(options.layout)
    this.#merged = new CellTable(options.layout)
    this.grow(options.partitions)
  }

  /** Takes up partitions that were added to the stream; they begin at offset 0. */
  grow(partitions: number): void {
    while (this.#partitions.length < partitions) {
      const partition = this.#partitions.length
      const start = this.#startOf(this.#active, partition)
      this.#partitions.push({
        sealed: new Map(),
        ended: new Map(),
        chain: [],
        epoch: start.epoch,
        first: start.first,
        next: start.first,
        live: null,
        liveCells: new CellTable(this.options.layout),
        liveRefused: null,
        waiting: [],
        parts: new Map(),
        seenEpoch: 0,
      })
      this.version++
    }
  }

  /**
   * Proposes the view that should be read (null: none is published, everything comes from partials). It is adopted at once
   * when the partials reach its cut in every partition, else as soon as they do. Other generations are ignored.
   */
  publish(view: MergeView | null): void {
    if (view !== null && view.generation !== this.options.generation) return
    // The view may be the first to tell of a partition; its records are in the view, so its offset is in the answer.
    if (view !== null) this.grow(view.offsets.length)
    this.#pending = view
    if (view === null) {
      if (this.#started) return
      this.#adopt(null)
    } else {
      this.#tryAdopt()
    }
  }

  /** Cut of the view that waits to be adopted; null when none waits. */
  get pendingCut(): number | null {
    return this.#pending?.cut ?? null
  }

  /** True when a pending view is older than the tables kept (a rollback): the sealed topic must be read again from its start. */
  get needsHistory(): boolean {
    return this.#pending !== null && this.#started && this.#pending.cut < this.#activeCut
  }

  /** False when `apply` would ignore the record: its table need not be decoded. Takes note of its tags all the same. */
  wants(tags: MergeTags): boolean {
    const partition = this.#partitionOf(tags)
    if (partition === null) return false
    if (tags.kind === 'sealed') {
      this.#noteEnd(partition, tags)
      return tags.epoch >= this.#floor(tags.partition) && !partition.sealed.has(tags.epoch)
    }
    if (tags.epoch > partition.seenEpoch) partition.seenEpoch = tags.epoch
    return this.#liveIsNews(partition, tags)
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
    const tables = collectParts(partition, tags, table)
    if (tables === null) return 'waiting'
    if (tags.kind === 'sealed') {
      partition.sealed.set(tags.epoch, { tags, tables, groups: tables.map((part) => this.groups.idsOf(part)) })
      const before = partition.chain.length
      this.#advance(partition)
      this.#tryAdopt()
      this.version++
      return partition.chain.length > before ? 'applied' : 'waiting'
    }
    if (this.#applyLive(partition, { tags, tables })) {
      this.#drain(partition)
      this.#tryAdopt()
      this.version++
      return 'applied'
    }
    partition.waiting.push({ tags, tables })
    if (partition.waiting.length > WAITING_MAX) partition.waiting.shift()
    this.#tryAdopt()
    return 'waiting'
  }

  /** Why the merged answer is withheld; null when there is one. */
  refusal(): Refusal | null {
    if (!this.#started) return this.#pendingRefusal()
    if (this.#refusal?.version !== this.version) this.#refusal = { version: this.version, refusal: this.#findRefusal() }
    return this.#refusal.refusal
  }

  #findRefusal(): Refusal | null {
    if (this.#overflown) {
      const reason = `the metric has more than ${LIMITS.servedEntries} (window, group) entries to serve`
      return { code: 'METRIC_LIMIT', reason, partition: null }
    }
    for (let index = 0; index < this.#partitions.length; index++) {
      const partition = this.#partitions[index]!
      for (const tags of partition.chain) {
        if (tags.refused !== null) return refused(tags.refused, index, tags.epoch)
      }
      if (partition.liveRefused !== null) return refused(partition.liveRefused, index, partition.epoch)
      for (const epoch of partition.sealed.keys()) {
        if (epoch < partition.epoch || epoch < this.#startOf(this.#active, index).epoch) continue
        return {
          code: 'CUT_UNCOVERED',
          reason: `partition ${index}: the sealed partial of epoch ${partition.epoch} (from offset ${partition.first}) is missing, that of epoch ${epoch} is there`,
          partition: index,
        }
      }
    }
    return null
  }

  /** What an answer computed now covers. */
  state(): MergeState {
    if (this.#state?.version === this.version) return this.#state.state
    let arrivalMs = 0
    for (const { chain, live } of this.#partitions) {
      arrivalMs = Math.max(arrivalMs, live?.arrival_ms ?? 0, chain.at(-1)?.arrival_ms ?? 0)
    }
    const state: MergeState = {
      cut: this.#activeCut,
      view: this.#active !== null,
      offsets: this.#partitions.map(({ next }) => next),
      watermark: this.#watermark(),
      viewWatermark: this.#active?.watermark ?? NO_WATERMARK,
      arrivalMs,
    }
    this.#state = { version: this.version, state }
    return state
  }

  /** The cells of the answer. Valid until the next call that changes the store. */
  sources(): MergeSources {
    return {
      groups: this.groups,
      base: this.#base,
      speed: [this.#merged, ...this.#partitions.map((one) => one.liveCells)],
    }
  }

  /** Tables of another view (for `as_of`) as cells with this store's group ids. */
  cellsOf(table: PartialTable): CellTable {
    const cells = new CellTable(this.options.layout, table.count)
    cells.combine(table, this.groups.idsOf(table))
    return cells
  }

  /** Entries and estimated bytes: rows in use, tables kept for the next cut, dictionary. */
  memory(): { entries: number; groups: number; bytes: number; bytesPerEntry: number } {
    const entries = this.#entries()
    let bytes = this.#base.bytes() + this.#merged.bytes() + this.groups.bytes()
    for (const { liveCells, sealed, waiting } of this.#partitions) {
      bytes += liveCells.bytes()
      for (const { tables } of sealed.values()) for (const table of tables) bytes += tableBytes(table) + table.count * 4
      for (const { tables } of waiting) for (const table of tables) bytes += tableBytes(table)
    }
    return { entries, groups: this.groups.count, bytes, bytesPerEntry: entries === 0 ? 0 : bytes / entries }
  }

  #entries(): number {
    let entries = this.#base.count + this.#merged.count
    for (const { liveCells } of this.#partitions) entries += liveCells.count
    return entries
  }

  get #activeCut(): number {
    return this.#active?.cut ?? 0
  }

  /** Lowest epoch of a partition whose sealed table may still be needed. */
  #floor(partition: number): number {
    const pending = this.#pending === null ? Number.POSITIVE_INFINITY : this.#startOf(this.#pending, partition).epoch
    const active = this.#started ? this.#startOf(this.#active, partition).epoch : Number.POSITIVE_INFINITY
    const floor = Math.min(pending, active)
    return floor === Number.POSITIVE_INFINITY ? 0 : floor
  }

  /** Where speed takes over from a view in a partition. */
  #startOf(view: MergeView | null, partition: number): { epoch: number; first: number } {
    const first = view?.offsets[partition]
    return view === null || first === undefined ? { epoch: 0, first: 0 } : { epoch: view.cut, first }
  }

  #partitionOf(tags: MergeTags): PartitionState | null {
    if (tags.generation !== this.options.generation) return null
    if (tags.partition >= this.#partitions.length) this.grow(tags.partition + 1)
    return this.#partitions[tags.partition]!
  }

  #noteEnd(partition: PartitionState, tags: MergeTags): void {
    const known = tags.sealed_by === null || partition.ended.has(tags.sealed_by)
    if (known || tags.sealed_by < this.#floor(tags.partition)) return
    partition.ended.set(tags.sealed_by, tags)
    this.#tryAdopt()
  }

  #liveIsNews(partition: PartitionState, tags: MergeTags): boolean {
    if (tags.epoch < partition.epoch && !(this.#pending !== null && tags.epoch >= this.#pending.cut)) return false
    if (partition.sealed.has(tags.epoch)) return false
    if (tags.epoch !== partition.epoch || partition.live === null) return true
    return tags.next > partition.next || (tags.refused !== null && partition.liveRefused === null)
  }

  /** Applies a live record to the open epoch; false when it must wait. */
  #applyLive(partition: PartitionState, { tags, tables }: Waiting): boolean {
    if (tags.epoch !== partition.epoch || tags.first !== partition.first) return false
    if (tags.refused !== null) partition.liveRefused = tags.refused
    if (partition.live !== null && tags.next <= partition.next) return true
    if (tags.base > partition.next) return tags.refused !== null
    for (const table of tables) partition.liveCells.replace(table, this.groups.idsOf(table))
    partition.live = tags
    partition.next = tags.next
    return true
  }

  /** Applies what has become applicable. A record may build on one that waited behind it, hence until nothing moves. */
  #drain(partition: PartitionState): void {
    for (let moved = true; moved && partition.waiting.length > 0; ) {
      moved = false
      const still: Waiting[] = []
      for (const one of partition.waiting) {
        if (!this.#liveIsNews(partition, one.tags)) continue
        if (this.#applyLive(partition, one)) moved = true
        else still.push(one)
      }
      partition.waiting = still
    }
  }

  /** Moves the end of the tiled part over sealed epochs that are there now, merging each. */
  #advance(partition: PartitionState): void {
    let sealed = partition.sealed.get(partition.epoch)
    while (sealed !== undefined && sealed.tags.first === partition.first) {
      const { tags, tables, groups } = sealed
      for (const [part, table] of tables.entries()) this.#merged.combine(table, groups[part]!)
      partition.chain.push(tags)
      this.#openEpoch(partition, { epoch: tags.sealed_by!, first: tags.next })
      sealed = partition.sealed.get(partition.epoch)
    }
    this.#drain(partition)
  }

  #openEpoch(partition: PartitionState, start: { epoch: number; first: number }): void {
    partition.epoch = start.epoch
    partition.first = start.first
    partition.next = start.first
    partition.live = null
    partition.liveRefused = null
    partition.liveCells = new CellTable(this.options.layout)
    for (const key of partition.parts.keys()) if (Number(key.split('/')[1]) < start.epoch) partition.parts.delete(key)
  }

  #tryAdopt(): void {
    const view = this.#pending
    if (view === null) return
    for (let index = 0; index < this.#partitions.length; index++) {
      if (!this.#reaches(view, index) || !this.#keepsUp(view, index)) return
    }
    this.#adopt(view)
  }

  /** True when the partials of this partition begin at the view's cut: nothing between the two is missing. */
  #reaches(view: MergeView, index: number): boolean {
    const partition = this.#partitions[index]!
    const { epoch, first } = this.#startOf(view, index)
    if (epoch === 0 && first === 0) return true
    const ended = partition.ended.get(epoch)
    if (ended !== undefined && ended.next === first) return true
    if (partition.sealed.get(epoch)?.tags.first === first) return true
    if (partition.live !== null && partition.epoch === epoch && partition.first === first) return true
    // One that applies as soon as the view is adopted. Another would leave the partition's watermark at the cut unknown.
    return partition.waiting.some(({ tags }) => tags.epoch === epoch && tags.first === first && tags.base === first)
  }

  /** True when adopting the view would not take the partition's answer back to an earlier epoch (a rollback still being read). */
  #keepsUp(view: MergeView, index: number): boolean {
    const partition = this.#partitions[index]!
    if (!this.#started) return true
    let { epoch, first } = this.#startOf(view, index)
    for (let one = partition.sealed.get(epoch); one?.tags.first === first; one = partition.sealed.get(epoch)) {
      epoch = one.tags.sealed_by!
      first = one.tags.next
    }
    return epoch >= partition.epoch
  }

  /** Makes `view` the base and rebuilds what is merged on top of it. */
  #adopt(view: MergeView | null): void {
    this.#active = view
    this.#pending = null
    this.#started = true
    this.#overflown = false
    this.#base = view === null ? new CellTable(this.options.layout) : this.cellsOf(view.table)
    this.#merged = new CellTable(this.options.layout)
    for (let index = 0; index < this.#partitions.length; index++) {
      const partition = this.#partitions[index]!
      const start = this.#startOf(view, index)
      for (const epoch of partition.sealed.keys()) if (epoch < start.epoch) partition.sealed.delete(epoch)
      for (const id of partition.ended.keys()) if (id < start.epoch) partition.ended.delete(id)
      const open = { epoch: partition.epoch, first: partition.first, next: partition.next }
      const { live, liveCells, liveRefused } = partition
      partition.chain = []
      this.#openEpoch(partition, start)
      this.#advance(partition)
      // The open epoch's state stays true as long as the open epoch is the same one.
      if (
        live !== null &&
        partition.epoch === open.epoch &&
        partition.first === open.first &&
        partition.next < open.next
      ) {
        Object.assign(partition, { live, liveCells, liveRefused, next: open.next })
        this.#drain(partition)
      }
    }
    this.version++
  }

  #pendingRefusal(): Refusal {
    const view = this.#pending
    if (view === null) return { code: 'SPEED_BEHIND', reason: 'the store has not been loaded yet', partition: null }
    for (let index = 0; index < this.#partitions.length; index++) {
      if (this.#reaches(view, index)) continue
      const { epoch, first } = this.#startOf(view, index)
      const partition = this.#partitions[index]!
      const beyond = Math.max(partition.seenEpoch, ...partition.sealed.keys(), ...partition.ended.keys())
      if (beyond > epoch) {
        const reason = `partition ${index}: no partial begins at cut ${epoch} (offset ${first}), though epoch ${beyond} is there`
        return { code: 'CUT_UNCOVERED', reason, partition: index }
      }
      const reason = `partition ${index}: the speed layer has not reached cut ${epoch} (offset ${first}) yet`
      return { code: 'SPEED_BEHIND', reason, partition: index }
    }
    return { code: 'SPEED_BEHIND', reason: 'the view is being taken up', partition: null }
  }

  /**
   * The stream's watermark at the offsets: folded over the barriers that every partition in use has passed, from the view's on.
   * In the open stretch no partition is idle yet: one that has been silent may still speak with an old event, and what was
   * closed without it would have to open again. Its silence counts at the next barrier, so the watermark only grows (I4).
   */
  #watermark(): InstantMs {
    let watermark = this.#active?.watermark ?? NO_WATERMARK
    const ends = this.#partitions.map(({ chain }) => new Map(chain.map((tags, at) => [tags.sealed_by!, at])))
    const at = this.#partitions.map(() => 0)
    // The first epoch in use was opened by the cut's barrier, whether or not the barrier that ended it is in every partition.
    let previousMs = this.#partitions[0]?.chain[0]?.opened_ms ?? 0
    for (const tags of this.#partitions[0]?.chain ?? []) {
      const id = tags.sealed_by!
      if (!ends.every((one) => one.has(id))) continue
      const activity = this.#partitions.map(({ chain }, index) => {
        const until = ends[index]!.get(id)! + 1
        let events = 0
        for (let one = at[index]!; one < until; one++) events += chain[one]!.events
        at[index] = until
        return { watermark: chain[until - 1]!.watermark ?? NO_WATERMARK, events }
      })
      watermark = foldWatermark(watermark, activity, tags.sealed_ms! - previousMs)
      previousMs = tags.sealed_ms!
    }
    const open = this.#partitions.map(({ chain, live, ended }) => {
      const last = live ?? chain.at(-1) ?? ended.get(this.#activeCut) ?? null
      return { watermark: last?.watermark ?? NO_WATERMARK, events: 1 }
    })
    return foldWatermark(watermark, open, 0)
  }
}

const refused = (code: string, partition: number, epoch: number): Refusal => ({
  code,
  partition,
  reason: `partition ${partition}: the speed layer refused epoch ${epoch} with ${code}`,
})

/** All parts of a table once the last has come; null until then. */
function collectParts(partition: PartitionState, tags: MergeTags, table: PartialTable): readonly PartialTable[] | null {
  if (tags.parts === 1) return [table]
  const key = `${tags.kind}/${tags.epoch}/${tags.base}/${tags.next}/${tags.parts}`
  const parts = partition.parts.get(key) ?? new Array<PartialTable | undefined>(tags.parts).fill(undefined)
  parts[tags.part] = table
  if (parts.every((part): part is PartialTable => part !== undefined)) {
    partition.parts.delete(key)
    return parts
  }
  partition.parts.set(key, parts)
  if (partition.parts.size > PARTS_MAX) partition.parts.delete(partition.parts.keys().next().value!)
  return null
}

const tableBytes = (table: PartialTable): number =>
  table.cells.byteLength +
  table.windowFrom.byteLength +
  table.dimensions.reduce((sum, { index }) => sum + index.byteLength, 0)
