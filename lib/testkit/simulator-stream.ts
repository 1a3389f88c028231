/**
 * Visits: the small stream of the engine's laws and of the simulator. One record of each sort, written byte by byte; the
 * metrics as definitions for the product and as plain functions for the oracle; and one spelling of partials in which both
 * can be compared. Shares no code with projector, engine, partial arithmetic or store.
 */
import type { PartialTable } from '#core/partial.ts'
import { encodeBarrier } from '#format/barrier.ts'
import { openBatch, type RecordInput, readRecord } from '#format/record-batch.ts'
import { openDuckDb } from '#io/duckdb.ts'
import type { MetricDefinition, StreamDefinition } from '#metrics/definition.ts'
import { formatProblem, loadDefinitions } from '#metrics/load.ts'
import { exactWords } from './exact-words.ts'
import { cellKey, type OracleCell, type OracleEvent, type OracleMetric, type OracleValue } from './oracle.ts'
import { tableOf } from './partials.ts'
import { varint } from './poison.ts'

/** An event. `cents` is an amount with two decimals, `score` may leave 2^53. */
export interface Visit {
  readonly id: string | null
  /** UTC ms. */
  readonly time: number
  readonly place: string | null
  readonly score: bigint | null
  readonly cents: number | null
  readonly ratio: number
}

const MINUTE_MS = 60_000
/** The stream's policy. */
export const VISIT_POLICY = { disorderMs: 2 * MINUTE_MS, futureToleranceMs: 5 * MINUTE_MS, dedupHorizonEpochs: 3 }
/** Instant around which visits happen; the poison corpus uses the same. */
export const VISIT_START_MS = 1_767_225_600_000
/** Schema ids: current, an older one without `ratio`, one that cannot be resolved, one that nobody registered. */
export const SCHEMA_IDS = { current: 1, old: 2, incompatible: 3, unknown: 77 } as const

const FIELDS = [
  { name: 'id', type: ['null', 'string'] },
  { name: 'at', type: { type: 'long', logicalType: 'timestamp-millis' } },
  { name: 'place', type: ['null', 'string'] },
  { name: 'score', type: ['null', 'long'] },
  { name: 'amount', type: ['null', { type: 'bytes', logicalType: 'decimal', precision: 12, scale: 2 }] },
  { name: 'ratio', type: 'double', default: 0.5 },
]
const schemaOf = (fields: readonly unknown[]): string => JSON.stringify({ type: 'record', name: 'Visit', fields })
/** The stream's current schema. */
export const VISIT_SCHEMA = schemaOf(FIELDS)
const SCHEMAS = new Map<number, string>([
  [SCHEMA_IDS.current, VISIT_SCHEMA],
  [SCHEMA_IDS.old, schemaOf(FIELDS.slice(0, 5))],
  [SCHEMA_IDS.incompatible, schemaOf([{ name: 'at', type: 'string' }])],
])

/** Text of a writer schema, null when the id is unknown: what a registry answers. */
export const visitSchema = (id: number): string | null => SCHEMAS.get(id) ?? null

const METRICS = {
  by_place: `
window: { tumbling: 1m }
allowed_lateness: 30s
dimensions: { place: place }
measures: { n: count(*), big: count(*) filter (where amount > 10), s: sum(score), a: avg(amount), lo: min(score), hi: max(ratio) }`,
  paid: `
where: amount > 0
window: { tumbling: 2m }
allowed_lateness: 0s
measures: { total: sum(amount), n: count(score) }`,
  /** Overflows, and refuses, as soon as a score is beyond 2^62. */
  doubled: `
window: { tumbling: 1m }
dimensions: { place: place }
measures: { s: sum(score * 2) }`,
}

/** The metrics of the stream, by plain functions; `doubled` has none, for it must be refused. */
export const VISIT_ORACLE: Readonly<Record<string, OracleMetric>> = {
  by_place: {
    sizeMs: MINUTE_MS,
    allowedLatenessMs: 30_000,
    dimensions: [(row) => row['place']!],
    measures: {
      n: { kind: 'count' },
      big: { kind: 'count', filter: (row) => row['amount'] !== null && (row['amount'] as bigint) > 1000n },
      s: { kind: 'sum', value: (row) => row['score']! },
      a: { kind: 'avg', value: (row) => row['amount']!, scale: 2 },
      lo: { kind: 'min', value: (row) => row['score']! },
      hi: { kind: 'max', value: (row) => row['ratio']! },
    },
  },
  paid: {
    sizeMs: 2 * MINUTE_MS,
    allowedLatenessMs: 0,
    where: (row) => row['amount'] !== null && (row['amount'] as bigint) > 0n,
    dimensions: [],
    measures: {
      total: { kind: 'sum', value: (row) => row['amount']!, scale: 2 },
      n: { kind: 'count', value: (row) => row['score']! },
    },
  },
}

