/** Finality at its boundaries, to the millisecond. */
import { describe, expect, it } from 'vitest'
import { finalityOf, reaches } from './finality.ts'

const facts = { until: 1_000, allowedLatenessMs: 100, watermark: 1_100, viewWatermark: 1_100, late: 0, speed: false }

describe('finality', () => {
  it('[T3] a window is provisional up to the millisecond before its close', () => {
    expect(finalityOf({ ...facts, watermark: 1_099 })).toBe('provisional')
    expect(finalityOf({ ...facts, watermark: 1_099, late: 1 })).toBe('provisional')
    expect(finalityOf({ ...facts, watermark: 1_100 })).toBe('confirmed')
  })

  it('[Q2] closed without a view that has seen the close, or with a speed share; restated by a late event', () => {
    expect(finalityOf({ ...facts, viewWatermark: 1_099 })).toBe('closed')
    expect(finalityOf({ ...facts, viewWatermark: Number.NEGATIVE_INFINITY })).toBe('closed')
    expect(finalityOf({ ...facts, speed: true })).toBe('closed')
    expect(finalityOf({ ...facts, speed: true, late: 1 })).toBe('restated')
    expect(finalityOf({ ...facts, late: 1 })).toBe('restated')
  })

  it('[Q2] min_finality is in the order provisional, closed, confirmed, restated', () => {
    expect(reaches('restated', 'confirmed')).toBe(true)
    expect(reaches('closed', 'confirmed')).toBe(false)
    expect(reaches('provisional', 'provisional')).toBe(true)
  })
})
