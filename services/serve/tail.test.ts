import { expect, test } from 'vitest'
import { encodeBatch } from '#format/record-batch.ts'
import { systemClock } from '#io/clock.ts'
import { PARTIAL_HEADER } from '#schemas/partials.ts'
import { createMemoryLog } from '#testkit/log-memory.ts'
import { Tail } from './tail.ts'

test('a tail begins where it is told, or at the start of retention when that lies behind', async () => {
  const log = createMemoryLog({ clock: systemClock })
  await log.createTopics([{ topic: 'live.m', partitions: 2, retentionMs: null, cleanup: 'delete' }])
  for (let i = 0; i < 3; i++) {
    for (const partition of [0, 1]) {
      const header = Buffer.from(JSON.stringify({ partition, next: i }))
      await log.append(
        'live.m',
        partition,
        encodeBatch([{ key: null, value: Buffer.of(i), headers: [[PARTIAL_HEADER, header]] }], 0),
      )
    }
  }
  log.truncateBelow('live.m', 1, 1)
  // Anybody may write to the topic; what has no tags that can be read is passed over.
  const foreign = [[], [[PARTIAL_HEADER, Buffer.from('{')]]] as const
  await log.append(
    'live.m',
    0,
    encodeBatch(
      foreign.map((headers) => ({ key: null, value: Buffer.of(9), headers })),
      0,
    ),
  )
  const seen: string[] = []
  const troubles: Error[] = []
  const stop = new AbortController()
  const tail = new Tail({
    log,
    clock: systemClock,
    topic: 'live.m',
    signal: stop.signal,
    from: new Map([
      [0, 2],
      [1, 0],
    ]),
    onRecord: ({ partition, next }) => seen.push(`${partition}/${next}`),
    onTrouble: (error) => void troubles.push(error),
  })
  while (!tail.caughtUp) await systemClock.sleep(2)
  stop.abort()
  await tail.done
  expect(seen.sort()).toEqual(['0/2', '1/1', '1/2'])
  expect(troubles).toEqual([])
})
