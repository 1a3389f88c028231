/** Projectors of one stream by writer schema, compiled once; what cannot be read is a reason, not an error. */
import { compileProjector, SchemaMismatch } from '#format/avro-projector.ts'
import type { Projector } from '#format/projector.ts'
import type { Registry } from '#io/ports.ts'
import type { StreamDefinition } from '#metrics/definition.ts'
import type { Projectors } from './partition.ts'

/** Projectors to every field of the stream, with keys and headers. */
export function createProjectors(stream: StreamDefinition, registry: Registry): Projectors {
  const compile = (writer: string, writerId: number): Projector =>
    compileProjector({
      writer,
      writerId,
      reader: stream.schema,
      fields: stream.fields.map((field) => field.name),
      eventTime: stream.eventTime,
      envelope: true,
    })
  const known = new Map<number, Projector | 'incompatible-schema'>()
  return {
    // No frame names schema -1, so this one stops at the first frame it sees.
    none: compile(stream.schema, -1),
    async find(schemaId) {
      const cached = known.get(schemaId)
      if (cached !== undefined) return cached
      const writer = await registry.schemaById(schemaId)
      // Not kept: the client keeps it for a moment, and a registry may be repaired.
      if (writer === null) return 'unknown-schema'
      let found: Projector | 'incompatible-schema'
      try {
        found = compile(writer, schemaId)
      } catch (error) {
        if (!(error instanceof SchemaMismatch)) throw error
        found = 'incompatible-schema'
      }
      known.set(schemaId, found)
      return found
    },
  }
}
