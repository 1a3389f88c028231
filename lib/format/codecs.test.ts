/** Hand-made blocks at the edges that compressors never write; round trips and bombs stand in record-batch.test.ts. */
import { expect, test } from 'vitest'
import { inflate } from './codecs.ts'

const SNAPPY = 2
const LZ4 = 3
const text = (codec: number, block: number[], cap = 1000): string => {
  const out = inflate(codec, Uint8Array.from(block), cap)
  return typeof out === 'string' ? out : `= ${Buffer.from(out).toString()}`
}
const lz4 = (...blocks: number[][]): number[] => [
  0x04,
  0x22,
  0x4d,
  0x18,
  0x60,
  0x40,
  0,
  ...blocks.flatMap((block) => [block.length, 0, 0, 0, ...block]),
  0,
  0,
  0,
  0,
]
const [a, b, c] = [97, 98, 99]

test.each<[string, number[], string]>([
  ['a literal', [3, 2 << 2, a, b, c], '= abc'],
  ['a copy that repeats itself', [7, 1 << 2, a, b, (1 << 2) | 1, 2], '= abababa'],
  ['a copy from before the start', [6, 1 << 2, a, b, 1, 3], 'damaged-batch'],
  ['a copy from nowhere', [6, 1 << 2, a, b, 1, 0], 'damaged-batch'],
  ['a copy cut off', [6, 1 << 2, a, b, 2, 1], 'damaged-batch'],
  ['a literal beyond the block', [9, 8 << 2, a, b], 'damaged-batch'],
  ['more than it claims', [2, 2 << 2, a, b, c], 'damaged-batch'],
  ['less than it claims', [4, 2 << 2, a, b, c], 'damaged-batch'],
  ['a claim beyond the cap', [0xe9, 7, 0], 'too-large'],
  ['an endless claim', [255, 255, 255, 255, 255, 255], 'damaged-batch'],
  ['nothing', [], 'damaged-batch'],
])('snappy: %s', (_, block, result) => {
  expect(text(SNAPPY, block)).toBe(result)
})

test.each<[string, number[], string]>([
  ['literals', lz4([0x30, a, b, c]), '= abc'],
  ['a match that repeats itself', lz4([0x22, a, b, 2, 0, 0x10, c]), '= ababababc'],
  ['a match into the block before', lz4([0x30, a, b, c], [0x10, c, 3, 0, 0x10, a]), '= abccbccba'],
  ['a match from before the start', lz4([0x20, a, b, 3, 0, 0x10, c]), 'damaged-batch'],
  ['a match from nowhere', lz4([0x20, a, b, 0, 0, 0x10, c]), 'damaged-batch'],
  ['literals beyond the block', lz4([0x40, a, b, c]), 'damaged-batch'],
  ['no end mark', lz4([0x30, a, b, c]).slice(0, -4), 'damaged-batch'],
  ['a block beyond the frame', [...lz4([0x30, a, b, c]).slice(0, 7), 99, 0, 0, 0, 0x30, a], 'damaged-batch'],
  ['a stored block', [...lz4().slice(0, 7), 3, 0, 0, 0x80, a, b, c, 0, 0, 0, 0], '= abc'],
  ['another magic', [1, ...lz4([0x30, a, b, c]).slice(1)], 'damaged-batch'],
])('lz4: %s', (_, block, result) => {
  expect(text(LZ4, block)).toBe(result)
})

test('lz4 stops at the cap in the middle of a match', () => {
  const long = lz4([0x1f, a, 1, 0, 255, 255, 255, 0, 0x10, b])
  expect(text(LZ4, long, 100)).toBe('too-large')
  expect(text(LZ4, long)).toBe(`= ${'a'.repeat(1 + 15 + 4 + 765)}b`)
})
