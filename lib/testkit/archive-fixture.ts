/**
 * A small stream of flights for tests of the archive: definition, registry in memory, records of every kind (good, future,
 * dead in several ways, barriers).
 */
import avro from 'avsc'
import { columnSpecOf, parseFlatSchema } from '#format/avro-schema.ts'
import { encodeBarrierValue } from '#format/barrier.ts'
import { frame } from '#format/confluent.ts'
import { encodeBatch, type RecordInput } from '#format/record-batch.ts'
import { OperatingError } from '#io/errors.ts'
import { ownSchema } from '#io/own-schemas.ts'
import type { EventLog, Registry } from '#io/ports.ts'
import type { Definitions, StreamDefinition } from '#metrics/definition.ts'
import { BARRIER_HEADER } from '#schemas/topics.ts'

/** The stream's schema. */
export const FLIGHT = JSON.stringify({
  type: 'record',
  name: 'Flight',
  fields: [
    { name: 'flight_id', type: 'string' },
    { name: 'scheduled', type: { type: 'long', logicalType: 'timestamp-millis' } },
    { name: 'origin', type: 'string' },
    { name: 'destination', type: ['null', 'string'], default: null },
    { name: 'delay', type: ['null', 'int'], default: null },
    { name: 'distance', type: 'long' },
    { name: 'fare', type: { type: 'bytes', logicalType: 'decimal', precision: 12, scale: 2 } },
    { name: 'ratio', type: 'double' },
    { name: 'cancelled', type: 'boolean' },
    { name: 'note', type: 'string', default: '' },
  ],
})
/** A schema behind FLIGHT: without `note`, and with an int distance. */
export const FLIGHT_OLD = JSON.stringify({
  ...JSON.parse(FLIGHT),
  fields: JSON.parse(FLIGHT)
    .fields.filter((field: { name: string }) => field.name !== 'note')
    .map((field: { name: string }) => (field.name === 'distance' ? { name: 'distance', type: 'int' } : field)),
})

/** A schema ahead of FLIGHT: with fields that it does not have, one of them under a name that differs by a capital only. */
export const FLIGHT_AHEAD = JSON.stringify({
  ...JSON.parse(FLIGHT),
  fields: [
    { name: 'gate', type: ['null', 'string'], default: null },
    ...JSON.parse(FLIGHT).fields,
    { name: 'Origin', type: 'long', default: 0 },
  ],
})

/** A stream over FLIGHT. */
export function flightStream(options: Partial<StreamDefinition> = {}): StreamDefinition {
  return {
    name: 'flights',
    doc: 'Flights.',
    file: 'streams/flights.yaml',
    schema: FLIGHT,
    fields: parseFlatSchema(FLIGHT).fields.map(columnSpecOf),
    key: 'origin',
    id: 'flight_id',
    eventTime: { field: 'scheduled', unit: 'ms' },
    disorderMs: 60_000,
    futureToleranceMs: 600_000,
    dedupHorizonEpochs: null,
    partitions: 2,
    retentionMs: null,
    ...options,
  }
}

/** Definitions of streams alone. */
export const definitionsOf = (...streams: StreamDefinition[]): Definitions => ({ directory: '.', streams, metrics: [] })

/** A registry in memory; unreachable while `down`. */
export interface MemoryRegistry extends Registry {
  down: boolean
  /** Look-ups refused while down. */
  readonly refused: number
}

/** An empty registry. */
export function createMemoryRegistry(): MemoryRegistry {
  const schemas: string[] = []
  let refused = 0
  const registry: MemoryRegistry = {
    down: false,
    get refused() {
      return refused
    },
    async register(_subject, schema) {
      const at = schemas.indexOf(schema)
      return at >= 0 ? at + 1 : schemas.push(schema)
    },
    async schemaById(id) {
      if (registry.down) {
        refused++
        throw new OperatingError('REGISTRY_UNREACHABLE', 'injected')
      }
      return schemas[id - 1] ?? null
    },
  }
  return registry
}

const types = new Map<string, avro.Type>()
const typeOf = (schema: string): avro.Type => {
  let type = types.get(schema)
  if (type === undefined) types.set(schema, (type = avro.Type.forSchema(JSON.parse(schema), { wrapUnions: false })))
  return type
}

/** Unscaled integer as Avro's two's complement. */
function decimalBytes(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(BigInt(value))
  return bytes
}

const AIRPORTS = ['SEA', 'PDX', 'ZÜRICH', '東京', '']

/** The n-th flight at event time `scheduled`, a function of its arguments. */
export function flightRecord(n: number, scheduled: number, schemaId: number, schema: string = FLIGHT): RecordInput {
  const origin = AIRPORTS[n % AIRPORTS.length]!
  const body = typeOf(schema).toBuffer({
    flight_id: `f-${n}`,
    scheduled,
    origin,
    destination: n % 4 === 0 ? null : AIRPORTS[(n * 7) % AIRPORTS.length],
    delay: n % 3 === 0 ? null : (n % 50) - 10,
    distance: n * 100,
    fare: decimalBytes(n * 199 - 5000),
    ratio: n / 7,
    cancelled: n % 10 === 0,
    note: n % 5 === 0 ? `note ${n}` : '',
    gate: n % 4 === 1 ? null : `G${n % 7}`,
    Origin: n + 1,
  })
  const headers = n % 6 === 0 ? ([['trace', Buffer.from(`t${n}`)]] as const) : []
  return { key: Buffer.from(origin), value: frame(schemaId, body), headers }
}

/** A barrier record. */
export function barrierRecord(
  id: number,
  options: { createdMs: number; demand?: boolean; stream?: string; partitions?: number; schemaId: number },
): RecordInput {
  const barrier = {
    stream: options.stream ?? 'flights',
    id,
    partitions: options.partitions ?? 2,
    createdMs: options.createdMs,
    demand: options.demand ?? false,
  }
  return {
    key: null,
    value: encodeBarrierValue(barrier, options.schemaId),
    headers: [[BARRIER_HEADER, Buffer.from(String(id))]],
  }
}

/** Records that no projector can read, with the reason each must get. */
export function poison(schemaId: number): readonly (readonly [string, RecordInput])[] {
  const good = flightRecord(1, 1_000_000, schemaId).value!
  const key = Buffer.from('k')
  return [
    ['no-frame', { key, value: null }],
    ['truncated', { key: null, value: new Uint8Array(0) }],
    ['wrong-magic', { key, value: Buffer.from('{"json": true}') }],
    ['truncated', { key, value: good.subarray(0, good.length - 3) }],
    ['trailing-bytes', { key, value: Buffer.concat([good, Buffer.from([1])]) }],
    ['unknown-schema', { key, value: frame(99_999, good.subarray(5)) }],
    ['unknown-schema', { key, value: frame(0xffff_fff0, good.subarray(5)), headers: [['h', Buffer.from([0, 255])]] }],
  ]
}

/** Appends records as one batch. */
export const appendRecords = (log: EventLog, topic: string, partition: number, records: readonly RecordInput[]) =>
  log.append(topic, partition, encodeBatch(records, 0))

/** A registry that gives the same ids in every process, for tests with several. */
export async function fixtureRegistry(): Promise<{ registry: MemoryRegistry; barrierId: number; flightId: number }> {
  const registry = createMemoryRegistry()
  const barrierId = await registry.register('barrier', ownSchema('barrier'))
  const flightId = await registry.register('flights', FLIGHT)
  return { registry, barrierId, flightId }
}

/** A logger that says nothing. */
export const quietLogger = { info: () => undefined, warn: () => undefined, error: () => undefined }
