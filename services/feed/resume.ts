/**
 * Where a former run of the time-lapse stopped, read from the log itself: no state of its own, so nothing to lose. Of each partition's last
 * events the latest departure; the earliest of these is where every partition still had everything.
 */
import avro from 'avsc'
import type { InstantMs } from '#core/time.ts'
import type { FlatSchema } from '#format/avro-schema.ts'
import { bodyOf } from '#format/confluent.ts'
import { openBatch, type RawRecord, readRecord } from '#format/record-batch.ts'
import type { EventLog } from '#io/ports.ts'
import type { StreamDefinition } from '#metrics/definition.ts'
import { BARRIER_HEADER, eventsTopic } from '#schemas/topics.ts'

/** Records of a partition to look at: one of them is an event, unless only barriers came for days. */
const TAIL_RECORDS = 5_000

/** Mapped departure (`departed`, ms) up to which every partition with events is fed; null when there is no event. */
export async function lastDeparture(
  log: EventLog,
  stream: StreamDefinition,
  schema: FlatSchema,
): Promise<InstantMs | null> {
  if (!schema.fields.some(({ name }) => name === 'departed')) return null
  const topic = eventsTopic(stream.name)
  const type = avro.Type.forSchema(JSON.parse(stream.schema) as avro.Schema)
  const [starts, ends] = [await log.startOffsets(topic), await log.endOffsets(topic)]
  let earliest: InstantMs | null = null
  for (const [partition, end] of ends.entries()) {
    const from = Math.max(starts[partition]!, end - TAIL_RECORDS)
    const latest = await latestDeparture(log, topic, { partition, from, end }, (value) => departureOf(type, value))
    if (latest !== null && (earliest === null || latest < earliest)) earliest = latest
  }
  return earliest
}

async function latestDeparture(
  log: EventLog,
  topic: string,
  range: { partition: number; from: number; end: number },
  read: (value: Uint8Array) => InstantMs | null,
): Promise<InstantMs | null> {
  let latest: InstantMs | null = null
  const reader = await log.open(topic, [{ partition: range.partition, offset: range.from }])
  try {
    for (let next = range.from; next < range.end; ) {
      for (const batch of await reader.poll({ maxWaitMs: 1_000, maxBytes: 1024 * 1024 })) {
        next = batch.lastOffset + 1
        const opened = openBatch(batch.bytes, range.from)
        if ('dead' in opened) continue
        for (let record = readRecord(opened.cursor); record !== null; record = readRecord(opened.cursor)) {
          const departed = isEvent(record) ? read(record.value!) : null
          if (departed !== null && (latest === null || departed > latest)) latest = departed
        }
      }
    }
  } finally {
    await reader.close()
  }
  return latest
}

const isEvent = (record: RawRecord): boolean =>
  record.value !== null && !record.headers.some(([name]) => name === BARRIER_HEADER)

/** Null for a record that is not ours: anybody may write to the topic. */
function departureOf(type: avro.Type, value: Uint8Array): InstantMs | null {
  try {
    return (type.fromBuffer(Buffer.from(bodyOf(value))) as { departed: number }).departed
  } catch {
    return null
  }
}
