/**
 * Dead letters and quarantined events on their topics, before the manifest entry that covers them. A crash in between
 * publishes them again; their identity is the position (topic, partition, offset), so a reader counts each once.
 * Held in memory only up to a bound, then sent at once.
 */
import { LIMITS } from '#core/limits.ts'
import { frame } from '#format/confluent.ts'
import { type DeadLetter, type DeadLetterCodec, valueHash } from '#format/dead-letter.ts'
import { encodeBatch, type RecordInput } from '#format/record-batch.ts'
import type { Clock, EventLog } from '#io/ports.ts'
import { deadTopic, eventsTopic, quarantineTopic } from '#schemas/topics.ts'

/** Bytes and letters of one appended batch. */
const BATCH_BYTES = 512 * 1024
const BATCH_LETTERS = 1000

/** The letters of one partition. */
export interface DeadLetters {
  /** Notes a letter; offsets below what this process has published already are passed over. */
  add(letter: Omit<DeadLetter, 'topic' | 'partition' | 'sha256'>): void
  /** True when enough is held to be sent. */
  readonly full: boolean
  /** Publishes what is held. @throws OperatingError of the log: call again, or forget */
  flush(): Promise<void>
  /** Drops what is held: the records will be read again. */
  forget(): void
}

/** Letters of one partition of a stream; `schemaId` is the registered id of the dead letter's schema. */
export function createDeadLetters(deps: {
  log: EventLog
  clock: Clock
  codec: DeadLetterCodec
  schemaId: number
  stream: string
  partition: number
}): DeadLetters {
  const { log, clock, codec, partition } = deps
  const topics = { dead: deadTopic(deps.stream), quarantine: quarantineTopic(deps.stream) }
  let held: { topic: string; offset: number; record: RecordInput }[] = []
  let heldBytes = 0
  const published = new Map([
    [topics.dead, 0],
    [topics.quarantine, 0],
  ])

  return {
    get full() {
      return heldBytes >= BATCH_BYTES || held.length >= BATCH_LETTERS
    },
    add(letter) {
      const topic = letter.reason === 'future' ? topics.quarantine : topics.dead
      if (letter.offset < published.get(topic)!) return
      const size = (letter.value?.length ?? 0) + (letter.key?.length ?? 0)
      const tooBig = size > LIMITS.recordBytes
      const value = codec.encode({
        ...letter,
        topic: eventsTopic(deps.stream),
        partition,
        sha256: valueHash(letter.value),
        // The bytes are in the archive in any case; the topic takes records of at most `recordBytes`.
        value: tooBig ? null : letter.value,
        key: tooBig ? null : letter.key,
      })
      held.push({ topic, offset: letter.offset, record: { key: null, value: frame(deps.schemaId, value) } })
      heldBytes += value.length
    },
    async flush() {
      for (const topic of [topics.dead, topics.quarantine]) {
        while (true) {
          const batch: typeof held = []
          let bytes = 0
          for (const one of held) {
            if (one.topic !== topic) continue
            const size = one.record.value!.length
            if (batch.length > 0 && (bytes + size > BATCH_BYTES || batch.length >= BATCH_LETTERS)) break
            batch.push(one)
            bytes += size
          }
          if (batch.length === 0) break
          await log.append(
            topic,
            partition,
            encodeBatch(
              batch.map((one) => one.record),
              clock.now(),
            ),
          )
          published.set(topic, batch.at(-1)!.offset + 1)
          const sent = new Set(batch)
          held = held.filter((one) => !sent.has(one))
        }
      }
      heldBytes = 0
    },
    forget() {
      held = []
      heldBytes = 0
    },
  }
}
