/**
 * The archiver of one partition: raw record batches in, files and manifest entries out. What a file holds and where it ends is a
 * function of the records read; only a graceful stop ends one early.
 *
 *   manifest's next offset ─ take(batch)… ─▶ rows of the open file ─┬─ barrier on demand, or old enough ─┐
 *            ▲                                                      └─ 500,000 rows or 64 MiB ──────────┤
 *            └── entry ◀── file published ◀── dead letters published ◀── temporary file finished ◀──────┘
 *
 * Crash order: a kill before the entry leaves a temporary file (swept), letters that repeat, or a file that no entry names
 * (does not exist); the records are then read again. A kill after it leaves nothing to do. Upholds laws 3, 5 and 8.
 */
import { ACCEPTED, admit } from '#core/admission.ts'
import { assert } from '#core/assert.ts'
import { isAccepted } from '#core/barrier.ts'
import { CHUNK_ROWS, type ColumnChunk } from '#core/columns.ts'
import type { DeadRecord } from '#core/outcome.ts'
import { newPartitionClock, openEpoch, type PartitionClock } from '#core/watermark.ts'
import { allocateChunk, resetChunk } from '#format/avro-projector.ts'
import { readBarrier } from '#format/barrier.ts'
import { schemaIdOf } from '#format/confluent.ts'
import type { RecordCursor } from '#format/projector.ts'
import { openBatch, type RawRecord, readHeader, readRecord } from '#format/record-batch.ts'
import { archiveManifest } from '#io/archive-reader.ts'
import { type Chain, readChain } from '#io/manifest.ts'
import type { FetchedBatch, Lake } from '#io/ports.ts'
import type { StreamDefinition } from '#metrics/definition.ts'
import type { ArchiveEntry } from '#schemas/archive.ts'
import type { DeadLetters } from './dead-letters.ts'
import { beginFile, type OpenFile, publishOpenFile } from './open-file.ts'
import { headersJson } from './rows.ts'
import type { Writer, Writers } from './writers.ts'

/** When a file ends, besides barriers on demand. */
export interface FilePolicy {
  readonly rows: number
  /** Encoded bytes before compression. */
  readonly bytes: number
  /** A file ends at the first barrier that arrived at least this long after its first record. */
  readonly intervalMs: number
}

/** One partition's archiver. Calls must not overlap. */
export interface PartitionArchiver {
  readonly partition: number
  /** Next offset to read: all below it are in a file or in the manifest. */
  readonly next: number
  /** All below it are in the manifest. */
  readonly archived: number
  readonly entries: readonly ArchiveEntry[]
  /** Arrival of the oldest record that is not in the manifest yet; null when there is none. */
  readonly openSinceMs: number | null
  /**
   * Archives a batch's records from `next` on; batches come in offset order.
   * @throws OperatingError; after REGISTRY_* reading goes on at `next`, after anything else call `reset` first
   */
  take(batch: FetchedBatch): Promise<void>
  /** Ends and publishes the open file, if it has rows. @throws OperatingError; then call `reset` */
  closeFile(): Promise<void>
  /** Drops the open file and begins again behind the manifest's last entry, read anew. @throws OperatingError */
  reset(): Promise<void>
  /** Drops the open file for good. */
  discard(): Promise<void>
}

/**
 * Columns that keep what writers of one file know beyond the stream's fields, unless one writer needs more: about 50 MB of
 * pages under construction.
 */
