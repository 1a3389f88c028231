/**
 * Sales: one stream with duplicates, nulls, money and late events, one metric over it, written by plain code into a
 * lake (archive) and a log (sealed partials), and an oracle for its views. Shares no code with readers, builders or engine
 * beyond the file and wire formats.
 */
import { createHash } from 'node:crypto'
import type { PartialTable } from '#core/partial.ts'
import { encodePartials } from '#format/partials-arrow.ts'
import { encodeBatch } from '#format/record-batch.ts'
import { archiveFile, archiveManifest } from '#io/archive-reader.ts'
import { type DuckDb, openDuckDb, sqlText } from '#io/duckdb.ts'
import { appendEntry, nextOf, readChain } from '#io/manifest.ts'
import type { EventLog, Lake } from '#io/ports.ts'
import type { Definitions, MetricDefinition } from '#metrics/definition.ts'
import { formatProblem, loadDefinitions } from '#metrics/load.ts'
import type { ArchivedBarrier, ArchiveEntry } from '#schemas/archive.ts'
import { PARTIAL_HEADER, type PartialTags } from '#schemas/partials.ts'
import { sealedTopic } from '#schemas/topics.ts'
import { tableOf } from './partials.ts'

/** A sale; `cents` null = no amount. `kind` other than `event` is counted nowhere. */
export interface Sale {
  readonly id: string
  /** UTC ms. */
  readonly time: number
  readonly shop: string | null
  readonly cents: number | null
  readonly kind?: 'event' | 'quarantined'
}

/** A record of a partition, at the offset of its index. */
export type SaleRecord = Sale | { readonly barrier: number }

/** Size of the metric's windows. */
const HOUR_MS = 3_600_000
const DISORDER_MS = HOUR_MS
const LATENESS_MS = HOUR_MS / 2
/** Epochs in which a repeated id is a duplicate. */
const HORIZON = 3
const BARRIER_EVERY_MS = 60_000

const SCHEMA = {
  type: 'record',
  name: 'Sale',
  fields: [
    { name: 'id', type: 'string' },
    { name: 'sold', type: 'long' },
    { name: 'shop', type: ['null', 'string'], default: null },
    {
      name: 'amount',
      type: ['null', { type: 'bytes', logicalType: 'decimal', precision: 12, scale: 2 }],
      default: null,
    },
  ],
}

const STREAM = `
stream: sales
doc: Sales by shop.
schema: sale.avsc
key: shop
id: id
event_time: sold
disorder: 1h
dedup: { horizon: ${HORIZON} }
partitions: 2
`

const metricYaml = (measure: string) => `
metric: takings
doc: Takings by hour and shop.
stream: sales
window: { tumbling: 1h }
allowed_lateness: 30m
dimensions: { shop: shop }
measures:
  n: count(*)
  big: ${measure}
  s: sum(amount)
  a: avg(amount)
  lo: min(amount)
  hi: max(amount)
`

/** The definitions; another `big` makes another generation of the metric. */
export async function loadSales(big = 'count(*) filter (where amount > 10)'): Promise<Definitions> {
  const db = await openDuckDb({ threads: 1, memoryMb: 128, temporaryDirectory: null })
  try {
    const outcome = await loadDefinitions(
      {
        directory: 'sales',
        files: [
          { path: 'streams/sales.yaml', text: STREAM },
          { path: 'streams/sale.avsc', text: JSON.stringify(SCHEMA) },
          { path: 'metrics/takings.yaml', text: metricYaml(big) },
        ],
      },
      db,
    )
    if (!outcome.ok) throw new Error(outcome.problems.map(formatProblem).join('\n'))
    return outcome.definitions
  } finally {
    db.close()
  }
}

/** What plain code knows about a record: epoch, watermark before it, whether it counts. */
interface Placed {
  readonly record: SaleRecord
  readonly offset: number
  readonly epoch: number
  readonly watermark: number | null
  readonly counts: boolean
}

function place(records: readonly SaleRecord[]): Placed[] {
  let epoch = 0
  let watermark: number | null = null
  const seen = new Map<string, number>()
  return records.map((record, offset) => {
    const placed = { record, offset, epoch, watermark }
    if ('barrier' in record) {
      epoch = record.barrier
      return { ...placed, counts: false }
    }
    if (record.kind === 'quarantined') return { ...placed, counts: false }
    const before = seen.get(record.id)
    seen.set(record.id, epoch)
    watermark = Math.max(watermark ?? Number.NEGATIVE_INFINITY, record.time - DISORDER_MS)
    return { ...placed, counts: before === undefined || before <= epoch - HORIZON }
  })
}

