/**
 * Small partial tables and the records that a speed layer would publish about a small log; for tests of what merges them.
 * The arithmetic is written on purpose without the core's: maps and bigints (an oracle shares no code with its subject).
 */
import { unreachable } from '#core/assert.ts'
import { type GroupValue, layoutOf, type PartialLayout, type PartialTable } from '#core/partial.ts'
import { encodePartials } from '#format/partials-arrow.ts'
import { encodeBatch } from '#format/record-batch.ts'
import { type DuckDb, sqlText } from '#io/duckdb.ts'
import type { Lake } from '#io/ports.ts'
import { publishView } from '#io/views.ts'
import type { MetricDefinition, StreamDefinition } from '#metrics/definition.ts'
import type { PartialTags } from '#schemas/partials.ts'
import type { ViewEntry } from '#schemas/view.ts'
import { exactWords } from './exact-words.ts'

/** One event of a small log, already windowed: one dimension `g`, one value. */
export interface SmallEvent {
  readonly window: number
  readonly group: GroupValue
  readonly value: number | null
}

/** A record of a small log: an event, or the barrier with this id. */
export type SmallRecord = SmallEvent | { readonly barrier: number }

/** Layout of the small tables: dimension `g`; measures `n` count(*), `s` sum(value), `lo` min(value), `hi` max(value). */
export const SMALL_LAYOUT: PartialLayout = layoutOf(
  [{ name: 'g', kind: 'string', scale: 0 }],
  [
    { name: 'n', kind: 'count', scale: 0, float: false },
    { name: 's', kind: 'sum', scale: 0, float: false },
    { name: 'lo', kind: 'min', scale: 0, float: false },
    { name: 'hi', kind: 'max', scale: 0, float: false },
  ],
)

/** Generation name used by the records below. */
export const SMALL_GENERATION = 'aaaaaaaaaaaa'

/** Rows of a table from objects: window start, one value per dimension, and the row's doubles. */
export function tableOf(
  layout: PartialLayout,
  rows: readonly { readonly from: number; readonly group: readonly GroupValue[]; readonly cells: readonly number[] }[],
): PartialTable {
  const cells = new Float64Array(rows.length * layout.width)
  for (const [at, row] of rows.entries()) cells.set(row.cells, at * layout.width)
  return {
    layout,
    count: rows.length,
    windowFrom: Float64Array.from(rows, ({ from }) => from),
    dimensions: layout.dimensions.map((_, dimension) => {
      const values = [...new Set(rows.map(({ group }) => group[dimension]!))]
      return { values, index: Int32Array.from(rows, ({ group }) => values.indexOf(group[dimension]!)) }
    }),
    cells,
  }
}

/** What a list of events comes to, per `window|group`: count, sum, min, max as text. The oracle. */
export function expectedOf(events: readonly SmallEvent[]): Map<string, string> {
  const lists = new Map<string, SmallEvent[]>()
  for (const event of events) {
    const key = `${event.window}|${String(event.group)}`
    lists.set(key, [...(lists.get(key) ?? []), event])
  }
  return new Map(
    [...lists].map(([key, list]) => {
      const values = list.flatMap(({ value }) => (value === null ? [] : [value]))
      const sum = values.length === 0 ? null : values.reduce((total, value) => total + BigInt(value), 0n)
      const sorted = values.toSorted((a, b) => a - b)
      return [key, `${list.length} ${sum} ${sorted[0] ?? null} ${sorted.at(-1) ?? null}`]
    }),
  )
}

