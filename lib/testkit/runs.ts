/**
 * Two knobs turn any random suite into a campaign or a replay: SEED and RUNS_MULTIPLIER. Every suite prints both.
 * Source: TanStack/db packages/db/tests/oracle-config.ts.
 */

/** Seed of this process's random tests: env SEED, else derived from the process id and printed, so that it can be given again. */
export const SEED: number = Number(process.env['SEED'] ?? (process.pid * 2_654_435_761) % 2_147_483_647)

/** Parameters for fast-check's `assert`; prints how to repeat the run. */
export function runs(count: number, suite: string): { seed: number; numRuns: number } {
  const numRuns = Math.max(1, Math.round(count * Number(process.env['RUNS_MULTIPLIER'] ?? 1)))
  process.stdout.write(`${suite}: ${numRuns} runs, repeat with SEED=${SEED}\n`)
  return { seed: SEED, numRuns }
}

/** A small seeded generator (mulberry32) for tests that need a stream of numbers in [0, 1). */
export function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}
