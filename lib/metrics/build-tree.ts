/**
 * DuckDB's syntax tree → our tree, not yet typed. This file is the supported list: what has no case here is refused, naming
 * what was written and printing the list. Left out on purpose: lower and upper (Unicode tables of DuckDB and V8 differ),
 * text to number casts, regular expressions, random and clock functions, everything over dates (an instant is a BIGINT of ms;
 * write `scheduled // 3600000 % 24`).
 */
import type { ArithmeticSymbol, CompareSymbol, Node, SqlType } from './expression.ts'
import { BOOL, parseSqlType } from './expression.ts'
import { UNTYPED } from './print-sql.ts'
import { didYouMean } from './suggest.ts'

/** Something an expression may not say. `offset` counts bytes of `SELECT <text>`; null = the whole expression. */
export class BindProblem extends Error {
  override readonly name = 'BindProblem'
  readonly code: string
  readonly advice: string
  readonly offset: number | null
  constructor(code: string, message: string, advice: string, offset: number | null) {
    super(message)
    this.code = code
    this.advice = advice
    this.offset = offset
  }
}

/** What expressions may use, for messages and pages. */
const SUPPORTED =
  'fields, numbers, texts, true, false, null; + - * / // %; = <> < <= > >=; and, or, not; is [not] null; [not] in (…); ' +
  'between; case; coalesce, nullif, greatest, least; abs, floor, ceil, trunc, round; casts to TINYINT, SMALLINT, INTEGER, BIGINT, ' +
  'DECIMAL(p,s), DOUBLE, BOOLEAN, VARCHAR; ||, concat, length, strlen, substr, left, starts_with, ends_with, contains, ' +
  "like 'x%', '%x', '%x%'"

type Ast = Readonly<Record<string, unknown>>
type Types = ReadonlyMap<string, SqlType>

const COMPARES: Readonly<Record<string, CompareSymbol>> = {
  COMPARE_EQUAL: '=',
  COMPARE_NOTEQUAL: '<>',
  COMPARE_LESSTHAN: '<',
  COMPARE_LESSTHANOREQUALTO: '<=',
  COMPARE_GREATERTHAN: '>',
  COMPARE_GREATERTHANOREQUALTO: '>=',
}
const ARITHMETIC: readonly string[] = ['+', '-', '*', '/', '//', '%']

function refuse(what: string, ast: Ast): never {
  throw new BindProblem('EXPRESSION_UNSUPPORTED', `${what} is not supported`, `Supported: ${SUPPORTED}.`, offsetOf(ast))
}

/** Byte offset in the parsed statement; null when DuckDB does not know it. */
function offsetOf(ast: Ast): number | null {
  const at = Number(ast['query_location'])
  return Number.isSafeInteger(at) ? at : null
}

/** Builds the tree; types are filled in later. @throws BindProblem */
export function buildTree(ast: Ast, types: Types): Node {
  const build = (child: unknown): Node => buildTree(child as Ast, types)
  const children = ((ast['children'] ?? []) as Ast[]).slice()
  const kind = String(ast['type'])
  const type = UNTYPED
  switch (ast['class']) {
    case 'CONSTANT':
      return buildLiteral(ast)
    case 'COLUMN_REF':
      return buildColumn(ast, types)
    case 'CAST':
      return buildCast(ast, build)
    case 'COMPARISON': {
      const symbol = Object.hasOwn(COMPARES, kind) ? COMPARES[kind]! : null
      if (symbol === null) refuse(kind.replace('COMPARE_', '').replaceAll('_', ' ').toLowerCase(), ast)
      return { op: 'compare', type, symbol, args: [build(ast['left']), build(ast['right'])] }
    }
    case 'CONJUNCTION':
      return { op: kind === 'CONJUNCTION_AND' ? 'and' : 'or', type, args: children.map(build) }
    case 'BETWEEN':
      return { op: 'between', type, args: [build(ast['input']), build(ast['lower']), build(ast['upper'])] }
    case 'CASE': {
      const checks = ast['case_checks'] as { when_expr: Ast; then_expr: Ast }[]
      const args = checks.flatMap((check) => [build(check.when_expr), build(check.then_expr)])
      return { op: 'case', type, args: [...args, build(ast['else_expr'])] }
    }
    case 'OPERATOR':
      return buildOperator(kind, ast, children.map(build))
    case 'FUNCTION':
      return buildFunction(ast, children, build)
    default:
      return refuse(`${String(ast['class']).toLowerCase()} (${kind.toLowerCase()})`, ast)
  }
}

