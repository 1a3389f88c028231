/**
 * The whole of the real data: 3,000,000 flights fed as fast as the embedded platform takes them, views of all metrics built, every
 * flight accounted for. Then, over the archive that this leaves: the job's own DuckDB work against the bare query (build-view).
 */
import { rmSync } from 'node:fs'
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { systemClock } from '#io/clock.ts'
import { openDuckDb, shareDuckDb } from '#io/duckdb.ts'
import { openLakeFolder } from '#io/lake-folder.ts'
import type { JobContext } from '#io/ports.ts'
import { archiveRelation } from '../../batch/archive-input.ts'
import { archiveAt } from '../../batch/await-cut.ts'
import { buildViews } from '../../batch/jobs/build-view.ts'
import {
  against,
  type Bench,
  type Figures,
  medians,
  memoryMb,
  printTable,
  report,
  runVariant,
  show,
} from './harness.ts'
import { loadBenchDefinitions } from './load.ts'
import { BenchPlatform, eventually } from './platform.ts'

const file = fileURLToPath(import.meta.url)
/** The demo's metrics over the flights' own times of 2001. */
const definitions = fileURLToPath(new URL('../../platform/demo/definitions', import.meta.url))
const METRICS = ['departures', 'delays_by_band', 'network']
const ALL = 3_000_000

/** Directory that a run of `flights` left, for build-view; made on demand. */
let archived: { directory: string; flights: number; cut: number } | null = null
process.once('exit', () => {
  if (archived !== null) rmSync(archived.directory, { recursive: true, force: true })
})

export const flights: Bench = {
  name: 'flights',
  usual: true,
  async run({ quick }) {
    const count = quick ? ALL / 10 : ALL
    const figures = await feedAll(count)
    printTable(
      `flights: ${show(count)} real flights through the embedded platform, all views built (one run)`,
      ['step', 'seconds', 'flights/s', 'gate'],
      [
        ['on the log', show(figures['fed']!), show(count / figures['fed']!), ''],
        ['served, all of them', show(figures['served']!), show(count / figures['served']!), ''],
        ['archived and views built', show(figures['built']!), show(count / figures['built']!), ''],
        ['CPU-seconds of it all', show(figures['cpu']!), show(count / figures['cpu']!), ''],
        ['peak memory, MB', show(figures['peak']!, 0), '', against(figures['peak']!, 1_000, 'atMost')],
        ['memory 30 s later, MB', show(figures['after']!, 0), '', against(figures['after']!, 600, 'atMost')],
      ],
      [figures.ok === 1 ? 'every flight is counted once in every metric' : 'WRONG: the flights do not add up'],
    )
  },
}

export const buildView: Bench = {
  name: 'build-view',
  usual: true,
  async run({ quick, runs }) {
    const count = quick ? ALL / 10 : ALL
    if (archived?.flights !== count) await feedAll(count)
    const { directory, cut } = archived!
    const variants = [1, 2].flatMap((threads) => METRICS.map((metric) => ({ metric, threads })))
    const found = await medians(
      Object.fromEntries(
        variants.map(({ metric, threads }) => [
          `${metric} ${threads}`,
          () => runVariant(file, [directory, metric, threads, cut]),
        ]),
      ),
      runs,
    )
    printTable(
      `build-view (E3): ${show(count)} archived rows, the job against the bare query over the same Parquet`,
      ['metric', 'threads', 'bare s', 'job s', 'ratio', 'job CPU s', 'peak MB', 'gate'],
      variants.map(({ metric, threads }) => {
        const { median } = found.get(`${metric} ${threads}`)!
        return [
          metric,
          String(threads),
          show(median['bare']!, 2),
          median.ok === 1 ? show(median['job']!, 2) : 'WRONG',
          show(median['ratio']!, 2),
          show(median['cpu']!, 2),
          show(median['peak']!, 0),
          `${against(median['ratio']!, 2, 'atMost')}`,
        ]
      }),
      [
        'bare: the definition’s query over read_parquet of the archive, into a table; no duplicates removed, nothing written',
        'job: all of it in a warm process: manifests, duplicates, query, day files with fsync, entry; E3 asks for 1.3',
      ],
    )
  },
}

