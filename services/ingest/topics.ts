/** Creates the topics that the definitions need. Idempotent; every process may call it first. */
import type { EventLog, TopicSpec } from '#io/ports.ts'
import type { Definitions } from '#metrics/definition.ts'
import { eventsTopic, letterTopics, partialTopics } from '#schemas/topics.ts'

/** The topics of a set of definitions: partials and dead letters have a partition for each of the stream's. */
function topicsOf({ streams, metrics }: Pick<Definitions, 'streams' | 'metrics'>): TopicSpec[] {
  return [
    ...streams.flatMap(({ name, partitions, retentionMs }) => [
      { topic: eventsTopic(name), partitions, retentionMs, cleanup: 'delete' as const },
      ...letterTopics(name, partitions),
    ]),
    ...metrics.flatMap(({ name, stream }) => partialTopics(name, stream.partitions, stream.retentionMs)),
  ]
}

/**
 * Creates what is missing and grows what has too few partitions. An event topic that has more than its definition asks for
 * keeps them (its definition was another, or it is another's), and the topics beside it get as many.
 * @throws OperatingError LOG_UNREACHABLE
 */
export async function ensureTopics(log: EventLog, { streams, metrics }: Definitions): Promise<void> {
  await log.createTopics(topicsOf({ streams, metrics }))
  for (const stream of streams) {
    const described = await log.describeTopic(eventsTopic(stream.name))
    if (described === null || described.partitions <= stream.partitions) continue
    const wide = { ...stream, partitions: described.partitions }
    const own = metrics.filter((metric) => metric.stream.name === stream.name)
    await log.createTopics(topicsOf({ streams: [wide], metrics: own.map((metric) => ({ ...metric, stream: wide })) }))
  }
}
