/**
 * The registry alone, in a process of its own on a SQLite log: look-ups and registrations per second and per core, and the start with
 * ten thousand schemas. Clients and server share the machine's cores; a figure per core divides by the CPU time of the server.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import autocannon from 'autocannon'
import { systemClock } from '#io/clock.ts'
import { type HostedRegistry, hostRegistry } from '../registry/hosted.ts'
import { against, type Bench, type Figures, medians, printTable, report, runVariant, show } from './harness.ts'

const file = fileURLToPath(import.meta.url)
const V1_JSON = 'application/vnd.schemaregistry.v1+json'
const SCHEMAS = 10_000
const SUBJECTS = 1_000
const AT_ONCE = 16

/** Looks that are measured; the draw picks a schema. */
const LOOKS = ['by id', 'latest of a subject', 'under a subject'] as const

export const registry: Bench = {
  name: 'registry',
  usual: true,
  async run({ quick, runs }) {
    const found = await medians(
      { registry: () => runVariant(file, [quick ? SCHEMAS / 10 : SCHEMAS, quick ? 1 : 5]) },
      runs,
    )
    const { median, low, high } = found.get('registry')!
    const range = (key: string): string => `${show(low[key]!)}..${show(high[key]!)}`
    const row = (name: string, gate: string): string[] => [
      name,
      show(median[`${name} rate`]!),
      show(median[`${name} perCore`]!),
      range(`${name} perCore`),
      show(median[`${name} p99`]!),
      gate,
    ]
    printTable(
      `registry: ${show(median['schemas']!)} schemas in ${show(median['subjects']!)} subjects, SQLite log, ${AT_ONCE} clients at once`,
      ['request', 'per s', 'per s and core', 'range per core', 'p99 ms', 'gate per core'],
      [
        ...LOOKS.map((name) => row(name, name === 'by id' ? against(median['by id perCore']!, 10_000, 'atLeast') : '')),
        row('register again', ''),
        row('register new', ''),
      ],
      [
        `start with ${show(median['schemas']!)} schemas: ${show(median['start']!)} ms, ${against(median['start']!, 3_000, 'atMost')}; CPU time of the process by then ${show(median['startCpu']!)} ms`,
        `heap with them: ${show(median['heap']!)} MiB; per core means per second of the server's CPU time`,
        ...(median.ok === 1 ? [] : ['WRONG: an answer was none']),
      ],
    )
  },
}

const schemaOf = (n: number): string =>
  JSON.stringify({
    type: 'record',
    name: `R${n % SUBJECTS}`,
    namespace: 'bench',
    fields: [
      { name: 'id', type: 'string' },
      { name: 'at', type: { type: 'long', logicalType: 'timestamp-millis' } },
      ...Array.from({ length: Math.floor(n / SUBJECTS) }, (_, i) => ({
        name: `added_${i}`,
        type: ['null', 'double'],
        default: null,
      })),
      { name: 'amount', type: 'double', doc: `schema ${n}` },
    ],
  })
const subjectOf = (n: number): string => `bench-${n % SUBJECTS}-value`

async function post(url: string, path: string, schema: string): Promise<Record<string, unknown>> {
  const response = await fetch(`${url}${path}`, {
    method: 'POST',
    headers: { 'content-type': V1_JSON },
    body: JSON.stringify({ schema }),
  })
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`)
  return (await response.json()) as Record<string, unknown>
}

/** Registers numbers [from, until) by clients at once; ids by number. */
async function registerAll(url: string, range: { from: number; until: number }, ids: number[]): Promise<number[]> {
  let next = range.from
  const latencies: number[] = []
  const client = async (): Promise<void> => {
    for (let n = next++; n < range.until; n = next++) {
      const before = systemClock.monotonic()
      ids[n] = (await post(url, `/subjects/${subjectOf(n)}/versions`, schemaOf(n)))['id'] as number
      latencies.push(systemClock.monotonic() - before)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, client))
  return latencies
}

/** The rate of `work`, by wall clock and by the server's CPU time. */
async function rated(server: HostedRegistry, work: () => Promise<{ count: number; p99: number }>) {
  const before = await server.sample()
  const begun = systemClock.monotonic()
  const { count, p99 } = await work()
  const seconds = (systemClock.monotonic() - begun) / 1_000
  const after = await server.sample()
  return { rate: count / seconds, perCore: count / ((after.cpuMs - before.cpuMs) / 1_000), p99 }
}

const p99Of = (latencies: readonly number[]): number =>
  latencies.toSorted((a, b) => a - b)[Math.floor(latencies.length * 0.99)]!

async function measure(schemas: number, seconds: number): Promise<Figures> {
  const directory = await mkdtemp(join(tmpdir(), 'tidemark-bench-registry-'))
  let server = await hostRegistry(directory)
  try {
    const figures: Record<string, number> = {}
    const note = (name: string, rates: { rate: number; perCore: number; p99: number }): void => {
      for (const [key, value] of Object.entries(rates)) figures[`${name} ${key}`] = value
    }
    const ids: number[] = []
    const registering = (name: string) =>
      rated(server, async () => {
        const latencies = await registerAll(server.url, { from: 0, until: schemas }, ids)
        return { count: latencies.length, p99: p99Of(latencies) }
      }).then((rates) => note(name, rates))
    await registering('register new')
    const distinct = new Set(ids).size
    await registering('register again')
    await server.stop()
    server = await hostRegistry(directory)
    const { heapBytes, cpuMs } = await server.sample()
    let missed = 0
    for (const name of LOOKS) {
      const requests = Array.from({ length: 2_000 }, (_, i) => lookOf(name, (i * 7_919) % schemas, ids))
      const run = (duration: number) => autocannon({ url: server.url, connections: AT_ONCE, duration, requests })
      await run(1)
      const rates = await rated(server, async () => {
        const { requests: total, latency, non2xx } = await run(seconds)
        missed += non2xx
        return { count: total.total, p99: latency.p99 }
      })
      note(name, rates)
    }
    return {
      ...figures,
      ok: distinct === schemas && missed === 0 ? 1 : 0,
      schemas,
      subjects: Math.min(schemas, SUBJECTS),
      start: server.startMs,
      startCpu: cpuMs,
      heap: heapBytes / 2 ** 20,
    }
  } finally {
    await server.stop()
    await rm(directory, { recursive: true, force: true })
  }
}

function lookOf(name: (typeof LOOKS)[number], n: number, ids: readonly number[]) {
  if (name === 'by id') return { method: 'GET' as const, path: `/schemas/ids/${ids[n]}` }
  if (name === 'latest of a subject')
    return { method: 'GET' as const, path: `/subjects/${subjectOf(n)}/versions/latest` }
  return {
    method: 'POST' as const,
    path: `/subjects/${subjectOf(n)}`,
    headers: { 'content-type': V1_JSON },
    body: JSON.stringify({ schema: schemaOf(n) }),
  }
}

if (import.meta.main) {
  report(await measure(Number(process.argv[2]), Number(process.argv[3])))
  process.exit(0)
}
