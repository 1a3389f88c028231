/**
 * Typed tree → source text of one loop over a chunk's rows.
 *
 * Two variants. `fast`: integers and decimals are doubles; the loop gives up (returns -1) as soon as a value leaves its type or
 * ±(2^53 - 1), before anything inexact can be used. `exact`: they are BigInts; leaving the type is an overflow error if the
 * row passes `where`. In both, a null flag exists only for what can be null (`nulls` false: no column of this chunk has nulls).
 *
 * Locals: v<n> value, n<n> null flag, texts are three locals b<n> (buffer), f<n>, u<n> (range).
 */
import { assert, unreachable } from '#core/assert.ts'
import { SAFE_MAX } from '#core/columns.ts'
import { type Node, type SqlType, walk } from './expression.ts'

/** What a loop yields: a 0/1 mask (of the metric's `where`, or of a measure's filter), or a column. */
export type Role = 'where' | 'filter' | 'column'

/** A row's value in the generated source: `value` (or the range for texts) and `isNull`, null when it never is. */
interface Value {
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
const pow10 = (digits: number): string => `1${'0'.repeat(digits)}`

/** Writes the loop of one expression. */
export function emitLoop(
  root: Node,
  role: Role,
  variant: { exact: boolean; nulls: boolean; fields: readonly string[] },
): Emitted {
  const emitter = new Emitter(variant.exact, variant.nulls, variant.fields)
  const result = emitter.emit(root, role === 'where')
  emitter.output(root.type, role, result)
  return emitter.finish()
}

/** Fields an expression reads, in order of first use. */
export function fieldsInOrder(root: Node): string[] {
  return [...new Set([...walk(root)].flatMap((node) => (node.op === 'column' ? [node.name] : [])))]
}

class Emitter {
  readonly #exact: boolean
  readonly #nulls: boolean
  readonly #fields: readonly string[]
  readonly #lines: string[] = []
  readonly #head = new Set<string>()
  readonly #constants = new Map<string, { from: number; until: number }>()
  readonly #patterns: Uint8Array[] = []
  readonly #columns = new Map<string, Value>()
  #constantBytes: number[] = []
  #next = 0

  constructor(exact: boolean, nulls: boolean, fields: readonly string[]) {
    this.#exact = exact
    this.#nulls = nulls
    this.#fields = fields
  }

  #say(line: string): void {
    this.#lines.push(line)
  }

