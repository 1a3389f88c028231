import { defineConfig } from 'vitest/config'

/** One project per suite of notes/style; services are never assumed outside `integration`, `browser` and `chaos`. */
const suite = (name: string, include: string[], testTimeout: number) => ({
  test: { name, include, testTimeout, hookTimeout: 120_000, pool: 'forks' as const },
})

export default defineConfig({
  test: {
    maxWorkers: 2,
    reporters: ['default', './test/reporter.ts'],
    projects: [
      suite('unit', ['{lib,schemas,services,batch,platform,infra}/**/*.test.ts'], 30_000),
      suite('tidy', ['test/tidy/**/*.test.ts'], 30_000),
      suite('laws', ['test/laws/**/*.test.ts'], 60_000),
      suite('differential', ['test/differential/**/*.test.ts'], 120_000),
      suite('simulation', ['test/simulation/**/*.test.ts'], 120_000),
      suite('registry', ['test/registry/**/*.test.ts'], 120_000),
      suite('embedded', ['test/embedded/**/*.test.ts'], 180_000),
      suite('integration', ['test/integration/**/*.test.ts'], 300_000),
      suite('browser', ['test/browser/**/*.test.ts'], 180_000),
      suite('chaos', ['test/chaos/**/*.test.ts'], 600_000),
    ],
  },
})
