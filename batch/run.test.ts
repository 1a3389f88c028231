/**
 * Goal: over HTTP, a job builds views, drift follows, and every promise of the API about jobs, views and reports holds.
 * Method: the real queue (embedded PostgreSQL), worker and routes; archive and speed are plain code over the sales.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { systemClock } from '#io/clock.ts'
import { createHttp, type HttpApp } from '#io/http.ts'
import { openEmbeddedJobs } from '#io/jobs.ts'
import type { JobQueue, Registry } from '#io/ports.ts'
import { untilState } from '#testkit/jobs-conformance.ts'
import { createMemoryLake } from '#testkit/lake-memory.ts'
import { createMemoryLog } from '#testkit/log-memory.ts'
import { random, SEED } from '#testkit/runs.ts'
import {
  archiveSales,
  expectedRows,
  loadSales,
  randomSales,
  type SaleRecord,
  sealSales,
  viewRows,
} from '#testkit/sales.ts'
import { batchRoutes } from './routes.ts'
import { startBatch } from './run.ts'

process.stdout.write(`batch: repeat with SEED=${SEED}\n`)

const directory = await mkdtemp(join(tmpdir(), 'tidemark-batch-'))
const lake = createMemoryLake()
const log = createMemoryLog({ clock: systemClock })
const definitions = await loadSales()
const source = randomSales(random(SEED), 12)
const partitions: SaleRecord[][] = [[], []]
let jobs: JobQueue
let app: HttpApp
let batch: { close(): Promise<void> }
let barriers = 0
const warnings: string[] = []

/** The rest of the platform: the next events arrive, then the barrier; archive and speed follow. */
async function putBarrier(): Promise<{ id: number }> {
  const id = ++barriers
  for (const [at, records] of source.entries()) {
    const until = records.findIndex((record) => 'barrier' in record && record.barrier === id) + 1
    partitions[at]!.push(...records.slice(partitions[at]!.length, until))
  }
  await archiveSales(lake, partitions, 50)
  await sealSales(log, definitions.metrics[0]!, partitions)
  return { id }
}

beforeAll(async () => {
  jobs = await openEmbeddedJobs({ directory, clock: systemClock, controlPollMs: 50, backoffMs: 20 })
  batch = await startBatch({
    jobs,
    log,
    lake,
    registry: null as unknown as Registry,
    definitions,
    clock: systemClock,
    putBarrier,
    logger: {
      info: () => undefined,
      warn: (fields, message) => void warnings.push(`${message} ${JSON.stringify(fields)}`),
    },
    verify: async (stream, { deep, onProgress }) => {
      await onProgress(0.5)
      return { ok: true, stream, deep }
    },
    threads: 1,
    memoryMb: 256,
    temporaryDirectory: null,
    // No night falls while these tests run.
    nightly: { pattern: '0 2 29 2 *', zone: 'Europe/London' },
  })
  app = await createHttp({
    name: 'test',
    version: '0',
    title: 'Test',
    logger: false,
    bodyLimitBytes: 10_000,
    ready: () => ({ parts: {} }),
  })
  await app.register(batchRoutes, { jobs, lake, definitions, clock: systemClock })
})
afterAll(async () => {
  await app?.close()
  await batch?.close()
  lake.dispose()
  await rm(directory, { recursive: true, force: true })
})

async function call(method: 'GET' | 'POST', url: string, body?: object) {
  const answer = await app.inject({ method, url, ...(body === undefined ? {} : { payload: body }) })
  return { status: answer.statusCode, body: answer.json(), type: answer.headers['content-type'] }
}

test('[B2] [B3] [B4] a build-view job publishes a view at its barrier; drift follows and is zero', async () => {
  const added = await call('POST', '/v1/jobs', { type: 'build-view', metric: '*', key: 'first' })
  expect(added).toMatchObject({ status: 202, body: { type: 'build-view', data: { metric: '*' }, error: null } })
  const done = await untilState(jobs, added.body.id, 'completed')
  expect(done.result).toEqual({
    views: [
      {
        metric: 'takings',
        arm: 'sql',
        generation: definitions.metrics[0]!.generation,
        cut: 1,
        rows: expect.any(Number),
        files: expect.any(Number),
        days: expect.any(Number),
      },
    ],
  })
  expect((await call('POST', '/v1/jobs', { type: 'build-view', metric: '*', key: 'first' })).body).toMatchObject({
    id: added.body.id,
    state: 'completed',
    progress: 1,
    eta_ms: null,
  })
  expect(barriers).toBe(1)
  expect((await call('GET', `/v1/jobs/${added.body.id}/logs`)).body.lines[0]).toMatch(/view of takings at cut 1/)

  const again = await call('POST', '/v1/jobs', { type: 'build-view', metric: 'takings', days: 'all' })
  await untilState(jobs, again.body.id, 'completed')
  const { views } = (await call('GET', '/v1/views/takings')).body
  expect(views.map((view: { cut: number; current: boolean }) => [view.cut, view.current])).toEqual([
    [2, true],
    [1, false],
  ])
  expect(views[0].offsets).toEqual(partitions.map((records) => records.length))
  expect(
    await viewRows(
      lake,
      views[0].files.map((file: { path: string }) => file.path),
    ),
  ).toEqual(expectedRows(partitions, views[0].offsets))

  const listed = (await call('GET', '/v1/jobs?type=drift')).body.jobs
  expect(listed.length).toBe(2)
  for (const job of listed) await untilState(jobs, job.id, 'completed')
  const drift = await call('GET', '/v1/drift/takings')
  expect(drift).toMatchObject({
    status: 200,
    body: { report: '2', cut: 2, cells_different: 0, unexplained: 0, causes: [], revision: null },
  })
  expect(drift.body.reports[0]).toBe('2')
  expect((await call('GET', `/v1/drift/takings/2`)).body).toMatchObject({
    metric: 'takings',
    cut: 2,
    offsets: views[0].offsets,
  })
  expect(warnings).toEqual([])
})

