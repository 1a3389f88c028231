/**
 * The registry's log: reads `_schemas` into the table, appends one decision at a time. A write is acknowledged only when
 * the log has it and the table has read it back. One registry writes to a log; others may read it.
 *
 *   read to the end → decide on the table → append → read back → answer
 *                          ▲                  │ outcome unknown
 *                          └── not found ◀── read to the end ──▶ found: answer
 */
import type { RecordInput } from '#format/record-batch.ts'
import { encodeBatch, openBatch, readRecord } from '#format/record-batch.ts'
import { classify, OperatingError } from '#io/errors.ts'
import type { Clock, EventLog, LogReader } from '#io/ports.ts'
import { SCHEMAS_TOPIC } from '#schemas/topics.ts'
import { parseRecord } from './records.ts'
import { SchemaTable } from './table.ts'

/** Where the registry tells of what it passed over. Pino's loggers fit. */
export interface RegistryLogger {
  warn(context: object, message: string): void
  error(context: object, message: string): void
}

/** Records to append and what to answer when they stand in the log. `allotted`: numbers given for the first time. */
export interface Decision<T> {
  readonly records: readonly RecordInput[]
  readonly answer: T
  readonly allotted?: { readonly id: number; readonly subject: string; readonly version: number }
}

/** The log behind the registry. */
export interface SchemaStore {
  readonly table: SchemaTable
  /** Reads to the log's present end. @throws OperatingError */
  refresh(): Promise<void>
  /** Decides on the newest table and makes it so; writes wait for one another. @throws OperatingError, or what `decide` throws */
  write<T>(decide: (table: SchemaTable) => Decision<T>): Promise<T>
  close(): Promise<void>
}

/** Appends of one write before its outcome is reported as unknown. */
const ATTEMPTS = 3
const POLL_WAIT_MS = 250
const POLL_BYTES = 4 * 1024 * 1024
/** How long reading may bring nothing although the log has more. */
const STALL_MS = 15_000

/**
 * Opens the topic (creating it when absent) and reads it whole.
 * @throws OperatingError LOG_UNREACHABLE; DATA_LOSS_SUSPECTED; CONFIG_INVALID when the topic has several partitions
 */
export async function openStore(deps: { log: EventLog; clock: Clock; logger: RegistryLogger }): Promise<SchemaStore> {
  const { log, clock, logger } = deps
  const table = new SchemaTable()
  let reader: LogReader | null = null
  /** What a write waits to see again; `seen` when the log turned out to hold it. */
  let awaited: { readonly record: RecordInput; seen: boolean } | null = null
  let tail: Promise<unknown> = Promise.resolve()

  /** One at a time, in order of arrival: readers of the log and writers alike. */
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = tail.then(work, work)
    tail = turn.catch(() => null)
    return turn
  }

  const found = await log.describeTopic(SCHEMAS_TOPIC)
  if (found === null) {
    await log.createTopics([{ topic: SCHEMAS_TOPIC, partitions: 1, retentionMs: null, cleanup: 'compact' }])
  } else if (found.partitions !== 1) {
    const message = `${SCHEMAS_TOPIC} has ${found.partitions} partitions; its order is lost`
    throw new OperatingError('CONFIG_INVALID', message, { topic: SCHEMAS_TOPIC })
  }
  let position = (await log.startOffsets(SCHEMAS_TOPIC))[0] ?? 0

  function applyBatch(bytes: Uint8Array): void {
    const opened = openBatch(bytes, position)
    if ('dead' in opened) {
      const message = `a batch of ${SCHEMAS_TOPIC} cannot be read (${opened.dead}); schemas may be missing`
      throw new OperatingError('DATA_LOSS_SUSPECTED', message, { topic: SCHEMAS_TOPIC, offset: position })
    }
    if (opened.control) return
    for (let record = readRecord(opened.cursor); record !== null; record = readRecord(opened.cursor)) {
      const { key, value, offset } = record
      const parsed = record.damaged ? null : parseRecord(key, value)
      if (parsed === null) {
        logger.warn({ topic: SCHEMAS_TOPIC, offset }, 'record is not in the format of a schema registry; passed over')
        continue
      }
      if (!table.apply(parsed)) {
        logger.error(
          { topic: SCHEMAS_TOPIC, offset },
          'record binds a known id or version to another schema; passed over',
        )
        continue
      }
      if (awaited !== null && sameBytes(key, awaited.record.key) && sameBytes(value, awaited.record.value))
        awaited.seen = true
    }
  }

  async function readTo(until: number): Promise<void> {
    let quietSince = clock.monotonic()
    try {
      if (until < position) {
        const message = `${SCHEMAS_TOPIC} ends at ${until}, before the position ${position} that was read`
        throw new OperatingError('DATA_LOSS_SUSPECTED', message, { topic: SCHEMAS_TOPIC, offset: position })
      }
      while (position < until) {
        reader ??= await log.open(SCHEMAS_TOPIC, [{ partition: 0, offset: position }])
        const batches = await reader.poll({ maxWaitMs: POLL_WAIT_MS, maxBytes: POLL_BYTES })
        for (const batch of batches) {
          applyBatch(batch.bytes)
          position = batch.lastOffset + 1
        }
        if (batches.length > 0) quietSince = clock.monotonic()
        else if (clock.monotonic() - quietSince > STALL_MS) {
          const message = `${SCHEMAS_TOPIC} brought nothing from ${position} on although it ends at ${until}`
          throw new OperatingError('LOG_UNREACHABLE', message, { topic: SCHEMAS_TOPIC, offset: position })
        }
      }
    } catch (error) {
      // The reader may stand anywhere now; the next one starts at what was applied.
      const broken = reader
      reader = null
      await broken?.close().catch(() => null)
      throw error
    }
  }

  const readToEnd = async (): Promise<void> => readTo((await log.endOffsets(SCHEMAS_TOPIC))[0] ?? 0)

  async function write<T>(decide: (table: SchemaTable) => Decision<T>): Promise<T> {
    await readToEnd()
    let unconfirmed: Decision<T>['allotted']
    try {
      for (let attempt = 1; ; attempt++) {
        const decision = decide(table)
        const first = decision.records[0]
        if (first === undefined) return decision.answer
        unconfirmed = decision.allotted
        const waiting = { record: first, seen: false }
        awaited = waiting
        try {
          const appended = await log.append(SCHEMAS_TOPIC, 0, encodeBatch(decision.records, clock.now()))
          await readTo(appended.nextOffset)
          return decision.answer
        } catch (error) {
          // The append may be in the log, may come later, or never. Read back: if it is there, it is done. If not, decide
          // again: the same numbers go to the same schema, so its coming late after all repeats the same record.
          if (classify(error).code !== 'LOG_APPEND_UNKNOWN') throw error
          await readToEnd()
          if (waiting.seen) return decision.answer
          if (attempt === ATTEMPTS) throw error
        }
      }
    } catch (error) {
      // Given up while an append may still be on its way: its numbers must not go to another schema.
      if (unconfirmed !== undefined) table.reserve(unconfirmed)
      throw error
    } finally {
      awaited = null
    }
  }

  await inTurn(readToEnd)
  return {
    table,
    refresh: () => inTurn(readToEnd),
    write: (decide) => inTurn(() => write(decide)),
    close: () =>
      inTurn(async () => {
        await reader?.close()
        reader = null
      }),
  }
}

function sameBytes(a: Uint8Array | null, b: Uint8Array | null): boolean {
  return a === null || b === null ? a === b : Buffer.compare(a, b) === 0
}
