/** Record batches whose records tell where they come from; apart from the suites so that worker threads can use it. */
import { encodeBatch } from '#format/record-batch.ts'

const utf8 = new TextEncoder()

/** A batch of `count` records whose values are `<label>-0`, `<label>-1`, … */
export function labelledBatch(label: string, count: number): Uint8Array {
  const records = Array.from({ length: count }, (_, i) => ({
    key: utf8.encode(`k${i}`),
    value: utf8.encode(`${label}-${i}`),
  }))
  return encodeBatch(records, 1_767_225_600_000)
}
