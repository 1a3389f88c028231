/**
 * Goal: wherever the embedded platform dies, nothing acknowledged is lost and nothing is counted twice (faults R1 to R5).
 * Method: every failpoint at its 1st, 2nd and 7th passing, in an order drawn by SEED, on one data directory per occurrence; after
 * each death all merged answers, drift and verify are judged. KILLS=name:n,… runs only those.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FAILPOINTS, type Failpoint } from '#io/failpoints.ts'
import { random, SEED } from '#testkit/runs.ts'
import { KillRun, killText } from './kill-run.ts'

const chosen = process.env['KILLS']?.split(',') ?? null
process.stdout.write(`kills: repeat with SEED=${SEED}\n`)

function shuffled<T>(values: readonly T[], next: () => number): T[] {
  const out = [...values]
  for (let at = out.length - 1; at > 0; at--) {
    const other = Math.floor(next() * (at + 1))
    ;[out[at], out[other]] = [out[other]!, out[at]!]
  }
  return out
}

const occurrences = [1, 2, 7].filter((n) => chosen?.some((text) => text.endsWith(`:${n}`)) ?? true)

describe.each(occurrences)('[D1] [S1] [L1] [B2] killed at occurrence %i of', (occurrence) => {
  let run: KillRun
  beforeAll(async () => {
    run = await KillRun.make(SEED + occurrence)
  })
  afterAll(() => run?.remove())

  // The registry writes at its first start only; its kills stand in test/integration/registry-writer.test.ts.
  const reached = FAILPOINTS.filter((name) => !name.startsWith('registry.'))
  const names = shuffled<Failpoint>(reached, random(SEED + occurrence))
  it.each(names.filter((name) => chosen?.includes(killText({ name, occurrence })) ?? true))('%s', async (name) => {
    // Every failpoint is reached by this load: one that is not is a failure.
    expect(await run.survive({ name, occurrence })).toEqual([])
    expect(await run.complaints()).toEqual([])
  })
})

describe('[S1] random kills', () => {
  let run: KillRun
  beforeAll(async () => {
    run = await KillRun.make(SEED)
  })
  afterAll(() => run?.remove())

  it('killed 0.1 to 6 s after its start, also while it recovers, ten times: as if never killed', async () => {
    const next = random(SEED)
    for (let kill = 0; kill < 10; kill++) {
      await run.surviveTimed(100 + Math.floor(next() * 5_900))
      if (kill === 4) await run.wipeSpeed()
    }
    await run.resume()
    expect(await run.complaints()).toEqual([])
  })
})
