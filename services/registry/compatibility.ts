/**
 * Compatibility levels: which earlier versions a schema is compared with, in which direction, and how Confluent words
 * what does not fit. The comparison itself is lib/format/avro-compatibility.
 */
import type { Incompatibility } from '#format/avro-compatibility.ts'
import { compareNodes } from '#format/avro-compatibility.ts'
import type { AvroNode } from '#format/avro-node.ts'
import { SchemaProblem } from '#format/avro-schema.ts'
import { propertyOf } from './contract.ts'
import type { ConfigValue, JsonObject, Level, SchemaVersion } from './records.ts'
import type { SchemaTable } from './table.ts'

/** The level when nothing is set. */
export const LEVEL_DEFAULT: Level = 'BACKWARD'
/** Characters of an earlier schema that a message shows. */
const SHOWN = 10 * 1024

/**
 * Why a schema may not follow `versions` (in their order), in Confluent's words; empty when it may. The level decides whether
 * the newest counts or all; the first that does not fit, from the newest on, is told.
 */
export function incompatibilities(
  candidate: { readonly node: AvroNode; readonly metadata: JsonObject | null },
  versions: readonly SchemaVersion[],
  config: ConfigValue,
  table: SchemaTable,
): string[] {
  const level = config.compatibilityLevel ?? LEVEL_DEFAULT
  if (level === 'NONE') return []
  const grouped = inGroup(candidate.metadata, versions, config)
  for (const version of level.endsWith('_TRANSITIVE') ? grouped.toReversed() : grouped.slice(-1)) {
    const messages = messagesAgainst(level, candidate.node, version, table)
    if (messages.length > 0) return [...messages, `{validateFields: 'false', compatibility: '${level}'}`]
  }
  return []
}

/** Versions whose metadata give the group's property the same value; all without a group. */
function inGroup(
  metadata: JsonObject | null,
  versions: readonly SchemaVersion[],
  config: ConfigValue,
): readonly SchemaVersion[] {
  const group = config['compatibilityGroup']
  if (typeof group !== 'string') return versions
  const value = propertyOf(metadata, group)
  return versions.filter((version) => propertyOf(version.metadata, group) === value)
}

function messagesAgainst(level: Level, schema: AvroNode, version: SchemaVersion, table: SchemaTable): string[] {
  if (version.schemaType !== 'AVRO') return ['Incompatible because of different schema type']
  const full = level.startsWith('FULL')
  try {
    const old = table.parsed(version)
    const forward = full || level.startsWith('FORWARD') ? compareNodes(old, schema) : []
    const backward = full || level.startsWith('BACKWARD') ? compareNodes(schema, old) : []
    // Of both directions only the second one is told with the earlier schema.
    const told = full ? backward.length > 0 : forward.length + backward.length > 0
    return [
      ...forward.map((found) => describe(found, 'old', 'new')),
      ...backward.map((found) => describe(found, 'new', 'old')),
      ...(told ? [`{oldSchemaVersion: ${version.version}}`, showOld(version.schema)] : []),
    ]
  } catch (error) {
    if (!(error instanceof SchemaProblem)) throw error
    return [`Unexpected exception during compatibility check: ${error.message}`]
  }
}

const showOld = (schema: string): string =>
  schema.length <= SHOWN
    ? `{oldSchema: '${schema}'}`
    : `{oldSchema: <truncated to ${SHOWN} characters> '${schema.slice(0, SHOWN)}'}`

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
