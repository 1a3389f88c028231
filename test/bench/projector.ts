/**
 * How fast the generated projector walks the canonical workload (peers/): event_time long, user string, country string, amount long, about
 * 29 bytes a value, batches of 1,000 records. One thread. Prints records per second for the open of a batch (CRC, framing), for
 * walk + all four columns, and for both, as median and range of several rounds, with a checksum over every cell.
 *
 * node test/bench/projector.ts [rounds]
 */
import avsc from 'avsc'
import type { ColumnChunk } from '#core/columns.ts'
import type { DeadRecord } from '#core/outcome.ts'
import { allocateChunk, compileProjector, resetChunk } from '#format/avro-projector.ts'
import { frame } from '#format/confluent.ts'
import { BatchBuilder, openBatch, stampBatch } from '#format/record-batch.ts'

const RECORDS_PER_BATCH = 1_000
const BATCHES = 1_000
const rounds = Number(process.argv[2] ?? 9)

const schema = JSON.stringify({
  type: 'record',
  name: 'Event',
  fields: [
    { name: 'event_time', type: { type: 'long', logicalType: 'timestamp-millis' } },
    { name: 'user', type: 'string' },
    { name: 'country', type: 'string' },
    { name: 'amount', type: 'long' },
  ],
})

/** A seeded generator (mulberry32): the bench draws the same events every time. */
function random(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

function workload(): Uint8Array[] {
  const type = avsc.Type.forSchema(JSON.parse(schema) as avsc.Schema)
  const draw = random(1)
  const builder = new BatchBuilder()
  const start = Date.UTC(2026, 0, 1)
  let offset = 0
  return Array.from({ length: BATCHES }, (_, batch) => {
    builder.reset(start)
    for (let i = 0; i < RECORDS_PER_BATCH; i++) {
      const user = `user-${Math.floor(draw() * 100_000)}`
      const country = String.fromCharCode(65 + Math.floor(draw() * 10), 65 + Math.floor(draw() * 5))
      const late = draw() < 0.01 ? Math.floor(draw() * 30_000) : 0
      const event_time = start + Math.floor((batch * RECORDS_PER_BATCH + i) * 3.6) - late
      const value = frame(1, type.toBuffer({ event_time, user, country, amount: 1 + Math.floor(draw() * 100_000) }))
      builder.add(new TextEncoder().encode(user), value)
    }
    const bytes = builder.finish()
    stampBatch(bytes, offset, start)
    offset += RECORDS_PER_BATCH
    return bytes
  })
}

function checksum(chunk: ColumnChunk): number {
  const [, user, country, amount] = chunk.columns
  let sum = 0
  for (let row = 0; row < chunk.count; row++) {
    sum += chunk.eventTimes[row]! % 1_000_003
    sum += amount!.f64[row]! + user!.bytes[user!.until[row]! - 1]! + country!.bytes[country!.from[row]!]!
  }
  return sum
}

const batches = workload()
const bytes = batches.reduce((sum, batch) => sum + batch.length, 0)
const records = BATCHES * RECORDS_PER_BATCH
const fields = ['event_time', 'user', 'country', 'amount']
const projector = compileProjector({
  writer: schema,
  writerId: 1,
  reader: schema,
  fields,
  eventTime: { field: 'event_time', unit: 'ms' },
  envelope: false,
})
const chunk = allocateChunk(projector.columns, false)
const dead: DeadRecord[] = []

/** Nanoseconds of opening alone and of projecting alone over all batches, and the checksum (not timed). */
function round(): { open: number; project: number; sum: number } {
  let open = 0
  let project = 0
  let sum = 0
  for (const batch of batches) {
    const a = process.hrtime.bigint()
    const opened = openBatch(batch, 0)
    const b = process.hrtime.bigint()
    if ('dead' in opened) throw new Error(opened.dead)
    resetChunk(chunk)
    const stop = projector.project(opened.cursor, chunk, dead)
    const c = process.hrtime.bigint()
    if (stop !== 'end' || chunk.count !== RECORDS_PER_BATCH) throw new Error(stop)
    open += Number(b - a)
    project += Number(c - b)
    sum += checksum(chunk)
  }
  return { open, project, sum }
}

for (let i = 0; i < 3; i++) round()
const results = Array.from({ length: rounds }, round)
const rate = (label: string, times: number[]): void => {
  const sorted = times.map((time) => (records / time) * 1_000).toSorted((a, b) => a - b)
  const middle = sorted[sorted.length >> 1]!
  console.log(`${label}: ${middle.toFixed(1)} M records/s (${sorted[0]!.toFixed(1)}..${sorted.at(-1)!.toFixed(1)})`)
}
console.log(
  `node ${process.version}, ${records} records, ${(bytes / records).toFixed(1)} bytes per record on the wire, ${rounds} rounds`,
)
rate(
  'open (CRC32C, framing)',
  results.map(({ open }) => open),
)
rate(
  'walk + 4 columns',
  results.map(({ project }) => project),
)
rate(
  'both',
  results.map(({ open, project }) => open + project),
)
console.log(`checksum ${results[0]!.sum}, dead ${dead.length}`)