function buildOperator(kind: string, ast: Ast, args: Node[]): Node {
  const type = UNTYPED
  const one = (): [Node] => [args[0]!]
  switch (kind) {
    case 'OPERATOR_NOT':
      return { op: 'not', type, args: one() }
    case 'OPERATOR_IS_NULL':
      return { op: 'is null', type, negated: false, args: one() }
    case 'OPERATOR_IS_NOT_NULL':
      return { op: 'is null', type, negated: true, args: one() }
    case 'OPERATOR_COALESCE':
      return { op: 'coalesce', type, args }
    case 'COMPARE_IN':
      return { op: 'in', type, negated: false, args }
    case 'COMPARE_NOT_IN':
      return { op: 'in', type, negated: true, args }
    default:
      return refuse(kind.replace('OPERATOR_', '').replaceAll('_', ' ').toLowerCase(), ast)
  }
}

function buildLiteral(ast: Ast): Node {
  const {
    type: written,
    is_null: isNull,
    value,
  } = ast['value'] as {
    type: { id: string; type_info: { width?: number; scale?: number } | null }
    is_null: boolean
    value: unknown
  }
  if (isNull) return { op: 'literal', type: UNTYPED, value: null }
  const text =
    written.id === 'DECIMAL' ? `DECIMAL(${written.type_info!.width},${written.type_info!.scale})` : written.id
  const type = parseSqlType(text)
  if (type === null) refuse(`a literal of type ${text}`, ast)
  switch (type.base) {
    case 'int':
    case 'decimal':
      // A decimal beyond 18 digits is written as {upper, lower} and would need a 128-bit literal.
      if (typeof value !== 'number' && typeof value !== 'bigint') refuse(`a literal of type ${text}`, ast)
      return { op: 'literal', type, value: BigInt(value) }
    case 'float':
      if (typeof value !== 'number' && typeof value !== 'bigint') refuse('a number that is not finite', ast)
      if (!Number.isFinite(Number(value))) refuse('a number that is not finite', ast)
      return { op: 'literal', type, value: Number(value) }
    case 'bool':
      return { op: 'literal', type, value: value === true }
    case 'text':
      return { op: 'literal', type, value: String(value) }
    case 'bytes':
      return refuse('a BLOB literal', ast)
  }
}

function buildColumn(ast: Ast, types: Types): Node {
  const names = ast['column_names'] as string[]
  if (names.length !== 1) refuse(`the qualified name ${names.join('.')}`, ast)
  const written = names[0]!
  const name = types.has(written)
    ? written
    : [...types.keys()].find((field) => field.toLowerCase() === written.toLowerCase())
  if (name === undefined) {
    throw new BindProblem(
      'FIELD_UNKNOWN',
      `the stream has no field ${written}${didYouMean(written, types.keys())}`,
      `Fields: ${[...types.keys()].join(', ')}.`,
      offsetOf(ast),
    )
  }
  if (types.get(name)!.base === 'bytes') refuse(`the bytes field ${name}`, ast)
  return { op: 'column', type: UNTYPED, name }
}

function buildCast(ast: Ast, build: (child: unknown) => Node): Node {
  if (ast['try_cast'] === true) refuse('try_cast', ast)
  const target = ast['cast_type'] as { id: string; type_info: { width?: number; scale?: number } | null }
  const text =
    target.id === 'DECIMAL' ? `DECIMAL(${target.type_info?.width ?? 18},${target.type_info?.scale ?? 3})` : target.id
  const type = parseSqlType(text)
  if (type === null || type.base === 'bytes') refuse(`a cast to ${text}`, ast)
  const child = ast['child'] as Ast
  // `true` and `false` are parsed as casts of 't' and 'f'.
  if (type.base === 'bool' && child['class'] === 'CONSTANT') {
    const { value } = child['value'] as { value: unknown }
    if (value === 't' || value === 'f') return { op: 'literal', type: BOOL, value: value === 't' }
  }
  return { op: 'cast', type, args: [build(child)] }
}

