/**
 * A registry on a log in memory for unit tests: asks over HTTP, answers as data, what stands in its log. The registry's own start is
 * passed in, for the kit knows no service.
 */
import { expect, onTestFinished } from 'vitest'
import { encodeBatch, openBatch, readRecord } from '#format/record-batch.ts'
import { systemClock } from '#io/clock.ts'
import type { Clock, EventLog } from '#io/ports.ts'
import { SCHEMAS_TOPIC } from '#schemas/topics.ts'
import { type AppendFault, createMemoryLog, type MemoryLog } from './log-memory.ts'

const V1_JSON = 'application/vnd.schemaregistry.v1+json'

/** An answer; the body is parsed JSON. */
export interface Answer {
  readonly status: number
  readonly body: unknown
}
/** A 200 with a JSON body. */
export const ok = (body: unknown): Answer => ({ status: 200, body })
export const refused = (error_code: number, message: unknown): Answer => ({
  status: error_code >= 10_000 ? Math.floor(error_code / 100) : error_code,
  body: { error_code, message },
})

/** A log in memory; `onAppend` decides on a fault per append. */
export const memoryLog = (onAppend?: (attempt: number) => AppendFault | null, clock = systemClock): MemoryLog =>
  createMemoryLog({
    clock,
    ...(onAppend === undefined ? {} : { faults: { onAppend: ({ attempt }) => onAppend(attempt) } }),
  })

type Start = (deps: {
  log: EventLog
  clock: Clock
  port: number
  host: string
  logger: { warn(context: object, message: string): void; error(context: object, message: string): void }
}) => Promise<{ readonly url: string; close(): Promise<void> }>

/** What a test does with a registry. */
export interface Served {
  readonly url: string
  /** What it logged. */
  readonly logged: readonly string[]
  /** Asks with `body` as JSON (a text as it is). */
  readonly ask: (method: string, path: string, body?: unknown, type?: string) => Promise<Answer>
  /** Registers `schema` under a subject, with `more` in the body. */
  readonly register: (subject: string, schema: unknown, more?: object, query?: string) => Promise<Answer>
  readonly close: () => Promise<void>
}

/** Starts a registry that ends with the test. */
export async function serve(start: Start, log: EventLog = memoryLog()): Promise<Served> {
  const logged: string[] = []
  const note = (_context: object, message: string): unknown => logged.push(message)
  const logger = { warn: note, error: note }
  const running = await start({ log, clock: systemClock, port: 0, host: '127.0.0.1', logger })
  onTestFinished(() => running.close())
  const ask: Served['ask'] = async (method, path, body, type = V1_JSON) => {
    const text = typeof body === 'string' ? body : JSON.stringify(body)
    const sent = body === undefined ? {} : { body: text, headers: { 'content-type': type } }
    const response = await fetch(`${running.url}${path}`, { method, ...sent })
    expect(response.headers.get('content-type')).toBe(V1_JSON)
    return { status: response.status, body: await response.json() }
  }
  return {
    url: running.url,
    logged,
    ask,
    register: (subject, schema, more = {}, query = '') =>
      ask('POST', `/subjects/${encodeURIComponent(subject)}/versions${query}`, {
        schema: JSON.stringify(schema),
        ...more,
      }),
    close: () => running.close(),
  }
}

/** Every record of `_schemas` as text. */
export async function recordsOf(log: MemoryLog): Promise<(readonly [string, string | null])[]> {
  const found: (readonly [string, string | null])[] = []
  const reader = await log.open(SCHEMAS_TOPIC, [{ partition: 0, offset: 0 }])
  for (const { bytes } of await reader.poll({ maxWaitMs: 0, maxBytes: 2 ** 24 })) {
    const opened = openBatch(bytes, 0)
    if ('dead' in opened) throw new Error(opened.dead)
    for (let at = readRecord(opened.cursor); at !== null; at = readRecord(opened.cursor)) {
      found.push([Buffer.from(at.key!).toString(), at.value === null ? null : Buffer.from(at.value).toString()])
    }
  }
  await reader.close()
  return found
}

/** Appends what another registry wrote: keys and values as JSON, or as text. Creates the topic. */
export async function appendForeign(log: MemoryLog, records: readonly (readonly [unknown, unknown])[]): Promise<void> {
  await log.createTopics([{ topic: SCHEMAS_TOPIC, partitions: 1, retentionMs: null, cleanup: 'compact' }])
  const bytes = (value: unknown): Uint8Array | null =>
    value === null ? null : new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value))
  const inputs = records.map(([key, value]) => ({ key: bytes(key), value: bytes(value) }))
  await log.append(SCHEMAS_TOPIC, 0, encodeBatch(inputs, 0))
}

/** A record schema of the given fields. */
export const record = (...fields: unknown[]): object => ({ type: 'record', name: 'R', fields })