test('[B3] rollback over HTTP points back, and the views say so', async () => {
  expect((await call('POST', '/v1/views/takings/rollback')).body).toMatchObject({
    sequence: 3,
    cut: 1,
    rollback_of: 1,
    current: true,
  })
  expect((await call('POST', '/v1/views/takings/rollback', { to: 2 })).body).toMatchObject({
    sequence: 4,
    cut: 2,
    rollback_of: 2,
  })
  expect((await call('POST', '/v1/views/takings/rollback', { to: 99 })).body).toMatchObject({
    status: 404,
    code: 'VIEW_UNKNOWN',
  })
})

test('[B4] verify runs through its own function; jobs can be cancelled and retried over HTTP', async () => {
  const verify = await call('POST', '/v1/jobs', { type: 'verify', stream: '*', deep: true })
  expect((await untilState(jobs, verify.body.id, 'completed')).result).toEqual({ ok: true, stream: '*', deep: true })
  expect((await call('POST', `/v1/jobs/${verify.body.id}/cancel`)).body).toMatchObject({
    status: 409,
    code: 'JOB_STATE',
  })
  const behind = await jobs.add('build-view', { metric: 'takings', cut: 999 })
  await untilState(jobs, behind.id, 'active')
  expect((await call('POST', `/v1/jobs/${behind.id}/pause`)).body.state).toBe('paused')
  expect((await call('POST', `/v1/jobs/${behind.id}/resume`)).body.state).toBe('active')
  await call('POST', `/v1/jobs/${behind.id}/cancel`)
  await untilState(jobs, behind.id, 'cancelled')
})

test('what cannot be done is refused by name', async () => {
  const refused: [body: object, status: number, code: string, field?: string][] = [
    [{ type: 'build-view', metric: 'nothing' }, 404, 'METRIC_UNKNOWN'],
    [{ type: 'build-view' }, 400, 'REQUEST_INVALID'],
    [{ type: 'drift', metric: 'takings', days: 'all' }, 400, 'REQUEST_INVALID'],
    [{ type: 'build-view', metric: '*', days: 'some' }, 400, 'REQUEST_INVALID', 'days'],
    [{ type: 'verify', stream: 'nothing' }, 404, 'STREAM_UNKNOWN'],
    [{ type: 'paint', metric: '*' }, 400, 'REQUEST_INVALID', 'type'],
    [
      { type: 'replay', metric: 'takings', source: 'log', promote: 'never', plan: true },
      501,
      'NOT_IMPLEMENTED',
      'type',
    ],
    [{ type: 'backfill', stream: 'sales', files: '*.csv' }, 501, 'NOT_IMPLEMENTED', 'type'],
  ]
  for (const [body, status, code, field] of refused) {
    const answer = await call('POST', '/v1/jobs', body)
    expect(answer, JSON.stringify(body)).toMatchObject({
      status,
      body: { status, code, ...(field === undefined ? {} : { field }) },
    })
    expect(answer.type).toMatch(/^application\/problem\+json/)
  }
  expect((await call('POST', '/v1/jobs', { type: 'replay', metric: 'takings' })).body.detail).toMatch(
    /not in this version yet/,
  )
  for (const path of ['/v1/jobs?typ=drift', '/v1/views/takings?limits=1'])
    expect((await call('GET', path)).body, path).toMatchObject({ status: 400, code: 'REQUEST_INVALID' })
  expect((await call('GET', '/v1/jobs/nobody')).body).toMatchObject({ status: 404, code: 'JOB_UNKNOWN' })
  expect((await call('POST', '/v1/jobs/nobody/pause')).body).toMatchObject({ status: 404, code: 'JOB_UNKNOWN' })
  expect((await call('GET', '/v1/views/nothing')).body).toMatchObject({ status: 404, code: 'METRIC_UNKNOWN' })
  expect((await call('GET', '/v1/drift/nothing')).body).toMatchObject({ status: 404, code: 'METRIC_UNKNOWN' })
  expect((await call('GET', '/v1/drift/takings/999')).body).toMatchObject({ status: 404, code: 'NOT_FOUND' })
  expect((await call('GET', '/v1/drift/takings/..%2f..%2fx')).status).toBe(400)
})
