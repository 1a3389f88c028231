/**
 * Typed tree → source text of one loop over a chunk's rows. What a loop is stands in emit-loop.ts, how each kind of node is
 * written in emit-numbers.ts, emit-conditions.ts, emit-choices.ts and emit-texts.ts.
 */
import { unreachable } from '#core/assert.ts'
import { caseWhen, coalesce, extreme, nullif } from './emit-choices.ts'
import { between, compareValues, isIn, junction } from './emit-conditions.ts'
import { type Emitted, isInteger, Loop, type Role, scalar, type Value } from './emit-loop.ts'
import { add, cast, divide, round } from './emit-numbers.ts'
import { concat, length, match, substring } from './emit-texts.ts'
import { type Node, walk } from './expression.ts'

/** Writes the loop of one expression. */
export function emitLoop(
  root: Node,
  role: Role,
  variant: { exact: boolean; nulls: boolean; fields: readonly string[] },
): Emitted {
  const loop = new Loop(variant, emitNode)
  const result = loop.emit(root, role === 'where')
  loop.output(root.type, role, result)
  return loop.finish()
}

/** Fields an expression reads, in order of first use. */
export function fieldsInOrder(root: Node): string[] {
  return [...new Set([...walk(root)].flatMap((node) => (node.op === 'column' ? [node.name] : [])))]
}

function emitNode(loop: Loop, node: Node, select: boolean): Value {
  switch (node.op) {
    case 'literal':
      return loop.literal(node)
    case 'column':
      return loop.column(node)
    case 'arithmetic':
      return node.symbol === '/' || node.symbol === '//' || node.symbol === '%' ? divide(loop, node) : add(loop, node)
    case 'negate':
      return loop.number(node, node.args, ([a]) => [node.type.base === 'float' || loop.exact ? `-${a}` : `(0 - ${a})`])
    case 'abs':
      return loop.number(node, node.args, ([a]) => [
        loop.exact && isInteger(node.type) ? `(${a} < 0n ? -${a} : ${a})` : `Math.abs(${a})`,
      ])
    case 'floor':
    case 'ceil':
    case 'trunc':
    case 'round':
      return round(loop, node)
    case 'compare':
      return compareValues(
        loop,
        node.symbol,
        node.args,
        node.args.map((arg) => loop.emit(arg)),
      )
    case 'between':
      return between(loop, node)
    case 'in':
      return isIn(loop, node)
    case 'and':
    case 'or':
      return junction(
        loop,
        node.op === 'and',
        node.args.map((arg) => () => loop.emit(arg, select)),
        loop.nullable(node),
        select,
      )
    case 'not': {
      const [arg] = node.args.map((child) => loop.emit(child)) as [Value]
      return scalar(`!${arg.value}`, arg.isNull)
    }
    case 'is null': {
      const [arg] = node.args.map((child) => loop.emit(child)) as [Value]
      if (arg.isNull === null) return scalar(String(node.negated), null)
      return scalar(node.negated ? `!${arg.isNull}` : arg.isNull, null)
    }
    case 'case':
      return caseWhen(loop, node)
    case 'coalesce':
      return coalesce(loop, node)
    case 'nullif':
      return nullif(loop, node)
    case 'greatest':
    case 'least':
      return extreme(loop, node)
    case 'cast':
      return cast(loop, node)
    case 'length':
    case 'strlen':
      return length(loop, node)
    case 'concat':
      return concat(loop, node)
    case 'substring':
      return substring(loop, node)
    case 'match':
      return match(loop, node)
    default:
      return unreachable(node)
  }
}
