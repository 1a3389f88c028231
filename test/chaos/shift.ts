/**
 * A shift: drives a platform over HTTP through whatever happens to it. Every call is repeated until it is answered, with the same
 * event ids, as a careful client does; what died is brought back by the place before each try. Then it judges: merged
 * answers against the recompute, drift, verify.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { DriftReport } from '#schemas/drift.ts'
import {
  type AnsweredRow,
  answered,
  differences,
  METRICS,
  type Metric,
  recompute,
  type Scan,
  type Scanner,
} from './parcels.ts'

const PATIENCE_MS = 300_000
const metrics = Object.keys(METRICS) as Metric[]

/** A job as the API shows it. */
export interface JobAnswer {
  readonly id: string
  readonly type: string
  readonly state: string
  readonly result: unknown
  readonly error: { readonly code: string; readonly message: string } | null
}

/** A merged answer. */
export interface MergedAnswer {
  readonly rows: readonly (AnsweredRow & { readonly finality: string })[]
  readonly envelope: {
    readonly cut: number
    readonly offsets: readonly number[]
    readonly shares: { readonly batch: number; readonly speed: number }
  }
}

/** What ingest answers. */
export interface Taken {
  readonly accepted: number
  readonly rejected: readonly { index: number; code: string; reason: string; field?: string }[]
}

/** What is driven. */
export interface Place {
  /** The API, by path: ingest may live elsewhere. */
  readonly url: (path: string) => string
  /** Brings back what is dead; does nothing when all live. Called before every try. */
  readonly revive: () => Promise<void>
  /** How many deaths there were: work that a dead process had begun is asked for again. */
  readonly deaths: () => number
}

/** Waits until it is true. @throws Error naming what did not come about within five minutes */
export async function until(what: string, ask: () => Promise<boolean>): Promise<void> {
  for (const end = performance.now() + PATIENCE_MS; performance.now() < end; await sleep(50)) if (await ask()) return
  throw new Error(`after ${PATIENCE_MS / 1000} s still not: ${what}`)
}

/** Drives one platform. */
export class Shift {
  readonly #place: Place

  constructor(place: Place) {
    this.#place = place
  }

  /**
   * Asks until the answer is 2xx: an answer that never came, 5xx, 409 and 429 are tried again.
   * @throws Error after five minutes, or on an answer that no repetition changes
   */
  async ask<T>(path: string, body?: unknown): Promise<T> {
    const end = performance.now() + PATIENCE_MS
    for (;;) {
      const { value, trouble, hopeless } = await this.#tryOnce<T>(path, body)
      if (value !== undefined) return value
      if (hopeless || performance.now() > end) throw new Error(`${path}: ${trouble}`)
      await sleep(50)
    }
  }

