/**
 * Two knobs turn any random suite into a campaign or a replay: SEED and RUNS_MULTIPLIER. Every suite prints both.
 * Without SEED the gate draws the same worlds each time, so that a red gate means a changed program and never a rare draw;
 * `npm run test:random` (SEED=random) draws new ones.
 * Source: TanStack/db packages/db/tests/oracle-config.ts.
 */

export { random } from '#core/random.ts'

const GATE_SEED = 20_260_101
const asked = process.env['SEED'] ?? String(GATE_SEED)

/** Seed of this process's random tests: env SEED, a new one with SEED=random, else the gate's. Printed, so that it can be given again. */
export const SEED: number = asked === 'random' ? (process.pid * 2_654_435_761) % 2_147_483_647 : Number(asked)

/**
 * True when the draws are the gate's, whole: only then may a suite demand that each rare case came up, since a short or a newly
 * drawn run may miss one without anything being wrong.
 */
export const isGate: boolean = SEED === GATE_SEED && Number(process.env['RUNS_MULTIPLIER'] ?? 1) >= 1

/** Parameters for fast-check's `assert`; prints how to repeat the run. */
export function runs(count: number, suite: string): { seed: number; numRuns: number } {
  const numRuns = Math.max(1, Math.round(count * Number(process.env['RUNS_MULTIPLIER'] ?? 1)))
  process.stdout.write(`${suite}: ${numRuns} runs, repeat with SEED=${SEED}\n`)
  return { seed: SEED, numRuns }
}
