/**
 * Where a table is cut into parts that a record can hold. Rows have one size; texts stand in a part's dictionary once, however
 * many of its rows have them. A function of the rows and the bounds alone, so whoever publishes the same table cuts it alike.
 */
import type { Groups } from './groups.ts'
import type { PartBounds } from './partial.ts'

/** Bounds of the parts of `count` rows, the first 0 and the last `count`; a table without rows is one part. `groupIds` gives each row's group when asked. */
export function partsOf(
  groups: Groups,
  count: number,
  groupIds: () => Int32Array,
  { rowBytes, bytesMax }: PartBounds,
): number[] {
  const bounds = [0]
  const rows = Math.max(1, Math.floor(bytesMax / rowBytes))
  if (groups.textBytes <= bytesMax) {
    // Even all texts there are leave a part small enough.
    for (let row = rows; row < count; row += rows) bounds.push(row)
    bounds.push(count)
    return bounds
  }
  /** Per dimension: the last part, from 1, in which a value was met. */
  const metIn = groups.interners.map(({ size }) => new Int32Array(size))
  const ids = groups.valueIds(groupIds())
  /** Bytes that the row adds to the part. */
  const addTo = (part: number, row: number): number => {
    let bytes = rowBytes
    for (let d = 0; d < ids.length; d++) {
      const { text } = groups.interners[d]!
      const id = ids[d]![row]!
      if (text === null || metIn[d]![id] === part) continue
      metIn[d]![id] = part
      bytes += text.starts[id + 1]! - text.starts[id]!
    }
    return bytes
  }
  let bytes = 0
  for (let row = 0; row < count; row++) {
    const more = addTo(bounds.length, row)
    if (bytes > 0 && bytes + more > bytesMax) {
      bounds.push(row)
      bytes = addTo(bounds.length, row)
    } else bytes += more
  }
  bounds.push(count)
  return bounds
}
