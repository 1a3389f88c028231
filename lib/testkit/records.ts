/** What is on a log, read back record by record. */
import { openBatch, type RawRecord, readRecord } from '#format/record-batch.ts'
import type { EventLog } from '#io/ports.ts'

/** Every record of a partition, in order. A damaged batch is an error. */
export async function recordsOf(log: EventLog, topic: string, partition: number): Promise<RawRecord[]> {
  const until = (await log.endOffsets(topic))[partition]!
  let next = (await log.startOffsets(topic))[partition]!
  const reader = await log.open(topic, [{ partition, offset: next }])
  const records: RawRecord[] = []
  while (next < until) {
    for (const batch of await reader.poll({ maxWaitMs: 100, maxBytes: 1 << 24 })) {
      const opened = openBatch(batch.bytes, next)
      if ('dead' in opened) throw new Error(`${topic}/${partition} at ${batch.baseOffset}: ${opened.dead}`)
      for (let record = readRecord(opened.cursor); record !== null; record = readRecord(opened.cursor))
        records.push(record)
      next = batch.lastOffset + 1
    }
  }
  await reader.close()
  return records
}

/** Every record of a topic, by partition. */
export async function recordsByPartition(log: EventLog, topic: string): Promise<RawRecord[][]> {
  const found: RawRecord[][] = []
  for (const partition of (await log.endOffsets(topic)).keys()) found.push(await recordsOf(log, topic, partition))
  return found
}
