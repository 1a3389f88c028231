/**
 * Combine: the only merge of partials (law 9). The layout is turned once into flat runs of slots to add and pairs to compare,
 * so the loop over many rows holds no objects and no dispatch on names.
 */
import { addExact, type PartialLayout } from './partial.ts'

/** row(into) := row(into) ⊕ row(from); indexes of the rows' first doubles. Associative, commutative; both rows have the layout. */
export type Combiner = (into: Float64Array, intoAt: number, from: Float64Array, fromAt: number) => void

/** The combiner of a layout. */
export function combinerOf(layout: PartialLayout): Combiner {
  /** Plain counters: slots that are added. */
  const added = [layout.late]
  /** High words of exact sums; the low word is behind. */
  const sums: number[] = []
  const minima: number[] = []
  const maxima: number[] = []
  for (const { kind, slot } of layout.measures) {
    if (kind === 'min') minima.push(slot)
    else if (kind === 'max') maxima.push(slot)
    else {
      added.push(slot)
      if (kind !== 'count') sums.push(slot + 1)
    }
  }
  const [addedCount, sumCount, minCount, maxCount] = [added.length, sums.length, minima.length, maxima.length]
  return (into, intoAt, from, fromAt) => {
    for (let i = 0; i < addedCount; i++) {
      const slot = added[i]!
      into[intoAt + slot] = into[intoAt + slot]! + from[fromAt + slot]!
    }
    for (let i = 0; i < sumCount; i++) {
      const slot = sums[i]!
      into[intoAt + slot] = into[intoAt + slot]! + from[fromAt + slot]!
      addExact(into, intoAt + slot, from[fromAt + slot + 1]!)
    }
    for (let i = 0; i < minCount; i++) {
      const a = intoAt + minima[i]!
      const b = fromAt + minima[i]!
      if (from[b]! < into[a]! || (from[b]! === into[a]! && from[b + 1]! < into[a + 1]!)) {
        into[a] = from[b]!
        into[a + 1] = from[b + 1]!
      }
    }
    for (let i = 0; i < maxCount; i++) {
      const a = intoAt + maxima[i]!
      const b = fromAt + maxima[i]!
      if (from[b]! > into[a]! || (from[b]! === into[a]! && from[b + 1]! > into[a + 1]!)) {
        into[a] = from[b]!
        into[a + 1] = from[b + 1]!
      }
    }
  }
}
