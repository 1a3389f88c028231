/**
 * The checker of the simulation. It stands outside: it reads the topics and nothing else, and judges by the oracle.
 *
 *   events.<stream>   → what is true (which records there are, their epochs and arrival)
 *   sealed.<metric>   → every (partition, epoch) has one value, whatever the number of publications, and the oracle's
 *   live.<metric>     → with the sealed ones through the serving store: every answer is exact for its offsets, or refused
 */
import { MergeStore } from '#core/merge.ts'
import { openBatch, type RecordInput, readRecord } from '#format/record-batch.ts'
import type { EventLog } from '#io/ports.ts'
import type { MetricDefinition } from '#metrics/definition.ts'
import { eventsTopic, liveTopic, sealedTopic } from '#schemas/topics.ts'
import { judge, type OracleEvent, recompute } from './oracle.ts'
import type { Reading } from './simulator-history.ts'
import { answerOf, cutsOf, exactAnswer, exactWatermark, readPublished, viewAt } from './simulator-merge.ts'
import { oracleEvent, spellCells, spellTable, VISIT_ORACLE, VISIT_POLICY, type Visit } from './simulator-stream.ts'

/** What a record that somebody appended to the event topic is; found again by its value. */
export type Known =
  | { readonly sort: 'visit'; readonly visit: Visit }
  | { readonly sort: 'barrier'; readonly id: number }

/** Spelling of a record's value and headers, for looking it up. */
export const recordKey = ({ value, headers }: Pick<RecordInput, 'value' | 'headers'>): string => {
  const text = (bytes: Uint8Array | null): string => (bytes === null ? '-' : Buffer.from(bytes).toString('latin1'))
  return [text(value), ...(headers ?? []).map(([name, content]) => `${name}=${text(content)}`)].join('|')
}

/** Follows one topic from its start; one call returns what is new. */
class Follower {
  readonly #log: EventLog
  readonly #topic: string
  readonly #next: number[] = []

  constructor(log: EventLog, topic: string) {
    this.#log = log
    this.#topic = topic
  }

  async read(): Promise<{ partition: number; baseOffset: number; bytes: Uint8Array }[]> {
    const ends = await this.#log.endOffsets(this.#topic)
    const behind = ends.flatMap((end, partition) => {
      const offset = this.#next[partition] ?? 0
      return offset < end ? [{ partition, offset }] : []
    })
    if (behind.length === 0) return []
    const reader = await this.#log.open(this.#topic, behind)
    const out: { partition: number; baseOffset: number; bytes: Uint8Array }[] = []
    while (behind.some(({ partition }) => (this.#next[partition] ?? 0) < ends[partition]!)) {
      for (const { partition, baseOffset, lastOffset, bytes } of await reader.poll({ maxWaitMs: 0, maxBytes: 1e9 })) {
        out.push({ partition, baseOffset, bytes: bytes.slice() })
        this.#next[partition] = lastOffset + 1
      }
    }
    await reader.close()
    return out
  }
}

/** Throws with what it found: the anomaly, the place, both values. */
function fail(what: string, expected: unknown, received: unknown): never {
  const text = (value: unknown): string =>
    value instanceof Map
      ? JSON.stringify([...(value as Map<string, string>)].sort(([a], [b]) => (a < b ? -1 : 1)))
      : JSON.stringify(value)
  throw new Error(`${what}\n  expected ${text(expected)}\n  received ${text(received)}`)
}

const sameMap = (a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean =>
  a.size === b.size && [...a].every(([key, value]) => b.get(key) === value)

/** The checker of one world. */
export class Checker {
  readonly stores: readonly MergeStore[]
  /** Sealed publications seen, and how many of them were repeats of an epoch. */
  publications = 0
  repeats = 0
  answers = 0
  readonly #metrics: readonly MetricDefinition[]
  readonly #known: ReadonlyMap<string, Known>
  readonly #events: Follower
  readonly #topics: readonly { live: Follower; sealed: Follower }[]
  readonly #oracleEvents: OracleEvent[] = []
  readonly #partitions: { epoch: number; fates: Reading['fates'][number][]; cuts: Map<number, number> }[]
  readonly #sealed = new Map<string, { value: string; parts: Map<number, string> }>()
  readonly #watermarks: number[]
  readonly #seen: readonly ReturnType<typeof readPublished>[]

  constructor(
    log: EventLog,
    metrics: readonly MetricDefinition[],
    partitions: number,
    known: ReadonlyMap<string, Known>,
  ) {
    this.#metrics = metrics
    this.#known = known
    this.#events = new Follower(log, eventsTopic('visits'))
    this.#topics = metrics.map(({ name }) => ({
      live: new Follower(log, liveTopic(name)),
      sealed: new Follower(log, sealedTopic(name)),
    }))
    this.#partitions = Array.from({ length: partitions }, () => ({ epoch: 0, fates: [], cuts: new Map() }))
    this.#watermarks = metrics.map(() => Number.NEGATIVE_INFINITY)
    this.stores = metrics.map((metric) => this.#newStore(metric))
    this.#seen = metrics.map(() => [])
  }

  #newStore(metric: MetricDefinition): MergeStore {
    const store = new MergeStore({
      layout: metric.layout,
      partitions: this.#partitions.length,
      generation: metric.generation,
    })
    store.publish(null)
    return store
  }

