/**
 * Ledgers of a stream, paged: its dead letters and its quarantined events, read straight from `dead.<stream>` and
 * `quarantine.<stream>`; nothing is held in memory between requests.
 *
 *   ledger partition 0 ─▶ 1 ─▶ …      per partition in order of offset; `next` says where the following page begins
 *
 * A crash of the archiver repeats letters. A partition's letters come in order of their positions and a repetition begins anew
 * below, so what is not above the last position shown is shown already: the cursor carries that position, and each is shown once.
 */
import { Type } from 'typebox'
import { bodyOf, schemaIdOf } from '#format/confluent.ts'
import { createDeadLetterCodec, type DeadLetter, type DeadLetterCodec } from '#format/dead-letter.ts'
import { openBatch, readRecord } from '#format/record-batch.ts'
import { OperatingError } from '#io/errors.ts'
import { type HttpApp, problemResponse } from '#io/http.ts'
import { ownSchema } from '#io/own-schemas.ts'
import type { EventLog } from '#io/ports.ts'
import type { Definitions } from '#metrics/definition.ts'
import { deadTopic, quarantineTopic } from '#schemas/topics.ts'
import { invalid } from './request.ts'

/** What the routes need. */
export interface LedgerRoutesDeps {
  readonly log: EventLog
  readonly definitions: Definitions
}

/** Letters of a page, and bytes of values after which a page ends early. */
const PAGE = { fallback: 100, most: 1_000, bytes: 4 * 1024 * 1024 } as const
/** Polls that may bring nothing although there is something to read. */
const EMPTY_POLLS_MAX = 20
const POLL = { maxWaitMs: 250, maxBytes: 1024 * 1024 } as const

const nullable = <T extends Type.TSchema>(type: T) => Type.Union([type, Type.Null()])
const letterSchema = Type.Object(
  {
    topic: Type.String(),
    partition: Type.Integer(),
    offset: Type.Integer({ description: 'Position on the topic; with topic and partition the identity.' }),
    arrival: Type.String({ description: 'ISO 8601, UTC.' }),
    reason: Type.String(),
    schema_id: nullable(Type.Integer({ description: 'Of the record’s frame; null = it had none.' })),
    key: nullable(Type.String({ description: 'Base64.' })),
    value: nullable(
      Type.String({ description: 'The original bytes, base64; null = a tombstone, or too big: then see the archive.' }),
    ),
    sha256: Type.String({ description: 'Of the value’s bytes, hex.' }),
  },
  { title: 'Dead letter' },
)
const pageSchema = Type.Object({
  stream: Type.String(),
  letters: Type.Array(letterSchema),
  next: nullable(
    Type.String({ description: 'Give it as `after` for the following page; null = this is the last one.' }),
  ),
})
type Letter = Type.Static<typeof letterSchema>
type Page = Type.Static<typeof pageSchema>

/** Adds `GET /v1/streams/{stream}/dead-letters` and `/quarantine`. */
export async function ledgerRoutes(app: HttpApp, { log, definitions }: LedgerRoutesDeps): Promise<void> {
  const codec = createDeadLetterCodec(ownSchema('dead-letter'))
  const ledgers = [
    { path: 'dead-letters', summary: 'Records that could not be used', topicOf: deadTopic },
    { path: 'quarantine', summary: 'Events from the future', topicOf: quarantineTopic },
  ]
  for (const { path, summary, topicOf } of ledgers) {
    app.get(
      `/v1/streams/:stream/${path}`,
      {
        schema: {
          summary,
          tags: ['streams'],
          params: Type.Object({ stream: Type.String() }),
          querystring: Type.Object(
            {
              limit: Type.Optional(Type.Integer({ minimum: 1, maximum: PAGE.most, default: PAGE.fallback })),
              after: Type.Optional(Type.String({ description: '`next` of the page before.' })),
            },
            { additionalProperties: false },
          ),
          response: { 200: pageSchema, '4xx': problemResponse, '5xx': problemResponse },
        },
      },
      async (request, reply): Promise<Page> => {
        const { stream } = request.params
        if (!definitions.streams.some(({ name }) => name === stream))
          throw new OperatingError('STREAM_UNKNOWN', `There is no stream ${stream.slice(0, 100)}.`)
        const { limit = PAGE.fallback, after } = request.query
        const page = await readPage({ log, codec, topic: topicOf(stream) }, cursorOf(after), limit)
        void reply.header('cache-control', 'no-store')
        return { stream, ...page }
      },
    )
  }
}

