/**
 * Goal: the embedded platform that dies at a durable step loses nothing and counts nothing twice.
 * Method: a few failpoints of every part, one after another on one data directory, under load by HTTP; merged answers, drift and
 * verify are then judged. All failpoints, more often, are in test/chaos/kill.test.ts.
 */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { SEED } from '#testkit/runs.ts'
import { KillRun } from '../chaos/kill-run.ts'

let run: KillRun
beforeAll(async () => {
  process.stdout.write(`kills: repeat with SEED=${SEED}\n`)
  run = await KillRun.make(SEED)
})
afterAll(() => run?.remove())

it('[D1] [S1] [L1] [B2] killed in ingest, speed, archive and build, one after another: nothing lost, nothing twice', async () => {
  const missed = await run.survive(
    { name: 'ingest.after-append', occurrence: 1 },
    { name: 'speed.after-sealed', occurrence: 1 },
    { name: 'archive.file-published', occurrence: 1 },
    { name: 'batch.view-entry', occurrence: 1 },
  )
  expect(missed).toEqual([])
  expect(await run.complaints()).toEqual([])
})

it('[S1] [O2] stops in order; without the state of the speed layer the answers are the same', async () => {
  expect(await run.stop()).toBe(0)
  await run.wipeSpeed()
  await run.resume()
  await run.shift.send(run.scanner.some(30))
  expect(await run.complaints()).toEqual([])
})
