/**
 * SQL expression text → typed tree, through DuckDB: its parser gives the syntax tree (`json_serialize_sql`), its binder the
 * exact type of every sub-expression (`DESCRIBE` over an empty relation with the stream's fields).
 *
 * Only what both readers compute exactly alike is let through (build-tree.ts); everything else is refused by name, with the
 * list. Silent casts of DuckDB become `cast` nodes, so that nothing is left to inference later.
 */
import type { FlatField } from '#format/avro-schema.ts'
import { BindProblem, buildTree } from './build-tree.ts'
import {
  BIGINT,
  BOOL,
  BYTES,
  decimal,
  FLOAT,
  type Node,
  parseSqlType,
  type SqlType,
  sameType,
  sqlTypeText,
  TEXT,
  walk,
} from './expression.ts'
import { printSql, quoteName, quoteText } from './print-sql.ts'
import { settle } from './settle-types.ts'
import type { SqlEngine } from './sql-engine.ts'

export { BindProblem }

/** The fields an expression may name. `relation` is a FROM item: an empty relation with exactly these columns. */
export interface Scope {
  readonly types: ReadonlyMap<string, SqlType>
  readonly relation: string
}

/** An aggregate call: `sum(x) filter (where f)`. `argument` is null for `count(*)`. */
export interface BoundAggregate {
  readonly kind: 'count' | 'sum' | 'avg' | 'min' | 'max'
  readonly argument: Node | null
  readonly filter: Node | null
}

/** DuckDB type of a field as the archive stores it. */
function fieldType(field: FlatField): SqlType {
  switch (field.kind) {
    case 'int64':
      return BIGINT
    case 'decimal':
      return decimal(field.precision, field.scale)
    case 'float64':
      return FLOAT
    case 'bool':
      return BOOL
    case 'string':
      return TEXT
    case 'bytes':
      return BYTES
  }
}

/** The scope of a stream's fields. */
export function scopeOf(fields: readonly FlatField[]): Scope {
  const types = new Map(fields.map((field) => [field.name, fieldType(field)]))
  const columns = [...types].map(([name, type]) => `CAST(NULL AS ${sqlTypeText(type)}) AS ${quoteName(name)}`)
  return { types, relation: `(SELECT ${columns.join(', ')} LIMIT 0)` }
}

const AGGREGATES: Readonly<Record<string, BoundAggregate['kind']>> = {
  count_star: 'count',
  count: 'count',
  sum: 'sum',
  avg: 'avg',
  mean: 'avg',
  min: 'min',
  max: 'max',
}
const COUNTS = 'count(*), count(x), sum(x), avg(x), min(x) and max(x), each with an optional filter (where …)'

/** Binds a boolean filter. @throws BindProblem */
export async function bindCondition(sql: SqlEngine, scope: Scope, text: string): Promise<Node> {
  const node = await bindScalar(sql, scope, text)
  if (node.type.base === 'bool') return node
  throw new BindProblem(
    'EXPRESSION_TYPE',
    `a condition is BOOLEAN, this is ${sqlTypeText(node.type)}`,
    'Compare it with something.',
    null,
  )
}

/** Binds a scalar expression (a dimension). Decimals wider than 18 digits are narrowed. @throws BindProblem */
export async function bindScalar(sql: SqlEngine, scope: Scope, text: string): Promise<Node> {
  return finish(sql, scope, buildTree(await parseExpression(sql, text), scope.types))
}

/** Binds a measure: one aggregate call. @throws BindProblem */
export async function bindAggregate(sql: SqlEngine, scope: Scope, text: string): Promise<BoundAggregate> {
  const ast = await parseExpression(sql, text)
  const name = ast['class'] === 'FUNCTION' ? String(ast['function_name']).toLowerCase() : null
  const at = Number(ast['query_location'])
  if (name === null || !(await isAggregate(sql, name))) {
    throw new BindProblem(
      'AGGREGATE_EXPECTED',
      `a measure is one aggregate call, this is not: ${text}`,
      `Use ${COUNTS}; write arithmetic over measures under derived.`,
      at,
    )
  }
  const kind = Object.hasOwn(AGGREGATES, name) ? AGGREGATES[name]! : null
  if (kind === null)
    throw new BindProblem('AGGREGATE_UNSUPPORTED', `${name} is not supported yet`, `Use ${COUNTS}.`, at)
  const orders = (ast['order_bys'] as { orders?: unknown[] } | null)?.orders ?? []
  if (ast['distinct'] === true)
    throw new BindProblem('AGGREGATE_UNSUPPORTED', `${name}(distinct …) is not supported yet`, `Use ${COUNTS}.`, at)
  if (orders.length > 0)
    throw new BindProblem('AGGREGATE_UNSUPPORTED', 'order by in an aggregate is not supported', `Use ${COUNTS}.`, at)
  const children = ast['children'] as readonly Ast[]
  const star = children.length === 0
  if (star ? kind !== 'count' : children.length !== 1) {
    throw new BindProblem('AGGREGATE_UNSUPPORTED', `${name} takes one argument`, `Use ${COUNTS}.`, at)
  }
  const argument = star ? null : await finish(sql, scope, buildTree(children[0]!, scope.types))
  const filterAst = ast['filter'] as Ast | null
  const filter = filterAst === null ? null : await finish(sql, scope, buildTree(filterAst, scope.types))
  if (filter !== null && filter.type.base !== 'bool') {
    throw new BindProblem(
      'EXPRESSION_TYPE',
      `a filter is BOOLEAN, this is ${sqlTypeText(filter.type)}`,
      'Compare it with something.',
      at,
    )
  }
  if (argument !== null) checkArgument(name, kind, argument, at)
  return { kind, argument, filter }
}

