/** The first rows in an order, without sorting the others: an answer of ten rows may be chosen from a hundred thousand. */

/** Below this share of all rows a heap is cheaper than a sort. */
const HEAP_SHARE = 8

/** The first `count` of `rows` in `order`, in order. `order` is total; `rows` may be reordered. */
export function firstOf(rows: number[], count: number, order: (a: number, b: number) => number): number[] {
  if (count * HEAP_SHARE >= rows.length) return rows.sort(order).slice(0, count)
  // A heap of the best so far, the worst of them on top: a row that is no better than it needs one comparison.
  const heap: number[] = []
  const sink = (from: number): void => {
    for (let at = from; ; ) {
      const left = at * 2 + 1
      if (left >= heap.length) return
      const right = left + 1
      const worse = right < heap.length && order(heap[right]!, heap[left]!) > 0 ? right : left
      if (order(heap[worse]!, heap[at]!) <= 0) return
      const moved = heap[at]!
      heap[at] = heap[worse]!
      heap[worse] = moved
      at = worse
    }
  }
  for (const row of rows) {
    if (heap.length < count) {
      heap.push(row)
      if (heap.length === count) for (let at = (count >> 1) - 1; at >= 0; at--) sink(at)
    } else if (count > 0 && order(row, heap[0]!) < 0) {
      heap[0] = row
      sink(0)
    }
  }
  return heap.sort(order)
}
