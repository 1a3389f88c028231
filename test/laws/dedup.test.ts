/**
 * The dedup rule against its statement: a duplicate iff the same id occurred earlier in the partition in an epoch greater
 * than (own epoch - horizon). Across chunk splits, expiry and a restore from segments. Barrier ids skip numbers on purpose.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createDedupRing } from '#core/dedup.ts'
import { chunkOf, specOf, type TestCell } from '#testkit/chunks.ts'
import { runs } from '#testkit/runs.ts'

const longText = 'an id that is longer than fifteen bytes, number '

function check(
  kind: 'int64' | 'string',
  ids: readonly TestCell[][],
  steps: readonly number[],
  horizon: number,
  restartAt: number,
): void {
  const spec = specOf('id', kind)
  const seen: { id: TestCell; epoch: number }[] = []
  let ring = createDedupRing({ kind, horizonEpochs: horizon, idsMax: 1_000 })
  const segments: { epoch: number; ids: Int32Array }[] = []
  let epoch = 0
  ids.forEach((inEpoch, e) => {
    const chunk = chunkOf(
      [spec],
      inEpoch.map((id) => ({ eventTime: 0, cells: [id] })),
    )
    const verdicts = new Uint8Array(inEpoch.length)
    ring.mark(chunk, chunk.columns[0]!, epoch, verdicts)
    const expected = inEpoch.map((id) => {
      if (id === null) return 0
      const duplicate = seen.some((s) => s.id === id && s.epoch > epoch - horizon)
      seen.push({ id, epoch })
      return duplicate ? 1 : 0
    })
    expect([...verdicts]).toEqual(expected)
    segments.push({ epoch, ids: ring.segment(epoch) })
    epoch += steps[e % steps.length]!
    ring.expire(epoch)
    if (e === restartAt) {
      ring = createDedupRing({ kind, horizonEpochs: horizon, idsMax: 1_000 })
      for (const segment of segments) if (segment.epoch > epoch - horizon) ring.restore(segment.epoch, segment.ids)
    }
  })
}

test('[S5] the ring applies the stated rule for int64 and text ids, also across a restart', () => {
  const epochs = <T extends TestCell>(id: fc.Arbitrary<T>) => fc.array(fc.array(id, { maxLength: 8 }), { maxLength: 6 })
  const int64 = fc.constantFrom<TestCell>(null, 0, 1, -1, 2 ** 32, -(2 ** 32), 2 ** 53 - 1, 2n ** 63n - 1n, 2n ** 62n)
  const text = fc.constantFrom<TestCell>(
    null,
    '',
    'a',
    'b',
    'exactly15bytes!',
    'exactly16bytes!!',
    `${longText}1`,
    `${longText}2`,
  )
  const rest = [
    fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 3 }),
    fc.integer({ min: 1, max: 4 }),
    fc.integer({ min: 0, max: 5 }),
  ] as const
  fc.assert(
    fc.property(epochs(int64), ...rest, (ids, steps, horizon, at) => check('int64', ids, steps, horizon, at)),
    runs(300, 'dedup int64'),
  )
  fc.assert(
    fc.property(epochs(text), ...rest, (ids, steps, horizon, at) => check('string', ids, steps, horizon, at)),
    runs(300, 'dedup text'),
  )
})

test('[S5] the ring grows, forgets what is beyond its horizon, and refuses at its bound', () => {
  const ring = createDedupRing({ kind: 'int64', horizonEpochs: 2, idsMax: 5_000 })
  const spec = specOf('id', 'int64')
  let id = 0
  for (let epoch = 0; epoch < 40; epoch++) {
    for (let part = 0; part < 2; part++) {
      const chunk = chunkOf(
        [spec],
        Array.from({ length: 1_000 }, () => ({ eventTime: 0, cells: [id++] })),
      )
      expect(ring.mark(chunk, chunk.columns[0]!, epoch, new Uint8Array(1_000))).toBe(0)
    }
    ring.expire(epoch + 1)
  }
  expect(ring.size).toBeLessThan(10_000)
  const small = createDedupRing({ kind: 'int64', horizonEpochs: 1_000, idsMax: 1_000 })
  expect(() => {
    for (let part = 0; part < 3; part++) {
      const chunk = chunkOf(
        [spec],
        Array.from({ length: 1_000 }, () => ({ eventTime: 0, cells: [id++] })),
      )
      small.mark(chunk, chunk.columns[0]!, 0, new Uint8Array(1_000))
    }
  }).toThrow(/DEDUP_LIMIT/)
})

test('[E6] [S5] ids take at most 24 bytes each, 40 when they are text, however many there are', () => {
  for (const [kind, bytesMax] of [
    ['int64', 24],
    ['string', 40],
  ] as const) {
    const ring = createDedupRing({ kind, horizonEpochs: 10, idsMax: 1_000_000 })
    for (let from = 0; from < 60_000; from += 1_000) {
      const cells = Array.from({ length: 1_000 }, (_, n) => (kind === 'int64' ? from + n : `id ${from + n}`))
      const chunk = chunkOf(
        [specOf('id', kind)],
        cells.map((cell) => ({ eventTime: 0, cells: [cell] })),
      )
      expect(ring.mark(chunk, chunk.columns[0]!, 0, new Uint8Array(1_000))).toBe(0)
      if (ring.size >= 3_000) expect(ring.bytes / ring.size).toBeLessThanOrEqual(bytesMax)
    }
  }
})
