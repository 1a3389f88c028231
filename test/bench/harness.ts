/**
 * What all benches share: a variant is a process of its own that prints one JSON line, a figure is the median of its runs, a
 * result whose check failed is no figure. CPU-seconds stand beside wall time; other load on the machine is shown, not hidden.
 */
import { execFile, execFileSync, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, loadavg, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import Table from 'cli-table3'

/** How a run was asked for. */
export interface BenchOptions {
  /** A tenth of the load and one run: shows that everything works, its figures mean little. */
  readonly quick: boolean
  readonly runs: number
}

/** One bench: what it measures, and its table. */
export interface Bench {
  readonly name: string
  /** False leaves it out unless it is named by `--only`. */
  readonly usual: boolean
  run(options: BenchOptions): Promise<void>
}

/** Figures of one run of a variant. `ok` false: the result was wrong, so the figures do not count. */
export type Figures = Readonly<Record<string, number>> & { readonly ok: number }

const MARK = 'BENCH '
const root = fileURLToPath(new URL('../..', import.meta.url))

/** Ends a variant: its figures for the parent process. */
export const report = (figures: Figures): void => void process.stdout.write(`${MARK}${JSON.stringify(figures)}\n`)

/** Runs a variant in a process of its own. @throws Error when it fails or prints no figures */
export function runVariant(
  file: string,
  args: readonly (string | number)[],
  flags: readonly string[] = [],
): Promise<Figures> {
  const child = spawn(process.execPath, [...flags, file, ...args.map(String)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    cwd: root,
  })
  let out = ''
  child.stdout.on('data', (data: Buffer) => {
    out += data.toString()
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => {
      const line = out.split('\n').find((each) => each.startsWith(MARK))
      if (code !== 0 || line === undefined)
        return reject(new Error(`${file} ${args.join(' ')} ended with ${code}: ${out.slice(-500)}`))
      resolve(JSON.parse(line.slice(MARK.length)) as Figures)
    })
  })
}

/** Every variant `runs` times, interleaved, so that a drift of the machine meets all of them; medians per figure. */
export async function medians(
  variants: Readonly<Record<string, () => Promise<Figures>>>,
  runs: number,
): Promise<Map<string, { median: Figures; low: Figures; high: Figures }>> {
  const all = new Map<string, Figures[]>(Object.keys(variants).map((name) => [name, []]))
  for (let run = 0; run < runs; run++) {
    for (const [name, start] of Object.entries(variants)) {
      const figures = await start()
      process.stderr.write(`  ${name}, run ${run + 1} of ${runs}: ${figures.ok === 1 ? 'ok' : 'WRONG RESULT'}\n`)
      all.get(name)!.push(figures)
    }
  }
  return new Map(
    [...all].map(([name, samples]) => {
      const pick = (place: (sorted: number[]) => number): Figures =>
        Object.fromEntries(
          Object.keys(samples[0]!).map((key) => [
            key,
            place(samples.map((one) => one[key]!).toSorted((a, b) => a - b)),
          ]),
        ) as Figures
      const ok = samples.every((one) => one.ok === 1) ? 1 : 0
      return [
        name,
        {
          median: { ...pick((sorted) => sorted[sorted.length >> 1]!), ok },
          low: pick((sorted) => sorted[0]!),
          high: pick((sorted) => sorted.at(-1)!),
        },
      ]
    }),
  )
}

/** The value at quantile `q` of unsorted numbers. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN
}

/** User and system CPU-seconds of a process so far, threads included, children not. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** Resident memory of a process in MB, now and at its peak. */
export function memoryMb(pid: number | 'self'): { now: number; peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1')
  const of = (name: string) => (Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? 0) * 1024) / 1e6
  return { now: of('VmRSS'), peak: of('VmHWM') }
}

/** A number for a table: 3 significant digits at least, thousands apart. */
export function show(value: number, digits = 1): string {
  if (!Number.isFinite(value)) return '-'
  return Math.abs(value) >= 1_000
    ? Math.round(value).toLocaleString('en')
    : value.toFixed(Math.abs(value) < 10 ? Math.max(digits, 2) : digits)
}

/** `1.3x ok` or `0.7x MISSED`: a figure against its gate. `atMost`: smaller is better. */
export function against(value: number, gate: number, kind: 'atLeast' | 'atMost'): string {
  const held = kind === 'atLeast' ? value >= gate : value <= gate
  return `${kind === 'atLeast' ? '≥' : '≤'} ${show(gate)} ${held ? 'ok' : 'MISSED'}`
}

/** Prints a table of at most 100 columns under a heading. */
export function printTable(
  heading: string,
  head: readonly string[],
  rows: readonly (readonly string[])[],
  notes: readonly string[] = [],
): void {
  const table = new Table({
    head: [...head],
    style: { head: [], border: [], compact: true },
    colAligns: head.map((_, at) => (at === 0 ? 'left' : 'right')),
    chars: {
      top: '',
      'top-mid': '',
      'top-left': '',
      'top-right': '',
      bottom: '',
      'bottom-mid': '',
      'bottom-left': '',
      'bottom-right': '',
      left: '',
      'left-mid': '',
      mid: '─',
      'mid-mid': '─',
      right: '',
      'right-mid': '',
      middle: ' ',
    },
  })
  for (const row of rows) table.push([...row])
  process.stdout.write(`\n${heading}\n${table.toString()}\n${notes.map((note) => wrapped(note)).join('')}`)
}

/** A note in lines of at most 100 columns. */
const wrapped = (note: string): string => `${note.replace(/(.{1,96})(?:\s+|$)/g, '  $1\n')}`

/** Machine, Node, date, commit: what figures mean nothing without. */
export function describeMachine(): string {
  const git = (...args: string[]): string => {
    try {
      return execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim()
    } catch {
      return ''
    }
  }
  const dirty = git('status', '--porcelain', '--untracked-files=no') === '' ? '' : ' + changes'
  const [first] = cpus()
  return [
    `${cpus().length} x ${first?.model.trim() ?? 'unknown CPU'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.versions.node}`,
    `${new Date().toISOString().slice(0, 16)}Z, commit ${git('rev-parse', '--short', 'HEAD') || 'unknown'}${dirty}, load ${loadavg()[0]!.toFixed(1)} before the start`,
  ].join('\n')
}

/** Whether a command can be run. */
export const hasCommand = (command: string): Promise<boolean> =>
  new Promise((resolve) => execFile(command, ['--version'], (error) => resolve(error === null)))
