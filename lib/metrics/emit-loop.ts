/**
 * The loop that one expression becomes: its lines, its names, and what every kind of node needs of it. Cells are read once per row,
 * before any branch; numbers are checked to stay in their type; the result is stored at the end.
 *
 * Two variants. `fast`: integers and decimals are doubles; the loop gives up (returns -1) as soon as a value leaves its type or
 * ±(2^53 - 1), before anything inexact can be used. `exact`: they are BigInts; leaving the type is an overflow error if the
 * row passes `where`. In both, a null flag exists only for what can be null (`nulls` false: no column of this chunk has nulls).
 *
 * Locals: v<n> value, n<n> null flag, texts are three locals b<n> (buffer), f<n>, u<n> (range).
 */
import { assert } from '#core/assert.ts'
import { SAFE_MAX } from '#core/columns.ts'
import type { Node, SqlType } from './expression.ts'

/** What a loop yields: a 0/1 mask (of the metric's `where`, or of a measure's filter), or a column. */
export type Role = 'where' | 'filter' | 'column'

/** A row's value in the generated source: `value` (or the range for texts) and `isNull`, null when it never is. */
export interface Value {
  readonly value: string
  readonly bytes: string
  readonly from: string
  readonly until: string
  readonly isNull: string | null
}

/** The source of a loop and what it needs beside its columns. */
export interface Emitted {
  readonly source: string
  /** UTF-8 constants in one buffer, which the scratch begins with. */
  readonly constants: Uint8Array
  readonly fields: readonly string[]
  /** Texts that `match` looks for, as bytes: `P[i]`. */
  readonly patterns: readonly Uint8Array[]
}

const utf8 = new TextEncoder()

/** 10 to the power of `digits`, as source. */
export const pow10 = (digits: number): string => `1${'0'.repeat(digits)}`

/** Whether values of the type are integers: of an exact variant BigInts. */
export const isInteger = (type: SqlType): boolean => type.base === 'int' || type.base === 'decimal'

/** A value that is one local or expression; `isNull` null: it never is. */
export const scalar = (value: string, isNull: string | null): Value => ({
  value,
  bytes: '',
  from: '',
  until: '',
  isNull,
})

/** Whether one of the values is null, as source; null when none can be. */
export function anyNull(values: readonly Value[]): string | null {
  const flags = [...new Set(values.flatMap(({ isNull }) => (isNull === null ? [] : [isNull])))]
  return flags.length === 0 ? null : flags.length === 1 ? flags[0]! : `(${flags.join(' || ')})`
}

/** Emits a node into a loop; see `Loop.emit`. */
export type EmitNode = (loop: Loop, node: Node, select: boolean) => Value

/** A loop that is being written. */
export class Loop {
  readonly exact: boolean
  readonly nulls: boolean
  readonly #emitNode: EmitNode
  readonly #fields: readonly string[]
  readonly #lines: string[] = []
  readonly #head = new Set<string>()
  readonly #constants = new Map<string, { from: number; until: number }>()
  readonly #patterns: Uint8Array[] = []
  readonly #columns = new Map<string, Value>()
  readonly #cells: string[] = []
  #constantBytes: number[] = []
  #next = 0

  constructor(
    { exact, nulls, fields }: { exact: boolean; nulls: boolean; fields: readonly string[] },
    emitNode: EmitNode,
  ) {
    this.exact = exact
    this.nulls = nulls
    this.#fields = fields
    this.#emitNode = emitNode
  }

  /**
   * Emits the statements of a node and says where its value is. `select`: DuckDB evaluates this condition over a selection of
   * rows (`where`, and what follows `when`), where AND and OR leave out rows already decided; elsewhere they evaluate every
   * operand. It shows only in which rows can overflow.
   */
  emit(node: Node, select = false): Value {
    return this.#emitNode(this, node, select)
  }

  /** Adds a line of the row. */
  say(line: string): void {
    this.#lines.push(line)
  }

  /** A local of its own. */
  name(prefix: string): string {
    return `${prefix}${this.#next++}`
  }

  /** A constant of an integer type. */
  integer(value: bigint): string {
    return this.exact ? `${value < 0n ? `(${value}n)` : `${value}n`}` : `${value < 0n ? `(${value})` : value}`
  }

  /** Declares mutable locals for a value of the type, zero and (if it can be) null. */
  declare(type: SqlType, nullable: boolean): Value {
    const id = this.#next++
    const isNull = nullable ? `n${id}` : null
    if (isNull !== null) this.say(`let ${isNull} = true`)
    if (type.base === 'text') {
      this.say(`let b${id} = S.bytes, f${id} = 0, u${id} = 0`)
      return { value: '', bytes: `b${id}`, from: `f${id}`, until: `u${id}`, isNull }
    }
    this.say(`let v${id} = ${type.base === 'bool' ? 'false' : isInteger(type) ? this.integer(0n) : '0'}`)
    return { value: `v${id}`, bytes: '', from: '', until: '', isNull }
  }

