/** Conditions of generated loops: comparisons, and AND and OR with three values. */
import { anyNull, isInteger, type Loop, scalar, type Value } from './emit-loop.ts'
import { type Node, walk } from './expression.ts'

/** A comparison of two emitted values of one family. */
export function compareValues(loop: Loop, symbol: string, nodes: readonly Node[], values: readonly Value[]): Value {
  const [left, right] = nodes as [Node, Node]
  const [a, b] = values as [Value, Value]
  const isNull = anyNull(values)
  const operator = symbol === '=' ? '===' : symbol === '<>' ? '!==' : symbol
  const v = loop.name('v')
  if (left.type.base === 'text') {
    const ranges = `${a.bytes}, ${a.from}, ${a.until}, ${b.bytes}, ${b.from}, ${b.until}`
    const equal = symbol === '=' || symbol === '<>'
    loop.say(
      `const ${v} = ${equal ? `${symbol === '=' ? '' : '!'}H.equalBytes(${ranges})` : `H.compareBytes(${ranges}) ${operator} 0`}`,
    )
  } else if (left.type.base === 'float' && (mayBeNaN(left) || mayBeNaN(right))) {
    loop.say(`const ${v} = H.compareDoubles(${a.value}, ${b.value}) ${operator} 0`)
  } else {
    const scale = Math.max(left.type.scale, right.type.scale)
    const integer = isInteger(left.type)
    const x = integer ? loop.scaled(a.value, left.type.scale, scale, isNull, null) : a.value
    const y = integer ? loop.scaled(b.value, right.type.scale, scale, isNull, null) : b.value
    loop.say(`const ${v} = ${x} ${operator} ${y}`)
  }
  return scalar(v, isNull)
}

/** Between two bounds, both included. */
export function between(loop: Loop, node: Extract<Node, { op: 'between' }>): Value {
  const [input, lower, upper] = node.args
  const value = loop.emit(input)
  const above = () => compareValues(loop, '>=', [input, lower], [value, loop.emit(lower)])
  const below = () => compareValues(loop, '<=', [input, upper], [value, loop.emit(upper)])
  return junction(loop, true, [above, below], loop.nullable(node), false)
}

/** Among a list. */
export function isIn(loop: Loop, node: Extract<Node, { op: 'in' }>): Value {
  const [input, ...items] = node.args as [Node, ...Node[]]
  const value = loop.emit(input)
  const tests = items.map((item) => () => compareValues(loop, '=', [input, item], [value, loop.emit(item)]))
  const found = junction(loop, false, tests, loop.nullable(node), false)
  return node.negated ? scalar(`!${found.value}`, found.isNull) : found
}

/** AND and OR with three values; `lazy` leaves later operands out once the result is known. */
export function junction(
  loop: Loop,
  and: boolean,
  operands: readonly (() => Value)[],
  nullable: boolean,
  lazy: boolean,
): Value {
  const v = loop.name('v')
  const n = nullable ? loop.name('n') : null
  loop.say(`let ${v} = ${and}`)
  if (n !== null) loop.say(`let ${n} = false`)
  for (const [at, operand] of operands.entries()) {
    if (lazy && at > 0) loop.say(`if (${and ? v : `!${v}`}) {`)
    const value = operand()
    const decide = `if (${and ? `!${value.value}` : value.value}) ${v} = ${!and}`
    if (value.isNull === null || n === null) loop.say(decide)
    else loop.say(`if (${value.isNull}) ${n} = true; else ${decide}`)
  }
  if (lazy) loop.say('}'.repeat(operands.length - 1))
  if (n !== null) loop.say(`if (${v} !== ${and}) ${n} = false`)
  return scalar(v, n)
}

/** Fields and literals are finite; arithmetic on doubles may end in NaN. */
function mayBeNaN(node: Node): boolean {
  for (const child of walk(node)) if (child.type.base === 'float' && child.op === 'arithmetic') return true
  return false
}