const KEPT_COLUMNS = 256
/** Chunks after which the event loop gets a turn: about 10 ms. */
const CHUNKS_PER_TURN = 8
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Opens a partition behind its manifest; `start` is the log's first offset, used when there is no entry yet. */
export async function openPartition(deps: {
  lake: Lake
  stream: StreamDefinition
  partition: number
  start: number
  incarnation: string | null
  writers: Writers
  letters: DeadLetters
  policy: FilePolicy
  onEntry: (entry: ArchiveEntry) => void
}): Promise<PartitionArchiver> {
  const { lake, stream, partition, letters, policy, writers } = deps
  const prefix = archiveManifest(stream.name, partition)
  const chunks = new Map<Writer, ColumnChunk>()
  const common = allocateChunk(stream.fields, true)
  const dead: DeadRecord[] = []
  const verdicts = new Uint8Array(CHUNK_ROWS)
  const watermarks = new Float64Array(CHUNK_ROWS)
  let writer = writers.none
  let chunk = common
  let chain: Chain<ArchiveEntry> = await readChain<ArchiveEntry>(lake, prefix)
  let clock: PartitionClock = clockAt(chain.entries, deps.start)
  let next = chain.entries.at(-1)?.next_offset ?? deps.start
  let file: OpenFile | null = null
  let lastBatchCrc = 0

  const openFile = async (arrivalMs: number): Promise<OpenFile> => {
    file ??= await beginFile({ lake, stream, partition, first: next, arrivalMs })
    return file
  }

  /** Fills offsets [next, offset) that hold no producer's record. */
  const fill = async (offset: number, arrivalMs: number): Promise<void> => {
    if (offset <= next) return
    const into = await openFile(arrivalMs)
    await into.rows.control(next, offset, { epoch: clock.epoch, arrivalMs, watermark: clock.watermark })
    next = offset
  }

  const addDead = async (record: DeadRecord, watermark: number, arrivalMs: number, headers: Uint8Array | null) => {
    await fill(record.offset, arrivalMs)
    const into = await openFile(arrivalMs)
    await into.rows.dead(record, { epoch: clock.epoch, arrivalMs, watermark, headers })
    into.dead++
    letters.add({ ...record, arrivalMs })
    next = record.offset + 1
    if (letters.full) await letters.flush()
  }

  /** Rows [from, until) of the chunk: one kind, consecutive offsets. */
  const addEvents = async (from: number, until: number, raw: ReadonlyMap<number, RawRecord>): Promise<void> => {
    const { arrivalMs, schemaId } = chunk
    await fill(chunk.offsets[from]!, arrivalMs)
    const into = await openFile(arrivalMs)
    const accepted = verdicts[from] === ACCEPTED
    await into.rows.events(accepted ? 'event' : 'quarantined', writer, chunk, { from, until, watermarks }, clock.epoch)
    next = chunk.offsets[until - 1]! + 1
    if (accepted) return into.noteEvents(chunk.eventTimes, from, until)
    into.quarantined += until - from
    for (let row = from; row < until; row++) {
      const { offset, key, value } = raw.get(chunk.offsets[row]!)!
      letters.add({ offset, key, value, schemaId, reason: 'future', arrivalMs })
    }
    if (letters.full) await letters.flush()
  }

  /**
   * Moves the chunk's rows and the dead records between them into the file, in offset order. `before` stands where the
   * projector began: what is rare is read again from there with all its bytes.
   */
  const drain = async (before: RecordCursor): Promise<void> => {
    const { count, offsets, arrivalMs } = chunk
    const quarantined = count === 0 ? 0 : admit(chunk, clock, stream, verdicts, watermarks)
    const odd = new Set(dead.map((record) => record.offset))
    if (quarantined > 0) for (let row = 0; row < count; row++) if (verdicts[row] !== ACCEPTED) odd.add(offsets[row]!)
    const raw = recordsAt(before, odd)
    let row = 0
    let at = 0
    while (row < count || at < dead.length) {
      const deadOffset = at < dead.length ? dead[at]!.offset : Number.POSITIVE_INFINITY
      if (row === count || deadOffset < offsets[row]!) {
        // A dead record never moves the watermark: before it stands what stands before the next row.
        const watermark = row < count ? watermarks[row]! : clock.watermark
        await addDead(dead[at++]!, watermark, arrivalMs, headersJson(raw.get(deadOffset)!.headers))
        continue
      }
      let until = row + 1
      while (
        until < count &&
        offsets[until]! < deadOffset &&
        offsets[until] === offsets[until - 1]! + 1 &&
        verdicts[until] === verdicts[row]
      )
        until++
      await addEvents(row, until, raw)
      row = until
    }
    resetChunk(chunk)
    dead.length = 0
  }

  /** The barrier at the cursor; ends the file when the policy says so. */
  const takeBarrier = async (cursor: RecordCursor): Promise<void> => {
    const record = readRecord(cursor)
    assert(record !== null, 'the projector stopped at a barrier record')
    const { arrivalMs } = cursor
    const barrier = readBarrier(record)
    const schemaId = record.value === null ? null : schemaIdOf(record.value)
    if (barrier === null || barrier.stream !== stream.name) {
      const { offset, key, value } = record
      const forged: DeadRecord = { offset, key, value, schemaId, reason: 'bad-barrier' }
      return addDead(forged, clock.watermark, arrivalMs, headersJson(record.headers))
    }
    await fill(record.offset, arrivalMs)
    const into = await openFile(arrivalMs)
    await into.rows.barrier(record, { epoch: clock.epoch, arrivalMs, schemaId, watermark: clock.watermark })
    next = record.offset + 1
    if (!isAccepted(clock.epoch, barrier.id)) return
    into.barriers.push({
      id: barrier.id,
      offset: record.offset,
      created_ms: barrier.createdMs,
      partitions: barrier.partitions,
      watermark: Number.isFinite(clock.watermark) ? clock.watermark : null,
      events: clock.events,
    })
    openEpoch(clock, barrier, record.offset)
    if (barrier.demand || arrivalMs - into.openedMs >= policy.intervalMs) await closeFile()
  }

  /** Writers with columns of their own have a chunk of their own. */
  const chunkOf = (of: Writer): ColumnChunk => {
    if (of.projector.columns.length === common.columns.length) return common
    let own = chunks.get(of)
    if (own === undefined) chunks.set(of, (own = allocateChunk(of.projector.columns, true)))
    return own
  }

  /** The next record has another writer schema. */
  const switchSchema = async (cursor: RecordCursor): Promise<void> => {
    const found = await writers.find(cursor.schemaId)
    if (typeof found !== 'string') {
      writer = found
      chunk = chunkOf(found)
      return
    }
    const record = readRecord(cursor)
    assert(record !== null, 'the projector stopped at a record')
    const { offset, key, value, headers, damaged } = record
    const unreadable: DeadRecord = {
      offset,
      key,
      value,
      schemaId: cursor.schemaId,
      reason: damaged ? 'bad-length' : found,
    }
    await addDead(unreadable, clock.watermark, cursor.arrivalMs, headersJson(headers))
  }

  const takeRecords = async (cursor: RecordCursor): Promise<void> => {
    for (let chunks = 1; ; chunks++) {
      const before = { ...cursor }
      const stop = writer.projector.project(cursor, chunk, dead)
      chunk.arrivalMs = cursor.arrivalMs
      await drain(before)
      if (stop === 'end') return
      if (stop === 'schema') await switchSchema(cursor)
      else if (stop === 'barrier') await takeBarrier(cursor)
      if (chunks % CHUNKS_PER_TURN === 0) await turn()
    }
  }

  const closeFile = async (): Promise<void> => {
    if (file === null) return
    const closing = file
    await closing.finish()
    await letters.flush()
    chain = await publishOpenFile(lake, closing, {
      chain,
      prefix,
      next,
      clock,
      lastBatchCrc,
      incarnation: deps.incarnation,
    })
    file = null
    deps.onEntry(chain.entries.at(-1)!)
  }

  return {
    partition,
    get next() {
      return next
    },
    get archived() {
      return chain.entries.at(-1)?.next_offset ?? deps.start
    },
    get entries() {
      return chain.entries
    },
    get openSinceMs() {
      return file?.openedMs ?? null
    },
    async take(batch) {
      if (batch.lastOffset < next) return
      const header = readHeader(batch.bytes)
      const opened = openBatch(batch.bytes, next)
      const arrivalMs = header.maxTimestamp
      await fill(batch.baseOffset, arrivalMs)
      const crcBefore = lastBatchCrc
      lastBatchCrc = header.crc
      if ('dead' in opened) {
        const reason = opened.dead
        // The whole batch stands on the first of its offsets; the rest say why they have no bytes.
        for (let value: Uint8Array | null = batch.bytes.slice(); next <= batch.lastOffset; value = null) {
          await addDead({ offset: next, reason, schemaId: null, key: null, value }, clock.watermark, arrivalMs, null)
        }
      } else if (!opened.control) {
        try {
          await takeRecords(opened.cursor)
        } catch (error) {
          // The registry is away and a stop closes the file: its entry must not name a batch of which it holds nothing.
          if (next <= batch.baseOffset) lastBatchCrc = crcBefore
          throw error
        } finally {
          resetChunk(chunk)
          dead.length = 0
        }
      }
      await fill(batch.lastOffset + 1, arrivalMs)
      if (file !== null && isFull(file, policy)) await closeFile()
    },
    closeFile,
    async reset() {
      await file?.discard()
      file = null
      letters.forget()
      chain = await readChain<ArchiveEntry>(lake, prefix)
      next = chain.entries.at(-1)?.next_offset ?? deps.start
      clock = clockAt(chain.entries, deps.start)
    },
    async discard() {
      await file?.discard()
      file = null
    },
  }
}

