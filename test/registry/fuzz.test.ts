/**
 * Goal: nothing that is sent makes the registry answer 5xx, die, or keep memory. Method: a registry in a process of its own, requests
 * drawn by the seed over real sockets; between rounds everything is put back and the heap is sampled after a collection.
 * RUNS_MULTIPLIER=25 sends 100,000.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import http from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { random, runs, SEED } from '#testkit/runs.ts'
import { FUZZ_SUBJECTS, type FuzzRequest, fuzzBytes, fuzzRequest } from './fuzz.ts'
import { type HostedRegistry, hostRegistry } from './hosted.ts'

const AT_ONCE = 8
const ROUNDS = 8
/** Heap that a round may leave behind, on the whole. What is kept for ever, ids and settings of five subjects, is far below. */
const LEFT_BYTES = 8 * 1024 * 1024

let directory: string
let registry: HostedRegistry
const agent = new http.Agent({ keepAlive: true, maxSockets: AT_ONCE })
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tidemark-registry-fuzz-'))
  registry = await hostRegistry(directory)
})
afterAll(async () => {
  agent.destroy()
  await registry?.stop()
  await rm(directory, { recursive: true, force: true })
})

/** A body below this many bytes is sent before its answer can be there: a request without one was lost. */
const WHOLE_BYTES = 16_384

interface Answer {
  readonly status: number
  readonly text: string
}

function send({ method, path, headers, body }: FuzzRequest): Promise<Answer> {
  const { hostname, port } = new URL(registry.url)
  return new Promise((resolve, reject) => {
    // What an HTTP client may not write goes out percent-encoded; raw bytes are fuzzBytes's part.
    const target = path.replace(/[^!-~]/gu, (c) => encodeURIComponent(c.isWellFormed() ? c : '?'))
    const framed = body === null ? headers : { ...headers, 'content-length': body.length }
    const request = http.request({ hostname, port, method, path: target, headers: framed, agent }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => resolve({ status: response.statusCode!, text: Buffer.concat(chunks).toString() }))
      response.on('error', reject)
    })
    // A server may answer and close before a large body was sent whole: no answer at all counts as none, not as a failure.
    request.on('error', (error: NodeJS.ErrnoException) =>
      error.code === 'ECONNRESET' || error.code === 'EPIPE' ? resolve({ status: 0, text: '' }) : reject(error),
    )
    request.end(body ?? undefined)
  })
}

const plain = (method: string, path: string, body?: unknown): Promise<Answer> =>
  send({
    method,
    path,
    headers: body === undefined ? {} : { 'content-type': 'application/vnd.schemaregistry.v1+json' },
    body: body === undefined ? null : Buffer.from(JSON.stringify(body)),
  })

/** Puts everything back: modes, levels, subjects. References are gone from their ends first. */
async function wipe(): Promise<void> {
  await plain('PUT', '/mode?force=true', { mode: 'READWRITE' })
  await plain('DELETE', '/config')
  for (let round = 0; round < 6; round++) {
    const subjects = JSON.parse((await plain('GET', '/subjects?deleted=true')).text) as string[]
    if (subjects.length === 0) break
    for (const subject of new Set([...subjects, ...FUZZ_SUBJECTS])) {
      const path = encodeURIComponent(subject)
      await plain('DELETE', `/mode/${path}`)
      await plain('DELETE', `/config/${path}`)
      await plain('DELETE', `/subjects/${path}`)
      await plain('DELETE', `/subjects/${path}?permanent=true`)
    }
  }
}

const show = ({ method, path, headers, body }: FuzzRequest, { status, text }: Answer): string =>
  `${method} ${path.slice(0, 300)} ${JSON.stringify(headers).slice(0, 300)} ${body?.toString().slice(0, 600) ?? ''}\n→ ${status} ${text.slice(0, 300)}`

