/** Choices of generated loops: which of several values a row has. */
import { compareValues } from './emit-conditions.ts'
import { isInteger, type Loop, scalar, type Value } from './emit-loop.ts'
import type { Node } from './expression.ts'

/** The value behind the first condition that holds. */
export function caseWhen(loop: Loop, node: Extract<Node, { op: 'case' }>): Value {
  const result = loop.declare(node.type, loop.nullable(node))
  const checks = (node.args.length - 1) / 2
  for (let at = 0; at < checks; at++) {
    const when = loop.emit(node.args[at * 2]!, true)
    loop.say(`if (${when.isNull === null ? '' : `!${when.isNull} && `}${when.value}) {`)
    loop.assign(node.type, result, loop.emit(node.args[at * 2 + 1]!))
    loop.say('} else {')
  }
  loop.assign(node.type, result, loop.emit(node.args.at(-1)!))
  loop.say('}'.repeat(checks))
  return result
}

/** The first value that is not null. */
export function coalesce(loop: Loop, node: Node & { op: 'coalesce' | 'greatest' | 'least' }): Value {
  const result = loop.declare(node.type, loop.nullable(node))
  let open = 0
  for (const arg of node.args) {
    const value = loop.emit(arg)
    loop.assign(node.type, result, value)
    if (value.isNull === null) break
    loop.say(`if (${value.isNull}) {`)
    open++
  }
  loop.say('}'.repeat(open))
  return result
}

/** The first value, null where it is the second. */
export function nullif(loop: Loop, node: Extract<Node, { op: 'nullif' }>): Value {
  const values = node.args.map((arg) => loop.emit(arg)) as [Value, Value]
  const equal = compareValues(loop, '=', node.args, values)
  const n = loop.name('n')
  const same = equal.isNull === null ? equal.value : `(!${equal.isNull} && ${equal.value})`
  loop.say(`const ${n} = ${values[0].isNull === null ? same : `${values[0].isNull} || ${same}`}`)
  return { ...values[0], isNull: n }
}

/** Greatest and least leave nulls out. */
export function extreme(loop: Loop, node: Node & { op: 'coalesce' | 'greatest' | 'least' }): Value {
  const values = node.args.map((arg) => loop.emit(arg))
  const v = loop.name('v')
  const n = loop.name('n')
  const better = node.op === 'greatest' ? '>' : '<'
  loop.say(`let ${v} = ${isInteger(node.type) ? loop.integer(0n) : '0'}, ${n} = true`)
  for (const { value, isNull } of values) {
    const beats =
      node.type.base === 'float' ? `H.compareDoubles(${value}, ${v}) ${better} 0` : `${value} ${better} ${v}`
    loop.say(`if (${isNull === null ? '' : `!${isNull} && `}(${n} || ${beats})) { ${v} = ${value}; ${n} = false }`)
  }
  return scalar(v, loop.nullable(node) ? n : null)
}
