/**
 * Derived measures: arithmetic over a metric's measures, evaluated on presented values at the very end, as doubles.
 * `+ - * /`, unary minus, numbers and parentheses; null as soon as an operand is null or a divisor is 0.
 */
import { BindProblem, parseExpression } from './bind.ts'
import type { DerivedDefinition } from './definition.ts'
import type { SqlEngine } from './sql-engine.ts'
import { didYouMean } from './suggest.ts'

type Evaluate = DerivedDefinition['evaluate']
type Ast = Readonly<Record<string, unknown>>

const OPERATORS: Readonly<Record<string, (a: number, b: number) => number | null>> = {
  '+': (a, b) => a + b,
  '-': (a, b) => a - b,
  '*': (a, b) => a * b,
  '/': (a, b) => (b === 0 ? null : a / b),
}

/** Compiles a derived measure. @throws BindProblem naming what is not a measure or not arithmetic */
export async function bindDerived(sql: SqlEngine, text: string, measures: readonly string[]): Promise<Evaluate> {
  const build = (ast: Ast): Evaluate => {
    const at = Number.isSafeInteger(ast['query_location']) ? Number(ast['query_location']) : null
    if (ast['class'] === 'COLUMN_REF') {
      const name = (ast['column_names'] as string[]).join('.')
      if (!measures.includes(name)) {
        throw new BindProblem(
          'MEASURE_UNKNOWN',
          `the metric has no measure ${name}${didYouMean(name, measures)}`,
          `Measures: ${measures.join(', ')}.`,
          at,
        )
      }
      return (values) => values[name] ?? null
    }
    if (ast['class'] === 'CONSTANT') {
      const number = constantOf(ast)
      if (number !== null) return () => number
    }
    const children = (ast['children'] ?? []) as Ast[]
    const name = String(ast['function_name'])
    if (ast['class'] === 'FUNCTION' && ast['filter'] === null && Object.hasOwn(OPERATORS, name)) {
      const operate = OPERATORS[name]!
      const [left, right] = children.map(build)
      if (right === undefined && (name === '-' || name === '+')) {
        return (values) => {
          const value = left!(values)
          return value === null ? null : operate(0, value)
        }
      }
      if (left !== undefined && right !== undefined) {
        return (values) => {
          const a = left(values)
          const b = right(values)
          const value = a === null || b === null ? null : operate(a, b)
          return value === null || !Number.isFinite(value) ? null : value
        }
      }
    }
    throw new BindProblem(
      'DERIVED_UNSUPPORTED',
      `a derived measure is arithmetic over measures: ${text}`,
      'Use + - * /, numbers, parentheses and names of measures.',
      at,
    )
  }
  return build(await parseExpression(sql, text))
}

function constantOf(ast: Ast): number | null {
  const {
    type,
    is_null: isNull,
    value,
  } = ast['value'] as { type: { type_info: { scale?: number } | null }; is_null: boolean; value: unknown }
  if (isNull || (typeof value !== 'number' && typeof value !== 'bigint')) return null
  return Number(`${value}${type.type_info?.scale === undefined ? '' : `e-${type.type_info.scale}`}`)
}
