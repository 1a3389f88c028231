/**
 * Typed tree → DuckDB SQL text. Every node is parenthesised and every silent cast is written out, so that the text binds to
 * exactly the types the tree states. Division by zero is null (`nullif` of the divisor): DuckDB alone would give infinity.
 */
import { unreachable } from '#core/assert.ts'
import { decimalText } from '#core/present.ts'
import { type Node, type SqlType, sqlTypeText } from './expression.ts'

/** Placeholder type of a node that the binder has not typed yet; a null literal of it prints as bare NULL. */
export const UNTYPED: SqlType = { base: 'int', bits: 0, precision: 0, scale: 0 }

/** A quoted identifier. */
export const quoteName = (name: string): string => `"${name.replaceAll('"', '""')}"`
/** A text literal. */
export const quoteText = (text: string): string => `'${text.replaceAll("'", "''")}'`

/** The expression as SQL. */
export function printSql(node: Node): string {
  const list = (): string => ('args' in node ? node.args.map(printSql).join(', ') : '')
  switch (node.op) {
    case 'literal':
      return printLiteral(node)
    case 'column':
      return quoteName(node.name)
    case 'arithmetic': {
      const [a, b] = node.args
      return node.symbol === '/'
        ? `(${printSql(a)} / nullif(${printSql(b)}, 0))`
        : `(${printSql(a)} ${node.symbol} ${printSql(b)})`
    }
    case 'negate':
      return `(-(${printSql(node.args[0])}))`
    case 'round':
      return node.digits === null ? `round(${list()})` : `round(${list()}, ${node.digits})`
    case 'compare':
      return `(${printSql(node.args[0])} ${node.symbol} ${printSql(node.args[1])})`
    case 'and':
    case 'or':
      return `(${node.args.map(printSql).join(` ${node.op.toUpperCase()} `)})`
    case 'not':
      return `(NOT ${printSql(node.args[0])})`
    case 'is null':
      return `(${printSql(node.args[0])} IS ${node.negated ? 'NOT ' : ''}NULL)`
    case 'in': {
      const [value, ...items] = node.args.map(printSql)
      return `(${value} ${node.negated ? 'NOT ' : ''}IN (${items.join(', ')}))`
    }
    case 'between': {
      const [value, lower, upper] = node.args.map(printSql)
      return `(${value} BETWEEN ${lower} AND ${upper})`
    }
    case 'case': {
      const parts = node.args.map(printSql)
      let text = '(CASE'
      for (let at = 0; at + 1 < parts.length; at += 2) text += ` WHEN ${parts[at]} THEN ${parts[at + 1]}`
      return `${text} ELSE ${parts.at(-1)} END)`
    }
    case 'cast':
      return printCast(node)
    case 'concat':
      return node.skipsNull ? `concat(${list()})` : `(${node.args.map(printSql).join(' || ')})`
    case 'substring':
      return node.count === null ? `substr(${list()}, ${node.from})` : `substr(${list()}, ${node.from}, ${node.count})`
    case 'match':
      return printMatch(node)
    case 'abs':
    case 'floor':
    case 'ceil':
    case 'trunc':
    case 'coalesce':
    case 'greatest':
    case 'least':
    case 'nullif':
    case 'length':
    case 'strlen':
      return `${node.op}(${list()})`
    default:
      return unreachable(node)
  }
}

function printLiteral({ value, type }: Extract<Node, { op: 'literal' }>): string {
  if (value === null) return type === UNTYPED ? 'NULL' : `CAST(NULL AS ${sqlTypeText(type)})`
  if (typeof value === 'boolean') return value ? 'true' : 'false'
  if (typeof value === 'string') return quoteText(value)
  const text = typeof value === 'bigint' ? decimalText(value, type.scale) : value.toExponential()
  return text.startsWith('-') ? `(${text})` : text
}

function printCast(node: Extract<Node, { op: 'cast' }>): string {
  const [arg] = node.args
  // DuckDB 1.5 wraps 2147483647.5::INTEGER round to the lowest integer; by way of BIGINT the range check is right.
  const inner =
    arg.type.base === 'float' && node.type.base === 'int' && node.type.bits < 64
      ? `CAST(${printSql(arg)} AS BIGINT)`
      : printSql(arg)
  return `CAST(${inner} AS ${sqlTypeText(node.type)})`
}

function printMatch(node: Extract<Node, { op: 'match' }>): string {
  const value = printSql(node.args[0])
  const pattern = quoteText(node.pattern)
  const texts = {
    prefix: `starts_with(${value}, ${pattern})`,
    suffix: `ends_with(${value}, ${pattern})`,
    contains: `contains(${value}, ${pattern})`,
    equal: `(${value} = ${pattern})`,
    any: `(${value} = ${value})`,
  }
  return node.negated ? `(NOT ${texts[node.how]})` : texts[node.how]
}
