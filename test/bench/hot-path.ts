/**
 * The hot path on one thread: bytes → CRC → projection → epoch tables for the peers' two KPIs, from record batches in memory. One
 * partition's share of the peers' workload per epoch, sealed by a barrier; every epoch's sums are compared with what was drawn.
 *
 * open      CRC32C and framing alone            country   by_country only
 * project   open, then the walk into 4 columns  both      both KPIs; both-sealed also encodes the sealed tables for the log
 */
import { fileURLToPath } from 'node:url'
import type { DeadRecord } from '#core/outcome.ts'
import { exactOf } from '#core/partial.ts'
import { allocateChunk, compileProjector, resetChunk } from '#format/avro-projector.ts'
import { encodeBarrier } from '#format/barrier.ts'
import { openBatch, stampBatch } from '#format/record-batch.ts'
import { createPartitionEngine, type SealedEpoch } from '#metrics/partition-engine.ts'
import { encodePublication } from '../../services/speed/publish.ts'
import {
  against,
  type Bench,
  type Figures,
  medians,
  memoryMb,
  printTable,
  report,
  runVariant,
  show,
} from './harness.ts'
import { loadBenchDefinitions } from './load.ts'
import { recordBatches } from './workload.ts'

const file = fileURLToPath(import.meta.url)
const START_MS = Date.UTC(2026, 0, 1)
/** One of the peers' four partitions. */
const EPOCH_RECORDS = 1_250_000
const VARIANTS = ['open', 'project', 'country', 'both', 'both-sealed'] as const
type Variant = (typeof VARIANTS)[number]

export const hotPath: Bench = {
  name: 'hot-path',
  usual: true,
  async run({ quick, runs }) {
    const records = quick ? EPOCH_RECORDS / 10 : EPOCH_RECORDS
    const epochs = quick ? 2 : 4
    const found = await medians(
      Object.fromEntries(VARIANTS.map((name) => [name, () => runVariant(file, [name, records, epochs])])),
      runs,
    )
    const base = found.get('both')!.median
    printTable(
      `hot-path: bytes to epoch tables, one thread, ${show(records * epochs)} records in ${epochs} epochs`,
      ['variant', 'M rec/s', 'range', 'M rec/CPU-s', 'x both', 'peak MB', 'gate'],
      [...found].map(([name, { median, low, high }]) => [
        name,
        median.ok === 1 ? show(median['rate']!, 2) : 'WRONG',
        `${show(low['rate']!, 2)}..${show(high['rate']!, 2)}`,
        show(median['perCpu']!, 2),
        show(median['rate']! / base['rate']!, 2),
        show(median['peak']!, 0),
        name === 'both' ? against(median['rate']!, 2, 'atLeast') : '',
      ]),
    )
  },
}

export const linear: Bench = {
  name: 'linear',
  usual: true,
  async run({ quick, runs }) {
    const records = quick ? 50_000 : 500_000
    const found = await medians(
      {
        '1x': () => runVariant(file, ['both-sealed', records, 1]),
        '10x': () => runVariant(file, ['both-sealed', records, 10]),
      },
      runs,
    )
    const [one, ten] = [found.get('1x')!.median, found.get('10x')!.median]
    printTable(
      'linear (E7): ten times the events, an epoch each',
      ['events', 'seconds', 'CPU s', 'peak MB', 'ns/event', 'ratio of cost', 'gate'],
      [one, ten].map((figures, at) => [
        show(records * (at === 0 ? 1 : 10)),
        show(figures['seconds']!, 2),
        show(figures['cpu']!, 2),
        show(figures['peak']!, 0),
        show((figures['seconds']! * 1e9) / (records * (at === 0 ? 1 : 10)), 0),
        at === 0 ? '' : show(ten['seconds']! / one['seconds']! / 10, 2),
        at === 0 ? '' : against(ten['seconds']! / one['seconds']!, 12, 'atMost'),
      ]),
      [
        `peak memory 10x / 1x: ${show(ten['peak']! / one['peak']!, 2)} (inputs included); below 1 in cost: the first epoch also warms up`,
      ],
    )
  },
}

