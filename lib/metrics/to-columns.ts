/**
 * The speed reader: a bound metric → a generated `MetricReader`, one tight loop per distinct expression and chunk.
 *
 * A plain field is handed through as the column it is, without copying (a DOUBLE is copied once, to make -0 a 0). Everything
 * else gets buffers of its own. Loops are compiled on first use in the variant a chunk needs: with or without nulls, on doubles
 * or (a wide column, or a value beyond ±(2^53 - 1) on the way) again with BigInts. Upholds law 4 with to-sql.ts.
 */
import { assert } from '#core/assert.ts'
import {
  allocateColumn,
  CHUNK_ROWS,
  type Column,
  type ColumnChunk,
  type ColumnKind,
  type MetricColumns,
  type MetricReader,
} from '#core/columns.ts'
import * as runtime from './column-runtime.ts'
import { emitLoop, fieldsInOrder } from './emit-columns.ts'
import type { Role } from './emit-loop.ts'
import type { Node, SqlType } from './expression.ts'
import { printSql } from './print-sql.ts'
import type { BoundMetric } from './to-sql.ts'

type Loop = (
  count: number,
  columns: readonly Column[],
  where: Uint8Array | null,
  scratch: runtime.Scratch,
  patterns: readonly Uint8Array[],
  mask: Uint8Array,
  valid: Uint8Array,
  f64: Float64Array,
  wide: BigInt64Array,
  from: Int32Array,
  until: Int32Array,
) => number

interface Compiled {
  readonly loop: Loop
  readonly scratch: runtime.Scratch
  readonly patterns: readonly Uint8Array[]
}

/** Evaluates one expression of a chunk. */
interface Evaluator {
  run(chunk: ColumnChunk, columns: readonly Column[], where: Uint8Array | null): void
}

const ALL_VALID = new Uint8Array(CHUNK_ROWS).fill(1)
const NOTHING_U8 = new Uint8Array(0)
const NOTHING_I64 = new BigInt64Array(0)

const KINDS: Readonly<Record<SqlType['base'], ColumnKind>> = {
  int: 'int64',
  decimal: 'decimal',
  float: 'float64',
  bool: 'bool',
  text: 'string',
  bytes: 'bytes',
}

/** One expression in one role, with its variants compiled when first needed. */
class Expression implements Evaluator {
  readonly mask: Uint8Array
  readonly column: Column
  readonly #node: Node
  readonly #role: Role
  readonly #fields: readonly string[]
  readonly #places: readonly number[]
  readonly #inputs: Column[]
  readonly #variants: (Compiled | undefined)[] = [undefined, undefined, undefined, undefined]
  readonly #valid: Uint8Array
  readonly #wide: BigInt64Array

  constructor(node: Node, role: Role, readerFields: readonly string[]) {
    this.#node = node
    this.#role = role
    this.#fields = fieldsInOrder(node)
    this.#places = this.#fields.map((field) => readerFields.indexOf(field))
    this.#inputs = []
    const { type } = node
    const integer = type.base === 'int' || type.base === 'decimal'
    this.mask = role === 'column' ? NOTHING_U8 : new Uint8Array(CHUNK_ROWS)
    this.column = allocateColumn(
      { name: '', kind: KINDS[type.base], nullable: true, precision: type.precision, scale: type.scale },
      role === 'column' ? CHUNK_ROWS : 0,
    )
    this.#valid = role === 'column' ? new Uint8Array(CHUNK_ROWS) : NOTHING_U8
    this.#wide = role === 'column' && integer ? new BigInt64Array(CHUNK_ROWS) : NOTHING_I64
  }

  run(chunk: ColumnChunk, columns: readonly Column[], where: Uint8Array | null): void {
    const inputs = this.#inputs
    let nulls = false
    let wide = false
    for (let at = 0; at < this.#places.length; at++) {
      const column = columns[this.#places[at]!]!
      inputs[at] = column
      if (column.valid !== null) nulls = true
      if (column.wide !== null) wide = true
    }
    let flags = wide ? -1 : this.#runVariant(chunk.count, nulls, false, where)
    if (flags < 0) flags = this.#runVariant(chunk.count, nulls, true, where)
    assert(flags >= 0, 'the exact variant does not give up')
    this.column.valid = (flags & 1) === 0 ? null : this.#valid
    this.column.wide = (flags & 2) === 0 ? null : this.#wide
  }

  #runVariant(count: number, nulls: boolean, exact: boolean, where: Uint8Array | null): number {
    const { loop, scratch, patterns } = this.#compiled(nulls, exact)
    scratch.reset()
    const { f64, from, until } = this.column
    const flags = loop(
      count,
      this.#inputs,
      where,
      scratch,
      patterns,
      this.mask,
      this.#valid,
      f64,
      this.#wide,
      from,
      until,
    )
    this.column.bytes = scratch.bytes
    return flags
  }

