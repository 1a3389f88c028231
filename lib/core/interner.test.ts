import { expect, test } from 'vitest'
import { chunkOf, specOf } from '#testkit/chunks.ts'
import { createStringInterner } from './interner.ts'

test('[W8] distinct texts beyond the bytes of a dimension are refused by name; those that are known still have their ids', () => {
  const interner = createStringInterner(10_000)
  const ids = new Int32Array(8)
  const intern = (...texts: string[]) => {
    const chunk = chunkOf(
      [specOf('who', 'string')],
      texts.map((text) => ({ eventTime: 0, cells: [text] })),
    )
    interner.intern(chunk.columns[0]!, texts.length, ids)
    return [...ids.subarray(0, texts.length)]
  }
  expect(intern('a'.repeat(4_000), 'b', 'a'.repeat(4_000))).toEqual([0, 1, 0])
  expect(() => intern('c'.repeat(7_000))).toThrow(/^METRIC_LIMIT/)
  expect(intern('b', 'd')).toEqual([1, 2])
})

test('[W11] a text that begins with U+FEFF keeps it: it is another group', () => {
  const interner = createStringInterner()
  const ids = new Int32Array(4)
  const texts = ['a', '\ufeffa', '\ufeff', '']
  const chunk = chunkOf(
    [specOf('who', 'string')],
    texts.map((text) => ({ eventTime: 0, cells: [text] })),
  )
  interner.intern(chunk.columns[0]!, texts.length, ids)
  expect([...ids].map((id) => interner.value(id))).toEqual(texts)
  expect(interner.longest).toBe(4)
})
