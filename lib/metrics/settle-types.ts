/**
 * Second half of binding: every node has DuckDB's type; now operands are brought to the type in which DuckDB would compute,
 * by explicit casts, and combinations that the two readers would not compute alike are refused.
 *
 * A DECIMAL of more than 18 digits exists only inside decimal arithmetic. Where it leaves (result, DOUBLE, comparison that
 * would exceed 38 digits) it is cast to DECIMAL(18, s): exact, or an overflow error in both readers.
 */
import { BindProblem } from './build-tree.ts'
import { BOOL, decimal, FLOAT, isNumeric, type Node, type SqlType, sameType, sqlTypeText, TEXT } from './expression.ts'
import { printSql, UNTYPED } from './print-sql.ts'

/** Settles the tree below `root` and narrows its own type to what a column can hold. @throws BindProblem */
export function settle(root: Node): Node {
  const node = settleNode(root)
  if (node.op === 'literal' && node.type === UNTYPED)
    return { ...node, type: { base: 'int', bits: 32, precision: 0, scale: 0 } }
  return narrow(node)
}

function mismatch(node: Node, types: readonly Node[]): never {
  const found = types.map((arg) => `${printSql(arg)} is ${sqlTypeText(arg.type)}`).join(', ')
  throw new BindProblem(
    'EXPRESSION_TYPE',
    `types do not fit in ${printSql(node)}: ${found}`,
    'Cast explicitly, for example x::DECIMAL(18,3).',
    null,
  )
}

const isNullLiteral = (node: Node): boolean => node.op === 'literal' && node.value === null

/** Decimals of more than 18 digits become DECIMAL(18, s). */
function narrow(node: Node): Node {
  const { base, precision, scale } = node.type
  if (base !== 'decimal' || precision <= 18) return node
  if (scale > 18) {
    throw new BindProblem(
      'EXPRESSION_TYPE',
      `${printSql(node)} has ${scale} decimal digits`,
      'Cast it to at most DECIMAL(18,18).',
      null,
    )
  }
  return { op: 'cast', type: decimal(18, scale), args: [node] }
}

/** Casts a node to a type the way DuckDB would, silently. */
function coerce(node: Node, type: SqlType, within: Node): Node {
  if (isNullLiteral(node)) return { op: 'literal', value: null, type }
  if (sameType(node.type, type)) return node
  const from = node.type.base
  if (isNumeric(node.type) && isNumeric(type) && !(from === 'float' && type.base !== 'float')) {
    return { op: 'cast', type, args: [type.base === 'float' ? narrow(node) : node] }
  }
  return mismatch(within, [node])
}

/** Brings operands of a comparison to one family: all numbers (DOUBLE if one is), all texts, or all booleans. */
function unify(node: Node, args: Node[]): Node[] {
  const typed = args.filter((arg) => !isNullLiteral(arg))
  const first = typed[0]
  if (first === undefined) return args.map((arg) => coerce(arg, BOOL, node))
  if (typed.every((arg) => isNumeric(arg.type))) {
    if (typed.some((arg) => arg.type.base === 'float')) return args.map((arg) => coerce(arg, FLOAT, node))
    const scale = Math.max(...typed.map((arg) => arg.type.scale))
    const digits = Math.max(...typed.map((arg) => digitsBeforePoint(arg.type)))
    if (scale + digits > 38) mismatch(node, typed)
    return args.map((arg) => (isNullLiteral(arg) ? coerce(arg, first.type, node) : arg))
  }
  if (first.type.base === 'bytes' || !typed.every((arg) => arg.type.base === first.type.base)) mismatch(node, typed)
  return args.map((arg) => coerce(arg, first.type, node))
}

const INT_DIGITS: Readonly<Record<number, number>> = { 8: 3, 16: 5, 32: 10, 64: 19 }
const digitsBeforePoint = (type: SqlType): number =>
  type.base === 'int' ? INT_DIGITS[type.bits]! : type.precision - type.scale

/** What an operation yields, whatever its operands; DuckDB says otherwise for some literals. */
const YIELDS: Readonly<Record<string, SqlType['base']>> = {
  compare: 'bool',
  and: 'bool',
  or: 'bool',
  not: 'bool',
  'is null': 'bool',
  in: 'bool',
  between: 'bool',
  match: 'bool',
  concat: 'text',
  substring: 'text',
  length: 'int',
  strlen: 'int',
}

