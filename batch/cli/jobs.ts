/** Jobs on the command line: start, wait with a progress bar, control. A job that fails or is cancelled gives exit code 1. */
import { setTimeout as sleep } from 'node:timers/promises'
import { SingleBar } from 'cli-progress'
import type { JobView } from '#io/ports.ts'
import { type Api, CliError } from './client.ts'
import { linesOf, tableOf } from './print.ts'

const POLL_MS = 250

/** Adds a job. */
export async function addJob(api: Api, data: Readonly<Record<string, unknown>>): Promise<JobView> {
  return (await api.call('POST', '/v1/jobs', { body: data })).json as JobView
}

/** A job by id. */
export async function getJob(api: Api, id: string): Promise<JobView> {
  return (await api.call('GET', `/v1/jobs/${encodeURIComponent(id)}`)).json as JobView
}

/** Waits until a job is at its end, with a bar on stderr when that is a terminal. @throws CliError when it failed or was cancelled */
export async function waitForJob(api: Api, id: string): Promise<JobView> {
  const bar = process.stderr.isTTY
    ? new SingleBar({
        format: '{type} [{bar}] {percentage} %, {state}{left}',
        hideCursor: true,
        stream: process.stderr,
      })
    : null
  let job = await getJob(api, id)
  bar?.start(100, 0, { type: job.type, state: job.state, left: '' })
  for (; job.state === 'waiting' || job.state === 'active' || job.state === 'paused'; job = await getJob(api, id)) {
    const left = job.eta_ms === null ? '' : `, about ${Math.ceil(job.eta_ms / 1000)} s left`
    bar?.update(Math.round(job.progress * 100), { type: job.type, state: job.state, left })
    await sleep(POLL_MS)
  }
  bar?.update(Math.round(job.progress * 100), { type: job.type, state: job.state, left: '' })
  bar?.stop()
  if (job.state === 'completed') return job
  const { code, message, hint } = job.error ?? {
    code: 'JOB_STATE',
    message: `The job was ${job.state}.`,
    hint: 'Start it again with `tidemark jobs retry`.',
  }
  throw new CliError({ code, detail: `Job ${id}: ${message}`, hint }, 1)
}

/** The list of `GET /v1/jobs`, with or without an envelope. */
export const jobsOf = (json: unknown): JobView[] =>
  (Array.isArray(json) ? json : (json as { jobs: JobView[] }).jobs) as JobView[]

/** Jobs as a table. */
export const jobsTable = (jobs: readonly JobView[]): string =>
  tableOf(
    ['id', 'type', 'state', 'progress', 'created', 'error'],
    jobs.map(({ id, type, state, progress, created_at, error }) => [
      id,
      type,
      state,
      `${Math.round(progress * 100)} %`,
      created_at.slice(0, 19),
      error?.code ?? null,
    ]),
  )

/** One job as lines, with a table of the views that it built; `--json` has it whole. */
export function jobLines({ id, type, state, progress, eta_ms, result, error, data }: JobView): string {
  const views = (result as { views?: readonly Readonly<Record<string, unknown>>[] } | null)?.views
  const head = ['metric', 'arm', 'cut', 'days', 'rows', 'files']
  const lines = linesOf({
    id,
    type,
    state,
    progress: `${Math.round(progress * 100)} %`,
    ...(eta_ms === null ? {} : { eta_ms }),
    ...data,
    ...(result === null || Array.isArray(views) ? {} : { result }),
    ...(error === null ? {} : { error: `${error.code}: ${error.message}`, hint: error.hint }),
  })
  return Array.isArray(views)
    ? `${lines}\n\n${tableOf(
        head,
        views.map((view) => head.map((name) => view[name] ?? null)),
      )}`
    : lines
}

/** `metric=flights plan=true` → fields of a job; `true`, `false` and whole numbers become such. */
export function fieldsOf(pairs: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf('=')
      if (at < 1)
        throw new CliError(
          {
            code: 'USAGE',
            detail: `${pair} is not of the form field=value.`,
            hint: 'For example: tidemark jobs run build-view metric=*',
          },
          2,
        )
      const text = pair.slice(at + 1)
      const value = text === 'true' ? true : text === 'false' ? false : /^\d{1,15}$/.test(text) ? Number(text) : text
      return [pair.slice(0, at), value]
    }),
  )
}
