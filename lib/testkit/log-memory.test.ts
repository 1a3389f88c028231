/** Goal: the memory log keeps the port’s promises, and its faults happen when asked. Method: the conformance suite, then each fault. */
import { describe, expect, it } from 'vitest'
import { systemClock } from '#io/clock.ts'
import { OperatingError } from '#io/errors.ts'
import { createVirtualClock } from './clock-virtual.ts'
import { labelledBatch } from './labelled-batch.ts'
import { describeEventLog, readRecords, recordsOf, valuesOf } from './log-conformance.ts'
import { type AppendFault, createMemoryLog } from './log-memory.ts'
import { SEED } from './runs.ts'

describeEventLog('memory', async () => ({ log: createMemoryLog({ clock: systemClock }), dispose: async () => {} }))
describeEventLog('memory, seeded fetch sizes', async () => ({
  log: createMemoryLog({ clock: systemClock, seed: SEED }),
  dispose: async () => {},
}))

const SPEC = { topic: 't', partitions: 1, retentionMs: null, cleanup: 'delete' } as const
const FETCH = { maxWaitMs: 0, maxBytes: 1 << 20 }

describe('faults of the memory log', () => {
  it.each<[AppendFault, string, number]>([
    [{ kind: 'refused' }, 'LOG_UNREACHABLE', 0],
    [{ kind: 'lost' }, 'LOG_APPEND_UNKNOWN', 0],
    [{ kind: 'ack-lost' }, 'LOG_APPEND_UNKNOWN', 1],
    [{ kind: 'late', delayMs: 100 }, 'LOG_APPEND_UNKNOWN', 0],
  ])('%o gives its error and leaves its mark on the log', async (fault, code, end) => {
    const log = createMemoryLog({
      clock: createVirtualClock(),
      faults: { onAppend: ({ attempt }) => (attempt === 0 ? fault : null) },
    })
    await log.createTopics([SPEC])
    await expect(log.append('t', 0, labelledBatch('a', 1))).rejects.toMatchObject({ code })
    expect(await log.endOffsets('t')).toEqual([end])
    expect(log.fired[fault.kind]).toBe(1)
    expect((await log.append('t', 0, labelledBatch('b', 1))).baseOffset).toBe(end)
  })

  it('brings a late append after what was appended meanwhile', async () => {
    const clock = createVirtualClock()
    const log = createMemoryLog({
      clock,
      faults: { onAppend: ({ attempt }) => (attempt === 0 ? { kind: 'late', delayMs: 100 } : null) },
    })
    await log.createTopics([SPEC])
    await expect(log.append('t', 0, labelledBatch('late', 1))).rejects.toThrow()
    await log.append('t', 0, labelledBatch('other', 1))
    await clock.advance(100)
    const reader = await log.open('t', [{ partition: 0, offset: 0 }])
    expect(valuesOf(recordsOf(await reader.poll(FETCH)))).toEqual(['other-0', 'late-0'])
  })

  it('refuses positions that retention or truncation took away, and knows a topic made anew', async () => {
    const log = createMemoryLog({ clock: createVirtualClock() })
    await log.createTopics([SPEC])
    for (const label of ['a', 'b', 'c']) await log.append('t', 0, labelledBatch(label, 2))
    log.truncateBelow('t', 0, 3)
    expect(await log.startOffsets('t')).toEqual([2])
    const below = await log.open('t', [{ partition: 0, offset: 1 }])
    await expect(below.poll(FETCH)).rejects.toMatchObject({ code: 'DATA_LOSS_SUSPECTED' })
    const reader = await log.open('t', [{ partition: 0, offset: 6 }])
    log.truncateFrom('t', 0, 5)
    await expect(reader.poll(FETCH)).rejects.toMatchObject({ code: 'DATA_LOSS_SUSPECTED' })
    const before = await log.describeTopic('t')
    log.recreate('t')
    expect(await log.describeTopic('t')).not.toEqual(before)
    expect(await log.endOffsets('t')).toEqual([0])
  })

  it('throws an injected poll error without moving the position', async () => {
    const log = createMemoryLog({
      clock: systemClock,
      faults: { onPoll: ({ attempt }) => (attempt === 0 ? new OperatingError('LOG_UNREACHABLE', 'injected') : null) },
    })
    await log.createTopics([SPEC])
    await log.append('t', 0, labelledBatch('a', 3))
    const reader = await log.open('t', [{ partition: 0, offset: 1 }])
    await expect(reader.poll(FETCH)).rejects.toMatchObject({ code: 'LOG_UNREACHABLE' })
    expect(valuesOf(await readRecords(reader, 2, new Map([[0, 1]])))).toEqual(['a-1', 'a-2'])
    expect(log.fired.poll).toBe(1)
  })

  it('cuts fetches at other places for another seed', async () => {
    const sizes = async (seed: number): Promise<number[]> => {
      const log = createMemoryLog({ clock: systemClock, seed })
      await log.createTopics([SPEC])
      for (let i = 0; i < 30; i++) await log.append('t', 0, labelledBatch(`s${i}`, 1))
      const reader = await log.open('t', [{ partition: 0, offset: 0 }])
      const out: number[] = []
      for (let n = 0; n < 30; ) n += out[out.push((await reader.poll(FETCH)).length) - 1]!
      return out
    }
    expect(await sizes(1)).toEqual(await sizes(1))
    expect(await sizes(1)).not.toEqual(await sizes(2))
  })
})
