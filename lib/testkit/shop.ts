/**
 * The shop: SYNTHETIC orders, payments and clicks, the same for the same seed on every machine. What real data do only sometimes
 * (duplicates, disorder, bursts, phones that were offline for hours) it does as often as asked. The events fit the definitions in
 * test/fixtures/shop, in the JSON form that the platform takes over HTTP.
 *
 *   event time    when it happened at the customer's
 *   arrival       when it is sent: later by up to `disorderMs`; a phone's clicks of an offline span all come at its end
 */
import { assert } from '#core/assert.ts'
import { random } from '#core/random.ts'
import type { DurationMs, InstantMs } from '#core/time.ts'

/** Streams of the shop. */
export type ShopStream = 'orders' | 'payments' | 'clicks'

/** Options; all faults are off by default. Shares are 0 to 1. */
export interface ShopOptions {
  readonly seed: number
  /** Events, duplicates not counted. */
  readonly count: number
  /** First event time; default 2025-01-01T00:00Z. */
  readonly startMs?: InstantMs
  /** Mean events per second of event time outside of bursts; default 100. */
  readonly rate?: number
  /** Share of events that are sent a second time, up to a minute after the first. */
  readonly duplicates?: number
  /** Longest delay between event and arrival. */
  readonly disorderMs?: DurationMs
  /** Every `everyMs` the rate is `factor` times as high for `lengthMs`. */
  readonly bursts?: { readonly everyMs: DurationMs; readonly lengthMs: DurationMs; readonly factor: number } | null
  /** Share of the phones that are offline at a time, for `spanMs` (default three hours) each. */
  readonly offline?: { readonly share: number; readonly spanMs?: DurationMs } | null
}

/** An order; `amount` is decimal text with two digits after the point, negative for a refund. */
interface ShopOrder {
  readonly order_id: string
  /** UTC ms. */
  readonly ordered_at: number
  readonly customer: string
  readonly country: string | null
  readonly amount: string
  readonly quantity: number
  readonly channel: string
  readonly gift: boolean | null
}

/** A payment of one of the last hundred orders; `fee` has at most three digits after the point. */
interface ShopPayment {
  readonly payment_id: number
  /** UTC microseconds. */
  readonly paid_at: number
  readonly order_id: string
  readonly card: string
  readonly amount: string
  readonly accepted: boolean
  readonly fee: number | null
}

/** A page view on a phone. */
export interface ShopClick {
  readonly click_id: string
  /** ISO 8601. */
  readonly clicked_at: string
  readonly phone: string
  readonly visitor: number | null
  readonly path: string
  readonly duration_ms: number | null
}

/** An event on its way. */
export type ShopArrival = (
  | { readonly stream: 'orders'; readonly event: ShopOrder }
  | { readonly stream: 'payments'; readonly event: ShopPayment }
  | { readonly stream: 'clicks'; readonly event: ShopClick }
) & {
  readonly eventTime: InstantMs
  readonly arrivalMs: InstantMs
  /** Sent before already. */
  readonly duplicate: boolean
  /** Held back by an offline phone. */
  readonly offline: boolean
}

const PHONES = 200
const CUSTOMERS = 1_000
const PATHS = ['/', '/search', '/sale', '/product/7', '/basket', '/help']
const COUNTRIES = ['DE', 'FR', 'GB', 'US', 'JP', null]
const CHANNELS = ['web', 'app', 'store']
const DEFAULT_START_MS = Date.UTC(2025, 0, 1)
const THREE_HOURS_MS = 10_800_000
const RESENT_WITHIN_MS = 60_000

