/** The oracle's rules on logs small enough to check by eye. */
import { expect, test } from 'vitest'
import { judge, type OracleEvent, type OracleMetric, presented, recompute } from './oracle.ts'

const event = (
  offset: number,
  epoch: number,
  eventTime: number,
  id: string | null,
  rest: Partial<OracleEvent> = {},
): OracleEvent => ({
  partition: 0,
  offset,
  epoch,
  arrivalMs: 1000,
  eventTime,
  id,
  row: { v: BigInt(eventTime) },
  ...rest,
})
const policy = { disorderMs: 10, futureToleranceMs: 100, dedupHorizonEpochs: 2 }

test('[S5] an id is a duplicate within the horizon of epochs, in its own partition only', () => {
  const log = [
    event(0, 0, 5, 'a'),
    event(1, 1, 5, 'a'),
    event(2, 3, 5, 'a'),
    event(3, 5, 5, 'a'),
    event(4, 5, 5, null),
    event(5, 5, 5, null),
    event(0, 5, 5, 'a', { partition: 1 }),
  ]
  // Epochs 0 → 1: within 2. 1 → 3 and 3 → 5: exactly the horizon apart, so the id is forgotten.
  expect(judge(log, policy).map(({ verdict }) => verdict)).toEqual([
    'accepted',
    'duplicate',
    'accepted',
    'accepted',
    'accepted',
    'accepted',
    'accepted',
  ])
})

test('[T2] [T6] the watermark is what came before, less the disorder bound; future events are set aside and do not move it', () => {
  const log = [event(0, 0, 50, 'a'), event(1, 0, 1100, 'b'), event(2, 0, 1101, 'c'), event(3, 0, 40, 'd')]
  expect(judge(log, policy).map(({ verdict, watermark }) => [verdict, watermark])).toEqual([
    ['accepted', null],
    ['accepted', 40],
    ['quarantined', 1090],
    ['accepted', 1090],
  ])
})

test('[T3] an event is late from the millisecond at which its window closes', () => {
  const metric: OracleMetric = {
    sizeMs: 60,
    allowedLatenessMs: 5,
    dimensions: [],
    measures: { n: { kind: 'count' }, a: { kind: 'avg', value: ({ v }) => v! } },
  }
  const late = (newest: number) =>
    recompute(judge([event(0, 0, newest, null), event(1, 0, 0, null)], policy), metric)[0]!.late
  expect([late(74), late(75)]).toEqual([0, 1])
  const [cell] = recompute(judge([event(0, 0, -1, null), event(1, 0, -4, null)], policy), metric)
  expect(cell!.windowFrom).toBe(-60)
  expect(presented(cell!, metric)).toEqual({ n: 2, a: -2.5 })
})
