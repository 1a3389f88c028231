import { defineConfig } from 'vitest/config'

/**
 * One project per suite of notes/style; services are never assumed outside `integration`, `browser` and `chaos`. Times are those of a
 * machine many times slower than any that was seen: they end what hangs, and say nothing about speed.
 */
const suite = (name: string, include: string[], testTimeout: number, globalSetup: string[] = []) => ({
  test: { name, include, testTimeout, hookTimeout: 600_000, pool: 'forks' as const, globalSetup },
})
const KAFKA = ['test/integration/setup.ts']

export default defineConfig({
  test: {
    maxWorkers: 2,
    reporters: ['default', './test/reporter.ts'],
    projects: [
      suite('unit', ['{lib,schemas,services,batch,platform,infra}/**/*.test.ts'], 300_000),
      suite('tidy', ['test/tidy/**/*.test.ts'], 300_000),
      suite('laws', ['test/laws/**/*.test.ts'], 600_000),
      suite('differential', ['test/differential/**/*.test.ts'], 600_000),
      suite('simulation', ['test/simulation/**/*.test.ts'], 600_000),
      suite('registry', ['test/registry/**/*.test.ts'], 600_000),
      suite('embedded', ['test/embedded/**/*.test.ts'], 900_000),
      suite('integration', ['test/integration/**/*.test.ts'], 900_000, KAFKA),
      suite('browser', ['test/browser/**/*.test.ts'], 600_000),
      suite('chaos', ['test/chaos/**/*.test.ts'], 1_800_000, KAFKA),
    ],
  },
})
