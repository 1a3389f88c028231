/** Claims and aborted transactions, on hand-made batches; the broker's side is in test/integration/log-kafka.test.ts. */
import { describe, expect, it } from 'vitest'
import { openBatch, readHeader, stampBatch } from '#format/record-batch.ts'
import { labelledBatch } from '#testkit/labelled-batch.ts'
import { splitBatches } from './kafkajs-requests.ts'
import { carriesClaim, claimBatch, judgeFetched } from './log-kafka-batches.ts'

const TRANSACTIONAL = 16
const CONTROL = 32

/** A one-record batch at `offset` of producer `producerId`; `kind` sets its attributes. */
function batchAt(offset: number, producerId: number, kind: 'plain' | 'data' | 'marker'): Buffer {
  const bytes = claimBatch(labelledBatch(`b${offset}`, 1), {
    producerId: BigInt(producerId),
    producerEpoch: 0,
    sequence: 0,
  })
  const attributes = kind === 'plain' ? 0 : kind === 'data' ? TRANSACTIONAL : TRANSACTIONAL | CONTROL
  bytes.writeInt16BE(attributes, 21)
  stampBatch(bytes, offset, 1_767_225_600_000)
  return bytes
}
const aborted = (...pairs: [number, number][]) =>
  pairs.map(([producerId, firstOffset]) => ({ producerId: String(producerId), firstOffset: String(firstOffset) }))

describe('claims', () => {
  it('are carried by a copy with a right CRC, and told apart', () => {
    const batch = labelledBatch('a', 3)
    const before = Buffer.from(batch)
    const claim = { producerId: 2n ** 40n + 5n, producerEpoch: 3, sequence: 0x7fff_fffe }
    const claimed = claimBatch(batch, claim)
    expect('dead' in openBatch(claimed, 0)).toBe(false)
    expect(Buffer.compare(before, batch)).toBe(0)
    expect(carriesClaim(claimed, claim)).toBe(true)
    for (const other of [{ producerId: 5n }, { producerEpoch: 4 }, { sequence: 0 }]) {
      expect(carriesClaim(claimed, { ...claim, ...other })).toBe(false)
    }
  })
})

describe('batches of a fetch', () => {
  it('are whole: a last one that is cut off waits for the next fetch', () => {
    const [a, b] = [batchAt(0, -1, 'plain'), batchAt(1, -1, 'plain')]
    const both = Buffer.concat([a, b])
    expect(splitBatches(both).map((one) => one.length)).toEqual([a.length, b.length])
    for (let cut = 1; cut < b.length; cut++) {
      expect(splitBatches(both.subarray(0, both.length - cut)).map((one) => one.length)).toEqual([a.length])
    }
  })

  it('of an old format are refused by name', () => {
    const old = batchAt(0, -1, 'plain')
    old.writeInt8(1, 16)
    expect(() => splitBatches(old)).toThrow('older than Kafka 0.11')
  })

  it.each<[string, [number, 'plain' | 'data' | 'marker'][], [number, number][], number[]]>([
    [
      'nothing aborted',
      [
        [1, 'data'],
        [1, 'marker'],
        [-1, 'plain'],
      ],
      [],
      [],
    ],
    [
      'one aborted',
      [
        [1, 'data'],
        [-1, 'plain'],
        [1, 'data'],
        [1, 'marker'],
        [1, 'data'],
      ],
      [[1, 0]],
      [0, 2],
    ],
    [
      'begun below the fetch',
      [
        [1, 'data'],
        [1, 'marker'],
      ],
      [[1, -7]],
      [0],
    ],
    [
      'interleaved, listed by completion',
      [
        [1, 'data'],
        [2, 'data'],
        [3, 'data'],
        [1, 'data'],
        [2, 'marker'],
        [1, 'data'],
        [1, 'marker'],
        [3, 'marker'],
      ],
      [
        [2, 1],
        [1, 0],
      ],
      [0, 1, 3, 5],
    ],
    [
      'two inside one fetch of the same producer',
      [
        [1, 'data'],
        [1, 'marker'],
        [1, 'data'],
        [1, 'marker'],
      ],
      [
        [1, 0],
        [1, 2],
      ],
      [0, 2],
    ],
    [
      'aborted, then committed',
      [
        [1, 'data'],
        [1, 'marker'],
        [1, 'data'],
        [1, 'marker'],
      ],
      [[1, 0]],
      [0],
    ],
    [
      'committed, then aborted',
      [
        [1, 'data'],
        [1, 'marker'],
        [1, 'data'],
        [1, 'marker'],
      ],
      [[1, 2]],
      [2],
    ],
  ])('of transactions: %s', (_, batches, list, expected) => {
    const raw = batches.map(([producerId, kind], offset) => batchAt(offset, producerId, kind))
    const judged = judgeFetched({ partition: 4, abortedTransactions: aborted(...list), batches: raw }, 0)
    expect(judged.map((batch) => batch.baseOffset)).toEqual(batches.map((__, offset) => offset))
    const hidden = judged.filter(
      ({ bytes, baseOffset }) => readHeader(bytes).control && batches[baseOffset]![1] !== 'marker',
    )
    expect(hidden.map((batch) => batch.baseOffset)).toEqual(expected)
    for (const { bytes } of judged) expect('dead' in openBatch(bytes, 0)).toBe(false)
  })

  it('below the position are left out, and still end their transactions', () => {
    const raw = [batchAt(0, 1, 'data'), batchAt(1, 1, 'marker'), batchAt(2, 1, 'data')]
    const judged = judgeFetched({ partition: 0, abortedTransactions: aborted([1, 0]), batches: raw }, 2)
    expect(judged.map(({ baseOffset, bytes }) => [baseOffset, readHeader(bytes).control])).toEqual([[2, false]])
  })
})