/** Exclusive bounds of a barrier that every partition has. */
export const cutOf = (partitions: readonly (readonly SaleRecord[])[], barrier: number): number[] =>
  partitions.map((records) => records.findIndex((record) => 'barrier' in record && record.barrier === barrier) + 1)

/** Expected rows of the view at `offsets`: `hour|shop` → n, big, s_n, s, lo, hi, late (text, unscaled cents). */
export function expectedRows(
  partitions: readonly (readonly SaleRecord[])[],
  offsets: readonly number[],
): Map<string, string> {
  const groups = new Map<string, { sale: Sale; late: boolean }[]>()
  for (const [partition, records] of partitions.entries()) {
    for (const { record, watermark, counts } of place(records.slice(0, offsets[partition]))) {
      if (!counts || 'barrier' in record) continue
      const from = Math.floor(record.time / HOUR_MS) * HOUR_MS
      const key = `${from}|${record.shop}`
      const late = watermark !== null && watermark >= from + HOUR_MS + LATENESS_MS
      groups.set(key, [...(groups.get(key) ?? []), { sale: record, late }])
    }
  }
  return new Map([...groups].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, rows]) => [key, describeRows(rows)]))
}

function describeRows(rows: readonly { sale: Sale; late: boolean }[]): string {
  const cents = rows.flatMap(({ sale }) => (sale.cents === null ? [] : [sale.cents]))
  const big = cents.filter((each) => each > 1000).length
  const sum = cents.reduce((a, b) => a + b, 0)
  const late = rows.filter((row) => row.late).length
  const extreme = (value: number) => (cents.length === 0 ? 'null' : value)
  return [rows.length, big, cents.length, sum, extreme(Math.min(...cents)), extreme(Math.max(...cents)), late].join(' ')
}

/** The rows of view files, in the oracle's form. */
export async function viewRows(lake: Lake, paths: readonly string[]): Promise<Map<string, string>> {
  if (paths.length === 0) return new Map()
  const db = await openDuckDb({ threads: 1, memoryMb: 128, temporaryDirectory: null })
  try {
    const list = paths.map((path) => sqlText(`${lake.root}/${path}`)).join(', ')
    const rows = await db.query(
      `SELECT window_from || '|' || coalesce(d_shop, 'null') AS k, concat_ws(' ', n_n, big_n, s_n, s_s, coalesce(lo_v::VARCHAR, 'null'), coalesce(hi_v::VARCHAR, 'null'), late) AS v,
       s_n = a_n AND s_s = a_s AS same FROM read_parquet([${list}]) ORDER BY k`,
    )
    if (!rows.every((row) => row['same'] === true)) throw new Error('sum and avg of one argument differ')
    return new Map(
      rows.map((row) => [row['k'] as string, row['v'] as string]).sort(([a], [b]) => (a! < b! ? -1 : 1)) as [
        string,
        string,
      ][],
    )
  } finally {
    db.close()
  }
}

/** Archives what the lake does not hold yet; a file ends every `fileRows` records and, unless told otherwise, at every barrier. */
export async function archiveSales(
  lake: Lake,
  partitions: readonly (readonly SaleRecord[])[],
  fileRows = 7,
  endsAtBarriers = true,
): Promise<void> {
  const db = await openDuckDb({ threads: 1, memoryMb: 128, temporaryDirectory: null })
  try {
    for (const [partition, records] of partitions.entries()) {
      const placed = place(records)
      let chain = await readChain<ArchiveEntry>(lake, archiveManifest('sales', partition))
      let from = chain.entries.at(-1)?.next_offset ?? 0
      while (from < placed.length) {
        const barrier = placed.findIndex(
          ({ record, offset }) => endsAtBarriers && offset >= from && 'barrier' in record,
        )
        const until = Math.min(from + fileRows, barrier < 0 ? placed.length : barrier + 1, placed.length)
        await archiveOne(lake, db, partition, placed, from, until, nextOf(chain), partitions.length)
        chain = await readChain<ArchiveEntry>(lake, archiveManifest('sales', partition), chain)
        from = until
      }
    }
  } finally {
    db.close()
  }
}

