/**
 * Goal: a manifest chain shows every change to it and lets one writer win.
 * Method: build a chain, then change, swap, remove or repeat entries and see which reading notices.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createMemoryLake, type MemoryLake } from '#testkit/lake-memory.ts'
import { appendEntry, type Chain, type ChainEntry, entryPath, nextOf, readChain } from './manifest.ts'

interface Entry extends ChainEntry {
  readonly value: number
}
let lake: MemoryLake
beforeEach(() => {
  lake = createMemoryLake()
})
afterEach(() => lake.dispose())

async function build(count: number): Promise<Chain<Entry>> {
  for (let value = 1; value <= count; value++) {
    await appendEntry<Entry>(lake, 'c', { ...nextOf(await readChain<Entry>(lake, 'c')), value })
  }
  return readChain<Entry>(lake, 'c')
}

describe('manifest chain', () => {
  it('reads what was appended, from nothing to many', async () => {
    expect(await readChain(lake, 'c')).toEqual({ entries: [], lastHash: null })
    const chain = await build(11)
    expect(chain.entries.map((entry) => entry.value)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    expect(await readChain(lake, 'c', await readChain(lake, 'c'))).toEqual(chain)
  })

  it('a known chain is read on from its end', async () => {
    const known = await build(2)
    await appendEntry<Entry>(lake, 'c', { ...nextOf(known), value: 3 })
    expect((await readChain<Entry>(lake, 'c', known)).entries.map((entry) => entry.value)).toEqual([1, 2, 3])
  })

  it('[L2] every flipped bit and every truncation of every entry is found', async () => {
    await build(2)
    for (const sequence of [1, 2]) {
      const path = entryPath('c', sequence)
      const good = lake.files.get(path)!
      const isFound = async (bad: Uint8Array) => {
        lake.damage(path, bad)
        await expect(readChain(lake, 'c')).rejects.toMatchObject({ code: 'LAKE_DAMAGED', context: { path } })
      }
      for (let bit = 0; bit < good.length * 8; bit++) {
        const bad = good.slice()
        bad[bit >> 3]! ^= 1 << (bit & 7)
        await isFound(bad)
      }
      for (let length = 0; length < good.length; length++) await isFound(good.slice(0, length))
      lake.damage(path, good)
    }
  })

  it('[L2] a missing and a swapped entry are found', async () => {
    await build(4)
    const [second, third] = [lake.files.get(entryPath('c', 2))!, lake.files.get(entryPath('c', 3))!]
    lake.damage(entryPath('c', 2), null)
    await expect(readChain(lake, 'c')).rejects.toMatchObject({
      code: 'LAKE_DAMAGED',
      context: { path: 'c/00000002.json' },
    })
    lake.damage(entryPath('c', 2), third)
    lake.damage(entryPath('c', 3), second)
    await expect(readChain(lake, 'c')).rejects.toMatchObject({
      code: 'LAKE_DAMAGED',
      context: { path: 'c/00000002.json' },
    })
  })

  it('of two writers with the same number one wins; the same bytes again are no conflict', async () => {
    const chain = await build(2)
    const entry: Entry = { ...nextOf(chain), value: 3 }
    const hash = await appendEntry(lake, 'c', entry)
    expect(await appendEntry(lake, 'c', entry)).toBe(hash)
    await expect(appendEntry<Entry>(lake, 'c', { ...nextOf(chain), value: 4 })).rejects.toMatchObject({
      code: 'MANIFEST_CONFLICT',
      retry: 'now',
    })
    expect((await readChain<Entry>(lake, 'c')).entries.map((one) => one.value)).toEqual([1, 2, 3])
  })
})
