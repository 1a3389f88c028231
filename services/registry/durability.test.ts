/**
 * The registry on a log that loses appends or acknowledgements, refuses, lost records, or holds what binds a known id anew.
 * Method: faults as inputs of the log in memory.
 */
import { describe, expect, it } from 'vitest'
import { encodeBatch } from '#format/record-batch.ts'
import { systemClock } from '#io/clock.ts'
import { SCHEMAS_TOPIC } from '#schemas/topics.ts'
import type { MemoryLog } from '#testkit/log-memory.ts'
import { memoryLog, ok, record, recordsOf, refused, type Served, serve as serveBy } from '#testkit/registry-served.ts'
import { encodeSchema } from './records.ts'
import { startRegistry } from './start.ts'

const serve = (log?: MemoryLog): Promise<Served> => serveBy(startRegistry, log)

const A = record({ name: 'a', type: 'int' })
const AB = record({ name: 'a', type: 'int' }, { name: 'b', type: 'int', default: 0 })

describe('lost acknowledgements', () => {
  it('[D1] an append that happened is found and not repeated', async () => {
    const log = memoryLog((attempt) => (attempt === 0 ? { kind: 'ack-lost' } : null))
    const { register } = await serve(log)
    expect(await register('s', A)).toMatchObject(ok({ id: 1 }))
    expect(log.fired['ack-lost']).toBe(1)
    expect((await recordsOf(log)).length).toBe(1)
  })

  it('[D1] an append that did not happen is made again', async () => {
    const log = memoryLog((attempt) => (attempt < 2 ? { kind: 'lost' } : null))
    const { register } = await serve(log)
    expect(await register('s', A)).toMatchObject(ok({ id: 1 }))
    expect(log.fired.lost).toBe(2)
    expect((await recordsOf(log)).length).toBe(1)
  })

  it('[D1] a deletion whose acknowledgement was lost answers as the deletion, not as a second one', async () => {
    const log = memoryLog((attempt) => (attempt === 1 ? { kind: 'ack-lost' } : null))
    const { ask, register } = await serve(log)
    await register('s', A)
    expect(await ask('DELETE', '/subjects/s')).toEqual(ok([1]))
    expect(log.fired['ack-lost']).toBe(1)
  })

  it('[D1] numbers of an append given up on are not given to another schema, and when it comes late both stand', async () => {
    let arrive = (): void => undefined
    const arrival = new Promise<void>((resolve) => (arrive = resolve))
    const delayMs = 1e9
    const log = memoryLog(
      (attempt) => (attempt === 0 ? { kind: 'late', delayMs } : attempt < 3 ? { kind: 'lost' } : null),
      { ...systemClock, sleep: (ms, signal) => (ms === delayMs ? arrival : systemClock.sleep(ms, signal)) },
    )
    const { ask, register } = await serve(log)
    const given = await register('s', A)
    expect(given).toEqual(refused(50002, 'Operation timed out: the write may or may not have happened'))
    expect(await register('s', AB)).toMatchObject(ok({ id: 2 }))
    arrive()
    await expect.poll(async () => (await log.endOffsets(SCHEMAS_TOPIC))[0], { timeout: 60_000 }).toBe(2)
    expect(await ask('GET', '/readyz')).toEqual(ok({ status: 'ready' }))
    expect(await ask('GET', '/subjects/s/versions')).toEqual(ok([1, 2]))
    expect(await ask('GET', '/schemas/ids/1')).toMatchObject(ok({ schema: JSON.stringify(A) }))
    expect(await ask('GET', '/schemas/ids/2')).toMatchObject(ok({ schema: JSON.stringify(AB) }))
  })

  it('[R5] a log that refuses is a 500, and the next request finds everything in order', async () => {
    const log = memoryLog((attempt) => (attempt === 0 ? { kind: 'refused' } : null))
    const { register, logged } = await serve(log)
    expect(await register('s', A)).toEqual(refused(50001, 'Error in the backend data store: LOG_UNREACHABLE'))
    expect(logged).toEqual(['registry request failed'])
    expect((await register('s', A)).status).toBe(200)
  })

  it('[R5] a log that lost records makes the registry unready, and unknown ids are then no 404', async () => {
    const log = memoryLog()
    const { ask, register } = await serve(log)
    await register('s', A)
    log.truncateFrom(SCHEMAS_TOPIC, 0, 0)
    expect(await ask('GET', '/readyz')).toEqual({
      status: 503,
      body: { status: 'unready', code: 'DATA_LOSS_SUSPECTED' },
    })
    expect(await ask('GET', '/schemas/ids/9')).toEqual(
      refused(50001, 'Error in the backend data store: DATA_LOSS_SUSPECTED'),
    )
    expect(await ask('GET', '/schemas/ids/1')).toMatchObject(ok({ schema: JSON.stringify(A) }))
  })

  it('[R3] a record that binds a known id to another schema is passed over', async () => {
    const log = memoryLog()
    const { ask, register, logged } = await serve(log)
    await register('s', A)
    const rogue = encodeSchema({ subject: 'z', version: 1, id: 1, schema: '"int"', deleted: false })
    await log.append(SCHEMAS_TOPIC, 0, encodeBatch([rogue], 0))
    expect(await ask('GET', '/subjects/z/versions')).toEqual(refused(40401, "Subject 'z' not found."))
    expect(await ask('GET', '/schemas/ids/1')).toMatchObject(ok({ schema: JSON.stringify(A) }))
    expect(logged).toEqual(['record binds a known id or version to another schema; passed over'])
  })
})