function isFull({ rows }: OpenFile, policy: FilePolicy): boolean {
  const { columns, widest } = rows.kept
  return rows.count >= policy.rows || rows.encodedBytes >= policy.bytes || columns > Math.max(KEPT_COLUMNS, widest)
}

/** The records of a cursor at the wanted offsets, as copies; for what is rare. */
function recordsAt(cursor: RecordCursor, wanted: ReadonlySet<number>): ReadonlyMap<number, RawRecord> {
  const found = new Map<number, RawRecord>()
  while (found.size < wanted.size) {
    const record = readRecord(cursor)
    assert(record !== null, 'rows and dead records come from the batch')
    if (wanted.has(record.offset)) found.set(record.offset, record)
  }
  return found
}

/** The partition's clock behind the last entry. */
function clockAt(entries: readonly ArchiveEntry[], start: number): PartitionClock {
  const clock = newPartitionClock()
  clock.epochFirst = start
  const last = entries.at(-1)
  if (last === undefined) return clock
  clock.epoch = last.last_barrier
  clock.watermark = last.watermark ?? clock.watermark
  clock.events = last.events_in_open_epoch
  const opened = entries.findLast((entry) => entry.barriers.length > 0)?.barriers.at(-1)
  if (opened !== undefined) {
    clock.epochFirst = opened.offset + 1
    clock.openedMs = opened.created_ms
  }
  return clock
}
