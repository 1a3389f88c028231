/**
 * Event log in memory, for simulation: append-or-not and acknowledged-or-not are chosen apart, an append may come
 * after its timeout, retention and re-creation happen on demand, and fetches are cut at seeded sizes. A reader opened
 * in the middle of a batch is given the whole batch, as Kafka does. Faults are inputs, never chance: see `LogFaults`.
 */
import { LIMITS } from '#core/limits.ts'
import { random } from '#core/random.ts'
import type { InstantMs } from '#core/time.ts'
import { readHeader, stampBatch } from '#format/record-batch.ts'
import { OperatingError } from '#io/errors.ts'
import { appendUnknown, batchTooLarge, dataLossSuspected, topicUnknown } from '#io/log-errors.ts'
import type { Appended, Clock, EventLog, FetchedBatch, LogReader, TopicSpec } from '#io/ports.ts'

/** What happens to one append. */
export type AppendFault =
  /** Refused at once and surely not in the log: LOG_UNREACHABLE. */
  | { readonly kind: 'refused' }
  /** Never arrived, and the caller cannot know: LOG_APPEND_UNKNOWN. */
  | { readonly kind: 'lost' }
  /** In the log, acknowledgement lost: LOG_APPEND_UNKNOWN. */
  | { readonly kind: 'ack-lost' }
  /** LOG_APPEND_UNKNOWN now, in the log only `delayMs` later, behind whatever was appended meanwhile. */
  | { readonly kind: 'late'; readonly delayMs: number }

/** Faults as inputs. */
export interface LogFaults {
  /** Asked once per append, in order; null lets it through. `attempt` counts all appends of the log from 0. */
  readonly onAppend?: (append: { topic: string; partition: number; attempt: number }) => AppendFault | null
  /** Asked once per poll that has data, an error is thrown in its place. */
  readonly onPoll?: (poll: { topic: string; attempt: number }) => OperatingError | null
}

/** The log in memory and its levers. */
export interface MemoryLog extends EventLog {
  /** Removes whole batches below `offset`, as retention does. */
  truncateBelow(topic: string, partition: number, offset: number): void
  /** Removes whole batches at and above `offset`, as an unclean leader election does. */
  truncateFrom(topic: string, partition: number, offset: number): void
  /** Deletes the topic's records and gives it a new incarnation. */
  recreate(topic: string): void
  /** How often each fault fired; a fault test asserts on it. */
  readonly fired: Readonly<Record<AppendFault['kind'] | 'poll', number>>
}

interface StoredBatch {
  readonly baseOffset: number
  readonly lastOffset: number
  readonly bytes: Uint8Array
}

interface Partition {
  batches: StoredBatch[]
  startOffset: number
  nextOffset: number
  arrivalMs: InstantMs
}

interface Topic {
  incarnation: string
  readonly partitions: Partition[]
}

const emptyPartition = (): Partition => ({ batches: [], startOffset: 0, nextOffset: 0, arrivalMs: 0 })

/** First index whose batch ends at or after `offset`. */
function batchAt(batches: readonly StoredBatch[], offset: number): number {
  let low = 0
  let high = batches.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (batches[middle]!.lastOffset < offset) low = middle + 1
    else high = middle
  }
  return low
}

/**
 * An empty log. With a `seed` (default: none) every poll stops after a seeded number of batches (1 to 4 per partition)
 * and visits the partitions in a seeded order; without, a poll returns all that fits `maxBytes`.
 */