/** The table of a list of events in {@link SMALL_LAYOUT}. */
export function smallTable(events: readonly SmallEvent[], only?: (event: SmallEvent) => boolean): PartialTable {
  const groups = Map.groupBy(events, ({ window, group }) => `${window}|${String(group)}`)
  const rows = [...groups.values()]
    .filter((list) => only === undefined || list.some(only))
    .map((list) => {
      const values = list.flatMap(({ value }) => (value === null ? [] : [value]))
      const sum = values.reduce((total, value) => total + BigInt(value), 0n)
      const low = values.length === 0 ? Number.POSITIVE_INFINITY : Math.min(...values)
      const high = values.length === 0 ? Number.NEGATIVE_INFINITY : Math.max(...values)
      const cells = [list.length, values.length, ...exactWords(sum), low, 0, high, 0, 0]
      return { from: list[0]!.window, group: [list[0]!.group], cells }
    })
  return tableOf(SMALL_LAYOUT, rows)
}

/** A published record: tags and table. */
export interface SmallPublished {
  readonly tags: PartialTags
  readonly table: PartialTable
}

/**
 * What a speed layer publishes about one partition: after every record whose index is in `flushes` a live table (of all
 * when the index is in `full`, else of what changed since the flush before), and a sealed table at every barrier, in `parts`.
 */
export function publishedBy(
  partition: number,
  log: readonly SmallRecord[],
  options: { readonly flushes: ReadonlySet<number>; readonly full: ReadonlySet<number>; readonly parts: number },
): SmallPublished[] {
  const out: SmallPublished[] = []
  let epoch = 0
  let first = 0
  let base = 0
  let opened = 0
  const tags = (kind: 'live' | 'sealed', next: number, rest: Partial<PartialTags>): PartialTags => ({
    kind,
    metric: 'small',
    generation: SMALL_GENERATION,
    partition,
    epoch,
    first,
    base,
    next,
    part: 0,
    parts: 1,
    watermark: null,
    events: eventsOf(log.slice(first, next)).length,
    duplicates: 0,
    dead: 0,
    quarantined: 0,
    late: null,
    opened_ms: opened,
    sealed_ms: null,
    sealed_by: null,
    arrival_ms: 0,
    live_next: null,
    refused: null,
    ...rest,
  })
  log.forEach((record, offset) => {
    const next = offset + 1
    if ('barrier' in record) {
      const whole = eventsOf(log.slice(first, next))
      for (let part = 0; part < options.parts; part++) {
        const table = smallTable(whole.filter(({ window }) => window % options.parts === part))
        const sealed = {
          base: first,
          part,
          parts: options.parts,
          sealed_by: record.barrier,
          sealed_ms: record.barrier * 1000,
        }
        out.push({ tags: tags('sealed', next, sealed), table })
      }
      epoch = record.barrier
      first = next
      base = next
      opened = record.barrier * 1000
    } else if (options.flushes.has(offset)) {
      const from = options.full.has(offset) ? first : base
      const changed = new Set(eventsOf(log.slice(from, next)).map(({ window, group }) => `${window}|${String(group)}`))
      const table = smallTable(eventsOf(log.slice(first, next)), ({ window, group }) =>
        changed.has(`${window}|${String(group)}`),
      )
      out.push({ tags: tags('live', next, { base: from }), table })
      base = next
    }
  })
  return out
}

/** The events among the records. */
export const eventsOf = (records: readonly SmallRecord[]): SmallEvent[] =>
  records.filter((record): record is SmallEvent => !('barrier' in record))

/** Offset behind the barrier `id`; -1 when the log does not have it. */
export const cutOffset = (log: readonly SmallRecord[], id: number): number =>
  log.findIndex((record) => 'barrier' in record && record.barrier === id) + 1 || -1

/** A record batch with one published table, as the speed layer appends it. */
export const partialBatch = ({ tags, table }: SmallPublished): Uint8Array =>
  encodeBatch(
    [{ key: null, value: encodePartials(table), headers: [['tidemark-partial', utf8.encode(JSON.stringify(tags))]] }],
    0,
  )

const utf8 = new TextEncoder()

