/**
 * Seeded events for tests and benchmarks: the synthetic shop (services/feed/shop.ts) with a definitions directory for its streams, and
 * the way from a list of JSON events to record batches.
 */
import { compileEncoder } from '#format/avro-encoder.ts'
import { BatchBuilder } from '#format/record-batch.ts'
import { SHOP_KEYS, SHOP_SCHEMAS, type ShopStream } from '../../services/feed/shop-schemas.ts'

export { feedShop, type ShopArrival, type ShopOptions, shopEvents } from '../../services/feed/shop.ts'
export { SHOP_KEYS, SHOP_SCHEMAS, type ShopStream }

const IDS: Record<ShopStream, string> = { orders: 'order_id', payments: 'payment_id', clicks: 'click_id' }

const streamYaml = (stream: ShopStream, partitions: number): string => `stream: ${stream}
doc: Synthetic ${stream} of the shop.
schema: ../${stream}.avsc
key: ${SHOP_KEYS[stream]}
id: ${IDS[stream]}
event_time: at
disorder: 1m
dedup: { horizon: 60 }
partitions: ${partitions}
`

/** Files of a definitions directory with the shop's streams and one metric on each; for `loadDefinitions`. */
export function shopDefinitionFiles(partitions = 4): { path: string; text: string }[] {
  const streams = Object.keys(SHOP_SCHEMAS) as ShopStream[]
  const metric = (name: string, stream: ShopStream, rest: string) => ({
    path: `metrics/${name}.yaml`,
    text: `metric: ${name}\ndoc: Synthetic.\nstream: ${stream}\nwindow: { tumbling: 1m }\nallowed_lateness: 5m\n${rest}`,
  })
  return [
    ...streams.map((stream) => ({ path: `${stream}.avsc`, text: SHOP_SCHEMAS[stream] })),
    ...streams.map((stream) => ({ path: `streams/${stream}.yaml`, text: streamYaml(stream, partitions) })),
    metric(
      'revenue',
      'orders',
      'dimensions: { currency: currency, country: country }\nmeasures: { orders: count(*), revenue: sum(amount), biggest: max(amount) }\n',
    ),
    metric(
      'paid',
      'payments',
      'measures: { payments: count(*), accepted: count(*) filter (where accepted), amount: sum(amount) }\n',
    ),
    metric('visits', 'clicks', 'dimensions: { page: page }\nmeasures: { clicks: count(*) }\n'),
  ]
}

/** One record batch of JSON events under a schema id; throws when an event does not fit, for a test's events must. */
export function batchOfEvents(
  schema: string,
  schemaId: number,
  events: readonly { readonly key: Uint8Array | null; readonly event: unknown }[],
): Uint8Array {
  const encoder = compileEncoder(schema, schemaId)
  const builder = new BatchBuilder()
  builder.reset(0)
  for (const { key, event } of events) {
    const problem = encoder.encode(event)
    if (problem !== null) throw new Error(`${problem.field}: ${problem.code}: ${problem.reason}`)
    builder.add(key, encoder.bytes.subarray(0, encoder.length))
  }
  return builder.finish()
}