/** Where a page begins: the ledger's partition and offset, and the last position shown of that partition (-1 = none). */
interface Cursor {
  readonly partition: number
  readonly offset: number
  readonly shown: number
}

function cursorOf(text: string | undefined): Cursor {
  if (text === undefined || text === '') return { partition: 0, offset: 0, shown: -1 }
  const match = /^(\d{1,9})\.(\d{1,15})\.(-1|\d{1,15})$/.exec(text)
  if (match === null) throw invalid('after', 'it is not the `next` of a page')
  return { partition: Number(match[1]), offset: Number(match[2]), shown: Number(match[3]) }
}

interface Ledger {
  readonly log: EventLog
  readonly codec: DeadLetterCodec
  readonly topic: string
}

async function readPage(ledger: Ledger, from: Cursor, limit: number): Promise<Omit<Page, 'stream'>> {
  const letters: Letter[] = []
  const room = { letters: limit, bytes: PAGE.bytes }
  if ((await ledger.log.describeTopic(ledger.topic)) === null) return { letters, next: null }
  const starts = await ledger.log.startOffsets(ledger.topic)
  const ends = await ledger.log.endOffsets(ledger.topic)
  for (let partition = from.partition; partition < ends.length; partition++) {
    const begun = partition === from.partition ? from : { offset: 0, shown: -1 }
    const range = { partition, offset: Math.max(begun.offset, starts[partition]!), end: ends[partition]! }
    const { offset, shown } = await readPartition(ledger, { ...range, shown: begun.shown }, room, letters)
    const more = offset < range.end || ends.some((end, later) => later > partition && end > starts[later]!)
    if (room.letters <= 0 || room.bytes <= 0) return { letters, next: more ? `${partition}.${offset}.${shown}` : null }
  }
  return { letters, next: null }
}

/** Adds letters until the room or the range ends; where it stopped. */
async function readPartition(
  { log, codec, topic }: Ledger,
  range: Cursor & { readonly end: number },
  room: { letters: number; bytes: number },
  letters: Letter[],
): Promise<{ offset: number; shown: number }> {
  let { offset, shown } = range
  if (offset >= range.end) return { offset, shown }
  const reader = await log.open(topic, [{ partition: range.partition, offset }])
  try {
    for (let empty = 0; offset < range.end; ) {
      const batches = await reader.poll(POLL)
      empty = batches.length === 0 ? empty + 1 : 0
      if (empty > EMPTY_POLLS_MAX) throw new OperatingError('LOG_UNREACHABLE', `${topic} cannot be read.`, { topic })
      for (const batch of batches) {
        const opened = openBatch(batch.bytes, offset)
        if (!('dead' in opened) && !opened.control) {
          for (let record = readRecord(opened.cursor); record !== null; record = readRecord(opened.cursor)) {
            if (room.letters <= 0 || room.bytes <= 0) return { offset, shown }
            offset = record.offset + 1
            const letter = record.value === null ? null : decode(codec, record.value)
            if (letter === null || letter.offset <= shown) continue
            shown = letter.offset
            letters.push(shownAs(letter))
            room.letters--
            room.bytes -= letter.value?.length ?? 0
          }
        }
        offset = Math.max(offset, batch.lastOffset + 1)
      }
    }
    return { offset, shown }
  } finally {
    await reader.close()
  }
}

/** A letter; null for a record that is none of ours. */
function decode(codec: DeadLetterCodec, value: Uint8Array): DeadLetter | null {
  if (schemaIdOf(value) === null) return null
  try {
    return codec.decode(bodyOf(value))
  } catch {
    return null
  }
}

const base64 = (bytes: Uint8Array | null): string | null =>
  bytes === null ? null : Buffer.from(bytes).toString('base64')

const shownAs = (letter: DeadLetter): Letter => ({
  topic: letter.topic,
  partition: letter.partition,
  offset: letter.offset,
  arrival: new Date(letter.arrivalMs).toISOString(),
  reason: letter.reason,
  schema_id: letter.schemaId,
  key: base64(letter.key),
  value: base64(letter.value),
  sha256: letter.sha256,
})