/** Rows of a sealed epoch add up to what was drawn. */
function isRight(sealed: SealedEpoch, records: number, amount: number): boolean {
  return sealed.partials.every(({ rows, metric, refused }) => {
    const table = rows.table(0, rows.count)
    const [count, sum] = metric.layout.measures
    let n = 0
    let total = 0n
    for (let row = 0; row < table.count; row++) {
      n += table.cells[row * metric.layout.width + count!.slot]!
      total += exactOf(table.cells, row * table.layout.width + sum!.slot + 1)
    }
    return refused === null && n === records && total === BigInt(amount)
  })
}

async function child(variant: Variant, records: number, epochs: number): Promise<void> {
  const { streams, metrics } = await loadBenchDefinitions(fileURLToPath(new URL('./peer/definitions', import.meta.url)))
  const stream = streams[0]!
  const drawn = [
    ...recordBatches(stream, 1, {
      records,
      perBatch: 1_000,
      users: 25_000,
      startMs: START_MS,
      spanMs: 3_600_000,
      seed: 1,
      firstId: 0,
    }),
  ]
  const amount = drawn.reduce((sum, batch) => sum + batch.amount, 0)
  const used = variant === 'country' ? metrics.filter(({ name }) => name === 'by_country') : metrics
  const engine = createPartitionEngine({ stream, metrics: used, partition: 0, restore: null, startOffset: 0 })
  const fields = ['event_time', 'user', 'country', 'amount']
  const projector = compileProjector({
    writer: stream.schema,
    writerId: 1,
    reader: stream.schema,
    fields,
    eventTime: stream.eventTime,
    envelope: false,
  })
  const chunk = allocateChunk(projector.columns, false)
  const dead: DeadRecord[] = []
  let offset = 0
  let ok = true
  let seconds = 0
  let cpu = 0
  let bytes = 0

  const walk = (batch: Uint8Array, base: number): number => {
    const opened = openBatch(batch, base)
    if ('dead' in opened) return 0
    if (variant === 'open') return opened.header.count
    resetChunk(chunk)
    return projector.project(opened.cursor, chunk, dead) === 'end' ? chunk.count : 0
  }
  const feed = (batch: Uint8Array, base: number, count: number): void => {
    let step = engine.feed({ baseOffset: base, lastOffset: base + count - 1, bytes: batch })
    while (step.kind === 'schema') step = engine.provide(step.id, stream.schema)
  }
  for (let epoch = 1; epoch <= epochs; epoch++) {
    const bases = drawn.map(({ bytes: batch, count }) => {
      const base = offset
      stampBatch(batch, base, START_MS)
      offset += count
      return base
    })
    const barrier = encodeBarrier(
      { stream: stream.name, id: epoch, partitions: 1, createdMs: START_MS, demand: false },
      2,
    )
    stampBatch(barrier, offset, START_MS)
    const cpuBefore = process.cpuUsage()
    const before = performance.now()
    if (variant === 'open' || variant === 'project') {
      let walked = 0
      for (let i = 0; i < drawn.length; i++) walked += walk(drawn[i]!.bytes, bases[i]!)
      ok &&= walked === records
    } else {
      for (let i = 0; i < drawn.length; i++) feed(drawn[i]!.bytes, bases[i]!, drawn[i]!.count)
    }
    const step = engine.feed({ baseOffset: offset, lastOffset: offset, bytes: barrier })
    if (variant === 'both-sealed' && step.kind === 'sealed') {
      for (const partials of step.sealed.partials) {
        const { sealed } = step
        const publication = { state: sealed, base: sealed.first, sealed: { by: sealed.sealedBy, ms: sealed.sealedMs } }
        for (const batch of encodePublication(partials, publication)) bytes += batch.length
      }
    }
    seconds += (performance.now() - before) / 1_000
    const usage = process.cpuUsage(cpuBefore)
    cpu += (usage.user + usage.system) / 1e6
    offset++
    if (step.kind === 'sealed') {
      if (variant !== 'open' && variant !== 'project') ok &&= isRight(step.sealed, records, amount)
      engine.continue()
    }
    await new Promise((resolve) => setImmediate(resolve))
  }
  const all = records * epochs
  report({
    ok: ok && dead.length === 0 ? 1 : 0,
    rate: all / seconds / 1e6,
    perCpu: all / cpu / 1e6,
    seconds,
    cpu,
    bytes,
    peak: memoryMb('self').peak,
  } satisfies Figures)
}

if (import.meta.main) await child(process.argv[2] as Variant, Number(process.argv[3]), Number(process.argv[4]))
