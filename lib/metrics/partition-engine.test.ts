import { beforeAll, expect, test } from 'vitest'
import { compileEncoder } from '#format/avro-encoder.ts'
import { encodeBarrier } from '#format/barrier.ts'
import { encodeBatch, stampBatch } from '#format/record-batch.ts'
import { openDuckDb } from '#io/duckdb.ts'
import type { Definitions } from './definition.ts'
import { loadDefinitions } from './load.ts'
import { createPartitionEngine, type PartitionEngine } from './partition-engine.ts'

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

function engineOf(): {
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