function buildFunction(ast: Ast, children: readonly Ast[], build: (child: unknown) => Node): Node {
  const name = String(ast['function_name']).toLowerCase()
  const type = UNTYPED
  if (ast['filter'] !== null || ast['distinct'] === true || ast['schema'] !== '') refuse(`${name}(…)`, ast)
  const count = children.length
  const arity = (...allowed: number[]): Node[] => {
    if (!allowed.includes(count)) refuse(`${name} of ${count} arguments`, ast)
    return children.map(build)
  }
  if (ARITHMETIC.includes(name)) {
    const args = arity(...(name === '-' || name === '+' ? [1, 2] : [2]))
    if (count === 2) return { op: 'arithmetic', type, symbol: name as ArithmeticSymbol, args: args as [Node, Node] }
    return name === '+' ? args[0]! : { op: 'negate', type, args: args as [Node] }
  }
  switch (name) {
    case 'mod':
      return { op: 'arithmetic', type, symbol: '%', args: arity(2) as [Node, Node] }
    case 'abs':
    case 'floor':
    case 'ceil':
    case 'trunc':
    case 'length':
    case 'strlen':
      return { op: name, type, args: arity(1) as [Node] }
    case 'ceiling':
      return { op: 'ceil', type, args: arity(1) as [Node] }
    case 'len':
    case 'char_length':
      return { op: 'length', type, args: arity(1) as [Node] }
    case 'round': {
      const digits = count === 2 ? literalInteger(children[1]!, name) : null
      return { op: 'round', type, args: [arity(1, 2)[0]!], digits }
    }
    case 'greatest':
    case 'least':
      if (count === 0) refuse(`${name} of nothing`, ast)
      return { op: name, type, args: children.map(build) }
    case 'ifnull':
      return { op: 'coalesce', type, args: arity(2) }
    case 'nullif':
      return { op: 'nullif', type, args: arity(2) as [Node, Node] }
    case '||':
      return { op: 'concat', type, args: arity(2), skipsNull: false }
    case 'concat':
      if (count === 0) refuse('concat of nothing', ast)
      return { op: 'concat', type, args: children.map(build), skipsNull: true }
    case 'substr':
    case 'substring':
    case 'left': {
      const [value] = name === 'left' ? arity(2) : arity(2, 3)
      const from = name === 'left' ? 1 : literalInteger(children[1]!, name)
      const length =
        name === 'left' ? literalInteger(children[1]!, name) : count === 3 ? literalInteger(children[2]!, name) : null
      if (from < 1 || (length !== null && length < 0)) refuse(`${name} that counts from the end`, ast)
      return { op: 'substring', type, args: [value!], from, count: length }
    }
    case 'starts_with':
    case 'prefix':
      return {
        op: 'match',
        type,
        args: [arity(2)[0]!],
        how: 'prefix',
        pattern: literalText(children[1]!, name),
        negated: false,
      }
    case 'ends_with':
    case 'suffix':
      return {
        op: 'match',
        type,
        args: [arity(2)[0]!],
        how: 'suffix',
        pattern: literalText(children[1]!, name),
        negated: false,
      }
    case 'contains':
      return {
        op: 'match',
        type,
        args: [arity(2)[0]!],
        how: 'contains',
        pattern: literalText(children[1]!, name),
        negated: false,
      }
    case '~~':
    case '!~~':
      return { op: 'match', type, args: [arity(2)[0]!], ...likePattern(children[1]!), negated: name === '!~~' }
    default:
      return refuse(`the function ${name}`, ast)
  }
}

function literalInteger(ast: Ast, of: string): number {
  const node = ast['class'] === 'CONSTANT' ? buildLiteral(ast) : null
  if (node?.op === 'literal' && typeof node.value === 'bigint' && node.type.base === 'int') return Number(node.value)
  return refuse(`${of} with a length or position that is no whole number literal`, ast)
}

function literalText(ast: Ast, of: string): string {
  const node = ast['class'] === 'CONSTANT' ? buildLiteral(ast) : null
  if (node?.op === 'literal' && typeof node.value === 'string') return node.value
  return refuse(`${of} with a pattern that is no text literal`, ast)
}

function likePattern(ast: Ast): { how: 'prefix' | 'suffix' | 'contains' | 'equal' | 'any'; pattern: string } {
  const text = literalText(ast, 'like')
  const match = /^(%*)([^%_]*)(%*)$/.exec(text)
  if (match === null) refuse(`the like pattern '${text}'`, ast)
  const [, before, pattern, after] = match as unknown as [string, string, string, string]
  if (pattern === '') return text === '' ? { how: 'equal', pattern } : { how: 'any', pattern }
  if (before !== '') return after !== '' ? { how: 'contains', pattern } : { how: 'suffix', pattern }
  return after !== '' ? { how: 'prefix', pattern } : { how: 'equal', pattern }
}