async function archiveOne(
  lake: Lake,
  db: DuckDb,
  partition: number,
  all: readonly Placed[],
  from: number,
  until: number,
  link: ReturnType<typeof nextOf>,
  partitions: number,
): Promise<void> {
  const rows = all.slice(from, until)
  const values = rows.map(({ record, offset, epoch, watermark }) => {
    const mark = watermark ?? 'NULL'
    if ('barrier' in record)
      return `(${partition}, ${offset}, ${epoch}, 0, 'barrier', NULL, 1, NULL, NULL, 'b'::BLOB, NULL, ${mark}, NULL, NULL, NULL, NULL)`
    const { id, time, shop, cents, kind = 'event' } = record
    const amount = cents === null ? 'NULL' : `${cents}::DECIMAL(14,0) / 100`
    return `(${partition}, ${offset}, ${epoch}, 0, '${kind}', NULL, 1, NULL, NULL, NULL, ${time}, ${mark}, ${sqlText(id)}, ${time}, ${shop === null ? 'NULL' : sqlText(shop)}, ${amount})`
  })
  const temporary = await lake.temporaryPath()
  await db.run(`COPY (SELECT _partition::INTEGER AS _partition, _offset::BIGINT AS _offset, _epoch::BIGINT AS _epoch, _arrival::BIGINT AS _arrival,
      _kind, _reason::VARCHAR AS _reason, _schema_id::INTEGER AS _schema_id, _key::BLOB AS _key, _headers::VARCHAR AS _headers, _raw::BLOB AS _raw,
      _event_time::BIGINT AS _event_time, _watermark::BIGINT AS _watermark, id::VARCHAR AS id, sold::BIGINT AS sold, shop::VARCHAR AS shop, amount::DECIMAL(12,2) AS amount
    FROM (VALUES ${values.join(', ')}) AS t(_partition, _offset, _epoch, _arrival, _kind, _reason, _schema_id, _key, _headers, _raw, _event_time, _watermark, id, sold, shop, amount)
    ORDER BY _offset) TO ${sqlText(temporary)} (FORMAT parquet, COMPRESSION zstd)`)
  const path = archiveFile('sales', { partition, first: from, next: until })
  const file = { path, ...(await lake.publishFile(temporary, path)) }
  const events = rows.filter(({ record }) => !('barrier' in record) && record.kind !== 'quarantined')
  const times = events.map(({ record }) => (record as Sale).time)
  const last = rows.at(-1)!
  const entry: ArchiveEntry = {
    ...link,
    stream: 'sales',
    partition,
    incarnation: null,
    file,
    rows: rows.length,
    events: events.length,
    dead: 0,
    quarantined: rows.filter(({ record }) => !('barrier' in record) && record.kind === 'quarantined').length,
    first_offset: from,
    next_offset: until,
    event_time_min: times.length === 0 ? null : Math.min(...times),
    event_time_max: times.length === 0 ? null : Math.max(...times),
    barriers: rows.flatMap((row): ArchivedBarrier[] => {
      if (!('barrier' in row.record)) return []
      const events = all.filter(
        (each) => each.epoch === row.epoch && !('barrier' in each.record) && each.record.kind !== 'quarantined',
      ).length
      return [
        {
          id: row.record.barrier,
          offset: row.offset,
          created_ms: row.record.barrier * BARRIER_EVERY_MS,
          partitions,
          watermark: row.watermark,
          events,
        },
      ]
    }),
    last_barrier: 'barrier' in last.record ? last.record.barrier : last.epoch,
    watermark: last.watermark,
    events_in_open_epoch: 0,
    last_batch_crc: 0,
  }
  await appendEntry(lake, archiveManifest('sales', partition), entry)
}

