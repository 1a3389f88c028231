/**
 * Laws 5, 6 and 8 with faults: the real speed loop on the testkit's log, clock, registry and disk. One seed draws a world:
 * appends that are lost, unacknowledged or late, polls that fail, kills before or after any call, owners that are stopped
 * or doubled, a registry that goes away, checkpoints that are wiped, clocks that jump, barriers that are missed or repeated.
 *
 * A checker outside reads the topics and judges: every sealed (partition, epoch) has one value, the oracle's; every merged
 * answer on the way is exact for the offsets it states; in the end nothing is missing. A failure names its seed, options
 * and the command that repeats that one world. RUNS_MULTIPLIER makes it a campaign.
 */
import { beforeAll, expect, test, vi } from 'vitest'
import type { MetricDefinition } from '#metrics/definition.ts'
import { isGate, runs } from '#testkit/runs.ts'
import { drawOptions, type SimulationCounts, simulateSpeed } from '#testkit/simulator.ts'
import { loadVisits } from '#testkit/simulator-stream.ts'

// Records of partials of a few rows, so that tables come in parts and a kill can fall between two of them.
vi.mock(import('#core/limits.ts'), async (original) => {
  const { LIMITS } = await original()
  return { LIMITS: { ...LIMITS, partialRecordBytes: 600 as never } }
})

let metrics: MetricDefinition[]

beforeAll(async () => {
  const { metric } = await loadVisits()
  metrics = [metric('by_place'), metric('paid')]
})

const FAULTS = [
  'refused',
  'lost',
  'ack-lost',
  'late',
  'poll',
  'kill-before',
  'kill-after',
  'kill',
  'stop',
  'zombie',
  'restart',
  'shutdown',
  'wipe',
  'segment',
  'registry',
  'wall',
  'missed-barrier',
  'stale-barrier',
] as const satisfies readonly (keyof SimulationCounts)[]

const { seed: SEED, numRuns } = runs(200, 'simulation/speed')

test('[D1] [S1] [S5] [Q9] the speed loop under faults: one value per sealed epoch, every answer exact for its offsets, nothing missing', {
  timeout: 60_000 + numRuns * 10_000,
}, async () => {
  const total = {} as Record<string, number>
  for (let run = 0; run < numRuns; run++) {
    const options = drawOptions(SEED + run)
    const story = `${JSON.stringify(options)}\nrepeat with SEED=${options.seed} RUNS_MULTIPLIER=0 npx vitest run --project simulation test/simulation/speed.test.ts`
    if (numRuns === 1) process.stdout.write(`${story}\n`)
    let counts: SimulationCounts
    try {
      counts = await simulateSpeed(options, metrics.slice(0, options.metrics))
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : String(error)}\n${story}`, { cause: error })
    }
    for (const [name, count] of Object.entries(counts)) total[name] = (total[name] ?? 0) + count
    // A world in which nothing went wrong, or nothing was checked, proves nothing.
    expect(
      FAULTS.reduce((sum, name) => sum + counts[name], 0),
      story,
    ).toBeGreaterThan(0)
    expect(counts.answers, story).toBeGreaterThan(0)
  }
  process.stdout.write(`simulation/speed: ${JSON.stringify(total)}\n`)
  if (isGate) for (const name of [...FAULTS, 'repeats']) expect(total[name], name).toBeGreaterThan(0)
})
