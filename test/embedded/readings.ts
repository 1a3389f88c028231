/** Events of the fixture `readings`, which has a field of every kind. */

/** 2024-03-01T10:00:00Z: the base of the suite's event times. */
export const BASE_MS = Date.UTC(2024, 2, 1, 10)
const MINUTE_MS = 60_000

/** A good reading at a minute after the base; `over` replaces fields. */
export const reading = (minute: number, over: Readonly<Record<string, unknown>> = {}) => ({
  name: 'a',
  at: BASE_MS + minute * MINUTE_MS,
  count: 1,
  total: 1,
  ratio: 0.5,
  share: 0.25,
  valid: true,
  colour: 'RED',
  price: '1.50',
  weight: '0.125',
  raw: 'ÿ',
  digest: '\u0000\u0001\u0002\u0003',
  note: null,
  ...over,
})
