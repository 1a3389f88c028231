/** Dictionaries of table columns: what an export uses of an interner, with dense ids of its own. */
import type { Interner } from './interner.ts'
import type { DictionaryColumn, GroupValue } from './partial.ts'

/**
 * The column whose row i has the interner's value `ids[i]`; its dictionary is in order of first appearance. Texts stand as UTF-8
 * and are decoded only when somebody asks for `values`. One loop per step over typed arrays: a seal exports every entry it has.
 */
export function dictionaryOf(interner: Interner, ids: Int32Array): DictionaryColumn {
  const index = new Int32Array(ids.length)
  const { used, size } = renumber(ids, interner.size, index)
  const { text } = interner
  let values: GroupValue[] | null = null
  const valuesOf = (): GroupValue[] => {
    values ??= Array.from(used.subarray(0, size), (id) => interner.value(id))
    return values
  }
  if (text === null) return { index, values: valuesOf() }
  const starts = new Int32Array(size + 1)
  for (let i = 0; i < size; i++) starts[i + 1] = starts[i]! + text.starts[used[i]! + 1]! - text.starts[used[i]!]!
  const bytes = new Uint8Array(starts[size]!)
  copyTexts(text.arena, text.starts, used, size, bytes)
  return {
    index,
    utf8: { bytes, starts, nullId: used.subarray(0, size).indexOf(text.nullId) },
    get values() {
      return valuesOf()
    },
  }
}

/** Gives the ids that appear dense numbers in order of first appearance, and each row its own: `used[index[i]] = ids[i]`. */
function renumber(ids: Int32Array, idCount: number, index: Int32Array): { used: Int32Array; size: number } {
  const local = new Int32Array(idCount) // 1 + dense number; 0 = not met yet
  const used = new Int32Array(Math.min(idCount, ids.length))
  let size = 0
  for (let row = 0; row < ids.length; row++) {
    const id = ids[row]!
    let at = local[id]!
    if (at === 0) {
      used[size++] = id
      at = size
      local[id] = at
    }
    index[row] = at - 1
  }
  return { used, size }
}

/** Texts are short, so a byte at a time is cheaper than a view for each. */
function copyTexts(arena: Uint8Array, starts: Int32Array, used: Int32Array, size: number, into: Uint8Array): void {
  let at = 0
  for (let i = 0; i < size; i++) {
    const until = starts[used[i]! + 1]!
    for (let from = starts[used[i]!]!; from < until; from++) into[at++] = arena[from]!
  }
}
