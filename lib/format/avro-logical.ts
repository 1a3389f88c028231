/**
 * Logical types in schema resolution: which of them stand on which Avro type, and when reading one as another would make
 * another value of the same bytes.
 *
 * The specification lets only decimals take part ("match if their scales and precisions match") and the JVM's checker none.
 * Here a reader is refused exactly where it would misread: another scale; a precision that cannot hold what was written
 * (a wider one can); a number made of bytes that are none, or text made of a number's bytes; another unit or kind of time,
 * which is a silent factor of 1,000. An attribute that is no valid logical type is ignored, as the specification says.
 */
import type { AvroNode, Decimal } from './avro-node.ts'

/** Logical types by the Avro type they may annotate. */
const LOGICAL_TYPES: Readonly<Record<string, readonly string[]>> = {
  bytes: ['decimal', 'big-decimal'],
  fixed: ['decimal', 'uuid', 'duration'],
  string: ['uuid'],
  int: ['date', 'time-millis'],
  long: [
    'time-micros',
    'timestamp-millis',
    'timestamp-micros',
    'timestamp-nanos',
    'local-timestamp-millis',
    'local-timestamp-micros',
    'local-timestamp-nanos',
  ],
}

/** A type as far as its logical type matters. */
export interface LogicalView {
  /** The Avro type, as a schema spells it. */
  readonly avro: string
  /** The attribute `logicalType`, valid or not; null without one. */
  readonly logical: string | null
  /** Digits of a valid decimal, else null. */
  readonly decimal: Decimal | null
}

/** The logical type of a parsed type, or null when it has no valid one. */
export function logicalOf(node: AvroNode): string | null {
  if (!('json' in node)) return null
  const logical = validLogical(viewOf(node))
  if (node.kind !== 'fixed' || logical === null || logical === 'decimal') return logical
  return node.size === (logical === 'duration' ? 12 : 16) ? logical : null
}

/** What of a parsed type `logicalMismatch` looks at. */
export function viewOf(node: AvroNode): LogicalView {
  const logical = 'json' in node ? node.json['logicalType'] : undefined
  return {
    avro: node.kind,
    logical: typeof logical === 'string' ? logical : null,
    decimal: 'decimal' in node ? node.decimal : null,
  }
}

function validLogical({ avro, logical, decimal }: LogicalView): string | null {
  if (logical === null || LOGICAL_TYPES[avro]?.includes(logical) !== true) return null
  return logical === 'decimal' && decimal === null ? null : logical
}

const TIME = /^(date$|time-|timestamp-|local-timestamp-)/
const NUMBER = /decimal$/

/**
 * The two logical types by name when `reader` would misread what `writer` wrote, else null. The Avro types themselves match.
 */
export function logicalMismatch(reader: LogicalView, writer: LogicalView): { reader: string; writer: string } | null {
  const into = validLogical(reader)
  const from = validLogical(writer)
  const names = { reader: nameOf(reader, into), writer: nameOf(writer, from) }
  if (from !== null && into !== null && from !== into && TIME.test(from) && TIME.test(into)) return names
  const isNumber = into !== null && NUMBER.test(into)
  if (isNumber && into !== from) return names
  if (from !== null && NUMBER.test(from) && !isNumber && reader.avro === 'string') return names
  if (reader.decimal === null || writer.decimal === null) return null
  const fits = reader.decimal.scale === writer.decimal.scale && reader.decimal.precision >= writer.decimal.precision
  return fits ? null : names
}

function nameOf({ avro, decimal }: LogicalView, logical: string | null): string {
  if (decimal !== null) return `decimal(${decimal.precision}, ${decimal.scale})`
  return logical ?? avro.toUpperCase()
}
