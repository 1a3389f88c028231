/**
 * One partition of a merge store: sealed tables laid end to end from where the view ends, then the open epoch on top.
 *
 *   view │ sealed k │ sealed … │ live of the open epoch │ waiting: not applicable yet
 *        ↑ start               ↑ (epoch, first)         ↑ next
 *
 * Upholds rules 1 to 5 of merge.ts; which view is the base is the store's affair.
 */
import { CellTable } from './cells.ts'
import type { GroupDictionary } from './group-key.ts'
import { LIMITS } from './limits.ts'
import type { PartialLayout, PartialTable } from './partial.ts'

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

/** Where the partials of a partition take over from a view: the epoch its cut began, and the cut's offset. */
export interface Start {
  readonly epoch: number
  readonly first: number
}

/** What the partitions of one store have in common. The store replaces `merged` and `pendingCut`. */
export interface Shared {
  readonly layout: PartialLayout
  readonly groups: GroupDictionary
  /** The cells of every sealed epoch in use. */
  merged: CellTable
  /** Cut of the view that waits to be adopted; null when none waits. */
  pendingCut: number | null
}

/** A whole table, in parts, with the tags of its last part. */
interface Tagged {
  readonly tags: MergeTags
  readonly tables: readonly PartialTable[]
}

interface Sealed extends Tagged {
  readonly groups: readonly Int32Array[]
}

/** The tiling of one partition. */
export class PartitionTiling {
  readonly #shared: Shared
  readonly #sealed = new Map<number, Sealed>()
  /** Tags of sealed tables by the barrier that ended them; the table itself may have been dropped. */
  readonly #ended = new Map<number, MergeTags>()
  /** Tables of which parts are missing, by their identity. */
  readonly #parts = new Map<string, (PartialTable | undefined)[]>()
  /** Sealed epochs in use, in order; then the open epoch begins at (epoch, first). */
  #chain: MergeTags[] = []
  #epoch: number
  #first: number
  /** Open epoch: covered up to `next`; `live` is null until a live record applied. */
  #next: number
  #live: MergeTags | null = null
  #liveCells: CellTable
  #liveRefused: string | null = null
  #waiting: Tagged[] = []
  /** Highest open epoch in any live record: tells how far speed is. */
  #seenEpoch = 0

  constructor(shared: Shared, start: Start) {
    this.#shared = shared
    this.#epoch = start.epoch
    this.#first = start.first
    this.#next = start.first
    this.#liveCells = new CellTable(shared.layout)
  }

  /** Tags of the sealed epochs in use, in order. */
  get chain(): readonly MergeTags[] {
    return this.#chain
  }

  /** Offset up to which the tiles reach, exclusive. */
  get next(): number {
    return this.#next
  }

