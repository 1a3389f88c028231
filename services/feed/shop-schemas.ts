/** Avro schemas of the synthetic shop, as JSON texts by stream. Money is decimal; cards and customers may be unknown. */

const money = { type: 'bytes', logicalType: 'decimal', precision: 12, scale: 2 }
const instant = { type: 'long', logicalType: 'timestamp-millis' }
const record = (name: string, fields: object[]): string =>
  JSON.stringify({ type: 'record', name, namespace: 'tidemark.shop', doc: 'Synthetic.', fields })

/** Streams of the shop. */
export type ShopStream = 'orders' | 'payments' | 'clicks'

/** Schema text by stream. */
export const SHOP_SCHEMAS: Readonly<Record<ShopStream, string>> = {
  orders: record('Order', [
    { name: 'order_id', type: 'string' },
    { name: 'customer', type: 'string' },
    { name: 'at', type: instant },
    { name: 'amount', type: money },
    { name: 'currency', type: { type: 'enum', name: 'Currency', symbols: ['EUR', 'USD', 'GBP'] } },
    { name: 'items', type: 'int' },
    { name: 'country', type: ['null', 'string'], default: null },
  ]),
  payments: record('Payment', [
    { name: 'payment_id', type: 'string' },
    { name: 'order_id', type: 'string' },
    { name: 'card', type: 'string' },
    { name: 'at', type: instant },
    { name: 'amount', type: money },
    { name: 'accepted', type: 'boolean' },
  ]),
  clicks: record('Click', [
    { name: 'click_id', type: 'string' },
    { name: 'phone', type: 'string' },
    { name: 'customer', type: ['null', 'string'], default: null },
    { name: 'at', type: instant },
    { name: 'page', type: 'string' },
    { name: 'seconds', type: 'double' },
  ]),
}

/** Field that is the record key, by stream; the first field is the event id. */
export const SHOP_KEYS: Readonly<Record<ShopStream, string>> = { orders: 'customer', payments: 'card', clicks: 'phone' }