/** Publishes every ended epoch's partials, as the speed layer does; repeating it changes nothing. */
export async function sealSales(
  log: EventLog,
  metric: MetricDefinition,
  partitions: readonly (readonly SaleRecord[])[],
  skip: (tags: PartialTags) => boolean = () => false,
): Promise<void> {
  const topic = sealedTopic(metric.name)
  await log.createTopics([{ topic, partitions: partitions.length, retentionMs: null, cleanup: 'delete' }])
  for (const [partition, records] of partitions.entries()) {
    let first = 0
    for (const { record, offset, epoch } of place(records)) {
      if (!('barrier' in record)) continue
      const placed = place(records).slice(first, offset)
      const tags: PartialTags = {
        kind: 'sealed',
        metric: metric.name,
        generation: metric.generation,
        partition,
        epoch,
        first,
        base: first,
        next: offset + 1,
        part: 0,
        parts: 1,
        watermark: null,
        events: placed.length,
        duplicates: 0,
        dead: 0,
        quarantined: 0,
        late: null,
        opened_ms: epoch * BARRIER_EVERY_MS,
        sealed_ms: record.barrier * BARRIER_EVERY_MS,
        sealed_by: record.barrier,
        arrival_ms: 0,
        live_next: null,
        refused: null,
      }
      if (!skip(tags)) await publishSealed(log, metric, tags, partialsOf(metric, placed))
      first = offset + 1
    }
  }
}

/** Appends one record of sealed partials. */
export async function publishSealed(
  log: EventLog,
  metric: MetricDefinition,
  tags: PartialTags,
  table: PartialTable,
): Promise<void> {
  const headers = [[PARTIAL_HEADER, new TextEncoder().encode(JSON.stringify(tags))]] as const
  const batch = encodeBatch([{ key: null, value: encodePartials(table), headers }], 0)
  await log.append(sealedTopic(metric.name), tags.partition, batch)
}

function partialsOf(metric: MetricDefinition, placed: readonly Placed[]): PartialTable {
  const groups = new Map<string, { from: number; shop: string | null; rows: { sale: Sale; late: boolean }[] }>()
  for (const { record, watermark, counts } of placed) {
    if (!counts || 'barrier' in record) continue
    const from = Math.floor(record.time / HOUR_MS) * HOUR_MS
    const group = groups.get(`${from}|${record.shop}`) ?? { from, shop: record.shop, rows: [] }
    group.rows.push({ sale: record, late: watermark !== null && watermark >= from + HOUR_MS + LATENESS_MS })
    groups.set(`${from}|${record.shop}`, group)
  }
  const rows = [...groups.values()].map(({ from, shop, rows: sales }) => {
    const cents = sales.flatMap(({ sale }) => (sale.cents === null ? [] : [sale.cents]))
    const sum = cents.reduce((a, b) => a + b, 0)
    const low = ((sum % 2 ** 32) + 2 ** 32) % 2 ** 32
    const pair = [cents.length, (sum - low) / 2 ** 32, low]
    const extremes =
      cents.length === 0
        ? [Number.POSITIVE_INFINITY, 0, Number.NEGATIVE_INFINITY, 0]
        : [Math.min(...cents), 0, Math.max(...cents), 0]
    const big = cents.filter((each) => each > 1000).length
    return {
      from,
      group: [shop],
      cells: [sales.length, big, ...pair, ...pair, ...extremes, sales.filter(({ late }) => late).length],
    }
  })
  return tableOf(metric.layout, rows)
}

/** A seeded day or two (or `spanMs`) of sales over two partitions with a barrier every few records; ids repeat, events are late. */
export function randomSales(
  random: () => number,
  epochs: number,
  startMs = Date.UTC(2026, 0, 5),
  spanMs = 30 * HOUR_MS,
): SaleRecord[][] {
  return [0, 1].map((partition) => {
    const records: SaleRecord[] = []
    for (let epoch = 1; epoch <= epochs; epoch++) {
      const count = Math.floor(random() * 9)
      for (let i = 0; i < count; i++) {
        const number = Math.floor(random() * epochs * 4)
        records.push({
          id: `${partition}-${createHash('sha256').update(String(number)).digest('hex').slice(0, 8)}`,
          time: startMs + Math.floor((epoch / epochs) * spanMs + (random() - 0.6) * (spanMs / 30) * 8),
          shop: random() < 0.15 ? null : `s${Math.floor(random() * 3)}`,
          cents: random() < 0.15 ? null : Math.floor((random() - 0.3) * 5_000),
          ...(random() < 0.05 ? { kind: 'quarantined' as const } : {}),
        })
      }
      records.push({ barrier: epoch })
    }
    return records
  })
}
