/** Dictionaries of table columns: what an export uses of an interner, with dense ids of its own. */
import type { Interner } from './interner.ts'
import type { DictionaryColumn, GroupValue } from './partial.ts'

/** Builds one dictionary column row by row. */
export interface DictionaryBuilder {
  /** Row `row` has the interner's value `id`. */
  put(row: number, id: number): void
  /** The column; texts stand as UTF-8 and are decoded only when somebody asks for `values`. */
  column(): DictionaryColumn
}

/** A builder for `count` rows over an interner. */
export function createDictionary(interner: Interner, count: number): DictionaryBuilder {
  const index = new Int32Array(count)
  const local = new Int32Array(interner.size) // 1 + local id; 0 = not used yet
  const used: number[] = []
  let textBytes = 0
  const text = interner.text
  return {
    put(row, id) {
      let at = local[id]!
      if (at === 0) {
        used.push(id)
        at = local[id] = used.length
        if (text !== null) textBytes += text.starts[id + 1]! - text.starts[id]!
      }
      index[row] = at - 1
    },
    column() {
      if (text === null) return { index, values: used.map((id) => interner.value(id)) }
      const bytes = new Uint8Array(textBytes)
      const starts = new Int32Array(used.length + 1)
      let nullId = -1
      let at = 0
      for (let i = 0; i < used.length; i++) {
        const id = used[i]!
        if (id === text.nullId) nullId = i
        const until = text.starts[id + 1]!
        for (let from = text.starts[id]!; from < until; from++) bytes[at++] = text.arena[from]!
        starts[i + 1] = at
      }
      let values: GroupValue[] | null = null
      return {
        index,
        utf8: { bytes, starts, nullId },
        get values() {
          values ??= used.map((id) => interner.value(id))
          return values
        },
      }
    },
  }
}