  async #tryOnce<T>(path: string, body: unknown): Promise<{ value?: T; trouble: string; hopeless: boolean }> {
    await this.#place.revive()
    try {
      const answer = await fetch(new URL(path, this.#place.url(path)), {
        ...(body === undefined
          ? {}
          : { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(30_000),
      })
      const text = await answer.text()
      if (answer.ok) return { value: JSON.parse(text) as T, trouble: '', hopeless: false }
      const hopeless = answer.status < 500 && answer.status !== 409 && answer.status !== 429
      return { trouble: `${answer.status} ${text}`, hopeless }
    } catch (error) {
      return { trouble: String((error as { cause?: unknown }).cause ?? error), hopeless: false }
    }
  }

  /** Sends scans until they are acknowledged; a repeated try carries the same ids. */
  send(scans: readonly unknown[]): Promise<Taken> {
    return this.ask<Taken>('/v1/streams/scans/events', scans)
  }

  /** Puts a barrier; the offsets behind it. */
  barrier(): Promise<{ id: number; offsets: number[] }> {
    return this.ask('/v1/streams/scans/barriers', {})
  }

  /** Waits until the answers stand on everything that is on the stream's topic now. */
  async settle(): Promise<void> {
    const { end_offsets: ends } = await this.ask<{ end_offsets: number[] }>('/v1/streams/scans')
    for (const metric of metrics) {
      await until(`${metric} stands on ${ends.join(', ')}`, async () => {
        const { offsets, refusal } = await this.ask<{ offsets: number[]; refusal: unknown }>(`/v1/metrics/${metric}`)
        return refusal === null && ends.every((end, partition) => (offsets[partition] ?? 0) >= end)
      })
    }
  }

  /** A whole merged answer. */
  query(metric: Metric): Promise<MergedAnswer> {
    return this.ask(`/v1/metrics/${metric}/query`, { group_by: METRICS[metric], numbers: 'string' })
  }

  /** Where merged answers differ from the recompute of these scans, in words; empty = nowhere. */
  async differences(scans: Iterable<Scan>): Promise<string[]> {
    const all = [...scans]
    const found: string[] = []
    for (const metric of metrics) {
      const { rows } = await this.query(metric)
      found.push(...differences(answered(rows), recompute(metric, all)).map((one) => `${metric} ${one}`))
    }
    return found
  }

  /** Runs a job to its end. After a death it is asked for again, for the queue gives back what a dead worker had only after a while. */
  async job(fields: Readonly<Record<string, unknown>>): Promise<JobAnswer> {
    let deaths = this.#place.deaths()
    let job = await this.ask<JobAnswer>('/v1/jobs', fields)
    await until(`job ${JSON.stringify(fields)} ends`, async () => {
      job = await this.ask<JobAnswer>(`/v1/jobs/${job.id}`)
      if (job.state === 'completed') return true
      if (deaths !== this.#place.deaths()) {
        deaths = this.#place.deaths()
        job = await this.ask<JobAnswer>('/v1/jobs', fields)
      } else if (job.state === 'failed' || job.state === 'cancelled') {
        throw new Error(`job ${JSON.stringify(fields)} ${job.state}: ${JSON.stringify(job.error)}`)
      }
      return false
    })
    return job
  }

  /** Builds the views of all metrics at a new cut and waits until answers stand on them. */
  async build(): Promise<void> {
    await this.job({ type: 'build-view', metric: '*' })
    for (const metric of metrics) {
      const { views } = await this.ask<{ views: { cut: number }[] }>(`/v1/views/${metric}`)
      await until(`${metric} is answered from its newest view`, async () => {
        return (await this.ask<{ cut: number }>(`/v1/metrics/${metric}`)).cut >= views[0]!.cut
      })
    }
  }

  /** Compares SQL view and stream view of every metric; the reports. */
  async drift(): Promise<DriftReport[]> {
    const reports: DriftReport[] = []
    for (const metric of metrics) {
      await this.job({ type: 'drift', metric })
      reports.push(await this.ask<DriftReport>(`/v1/drift/${metric}`))
    }
    return reports
  }

  /** Verifies the archive row by row; its report. */
  async verify(): Promise<{ ok: boolean; rows: number; findings: { severity: string }[] }> {
    const { result } = await this.job({ type: 'verify', stream: 'scans', deep: true })
    const [report] = (Array.isArray(result) ? result : [result]) as {
      ok: boolean
      rows: number
      findings: { severity: string }[]
    }[]
    return report!
  }
}

/** One round of work: two lots of scans with a barrier between them, then new views and drift. */
export async function workRound(shift: Shift, scanner: Scanner): Promise<void> {
  await shift.send(scanner.some(40))
  await shift.barrier()
  await shift.send(scanner.some(40))
  await shift.build()
  await shift.drift()
}

/**
 * What is wrong with a platform now, in words: differences before and after a build, drift, damage. Empty = nothing. Sends more
 * first, many of them for the second time, so that there is a sealed and an open epoch behind the cut of the last view: there,
 * answers stand on what the speed layer remembered.
 */
export async function complaintsOf(shift: Shift, scanner: Scanner): Promise<string[]> {
  await shift.send(scanner.some(40))
  await shift.barrier()
  await shift.send(scanner.some(40))
  await shift.settle()
  const wrong = await shift.differences(scanner.scans.values())
  await shift.build()
  wrong.push(...(await shift.differences(scanner.scans.values())).map((one) => `after a build: ${one}`))
  for (const report of await shift.drift()) {
    if (report.cells_compared === 0) wrong.push(`${report.metric}: drift compared nothing`)
    if (report.cells_different > 0) wrong.push(`${report.metric}: ${report.cells_different} cells differ`)
  }
  const { ok, rows, findings } = await shift.verify()
  if (!ok || rows === 0) wrong.push(`verify: ${JSON.stringify(findings)}, ${rows} rows`)
  return wrong
}