export function createMemoryLog(options: { clock: Clock; seed?: number; faults?: LogFaults }): MemoryLog {
  const { clock, faults } = options
  const draw = options.seed === undefined ? null : random(options.seed)
  const topics = new Map<string, Topic>()
  const positions = new Map<string, Map<number, number>>()
  const wakers = new Set<() => void>()
  const fired = { refused: 0, lost: 0, 'ack-lost': 0, late: 0, poll: 0 }
  let attempts = 0
  let polls = 0
  let incarnations = 0

  const partitionOf = (topic: string, partition: number): Partition => {
    const found = topics.get(topic)
    if (found === undefined) throw topicUnknown(topic)
    const place = found.partitions[partition]
    if (place === undefined) throw topicUnknown(topic, partition)
    return place
  }
  const wake = (): void => {
    for (const waker of [...wakers]) waker()
  }

  function write(place: Partition, batch: Uint8Array): Appended {
    const bytes = new Uint8Array(batch)
    place.arrivalMs = Math.max(place.arrivalMs, clock.now())
    const baseOffset = place.nextOffset
    stampBatch(bytes, baseOffset, place.arrivalMs)
    const { lastOffset } = readHeader(bytes)
    place.batches.push({ baseOffset, lastOffset, bytes })
    place.nextOffset = lastOffset + 1
    wake()
    return { baseOffset, nextOffset: place.nextOffset, arrivalMs: place.arrivalMs }
  }

  async function append(topic: string, partition: number, batch: Uint8Array): Promise<Appended> {
    const place = partitionOf(topic, partition)
    if (batch.byteLength > LIMITS.batchBytes) throw batchTooLarge(topic, partition, batch.byteLength)
    const fault = faults?.onAppend?.({ topic, partition, attempt: attempts++ }) ?? null
    if (fault === null) return write(place, batch)
    fired[fault.kind] += 1
    if (fault.kind === 'refused') throw new OperatingError('LOG_UNREACHABLE', 'injected: refused', { topic, partition })
    if (fault.kind === 'ack-lost') write(place, batch)
    if (fault.kind === 'late') {
      const kept = new Uint8Array(batch)
      void clock.sleep(fault.delayMs).then(() => write(partitionOf(topic, partition), kept))
    }
    throw appendUnknown(topic, partition, `injected: ${fault.kind}`)
  }

  /** Moves `next` past what is taken. */
  function take(topic: string, next: Map<number, number>, maxBytes: number): FetchedBatch[] {
    const out: FetchedBatch[] = []
    const order = [...next.keys()]
    if (draw !== null) {
      for (let i = order.length - 1; i > 0; i--) {
        const j = Math.floor(draw() * (i + 1))
        ;[order[i], order[j]] = [order[j]!, order[i]!]
      }
    }
    for (const [partition, position] of next) {
      const { startOffset, nextOffset } = partitionOf(topic, partition)
      if (position < startOffset || position > nextOffset) {
        throw dataLossSuspected(topic, partition, position, startOffset, nextOffset)
      }
    }
    let bytesTaken = 0
    for (const partition of order) {
      const place = partitionOf(topic, partition)
      const position = next.get(partition)!
      let left = draw === null ? Number.POSITIVE_INFINITY : 1 + Math.floor(draw() * 4)
      for (let i = batchAt(place.batches, position); i < place.batches.length && left > 0; i++, left--) {
        const { baseOffset, lastOffset, bytes } = place.batches[i]!
        if (out.length > 0 && bytesTaken + bytes.byteLength > maxBytes) break
        out.push({ partition, baseOffset, lastOffset, bytes })
        bytesTaken += bytes.byteLength
        next.set(partition, lastOffset + 1)
      }
    }
    return out
  }

  function openReader(topic: string, next: Map<number, number>): LogReader {
    let closed = false
    let release: (() => void) | null = null
    let lent: FetchedBatch[] = []
    /** Copies that the next poll spoils: who keeps bytes beyond it must be seen to fail. */
    const lend = (found: FetchedBatch[]): FetchedBatch[] => {
      lent = found.map((batch) => ({ ...batch, bytes: batch.bytes.slice() }))
      return lent
    }
    return {
      async poll({ maxWaitMs, maxBytes }) {
        for (const { bytes } of lent) bytes.fill(0xee)
        lent = []
        const deadline = clock.monotonic() + maxWaitMs
        while (!closed) {
          const waiting = new AbortController()
          const woken = new Promise<void>((resolve) => {
            release = resolve
            wakers.add(resolve)
          })
          try {
            const before = [...next]
            const found = take(topic, next, maxBytes)
            if (found.length > 0) {
              const error = faults?.onPoll?.({ topic, attempt: polls++ }) ?? null
              if (error === null) return lend(found)
              fired.poll += 1
              for (const [partition, offset] of before) next.set(partition, offset)
              throw error
            }
            const leftMs = deadline - clock.monotonic()
            if (leftMs <= 0) return []
            await Promise.race([woken, clock.sleep(leftMs, waiting.signal)])
          } finally {
            wakers.delete(release!)
            waiting.abort()
          }
        }
        return []
      },
      async close() {
        closed = true
        release?.()
      },
    }
  }

  return {
    fired,
    async createTopics(specs: readonly TopicSpec[]) {
      for (const { topic, partitions } of specs) {
        const found = topics.get(topic) ?? { incarnation: `memory-${incarnations++}`, partitions: [] }
        while (found.partitions.length < partitions) found.partitions.push(emptyPartition())
        topics.set(topic, found)
      }
    },
    async describeTopic(topic) {
      const found = topics.get(topic)
      return found === undefined ? null : { partitions: found.partitions.length, incarnation: found.incarnation }
    },
    append,
    async open(topic, wanted) {
      for (const { partition } of wanted) partitionOf(topic, partition)
      return openReader(topic, new Map(wanted.map(({ partition, offset }) => [partition, offset])))
    },
    async startOffsets(topic) {
      partitionOf(topic, 0)
      return topics.get(topic)!.partitions.map((place) => place.startOffset)
    },
    async endOffsets(topic) {
      partitionOf(topic, 0)
      return topics.get(topic)!.partitions.map((place) => place.nextOffset)
    },
    async loadPositions(owner, topic) {
      return new Map(positions.get(JSON.stringify([owner, topic])))
    },
    async storePositions(owner, topic, next) {
      const key = JSON.stringify([owner, topic])
      positions.set(key, new Map([...(positions.get(key) ?? []), ...next]))
    },
    async close() {},
    truncateBelow(topic, partition, offset) {
      const place = partitionOf(topic, partition)
      place.batches = place.batches.filter((batch) => batch.lastOffset >= offset)
      place.startOffset = Math.max(place.startOffset, place.batches[0]?.baseOffset ?? place.nextOffset)
      wake()
    },
    truncateFrom(topic, partition, offset) {
      const place = partitionOf(topic, partition)
      place.batches = place.batches.filter((batch) => batch.lastOffset < offset)
      place.nextOffset = (place.batches.at(-1)?.lastOffset ?? place.startOffset - 1) + 1
      wake()
    },
    recreate(topic) {
      const found = topics.get(topic)
      if (found === undefined) throw topicUnknown(topic)
      found.incarnation = `memory-${incarnations++}`
      for (const place of found.partitions) Object.assign(place, emptyPartition())
      wake()
    },
  }
}
