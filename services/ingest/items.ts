/**
 * A body of events → its items. A JSON array (or one object) or NDJSON; a broken item is that item's problem and the others live.
 *
 * A JSON array is parsed whole; only when that fails is it cut at its top-level commas and parsed item by item, so that
 * `[{"v": 1}, {"v": NaN}]` loses one event and not two. A body whose cuts cannot be found is refused as a whole.
 */
import { isUtf8 } from 'node:buffer'
import { LIMITS } from '#core/limits.ts'
import type { ItemProblem } from '#format/avro-encoder.ts'
import { OperatingError } from '#io/errors.ts'

/** An item that is no JSON. */
export class BadItem {
  readonly problem: ItemProblem
  constructor(problem: ItemProblem) {
    this.problem = problem
  }
}

/** Items in order: parsed JSON values or {@link BadItem}. `indexes[i]` is the place in the array, or the 0-based line. */
export interface Items {
  readonly values: readonly unknown[]
  readonly indexes: readonly number[] | null
}

/** Media types of newline-delimited JSON. */
export const NDJSON = [
  'application/x-ndjson',
  'application/ndjson',
  'application/jsonl',
  'application/x-jsonlines',
] as const

/**
 * Items of a JSON body: an array, or one event.
 * @throws OperatingError REQUEST_INVALID (no JSON, and no items to be found), BODY_TOO_LARGE (too many events)
 */
export function jsonItems(body: Buffer): Items {
  const bytes = withoutMark(body)
  if (isUtf8(bytes)) {
    try {
      const parsed: unknown = JSON.parse(bytes.toString('utf8'))
      const values = Array.isArray(parsed) ? (parsed as unknown[]) : [parsed]
      checkCount(values.length)
      return { values, indexes: null }
    } catch (error) {
      if (error instanceof OperatingError) throw error
    }
  }
  if (firstByte(bytes) === OPEN_OBJECT) return { values: [parseItem(bytes)], indexes: null }
  const ranges = cutArray(bytes)
  if (ranges === null) {
    throw new OperatingError(
      'REQUEST_INVALID',
      'The body is no JSON array and no JSON object.',
      {},
      {
        hint: 'Send [{…}, {…}], or one event per line as application/x-ndjson.',
      },
    )
  }
  checkCount(ranges.length / 2)
  const values: unknown[] = []
  for (let i = 0; i < ranges.length; i += 2) values.push(parseItem(bytes.subarray(ranges[i], ranges[i + 1])))
  return { values, indexes: null }
}

/** Items of an NDJSON body, one per line; blank lines are none. @throws OperatingError BODY_TOO_LARGE (too many events) */
export function ndjsonItems(body: Buffer): Items {
  const bytes = withoutMark(body)
  const values: unknown[] = []
  const indexes: number[] = []
  let line = 0
  for (let from = 0; from < bytes.length; line++) {
    const newline = bytes.indexOf(10, from)
    const until = newline < 0 ? bytes.length : newline
    if (!isBlank(bytes, from, until)) {
      checkCount(values.length + 1)
      values.push(parseItem(bytes.subarray(from, until)))
      indexes.push(line)
    }
    from = until + 1
  }
  return { values, indexes }
}

function checkCount(count: number): void {
  if (count > LIMITS.ingestEvents) {
    throw new OperatingError('BODY_TOO_LARGE', `A body holds at most ${LIMITS.ingestEvents} events.`, { events: count })
  }
}

function parseItem(bytes: Buffer): unknown {
  if (!isUtf8(bytes)) return new BadItem({ code: 'BAD_JSON', field: null, reason: 'not UTF-8' })
  const text = bytes.toString('utf8')
  try {
    return JSON.parse(text) as unknown
  } catch (error) {
    return new BadItem(
      notFinite(text) ?? { code: 'BAD_JSON', field: null, reason: (error as Error).message.slice(0, 200) },
    )
  }
}

/** NaN and Infinity are no JSON, but many writers write them: say so, with the field. */
function notFinite(text: string): ItemProblem | null {
  const found = /"([A-Za-z_]\w*)"\s*:\s*([+-]?(?:NaN|Infinity|nan|inf))\s*[,}]/.exec(text)
  if (found === null) return null
  return { code: 'NOT_FINITE', field: found[1]!, reason: `${found[2]} is neither JSON nor a finite number` }
}

const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d
const OPEN_ARRAY = 0x5b
const CLOSE_ARRAY = 0x5d
const COMMA = 0x2c
const QUOTE = 0x22
const BACKSLASH = 0x5c

const isSpace = (byte: number): boolean => byte === 32 || (byte >= 9 && byte <= 13)

function isBlank(bytes: Uint8Array, from: number, until: number): boolean {
  for (let at = from; at < until; at++) if (!isSpace(bytes[at]!)) return false
  return true
}

function firstByte(bytes: Uint8Array): number {
  return bytes.find((byte) => !isSpace(byte)) ?? 0
}

/** Some tools put a UTF-8 byte order mark in front. */
function withoutMark(body: Buffer): Buffer {
  return body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf ? body.subarray(3) : body
}

/** Byte ranges (from, until, from, until …) of an array's items by brackets and quotes alone; null when the array does not end. */
function cutArray(bytes: Uint8Array): number[] | null {
  const ranges: number[] = []
  let at = 0
  while (at < bytes.length && isSpace(bytes[at]!)) at++
  if (bytes[at] !== OPEN_ARRAY) return null
  let from = ++at
  let depth = 1
  for (; at < bytes.length; at++) {
    switch (bytes[at]) {
      case QUOTE:
        for (at++; at < bytes.length && bytes[at] !== QUOTE; at++) if (bytes[at] === BACKSLASH) at++
        break
      case OPEN_ARRAY:
      case OPEN_OBJECT:
        depth++
        break
      case COMMA:
        if (depth === 1) {
          ranges.push(from, at)
          from = at + 1
        }
        break
      case CLOSE_ARRAY:
      case CLOSE_OBJECT:
        if (--depth > 0) break
        ranges.push(from, at)
        return bytes[at] === CLOSE_ARRAY && isBlank(bytes, at + 1, bytes.length) ? ranges : null
    }
  }
  return null
}
