/** A checkpoint is used only as it was written: whatever happens to its files, it is the same or none. */
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { createCheckpoints, type SavedCheckpoint } from './checkpoints.ts'

const saved: SavedCheckpoint = {
  format: 1,
  incarnation: 'one',
  generations: ['a'],
  epochs: [3, 4],
  state: { next: 17, epoch: 5 },
}

async function savedIn(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'tidemark-checkpoints-'))
  onTestFinished(() => rm(directory, { recursive: true, force: true }))
  const checkpoints = createCheckpoints(directory)
  await checkpoints.save('s', 0, { ...saved, epochs: [3] }, { epoch: 3, ids: Int32Array.of(1, 2) })
  await checkpoints.save('s', 0, saved, { epoch: 4, ids: Int32Array.of(-3, 4, 5, 6) })
  return directory
}

test('[S1] a checkpoint comes back as it was saved', async () => {
  const directory = await savedIn()
  const loaded = await createCheckpoints(directory).load('s', 0)
  expect(loaded?.saved).toEqual(saved)
  expect(loaded?.ids.map(({ epoch, ids }) => [epoch, ...ids])).toEqual([
    [3, 1, 2],
    [4, -3, 4, 5, 6],
  ])
  expect(await createCheckpoints(directory).load('s', 1)).toBeNull()
})

test('[S1] [S5] every changed byte and every lost end of any of its files makes it none', async () => {
  const directory = await savedIn()
  const folder = join(directory, 's/0')
  const checkpoints = createCheckpoints(directory)
  const names = await readdir(folder)
  expect(names.sort()).toEqual(['checkpoint.json', 'ids-3.bin', 'ids-4.bin'])
  for (const name of names) {
    const path = join(folder, name)
    const whole = await readFile(path)
    for (let at = 0; at < whole.length; at++) {
      const changed = Buffer.from(whole)
      changed[at]! ^= 1
      for (const content of [changed, whole.subarray(0, at)]) {
        await writeFile(path, content)
        expect(await checkpoints.load('s', 0)).toBeNull()
      }
    }
    await rm(path)
    expect(await checkpoints.load('s', 0)).toBeNull()
    await writeFile(path, whole)
  }
  expect(await checkpoints.load('s', 0)).not.toBeNull()
})

test('[S1] files of another epoch or partition are none of its own', async () => {
  const directory = await savedIn()
  const checkpoints = createCheckpoints(directory)
  await cp(join(directory, 's/0'), join(directory, 's/1'), { recursive: true })
  expect(await checkpoints.load('s', 1)).toBeNull()
  await cp(join(directory, 's/0/ids-3.bin'), join(directory, 's/0/ids-4.bin'))
  expect(await checkpoints.load('s', 0)).toBeNull()
})
