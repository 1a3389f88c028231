/**
 * Compatibility levels: which earlier versions a schema is compared with, in which direction, and how Confluent words
 * what does not fit. The comparison itself is lib/format/avro-compatibility.
 */
import type { Incompatibility } from '#format/avro-compatibility.ts'
import { compareNodes } from '#format/avro-compatibility.ts'
import { SchemaProblem } from '#format/avro-schema.ts'
import type { AvroNode } from '#format/avro-tree.ts'
import type { Level, SchemaVersion } from './records.ts'
import type { SchemaTable } from './table.ts'

/** The level when nothing is set. */
export const LEVEL_DEFAULT: Level = 'BACKWARD'

/** The versions a level compares with, newest first: the last one, or all when transitive. */
export function comparedVersions(level: Level, versions: readonly SchemaVersion[]): SchemaVersion[] {
  if (level === 'NONE') return []
  return level.endsWith('_TRANSITIVE') ? versions.toReversed() : versions.slice(-1)
}

/**
 * Why `schema` may not follow the versions, in Confluent's words; empty when it may. Stops at the first version (in the
 * order given) that does not fit.
 */
export function incompatibilities(
  level: Level,
  schema: AvroNode,
  versions: readonly SchemaVersion[],
  table: SchemaTable,
): string[] {
  if (level === 'NONE') return []
  for (const version of versions) {
    const messages = messagesAgainst(level, schema, version, table)
    if (messages.length > 0) {
      return [
        ...messages,
        `{oldSchemaVersion: ${version.version}}`,
        `{oldSchema: '${version.schema}'}`,
        `{validateFields: 'false', compatibility: '${level}'}`,
      ]
    }
  }
  return []
}

function messagesAgainst(level: Level, schema: AvroNode, version: SchemaVersion, table: SchemaTable): string[] {
  if (version.schemaType !== 'AVRO') return ['Incompatible because of different schema type']
  try {
    const old = table.parsed(version)
    const backward = level.startsWith('BACKWARD') || level.startsWith('FULL') ? compareNodes(schema, old) : []
    const forward = level.startsWith('FORWARD') || level.startsWith('FULL') ? compareNodes(old, schema) : []
    return [
      ...backward.map((found) => describe(found, 'new', 'old')),
      ...forward.map((found) => describe(found, 'old', 'new')),
    ]
  } catch (error) {
    if (!(error instanceof SchemaProblem)) throw error
    return [
      `{errorType:'INCOMPARABLE', description:'The schemas cannot be compared', additionalInfo:'${error.message}'}`,
    ]
  }
}

function describe({ type, path, message }: Incompatibility, reader: 'new' | 'old', writer: 'new' | 'old'): string {
  const descriptions: Record<Incompatibility['type'], string> = {
    FIXED_SIZE_MISMATCH: `The size of FIXED type field at path '${path}' in the ${reader} schema does not match with the ${writer} schema`,
    TYPE_MISMATCH: `The type (path '${path}') of a field in the ${reader} schema does not match with the ${writer} schema`,
    NAME_MISMATCH: `The name of the schema has changed (path '${path}')`,
    MISSING_ENUM_SYMBOLS: `The ${reader} schema is missing enum symbols '${message}' at path '${path}' in the ${writer} schema`,
    MISSING_UNION_BRANCH: `The ${reader} schema is missing a type inside a union field at path '${path}' in the ${writer} schema`,
    READER_FIELD_MISSING_DEFAULT_VALUE: `The field '${message}' at path '${path}' in the ${reader} schema has no default value and is missing in the ${writer} schema`,
  }
  return `{errorType:'${type}', description:'${descriptions[type]}', additionalInfo:'${message}'}`
}