function settleNode(node: Node): Node {
  if (!('args' in node)) return node
  const before = node.args as Node[]
  const args = before.map(settleNode)
  ;(node as { args: Node[] }).args = args
  const set = (next: Node[]): Node => {
    ;(node as { args: Node[] }).args = next
    return node
  }
  const [first] = args as [Node]
  const yields = Object.hasOwn(YIELDS, node.op) ? YIELDS[node.op]! : null
  if (yields !== null && node.type.base !== yields) mismatch(node, args)
  switch (node.op) {
    case 'arithmetic': {
      if (node.symbol === '/') return set(numbers(node, args).map((arg) => coerce(arg, FLOAT, node)))
      if (node.symbol === '//' || node.symbol === '%') {
        if (!args.every((arg) => isNullLiteral(arg) || arg.type.base === 'int')) mismatch(node, args)
        return set(args.map((arg) => coerce(arg, isNullLiteral(arg) ? node.type : arg.type, node)))
      }
      numbers(node, args)
      if (node.type.base === 'float') return set(args.map((arg) => coerce(arg, FLOAT, node)))
      return set(args.map((arg) => (isNullLiteral(arg) ? coerce(arg, node.type, node) : arg)))
    }
    case 'negate':
    case 'abs':
      return set(numbers(node, args).map((arg) => coerce(arg, node.type, node)))
    case 'floor':
    case 'ceil':
    case 'trunc':
    case 'round':
      return settleRounding(node, first, set)
    case 'compare':
    case 'between':
    case 'in':
      return set(unify(node, args))
    case 'and':
    case 'or':
    case 'not':
      return set(args.map((arg) => coerce(arg, BOOL, node)))
    case 'is null':
      return set(isNullLiteral(first) ? [coerce(first, BOOL, node)] : args)
    case 'case':
      return set(args.map((arg, at) => coerce(arg, at % 2 === 0 && at < args.length - 1 ? BOOL : node.type, node)))
    case 'nullif': {
      // The comparison may need a wider type than the value, so only the second operand is cast, and only to DOUBLE.
      const second = unify(node, args)[1]!
      const other = first.type.base === 'float' && !isNullLiteral(first) ? second : args[1]!
      if (
        !isNullLiteral(first) &&
        (!sameType(first.type, node.type) || (other.type.base === 'float') !== (first.type.base === 'float'))
      ) {
        mismatch(node, args)
      }
      return set([first, other].map((arg) => (isNullLiteral(arg) ? coerce(arg, node.type, node) : arg)))
    }
    case 'greatest':
    case 'least':
      numbers(node, args)
      return set(args.map((arg) => coerce(arg, node.type, node)))
    case 'coalesce':
      return set(args.map((arg) => coerce(arg, node.type, node)))
    case 'cast':
      return settleCast(node, first, set)
    case 'concat':
    case 'length':
    case 'strlen':
    case 'substring':
    case 'match':
      return set(args.map((arg) => coerce(arg, TEXT, node)))
  }
}

function numbers(node: Node, args: Node[]): Node[] {
  if (!args.every((arg) => isNullLiteral(arg) || isNumeric(arg.type))) mismatch(node, args)
  return args
}

function settleRounding(
  node: Node & { op: 'floor' | 'ceil' | 'trunc' | 'round' },
  arg: Node,
  set: (args: Node[]) => Node,
): Node {
  numbers(node, [arg])
  if (arg.type.base === 'decimal' && node.type.base === 'decimal') {
    const digits = node.op === 'round' ? (node.digits ?? 0) : 0
    if (
      node.op === 'trunc' ||
      digits < 0 ||
      (digits >= arg.type.scale && arg.type.scale > 0) ||
      node.type.scale !== digits
    )
      mismatch(node, [arg])
    return arg.type.scale === 0 ? arg : set([arg])
  }
  if (node.type.base !== 'float' || (node.op === 'round' && node.digits !== null)) mismatch(node, [arg])
  return set([coerce(arg, FLOAT, node)])
}

function settleCast(node: Extract<Node, { op: 'cast' }>, arg: Node, set: (args: Node[]) => Node): Node {
  if (isNullLiteral(arg)) return { op: 'literal', value: null, type: node.type }
  // A bare literal would take on the type of its surroundings.
  if (sameType(arg.type, node.type) && arg.op !== 'literal') return arg
  const from = arg.type.base
  const into = node.type.base
  const numeric = isNumeric(arg.type)
  const fits =
    (numeric && isNumeric(node.type)) ||
    (numeric && into === 'bool') ||
    (from === 'bool' && (into === 'int' || into === 'float' || into === 'text')) ||
    ((from === 'int' || from === 'decimal') && into === 'text')
  if (!fits) mismatch(node, [arg])
  const leaves = into === 'float' || into === 'bool' || into === 'text'
  return set([leaves ? narrow(arg) : arg])
}
