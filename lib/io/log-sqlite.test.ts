/**
 * The embedded log: the port's conformance, then what is its own: threads, the process lock, retention, restarts.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Worker } from 'node:worker_threads'
import { afterAll, describe, expect, it } from 'vitest'
import { systemClock } from '#io/clock.ts'
import { createVirtualClock } from '#testkit/clock-virtual.ts'
import { labelledBatch } from '#testkit/labelled-batch.ts'
import { describeEventLog, readRecords, valuesOf } from '#testkit/log-conformance.ts'
import { openSqliteLog, type SqliteLog, type SqliteLogOptions } from './log-sqlite.ts'

const directories: string[] = []
function newDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-log-'))
  directories.push(directory)
  return directory
}
afterAll(() => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true })
})

const open = (options: Partial<SqliteLogOptions> = {}): Promise<SqliteLog> =>
  openSqliteLog({ directory: newDirectory(), clock: systemClock, durability: 'os', lock: true, ...options })
const topicOf = (topic: string, retentionMs: number | null = null, cleanup: 'delete' | 'compact' = 'delete') =>
  ({ topic, partitions: 2, retentionMs, cleanup }) as const
const FETCH = { maxWaitMs: 0, maxBytes: 1 << 20 }

for (const durability of ['os', 'fsync'] as const) {
  describeEventLog(`sqlite, ${durability}`, async () => {
    const log = await open({ durability })
    return { log, dispose: () => log.close() }
  })
}

describe('embedded log', () => {
  it('[S1] holds after a restart what it acknowledged, and goes on with the next offset', async () => {
    const directory = newDirectory()
    const first = await open({ directory })
    await first.createTopics([topicOf('t')])
    await first.append('t', 0, labelledBatch('a', 3))
    await first.storePositions('o', 't', new Map([[0, 2]]))
    const before = await first.describeTopic('t')
    await first.close()
    const second = await open({ directory })
    expect((await second.append('t', 0, labelledBatch('b', 1))).baseOffset).toBe(3)
    expect(await second.describeTopic('t')).toEqual(before)
    expect(await second.loadPositions('o', 't')).toEqual(new Map([[0, 2]]))
    const reader = await second.open('t', [{ partition: 0, offset: 0 }])
    expect(valuesOf(await readRecords(reader, 4))).toEqual(['a-0', 'a-1', 'a-2', 'b-0'])
    await second.close()
  })

  it('deletes by arrival time, whole batches, oldest first, and then refuses the lost positions', async () => {
    const clock = createVirtualClock()
    const log = await open({ clock })
    await log.createTopics([topicOf('t', 60_000), topicOf('kept'), topicOf('compacted', 60_000, 'compact')])
    for (const topic of ['t', 'kept', 'compacted']) {
      for (let i = 0; i < 600; i++) void log.append(topic, 0, labelledBatch(`old${i}`, 2))
    }
    await log.append('t', 1, labelledBatch('old', 1))
    await clock.advance(50_000)
    await log.append('t', 0, labelledBatch('new', 2))
    await clock.advance(20_000)
    expect(await log.sweep()).toBe(601)
    expect(await log.sweep()).toBe(0)
    expect(await log.startOffsets('t')).toEqual([1_200, 1])
    expect(await log.endOffsets('t')).toEqual([1_202, 1])
    expect(await log.startOffsets('kept')).toEqual([0, 0])
    expect(await log.startOffsets('compacted')).toEqual([0, 0])
    const below = await log.open('t', [{ partition: 0, offset: 1_199 }])
    await expect(below.poll(FETCH)).rejects.toMatchObject({ code: 'DATA_LOSS_SUSPECTED' })
    const reader = await log.open('t', [{ partition: 0, offset: 1_200 }])
    expect(valuesOf(await readRecords(reader, 2, new Map([[0, 1_200]])))).toEqual(['new-0', 'new-1'])
    expect((await log.append('t', 1, labelledBatch('next', 1))).baseOffset).toBe(1)
    await log.close()
  })

  it('keeps arrival times from going back when the wall clock does', async () => {
    const clock = createVirtualClock()
    const log = await open({ clock })
    await log.createTopics([topicOf('t')])
    const { arrivalMs } = await log.append('t', 0, labelledBatch('a', 1))
    clock.jumpWall(-3_600_000)
    expect((await log.append('t', 0, labelledBatch('b', 1))).arrivalMs).toBe(arrivalMs)
    await log.close()
  })

  it('sees a hole in the file instead of jumping over it', async () => {
    const directory = newDirectory()
    const log = await open({ directory })
    await log.createTopics([topicOf('t')])
    for (const label of ['a', 'b', 'c']) await log.append('t', 0, labelledBatch(label, 2))
    const surgeon = new DatabaseSync(join(directory, 'log.sqlite'))
    surgeon.exec('DELETE FROM batches WHERE base_offset = 2')
    surgeon.close()
    const reader = await log.open('t', [{ partition: 0, offset: 0 }])
    await expect(reader.poll(FETCH)).rejects.toMatchObject({ code: 'DATA_LOSS_SUSPECTED' })
    const inside = await log.open('t', [{ partition: 0, offset: 3 }])
    await expect(inside.poll(FETCH)).rejects.toMatchObject({ code: 'DATA_LOSS_SUSPECTED' })
    await log.close()
  })

  it('refuses a second process and a second owner, and is free again once closed', async () => {
    const directory = newDirectory()
    const log = await open({ directory })
    await expect(open({ directory })).rejects.toMatchObject({ code: 'LOG_LOCKED', context: { pid: process.pid } })
    const other = (): string => {
      const script = `
        const { openSqliteLog } = await import(${JSON.stringify(new URL('./log-sqlite.ts', import.meta.url).href)})
        const { systemClock } = await import(${JSON.stringify(new URL('./clock.ts', import.meta.url).href)})
        try {
          const log = await openSqliteLog({ directory: ${JSON.stringify(directory)}, clock: systemClock, durability: 'os', lock: true })
          await log.close()
          console.log('opened')
        } catch (error) { console.log(error.code) }`
      return spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' }).stdout.trim()
    }
    expect(other()).toBe('LOG_LOCKED')
    await log.close()
    expect(other()).toBe('opened')
  })

  it('is written and read by several threads at once; readers wake across threads', async () => {
    const directory = newDirectory()
    const log = await open({ directory })
    await log.createTopics([topicOf('t')])
    const reader = await log.open('t', [
      { partition: 0, offset: 0 },
      { partition: 1, offset: 0 },
    ])
    const worker = new URL('../testkit/log-writer-thread.ts', import.meta.url)
    const threads = [0, 1].map((partition) => {
      const workerData = { directory, topic: 't', partition, batches: 100 }
      return new Promise<void>((resolve, reject) => {
        const thread = new Worker(worker, { workerData })
        thread.once('error', reject)
        thread.once('exit', () => resolve())
      })
    })
    const own = Array.from({ length: 100 }, (_, i) => log.append('t', i % 2, labelledBatch('main', 1)))
    const records = await readRecords(reader, 500)
    await Promise.all([...threads, ...own])
    expect(records).toHaveLength(500)
    expect(await log.endOffsets('t')).toEqual([250, 250])
    for (const partition of [0, 1]) {
      const mine = records.filter((one) => one.partition === partition)
      expect(mine.map(({ record }) => record.offset)).toEqual(mine.map((_, i) => i))
      const values = valuesOf(mine).filter((value) => value!.startsWith('thread'))
      expect(values).toEqual(Array.from({ length: 100 }, (_, i) => [`thread${i}-0`, `thread${i}-1`]).flat())
    }
    await log.close()
  })
})
