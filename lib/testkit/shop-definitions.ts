/** A definitions directory for the synthetic shop (services/feed/shop.ts): its three streams and one metric on each. */
import { SHOP_KEYS, SHOP_SCHEMAS, type ShopStream } from '../../services/feed/shop-schemas.ts'

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

/** The files; for `loadDefinitions`. */
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
