/**
 * Is the log still the one that was archived? Checked before a partition is read on, for new records under old offsets
 * would otherwise be taken for the old ones: identity of the topic, the last archived record batch read again while the log still
 * holds it, and the position within the log. Also sweeps files that no entry can ever name.
 */
import { readHeader } from '#format/record-batch.ts'
import { archiveFolder, rangeOfFile } from '#io/archive-reader.ts'
import { OperatingError } from '#io/errors.ts'
import type { EventLog, Lake } from '#io/ports.ts'
import type { ArchiveEntry } from '#schemas/archive.ts'
import { eventsTopic } from '#schemas/topics.ts'

/** The stream's topic. @throws OperatingError LOG_TOPIC_UNKNOWN */
export async function describeStream(
  log: EventLog,
  stream: string,
): Promise<{ partitions: number; incarnation: string | null }> {
  const topic = eventsTopic(stream)
  const described = await log.describeTopic(topic)
  if (described === null) throw new OperatingError('LOG_TOPIC_UNKNOWN', `topic ${topic} does not exist`, { topic })
  return described
}

/**
 * Refuses to go on behind the last entry when the log is another one or no longer holds the position.
 * @throws OperatingError LOG_INCARNATION_CHANGED, DATA_LOSS_SUSPECTED
 */
export async function checkStillThere(
  log: EventLog,
  archived: { stream: string; partition: number; entries: readonly ArchiveEntry[]; incarnation: string | null },
): Promise<void> {
  const { partition, incarnation } = archived
  const last = archived.entries.at(-1)
  if (last === undefined) return
  const topic = eventsTopic(archived.stream)
  const offset = last.next_offset
  const where = { topic, partition, offset }
  if (last.incarnation !== null && incarnation !== null && last.incarnation !== incarnation) {
    throw new OperatingError(
      'LOG_INCARNATION_CHANGED',
      `${topic} was created again since offset ${offset} was archived`,
      where,
    )
  }
  const start = (await log.startOffsets(topic))[partition] ?? 0
  const end = (await log.endOffsets(topic))[partition] ?? 0
  if (offset < start || offset > end) {
    const message = `the log of ${topic}/${partition} holds [${start}, ${end}), the archive ends at ${offset}`
    throw new OperatingError('DATA_LOSS_SUSPECTED', message, { ...where, start, end })
  }
  if (offset - 1 < start) return
  const reader = await log.open(topic, [{ partition, offset: offset - 1 }])
  try {
    const [batch] = await reader.poll({ maxWaitMs: 5_000, maxBytes: 1 })
    if (batch === undefined) return
    if (batch.baseOffset >= offset || readHeader(batch.bytes).crc !== last.last_batch_crc) {
      const message = `the records of ${topic}/${partition} before offset ${offset} are not the archived ones`
      throw new OperatingError('LOG_INCARNATION_CHANGED', message, where)
    }
  } finally {
    await reader.close()
  }
}

/**
 * Removes files whose range other entries cover: left by an archiver that died, or lost a race, between publishing a file and
 * its entry. Nobody can ever append an entry for them, so removing them is safe whoever else is running. Returns how many.
 */
export async function sweepOrphans(
  lake: Lake,
  stream: string,
  partition: number,
  entries: readonly ArchiveEntry[],
): Promise<number> {
  const named = new Set(entries.map((entry) => entry.file.path))
  const covered = entries.at(-1)?.next_offset ?? 0
  let swept = 0
  for (const path of await lake.list(archiveFolder(stream, partition))) {
    const range = rangeOfFile(path)
    if (range === null || named.has(path) || range.first >= covered) continue
    await lake.remove(path)
    swept++
  }
  return swept
}
