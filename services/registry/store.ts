/**
 * The registry's log: reads `_schemas` into the table, appends one decision at a time. A write is acknowledged only when
 * the log has it and the table has read it back and taken it. Any number of registries may write to one log: the first
 * record at a version or id holds for every reader, and who lost decides anew. Others' writes are read while they come.
 *
 *   read to the end → decide on the table → append → read back → answer
 *                          ▲                  │          └── passed over: another was first ──▶ decide again
 *                          │                  │ outcome unknown
 *                          └── not found ◀── read to the end ──▶ found: answer
 *
 * Compaction keeps a key's last record only, so what was passed over is not left standing (it is taken back by the next
 * writer, its version is not used again), and a key that stands in another spelling is taken back in that spelling too.
 */
import type { RecordInput } from '#format/record-batch.ts'
import { encodeBatch, openBatch, readRecord } from '#format/record-batch.ts'
import { classify, OperatingError } from '#io/errors.ts'
import { failpoint } from '#io/failpoints.ts'
import type { Clock, EventLog, LogReader } from '#io/ports.ts'
import { SCHEMAS_TOPIC } from '#schemas/topics.ts'
import { contextOf, encodeRemoval, encodeSchema, keyOf, parseRecord, type RegistryRecord } from './records.ts'
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

/** Records of the topic that count for nothing, since the opening. */
export interface PassedOver {
  /** Not in the format. */
  malformed: number
  /** Against what stands earlier in the log. */
  conflicting: number
}

/** The log behind the registry. */
export interface SchemaStore {
  readonly table: SchemaTable
  readonly passedOver: Readonly<PassedOver>
  /** Reads to the log's present end. @throws OperatingError */
  refresh(): Promise<void>
  /** Decides on the newest table and makes it so; writes wait for one another. @throws OperatingError, or what `decide` throws */
  write<T>(decide: (table: SchemaTable) => Decision<T>): Promise<T>
  close(): Promise<void>
}

/** Appends of one write before its outcome is reported as unknown; each that loses means that another one won. */
const ATTEMPTS = 3
const LOST_ATTEMPTS = 20
const POLL_WAIT_MS = 250
const POLL_BYTES = 4 * 1024 * 1024
/** How long one look for others' writes waits at the log, and how long after a failed one. */
const FOLLOW_WAIT_MS = 1_000
/** How long reading may bring nothing although the log has more. */
const STALL_MS = 15_000

const ascii = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')

/** What a write waits to see again: its records, one after the other. */
class Watch {
  readonly #records: readonly RecordInput[]
  #next = 0
  /** All of them stand in the log and were taken. */
  seen = false
  constructor(records: readonly RecordInput[]) {
    this.#records = records
  }
  took(key: Uint8Array | null, value: Uint8Array | null): void {
    const isAt = (index: number): boolean =>
      sameBytes(key, this.#records[index]?.key ?? null) && sameBytes(value, this.#records[index]?.value ?? null)
    this.#next = isAt(this.#next) ? this.#next + 1 : isAt(0) ? 1 : 0
    if (this.#next === this.#records.length) {
      this.seen = true
      this.#next = 0
    }
  }
}

/**
 * Opens the topic (creating it when absent) and reads it whole.
 * @throws OperatingError LOG_UNREACHABLE; DATA_LOSS_SUSPECTED; CONFIG_INVALID when the topic has several partitions
 */
export async function openStore(deps: { log: EventLog; clock: Clock; logger: RegistryLogger }): Promise<SchemaStore> {
  const { log, clock, logger } = deps
  const table = new SchemaTable()
  const passedOver: PassedOver = { malformed: 0, conflicting: 0 }
  let reader: LogReader | null = null
  let watch: Watch | null = null
  /** Keys under which a record was passed over and would outlive what holds. */
  const disputed = new Map<string, { readonly subject: string; readonly version: number }>()
  /** Keys that stand in another spelling than ours, as Karapace and older registries write them: ours → theirs. */
  const respelled = new Map<string, Uint8Array>()
  let tail: Promise<unknown> = Promise.resolve()
  const closing = new AbortController()

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
    const { timestampType, baseTimestamp, maxTimestamp } = opened.header
    const writtenMs = timestampType === 'append' ? maxTimestamp : baseTimestamp
    for (let record = readRecord(opened.cursor); record !== null; record = readRecord(opened.cursor)) {
      const { key, value, offset } = record
      const parsed = record.damaged ? null : parseRecord(key, value, writtenMs)
      if (parsed === null) {
        passedOver.malformed += 1
        logger.warn({ topic: SCHEMAS_TOPIC, offset }, 'record is not in the format of a schema registry; passed over')
      } else if (table.apply(parsed)) {
        noteKey(parsed, key!, value)
        watch?.took(key, value)
      } else {
        passedOver.conflicting += 1
        noteLoser(parsed)
        logger.error(
          { topic: SCHEMAS_TOPIC, offset },
          'record binds a known id or version to another schema; passed over',
        )
      }
    }
  }

  function noteKey(parsed: RegistryRecord, key: Uint8Array, value: Uint8Array | null): void {
    const ours = keyOf(parsed)
    if (ours === null) return
    const name = ascii(ours)
    disputed.delete(name)
    if (sameBytes(ours, key)) return
    if (value === null) respelled.delete(name)
    else respelled.set(name, key)
  }

