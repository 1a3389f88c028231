import { readFileSync } from 'node:fs'
import avro from 'avsc'
import { expect, test } from 'vitest'
import { BARRIER_HEADER } from '#schemas/topics.ts'
import { encodeBarrier, readBarrier } from './barrier.ts'
import { openBatch, readRecord } from './record-batch.ts'

const barrier = { stream: 'flights', id: 17, partitions: 4, createdMs: 1_700_000_000_123, demand: true }

function recordOf(batch: Uint8Array) {
  const opened = openBatch(batch, 0)
  if ('dead' in opened) throw new Error(opened.dead)
  return readRecord(opened.cursor)!
}

test('a barrier reads back, and any Avro consumer reads it by the registered schema', () => {
  const record = recordOf(encodeBarrier(barrier, 9))
  expect(readBarrier(record)).toEqual(barrier)
  const type = avro.Type.forSchema(
    JSON.parse(readFileSync(new URL('../../schemas/barrier.avsc', import.meta.url), 'utf8')),
  )
  expect(type.fromBuffer(Buffer.from(record.value!.subarray(5)))).toMatchObject({
    stream: 'flights',
    id: 17,
    partitions: 4,
    demand: true,
  })
})

test('forged and damaged barriers are no barriers', () => {
  const { value } = recordOf(encodeBarrier(barrier, 9))
  const header = (text: string) => [[BARRIER_HEADER, Buffer.from(text)] as const]
  expect(readBarrier({ value, headers: header('18') })).toBeNull()
  expect(readBarrier({ value: null, headers: header('17') })).toBeNull()
  expect(readBarrier({ value, headers: [] })).toBeNull()
  expect(readBarrier({ value: value!.subarray(0, 9), headers: header('17') })).toBeNull()
  expect(readBarrier({ value: Buffer.concat([value!, Buffer.of(0)]), headers: header('17') })).toBeNull()
})
