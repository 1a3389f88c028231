/**
 * Bytes that nobody promised: the corpus of poisoned records and batches, random bytes, and where a projector stops and goes on.
 * Method: each record is a row or dead with the reason that the corpus names, and its neighbours are rows whatever it is.
 */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CHUNK_ROWS } from '#core/columns.ts'
import type { DeadRecord } from '#core/outcome.ts'
import { POISON_SCHEMA, type PoisonOptions, poisonBatches, poisonRecords, resealed } from '#testkit/poison.ts'
import { avscType, batchOf, optionsFor, project, TIME_FIELD, WRITER_ID } from '#testkit/projected.ts'
import { runs } from '#testkit/runs.ts'
import { allocateChunk, compileProjector, findFrame, resetChunk } from './avro-projector.ts'
import { frame } from './confluent.ts'
import type { ProjectorOptions } from './projector.ts'
import { encodeBatch, openBatch, type RecordInput, readRecord } from './record-batch.ts'

const utf8 = new TextEncoder()

const POISON: PoisonOptions = {
  schema: POISON_SCHEMA,
  schemaId: WRITER_ID,
  unknownId: 999,
  eventTime: { field: 'at', unit: 'ms' },
}

function poisonProjector(envelope = false): ProjectorOptions {
  return {
    writer: POISON_SCHEMA,
    writerId: WRITER_ID,
    reader: POISON_SCHEMA,
    fields: ['name', 'total', 'price', 'note'],
    eventTime: POISON.eventTime,
    envelope,
  }
}

describe('poison', () => {
  const projector = compileProjector(poisonProjector())
  const unwanted = compileProjector({ ...poisonProjector(), fields: [] })
  const records = poisonRecords(POISON)
  const batches = poisonBatches(POISON)

  test('the corpus is as large as promised and every case has a name of its own', () => {
    expect(records.length + batches.length).toBeGreaterThanOrEqual(90)
    expect(new Set([...records, ...batches].map(({ name }) => name)).size).toBe(records.length + batches.length)
  })

  test.each(records.map((poison) => [poison.name, poison] as const))('[D5] %s', (_, { record, fate }) => {
    const good = records[0]!.record
    const batch = encodeBatch([good, record, good], 1)
    const { rows, dead, stops } = project(projector, batch)
    const blind = project(unwanted, batch)
    expect([blind.rows.map(({ offset }) => offset), blind.dead, blind.stops]).toEqual([
      rows.map(({ offset }) => offset),
      dead,
      stops,
    ])
    const offsets = fate === 'row' ? [0, 1, 2] : [0, 2]
    expect(rows.map(({ offset }) => offset)).toEqual(offsets)
    expect(dead.map(({ offset, reason }) => [offset, reason])).toEqual(
      fate === 'row' || fate === 'barrier' ? [] : [[1, fate]],
    )
    expect(stops.includes('barrier')).toBe(fate === 'barrier')
    if (dead.length === 1) expect(dead[0]).toMatchObject({ key: record.key, value: record.value })
  })

  test.each(batches.map((poison) => [poison.name, poison] as const))('[D5] %s', (_, { batch, fate }) => {
    const opened = openBatch(batch, 0)
    expect('dead' in opened && opened.dead).toBe(fate)
  })

  test('an empty decimal takes no byte of its neighbour', () => {
    const decimal = { type: 'bytes', logicalType: 'decimal', precision: 9, scale: 0 }
    const schema = { type: 'record', name: 'R', fields: [{ name: 'a', type: decimal }, TIME_FIELD] }
    const { rows, dead } = project(
      compileProjector(optionsFor(schema, ['a'])),
      batchOf([frame(WRITER_ID, Uint8Array.of(0, 128, 1))]),
    )
    expect([rows.length, dead[0]!.reason]).toEqual([0, 'bad-length'])
  })

  test('a value length of -2 is damage, even before a barrier header', () => {
    const batch = encodeBatch([{ key: null, value: null, headers: [['tidemark-barrier', new Uint8Array(0)]] }], 1)
    // Record length, attributes, two deltas, key length, then the value length.
    const { dead, stops } = project(
      projector,
      resealed(batch, (view) => view.setUint8(61 + 5, 3)),
    )
    expect([dead.map(({ reason }) => reason), stops]).toEqual([['bad-length'], ['end']])
  })

  test('damaged envelopes are dead with their whole record', () => {
    const good = records[0]!.record
    const batch = encodeBatch([good, good, good], 1)
    const property = fc.property(fc.nat(), fc.nat({ max: 255 }), (at, byte) => {
      const damaged = Uint8Array.from(batch)
      damaged[61 + (at % (batch.length - 61))] = byte
      const opened = openBatch(resealed(damaged), 0)
      if ('dead' in opened) return
      const { rows, dead } = project(projector, resealed(damaged))
      expect(
        new Set([...rows, ...dead].map(({ offset }) => offset)).size +
          project(projector, resealed(damaged)).stops.filter((stop) => stop === 'barrier').length,
      ).toBe(3)
    })
    fc.assert(property, runs(1000, 'damaged envelopes'))
  })

  test('random bytes as values and as records never throw', () => {
    const property = fc.property(
      fc.array(fc.uint8Array({ maxLength: 80 }), { minLength: 1, maxLength: 30 }),
      fc.boolean(),
      (values, framed) => {
        const { rows, dead } = project(
          projector,
          batchOf(values.map((value) => (framed ? frame(WRITER_ID, value) : value))),
        )
        expect(rows.length + dead.length).toBe(values.length)
      },
    )
    fc.assert(property, runs(300, 'random bytes'))
  })
})

