/** Texts of generated loops: ranges of UTF-8, cut and compared as bytes; what is put together stands in the scratch. */
import { anyNull, type Loop, scalar, type Value } from './emit-loop.ts'
import type { Node } from './expression.ts'

const utf8 = new TextEncoder()

/** Characters or bytes of a text. */
export function length(loop: Loop, node: Extract<Node, { op: 'length' | 'strlen' }>): Value {
  const [a] = node.args.map((child) => loop.emit(child)) as [Value]
  const size = node.op === 'strlen' ? `${a.until} - ${a.from}` : `H.codePoints(${a.bytes}, ${a.from}, ${a.until})`
  const v = loop.name('v')
  loop.say(`const ${v} = ${loop.exact ? `BigInt(${size})` : size}`)
  return scalar(v, a.isNull)
}

/** Some characters of a text. */
export function substring(loop: Loop, node: Extract<Node, { op: 'substring' }>): Value {
  const [a] = node.args.map((child) => loop.emit(child)) as [Value]
  const [f, u] = [loop.name('f'), loop.name('u')]
  loop.say(`const ${f} = H.skipCodePoints(${a.bytes}, ${a.from}, ${a.until}, ${node.from - 1})`)
  loop.say(
    `const ${u} = ${node.count === null ? a.until : `H.skipCodePoints(${a.bytes}, ${f}, ${a.until}, ${node.count})`}`,
  )
  return { value: '', bytes: a.bytes, from: f, until: u, isNull: a.isNull }
}

/** A bool, int or decimal as text. */
export function castToText(loop: Loop, arg: Node): Value {
  const a = loop.emit(arg)
  const [f, u] = [loop.name('f'), loop.name('u')]
  const digits =
    arg.type.base === 'bool' ? `${a.value} ? 'true' : 'false'` : `H.decimalDigits(${a.value}, ${arg.type.scale})`
  loop.say(`const ${f} = S.putAscii(${digits}), ${u} = S.at`)
  return { value: '', bytes: 'S.bytes', from: f, until: u, isNull: a.isNull }
}

/** Texts behind one another. */
export function concat(loop: Loop, node: Extract<Node, { op: 'concat' }>): Value {
  const values = node.args.map((arg) => loop.emit(arg))
  const [f, u] = [loop.name('f'), loop.name('u')]
  loop.say(`const ${f} = S.at`)
  for (const { bytes, from, until, isNull } of values) {
    loop.say(`${isNull === null ? '' : `if (!${isNull}) `}S.put(${bytes}, ${from}, ${until})`)
  }
  loop.say(`const ${u} = S.at`)
  return { value: '', bytes: 'S.bytes', from: f, until: u, isNull: node.skipsNull ? null : anyNull(values) }
}

/** Whether a text is, begins with, ends with or holds a pattern. */
export function match(loop: Loop, node: Extract<Node, { op: 'match' }>): Value {
  const [a] = node.args.map((child) => loop.emit(child)) as [Value]
  const pattern = utf8.encode(node.pattern)
  const place = `P[${loop.pattern(pattern)}]`
  const [from, until] = [a.from, a.until]
  const fits = `${until} - ${from} >= ${pattern.length}`
  const tests = {
    any: 'true',
    equal: `H.equalBytes(${a.bytes}, ${from}, ${until}, ${place}, 0, ${pattern.length})`,
    prefix: `(${fits} && H.equalBytes(${a.bytes}, ${from}, ${from} + ${pattern.length}, ${place}, 0, ${pattern.length}))`,
    suffix: `(${fits} && H.equalBytes(${a.bytes}, ${until} - ${pattern.length}, ${until}, ${place}, 0, ${pattern.length}))`,
    contains: `H.containsBytes(${a.bytes}, ${from}, ${until}, ${place})`,
  }
  const v = loop.name('v')
  loop.say(`const ${v} = ${node.negated ? '!' : ''}${tests[node.how]}`)
  return scalar(v, a.isNull)
}
