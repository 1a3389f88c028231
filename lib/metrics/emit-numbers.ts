/** Numbers of generated loops: arithmetic, rounding and casts, as DuckDB computes them. */
import { anyNull, bounds, isInteger, type Loop, pow10, scalar, type Value } from './emit-loop.ts'
import { castToText } from './emit-texts.ts'
import type { Node } from './expression.ts'

/** Sum, difference and product. */
export function add(loop: Loop, node: Extract<Node, { op: 'arithmetic' }>): Value {
  const values = node.args.map((arg) => loop.emit(arg))
  const { type, symbol } = node
  const isNull = anyNull(values)
  let [a, b] = values.map(({ value }) => value) as [string, string]
  if (type.base === 'decimal' && symbol !== '*') {
    // DuckDB casts both operands to the result's type first, which can overflow by itself.
    a = loop.scaled(a, node.args[0].type.scale, type.scale, isNull, type)
    b = loop.scaled(b, node.args[1].type.scale, type.scale, isNull, type)
  }
  // A product of 0 and a negative double is -0, which is no integer's spelling.
  const normal = symbol === '*' && !loop.exact && isInteger(type) ? ' + 0' : ''
  return loop.guarded(type, isNull, () => `${a} ${symbol} ${b}${normal}`)
}

/** Quotients and rest; null where the divisor is 0. */
export function divide(loop: Loop, node: Extract<Node, { op: 'arithmetic' }>): Value {
  const values = node.args.map((arg) => loop.emit(arg))
  const [a, b] = values.map(({ value }) => value) as [string, string]
  const zero = loop.exact && node.type.base === 'int' ? '0n' : '0'
  const n = loop.name('n')
  loop.say(`const ${n} = ${[anyNull(values), `${b} === ${zero}`].filter((part) => part !== null).join(' || ')}`)
  if (node.symbol === '/') return loop.guarded(node.type, n, () => `${a} / ${b}`)
  if (node.symbol === '//')
    return loop.guarded(node.type, n, () => (loop.exact ? `${a} / ${b}` : `(${a} - ${a} % ${b}) / ${b} + 0`))
  return loop.guarded(node.type, n, () => {
    // DuckDB raises for the lowest integer % -1, though the rest is 0.
    const [low] = bounds(node.type)
    const rest = loop.exact ? `${a} % ${b}` : `${a} % ${b} + 0`
    const beyond = loop.exact ? `${BigInt(1) << 64n}n` : 'Infinity'
    return loop.exact || node.type.bits < 64
      ? `${b} === ${loop.integer(-1n)} && ${a} === ${loop.integer(low)} ? ${beyond} : ${rest}`
      : rest
  })
}

/** Floor, ceil, trunc and round. */
export function round(loop: Loop, node: Node & { op: 'floor' | 'ceil' | 'trunc' | 'round' }): Value {
  const [arg] = node.args
  if (node.type.base === 'float') {
    const functions = { floor: 'Math.floor', ceil: 'Math.ceil', trunc: 'Math.trunc', round: 'H.roundAway' }
    return loop.number(node, node.args, ([a]) => [`${functions[node.op]}(${a})`])
  }
  const digits = arg.type.scale - node.type.scale
  const factor = `${pow10(digits)}${loop.exact ? 'n' : ''}`
  const suffix = loop.exact ? 'Exact' : ''
  return loop.number(node, node.args, ([a]) => {
    if (node.op === 'floor') return [`H.floorDivide${suffix}(${a}, ${factor})`]
    if (node.op === 'ceil')
      return [loop.exact ? `-H.floorDivideExact(-${a}, ${factor})` : `0 - H.floorDivide(-${a}, ${factor})`]
    return [`H.scaleDown${suffix}(${a}, ${factor})`]
  })
}

/** A value as another type. */
export function cast(loop: Loop, node: Extract<Node, { op: 'cast' }>): Value {
  const [arg] = node.args
  const from = arg.type
  const into = node.type
  if (into.base === 'text') return castToText(loop, arg)
  if (into.base === 'bool') {
    const a = loop.emit(arg)
    return scalar(`(${a.value} !== ${isInteger(from) ? loop.integer(0n) : '0'})`, a.isNull)
  }
  const exact = loop.exact
  return loop.number(node, node.args, ([a]) => {
    if (from.base === 'bool')
      return [into.base === 'float' ? `(${a} ? 1 : 0)` : `(${a} ? ${loop.integer(1n)} : ${loop.integer(0n)})`]
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
