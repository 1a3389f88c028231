/**
 * Tail: follows one topic of partials from the start of its retention and hands every record on, in order per partition.
 * Positions live in memory only: a restart reads again, which changes nothing (absolute values). When retention has passed a
 * position, reading goes on at the topic's start; whether something needed is missing shows in the store, which then refuses.
 */
import { openBatch, readRecord } from '#format/record-batch.ts'
import { classify } from '#io/errors.ts'
import type { Clock, EventLog, LogReader } from '#io/ports.ts'
import { type PartialTags, tagsOf } from '#schemas/partials.ts'

const POLL_WAIT_MS = 250
const POLL_BYTES = 8 * 1024 * 1024
const BACKOFF_MS = { first: 100, most: 5_000 }
/** Turns of the loop between two looks for new partitions or for the topic itself. */
const DESCRIBE_EVERY_MS = 10_000

/** What a tail needs. */
export interface TailOptions {
  readonly log: EventLog
  readonly clock: Clock
  readonly topic: string
  readonly signal: AbortSignal
  /** Where to begin, per partition; where it says nothing, or retention has passed it, at the start of retention. */
  readonly from?: ReadonlyMap<number, number>
  readonly onRecord: (tags: PartialTags, value: Uint8Array) => void
  /** Reports trouble; reading goes on after a pause. */
  readonly onTrouble: (error: Error) => void
}

/** Follows a topic until its signal aborts. */
export class Tail {
  readonly #options: TailOptions
  readonly #positions = new Map<number, number>()
  /** End of the topic when reading began; null until known. */
  #target: readonly number[] | null = null
  #rewind = false
  #trouble: string | null = null
  readonly done: Promise<void>

  constructor(options: TailOptions) {
    this.#options = options
    this.done = this.#run()
  }

  /** True once everything that was there at the start (or at the last `aim`) has been handed on. */
  get caughtUp(): boolean {
    return this.#target?.every((end, partition) => (this.#positions.get(partition) ?? 0) >= end) ?? false
  }

  /** Why it is not; null when it is. */
  get reason(): string | null {
    if (this.#trouble !== null) return this.#trouble
    return this.caughtUp ? null : `still reading ${this.#options.topic}`
  }

  /** Sets a new mark for `caughtUp`: the topic's end as it is now. */
  async aim(): Promise<void> {
    const known = await this.#options.log.describeTopic(this.#options.topic)
    this.#target = known === null ? [] : await this.#options.log.endOffsets(this.#options.topic)
  }

  /** Reads everything again from the start of retention. */
  rewind(): void {
    this.#rewind = true
  }

  async #run(): Promise<void> {
    const { clock, signal, topic, log, onTrouble } = this.#options
    let backoffMs = BACKOFF_MS.first
    while (!signal.aborted) {
      try {
        const known = await log.describeTopic(topic)
        if (known === null) {
          this.#target ??= []
          await clock.sleep(POLL_WAIT_MS, signal)
          continue
        }
        await this.#follow(known.partitions)
        backoffMs = BACKOFF_MS.first
        this.#trouble = null
      } catch (thrown) {
        const error = classify(thrown)
        if (error.code === 'DATA_LOSS_SUSPECTED') this.#rewind = true
        this.#trouble = error.message
        onTrouble(error)
        await clock.sleep(backoffMs, signal)
        backoffMs = Math.min(backoffMs * 2, BACKOFF_MS.most)
      }
    }
  }

  async #follow(partitions: number): Promise<void> {
    const { log, clock, signal, topic } = this.#options
    if (this.#rewind || this.#positions.size < partitions) {
      const starts = await log.startOffsets(topic)
      starts.forEach((offset, partition) => {
        const from = this.#rewind ? 0 : (this.#options.from?.get(partition) ?? 0)
        if (this.#rewind || !this.#positions.has(partition)) this.#positions.set(partition, Math.max(offset, from))
      })
      this.#rewind = false
    }
    if (this.#target === null || this.#target.length < partitions) this.#target = await log.endOffsets(topic)
    const positions = [...this.#positions].map(([partition, offset]) => ({ partition, offset }))
    const reader = await log.open(topic, positions)
    const until = clock.monotonic() + DESCRIBE_EVERY_MS
    try {
      while (!signal.aborted && !this.#rewind && clock.monotonic() < until) await this.#poll(reader)
    } finally {
      await reader.close()
    }
  }

  async #poll(reader: LogReader): Promise<void> {
    const { topic, onRecord, onTrouble } = this.#options
    for (const batch of await reader.poll({ maxWaitMs: POLL_WAIT_MS, maxBytes: POLL_BYTES })) {
      const position = this.#positions.get(batch.partition) ?? 0
      const opened = openBatch(batch.bytes, position)
      if ('dead' in opened) {
        // Left out: if anything in it was needed, the store sees the gap and refuses.
        onTrouble(new Error(`${topic}/${batch.partition} at ${batch.baseOffset}: ${opened.dead}`))
      } else if (!opened.control) {
        for (let record = readRecord(opened.cursor); record !== null; record = readRecord(opened.cursor)) {
          const tags = tagsOf(record.headers)
          if (tags !== null && record.value !== null) onRecord(tags, record.value)
        }
      }
      this.#positions.set(batch.partition, Math.max(position, batch.lastOffset + 1))
    }
  }
}