describe('stops', () => {
  const value = poisonRecords(POISON)[0]!.record.value!

  test('a full chunk is resumed, and chunks split nothing', () => {
    const projector = compileProjector(poisonProjector())
    const { rows, stops } = project(projector, batchOf(Array.from({ length: 2 * CHUNK_ROWS + 5 }, () => value)))
    expect(stops).toEqual(['full', 'full', 'end'])
    expect(rows.map(({ offset }) => offset)).toEqual(Array.from({ length: 2 * CHUNK_ROWS + 5 }, (_, i) => i))
    expect(project(projector, batchOf(Array.from({ length: CHUNK_ROWS }, () => value))).stops).toEqual(['end'])
  })

  test('another schema id stops with that id; another projector goes on where it stopped', () => {
    const first = compileProjector(poisonProjector())
    const second = compileProjector({ ...poisonProjector(), writerId: 8 })
    const opened = openBatch(batchOf([value, frame(8, value.subarray(5)), value]), 0)
    if ('dead' in opened) throw new Error(opened.dead)
    const chunk = allocateChunk(first.columns, false)
    expect(first.project(opened.cursor, chunk, [])).toBe('schema')
    expect([chunk.count, chunk.schemaId, opened.cursor.schemaId]).toEqual([1, WRITER_ID, 8])
    expect(() => second.project(opened.cursor, chunk, [])).toThrow('one writer schema')
    resetChunk(chunk)
    expect(second.project(opened.cursor, chunk, [])).toBe('schema')
    expect([chunk.count, chunk.offsets[0], chunk.arrivalMs]).toEqual([1, 1, 2])
    resetChunk(chunk)
    expect(first.project(opened.cursor, chunk, [])).toBe('end')
    expect([chunk.count, chunk.offsets[0]]).toEqual([1, 2])
  })

  test('a barrier stops before itself and is read by readRecord', () => {
    const projector = compileProjector(poisonProjector())
    const barrier: RecordInput = {
      key: null,
      value: utf8.encode('b'),
      headers: [['tidemark-barrier', new Uint8Array(0)]],
    }
    const opened = openBatch(encodeBatch([{ key: null, value }, barrier, { key: null, value }], 1), 0)
    if ('dead' in opened) throw new Error(opened.dead)
    const chunk = allocateChunk(projector.columns, false)
    expect([projector.project(opened.cursor, chunk, []), chunk.count]).toEqual(['barrier', 1])
    expect(readRecord(opened.cursor)).toMatchObject({
      offset: 1,
      value: barrier.value,
      headers: [['tidemark-barrier', new Uint8Array(0)]],
    })
    expect([projector.project(opened.cursor, chunk, []), chunk.count]).toEqual(['end', 2])
  })

  test('records below the position leave no trace, not even bad ones', () => {
    const projector = compileProjector(poisonProjector())
    const { rows, dead } = project(projector, batchOf([Uint8Array.of(9), value, Uint8Array.of(9), value], 50), 52)
    expect([rows.map(({ offset }) => offset), dead.map(({ offset }) => offset)]).toEqual([[53], [52]])
  })

  test('findFrame finds the first schema, barrier or end without a projector', () => {
    const open = (records: RecordInput[]): [string, number, number, number[]] => {
      const opened = openBatch(encodeBatch(records, 1), 1)
      if ('dead' in opened) throw new Error(opened.dead)
      const dead: DeadRecord[] = []
      const stop = findFrame(opened.cursor, dead)
      return [stop, opened.cursor.schemaId, opened.cursor.remaining, dead.map(({ offset }) => offset)]
    }
    const none = { key: null, value: null }
    expect(open([none, none, { key: null, value }, none])).toEqual(['schema', WRITER_ID, 2, [1]])
    expect(open([none, { ...none, headers: [['tidemark-barrier', new Uint8Array(0)]] }])).toEqual(['barrier', 0, 2, []])
    expect(open([none, none, none])).toEqual(['end', 0, 0, [1, 2]])
  })

  test('the envelope: keys and raw header blocks, null when there are none', () => {
    const projector = compileProjector(poisonProjector(true))
    const batch = encodeBatch(
      [
        { key: utf8.encode('k'), value },
        { key: null, value, headers: [['a', Uint8Array.of(255)]] },
        { key: new Uint8Array(0), value },
      ],
      1,
    )
    const { rows } = project(projector, batch, 0, true)
    expect(rows.map(({ key, headers }) => [key, headers])).toEqual([
      ['6b', null],
      [null, '02026102ff'],
      ['', null],
    ])
  })

  test('a null or a wide value in one chunk does not colour the next', () => {
    const projector = compileProjector(poisonProjector())
    const type = avscType(JSON.parse(POISON_SCHEMA))
    const base = type.fromBuffer(Buffer.from(value.subarray(5))) as Record<string, unknown>
    const odd = frame(WRITER_ID, type.toBuffer({ ...base, note: null, total: 2n ** 62n }))
    const chunk = allocateChunk(projector.columns, false)
    const states = [value, odd, value].map((bytes) => {
      resetChunk(chunk)
      const opened = openBatch(batchOf([value, bytes, value]), 0)
      if ('dead' in opened) throw new Error(opened.dead)
      projector.project(opened.cursor, chunk, [])
      return [chunk.columns[1]!.wide?.slice(0, 3) ?? null, chunk.columns[3]!.valid?.slice(0, 3) ?? null]
    })
    expect(states).toEqual([
      [null, null],
      [BigInt64Array.of(3n, 2n ** 62n, 3n), Uint8Array.of(1, 0, 1)],
      [null, null],
    ])
  })
})
