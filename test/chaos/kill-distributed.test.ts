/**
 * Goal: whichever process of the distributed platform dies, the broker included, nothing acknowledged is lost and nothing is counted
 * twice (faults R1 to R7). Method: a failpoint of each kind in the service that passes it, then SIGKILL of anything at any moment,
 * drawn by SEED; after each, merged answers, drift and verify are judged. KILLS=name:n,… runs only those failpoints.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Failpoint } from '#io/failpoints.ts'
import { random, SEED } from '#testkit/runs.ts'
import { distributedMissing } from '#testkit/services.ts'
import { SERVICE_NAMES, ServicesRun, serviceOf, type Victim } from './services-run.ts'
import { workRound } from './shift.ts'

const missing = await distributedMissing('kills of the distributed platform')

const KILLS: readonly { name: Failpoint; occurrence: number }[] = [
  { name: 'ingest.before-append', occurrence: 2 },
  { name: 'ingest.after-append', occurrence: 1 },
  { name: 'barriers.reserved', occurrence: 2 },
  { name: 'barriers.appended', occurrence: 2 },
  { name: 'barriers.recorded', occurrence: 1 },
  { name: 'speed.after-live', occurrence: 2 },
  { name: 'speed.before-sealed', occurrence: 2 },
  { name: 'speed.sealed-metric', occurrence: 3 },
  { name: 'speed.after-sealed', occurrence: 1 },
  { name: 'speed.after-checkpoint', occurrence: 2 },
  { name: 'archive.dead-letters', occurrence: 1 },
  { name: 'archive.file-published', occurrence: 2 },
  { name: 'archive.entry', occurrence: 1 },
  { name: 'lake.entry-linked', occurrence: 2 },
  { name: 'batch.view-file', occurrence: 1 },
  { name: 'batch.view-entry', occurrence: 1 },
  { name: 'batch.drift-report', occurrence: 2 },
]
const chosen = process.env['KILLS']?.split(',') ?? null
const VICTIMS: readonly Victim[] = [...SERVICE_NAMES, 'kafka', 'redis']
const RANDOM_KILLS = 12

describe.skipIf(missing !== null)('one process per service, on Kafka and Redis', () => {
  let run: ServicesRun
  beforeAll(async () => {
    process.stdout.write(`kills: repeat with SEED=${SEED}\n`)
    run = await ServicesRun.make(SEED)
  })
  afterAll(() => run?.remove())

  const cases = KILLS.filter(({ name, occurrence }) => chosen?.includes(`${name}:${occurrence}`) ?? true)
  it.each(cases.map((kill) => [serviceOf(kill.name), kill.name, kill] as const))(
    '[D1] [S1] [L1] [B2] %s dies at %s: nothing lost, nothing twice',
    async (_service, _name, kill) => {
      expect(await run.survive(kill)).toBe(true)
      expect(await run.complaints()).toEqual([])
    },
  )

  it('[S1] [D1] the state of the speed layer is wiped: the same answers', async () => {
    await workRound(run.shift, run.scanner)
    await run.wipeSpeed()
    expect(await run.complaints()).toEqual([])
  })

  it.skipIf(chosen !== null)('[D1] [S1] [L1] [B2] anything dies at any moment, the broker and Redis too', async () => {
    const next = random(SEED + 1)
    for (let kill = 0; kill < RANDOM_KILLS; kill++) {
      // Each once before any twice.
      const victim = kill < VICTIMS.length ? VICTIMS[kill]! : VICTIMS[Math.floor(next() * VICTIMS.length)]!
      const working = workRound(run.shift, run.scanner)
      working.catch(() => undefined)
      await sleep(Math.floor(next() * 2_000))
      run.kill(victim)
      await working
      if (kill % 4 === 3) expect(await run.complaints(), `after the death of ${victim}`).toEqual([])
    }
    expect(await run.complaints()).toEqual([])
  })
})