/** A metric over {@link SMALL_LAYOUT} with windows of a minute, lateness 0, and a derived measure `mean = s / n`. Has no readers. */
export function smallMetric(partitions: number): MetricDefinition {
  const stream: StreamDefinition = {
    name: 'smalls',
    doc: 'Small events.',
    file: 'streams/smalls.yaml',
    schema: '{}',
    fields: [],
    key: null,
    id: null,
    eventTime: { field: 'at', unit: 'ms' },
    disorderMs: 0,
    futureToleranceMs: null,
    dedupHorizonEpochs: null,
    partitions,
    retentionMs: null,
  }
  const none = (): never => unreachable('a small metric has no readers' as never)
  return {
    name: 'small',
    doc: 'Small numbers.',
    file: 'metrics/small.yaml',
    stream,
    mode: 'lambda',
    where: null,
    window: { kind: 'tumbling', sizeMs: 60_000 },
    allowedLatenessMs: 0,
    layout: SMALL_LAYOUT,
    dimensions: [{ name: 'g', sql: 'g' }],
    measures: [
      { name: 'n', sql: 'count(*)', type: 'int64', scale: 0 },
      { name: 's', sql: 'sum(v)', type: 'int64', scale: 0 },
      { name: 'lo', sql: 'min(v)', type: 'int64', scale: 0 },
      { name: 'hi', sql: 'max(v)', type: 'int64', scale: 0 },
    ],
    derived: [{ name: 'mean', sql: 's / n', evaluate: ({ s, n }) => (s == null || !n ? null : s / n) }],
    tolerance: 0,
    fields: [],
    hash: SMALL_GENERATION.padEnd(64, '0'),
    generation: SMALL_GENERATION,
    createReader: none,
    toSql: none,
  }
}

/** Publishes a view of these events at a cut: the Parquet file as DuckDB writes it, and the manifest entry. */
export async function publishSmallView(
  deps: { readonly lake: Lake; readonly duckdb: DuckDb },
  view: {
    readonly cut: number
    readonly offsets: readonly number[]
    readonly watermark: number | null
    readonly events: readonly SmallEvent[]
  },
): Promise<ViewEntry> {
  const rows = [...Map.groupBy(view.events, ({ window, group }) => `${window}|${String(group)}`).values()].map(
    (list) => {
      const values = list.flatMap(({ value }) => (value === null ? [] : [value]))
      const sum = values.reduce((total, value) => total + BigInt(value), 0n)
      const group = list[0]!.group === null ? 'NULL' : sqlText(String(list[0]!.group))
      const extremes = values.length === 0 ? 'NULL, NULL' : `${Math.min(...values)}, ${Math.max(...values)}`
      return `(${list[0]!.window}, ${group}, ${list.length}, ${values.length}, ${sum}, ${extremes}, 0)`
    },
  )
  const temporary = await deps.lake.temporaryPath()
  const names = 'window_from, d_g, n_n, s_n, s_s, lo_v, hi_v, late'
  await deps.duckdb.run(
    `COPY (SELECT window_from::BIGINT window_from, d_g::VARCHAR d_g, n_n::BIGINT n_n, s_n::BIGINT s_n, s_s::DECIMAL(38,0) s_s,
      lo_v::BIGINT lo_v, hi_v::BIGINT hi_v, late::BIGINT late FROM (VALUES ${rows.join(', ')}) t(${names})) TO ${sqlText(temporary)} (FORMAT parquet)`,
  )
  const path = `views/small/sql/${SMALL_GENERATION}/${view.cut}/1970-01-01_1970-01-02.parquet`
  const { sha256, bytes } = await deps.lake.publishFile(temporary, path)
  return publishView(deps.lake, {
    metric: 'small',
    arm: 'sql',
    generation: SMALL_GENERATION,
    definition_hash: SMALL_GENERATION.padEnd(64, '0'),
    cut: view.cut,
    offsets: view.offsets,
    watermark: view.watermark,
    files: [{ from_day: '1970-01-01', until_day: '1970-01-02', path, sha256, bytes, rows: rows.length }],
    rows: rows.length,
    job: null,
    published_ms: 0,
  })
}
