/**
 * Group keys of the serving store: tuples of dimension values ↔ dense ids, one dictionary per metric.
 *
 * Every table that is merged brings dictionaries of its own; here they become one. Equal values get equal ids whichever
 * reader made them: int64 values within ±(2^53 - 1) are numbers, the rest and all decimals are bigint. Null is a value.
 * Ids only grow, so a group id stays valid for the life of the dictionary; nothing is kept per row.
 */
import { assert } from './assert.ts'
import type { DimensionLayout, GroupValue, PartialTable } from './partial.ts'

/** The canonical form of a dimension value, so that `Map` equality is equality of values. */
export function normaliseGroupValue(dimension: DimensionLayout, value: GroupValue): GroupValue {
  if (value === null) return null
  switch (dimension.kind) {
    case 'decimal':
      return typeof value === 'bigint' ? value : BigInt(value)
    case 'int64': {
      if (typeof value !== 'bigint') return value
      const small = Number(value)
      return Number.isSafeInteger(small) ? small : value
    }
    case 'float64':
      return Number(value)
    case 'bool':
      return typeof value === 'boolean' ? value : Number(value) !== 0
    case 'string':
      return value
  }
}

/** Most ids a dictionary level may have: two ids are packed into one safe integer. */
const IDS_MAX = 2 ** 26

/** Tuples of dimension values ↔ dense ids from 0. */
export class GroupDictionary {
  readonly dimensions: readonly DimensionLayout[]
  /** Groups known. */
  count = 0
  /** Per dimension: id → value. */
  readonly values: GroupValue[][]
  readonly #valueIds: Map<GroupValue, number>[]
  /** Per dimension after the first: (id of the prefix tuple, value id) → id of the longer tuple. */
  readonly #tuples: Map<number, number>[]
  readonly #tupleCounts: number[]
  /** Per dimension: group id → value id. */
  #columns: Int32Array[]

  constructor(dimensions: readonly DimensionLayout[]) {
    this.dimensions = dimensions
    this.values = dimensions.map(() => [])
    this.#valueIds = dimensions.map(() => new Map())
    this.#tuples = dimensions.map(() => new Map())
    this.#tupleCounts = dimensions.map(() => 0)
    this.#columns = dimensions.map(() => new Int32Array(64))
    if (dimensions.length === 0) this.count = 1
  }

  /** Id of a value of one dimension, new if need be. `value` must be canonical. */
  #valueId(dimension: number, value: GroupValue): number {
    const ids = this.#valueIds[dimension]!
    const known = ids.get(value)
    if (known !== undefined) return known
    const values = this.values[dimension]!
    assert(values.length < IDS_MAX, `at most ${IDS_MAX} values per dimension`)
    ids.set(value, values.length)
    values.push(value)
    return values.length - 1
  }

  /** The group ids of a table's rows; groups not seen before get the next ids. */
  idsOf(table: PartialTable): Int32Array {
    const ids = new Int32Array(table.count)
    const width = this.dimensions.length
    if (width === 0) return ids
    const local = table.dimensions.map((dimension, at) => {
      const layout = this.dimensions[at]!
      return dimension.values.map((value) => this.#valueId(at, normaliseGroupValue(layout, value)))
    })
    for (let row = 0; row < table.count; row++) {
      let id = 0
      for (let at = 0; at < width; at++) id = this.#extend(at, id, local[at]![table.dimensions[at]!.index[row]!]!)
      if (id === this.count) this.#remember(table, local, row)
      ids[row] = id
    }
    return ids
  }

  #extend(at: number, prefix: number, value: number): number {
    const key = prefix * IDS_MAX + value
    const tuples = this.#tuples[at]!
    const known = tuples.get(key)
    if (known !== undefined) return known
    const id = this.#tupleCounts[at]!++
    assert(id < IDS_MAX, `at most ${IDS_MAX} groups per metric`)
    tuples.set(key, id)
    return id
  }

  #remember(table: PartialTable, local: readonly number[][], row: number): void {
    if (this.count === this.#columns[0]!.length) {
      this.#columns = this.#columns.map((column) => {
        const grown = new Int32Array(column.length * 2)
        grown.set(column)
        return grown
      })
    }
    for (let at = 0; at < local.length; at++) {
      this.#columns[at]![this.count] = local[at]![table.dimensions[at]!.index[row]!]!
    }
    this.count++
  }

  /** Value of a group in one dimension. */
  valueOf(group: number, dimension: number): GroupValue {
    return this.values[dimension]![this.#columns[dimension]![group]!]!
  }

  /** Per group its value id in `dimension`; longer than `count`. Valid until the next `idsOf`. */
  column(dimension: number): Int32Array {
    return this.#columns[dimension]!
  }

  /** Id of a canonical value in `dimension`, or -1 when no group has it. */
  findValue(dimension: number, value: GroupValue): number {
    return this.#valueIds[dimension]!.get(value) ?? -1
  }

  /** Estimated bytes: typed columns, and about 48 bytes per map entry. */
  bytes(): number {
    let entries = 0
    for (const tuples of this.#tuples) entries += tuples.size
    for (const ids of this.#valueIds) entries += ids.size * 2
    return entries * 48 + this.#columns.reduce((sum, column) => sum + column.byteLength, 0)
  }
}