  /** A reader that starts now: it has every sealed record, and the live ones only from some place on. */
  #startLate(at: number, readings: readonly Reading[], choose: (below: number) => number): void {
    const metric = this.#metrics[at]!
    const store = this.#newStore(metric)
    const seen = this.#seen[at]!
    const live = seen.filter(({ tags }) => tags.kind === 'live')
    const records = [...seen.filter(({ tags }) => tags.kind === 'sealed'), ...live.slice(choose(live.length + 1))]
    for (const { tags, table } of records) {
      if (store.apply(tags, table) === 'applied' && tags.kind === 'live') this.#checkExact(store, metric, readings)
    }
    this.#checkExact(store, metric, readings)
  }

  /** Reads what is new everywhere and checks every answer on the way. `choose` picks a number below its argument. */
  async look(choose: (below: number) => number): Promise<Reading[]> {
    const fresh: ReturnType<typeof readPublished>[] = []
    // Partials first: what they tell of is then surely among the events.
    for (const [at, { live, sealed }] of this.#topics.entries()) {
      const queues = [await live.read(), await sealed.read()]
      const records: ReturnType<typeof readPublished> = []
      while (queues.some((queue) => queue.length > 0)) {
        const queue = queues[choose(2)]!
        const batch = queue.shift()
        if (batch !== undefined) records.push(...readPublished(batch.bytes, this.#metrics[at]!))
      }
      fresh.push(records)
    }
    const readings = await this.#readEvents()
    for (const [at, metric] of this.#metrics.entries()) {
      const store = this.stores[at]!
      for (const record of fresh[at]!) {
        this.#seen[at]!.push(record)
        if (record.tags.kind === 'sealed') this.#checkSealed(record, metric, readings)
        if (store.apply(record.tags, record.table) === 'applied' && choose(4) === 0) this.#checkAnswer(at, readings)
      }
      const cuts = cutsOf(readings).filter((cut) => cut > store.state().cut)
      if (cuts.length > 0 && choose(5) === 0) store.publish(viewAt(readings, metric, cuts[choose(cuts.length)]!))
      this.#checkAnswer(at, readings)
      if (choose(3) === 0) this.#startLate(at, readings, choose)
    }
    return readings
  }

  /** I5 and I4: the answer is exact, and its watermark never goes back. */
  #checkAnswer(at: number, readings: readonly Reading[]): void {
    const metric = this.#metrics[at]!
    const watermark = this.#checkExact(this.stores[at]!, metric, readings)
    if (watermark < this.#watermarks[at]!) fail(`${metric.name}: watermark went back`, this.#watermarks[at], watermark)
    this.#watermarks[at] = watermark
  }

  /** The answer is the oracle's over the offsets it states, its watermark too. Returns the watermark. */
  #checkExact(store: MergeStore, metric: MetricDefinition, readings: readonly Reading[]): number {
    const refusal = store.refusal()
    if (refusal !== null) fail(`${metric.name} is refused though its topics are whole`, null, refusal)
    const { offsets, watermark } = store.state()
    const [expected, received] = [exactAnswer(readings, metric, offsets), answerOf(store, metric)]
    if (!sameMap(expected, received)) fail(`${metric.name} at ${offsets.join()} is not exact`, expected, received)
    const exact = exactWatermark(readings, offsets)
    if (watermark !== exact) fail(`${metric.name} at ${offsets.join()}: watermark`, exact, watermark)
    this.answers++
    return watermark
  }

  #checkSealed(
    { tags, table }: ReturnType<typeof readPublished>[number],
    metric: MetricDefinition,
    readings: readonly Reading[],
  ): void {
    const key = `${metric.name}, partition ${tags.partition}, epoch ${tags.epoch}`
    const { part } = tags
    // Late events are those of the part's own rows; where its publisher stood in the live topic is a hint to readers that start.
    const apart = ['part', 'late', 'live_next']
    const value = JSON.stringify(tags, (name, one: unknown) => (apart.includes(name) ? undefined : one))
    const spelled = JSON.stringify([...spellTable(table)])
    const known = this.#sealed.get(key) ?? { value, parts: new Map<number, string>() }
    this.#sealed.set(key, known)
    if (known.value !== value) fail(`inconsistent-offsets: ${key} has two values`, known.value, value)
    const before = known.parts.get(part)
    if (before !== undefined && before !== spelled) fail(`inconsistent-offsets: ${key} part ${part}`, before, spelled)
    this.publications++
    if (before !== undefined) this.repeats++
    known.parts.set(part, spelled)
    if (known.parts.size < tags.parts) return
    const inside = readings[tags.partition]!.judged.filter(
      ({ event }) => event.offset >= tags.first && event.offset < tags.next,
    )
    const count = (verdict: string) => inside.filter((one) => one.verdict === verdict).length
    const counted = [tags.events, tags.duplicates, tags.quarantined, tags.dead]
    const dead = readings[tags.partition]!.fates.slice(tags.first, tags.next).filter((fate) => fate === 'dead').length
    const truth = [count('accepted') + count('duplicate'), count('duplicate'), count('quarantined'), dead]
    if (counted.join() !== truth.join()) fail(`${key}: events, duplicates, quarantined, dead`, truth, counted)
    const oracle = VISIT_ORACLE[metric.name]!
    const expected = spellCells(recompute(inside, oracle), oracle)
    const received = new Map([...known.parts.values()].flatMap((text) => JSON.parse(text) as [string, string][]))
    if (!sameMap(expected, received)) fail(`${key} is not the oracle's`, expected, received)
  }

  async #readEvents(): Promise<Reading[]> {
    for (const { partition, bytes } of await this.#events.read()) {
      const place = this.#partitions[partition]!
      const opened = openBatch(bytes, 0)
      if ('dead' in opened) throw new Error('the simulation appends whole batches')
      const arrivalMs = opened.header.maxTimestamp
      for (let record = readRecord(opened.cursor); record !== null; record = readRecord(opened.cursor)) {
        const { offset } = record
        const known = this.#known.get(recordKey(record))
        if (known?.sort === 'visit') {
          this.#oracleEvents.push(oracleEvent(known.visit, { partition, offset, epoch: place.epoch, arrivalMs }))
        } else if (known?.sort === 'barrier' && known.id > place.epoch) {
          place.epoch = known.id
          place.cuts.set(known.id, offset + 1)
        }
        place.fates.push(known === undefined ? 'dead' : known.sort === 'visit' ? 'event' : 'barrier')
      }
    }
    const judged = judge(this.#oracleEvents, VISIT_POLICY)
    return this.#partitions.map(({ cuts, fates }, partition) => ({
      judged: judged.filter(({ event }) => event.partition === partition),
      cuts,
      fates,
      end: fates.length,
      epochs: [],
    }))
  }
}
