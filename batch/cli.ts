#!/usr/bin/env node
/**
 * The command line: `npx tidemark <verb>`, the same verbs as the API. This file only checks the runtime and hands over, because
 * nothing else can be loaded by a Node that does not run TypeScript.
 *
 * Exit codes: 0 done · 1 refused, failed, or findings · 2 wrong usage · 69 the platform cannot be reached (of `schemas`, the registry: 2).
 */
if (Number(process.versions.node.split('.')[0]) < 24) {
  process.stderr.write(
    `tidemark needs Node 24 or later, this is ${process.versions.node}.\nFix it with: npm ci && npx tidemark\n`,
  )
  process.exit(1)
}
const { runCli } = await import('./cli/run.ts')
process.exitCode = await runCli(process.argv.slice(2))
