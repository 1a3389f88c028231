import fc from 'fast-check'
import { expect, test } from 'vitest'
import { EVENT_TIME_MAX_MS, EVENT_TIME_MIN_MS } from '#core/time.ts'
import { runs } from '#testkit/runs.ts'
import { parseInstant } from './event-time.ts'

const parse = (text: string): number => {
  const bytes = new TextEncoder().encode(`>>${text}<<`)
  return parseInstant(bytes, 2, bytes.length - 2)
}

test('[T1] every instant that the platform writes is read back, as is its spelling with another offset', () => {
  const instant = fc.integer({ min: EVENT_TIME_MIN_MS + 86_400_000, max: EVENT_TIME_MAX_MS - 86_400_000 })
  const property = fc.property(instant, fc.integer({ min: -1439, max: 1439 }), (ms, minutes) => {
    expect(parse(new Date(ms).toISOString())).toBe(ms)
    const local = new Date(ms + minutes * 60_000).toISOString().slice(0, -1)
    const two = (value: number): string => String(value).padStart(2, '0')
    const offset = `${minutes < 0 ? '-' : '+'}${two(Math.trunc(Math.abs(minutes) / 60))}:${two(Math.abs(minutes) % 60)}`
    expect(parse(local + offset)).toBe(ms)
    expect(parse(local + offset.replace(':', ''))).toBe(ms)
  })
  fc.assert(property, runs(500, 'instants'))
})

test.each([
  ['2026-01-01T00:00Z', Date.UTC(2026, 0, 1)],
  ['2026-01-01 00:00:00z', Date.UTC(2026, 0, 1)],
  ['2026-01-01t00:00:00,5+01', Date.UTC(2025, 11, 31, 23, 0, 0, 500)],
  ['2024-02-29T23:59:59.999999999Z', Date.UTC(2024, 1, 29, 23, 59, 59, 999)],
  ['2026-01-01T00:00:00.0019-00:30', Date.UTC(2026, 0, 1, 0, 30, 0, 1)],
  ['0001-01-01T00:00:00Z', EVENT_TIME_MIN_MS],
  ['9999-12-31T23:59:59.999Z', EVENT_TIME_MAX_MS],
])('[T1] %s is %i', (text, ms) => {
  expect(parse(text)).toBe(ms)
})

test.each([
  '',
  'Z',
  '2026-01-01',
  '2026-01-01T00:00:00',
  '2026-01-01T00:00',
  '2026-01-01T24:00:00Z',
  '2026-01-01T00:60:00Z',
  '2026-01-01T00:00:60Z',
  '2026-02-29T00:00:00Z',
  '1900-02-29T00:00:00Z',
  '2026-00-01T00:00:00Z',
  '2026-13-01T00:00:00Z',
  '2026-04-31T00:00:00Z',
  '2026-01-00T00:00:00Z',
  '2026-01-01T00:00:00.Z',
  '2026-01-01T00:00:00.5',
  '2026-01-01T00:00:0Z',
  '2026-01-01T00:00:Z',
  '2026-01-01T00:00:00+1',
  '2026-01-01T00:00:00+01:0',
  '2026-01-01T00:00:00+24:00',
  '2026-01-01T00:00:00+01:60',
  '2026-01-01T00:00:00+01-00',
  '2026-01-01T00:00:00Zulu',
  '2026/01/01T00:00:00Z',
  '20260101T000000Z......',
  '2026-01-01_00:00:00Z',
  '+2026-01-01T00:00:00Z',
  '1767225600000000000',
  '2026-01-01T00:00:00 Z',
])('[T1] %j is no instant', (text) => {
  expect(parse(text)).toBeNaN()
})
