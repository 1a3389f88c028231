/** What every lake must do, whatever it is made of: run on the folder and on the memory one, so that simulations stay honest. */
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Lake } from '#io/ports.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')

/** Registers the suite under `name`; `open` gives a fresh lake and what removes it. */
export function describeLake(name: string, open: () => Promise<{ lake: Lake; dispose: () => void }>): void {
  describe(`lake: ${name}`, () => {
    let lake: Lake
    let dispose: () => void
    beforeEach(async () => {
      ;({ lake, dispose } = await open())
    })
    afterEach(() => dispose())

    const publish = async (path: string, text: string) => {
      const temporary = await lake.temporaryPath()
      writeFileSync(temporary, text)
      return lake.publishFile(temporary, path)
    }

    it('a published file has its hash and size, and lies under the root', async () => {
      expect(await publish('a/b/one.parquet', 'hello')).toEqual({ sha256: sha256('hello'), bytes: 5 })
      expect(await lake.hash('a/b/one.parquet')).toBe(sha256('hello'))
      expect(new TextDecoder().decode((await lake.read('a/b/one.parquet'))!)).toBe('hello')
      expect(readFileSync(join(lake.root, 'a/b/one.parquet'), 'utf8')).toBe('hello')
    })

    it('the same bytes again are fine, other bytes are LAKE_DAMAGED and change nothing', async () => {
      await publish('a/one', 'hello')
      expect(await publish('a/one', 'hello')).toEqual({ sha256: sha256('hello'), bytes: 5 })
      await expect(publish('a/one', 'other')).rejects.toMatchObject({
        code: 'LAKE_DAMAGED',
        context: { path: 'a/one' },
      })
      expect(await lake.hash('a/one')).toBe(sha256('hello'))
    })

    it('create-if-absent lets exactly one of many writers win', async () => {
      const won = await Promise.all(
        Array.from({ length: 8 }, (_, i) => lake.createIfAbsent('m/1.json', bytes(`w${i}`))),
      )
      expect(won.filter((one) => one)).toHaveLength(1)
      expect(new TextDecoder().decode((await lake.read('m/1.json'))!)).toBe(`w${won.indexOf(true)}`)
    })

    it('lists deeply and sorted, without temporary files, and nothing for an absent prefix', async () => {
      await publish('x/p=0/b', '1')
      await publish('x/p=0/a', '2')
      await lake.createIfAbsent('x/p=0/manifest/1.json', bytes('3'))
      await publish('xy/c', '4')
      await lake.temporaryPath()
      expect(await lake.list('x')).toEqual(['x/p=0/a', 'x/p=0/b', 'x/p=0/manifest/1.json'])
      expect(await lake.list('x/p=0/manifest')).toEqual(['x/p=0/manifest/1.json'])
      expect(await lake.list('none')).toEqual([])
    })

    it('a file keeps its stamp as long as it is the same', async () => {
      await publish('a/one', 'hello')
      const stamp = await lake.stamp('a/one')
      await publish('a/one', 'hello')
      await publish('a/two', 'hello')
      expect(await lake.stamp('a/one')).toBe(stamp)
      await lake.remove('a/one')
      await publish('a/one', 'something else')
      expect(await lake.stamp('a/one')).not.toBe(stamp)
    })

    it('absent is null, and removing it is fine', async () => {
      expect(await lake.read('no/such')).toBeNull()
      expect(await lake.hash('no/such')).toBeNull()
      expect(await lake.stamp('no/such')).toBeNull()
      await lake.remove('no/such')
      await publish('a/one', 'hello')
      await lake.remove('a/one')
      expect(await lake.read('a/one')).toBeNull()
      expect(await publish('a/one', 'other')).toMatchObject({ bytes: 5 })
    })
  })
}