/** Loads stream and metrics (`by_place`, `paid`, `doubled`) as the product does. */
export async function loadVisits(): Promise<{
  stream: StreamDefinition
  metric: (name: keyof typeof METRICS) => MetricDefinition
}> {
  const stream = `
stream: visits
doc: Visits.
schema: visit.avsc
id: id
event_time: at
disorder: 2m
future_tolerance: 5m
dedup: { horizon: ${VISIT_POLICY.dedupHorizonEpochs} }
partitions: 3
`
  const db = await openDuckDb({ threads: 1, memoryMb: 128, temporaryDirectory: null })
  try {
    const files = [
      { path: 'streams/visits.yaml', text: stream },
      { path: 'streams/visit.avsc', text: VISIT_SCHEMA },
      ...Object.entries(METRICS).map(([name, text]) => ({
        path: `metrics/${name}.yaml`,
        text: `metric: ${name}\ndoc: Visits, ${name}.\nstream: visits${text}\n`,
      })),
    ]
    const outcome = await loadDefinitions({ directory: 'visits', files }, db)
    if (!outcome.ok) throw new Error(outcome.problems.map(formatProblem).join('\n'))
    const { definitions } = outcome
    return {
      stream: definitions.streams[0]!,
      metric: (name) => definitions.metrics.find((one) => one.name === name)!,
    }
  } finally {
    db.close()
  }
}

const text = (content: string): number[] => {
  const bytes = new TextEncoder().encode(content)
  return [...varint(bytes.length), ...bytes]
}
const nullable = (bytes: readonly number[] | null): number[] => (bytes === null ? [0] : [2, ...bytes])

/** The record of a visit: Confluent frame and Avro body. An old writer leaves out the ratio, which then reads 0.5. */
export function visitRecord(visit: Visit, schemaId: number = SCHEMA_IDS.current): RecordInput {
  const ratio = new Uint8Array(8)
  new DataView(ratio.buffer).setFloat64(0, visit.ratio, true)
  const cents = new Uint8Array(8)
  new DataView(cents.buffer).setBigInt64(0, BigInt(visit.cents ?? 0))
  const body = [
    ...nullable(visit.id === null ? null : text(visit.id)),
    ...varint(visit.time),
    ...nullable(visit.place === null ? null : text(visit.place)),
    ...nullable(visit.score === null ? null : varint(visit.score)),
    ...nullable(visit.cents === null ? null : [16, ...cents]),
    ...(schemaId === SCHEMA_IDS.old ? [] : ratio),
  ]
  return { key: null, value: Uint8Array.from([0, 0, 0, 0, schemaId, ...body]) }
}

/** A barrier as one record, so that it can stand inside a batch. */
export function barrierRecord(id: number, createdMs: number, stream = 'visits'): RecordInput {
  const opened = openBatch(encodeBarrier({ stream, id, partitions: 3, createdMs, demand: false }, 9), 0)
  if ('dead' in opened) throw new Error('a barrier is a good batch')
  return readRecord(opened.cursor)!
}

/** The oracle's view of a visit at a place in the log. */
export const oracleEvent = (
  visit: Visit,
  at: { partition: number; offset: number; epoch: number; arrivalMs: number },
): OracleEvent => ({
  ...at,
  eventTime: visit.time,
  id: visit.id,
  row: {
    place: visit.place,
    score: visit.score,
    amount: visit.cents === null ? null : BigInt(visit.cents),
    ratio: visit.ratio,
  },
})

/** Partials by cell, in one spelling: per measure its count and exact value, then the late counter. */
export type Spelled = Map<string, string>

/** The oracle's cells. */
export function spellCells(cells: readonly OracleCell[], metric: OracleMetric): Spelled {
  const spell = (cell: OracleCell): string => {
    const parts = Object.entries(metric.measures).map(([name, { kind }]) => {
      const { n, sum, value } = cell.partials[name]!
      if (kind === 'count') return String(n)
      return kind === 'sum' || kind === 'avg' ? `${n}:${sum}` : String(value)
    })
    return [...parts, `late ${cell.late}`].join(' ')
  }
  return new Map(cells.map((cell) => [cellKey(cell.windowFrom, cell.group), spell(cell)]))
}

/** One row of doubles at `at`, in the layout of lib/core/partial.ts. */
export function spellRow(layout: PartialTable['layout'], cells: Float64Array, at: number): string {
  const parts = layout.measures.map(({ kind, slot, float }) => {
    const [a, b, c] = [cells[at + slot]!, cells[at + slot + 1]!, cells[at + slot + 2]!]
    if (kind === 'count') return String(a)
    if (kind === 'sum' || kind === 'avg') return `${a}:${BigInt(b) * 2n ** 32n + BigInt(c)}`
    if (!Number.isFinite(a)) return 'null'
    return float ? String(a) : String(BigInt(a) + BigInt(b))
  })
  return [...parts, `late ${cells[at + layout.late]}`].join(' ')
}

/** A table's rows. */
export function spellTable(table: PartialTable, into: Spelled = new Map()): Spelled {
  for (let row = 0; row < table.count; row++) {
    const group = table.dimensions.map(({ values, index }) => values[index[row]!] as OracleValue)
    into.set(cellKey(table.windowFrom[row]!, group), spellRow(table.layout, table.cells, row * table.layout.width))
  }
  return into
}

/** The oracle's cells as a table of the metric: what a batch view holds. */
export function tableOfCells(metric: MetricDefinition, cells: readonly OracleCell[]): PartialTable {
  const rows = cells.map((cell) => {
    const doubles = metric.layout.measures.flatMap(({ name, kind }) => {
      const { n, sum, value } = cell.partials[name]!
      if (kind === 'count') return [n]
      if (kind === 'sum' || kind === 'avg') return [n, ...exactWords(sum)]
      if (value === null) return [kind === 'min' ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY, 0]
      return [Number(value), typeof value === 'bigint' ? Number(value - BigInt(Number(value))) : 0]
    })
    return { from: cell.windowFrom, group: cell.group as readonly (string | null)[], cells: [...doubles, cell.late] }
  })
  return tableOf(metric.layout, rows)
}