it('[R1] malformed requests: never a 5xx, always a JSON refusal, and no memory kept', async () => {
  const { numRuns } = runs(4_000, 'registry fuzz')
  const wrong = new Map<string, string>()
  const counts = new Map<number, number>()
  const heaps: number[] = []
  let asked = 0
  const round = async (count: number): Promise<void> => {
    let left = count
    const worker = async (): Promise<void> => {
      while (left-- > 0) {
        // Each draws for itself: one source for all would be drawn from in the order of the answers, which no seed repeats.
        const draw = random(SEED + asked++ * 7_919)
        const request = fuzzRequest(draw)
        const answer = await send(request)
        // A registry that is read-only is soon told everything: modes are mostly put back at once.
        if (request.path.startsWith('/mode') && request.method === 'PUT' && answer.status === 200 && draw() < 0.8)
          await plain('PUT', request.path, { mode: 'READWRITE' })
        counts.set(answer.status, (counts.get(answer.status) ?? 0) + 1)
        const isOurs = answer.status >= 400 && request.method !== 'HEAD'
        const isLost = answer.status === 0 && (request.body?.length ?? 0) < WHOLE_BYTES
        const isBad = answer.status >= 500 || isLost || (isOurs && !isRefusal(answer))
        // One example of each kind tells enough.
        const kind = `${answer.status} ${Object.keys(parsed(answer.text)).join()} ${String(parsed(answer.text)['error_code'])}`
        if (isBad && !wrong.has(kind)) wrong.set(kind, show(request, answer))
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, worker))
    await wipe()
  }
  for (let i = 0; i < ROUNDS; i++) {
    await round(Math.ceil(numRuns / ROUNDS))
    heaps.push((await registry.sample()).heapBytes)
  }
  const shown = [...counts].toSorted(([a], [b]) => a - b).map(([status, count]) => `${status}: ${count}`)
  const megabytes = heaps.map((bytes) => (bytes / 2 ** 20).toFixed(1))
  process.stdout.write(`registry fuzz: ${numRuns} requests; ${shown.join(', ')}; heap MiB ${megabytes.join(' ')}\n`)
  expect([...wrong.keys()], [...wrong.values()].join('\n')).toEqual([])
  expect(registry.alive).toBe(true)
  expect((await plain('GET', '/subjects')).status).toBe(200)
  for (const status of [200, 400, 404, 405, 406, 409, 415, 422])
    expect(counts.get(status) ?? 0, `${status}`).toBeGreaterThan(0)
  expect(heaps.at(-1)! - heaps[1]!, megabytes.join(' ')).toBeLessThan(LEFT_BYTES)
}, 1_800_000)

function parsed(text: string): Record<string, unknown> {
  try {
    return (JSON.parse(text) as Record<string, unknown> | null) ?? {}
  } catch {
    return {}
  }
}

function isRefusal({ text }: Answer): boolean {
  const { error_code: code, message } = parsed(text)
  return typeof code === 'number' && typeof message === 'string' && message !== ''
}

it('[R1] bytes that are no request: the connection ends, the registry lives', async () => {
  const { numRuns } = runs(300, 'registry fuzz of bytes')
  const draw = random(SEED ^ 0x5bd1e995)
  const { hostname, port } = new URL(registry.url)
  const wrong: string[] = []
  const one = (bytes: Buffer): Promise<string> =>
    new Promise((resolve) => {
      const socket = connect(Number(port), hostname, () => socket.end(bytes))
      let text = ''
      socket.on('data', (chunk) => (text += chunk.toString('latin1')))
      socket.on('error', () => resolve(text))
      socket.on('close', () => resolve(text))
      socket.setTimeout(200, () => socket.destroy())
    })
  let left = numRuns
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      const bytes = fuzzBytes(draw)
      const text = await one(bytes)
      if (/^HTTP\/1\.[01] 5/m.test(text))
        wrong.push(`${bytes.toString('latin1').slice(0, 300)}\n→ ${text.slice(0, 200)}`)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  expect(wrong, wrong.join('\n')).toEqual([])
  expect(registry.alive).toBe(true)
  expect((await plain('GET', '/subjects')).status).toBe(200)
}, 600_000)
