/** Start-up of ingest: topics exist, each stream's schema is registered, and its encoder is compiled. */
import { OperatingError } from '#io/errors.ts'
import type { EventLog, Registry } from '#io/ports.ts'
import type { Definitions } from '#metrics/definition.ts'
import { eventsTopic } from '#schemas/topics.ts'
import { Intake } from './intake.ts'
import { ensureTopics } from './topics.ts'

/**
 * One intake per stream, by name.
 * @throws OperatingError SCHEMA_INCOMPATIBLE naming the stream's file and what the registry says; REGISTRY_*, LOG_UNREACHABLE
 */
export async function openIntakes(deps: {
  readonly log: EventLog
  readonly registry: Registry
  readonly definitions: Definitions
}): Promise<ReadonlyMap<string, Intake>> {
  const { log, registry, definitions } = deps
  await ensureTopics(log, definitions)
  const intakes = new Map<string, Intake>()
  for (const stream of definitions.streams) {
    const topic = eventsTopic(stream.name)
    const subject = `${topic}-value`
    let schemaId: number
    try {
      schemaId = await registry.register(subject, stream.schema)
    } catch (error) {
      if (!(error instanceof OperatingError) || error.code !== 'SCHEMA_INCOMPATIBLE') throw error
      const message = `${stream.file}: the schema cannot replace the one under ${subject}: ${error.message}`
      throw new OperatingError('SCHEMA_INCOMPATIBLE', message, { subject }, { cause: error })
    }
    const described = await log.describeTopic(topic)
    intakes.set(stream.name, new Intake(stream, schemaId, described?.partitions ?? stream.partitions))
  }
  return intakes
}
