/** Groups: the tuples of dimension values of one table, as dense ids in order of first appearance. */
import type { Column } from './columns.ts'
import { CHUNK_ROWS } from './columns.ts'
import {
  createNumberInterner,
  createPairInterner,
  createStringInterner,
  type Interner,
  type PairInterner,
} from './interner.ts'
import type { DimensionLayout } from './partial.ts'

/** Interns the groups of chunks. */
export interface Groups {
  /** Groups met so far (1 for a metric without dimensions). */
  readonly size: number
  readonly bytes: number
  /** Bytes of the distinct texts of all dimensions. */
  readonly textBytes: number
  /** Bytes that no group's texts exceed: the longest text of each dimension. */
  readonly textBytesMost: number
  /** Bytes of a group's texts. */
  textBytesOf(group: number): number
  /** Group id of each row; valid until the next call. */
  intern(dimensions: readonly Column[], count: number): Int32Array
  /** The interner of each dimension, and each group's id in it. */
  readonly interners: readonly Interner[]
  /** For each dimension the ids of the groups' values in its interner. */
  valueIds(groupIds: Int32Array): Int32Array[]
}

/** Creates the groups of a layout's dimensions. */
export function createGroups(dimensions: readonly DimensionLayout[]): Groups {
  const interners = dimensions.map(({ kind }) =>
    kind === 'string' ? createStringInterner() : createNumberInterner(kind),
  )
  const pairs: PairInterner[] = dimensions.slice(1).map(() => createPairInterner())
  const ids = new Int32Array(CHUNK_ROWS)
  const more = new Int32Array(CHUNK_ROWS)
  const valueIds = (groupIds: Int32Array): Int32Array[] => {
    const out: Int32Array[] = []
    let left = groupIds
    for (let d = interners.length - 1; d > 0; d--) {
      const pair = pairs[d - 1]!
      out.unshift(left.map((group) => pair.right(group)))
      left = left.map((group) => pair.left(group))
    }
    if (interners.length > 0) out.unshift(left)
    return out
  }
  return {
    interners,
    get size() {
      return pairs.length > 0 ? pairs[pairs.length - 1]!.size : interners.length > 0 ? interners[0]!.size : 1
    },
    get bytes() {
      return interners.reduce((sum, i) => sum + i.bytes, 0) + pairs.reduce((sum, p) => sum + p.bytes, 0)
    },
    get textBytes() {
      return interners.reduce((sum, { text, size }) => sum + (text === null ? 0 : text.starts[size]!), 0)
    },
    get textBytesMost() {
      return interners.reduce((sum, { longest }) => sum + longest, 0)
    },
    textBytesOf(group) {
      const ids = valueIds(Int32Array.of(group))
      return interners.reduce((sum, { text }, d) => {
        const id = ids[d]![0]!
        return sum + (text === null ? 0 : text.starts[id + 1]! - text.starts[id]!)
      }, 0)
    },
    intern(columns, count) {
      if (interners.length === 0) return ids // All zero: nothing ever writes to it.
      interners[0]!.intern(columns[0]!, count, ids)
      for (let d = 1; d < interners.length; d++) {
        interners[d]!.intern(columns[d]!, count, more)
        pairs[d - 1]!.intern(ids, more, count, ids)
      }
      return ids
    },
    valueIds,
  }
}
