/**
 * The shop: SYNTHETIC orders, payments and clicks, the same for the same seed on every machine. For tests and benchmarks: what real data do
 * only sometimes (duplicates, disorder, bursts, phones that were offline for hours) it does as often as asked.
 *
 *   event time    when it happened at the customer's, `at`
 *   arrival       when it is sent: later by up to `disorderMs`; a phone's clicks of an offline span all come at its end
 */
import { assert } from '#core/assert.ts'
import { random } from '#core/random.ts'
import type { DurationMs, InstantMs } from '#core/time.ts'
import { serializeKey } from '#format/confluent.ts'
import type { StreamDefinition } from '#metrics/definition.ts'
import { type FeedDeps, openSender, type Sender } from './sender.ts'
import { SHOP_KEYS, type ShopStream } from './shop-schemas.ts'

/** Options; all faults are off by default. Shares are 0 to 1. */
export interface ShopOptions {
  readonly seed: number
  /** Events, duplicates not counted. */
  readonly count: number
  /** First event time; default 2026-01-01T00:00Z. */
  readonly startMs?: InstantMs
  /** Mean events per second of event time; default 100. */
  readonly rate?: number
  /** Share of events that are sent a second time. */
  readonly duplicates?: number
  /** Longest delay between event and arrival. */
  readonly disorderMs?: DurationMs
  /** Every `everyMs` the rate is `factor` times as high for `lengthMs`. */
  readonly bursts?: { readonly everyMs: DurationMs; readonly lengthMs: DurationMs; readonly factor: number } | null
  /** Share of the phones that are offline at a time, for `spanMs` (default three hours) each. */
  readonly offline?: { readonly share: number; readonly spanMs?: DurationMs } | null
}

/** An event on its way, in order of arrival. */
export interface ShopArrival {
  readonly stream: ShopStream
  readonly event: Readonly<Record<string, string | number | boolean | null>>
  readonly arrivalMs: InstantMs
  /** Sent before already. */
  readonly duplicate: boolean
  /** Held back by an offline phone. */
  readonly offline: boolean
}

const PHONES = 200
const CUSTOMERS = 1_000
const PAGES = ['/', '/search', '/product', '/basket', '/checkout', '/help']
const COUNTRIES = ['DE', 'FR', 'GB', 'US', 'JP', null]
const CURRENCIES = ['EUR', 'USD', 'GBP']
const DEFAULT_START_MS = 1_767_225_600_000
const THREE_HOURS_MS = 10_800_000

/** The events, in order of arrival. Memory: what is delayed or held back at a time. */
export function* shopEvents(options: ShopOptions): Generator<ShopArrival, void> {
  const { count, disorderMs = 0, duplicates = 0, offline = null } = options
  const draw = random(options.seed)
  const below = (bound: number): number => Math.floor(draw() * bound)
  const waiting = new Arrivals()
  const orders: { id: string; amount: string }[] = []
  const offlineUntil = offlinePhones(options, draw)
  let now = options.startMs ?? DEFAULT_START_MS

  for (let i = 0; i < count; i++) {
    now += stepMs(options, now, draw)
    yield* waiting.due(now)
    const at = Math.floor(now)
    const kind = draw()
    let stream: ShopStream
    let event: Record<string, string | number | boolean | null>
    let heldUntil = 0
    if (kind < 0.2) {
      stream = 'orders'
      const amount = `${below(500)}.${String(below(100)).padStart(2, '0')}`
      event = {
        order_id: `o-${i}`,
        customer: `c-${below(CUSTOMERS)}`,
        at,
        amount,
        currency: CURRENCIES[below(3)]!,
        items: 1 + below(9),
        country: COUNTRIES[below(COUNTRIES.length)]!,
      }
      orders[i % 100] = { id: `o-${i}`, amount }
    } else if (kind < 0.35) {
      stream = 'payments'
      const order = orders[below(100)] ?? { id: 'o-unknown', amount: '1.00' }
      event = {
        payment_id: `p-${i}`,
        order_id: order.id,
        card: `k-${below(CUSTOMERS)}`,
        at,
        amount: order.amount,
        accepted: draw() < 0.95,
      }
    } else {
      stream = 'clicks'
      const phone = below(PHONES)
      const customer = draw() < 0.5 ? `c-${below(CUSTOMERS)}` : null
      event = {
        click_id: `k-${i}`,
        phone: `phone-${phone}`,
        customer,
        at,
        page: PAGES[below(PAGES.length)]!,
        seconds: below(100_000) / 1_000,
      }
      heldUntil = offline === null ? 0 : offlineUntil(phone, now)
    }
    const arrivalMs = Math.max(at + (disorderMs === 0 ? 0 : below(disorderMs + 1)), heldUntil)
    const arrival = { stream, event, arrivalMs, duplicate: false, offline: heldUntil > 0 }
    waiting.add(arrival)
    if (draw() < duplicates) waiting.add({ ...arrival, arrivalMs: arrivalMs + 1 + below(60_000), duplicate: true })
  }
  yield* waiting.due(Number.POSITIVE_INFINITY)
}

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

/** A heap of arrivals by time; equal times in order of adding. */
class Arrivals {
  readonly #heap: { readonly arrival: ShopArrival; readonly order: number }[] = []
  #added = 0

  add(arrival: ShopArrival): void {
    const heap = this.#heap
    heap.push({ arrival, order: this.#added++ })
    for (let at = heap.length - 1; at > 0; ) {
      const parent = (at - 1) >> 1
      if (!this.#before(at, parent)) break
      this.#swap(at, parent)
      at = parent
    }
  }

  /** Takes what arrives at or before `now`. */
  *due(now: number): Generator<ShopArrival, void> {
    const heap = this.#heap
    while (heap.length > 0 && heap[0]!.arrival.arrivalMs <= now) {
      yield heap[0]!.arrival
      const last = heap.pop()!
      if (heap.length === 0) continue
      heap[0] = last
      for (let at = 0; ; ) {
        const left = 2 * at + 1
        if (left >= heap.length) break
        const least = left + 1 < heap.length && this.#before(left + 1, left) ? left + 1 : left
        if (!this.#before(least, at)) break
        this.#swap(least, at)
        at = least
      }
    }
  }

  #before(a: number, b: number): boolean {
    const [x, y] = [this.#heap[a]!, this.#heap[b]!]
    return (
      x.arrival.arrivalMs < y.arrival.arrivalMs || (x.arrival.arrivalMs === y.arrival.arrivalMs && x.order < y.order)
    )
  }

  #swap(a: number, b: number): void {
    ;[this.#heap[a], this.#heap[b]] = [this.#heap[b]!, this.#heap[a]!]
  }
}

/** Sends the shop's events of the streams that are given, in order of arrival, as fast as the log takes them. Returns how many per stream. */
export async function feedShop(
  deps: FeedDeps & { readonly streams: readonly StreamDefinition[] },
  options: ShopOptions & { readonly signal?: AbortSignal },
): Promise<Readonly<Record<ShopStream, number>>> {
  const sent: Record<ShopStream, number> = { orders: 0, payments: 0, clicks: 0 }
  const senders = new Map<string, Sender>()
  for (const stream of deps.streams) senders.set(stream.name, await openSender(deps, stream, options.signal))
  for (const { stream, event } of shopEvents(options)) {
    const sender = senders.get(stream)
    if (sender === undefined) continue
    sender.add(event, serializeKey(event[SHOP_KEYS[stream]] as string, 'string'))
    sent[stream]++
    if (sender.isFull) await sender.flush()
    if (options.signal?.aborted === true) break
  }
  for (const sender of senders.values()) await sender.drain()
  return sent
}
