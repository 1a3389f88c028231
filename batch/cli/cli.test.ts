/** Goal: what a person sees of the command line: tables within 80 columns, errors with code and hint, exit codes. Method: a scripted API. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { captured } from '#testkit/captured.ts'
import { fits, tableOf, widthOf } from './print.ts'
import { runCli } from './run.ts'

const requests: { method: string; url: string; body: string; accept: string }[] = []
let answers: { status: number; body: unknown }[] = []
let server: Server
let url: string

beforeAll(async () => {
  server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      requests.push({
        method: request.method!,
        url: request.url!,
        body: Buffer.concat(chunks).toString(),
        accept: request.headers.accept ?? '',
      })
      const { status, body } = answers.shift()!
      response
        .writeHead(status, { 'content-type': status < 400 ? 'application/json' : 'application/problem+json' })
        .end(JSON.stringify(body))
    })
  })
  // A test that stood still must not find the connection ended under its next request.
  server.keepAliveTimeout = 600_000
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => server.close())

async function run(args: string[], scripted: typeof answers = []) {
  answers = scripted
  requests.length = 0
  return captured(() => runCli(['--url', url, ...args]))
}

const row = {
  from: '2001-01-01T00:01:00.000Z',
  group: { origin: 'JFK' },
  values: { flights: 3, mean: 1 / 3 },
  finality: 'confirmed',
}
const envelope = { layer: 'merged', cut: 7, offsets: [5, 6], watermark: null, shares: { batch: 1, speed: 2 } }
const job = {
  id: '9',
  type: 'verify',
  state: 'completed',
  progress: 1,
  eta_ms: null,
  data: {},
  error: null,
  created_at: '2026-01-01T00:00:00.000Z',
  finished_at: null,
}

describe('command line', () => {
  it('[Q1] query shows rows and the envelope, and passes its options on', async () => {
    const { exitCode, out } = await run(
      ['query', 'departures', '--group-by', 'origin', '--filter', 'origin:JFK', '--order=-flights', '--as-of', '7'],
      [{ status: 200, body: { rows: [row], envelope } }],
    )
    expect(exitCode).toBe(0)
    expect(out).toContain('2001-01-01 00:01')
    expect(out).toContain('0.333333')
    expect(out).toContain('merged at cut 7, cells 1 batch + 2 speed\nwatermark none yet, offsets 5 6')
    expect(requests[0]!.url).toBe(
      '/v1/metrics/departures/query?group_by=origin&filter=origin%3AJFK&order=-flights&as_of=7&numbers=string',
    )
  })

  it('[Q1] --json prints the answer as it came', async () => {
    const { out } = await run(['query', 'departures', '--json'], [{ status: 200, body: { rows: [row], envelope } }])
    expect(JSON.parse(out)).toEqual({ rows: [row], envelope })
  })

  it('[Q3] a refusal is printed as code, detail and hint, with exit code 1', async () => {
    const problem = { code: 'CUT_UNCOVERED', detail: 'departures: partition 0 …', hint: 'Wait for the speed layer.' }
    const refused = await run(['query', 'departures'], [{ status: 409, body: problem }])
    expect(refused).toMatchObject({ exitCode: 1, error: `CUT_UNCOVERED: ${problem.detail}\n${problem.hint}\n` })
    const json = await run(['query', 'departures', '--json'], [{ status: 409, body: problem }])
    expect(JSON.parse(json.out)).toEqual(problem)
  })

  it('exit codes: 2 for wrong usage, 69 when nobody answers', async () => {
    expect((await run(['query'])).exitCode).toBe(2)
    expect((await run(['jobs', 'run', 'verify', 'stream'])).exitCode).toBe(2)
    expect((await run(['metrics', '--url', 'http://127.0.0.1:9'])).exitCode).toBe(69)
    expect((await run(['--help'])).exitCode).toBe(0)
  })

  it('[B4] jobs run adds a job with its fields and waits for its end', async () => {
    const failed = {
      ...job,
      state: 'failed',
      error: { code: 'DUCKDB_FAILED', message: 'no memory', hint: 'Give more.' },
    }
    const { exitCode, error } = await run(
      ['jobs', 'run', 'build-view', 'metric=*', 'plan=true', '--key', 'k', '--wait'],
      [
        { status: 202, body: job },
        { status: 200, body: { ...job, state: 'active', progress: 0.5 } },
        { status: 200, body: failed },
      ],
    )
    expect(JSON.parse(requests[0]!.body)).toEqual({ type: 'build-view', metric: '*', plan: true, key: 'k' })
    expect(exitCode).toBe(1)
    expect(error).toContain('DUCKDB_FAILED: Job 9: no memory')
  })

  it('[B4] jobs show lists the views that a job built as a table', async () => {
    const views = [{ metric: 'departures', arm: 'sql', cut: 7, days: 1, rows: 6792, files: 1, generation: 'g' }]
    const { out } = await run(['jobs', 'show', '9'], [{ status: 200, body: { ...job, result: { views } } }])
    expect(out).toMatch(/metric +arm +cut +days +rows +files\ndepartures +sql +7 +1 +6792 +1\n/)
    expect(out).not.toContain('{')
  })

  it('streams are a table whose columns can be read', async () => {
    const stream = {
      stream: 'flights',
      doc: 'Time-lapse of flights, one day per minute; event times mapped onto today.',
      topic: 'events.flights',
      partitions: 4,
      key: 'origin',
      id: 'flight_id',
      dedup_horizon_epochs: 60,
      retention: null,
      event_time: { field: 'scheduled', unit: 'ms' },
    }
    const { out } = await run(['streams'], [{ status: 200, body: { streams: [stream] } }])
    expect(out).toMatch(/flights +events\.flights +4 +origin +flight_id +60 epochs +–/)
  })

  it('[B3] views are a table whose columns can be read', async () => {
    const view = {
      sequence: 2,
      arm: 'sql',
      generation: '820237e96e7b',
      definition_hash: 'f'.repeat(64),
      cut: 7,
      rows: 188,
    }
    const views = [{ ...view, published: '2026-11-21T10:34:01.123Z', current: true, files: [] }]
    const { out } = await run(['views', 'network'], [{ status: 200, body: { views } }])
    expect(out).toMatch(/^ *2 +7 +sql +820237e96e7b +188 +2026-11-21T10:34:01 +true$/m)
  })

  it('--version is that of the package', async () => {
    const { version } = JSON.parse(await readFile('package.json', 'utf8')) as { version: string }
    expect(await run(['--version'])).toMatchObject({ exitCode: 0, out: `${version}\n` })
  })

  it('[L1] verify ends with exit code 1 when there is damage', async () => {
    const result = {
      ok: false,
      files: 3,
      findings: [
        {
          severity: 'damage',
          kind: 'rows',
          path: 'events/a.parquet',
          first: 1,
          next: 5,
          message: 'A row is gone.',
          remedy: 'Restore it.',
        },
      ],
    }
    const found = await run(
      ['verify'],
      [
        { status: 202, body: job },
        { status: 200, body: { ...job, result } },
      ],
    )
    expect(found.exitCode).toBe(1)
    expect(found.out).toContain('damage rows events/a.parquet [1, 5)\n  A row is gone.\n  Restore it.')
    expect(
      (
        await run(
          ['verify'],
          [
            { status: 202, body: job },
            { status: 200, body: { ...job, result: { findings: [] } } },
          ],
        )
      ).exitCode,
    ).toBe(0)
  })

  it('[F1] drift shows the counts, the causes, and the names of other reports', async () => {
    const report = {
      report: '9',
      cut: 9,
      cells_different: 1,
      causes: [{ cause: 'missing', cells: 1 }],
      differences: [],
      revision: null,
      reports: ['9', '7'],
    }
    const { out } = await run(['drift', 'departures'], [{ status: 200, body: report }])
    expect(out).toContain('cells_different: 1')
    expect(out).toMatch(/cause +cells\nmissing +1/)
    expect(out).toContain('all reports: 9 7')
  })

  it('[M5] definitions check lists every problem with its file, without a platform', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'tidemark-cli-'))
    await mkdir(join(directory, 'streams'))
    await writeFile(join(directory, 'streams', 'bad.yaml'), 'stream: bad\nschema: absent.avsc\nkey: [\n')
    const { exitCode, out } = await run(['definitions', 'check', directory])
    expect(exitCode).toBe(1)
    expect(out).toMatch(/bad\.yaml:\d+/)
    await rm(directory, { recursive: true })
  })

  it('tables stay within 80 columns of a terminal and cut long cells visibly; elsewhere nothing is cut', () => {
    const rows = [
      ['a', 'long '.repeat(40), 12],
      [null, 'short', 3],
    ]
    const text = tableOf(['name', 'text', 'number'], rows, widthOf({ isTTY: true, columns: 200 }))
    expect(tableOf(['name', 'text', 'number'], rows, widthOf({}))).toContain('long '.repeat(40).trimEnd())
    expect(widthOf({ isTTY: true, columns: 60 })).toBe(60)
    for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(80)
    expect(text).toContain('…')
    expect(text).toContain('–')
    expect(tableOf(['a'], [])).toBe('(none)')
    expect([fits(['name'], [['a'.repeat(80)]], 80), fits(['name'], [['a'.repeat(81)]], 80)]).toEqual([true, false])
  })
})