  /** Copies a value into declared locals. */
  assign(type: SqlType, into: Value, from: Value): void {
    if (type.base === 'text')
      this.say(`${into.bytes} = ${from.bytes}; ${into.from} = ${from.from}; ${into.until} = ${from.until}`)
    else this.say(`${into.value} = ${from.value}`)
    if (into.isNull !== null) this.say(`${into.isNull} = ${from.isNull ?? 'false'}`)
  }

  /** Whether the node can be null in this variant; decides which flags are declared. */
  nullable(node: Node): boolean {
    switch (node.op) {
      case 'literal':
        return node.value === null
      case 'column':
        return this.nulls
      case 'is null':
        return false
      case 'coalesce':
        return node.args.every((arg) => this.nullable(arg))
      case 'greatest':
      case 'least':
        return node.args.every((arg) => this.nullable(arg))
      case 'nullif':
        return true
      case 'arithmetic':
        return (
          node.symbol === '/' ||
          node.symbol === '//' ||
          node.symbol === '%' ||
          node.args.some((arg) => this.nullable(arg))
        )
      case 'concat':
        return !node.skipsNull && node.args.some((arg) => this.nullable(arg))
      case 'case':
        return node.args.some((arg, at) => (at % 2 === 1 || at === node.args.length - 1) && this.nullable(arg))
      default:
        return (node.args as readonly Node[]).some((arg) => this.nullable(arg))
    }
  }

  /** A literal; text stands in the constants. */
  literal({ type, value }: Extract<Node, { op: 'literal' }>): Value {
    if (type.base === 'text') {
      const { from, until } = this.constant(String(value ?? ''))
      return {
        value: '',
        bytes: 'S.bytes',
        from: String(from),
        until: String(until),
        isNull: value === null ? 'true' : null,
      }
    }
    const zero = type.base === 'bool' ? 'false' : isInteger(type) ? this.integer(0n) : '0'
    if (value === null) return scalar(zero, 'true')
    if (typeof value !== 'bigint')
      return scalar(typeof value === 'number' && value < 0 ? `(${value})` : String(value), null)
    if (!this.exact && (value > BigInt(SAFE_MAX) || value < -BigInt(SAFE_MAX))) {
      // Not a double's integer: this row needs the exact variant.
      this.say('return -1')
      return scalar('0', null)
    }
    return scalar(this.integer(value), null)
  }

  /** The place of a text among the constants. */
  constant(text: string): { from: number; until: number } {
    let range = this.#constants.get(text)
    if (range === undefined) {
      const bytes = utf8.encode(text)
      range = { from: this.#constantBytes.length, until: this.#constantBytes.length + bytes.length }
      this.#constantBytes.push(...bytes)
      this.#constants.set(text, range)
    }
    return range
  }

  /** The place of a text that `match` looks for among the patterns. */
  pattern(bytes: Uint8Array): number {
    return this.#patterns.push(bytes) - 1
  }

  /** A column's cell is read once per row, before any branch. */
  column({ name, type }: Extract<Node, { op: 'column' }>): Value {
    const known = this.#columns.get(name)
    if (known !== undefined) return known
    const at = this.#fields.indexOf(name)
    assert(at >= 0, `field ${name} is not among the reader's`)
    const cell: string[] = []
    const isNull = this.nulls ? `cn${at}` : null
    if (isNull !== null) {
      this.#head.add(`const valid${at} = columns[${at}].valid ?? ALL`)
      cell.push(`const cn${at} = valid${at}[i] === 0`)
    }
    let value: Value
    if (type.base === 'text') {
      this.#head.add(
        `const from${at} = columns[${at}].from, until${at} = columns[${at}].until, bytes${at} = columns[${at}].bytes`,
      )
      cell.push(`const cf${at} = from${at}[i], cu${at} = until${at}[i]`)
      value = { value: '', bytes: `bytes${at}`, from: `cf${at}`, until: `cu${at}`, isNull }
    } else {
      this.#head.add(`const f64_${at} = columns[${at}].f64`)
      if (this.exact && isInteger(type)) {
        this.#head.add(`const wide${at} = columns[${at}].wide`)
        cell.push(`const c${at} = wide${at} === null ? BigInt(f64_${at}[i]) : wide${at}[i]`)
      } else cell.push(type.base === 'bool' ? `const c${at} = f64_${at}[i] === 1` : `const c${at} = f64_${at}[i]`)
      value = scalar(`c${at}`, isNull)
    }
    this.#cells.push(...cell)
    this.#columns.set(name, value)
    return value
  }

  /** A computed number: what `expression` makes of the values of its arguments, checked; null when one of them is. */
  number(node: Node, args: readonly Node[], expression: (values: string[]) => [string]): Value {
    const values = args.map((arg) => this.emit(arg))
    return this.guarded(node.type, anyNull(values), () => expression(values.map(({ value }) => value))[0])
  }