  /** The open epoch: where it begins, and the code with which speed refused it (null: it did not). */
  get open(): Start & { readonly refused: string | null } {
    return { epoch: this.#epoch, first: this.#first, refused: this.#liveRefused }
  }

  /** Latest arrival time in use; 0 without any. */
  get arrivalMs(): number {
    return Math.max(this.#live?.arrival_ms ?? 0, this.#chain.at(-1)?.arrival_ms ?? 0)
  }

  /** Cells of the open epoch. */
  get liveCells(): CellTable {
    return this.#liveCells
  }

  /** The last tags in use: of the open epoch, or of the last sealed one, or of the one that ended at the cut; null without any. */
  lastTags(cut: number): MergeTags | null {
    return this.#live ?? this.#chain.at(-1) ?? this.#ended.get(cut) ?? null
  }

  /** A sealed epoch from `startEpoch` on that no tile leads to; null when there is none. */
  unreached(startEpoch: number): number | null {
    for (const epoch of this.#sealed.keys()) if (epoch >= this.#epoch && epoch >= startEpoch) return epoch
    return null
  }

  /** The highest epoch that any record told of. */
  get seenEpoch(): number {
    return Math.max(this.#seenEpoch, ...this.#sealed.keys(), ...this.#ended.keys())
  }

  /** Estimated bytes of cells and of the tables that are kept. */
  bytes(): number {
    let bytes = this.#liveCells.bytes()
    for (const { tables } of this.#sealed.values())
      for (const table of tables) bytes += tableBytes(table) + table.count * 4
    for (const { tables } of this.#waiting) for (const table of tables) bytes += tableBytes(table)
    return bytes
  }

  /** Takes note of the end of a sealed epoch; true when it was not known. */
  noteEnd(tags: MergeTags, floor: number): boolean {
    if (tags.sealed_by === null || this.#ended.has(tags.sealed_by) || tags.sealed_by < floor) return false
    this.#ended.set(tags.sealed_by, tags)
    return true
  }

  /** Takes note of how far speed is. */
  noteLive(tags: MergeTags): void {
    if (tags.epoch > this.#seenEpoch) this.#seenEpoch = tags.epoch
  }

  /** False for a sealed table that is held already, or that lies before all that may still be needed. */
  wantsSealed(tags: MergeTags, floor: number): boolean {
    return tags.epoch >= floor && !this.#sealed.has(tags.epoch)
  }

  /** False for a live record that says nothing new. */
  wantsLive(tags: MergeTags): boolean {
    const { pendingCut } = this.#shared
    if (tags.epoch < this.#epoch && !(pendingCut !== null && tags.epoch >= pendingCut)) return false
    if (this.#sealed.has(tags.epoch)) return false
    if (tags.epoch !== this.#epoch || this.#live === null) return true
    return tags.next > this.#next || (tags.refused !== null && this.#liveRefused === null)
  }

  /** All parts of a table once the last has come; null until then. */
  collect(tags: MergeTags, table: PartialTable): readonly PartialTable[] | null {
    if (tags.parts === 1) return [table]
    const key = `${tags.kind}/${tags.epoch}/${tags.base}/${tags.next}/${tags.parts}`
    const parts = this.#parts.get(key) ?? new Array<PartialTable | undefined>(tags.parts).fill(undefined)
    parts[tags.part] = table
    if (parts.every((part): part is PartialTable => part !== undefined)) {
      this.#parts.delete(key)
      return parts
    }
    this.#parts.set(key, parts)
    if (this.#parts.size > LIMITS.incompleteTables) this.#parts.delete(this.#parts.keys().next().value!)
    return null
  }

  /** Keeps a sealed table and moves on as far as it leads. */
  takeSealed(tags: MergeTags, tables: readonly PartialTable[]): void {
    this.#sealed.set(tags.epoch, { tags, tables, groups: tables.map((part) => this.#shared.groups.idsOf(part)) })
    this.#advance()
  }

  /** Applies a live record; false when it has to wait for what it builds on. */
  takeLive(tags: MergeTags, tables: readonly PartialTable[]): boolean {
    const record = { tags, tables }
    if (this.#applyLive(record)) {
      this.#drain()
      return true
    }
    this.#waiting.push(record)
    if (this.#waiting.length > LIMITS.waitingRecords) this.#waiting.shift()
    return false
  }

  /** Applies a live record to the open epoch; false when it must wait. */
  #applyLive({ tags, tables }: Tagged): boolean {
    if (tags.epoch !== this.#epoch || tags.first !== this.#first) return false
    if (tags.refused !== null) this.#liveRefused = tags.refused
    if (this.#live !== null && tags.next <= this.#next) return true
    if (tags.base > this.#next) return tags.refused !== null
    for (const table of tables) this.#liveCells.replace(table, this.#shared.groups.idsOf(table))
    this.#live = tags
    this.#next = tags.next
    return true
  }

  /** Applies what has become applicable. A record may build on one that waited behind it, hence until nothing moves. */
  #drain(): void {
    for (let moved = true; moved && this.#waiting.length > 0; ) {
      moved = false
      const still: Tagged[] = []
      for (const one of this.#waiting) {
        if (!this.wantsLive(one.tags)) continue
        if (this.#applyLive(one)) moved = true
        else still.push(one)
      }
      this.#waiting = still
    }
  }

  /** Moves the end of the tiled part over sealed epochs that are there now, merging each. */
  #advance(): void {
    let sealed = this.#sealed.get(this.#epoch)
    while (sealed !== undefined && sealed.tags.first === this.#first) {
      const { tags, tables, groups } = sealed
      for (const [part, table] of tables.entries()) this.#shared.merged.combine(table, groups[part]!)
      this.#chain.push(tags)
      this.#openEpoch({ epoch: tags.sealed_by!, first: tags.next })
      sealed = this.#sealed.get(this.#epoch)
    }
    this.#drain()
  }

  #openEpoch({ epoch, first }: Start): void {
    this.#epoch = epoch
    this.#first = first
    this.#next = first
    this.#live = null
    this.#liveRefused = null
    this.#liveCells = new CellTable(this.#shared.layout)
    for (const key of this.#parts.keys()) if (Number(key.split('/')[1]) < epoch) this.#parts.delete(key)
  }

  /** True when the partials of this partition begin at `start`: nothing between a view that ends there and them is missing. */
  reaches({ epoch, first }: Start): boolean {
    if (epoch === 0 && first === 0) return true
    const ended = this.#ended.get(epoch)
    if (ended !== undefined && ended.next === first) return true
    if (this.#sealed.get(epoch)?.tags.first === first) return true
    if (this.#live !== null && this.#epoch === epoch && this.#first === first) return true
    // One that applies as soon as the view is adopted. Another would leave the partition's watermark at the cut unknown.
    return this.#waiting.some(({ tags }) => tags.epoch === epoch && tags.first === first && tags.base === first)
  }

  /** True when beginning at `start` would not take the answer back to an earlier epoch (a rollback still being read). */
  keepsUp(start: Start): boolean {
    let { epoch, first } = start
    for (let one = this.#sealed.get(epoch); one?.tags.first === first; one = this.#sealed.get(epoch)) {
      epoch = one.tags.sealed_by!
      first = one.tags.next
    }
    return epoch >= this.#epoch
  }

  /** Begins anew at `start`: drops the epochs before it and merges those behind it into the store's new `merged`. */
  restart(start: Start): void {
    for (const epoch of this.#sealed.keys()) if (epoch < start.epoch) this.#sealed.delete(epoch)
    for (const id of this.#ended.keys()) if (id < start.epoch) this.#ended.delete(id)
    const open = { epoch: this.#epoch, first: this.#first, next: this.#next }
    const [live, liveCells, liveRefused] = [this.#live, this.#liveCells, this.#liveRefused]
    this.#chain = []
    this.#openEpoch(start)
    this.#advance()
    // The open epoch's state stays true as long as the open epoch is the same one.
    if (live !== null && this.#epoch === open.epoch && this.#first === open.first && this.#next < open.next) {
      this.#live = live
      this.#liveCells = liveCells
      this.#liveRefused = liveRefused
      this.#next = open.next
      this.#drain()
    }
  }
}

const tableBytes = (table: PartialTable): number =>
  table.cells.byteLength +
  table.windowFrom.byteLength +
  table.dimensions.reduce((sum, { index }) => sum + index.byteLength, 0)
