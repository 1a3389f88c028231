/** Last lines of a run: every test that did not run with its reason, then one line of counts that any tool can read. */
import type { TestModule } from 'vitest/node'

/** A vitest reporter beside the default one. */
export default class Summary {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const counts = { passed: 0, failed: 0, skipped: 0 }
    for (const module of modules) {
      if (module.errors().length > 0) counts.failed++
      for (const test of module.children.allTests()) {
        const result = test.result()
        if (result.state === 'passed' || result.state === 'failed') counts[result.state]++
        else {
          counts.skipped++
          const reason = result.state === 'skipped' && result.note !== undefined ? result.note : 'as its title says'
          process.stdout.write(`skipped: ${module.relativeModuleId} › ${test.fullName}: ${reason}\n`)
        }
      }
    }
    process.stdout.write(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`)
  }
}
