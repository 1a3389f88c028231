/**
 * `npm run bench`: every bench, one table each. No arguments needed.
 *
 *   --only name,name   these benches          --quick   a tenth of the load, one run: a smoke test, not a measurement
 *   --runs n           runs per variant       --list    names
 *
 * The peers' bench is left out unless it is named or BENCH_PEERS=1: it takes about half an hour and needs Java and Maven.
 */
import { parseArgs } from 'node:util'
import { embedded } from './embedded.ts'
import { buildView, flights } from './flights.ts'
import { type Bench, describeMachine } from './harness.ts'
import { hotPath, linear } from './hot-path.ts'
import { peers } from './peers.ts'
import { registry } from './registry.ts'
import { recovery, serving } from './serving.ts'

const BENCHES: readonly Bench[] = [hotPath, linear, embedded, flights, buildView, serving, recovery, registry, peers]

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    quick: { type: 'boolean', default: false },
    runs: { type: 'string' },
    list: { type: 'boolean', default: false },
  },
})
if (values.list) {
  process.stdout.write(`${BENCHES.map(({ name }) => name).join('\n')}\n`)
  process.exit(0)
}
const only = values.only?.split(',') ?? null
const unknown = only?.filter((name) => !BENCHES.some((bench) => bench.name === name)) ?? []
if (unknown.length > 0) {
  process.stderr.write(`no bench ${unknown.join(', ')}; known are ${BENCHES.map(({ name }) => name).join(', ')}\n`)
  process.exit(2)
}
process.stdout.write(`${describeMachine()}\n`)
if (values.quick) process.stdout.write('quick: a tenth of the load, one run; these figures are no measurement\n')
let failed = 0
for (const bench of BENCHES) {
  if (only === null ? !bench.usual : !only.includes(bench.name)) {
    if (!bench.usual) process.stdout.write(`\n${bench.name}: left out; run it with --only ${bench.name}\n`)
    continue
  }
  process.stderr.write(`${bench.name} …\n`)
  try {
    await bench.run({ quick: values.quick, runs: Number(values.runs ?? (values.quick ? 1 : 3)) })
  } catch (error) {
    failed++
    process.stdout.write(`\n${bench.name}: FAILED: ${(error as Error).message}\n`)
  }
}
process.exit(failed === 0 ? 0 : 1)