  #compiled(nulls: boolean, exact: boolean): Compiled {
    const at = (nulls ? 1 : 0) + (exact ? 2 : 0)
    const known = this.#variants[at]
    if (known !== undefined) return known
    const emitted = emitLoop(this.#node, this.#role, { exact, nulls, fields: this.#fields })
    // The text holds names we made, numbers and typed literals of a checked tree; texts and patterns are passed as bytes.
    // oxlint-disable-next-line typescript/no-implied-eval
    const make = new Function('H', 'ALL', emitted.source) as (helpers: typeof runtime, all: Uint8Array) => Loop
    const compiled = {
      loop: make(runtime, ALL_VALID),
      scratch: new runtime.Scratch(emitted.constants),
      patterns: emitted.patterns,
    }
    this.#variants[at] = compiled
    return compiled
  }
}

/**
 * Makes a factory of readers; each reader has buffers of its own. `fields` are the fields that the metric needs; a chunk may
 * hold more, in any order: columns are found by name.
 */
export function compileReader(metric: BoundMetric, fields: readonly string[]): () => MetricReader {
  return () => createReader(metric, fields)
}

function createReader(metric: BoundMetric, fields: readonly string[]): MetricReader {
  const expressions = new Map<string, Expression>()
  const share = (node: Node, role: Role): Expression => {
    const key = `${role} ${printSql(node)}`
    let expression = expressions.get(key)
    if (expression === undefined) {
      expression = new Expression(node, role, fields)
      expressions.set(key, expression)
    }
    return expression
  }
  const where = metric.where === null ? null : new Expression(metric.where, 'where', fields)
  const filters = metric.measures.map(({ filter }) => (filter === null ? null : share(filter, 'filter')))
  // Computed: the expression's own column. Plain: index of the field whose column is handed through.
  const source = (node: Node, copyFloat: boolean): Expression | number =>
    node.op === 'column' && !(copyFloat && node.type.base === 'float')
      ? fields.indexOf(node.name)
      : share(node, 'column')
  const dimensions = metric.dimensions.map(({ node }) => source(node, true))
  const values = metric.measures.map(({ argument, kind }) =>
    argument === null ? null : source(argument, kind !== 'count'),
  )
  const computed = [...expressions.values()]

  const picked: Column[] = []
  let places: number[] = []
  let layout: readonly Column[] | null = null
  const columnOf = (from: Expression | number): Column => (typeof from === 'number' ? picked[from]! : from.column)
  const result = {
    where: where?.mask ?? null,
    dimensions: [] as Column[],
    arguments: [] as (Column | null)[],
    filters: filters.map((filter) => filter?.mask ?? null),
  } satisfies MetricColumns

  const both = new Uint8Array(CHUNK_ROWS)
  /** Rows that count and pass `where`. */
  const countedWhere = (counted: Uint8Array): Uint8Array => {
    for (let i = 0; i < CHUNK_ROWS; i++) both[i] = result.where === null ? counted[i]! : counted[i]! & result.where[i]!
    return both
  }

  return (chunk, counted) => {
    if (layout !== chunk.columns) {
      places = fields.map((field) => chunk.columns.findIndex(({ spec }) => spec.name === field))
      assert(!places.includes(-1), `the chunk lacks a field of ${fields.join(', ')}`)
      layout = chunk.columns
    }
    for (let at = 0; at < places.length; at++) picked[at] = chunk.columns[places[at]!]!
    where?.run(chunk, picked, counted ?? null)
    const passed = counted === undefined ? result.where : countedWhere(counted)
    for (const expression of computed) expression.run(chunk, picked, passed)
    for (let at = 0; at < dimensions.length; at++) result.dimensions[at] = columnOf(dimensions[at]!)
    for (let at = 0; at < values.length; at++) {
      const value = values[at]!
      result.arguments[at] = value === null ? null : columnOf(value)
    }
    return result
  }
}
