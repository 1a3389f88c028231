import { beforeAll, expect, test } from 'vitest'
import { compileEncoder } from '#format/avro-encoder.ts'
import { encodeBarrier } from '#format/barrier.ts'
import { encodeBatch, stampBatch } from '#format/record-batch.ts'
import { openDuckDb } from '#io/duckdb.ts'
import type { Definitions } from './definition.ts'
import { loadDefinitions } from './load.ts'
import { createPartitionEngine, type EngineOptions, type PartitionEngine } from './partition-engine.ts'

const schema = JSON.stringify({
  type: 'record',
  name: 'E',
  fields: [
    { name: 'id', type: 'string' },
    { name: 'at', type: { type: 'long', logicalType: 'timestamp-millis' } },
    { name: 'x', type: 'long' },
  ],
})
let definitions: Definitions

beforeAll(async () => {
  const duckdb = await openDuckDb({ threads: 1, memoryMb: 128, temporaryDirectory: null })
  const loaded = await loadDefinitions(
    {
      directory: 'd',
      files: [
        { path: 'e.avsc', text: schema },
        { path: 'streams/e.yaml', text: 'stream: e\nschema: e.avsc\nid: id\nevent_time: at\ndedup: { horizon: 2 }\n' },
        {
          path: 'metrics/m.yaml',
          text: 'metric: m\nstream: e\nwindow: { tumbling: 1m }\nmeasures: { doubled: sum(x * 2), n: count(*), filled: "sum(coalesce(x, 9223372036854775807) + 1)" }\n',
        },
      ],
    },
    duckdb,
  )
  duckdb.close()
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems))
  definitions = loaded.definitions
})

function engineOf(start: Partial<Pick<EngineOptions, 'restore' | 'startOffset' | 'forgotten'>> = {}): {
  engine: PartitionEngine
  feed: (events: readonly object[]) => void
  seal: (id: number) => ReturnType<PartitionEngine['feed']>
} {
  const engine = createPartitionEngine({
    stream: definitions.streams[0]!,
    metrics: definitions.metrics,
    partition: 0,
    restore: null,
    startOffset: 0,
    ...start,
  })
  const encoder = compileEncoder(schema, 1)
  const put = (bytes: Uint8Array, count: number) => {
    const baseOffset = engine.next
    stampBatch(bytes, baseOffset, 1_000)
    return engine.feed({ baseOffset, lastOffset: baseOffset + count - 1, bytes })
  }
  return {
    engine,
    feed(events) {
      const records = events.map((event) => {
        expect(encoder.encode(event)).toBeNull()
        return { key: null, value: Uint8Array.from(encoder.bytes.subarray(0, encoder.length)) }
      })
      const step = put(encodeBatch(records, 0), records.length)
      if (step.kind === 'schema') engine.provide(step.id, schema)
    },
    seal: (id) => put(encodeBarrier({ stream: 'e', id, partitions: 1, createdMs: 0, demand: false }, 2), 1),
  }
}

test('an overflow in a row that does not count refuses nothing; in a row that counts it refuses the metric', () => {
  const big = '9223372036854775807'
  const sound = engineOf()
  sound.feed([{ id: 'a', at: 0, x: 5 }])
  sound.feed([
    { id: 'b', at: 1, x: 7 },
    { id: 'a', at: 2, x: big },
  ])
  const step = sound.seal(1)
  if (step.kind !== 'sealed') throw new Error(step.kind)
  const [partials] = step.sealed.partials
  expect(partials!.refused).toBeNull()
  const [doubled, n, filled] = partials!.rows.layout.measures.map(({ slot }) => slot) as [number, number, number]
  const { cells } = partials!.rows.table(0, 1)
  expect([cells[doubled], cells[doubled + 2], cells[n]]).toEqual([2, 24, 2])
  // Not even with the row taken for one without values.
  expect([cells[filled], cells[filled + 2]]).toEqual([2, 14])
  expect(sound.engine.counts).toMatchObject({ accepted: 2, duplicates: 1, barriers: 1 })

  const overflowing = engineOf()
  overflowing.feed([{ id: 'a', at: 0, x: big }])
  const refused = overflowing.seal(1)
  expect(refused.kind === 'sealed' && refused.sealed.partials[0]!.refused).toBe('MEASURE_OVERFLOW')
})

function sealedBy({ engine, seal }: ReturnType<typeof engineOf>, id: number) {
  const step = seal(id)
  if (step.kind !== 'sealed') throw new Error(step.kind)
  engine.continue()
  return step.sealed
}

test('[S5] where counted events are gone from the log, nothing is published before a dedup horizon is known again', () => {
  const again = engineOf({ startOffset: 5, forgotten: true })
  again.feed([{ id: 'a', at: 0, x: 1 }])
  expect(again.engine.takeLive()).toBeNull()
  expect(sealedBy(again, 10).partials).toEqual([])
  // Of epoch 10 on all ids are known, so epoch 11 is the first whose horizon of two is.
  again.feed([{ id: 'b', at: 0, x: 1 }])
  expect(again.engine.takeLive()).toBeNull()
  const { partials, checkpoint, ids } = sealedBy(again, 11)
  expect(partials).toEqual([])
  again.feed([{ id: 'b', at: 0, x: 1 }])
  expect(again.engine.counts.duplicates).toBe(1)
  expect(again.engine.takeLive()).toHaveLength(1)
  expect(sealedBy(again, 12).partials).toHaveLength(1)

  // A restart within the silence does not end it.
  const wide = { ...checkpoint, epoch: 10, publishFrom: 11 }
  const restarted = engineOf({ restore: { checkpoint: wide, ids: [{ epoch: 10, ids: ids! }] } })
  expect(restarted.engine.takeLive()).toBeNull()
  expect(sealedBy(restarted, 11).partials).toEqual([])
  expect(restarted.engine.takeLive()).toHaveLength(1)

  // A topic that was trimmed before anybody counted: the archive begins there too.
  const first = engineOf({ startOffset: 5 })
  expect(sealedBy(first, 10).partials).toEqual([])
  expect(first.engine.takeLive()).toHaveLength(1)
})
