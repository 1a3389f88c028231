/**
 * Writers of one stream: per schema a projector, compiled once, and where each of its fields is then found as it was written.
 *
 *   field of the writer ─┬─ the stream's schema has it and reading it loses nothing ─▶ the stream's column
 *                        └─ not there, or an enum's symbols, an integer's digits are lost ─▶ a further column
 *
 * A schema that cannot be read is a reason, not an error: the stream's records of it are dead, and kept as bytes.
 */
import type { DeadReason } from '#core/outcome.ts'
import { compileProjector, SchemaMismatch } from '#format/avro-projector.ts'
import { resolve, type Source } from '#format/avro-resolution.ts'
import { type AvroPrimitive, type FlatField, parseFlatSchema } from '#format/avro-schema.ts'
import type { Projector } from '#format/projector.ts'
import type { Registry } from '#io/ports.ts'
import type { StreamDefinition } from '#metrics/definition.ts'

/** A writer's schema as the archive reads it. */
export interface Writer {
  readonly schema: string
  /** Its columns: every field of the stream, then the writer's fields that no column of the stream keeps as they were written. */
  readonly projector: Projector
  /** Per field of the writer, in order: index of the projector's column that holds it as it was written. */
  readonly fields: readonly number[]
}

/** The writers of a stream by schema id, shared by its partitions. */
export interface Writers {
  /** Expects no schema: stops at the first frame. */
  readonly none: Writer
  /** @throws OperatingError REGISTRY_*: the partition waits */
  find(schemaId: number): Promise<Writer | Extract<DeadReason, 'unknown-schema' | 'incompatible-schema'>>
}

/** Writers of a stream, read to every field of it, with keys and headers. */
export function createWriters(stream: StreamDefinition, registry: Registry): Writers {
  const known = new Map<number, Writer | 'incompatible-schema'>()
  return {
    // No frame names schema -1, so this one stops at the first frame it sees.
    none: compile(stream, stream.schema, -1),
    async find(schemaId) {
      const cached = known.get(schemaId)
      if (cached !== undefined) return cached
      const schema = await registry.schemaById(schemaId)
      // Not kept: the client keeps it for a moment, and a registry may be repaired.
      if (schema === null) return 'unknown-schema'
      let found: Writer | 'incompatible-schema'
      try {
        found = compile(stream, schema, schemaId)
      } catch (error) {
        if (!(error instanceof SchemaMismatch)) throw error
        found = 'incompatible-schema'
      }
      known.set(schemaId, found)
      return found
    },
  }
}

/** @throws SchemaMismatch when the writer cannot be read as the stream's schema, or is no flat record */
function compile(stream: StreamDefinition, schema: string, writerId: number): Writer {
  const options = { writer: schema, writerId, reader: stream.schema, eventTime: stream.eventTime, envelope: true }
  const fields = stream.fields.map((field) => field.name)
  const projector = compileProjector({ ...options, fields })
  const { written, columns } = columnsOf(schema, stream)
  if (written.length === 0) return { schema, projector, fields: columns }
  return { schema, projector: compileProjector({ ...options, fields, written }), fields: columns }
}

function columnsOf(schema: string, stream: StreamDefinition): { written: readonly string[]; columns: number[] } {
  const writer = parseFlatSchema(schema)
  const reader = parseFlatSchema(stream.schema)
  const { sources } = resolve(writer, reader)
  const written: string[] = []
  const columns = writer.fields.map((field, index) => {
    const at = stream.fields.findIndex(({ name }) => {
      const into = reader.fields.findIndex((one) => one.name === name)
      return sources[into]!.field === index && isKept(field, reader.fields[into]!, sources[into]!)
    })
    return at >= 0 ? at : stream.fields.length + written.push(field.name) - 1
  })
  return { written, columns }
}

/** Types that a column of another type holds exactly, by the writer's type. */
const HELD: Partial<Record<AvroPrimitive, readonly AvroPrimitive[]>> = {
  int: ['long', 'double'],
  float: ['double'],
  string: ['bytes'],
  bytes: ['string'],
}

/** Whether the reader's value tells what was written. */
function isKept(from: FlatField, into: FlatField, source: Source): boolean {
  if (from.avro === 'enum') return source.symbols!.every((symbol, index) => symbol === from.symbols[index])
  if ((from.kind === 'decimal') !== (into.kind === 'decimal')) return false
  return from.avro === into.avro || HELD[from.avro]?.includes(into.avro) === true
}