  function noteLoser(parsed: RegistryRecord): void {
    if (parsed.kind !== 'schema') return
    const { subject, version, id, schema } = parsed.version
    // The same text with something else beside it is no other schema to Confluent's registry: that is left as it stands.
    const isOther = table.holdersOf(id, contextOf(subject))[0]?.schema !== schema
    if (isOther || table.versionOf(subject, version) !== null) disputed.set(ascii(keyOf(parsed)!), { subject, version })
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

  /** Appends, and reads back what was appended. True: taken. False: passed over, or (after a doubt) not there. */
  async function appendWatched(records: readonly RecordInput[]): Promise<{ seen: boolean; doubt: unknown }> {
    const superseded = records.flatMap(({ key }) => {
      const theirs = key === null ? undefined : respelled.get(ascii(key))
      return theirs === undefined ? [] : [{ key: theirs, value: null }]
    })
    const watching = new Watch(records)
    watch = watching
    try {
      failpoint('registry.allotted')
      const appended = await log.append(SCHEMAS_TOPIC, 0, encodeBatch([...superseded, ...records], clock.now()))
      failpoint('registry.appended')
      await readTo(appended.nextOffset)
      return { seen: watching.seen, doubt: null }
    } catch (error) {
      // The append may be in the log, may come later, or never. Read back: if it is there, it is done.
      if (classify(error).code !== 'LOG_APPEND_UNKNOWN') throw error
      await readToEnd()
      return { seen: watching.seen, doubt: error }
    } finally {
      watch = null
    }
  }

  /**
   * Takes back what was passed over: what holds at its key is written again, or the key is removed. Whatever holds may be
   * written again later, for a deletion, and then stand behind the loser, which compaction would let win.
   */
  async function restoreDisputed(): Promise<void> {
    if (disputed.size === 0) return
    const records = [...disputed.values()].map(({ subject, version }) => {
      const held = table.versionOf(subject, version)
      return held === null ? encodeRemoval(subject, version) : encodeSchema(held)
    })
    logger.warn({ topic: SCHEMAS_TOPIC, records: records.length }, 'what was passed over is taken back')
    await appendWatched(records)
  }

  async function write<T>(decide: (table: SchemaTable) => Decision<T>): Promise<T> {
    await readToEnd()
    await restoreDisputed()
    let unconfirmed: Decision<T>['allotted']
    try {
      for (let attempt = 1, lost = 0; ; ) {
        const decision = decide(table)
        if (decision.records.length === 0) return decision.answer
        unconfirmed = decision.allotted
        const { seen, doubt } = await appendWatched(decision.records)
        if (seen) return decision.answer
        // Decide again: after a doubt the same numbers go to the same schema, so its coming late after all repeats the
        // same record; after a defeat the winner's record is in the table.
        if (doubt !== null && attempt++ === ATTEMPTS) throw doubt
        if (doubt === null) {
          unconfirmed = undefined
          await restoreDisputed()
          if (++lost === LOST_ATTEMPTS) {
            const message = `${lost} appends to ${SCHEMAS_TOPIC} lost against other writers`
            throw new OperatingError('LOG_APPEND_UNKNOWN', message, { topic: SCHEMAS_TOPIC })
          }
        }
      }
    } catch (error) {
      // Given up while an append may still be on its way: its numbers must not go to another schema.
      if (unconfirmed !== undefined) table.reserve(unconfirmed)
      throw error
    }
  }

  let refreshing: Promise<void> | null = null
  /** All who ask before the reading begins are answered by one. */
  function refresh(): Promise<void> {
    refreshing ??= inTurn(() => {
      refreshing = null
      return readToEnd()
    })
    return refreshing
  }

  let tailing: LogReader | null = null
  /** Sees others' writes when they come, so that questions that never reach "not found" are answered by them too. */
  async function follow(): Promise<void> {
    let told: string | null = null
    while (!closing.signal.aborted) {
      try {
        tailing ??= await log.open(SCHEMAS_TOPIC, [{ partition: 0, offset: position }])
        if (closing.signal.aborted) break
        const batches = await tailing.poll({ maxWaitMs: FOLLOW_WAIT_MS, maxBytes: POLL_BYTES })
        if ((batches.at(-1)?.lastOffset ?? -1) >= position) await refresh()
        told = null
      } catch (error) {
        const { code } = classify(error)
        if (code !== told && !closing.signal.aborted)
          logger.error({ topic: SCHEMAS_TOPIC, code, err: error }, 'the topic cannot be followed')
        told = code
        await tailing?.close().catch(() => null)
        tailing = null
        await clock.sleep(FOLLOW_WAIT_MS, closing.signal)
      }
    }
    await tailing?.close().catch(() => null)
  }

  await inTurn(readToEnd)
  const following = follow()
  return {
    table,
    passedOver,
    refresh,
    write: (decide) => inTurn(() => write(decide)),
    async close() {
      closing.abort()
      await tailing?.close().catch(() => null)
      await following
      await inTurn(async () => {
        await reader?.close()
        reader = null
      })
    },
  }
}

function sameBytes(a: Uint8Array | null, b: Uint8Array | null): boolean {
  return a === null || b === null ? a === b : Buffer.compare(a, b) === 0
}
