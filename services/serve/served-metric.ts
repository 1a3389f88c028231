/**
 * One metric as it is served: its merge store, the chain of published views, the tables of older views asked for, and the
 * cache of finished answers. Knows the lake only through the loader it is given.
 */
import type { CellTable } from '#core/cells.ts'
import { MergeStore, type MergeView } from '#core/merge.ts'
import type { PartialTable } from '#core/partial.ts'
import { OperatingError } from '#io/errors.ts'
import { type Chain, readChain } from '#io/manifest.ts'
import type { Lake } from '#io/ports.ts'
import { viewManifest } from '#io/views.ts'
import type { MetricDefinition } from '#metrics/definition.ts'
import type { ViewArm, ViewEntry } from '#schemas/view.ts'

/** Older views whose tables stay in memory per metric. */
const OLDER_VIEWS_MAX = 2
/** Finished answers kept per metric and state. */
const ANSWERS_MAX = 500

/** A finished answer: bytes of the body and the headers that go with it. */
export interface Answer {
  readonly body: Buffer
  readonly headers: Readonly<Record<string, string>>
}

/** The batch layer of an answer. */
export interface BatchLayer {
  readonly entry: ViewEntry
  readonly cells: CellTable
}

/** Reads a view's rows. */
export type LoadView = (entry: ViewEntry, definition: MetricDefinition) => Promise<PartialTable>

/** One metric of the serving process. */
export class ServedMetric {
  readonly definition: MetricDefinition
  readonly arm: ViewArm
  readonly store: MergeStore
  readonly #lake: Lake
  readonly #load: LoadView
  /** What the views' manifest says; null until it was read once. */
  #chain: Chain<ViewEntry> | null = null
  /** Sequence that was proposed to the store last. */
  #proposed = 0
  #latest: ViewEntry | null = null
  /** Cells of older (or not yet adopted) views by sequence, the most recently used last. */
  readonly #older = new Map<number, BatchLayer>()
  #answers = new Map<string, Answer>()
  #answersOf = ''

  constructor(definition: MetricDefinition, deps: { lake: Lake; load: LoadView; partitions: number }) {
    this.definition = definition
    this.arm = definition.mode === 'kappa' ? 'stream' : 'sql'
    this.#lake = deps.lake
    this.#load = deps.load
    this.store = new MergeStore({
      layout: definition.layout,
      partitions: deps.partitions,
      generation: definition.generation,
    })
  }

  /** The newest view of this generation, published or not adopted yet; null without one. */
  get latest(): ViewEntry | null {
    return this.#latest
  }

  /** The view that merged answers stand on; null without one. */
  get adopted(): ViewEntry | null {
    const { view, cut } = this.store.state()
    return view ? (this.#views().findLast((entry) => entry.cut === cut) ?? null) : null
  }

  /** Changes with everything that may change an answer. */
  get stamp(): string {
    return `${this.store.version}.${this.#chain?.entries.length ?? 0}`
  }

  /**
   * Looks for new views and proposes the last one to the store.
   * @throws OperatingError LAKE_DAMAGED, DUCKDB_FAILED
   */
  async refreshViews(): Promise<void> {
    this.#chain = await readChain<ViewEntry>(
      this.#lake,
      viewManifest(this.definition.name, this.arm),
      this.#chain ?? undefined,
    )
    const latest = this.#views().at(-1) ?? null
    if (latest === null) {
      if (this.#proposed === 0) this.store.publish(null)
      return
    }
    if (latest.sequence === this.#proposed) return
    const table = await this.#load(latest, this.definition)
    this.#proposed = latest.sequence
    this.#latest = latest
    this.store.publish({ ...viewOf(latest), table })
  }

  /** Views of this generation, oldest first. */
  #views(): readonly ViewEntry[] {
    return (this.#chain?.entries ?? []).filter(({ generation }) => generation === this.definition.generation)
  }

  /**
   * The batch layer: of the view at cut `asOf`, else of the view merged answers stand on, else of the newest one.
   * @throws OperatingError VIEW_UNKNOWN, LAKE_DAMAGED, DUCKDB_FAILED
   */
  async batchLayer(asOf: number | null): Promise<BatchLayer> {
    const { name } = this.definition
    const adopted = this.adopted
    const entry = asOf === null ? (adopted ?? this.#latest) : this.#views().findLast(({ cut }) => cut === asOf)
    if (entry === null || entry === undefined) {
      const message =
        asOf === null ? `No view of ${name} is published yet.` : `No view of ${name} was published at cut ${asOf}.`
      throw new OperatingError('VIEW_UNKNOWN', message, { metric: name, cut: asOf })
    }
    if (entry.sequence === adopted?.sequence) return { entry, cells: this.store.sources().base }
    let layer = this.#older.get(entry.sequence)
    this.#older.delete(entry.sequence)
    layer ??= { entry, cells: this.store.cellsOf(await this.#load(entry, this.definition)) }
    this.#older.set(entry.sequence, layer)
    if (this.#older.size > OLDER_VIEWS_MAX) this.#older.delete(this.#older.keys().next().value!)
    return layer
  }

  /** A finished answer for the state as it is now. */
  cached(key: string): Answer | undefined {
    if (this.#answersOf !== this.stamp) return undefined
    return this.#answers.get(key)
  }

  /** Keeps an answer computed from the state `stamp`; answers of other states are dropped. */
  remember(stamp: string, key: string, answer: Answer): void {
    if (stamp !== this.stamp) return
    if (this.#answersOf !== stamp) {
      this.#answers = new Map()
      this.#answersOf = stamp
    }
    if (this.#answers.size >= ANSWERS_MAX) this.#answers.delete(this.#answers.keys().next().value!)
    this.#answers.set(key, answer)
  }
}

const viewOf = ({ generation, cut, offsets, watermark }: ViewEntry): Omit<MergeView, 'table'> => ({
  generation,
  cut,
  offsets,
  watermark,
})
