/**
 * Tidemark among the engines of ../shared/peers: the folder is copied and built elsewhere, Tidemark joins by two lines of its
 * peers.json, and its own runner starts broker and engines alternately, checks every row and measures all in the same way.
 *
 *   tidemark        Kafka to durable sealed partials on Kafka        tidemark-emit   also every final row as JSON on Kafka
 *
 * BENCH_PEERS_DIR names another folder with the peers, BENCH_PEERS_WORK where they are built and run.
 */
import { spawn } from 'node:child_process'
import { cp, mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { MEMORY_ARGS, SERVICE_MEMORY_ENV } from '../../platform/memory.ts'
import { against, type Bench, hasCommand, printTable, quantile, show } from './harness.ts'

const here = fileURLToPath(new URL('.', import.meta.url))
const source = process.env['BENCH_PEERS_DIR'] ?? fileURLToPath(new URL('../../../shared/peers', import.meta.url))
const work = process.env['BENCH_PEERS_WORK'] ?? join(tmpdir(), 'tidemark-bench-peers')
const ENGINES = ['streams', 'flink', 'kafkajs', 'tidemark', 'tidemark-emit']

interface PeerRun {
  readonly peer: string
  readonly ok: boolean
  readonly error?: string
  readonly records_per_s: number
  readonly records_per_cpu_s: number
  readonly cpu_s: number
  readonly other_cpu_s: number
  readonly wall_s: number
  readonly peak_rss_bytes: number
}

function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  const child = spawn(command, args, { cwd: join(work, 'peers'), env, stdio: ['ignore', 'ignore', 'inherit'] })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code) =>
      code === 0 ? resolve() : reject(new Error(`${command} ${args.join(' ')} ended with ${code}`)),
    )
  })
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  )

/** Copies the peers and adds ours; a former build is kept. */
async function prepare(): Promise<void> {
  await mkdir(work, { recursive: true })
  const target = join(work, 'peers')
  await cp(source, target, { recursive: true, filter: (path) => !/\/(node_modules|target)$/.test(path) })
  const file = join(target, 'peers.json')
  const peers = JSON.parse(await readFile(file, 'utf8')) as Record<string, string[]>
  // As the services are started.
  const settled = Object.entries(SERVICE_MEMORY_ENV).map(([name, value]) => `${name}=${value}`)
  for (const [name, mode] of [
    ['tidemark', 'sealed'],
    ['tidemark-emit', 'emit'],
  ] as const) {
    peers[name] = ['/usr/bin/env', ...settled, '$NODE24', ...MEMORY_ARGS, join(here, 'peer/main.ts'), mode]
  }
  await writeFile(file, JSON.stringify(peers, null, 1))
}

export const peers: Bench = {
  name: 'peers',
  usual: process.env['BENCH_PEERS'] === '1',
  async run({ quick, runs }) {
    const missing = [
      ...((await exists(join(source, 'run.sh'))) ? [] : [`the folder ${source}`]),
      ...((await hasCommand('java')) ? [] : ['java']),
      ...((await hasCommand('mvn')) ? [] : ['mvn']),
    ]
    if (missing.length > 0) {
      process.stdout.write(`\npeers: SKIPPED, there is no ${missing.join(', no ')}\n`)
      return
    }
    await prepare()
    const out = join(work, 'results.json')
    const size = quick ? ['--records', '300000', '--users', '10000'] : []
    await run(
      'bash',
      [
        'run.sh',
        '--peers',
        ENGINES.join(','),
        '--runs',
        String(runs),
        '--out',
        out,
        '--work',
        join(work, 'run'),
        ...size,
      ],
      {
        ...process.env,
        NODE24: process.execPath,
        NODE: process.execPath,
      },
    )
    const { results } = JSON.parse(await readFile(out, 'utf8')) as { results: PeerRun[] }
    print(results)
  },
}

function print(results: readonly PeerRun[]): void {
  const median = (peer: string, key: keyof PeerRun): number =>
    quantile(
      results.filter((one) => one.peer === peer && one.error === undefined).map((one) => one[key] as number),
      0.5,
    )
  const right = (peer: string): string => {
    const all = results.filter((one) => one.peer === peer)
    return `${all.filter((one) => one.ok).length}/${all.length}`
  }
  printTable(
    'peers: Kafka to results, both KPIs, medians',
    ['peer', 'k rec/s', 'k rec/CPU-s', 'wall s', 'CPU s', 'other CPU s', 'peak MB', 'right'],
    ENGINES.map((peer) => [
      peer,
      show(median(peer, 'records_per_s') / 1e3, 0),
      show(median(peer, 'records_per_cpu_s') / 1e3, 0),
      show(median(peer, 'wall_s')),
      show(median(peer, 'cpu_s')),
      show(median(peer, 'other_cpu_s')),
      show(median(peer, 'peak_rss_bytes') / 1e6, 0),
      right(peer),
    ]),
  )
  const gates: readonly (readonly [string, string, number])[] = [
    ['tidemark', 'streams', 20],
    ['tidemark', 'flink', 10],
    ['tidemark', 'kafkajs', 10],
    ['tidemark-emit', 'streams', 5],
    ['tidemark-emit', 'flink', 5],
    ['tidemark-emit', 'kafkajs', 5],
  ]
  printTable(
    'peers: ratios in this run (E1)',
    ['ours', 'against', 'per CPU-s', 'gate', 'memory', 'gate'],
    gates.map(([ours, peer, gate]) => {
      const ratio = median(ours, 'records_per_cpu_s') / median(peer, 'records_per_cpu_s')
      const memory = median(ours, 'peak_rss_bytes') / median(peer, 'peak_rss_bytes')
      return [
        ours,
        peer,
        `${show(ratio)}x`,
        against(ratio, gate, 'atLeast'),
        show(memory, 2),
        peer === 'kafkajs' ? '' : against(memory, 0.25, 'atMost'),
      ]
    }),
    [
      'CPU from the first record on, as the peers’ README says; “other CPU s” is foreign load: distrust a wall time with much of it',
    ],
  )
}