  /** Declares v, and computes and checks it unless null. */
  guarded(type: SqlType, isNull: string | null, compute: () => string, check = true): Value {
    const v = this.name('v')
    this.say(`let ${v} = ${isInteger(type) ? this.integer(0n) : '0'}`)
    if (isNull !== null) this.say(`if (!${isNull}) {`)
    this.say(`${v} = ${compute()}`)
    if (check && isInteger(type)) this.check(v, type)
    if (isNull !== null) this.say('}')
    return scalar(v, isNull)
  }

  /** Leaving the type (or, in the fast variant, the safe integers) ends the fast loop, or is an overflow in the exact one. */
  check(v: string, type: SqlType): void {
    const [low, high] = bounds(type)
    if (this.exact) {
      this.say(
        `if (${v} > ${high}n || ${v} < ${low}n) { if (W === null || W[i] === 1) H.overflow(${JSON.stringify(typeName(type))}); ${v} = 0n }`,
      )
      return
    }
    const safe = BigInt(SAFE_MAX)
    this.say(`if (!(${v} <= ${high < safe ? high : safe} && ${v} >= ${low > -safe ? low : -safe})) return -1`)
  }

  /** A decimal or int operand brought to a scale, checked to be safe in the fast variant and to fit `fits` if given. */
  scaled(value: string, from: number, to: number, isNull: string | null, fits: SqlType | null): string {
    if (from === to && fits === null) return value
    const v = this.name('v')
    const factor = pow10(to - from)
    this.say(`let ${v} = ${from === to ? value : this.exact ? `${value} * ${factor}n` : `${value} * ${factor}`}`)
    if (isNull !== null) this.say(`if (!${isNull}) {`)
    if (fits !== null) this.check(v, fits)
    else if (!this.exact) this.say(`if (!(${v} <= ${SAFE_MAX} && ${v} >= ${-SAFE_MAX})) return -1`)
    if (isNull !== null) this.say('}')
    return v
  }

  /** Stores the row's result. Null rows hold 0 or an empty range. */
  output(type: SqlType, role: Role, result: Value): void {
    const { isNull, value } = result
    if (role !== 'column') {
      this.say(`mask[i] = ${isNull === null ? '' : `!${isNull} && `}${value} ? 1 : 0`)
      return
    }
    if (isNull !== null)
      this.say(`if (${isNull}) { hasNull = true; valid[i] = 0; ${zeroCell(type, this.exact)} continue }\nvalid[i] = 1`)
    switch (type.base) {
      case 'text': {
        const [b, f, u] = [this.name('b'), this.name('f'), this.name('u')]
        this.say(`let ${b} = ${result.bytes}, ${f} = ${result.from}, ${u} = ${result.until}`)
        this.say(
          `if (${b} !== S.bytes) { const size = ${u} - ${f}; ${f} = S.put(${b}, ${f}, ${u}); ${u} = ${f} + size }`,
        )
        this.say(`from[i] = ${f}; until[i] = ${u}`)
        return
      }
      case 'bool':
        this.say(`f64[i] = ${value} ? 1 : 0`)
        return
      case 'float':
        this.say(`const r = ${value} + 0`)
        this.say("if (!(r - r === 0) && (W === null || W[i] === 1)) H.overflow('a DOUBLE is not finite')")
        this.say('f64[i] = r')
        return
      default:
        if (!this.exact) this.say(`f64[i] = ${value}`)
        else
          this.say(
            `const r = ${value}; wide[i] = r; f64[i] = Number(r); if (r > ${SAFE_MAX}n || r < ${-SAFE_MAX}n) isWide = true`,
          )
    }
  }

  /** The whole source. */
  finish(): Emitted {
    const source = [
      '"use strict"',
      'return function run(count, columns, W, S, P, mask, valid, f64, wide, from, until) {',
      'let hasNull = false, isWide = false',
      ...this.#head,
      'for (let i = 0; i < count; i++) {',
      ...this.#cells,
      ...this.#lines,
      '}',
      'return (hasNull ? 1 : 0) | (isWide ? 2 : 0)',
      '}',
    ].join('\n')
    return { source, constants: Uint8Array.from(this.#constantBytes), fields: this.#fields, patterns: this.#patterns }
  }
}

const zeroCell = (type: SqlType, exact: boolean): string =>
  type.base === 'text' ? 'from[i] = 0; until[i] = 0;' : `f64[i] = 0;${exact && isInteger(type) ? ' wide[i] = 0n;' : ''}`

/** Lowest and highest value of an int or (unscaled) decimal type. */
export function bounds(type: SqlType): [bigint, bigint] {
  if (type.base === 'decimal') {
    const limit = 10n ** BigInt(type.precision) - 1n
    return [-limit, limit]
  }
  const limit = 1n << BigInt(type.bits - 1)
  return [-limit, limit - 1n]
}

const typeName = (type: SqlType): string =>
  type.base === 'decimal' ? `DECIMAL(${type.precision},${type.scale})` : `int${type.bits}`
