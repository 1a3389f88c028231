/** The demo talks to the platform by HTTP, as anybody would. */
import { systemClock } from '#io/clock.ts'
import type { EventLog } from '#io/ports.ts'
import type { Definitions } from '#metrics/definition.ts'
import { eventsTopic } from '#schemas/topics.ts'

const DEADLINE_MS = 120_000

/** One JSON request. @throws Error with the problem's code and detail */
export async function call<T>(url: string, method: string, path: string, body?: unknown): Promise<T> {
  const response = await fetch(`${url}${path}`, {
    method,
    ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  })
  const answer = (await response.json()) as { code?: string; detail?: string }
  if (!response.ok) throw new Error(`${method} ${path}: ${answer.code} ${answer.detail}`)
  return answer as T
}

/** Asks until `done` says so. @throws Error after two minutes */
async function until<T>(what: string, ask: () => Promise<T>, done: (answer: T) => boolean): Promise<T> {
  const deadline = systemClock.monotonic() + DEADLINE_MS
  for (;;) {
    const answer = await ask()
    if (done(answer)) return answer
    if (systemClock.monotonic() > deadline)
      throw new Error(`${what} took longer than two minutes: ${JSON.stringify(answer).slice(0, 300)}`)
    await systemClock.sleep(50)
  }
}

/** Waits for a job's end. @throws Error when it did not complete */
export async function completed(url: string, id: string): Promise<void> {
  const ended = new Set(['completed', 'failed', 'cancelled'])
  const job = await until(
    `job ${id}`,
    () => call<{ state: string; error: unknown }>(url, 'GET', `/v1/jobs/${id}`),
    ({ state }) => ended.has(state),
  )
  if (job.state !== 'completed') throw new Error(`job ${id} ${job.state}: ${JSON.stringify(job.error)}`)
}

/** Waits until every metric answers for all that is on the log now, from a view and the partials behind it. */
export async function settled(url: string, log: EventLog, definitions: Definitions): Promise<void> {
  for (const { name, stream } of definitions.metrics) {
    const ends = await log.endOffsets(eventsTopic(stream.name))
    await until(
      `the answer of ${name}`,
      () =>
        call<{ envelope: { cut: number; offsets: number[] } }>(
          url,
          'GET',
          `/v1/metrics/${name}/query?order=from&limit=1`,
        ),
      ({ envelope }) => envelope.cut > 0 && ends.every((end, partition) => (envelope.offsets[partition] ?? 0) >= end),
    )
  }
}
