/**
 * A stream whose schema grows up, for tests: `orders` in six shapes, the definitions that go with each, what a producer of a shape
 * writes, and the plain computation of the metrics over what was meant. Shares no code with the product's resolution.
 *
 *   1 first   2 gains channel (default web)   3 renames amount to cents (alias)   4 promotes cents int → long, weight float → double,
 *   qty int → double   5 drops note   6 renames shop, a dimension, to store (alias)
 */
import avro from 'avsc'
import { frame } from '#format/confluent.ts'
import { writeFiles } from '#testkit/files.ts'

/** 2024-03-01T10:00:00Z. */
export const START_MS = Date.UTC(2024, 2, 1, 10)
export const SHAPES = [1, 2, 3, 4, 5, 6] as const
export type Shape = (typeof SHAPES)[number]

/** An order as it was meant, whatever shape it was written in. */
export interface Order {
  readonly id: string
  readonly at: number
  readonly shop: string
  readonly cents: number
  readonly weight: number
  readonly qty: number
  readonly note: string
  /** Known to producers of shape 2 and later. */
  readonly channel: string
  readonly shape: Shape
}

type Field = { readonly name: string; readonly type: unknown; readonly default?: unknown; readonly aliases?: string[] }

/** The Avro schema of a shape. */
export function schemaOf(shape: Shape): { type: 'record'; name: string; fields: Field[] } {
  const fields: Field[] = [
    { name: 'id', type: 'string' },
    { name: 'at', type: { type: 'long', logicalType: 'timestamp-millis' } },
    shape < 6 ? { name: 'shop', type: 'string' } : { name: 'store', type: 'string', aliases: ['shop'] },
    shape < 3
      ? { name: 'amount', type: 'int' }
      : { name: 'cents', type: shape < 4 ? 'int' : 'long', aliases: ['amount'] },
    { name: 'weight', type: shape < 4 ? 'float' : 'double' },
    { name: 'qty', type: shape < 4 ? 'int' : 'double' },
    ...(shape < 5 ? [{ name: 'note', type: 'string' }] : []),
    ...(shape < 2 ? [] : [{ name: 'channel', type: 'string', default: 'web' }]),
  ]
  return { type: 'record', name: 'Order', fields }
}

/** The event as a producer of its shape spells it in JSON. */
export function eventOf({ id, at, shop, cents, weight, qty, note, channel, shape }: Order): Record<string, unknown> {
  return {
    id,
    at,
    [shape < 6 ? 'shop' : 'store']: shop,
    [shape < 3 ? 'amount' : 'cents']: cents,
    weight,
    qty,
    ...(shape < 5 ? { note } : {}),
    ...(shape < 2 ? {} : { channel }),
  }
}

/** The event as bytes that a producer of its shape puts on the topic. */
export function bytesOf(order: Order, schemaId: number): Uint8Array {
  return frame(schemaId, avro.Type.forSchema(schemaOf(order.shape) as never).toBuffer(eventOf(order)))
}

/** Writes the definitions of a shape into a directory. */
export async function writeDefinitions(directory: string, shape: Shape): Promise<void> {
  const amount = shape < 3 ? 'amount' : 'cents'
  const shop = shape < 6 ? 'shop' : 'store'
  const files: Record<string, string> = {
    'order.avsc': JSON.stringify(schemaOf(shape), null, 2),
    'streams/orders.yaml': `stream: orders
doc: Orders whose schema changes.
schema: ../order.avsc
key: ${shop}
id: id
event_time: at
disorder: 1h
dedup: { horizon: 100 }
partitions: 2
`,
    'metrics/sales.yaml': `metric: sales
doc: Money by shop and hour.
stream: orders
window: { tumbling: 1h }
dimensions: { shop: ${shop} }
measures:
  orders: count(*)
  money: sum(${amount})
  most: max(${amount})
`,
    'metrics/steady.yaml': `metric: steady
doc: Figures whose text never changes, whatever the schema does.
stream: orders
window: { tumbling: 1h }
measures:
  orders: count(*)
  heaviest: max(weight)
  least: min(qty)
`,
    ...(shape < 2
      ? {}
      : {
          'metrics/channels.yaml': `metric: channels
doc: Orders by channel; most of them are older than the field.
stream: orders
mode: kappa
window: { tumbling: 1h }
dimensions: { channel: channel }
measures:
  orders: count(*)
  weight: sum(weight::DECIMAL(18,3))
`,
        }),
  }
  await writeFiles(directory, files)
}

/** Rows by `hour group`, each a list of the measures in order; by plain loops over what was meant. */
export type Table = Readonly<Record<string, readonly (number | null)[]>>

/** What was meant, as a reader of `now` sees it: floats as floats were written, the default where a field was not known. */
export function tableOf(metric: string, orders: readonly Order[]): Table {
  const table: Record<string, number[]> = {}
  for (const order of new Map(orders.map((each) => [each.id, each])).values()) {
    const hour = Math.floor((order.at - START_MS) / 3_600_000)
    const weight = order.shape < 4 ? Math.fround(order.weight) : order.weight
    const channel = order.shape < 2 ? 'web' : order.channel
    const key = `${hour} ${metric === 'sales' ? order.shop : metric === 'channels' ? channel : ''}`.trim()
    const row = table[key]
    if (metric === 'sales') {
      table[key] = [(row?.[0] ?? 0) + 1, (row?.[1] ?? 0) + order.cents, Math.max(row?.[2] ?? -Infinity, order.cents)]
    } else if (metric === 'steady') {
      table[key] = [
        (row?.[0] ?? 0) + 1,
        Math.max(row?.[1] ?? -Infinity, weight),
        Math.min(row?.[2] ?? Infinity, order.qty),
      ]
    } else {
      table[key] = [
        (row?.[0] ?? 0) + 1,
        Math.round(((row?.[1] ?? 0) + Math.round(weight * 1_000) / 1_000) * 1_000) / 1_000,
      ]
    }
  }
  return table
}

/** Orders drawn: few shops, hours and channels, so that shapes meet in every cell. */
export function drawOrder(draw: () => number, id: string, shape: Shape): Order {
  return {
    id,
    at: START_MS + Math.floor(draw() * 4 * 3_600_000),
    shop: `shop ${Math.floor(draw() * 3)}`,
    cents: shape < 4 ? Math.floor(draw() * 1_000) - 100 : Math.floor(draw() * 2 ** 40),
    weight: Math.round(draw() * 1_000) / 10,
    qty: shape < 4 ? 1 + Math.floor(draw() * 9) : Math.round(draw() * 100) / 8,
    note: `note ${id}`,
    channel: draw() < 0.5 ? 'app' : 'phone',
    shape,
  }
}