/** The events in order of arrival, each duplicate after its first. */
export function shopArrivals(options: ShopOptions): readonly ShopArrival[] {
  const { count, disorderMs = 0, duplicates = 0 } = options
  const draw = random(options.seed)
  const below = (bound: number): number => Math.floor(draw() * bound)
  const offlineUntil = offlinePhones(options, draw)
  const orders: ShopOrder[] = []
  const arrivals: ShopArrival[] = []
  let now = options.startMs ?? DEFAULT_START_MS
  for (let i = 0; i < count; i++) {
    now += stepMs(options, now, draw)
    const eventTime = Math.floor(now)
    const kind = draw()
    let drawn: Pick<ShopArrival, 'stream' | 'event'>
    let heldUntil = 0
    if (kind < 0.2) {
      const event = orderOf(i, eventTime, below)
      orders[orders.length < 100 ? orders.length : below(100)] = event
      drawn = { stream: 'orders', event }
    } else if (kind < 0.35 && orders.length > 0) {
      drawn = { stream: 'payments', event: paymentOf(i, eventTime, orders[below(orders.length)]!, below) }
    } else {
      const phone = below(PHONES)
      heldUntil = offlineUntil(phone, now)
      drawn = { stream: 'clicks', event: clickOf(i, eventTime, phone, below) }
    }
    const arrivalMs = Math.max(eventTime + below(disorderMs + 1), heldUntil)
    const arrival = { ...drawn, eventTime, arrivalMs, duplicate: false, offline: heldUntil > 0 } as ShopArrival
    arrivals.push(arrival)
    if (draw() < duplicates)
      arrivals.push({ ...arrival, arrivalMs: arrivalMs + 1 + below(RESENT_WITHIN_MS), duplicate: true })
  }
  return arrivals.sort((a, b) => a.arrivalMs - b.arrivalMs)
}

type Below = (bound: number) => number

/** Cents as decimal text. */
const money = (cents: number): string => (cents / 100).toFixed(2)

const orderOf = (i: number, at: InstantMs, below: Below): ShopOrder => ({
  order_id: `00000000-0000-4000-8000-${i.toString(16).padStart(12, '0')}`,
  ordered_at: at,
  customer: `customer-${below(CUSTOMERS)}`,
  country: COUNTRIES[below(COUNTRIES.length)]!,
  amount: money(below(20) === 0 ? -below(10_000) : below(below(10) === 0 ? 200_000 : 20_000)),
  quantity: below(10),
  channel: CHANNELS[below(CHANNELS.length)]!,
  gift: [true, false, null][below(3)]!,
})

const paymentOf = (i: number, at: InstantMs, order: ShopOrder, below: Below): ShopPayment => ({
  payment_id: i,
  paid_at: at * 1_000 + below(1_000),
  order_id: order.order_id,
  card: `card-${below(CUSTOMERS)}`,
  amount: order.amount,
  accepted: below(20) > 0,
  fee: below(4) === 0 ? null : below(5_000) / 1_000,
})

const clickOf = (i: number, at: InstantMs, phone: number, below: Below): ShopClick => ({
  click_id: `click-${i}`,
  clicked_at: new Date(at).toISOString(),
  phone: `phone-${phone}`,
  visitor: below(2) === 0 ? null : below(CUSTOMERS),
  path: PATHS[below(PATHS.length)]!,
  duration_ms: below(5) === 0 ? null : below(100_000),
})

/** Time to the next event; exponential with the rate of the moment. */
function stepMs({ rate = 100, bursts = null }: ShopOptions, now: number, draw: () => number): number {
  const inBurst = bursts !== null && now % bursts.everyMs < bursts.lengthMs
  return (-Math.log(1 - draw()) * 1_000) / (rate * (inBurst ? bursts.factor : 1))
}

/** End of the offline span that a phone is in, 0 when it is online. Each phone has its own phase, drawn once. */
function offlinePhones({ offline = null }: ShopOptions, draw: () => number): (phone: number, now: number) => number {
  if (offline === null) return () => 0
  const { share, spanMs = THREE_HOURS_MS } = offline
  assert(share > 0 && share <= 1, 'the share of offline phones is above 0 and at most 1')
  const periodMs = spanMs / share
  const phases = Float64Array.from({ length: PHONES }, () => draw() * periodMs)
  return (phone, now) => {
    const into = (now + phases[phone]!) % periodMs
    return into < spanMs ? Math.ceil(now - into + spanMs) : 0
  }
}
