/** Final rows of a table as JSON records in record batches, as the peers' contract wants them; bytes are written directly. */
import type { DictionaryColumn, PartialTable } from '#core/partial.ts'
import { exactOf } from '#core/partial.ts'
import { BatchBuilder } from '#format/record-batch.ts'
import type { MetricDefinition } from '#metrics/definition.ts'

const utf8 = new TextEncoder()
const BATCH_BYTES = 512 * 1024

function digits(value: number, out: Uint8Array, at: number): number {
  if (value < 0) {
    out[at++] = 45
    value = -value
  }
  let size = 1
  for (let power = 10; power <= value; power *= 10) size++
  for (let i = size - 1; i >= 0; i--) {
    const rest = Math.floor(value / 10)
    out[at + i] = 48 + (value - rest * 10)
    value = rest
  }
  return at + size
}

const put = (text: Uint8Array, out: Uint8Array, at: number): number => putRange(text, 0, text.length, out, at)

function putRange(text: Uint8Array, from: number, until: number, out: Uint8Array, at: number): number {
  for (let i = from; i < until; i++) out[at++] = text[i]!
  return at
}

/** A dictionary's texts as UTF-8, end to end: as the engine has them, or encoded when they were read back. */
function textsOf({ values, utf8: known }: DictionaryColumn): { bytes: Uint8Array; starts: Int32Array } {
  if (known !== undefined) return known
  const encoded = values.map((value) => utf8.encode(String(value)))
  const starts = new Int32Array(encoded.length + 1)
  for (const [i, { length }] of encoded.entries()) starts[i + 1] = starts[i]! + length
  const bytes = new Uint8Array(starts[encoded.length]!)
  for (const [i, text] of encoded.entries()) bytes.set(text, starts[i])
  return { bytes, starts }
}

/** Record batches of `{"window_start":…,"key":"…",<measures>,"partition":p}` rows keyed by `key@window_start`. */
export function* rowBatches(table: PartialTable, metric: MetricDefinition, partition: number): Generator<Uint8Array> {
  const { layout, cells, windowFrom } = table
  const { index } = table.dimensions[0]!
  const { bytes, starts } = textsOf(table.dimensions[0]!)
  const names = metric.measures.map(({ name }) => utf8.encode(`,"${name}":`))
  const [head, middle, tail] = [
    utf8.encode('{"window_start":'),
    utf8.encode(',"key":"'),
    utf8.encode(`,"partition":${partition}}`),
  ]
  const value = new Uint8Array(512)
  const key = new Uint8Array(128)
  const builder = new BatchBuilder(0)
  for (let row = 0; row < table.count; row++) {
    const from = starts[index[row]!]!
    const until = starts[index[row]! + 1]!
    let k = putRange(bytes, from, until, key, 0)
    key[k++] = 64
    k = digits(windowFrom[row]!, key, k)
    let v = put(head, value, 0)
    v = digits(windowFrom[row]!, value, v)
    v = put(middle, value, v)
    v = putRange(bytes, from, until, value, v)
    value[v++] = 34
    for (let m = 0; m < names.length; m++) {
      const { kind, slot } = layout.measures[m]!
      const at = row * layout.width + slot
      v = put(names[m]!, value, v)
      if (kind === 'sum') {
        const safe = cells[at + 1] === 0
        v = safe ? digits(cells[at + 2]!, value, v) : put(utf8.encode(String(exactOf(cells, at + 1))), value, v)
      } else v = digits(cells[at]!, value, v)
    }
    v = put(tail, value, v)
    builder.addRanges(key, 0, k, value, 0, v)
    if (builder.byteLength > BATCH_BYTES) {
      yield builder.finish()
      builder.reset(0)
    }
  }
  if (builder.count > 0) yield builder.finish()
}
