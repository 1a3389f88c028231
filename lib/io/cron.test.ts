import { expect, test } from 'vitest'
import { lastRun, nextRun } from './cron.ts'

const at = (text: string) => Date.parse(text)

test('[B1] the nightly run comes once per local day, also on days of 23 and 25 hours', () => {
  for (const zone of ['Europe/London', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kolkata', 'Africa/Cairo']) {
    for (const pattern of ['0 2 * * *', '30 1 * * *', '0 0 * * *']) {
      const days = new Map<string, number>()
      const local = new Intl.DateTimeFormat('en-CA', { timeZone: zone, dateStyle: 'short' })
      const end = at('2027-01-01T12:00:00Z')
      for (
        let now = nextRun({ pattern, zone }, at('2026-01-01T12:00:00Z'));
        now < end;
        now = nextRun({ pattern, zone }, now)
      ) {
        const day = local.format(now)
        days.set(day, (days.get(day) ?? 0) + 1)
      }
      expect([zone, pattern, days.size, [...days].filter(([, runs]) => runs !== 1)]).toEqual([zone, pattern, 365, []])
    }
  }
})

test('[B1] a run is due at the local time of its zone, in summer as in winter', () => {
  const london = { pattern: '0 2 * * *', zone: 'Europe/London' }
  expect(nextRun(london, at('2026-01-10T00:00:00Z'))).toBe(at('2026-01-10T02:00:00Z'))
  expect(nextRun(london, at('2026-07-10T00:00:00Z'))).toBe(at('2026-07-10T01:00:00Z'))
  expect(lastRun(london, at('2026-07-10T00:59:59.999Z'))).toBe(at('2026-07-09T01:00:00Z'))
  expect(lastRun(london, at('2026-07-10T01:00:00Z'))).toBe(at('2026-07-10T01:00:00Z'))
  expect(() => nextRun({ pattern: '0 2 * * *', zone: 'Europe/Atlantis' }, 0)).toThrow(
    expect.objectContaining({ code: 'CONFIG_INVALID' }),
  )
  expect(() => nextRun({ pattern: 'nightly', zone: 'UTC' }, 0)).toThrow(
    expect.objectContaining({ code: 'CONFIG_INVALID' }),
  )
})
