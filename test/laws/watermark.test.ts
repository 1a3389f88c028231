/** Watermarks, epochs and cuts: monotone, a function of records, decided by ids that only grow (law 7). */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ACCEPTED, admit, QUARANTINED } from '#core/admission.ts'
import { cutOffsets, isAccepted } from '#core/barrier.ts'
import { floorTo, NO_WATERMARK, parseDuration } from '#core/time.ts'
import { foldWatermark, newPartitionClock, openEpoch } from '#core/watermark.ts'
import { chunkOf } from '#testkit/chunks.ts'
import { runs } from '#testkit/runs.ts'

test('[T3] the watermark is the running maximum minus the disorder bound, seen just before each row; future rows do not move it', () => {
  const clock = newPartitionClock()
  const chunk = chunkOf(
    [],
    [100, 90, 1_011, 1_010, 120].map((eventTime) => ({ eventTime, cells: [] })),
    { arrivalMs: 1_000 },
  )
  const verdicts = new Uint8Array(5)
  const watermarks = new Float64Array(5)
  expect(admit(chunk, clock, { disorderMs: 30, futureToleranceMs: 10 }, verdicts, watermarks)).toBe(1)
  expect([...verdicts]).toEqual([ACCEPTED, ACCEPTED, QUARANTINED, ACCEPTED, ACCEPTED])
  expect([...watermarks]).toEqual([NO_WATERMARK, 70, 70, 70, 980])
  expect(clock).toMatchObject({ watermark: 980, events: 4 })
})

test('any division into chunks moves the clock alike and it never goes back', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: -50, max: 50 }), { maxLength: 40 }),
      fc.integer({ min: 1, max: 9 }),
      (times, size) => {
        const judge = (step: number) => {
          const clock = newPartitionClock()
          const seen: number[] = []
          for (let at = 0; at < times.length; at += step) {
            const part = times.slice(at, at + step)
            const watermarks = new Float64Array(part.length)
            admit(
              chunkOf(
                [],
                part.map((eventTime) => ({ eventTime, cells: [] })),
              ),
              clock,
              { disorderMs: 5, futureToleranceMs: null },
              new Uint8Array(part.length),
              watermarks,
            )
            seen.push(...watermarks)
          }
          return { clock, seen }
        }
        const whole = judge(40)
        expect(judge(size)).toEqual(whole)
        for (let i = 1; i < whole.seen.length; i++) expect(whole.seen[i]!).toBeGreaterThanOrEqual(whole.seen[i - 1]!)
      },
    ),
    runs(200, 'watermark'),
  )
})

test('[T2] an idle partition is left out; when all are idle the watermark moves on by the time between the barriers, never back', () => {
  const idle = { watermark: 10, events: 0 }
  expect(foldWatermark(0, [idle, { watermark: 500, events: 3 }], 60)).toBe(500)
  expect(foldWatermark(500, [idle, idle], 60)).toBe(560)
  expect(foldWatermark(560, [{ watermark: 200, events: 1 }], 60)).toBe(560)
  expect(foldWatermark(NO_WATERMARK, [idle], 60)).toBe(NO_WATERMARK)
})

test('a barrier is accepted only with a greater id; a cut stands for one offset per partition or does not exist', () => {
  expect([isAccepted(0, 1), isAccepted(7, 7), isAccepted(7, 6), isAccepted(7, 9)]).toEqual([true, false, false, true])
  const clock = newPartitionClock()
  openEpoch(clock, { id: 7, createdMs: 5 }, 3)
  expect(clock).toMatchObject({ epoch: 7, epochFirst: 4, openedMs: 5, events: 0 })
  expect(() => openEpoch(clock, { id: 7, createdMs: 5 }, 9)).toThrow(/only grow/)
  expect(cutOffsets(7, 2, [new Map([[7, 3]]), new Map([[7, 9]])])).toEqual([4, 10])
  expect(cutOffsets(8, 2, [new Map([[8, 5]]), new Map([[7, 9]])])).toBeNull()
  expect(cutOffsets(7, 1, [new Map([[7, 3]]), new Map()])).toEqual([4, 0])
})

test('floors and durations, negative times included', () => {
  expect([floorTo(-1, 60), floorTo(-60, 60), floorTo(59, 60), floorTo(60, 60)]).toEqual([-60, -60, 0, 60])
  expect([
    parseDuration('15m'),
    parseDuration('0s'),
    parseDuration('1.5h'),
    parseDuration('-1s'),
    parseDuration('5'),
  ]).toEqual([900_000, 0, null, null, null])
})