/** Feeds, builds, checks; leaves the lake for build-view. */
async function feedAll(count: number): Promise<Figures> {
  const platform = await BenchPlatform.start({ definitions })
  try {
    const before = performance.now()
    const cpu = platform.cpu()
    const elapsed = (): number => (performance.now() - before) / 1_000
    await platform.feed({ flights: count })
    const fed = elapsed()
    await eventually('all metrics', async () => {
      for (const metric of METRICS) if ((await platform.total(metric, 'flights')) !== count) return false
      return true
    })
    const served = elapsed()
    const { result } = await platform.job({ type: 'build-view', metric: '*' })
    const built = elapsed()
    const used = platform.cpu() - cpu
    const { peak } = platform.memory()
    let ok = 1
    for (const metric of METRICS) if ((await platform.total(metric, 'flights')) !== count) ok = 0
    await new Promise((resolve) => setTimeout(resolve, 30_000))
    const after = platform.memory().now
    await platform.stop()
    if (archived !== null) await rm(archived.directory, { recursive: true, force: true })
    const directory = await mkdtemp(join(tmpdir(), 'tidemark-bench-lake-'))
    await cp(join(platform.directory, 'lake'), join(directory, 'lake'), { recursive: true })
    archived = { directory, flights: count, cut: cutOf(result) }
    return { ok, fed, served, built, cpu: used, peak, after }
  } finally {
    await platform.remove()
  }
}

/** The cut of a finished build. */
function cutOf(result: unknown): number {
  const cut = /"cut":(\d+)/.exec(JSON.stringify(result))?.[1]
  if (cut === undefined) throw new Error(`a build tells no cut: ${JSON.stringify(result)}`)
  return Number(cut)
}

async function child(directory: string, metricName: string, threads: number, cut: number): Promise<void> {
  const loaded = await loadBenchDefinitions(definitions)
  const metric = loaded.metrics.find(({ name }) => name === metricName)!
  // The views go to a folder of their own, the archive is read where it is.
  const scratch = await mkdtemp(join(tmpdir(), 'tidemark-bench-views-'))
  const limits = { threads, memoryMb: 512, temporaryDirectory: join(scratch, 'spill') }
  try {
    await cp(join(directory, 'lake'), scratch, { recursive: true, filter: (path) => !path.includes('/views/') })
    const lake = await openLakeFolder(scratch)
    const job: JobContext = {
      id: 'bench',
      signal: new AbortController().signal,
      progress: async () => {},
      log: async () => {},
    }
    const deps = {
      lake,
      clock: systemClock,
      openDuckDb: shareDuckDb(limits),
      waitMs: 0,
      log: null as never,
      definitions: loaded,
      putBarrier: async () => ({ id: cut }),
    }
    const bare = async (): Promise<number> => {
      const db = await openDuckDb(limits)
      try {
        const archive = (await archiveAt(lake, metric.stream.name, cut))!
        const relation = await archiveRelation(db, lake, metric.stream, archive, archive.files)
        const before = performance.now()
        await db.run(`CREATE TEMP TABLE bare AS ${metric.toSql({ relation, windows: null })}`)
        return (performance.now() - before) / 1_000
      } finally {
        db.close()
      }
    }
    const build = async (): Promise<{ seconds: number; rows: number; cpu: number }> => {
      await rm(join(scratch, 'views'), { recursive: true, force: true })
      const usage = process.cpuUsage()
      const before = performance.now()
      const [built] = await buildViews(deps, metric.stream, [metric], { cut, days: 'all' }, job)
      const seconds = (performance.now() - before) / 1_000
      const used = process.cpuUsage(usage)
      return { seconds, rows: built!.view.rows, cpu: (used.user + used.system) / 1e6 }
    }
    await bare()
    await build()
    const [a, x, b, y] = [await bare(), await build(), await bare(), await build()]
    const bareS = Math.min(a, b)
    const jobS = Math.min(x.seconds, y.seconds)
    report({
      ok: x.rows === y.rows && x.rows > 0 ? 1 : 0,
      bare: bareS,
      job: jobS,
      ratio: jobS / bareS,
      cpu: Math.min(x.cpu, y.cpu),
      peak: memoryMb('self').peak,
    })
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}

if (import.meta.main) await child(process.argv[2]!, process.argv[3]!, Number(process.argv[4]), Number(process.argv[5]))
