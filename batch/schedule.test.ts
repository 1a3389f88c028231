import { expect, test } from 'vitest'
import { missedRun } from './schedule.ts'

const HOUR = 3_600_000
const at = (text: string) => Date.parse(text)

test('[B1] a run that a lost queue forgot is found after the grace, and only when something was built before', () => {
  const nightly = { pattern: '0 2 * * *', zone: 'UTC' }
  const due = at('2026-03-03T02:00:00Z')
  const state = { lastBuiltMs: due - HOUR, nowMs: due + HOUR, graceMs: 300_000 }
  expect(missedRun(nightly, state)).toBe(due)
  expect(missedRun(nightly, { ...state, nowMs: due + 299_999 })).toBeNull()
  expect(missedRun(nightly, { ...state, nowMs: due + 300_000 })).toBe(due)
  expect(missedRun(nightly, { ...state, lastBuiltMs: due + 1 })).toBeNull()
  expect(missedRun(nightly, { ...state, lastBuiltMs: null })).toBeNull()
})