  #name(prefix: string): string {
    return `${prefix}${this.#next++}`
  }

  #isInteger(type: SqlType): boolean {
    return type.base === 'int' || type.base === 'decimal'
  }

  #integer(value: bigint): string {
    return this.#exact ? `${value < 0n ? `(${value}n)` : `${value}n`}` : `${value < 0n ? `(${value})` : value}`
  }

  /** Declares mutable locals for a value of the type, zero and (if it can be) null. */
  #declare(type: SqlType, nullable: boolean): Value {
    const id = this.#next++
    const isNull = nullable ? `n${id}` : null
    if (isNull !== null) this.#say(`let ${isNull} = true`)
    if (type.base === 'text') {
      this.#say(`let b${id} = S.bytes, f${id} = 0, u${id} = 0`)
      return { value: '', bytes: `b${id}`, from: `f${id}`, until: `u${id}`, isNull }
    }
    this.#say(`let v${id} = ${type.base === 'bool' ? 'false' : this.#isInteger(type) ? this.#integer(0n) : '0'}`)
    return { value: `v${id}`, bytes: '', from: '', until: '', isNull }
  }

  #assign(type: SqlType, into: Value, from: Value): void {
    if (type.base === 'text')
      this.#say(`${into.bytes} = ${from.bytes}; ${into.from} = ${from.from}; ${into.until} = ${from.until}`)
    else this.#say(`${into.value} = ${from.value}`)
    if (into.isNull !== null) this.#say(`${into.isNull} = ${from.isNull ?? 'false'}`)
  }

  static #scalar(value: string, isNull: string | null): Value {
    return { value, bytes: '', from: '', until: '', isNull }
  }

  static #anyNull(values: readonly Value[]): string | null {
    const flags = [...new Set(values.flatMap(({ isNull }) => (isNull === null ? [] : [isNull])))]
    return flags.length === 0 ? null : flags.length === 1 ? flags[0]! : `(${flags.join(' || ')})`
  }

  /** Whether the node can be null in this variant; decides which flags are declared. */
  #nullable(node: Node): boolean {
    switch (node.op) {
      case 'literal':
        return node.value === null
      case 'column':
        return this.#nulls
      case 'is null':
        return false
      case 'coalesce':
        return node.args.every((arg) => this.#nullable(arg))
      case 'greatest':
      case 'least':
        return node.args.every((arg) => this.#nullable(arg))
      case 'nullif':
        return true
      case 'arithmetic':
        return (
          node.symbol === '/' ||
          node.symbol === '//' ||
          node.symbol === '%' ||
          node.args.some((arg) => this.#nullable(arg))
        )
      case 'concat':
        return !node.skipsNull && node.args.some((arg) => this.#nullable(arg))
      case 'case':
        return node.args.some((arg, at) => (at % 2 === 1 || at === node.args.length - 1) && this.#nullable(arg))
      default:
        return (node.args as readonly Node[]).some((arg) => this.#nullable(arg))
    }
  }

  /**
   * Emits the statements of a node and says where its value is. `select`: DuckDB evaluates this condition over a selection of
   * rows (`where`, and what follows `when`), where AND and OR leave out rows already decided; elsewhere they evaluate every
   * operand. It shows only in which rows can overflow.
   */
  emit(node: Node, select = false): Value {
    switch (node.op) {
      case 'literal':
        return this.#literal(node)
      case 'column':
        return this.#column(node)
      case 'arithmetic':
        return node.symbol === '/' || node.symbol === '//' || node.symbol === '%' ? this.#divide(node) : this.#add(node)
      case 'negate':
        return this.#number(node, node.args, ([a]) => [
          node.type.base === 'float' || this.#exact ? `-${a}` : `(0 - ${a})`,
        ])
      case 'abs':
        return this.#number(node, node.args, ([a]) => [
          this.#exact && this.#isInteger(node.type) ? `(${a} < 0n ? -${a} : ${a})` : `Math.abs(${a})`,
        ])
      case 'floor':
      case 'ceil':
      case 'trunc':
      case 'round':
        return this.#round(node)
      case 'compare':
        return this.#compareValues(
          node.symbol,
          node.args,
          node.args.map((arg) => this.emit(arg)),
        )
      case 'between':
        return this.#between(node)
      case 'in':
        return this.#in(node)
      case 'and':
      case 'or':
        return this.#junction(
          node.op === 'and',
          node.args.map((arg) => () => this.emit(arg, select)),
          this.#nullable(node),
          select,
        )
      case 'not': {
        const [arg] = node.args.map((child) => this.emit(child)) as [Value]
        return Emitter.#scalar(`!${arg.value}`, arg.isNull)
      }
      case 'is null': {
        const [arg] = node.args.map((child) => this.emit(child)) as [Value]
        if (arg.isNull === null) return Emitter.#scalar(String(node.negated), null)
        return Emitter.#scalar(node.negated ? `!${arg.isNull}` : arg.isNull, null)
      }
      case 'case':
        return this.#case(node)
      case 'coalesce':
        return this.#coalesce(node)
      case 'nullif':
        return this.#nullif(node)
      case 'greatest':
      case 'least':
        return this.#extreme(node)
      case 'cast':
        return this.#cast(node)
      case 'length':
      case 'strlen': {
        const [a] = node.args.map((child) => this.emit(child)) as [Value]
        const size = node.op === 'strlen' ? `${a.until} - ${a.from}` : `H.codePoints(${a.bytes}, ${a.from}, ${a.until})`
        const v = this.#name('v')
        this.#say(`const ${v} = ${this.#exact ? `BigInt(${size})` : size}`)
        return Emitter.#scalar(v, a.isNull)
      }
      case 'concat':
        return this.#concat(node)
      case 'substring': {
        const [a] = node.args.map((child) => this.emit(child)) as [Value]
        const [f, u] = [this.#name('f'), this.#name('u')]
        this.#say(`const ${f} = H.skipCodePoints(${a.bytes}, ${a.from}, ${a.until}, ${node.from - 1})`)
        this.#say(
          `const ${u} = ${node.count === null ? a.until : `H.skipCodePoints(${a.bytes}, ${f}, ${a.until}, ${node.count})`}`,
        )
        return { value: '', bytes: a.bytes, from: f, until: u, isNull: a.isNull }
      }
      case 'match':
        return this.#match(node)
      default:
        return unreachable(node)
    }
  }

  #literal({ type, value }: Extract<Node, { op: 'literal' }>): Value {
    if (type.base === 'text') {
      const { from, until } = this.#constant(String(value ?? ''))
      return {
        value: '',
        bytes: 'S.bytes',
        from: String(from),
        until: String(until),
        isNull: value === null ? 'true' : null,
      }
    }
    const zero = type.base === 'bool' ? 'false' : this.#isInteger(type) ? this.#integer(0n) : '0'
    if (value === null) return Emitter.#scalar(zero, 'true')
    if (typeof value !== 'bigint')
      return Emitter.#scalar(typeof value === 'number' && value < 0 ? `(${value})` : String(value), null)
    if (!this.#exact && (value > BigInt(SAFE_MAX) || value < -BigInt(SAFE_MAX))) {
      // Not a double's integer: this row needs the exact variant.
      this.#say('return -1')
      return Emitter.#scalar('0', null)
    }
    return Emitter.#scalar(this.#integer(value), null)
  }

  #constant(text: string): { from: number; until: number } {
    let range = this.#constants.get(text)
    if (range === undefined) {
      const bytes = utf8.encode(text)
      range = { from: this.#constantBytes.length, until: this.#constantBytes.length + bytes.length }
      this.#constantBytes.push(...bytes)
      this.#constants.set(text, range)
    }
    return range
  }

  /** A column's cell is read once per row, before any branch. */
  #column({ name, type }: Extract<Node, { op: 'column' }>): Value {
    const known = this.#columns.get(name)
    if (known !== undefined) return known
    const at = this.#fields.indexOf(name)
    assert(at >= 0, `field ${name} is not among the reader's`)
    const cell: string[] = []
    const isNull = this.#nulls ? `cn${at}` : null
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
      if (this.#exact && this.#isInteger(type)) {
        this.#head.add(`const wide${at} = columns[${at}].wide`)
        cell.push(`const c${at} = wide${at} === null ? BigInt(f64_${at}[i]) : wide${at}[i]`)
      } else cell.push(type.base === 'bool' ? `const c${at} = f64_${at}[i] === 1` : `const c${at} = f64_${at}[i]`)
      value = Emitter.#scalar(`c${at}`, isNull)
    }
    this.#cells.push(...cell)
    this.#columns.set(name, value)
    return value
  }

  readonly #cells: string[] = []

  /** A computed number: `terms` gives its expression (the last) after names for intermediate ones, which are range-checked too. */
  #number(node: Node, args: readonly Node[], expression: (values: string[]) => [string]): Value {
    const values = args.map((arg) => this.emit(arg))
    return this.#guarded(node.type, Emitter.#anyNull(values), () => expression(values.map(({ value }) => value))[0])
  }

  /** Declares v, and computes and checks it unless null. */
  #guarded(type: SqlType, isNull: string | null, compute: () => string, check = true): Value {
    const v = this.#name('v')
    this.#say(`let ${v} = ${this.#isInteger(type) ? this.#integer(0n) : '0'}`)
    if (isNull !== null) this.#say(`if (!${isNull}) {`)
    this.#say(`${v} = ${compute()}`)
    if (check && this.#isInteger(type)) this.#check(v, type)
    if (isNull !== null) this.#say('}')
    return Emitter.#scalar(v, isNull)
  }

  /** Leaving the type (or, in the fast variant, the safe integers) ends the fast loop, or is an overflow in the exact one. */
  #check(v: string, type: SqlType): void {
    const [low, high] = bounds(type)
    if (this.#exact) {
      this.#say(
        `if (${v} > ${high}n || ${v} < ${low}n) { if (W === null || W[i] === 1) H.overflow(${JSON.stringify(typeName(type))}); ${v} = 0n }`,
      )
      return
    }
    const safe = BigInt(SAFE_MAX)
    this.#say(`if (!(${v} <= ${high < safe ? high : safe} && ${v} >= ${low > -safe ? low : -safe})) return -1`)
  }

  /** A decimal or int operand brought to a scale, checked to be safe in the fast variant and to fit `fits` if given. */
  #scaled(value: string, from: number, to: number, isNull: string | null, fits: SqlType | null): string {
    if (from === to && fits === null) return value
    const v = this.#name('v')
    const factor = pow10(to - from)
    this.#say(`let ${v} = ${from === to ? value : this.#exact ? `${value} * ${factor}n` : `${value} * ${factor}`}`)
    if (isNull !== null) this.#say(`if (!${isNull}) {`)
    if (fits !== null) this.#check(v, fits)
    else if (!this.#exact) this.#say(`if (!(${v} <= ${SAFE_MAX} && ${v} >= ${-SAFE_MAX})) return -1`)
    if (isNull !== null) this.#say('}')
    return v
  }

  #add(node: Extract<Node, { op: 'arithmetic' }>): Value {
    const values = node.args.map((arg) => this.emit(arg))
    const { type, symbol } = node
    const isNull = Emitter.#anyNull(values)
    let [a, b] = values.map(({ value }) => value) as [string, string]
    if (type.base === 'decimal' && symbol !== '*') {
      // DuckDB casts both operands to the result's type first, which can overflow by itself.
      a = this.#scaled(a, node.args[0].type.scale, type.scale, isNull, type)
      b = this.#scaled(b, node.args[1].type.scale, type.scale, isNull, type)
    }
    // A product of 0 and a negative double is -0, which is no integer's spelling.
    const normal = symbol === '*' && !this.#exact && this.#isInteger(type) ? ' + 0' : ''
    return this.#guarded(type, isNull, () => `${a} ${symbol} ${b}${normal}`)
  }

  #divide(node: Extract<Node, { op: 'arithmetic' }>): Value {
    const values = node.args.map((arg) => this.emit(arg))
    const [a, b] = values.map(({ value }) => value) as [string, string]
    const zero = this.#exact && node.type.base === 'int' ? '0n' : '0'
    const n = this.#name('n')
    this.#say(
      `const ${n} = ${[Emitter.#anyNull(values), `${b} === ${zero}`].filter((part) => part !== null).join(' || ')}`,
    )
    if (node.symbol === '/') return this.#guarded(node.type, n, () => `${a} / ${b}`)
    if (node.symbol === '//')
      return this.#guarded(node.type, n, () => (this.#exact ? `${a} / ${b}` : `(${a} - ${a} % ${b}) / ${b} + 0`))
    return this.#guarded(node.type, n, () => {
      // DuckDB raises for the lowest integer % -1, though the rest is 0.
      const [low] = bounds(node.type)
      const rest = this.#exact ? `${a} % ${b}` : `${a} % ${b} + 0`
      const beyond = this.#exact ? `${BigInt(1) << 64n}n` : 'Infinity'
      return this.#exact || node.type.bits < 64
        ? `${b} === ${this.#integer(-1n)} && ${a} === ${this.#integer(low)} ? ${beyond} : ${rest}`
        : rest
    })
  }

  #round(node: Node & { op: 'floor' | 'ceil' | 'trunc' | 'round' }): Value {
    const [arg] = node.args
    if (node.type.base === 'float') {
      const functions = { floor: 'Math.floor', ceil: 'Math.ceil', trunc: 'Math.trunc', round: 'H.roundAway' }
      return this.#number(node, node.args, ([a]) => [`${functions[node.op]}(${a})`])
    }
    const digits = arg.type.scale - node.type.scale
    const factor = `${pow10(digits)}${this.#exact ? 'n' : ''}`
    const suffix = this.#exact ? 'Exact' : ''
    return this.#number(node, node.args, ([a]) => {
      if (node.op === 'floor') return [`H.floorDivide${suffix}(${a}, ${factor})`]
      if (node.op === 'ceil')
        return [this.#exact ? `-H.floorDivideExact(-${a}, ${factor})` : `0 - H.floorDivide(-${a}, ${factor})`]
      return [`H.scaleDown${suffix}(${a}, ${factor})`]
    })
  }

  /** A comparison of two emitted values of one family. */
  #compareValues(symbol: string, nodes: readonly Node[], values: readonly Value[]): Value {
    const [left, right] = nodes as [Node, Node]
    const [a, b] = values as [Value, Value]
    const isNull = Emitter.#anyNull(values)
    const operator = symbol === '=' ? '===' : symbol === '<>' ? '!==' : symbol
    const v = this.#name('v')
    if (left.type.base === 'text') {
      const ranges = `${a.bytes}, ${a.from}, ${a.until}, ${b.bytes}, ${b.from}, ${b.until}`
      const equal = symbol === '=' || symbol === '<>'
      this.#say(
        `const ${v} = ${equal ? `${symbol === '=' ? '' : '!'}H.equalBytes(${ranges})` : `H.compareBytes(${ranges}) ${operator} 0`}`,
      )
    } else if (left.type.base === 'float' && (mayBeNaN(left) || mayBeNaN(right))) {
      this.#say(`const ${v} = H.compareDoubles(${a.value}, ${b.value}) ${operator} 0`)
    } else {
      const scale = Math.max(left.type.scale, right.type.scale)
      const integer = this.#isInteger(left.type)
      const x = integer ? this.#scaled(a.value, left.type.scale, scale, isNull, null) : a.value
      const y = integer ? this.#scaled(b.value, right.type.scale, scale, isNull, null) : b.value
      this.#say(`const ${v} = ${x} ${operator} ${y}`)
    }
    return Emitter.#scalar(v, isNull)
  }

  #between(node: Extract<Node, { op: 'between' }>): Value {
    const [input, lower, upper] = node.args
    const value = this.emit(input)
    const above = () => this.#compareValues('>=', [input, lower], [value, this.emit(lower)])
    const below = () => this.#compareValues('<=', [input, upper], [value, this.emit(upper)])
    return this.#junction(true, [above, below], this.#nullable(node), false)
  }

  #in(node: Extract<Node, { op: 'in' }>): Value {
    const [input, ...items] = node.args as [Node, ...Node[]]
    const value = this.emit(input)
    const tests = items.map((item) => () => this.#compareValues('=', [input, item], [value, this.emit(item)]))
    const found = this.#junction(false, tests, this.#nullable(node), false)
    return node.negated ? Emitter.#scalar(`!${found.value}`, found.isNull) : found
  }

  /** AND and OR with three values; `lazy` leaves later operands out once the result is known. */
  #junction(and: boolean, operands: readonly (() => Value)[], nullable: boolean, lazy: boolean): Value {
    const v = this.#name('v')
    const n = nullable ? this.#name('n') : null
    this.#say(`let ${v} = ${and}`)
    if (n !== null) this.#say(`let ${n} = false`)
    for (const [at, operand] of operands.entries()) {
      if (lazy && at > 0) this.#say(`if (${and ? v : `!${v}`}) {`)
      const value = operand()
      const decide = `if (${and ? `!${value.value}` : value.value}) ${v} = ${!and}`
      if (value.isNull === null || n === null) this.#say(decide)
      else this.#say(`if (${value.isNull}) ${n} = true; else ${decide}`)
    }
    if (lazy) this.#say('}'.repeat(operands.length - 1))
    if (n !== null) this.#say(`if (${v} !== ${and}) ${n} = false`)
    return Emitter.#scalar(v, n)
  }

  #case(node: Extract<Node, { op: 'case' }>): Value {
    const result = this.#declare(node.type, this.#nullable(node))
    const checks = (node.args.length - 1) / 2
    for (let at = 0; at < checks; at++) {
      const when = this.emit(node.args[at * 2]!, true)
      this.#say(`if (${when.isNull === null ? '' : `!${when.isNull} && `}${when.value}) {`)
      this.#assign(node.type, result, this.emit(node.args[at * 2 + 1]!))
      this.#say('} else {')
    }
    this.#assign(node.type, result, this.emit(node.args.at(-1)!))
    this.#say('}'.repeat(checks))
    return result
  }

  #coalesce(node: Node & { op: 'coalesce' | 'greatest' | 'least' }): Value {
    const result = this.#declare(node.type, this.#nullable(node))
    let open = 0
    for (const arg of node.args) {
      const value = this.emit(arg)
      this.#assign(node.type, result, value)
      if (value.isNull === null) break
      this.#say(`if (${value.isNull}) {`)
      open++
    }
    this.#say('}'.repeat(open))
    return result
  }

  #nullif(node: Extract<Node, { op: 'nullif' }>): Value {
    const values = node.args.map((arg) => this.emit(arg)) as [Value, Value]
    const equal = this.#compareValues('=', node.args, values)
    const n = this.#name('n')
    const same = equal.isNull === null ? equal.value : `(!${equal.isNull} && ${equal.value})`
    this.#say(`const ${n} = ${values[0].isNull === null ? same : `${values[0].isNull} || ${same}`}`)
    return { ...values[0], isNull: n }
  }

  /** Greatest and least leave nulls out. */
  #extreme(node: Node & { op: 'coalesce' | 'greatest' | 'least' }): Value {
    const values = node.args.map((arg) => this.emit(arg))
    const v = this.#name('v')
    const n = this.#name('n')
    const better = node.op === 'greatest' ? '>' : '<'
    this.#say(`let ${v} = ${this.#isInteger(node.type) ? this.#integer(0n) : '0'}, ${n} = true`)
    for (const { value, isNull } of values) {
      const beats =
        node.type.base === 'float' ? `H.compareDoubles(${value}, ${v}) ${better} 0` : `${value} ${better} ${v}`
      this.#say(`if (${isNull === null ? '' : `!${isNull} && `}(${n} || ${beats})) { ${v} = ${value}; ${n} = false }`)
    }
    return Emitter.#scalar(v, this.#nullable(node) ? n : null)
  }

  #cast(node: Extract<Node, { op: 'cast' }>): Value {
    const [arg] = node.args
    const from = arg.type
    const into = node.type
    if (into.base === 'text') return this.#castToText(arg)
    if (into.base === 'bool') {
      const a = this.emit(arg)
      return Emitter.#scalar(`(${a.value} !== ${this.#isInteger(from) ? this.#integer(0n) : '0'})`, a.isNull)
    }
    const exact = this.#exact
    return this.#number(node, node.args, ([a]) => {
      if (from.base === 'bool')
        return [into.base === 'float' ? `(${a} ? 1 : 0)` : `(${a} ? ${this.#integer(1n)} : ${this.#integer(0n)})`]
      if (into.base === 'float') {
        if (from.base === 'decimal' && from.scale > 0)
          return [exact ? `H.decimalToDouble(${a}, ${pow10(from.scale)}n)` : `${a} / ${pow10(from.scale)}`]
        return [exact ? `Number(${a})` : a!]
      }
      if (from.base === 'float') {
        const rounded = into.base === 'int' ? `H.roundEven(${a})` : `H.roundAway(${a} * ${pow10(into.scale)})`
        // A double that is not finite, or beyond any type, is given a value that every check refuses.
        return [exact ? `(Math.abs(${a}) < 1e40 ? BigInt(${rounded}) : ${BigInt(10) ** 60n}n)` : `${rounded} + 0`]
      }
      const digits = into.scale - from.scale
      if (digits === 0) return [a!]
      if (digits > 0) return [exact ? `${a} * ${pow10(digits)}n` : `${a} * ${pow10(digits)} + 0`]
      return [exact ? `H.scaleDownExact(${a}, ${pow10(-digits)}n)` : `H.scaleDown(${a}, ${pow10(-digits)})`]
    })
  }

  #castToText(arg: Node): Value {
    const a = this.emit(arg)
    const [f, u] = [this.#name('f'), this.#name('u')]
    const digits =
      arg.type.base === 'bool' ? `${a.value} ? 'true' : 'false'` : `H.decimalDigits(${a.value}, ${arg.type.scale})`
    this.#say(`const ${f} = S.putAscii(${digits}), ${u} = S.at`)
    return { value: '', bytes: 'S.bytes', from: f, until: u, isNull: a.isNull }
  }

  #concat(node: Extract<Node, { op: 'concat' }>): Value {
    const values = node.args.map((arg) => this.emit(arg))
    const [f, u] = [this.#name('f'), this.#name('u')]
    this.#say(`const ${f} = S.at`)
    for (const { bytes, from, until, isNull } of values) {
      this.#say(`${isNull === null ? '' : `if (!${isNull}) `}S.put(${bytes}, ${from}, ${until})`)
    }
    this.#say(`const ${u} = S.at`)
    return { value: '', bytes: 'S.bytes', from: f, until: u, isNull: node.skipsNull ? null : Emitter.#anyNull(values) }
  }

  #match(node: Extract<Node, { op: 'match' }>): Value {
    const [a] = node.args.map((child) => this.emit(child)) as [Value]
    const size = utf8.encode(node.pattern)
    const pattern = `P[${this.#patterns.push(size) - 1}]`
    const [from, until] = [a.from, a.until]
    const fits = `${until} - ${from} >= ${size.length}`
    const tests = {
      any: 'true',
      equal: `H.equalBytes(${a.bytes}, ${from}, ${until}, ${pattern}, 0, ${size.length})`,
      prefix: `(${fits} && H.equalBytes(${a.bytes}, ${from}, ${from} + ${size.length}, ${pattern}, 0, ${size.length}))`,
      suffix: `(${fits} && H.equalBytes(${a.bytes}, ${until} - ${size.length}, ${until}, ${pattern}, 0, ${size.length}))`,
      contains: `H.containsBytes(${a.bytes}, ${from}, ${until}, ${pattern})`,
    }
    const v = this.#name('v')
    this.#say(`const ${v} = ${node.negated ? '!' : ''}${tests[node.how]}`)
    return Emitter.#scalar(v, a.isNull)
  }

  /** Stores the row's result. Null rows hold 0 or an empty range. */
  output(type: SqlType, role: Role, result: Value): void {
    const { isNull, value } = result
    if (role !== 'column') {
      this.#say(`mask[i] = ${isNull === null ? '' : `!${isNull} && `}${value} ? 1 : 0`)
      return
    }
    if (isNull !== null)
      this.#say(
        `if (${isNull}) { hasNull = true; valid[i] = 0; ${zeroCell(type, this.#exact)} continue }\nvalid[i] = 1`,
      )
    switch (type.base) {
      case 'text': {
        const [b, f, u] = [this.#name('b'), this.#name('f'), this.#name('u')]
        this.#say(`let ${b} = ${result.bytes}, ${f} = ${result.from}, ${u} = ${result.until}`)
        this.#say(
          `if (${b} !== S.bytes) { const size = ${u} - ${f}; ${f} = S.put(${b}, ${f}, ${u}); ${u} = ${f} + size }`,
        )
        this.#say(`from[i] = ${f}; until[i] = ${u}`)
        return
      }
      case 'bool':
        this.#say(`f64[i] = ${value} ? 1 : 0`)
        return
      case 'float':
        this.#say(`const r = ${value} + 0`)
        this.#say("if (!(r - r === 0) && (W === null || W[i] === 1)) H.overflow('a DOUBLE is not finite')")
        this.#say('f64[i] = r')
        return
      default:
        if (!this.#exact) this.#say(`f64[i] = ${value}`)
        else
          this.#say(
            `const r = ${value}; wide[i] = r; f64[i] = Number(r); if (r > ${SAFE_MAX}n || r < ${-SAFE_MAX}n) isWide = true`,
          )
    }
  }

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
  type.base === 'text'
    ? 'from[i] = 0; until[i] = 0;'
    : `f64[i] = 0;${exact && (type.base === 'int' || type.base === 'decimal') ? ' wide[i] = 0n;' : ''}`

/** Lowest and highest value of an int or (unscaled) decimal type. */
function bounds(type: SqlType): [bigint, bigint] {
  if (type.base === 'decimal') {
    const limit = 10n ** BigInt(type.precision) - 1n
    return [-limit, limit]
  }
  const limit = 1n << BigInt(type.bits - 1)
  return [-limit, limit - 1n]
}

const typeName = (type: SqlType): string =>
  type.base === 'decimal' ? `DECIMAL(${type.precision},${type.scale})` : `int${type.bits}`

/** Fields and literals are finite; arithmetic on doubles may end in NaN. */
function mayBeNaN(node: Node): boolean {
  for (const child of walk(node)) if (child.type.base === 'float' && child.op === 'arithmetic') return true
  return false
}