function checkArgument(name: string, kind: BoundAggregate['kind'], argument: Node, at: number): void {
  const { base } = argument.type
  if (kind === 'count') return
  const refuse = (advice: string) => {
    throw new BindProblem('AGGREGATE_TYPE', `${name} of ${sqlTypeText(argument.type)} is not supported`, advice, at)
  }
  if (base === 'text' || base === 'bytes') refuse('Use a number; for text, count(x) or a dimension.')
  if (base === 'bool') refuse('Write count(*) filter (where x).')
  if (base === 'float' && (kind === 'sum' || kind === 'avg')) {
    refuse(`Sums are exact here: give the value a scale, ${name}(x::DECIMAL(18,3)).`)
  }
}

type Ast = Readonly<Record<string, unknown>>

/**
 * DuckDB's syntax tree of one expression. Integers beyond ±2^53 stay exact, as bigint.
 * @throws BindProblem EXPRESSION_SYNTAX
 */
export async function parseExpression(sql: SqlEngine, text: string): Promise<Ast> {
  const syntax = (message: string, offset: number | null) =>
    new BindProblem('EXPRESSION_SYNTAX', message, "Write one SQL expression in DuckDB's syntax.", offset)
  if (text.trim() === '') throw syntax('the expression is empty', null)
  // The line break ends a trailing comment, so that it cannot swallow anything of ours.
  const [row] = await sql.query(`SELECT json_serialize_sql(${quoteText(`SELECT ${text}\n`)}) AS tree`)
  const tree = JSON.parse(String(row!['tree']), keepExact) as {
    error: boolean
    error_message?: string
    position?: string
    statements: { node: Record<string, unknown> }[]
  }
  if (tree.error)
    throw syntax(
      `SQL: ${tree.error_message ?? 'not an expression'}`,
      tree.position === undefined ? null : Number(tree.position),
    )
  const node = tree.statements[0]?.node
  const list = (node?.['select_list'] ?? []) as Ast[]
  const plain =
    tree.statements.length === 1 &&
    node?.['type'] === 'SELECT_NODE' &&
    list.length === 1 &&
    list[0]!['alias'] === '' &&
    (node['from_table'] as Ast)['type'] === 'EMPTY' &&
    (node['modifiers'] as unknown[]).length === 0 &&
    ['where_clause', 'having', 'sample', 'qualify'].every((key) => node[key] === null) &&
    (node['group_expressions'] as unknown[]).length === 0
  if (!plain) throw syntax('this is more than one expression', null)
  return list[0]!
}

/** JSON reviver: integers that a double cannot hold become bigint. */
function keepExact(_key: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value) || context?.source === undefined) return value
  return /^-?\d+$/.test(context.source) ? BigInt(context.source) : value
}

/** Types every node, writes silent casts out, narrows wide decimals, and checks that DuckDB agrees with the result. */
async function finish(sql: SqlEngine, scope: Scope, raw: Node): Promise<Node> {
  const nodes = [...walk(raw)].filter((node) => node.op !== 'literal' || node.value !== null)
  const texts = await describe(sql, scope, nodes)
  for (const [at, node] of nodes.entries()) {
    const type = parseSqlType(texts[at]!)
    if (type === null) {
      throw new BindProblem(
        'EXPRESSION_TYPE',
        `the type ${texts[at]} of ${printSql(node)} is not supported`,
        'Cast it to BIGINT, DECIMAL(18,s), DOUBLE, BOOLEAN or VARCHAR.',
        null,
      )
    }
    node.type = type
  }
  const settled = settle(raw)
  const [described] = await describe(sql, scope, [settled])
  const type = parseSqlType(described!)
  if (type === null || !sameType(type, settled.type)) {
    throw new BindProblem(
      'EXPRESSION_TYPE',
      `${printSql(settled)} is ${described}, and ${sqlTypeText(settled.type)} inside an expression`,
      'Cast its literals explicitly.',
      null,
    )
  }
  return settled
}

async function describe(sql: SqlEngine, scope: Scope, nodes: readonly Node[]): Promise<string[]> {
  if (nodes.length === 0) return []
  const list = nodes.map((node, at) => `${printSql(node)} AS "c${at}"`)
  try {
    const rows = await sql.query(`DESCRIBE SELECT ${list.join(', ')} FROM ${scope.relation}`)
    return rows.map((row) => String(row['column_type']))
  } catch (error) {
    const [line] = (error instanceof Error ? error.message : String(error)).split('\n')
    throw new BindProblem(
      'EXPRESSION_TYPE',
      `SQL: ${line}`,
      'Check the types of the operands; cast where needed.',
      null,
    )
  }
}

const known = new WeakMap<SqlEngine, Promise<ReadonlySet<string>>>()

/** Whether DuckDB has an aggregate function of this name; asked once per engine. */
async function isAggregate(sql: SqlEngine, name: string): Promise<boolean> {
  let names = known.get(sql)
  if (names === undefined) {
    names = sql
      .query("SELECT DISTINCT function_name AS name FROM duckdb_functions() WHERE function_type = 'aggregate'")
      .then((rows) => new Set(rows.map((row) => String(row['name']))))
    known.set(sql, names)
  }
  return (await names).has(name)
}
