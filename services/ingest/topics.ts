/** Creates the topics that the definitions need. Idempotent; every process may call it first. */
import type { EventLog, TopicSpec } from '#io/ports.ts'
import type { Definitions } from '#metrics/definition.ts'
import { deadTopic, eventsTopic, LIVE_RETENTION_MS, liveTopic, quarantineTopic, sealedTopic } from '#schemas/topics.ts'

/** The topics of a set of definitions: partials and dead letters have a partition for each of the stream's. */
export function topicsOf(definitions: Definitions): TopicSpec[] {
  const specs: TopicSpec[] = []
  for (const { name, partitions, retentionMs } of definitions.streams) {
    specs.push({ topic: eventsTopic(name), partitions, retentionMs, cleanup: 'delete' })
    specs.push({ topic: deadTopic(name), partitions, retentionMs: null, cleanup: 'delete' })
    specs.push({ topic: quarantineTopic(name), partitions, retentionMs: null, cleanup: 'delete' })
  }
  for (const { name, stream } of definitions.metrics) {
    const { partitions, retentionMs } = stream
    specs.push({ topic: liveTopic(name), partitions, retentionMs: LIVE_RETENTION_MS, cleanup: 'delete' })
    specs.push({ topic: sealedTopic(name), partitions, retentionMs, cleanup: 'delete' })
  }
  return specs
}

/** Creates what is missing and grows what has too few partitions. @throws OperatingError LOG_UNREACHABLE */
export async function ensureTopics(log: EventLog, definitions: Definitions): Promise<void> {
  await log.createTopics(topicsOf(definitions))
}
