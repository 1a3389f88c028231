/**
 * The peers' workload as record batches: events of {event_time, user, country, amount}, 100,000 users, 50 countries, one minute after
 * another, 1 % up to 30 s early; with an id where the schema has one. Seeded: the same events every time.
 */
import { random } from '#core/random.ts'
import { compileEncoder } from '#format/avro-encoder.ts'
import { BatchBuilder } from '#format/record-batch.ts'
import type { StreamDefinition } from '#metrics/definition.ts'

/** What to draw. Event times advance evenly over `spanMs` from `startMs`. */
export interface WorkloadOptions {
  readonly records: number
  readonly perBatch: number
  readonly users: number
  readonly startMs: number
  readonly spanMs: number
  readonly seed: number
  /** Id of the first event. */
  readonly firstId: number
}

/** An event, drawn into one reused object. */
export interface BenchEvent {
  id: number
  event_time: number
  user: string
  country: string
  amount: number
}

/** Draws event `at` of the workload into `event`; call it for 0, 1, 2 …. */
export function eventSource(options: WorkloadOptions): (at: number, event: BenchEvent) => void {
  const draw = random(options.seed)
  const countries = Array.from({ length: 50 }, (_, i) => String.fromCharCode(65 + Math.floor(i / 5), 65 + (i % 5)))
  return (at, event) => {
    const early = draw() < 0.01 ? Math.floor(draw() * 30_000) : 0
    event.id = options.firstId + at
    event.event_time = options.startMs + Math.floor((at / options.records) * options.spanMs) - early
    event.user = `user-${Math.floor(draw() * options.users)}`
    event.country = countries[Math.floor(draw() * 50)]!
    event.amount = 1 + Math.floor(draw() * 100_000)
  }
}

/** One batch at a time, uncompressed, as a producer sends it; `amount` sums up what was drawn. */
export function* recordBatches(
  stream: StreamDefinition,
  schemaId: number,
  options: WorkloadOptions,
): Generator<{ readonly bytes: Uint8Array; readonly count: number; readonly amount: number }> {
  const encoder = compileEncoder(stream.schema, schemaId, { eventTime: stream.eventTime })
  const utf8 = new TextEncoder()
  const next = eventSource(options)
  const event: BenchEvent = { id: 0, event_time: 0, user: '', country: '', amount: 0 }
  const builder = new BatchBuilder()
  for (let at = 0; at < options.records; ) {
    builder.reset(options.startMs)
    let amount = 0
    for (let i = 0; i < options.perBatch && at < options.records; i++, at++) {
      next(at, event)
      amount += event.amount
      const problem = encoder.encode(stream.id === null ? withoutId(event) : event)
      if (problem !== null) throw new Error(JSON.stringify(problem))
      const key = utf8.encode(event.user)
      builder.addRanges(key, 0, key.length, encoder.bytes, 0, encoder.length)
    }
    yield { bytes: builder.finish(), count: builder.count, amount }
  }
}

const withoutId = ({ event_time, user, country, amount }: BenchEvent): Omit<BenchEvent, 'id'> => ({
  event_time,
  user,
  country,
  amount,
})
