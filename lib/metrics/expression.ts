/**
 * The typed expression tree: what `bind.ts` makes of SQL text, and all that the two readers know of an expression.
 * `to-sql.ts` prints it back as DuckDB SQL, `to-columns.ts` compiles it to JavaScript. The user's own text never reaches
 * either, so both readers run the same tree.
 *
 * Types are DuckDB's, asked of its binder. All integer fields are BIGINT (the archive stores them so); TINYINT, SMALLINT and
 * INTEGER come from casts and literals. Where DuckDB casts an operand silently, the tree has a `cast` node.
 */

/** DuckDB type of a node. `bits` of an int, `precision` and `scale` of a decimal; 0 elsewhere. */
export interface SqlType {
  readonly base: 'int' | 'decimal' | 'float' | 'bool' | 'text' | 'bytes'
  readonly bits: number
  readonly precision: number
  readonly scale: number
}

/** Operators of two numbers. `/` is always DOUBLE and null when the divisor is 0; `//` and `%` are of integers, truncating. */
export type ArithmeticSymbol = '+' | '-' | '*' | '/' | '//' | '%'
/** Comparisons; null when a side is null. */
export type CompareSymbol = '=' | '<>' | '<' | '<=' | '>' | '>='

/**
 * One node. Literals of ints and decimals are bigint (unscaled). `literal` null has the type it is used as. The `args` of
 * `case` are when1, then1, when2, then2, …, else.
 */
export type Node = { type: SqlType } & (
  | { op: 'literal'; value: bigint | number | boolean | string | null }
  | { op: 'column'; name: string }
  | { op: 'arithmetic'; symbol: ArithmeticSymbol; args: [Node, Node] }
  | { op: 'negate' | 'abs'; args: [Node] }
  | { op: 'floor' | 'ceil' | 'trunc'; args: [Node] }
  | { op: 'round'; args: [Node]; digits: number | null }
  | { op: 'compare'; symbol: CompareSymbol; args: [Node, Node] }
  | { op: 'and' | 'or'; args: Node[] }
  | { op: 'not'; args: [Node] }
  | { op: 'is null'; args: [Node]; negated: boolean }
  | { op: 'in'; args: Node[]; negated: boolean }
  | { op: 'between'; args: [Node, Node, Node] }
  | { op: 'case'; args: Node[] }
  | { op: 'coalesce' | 'greatest' | 'least'; args: Node[] }
  | { op: 'nullif'; args: [Node, Node] }
  | { op: 'cast'; args: [Node] }
  | { op: 'length' | 'strlen'; args: [Node] }
  | { op: 'concat'; args: Node[]; skipsNull: boolean }
  | { op: 'substring'; args: [Node]; from: number; count: number | null }
  | {
      op: 'match'
      args: [Node]
      how: 'prefix' | 'suffix' | 'contains' | 'equal' | 'any'
      pattern: string
      negated: boolean
    }
)

/** BOOLEAN, VARCHAR, DOUBLE, BLOB and BIGINT. */
export const BOOL: SqlType = { base: 'bool', bits: 0, precision: 0, scale: 0 }
export const TEXT: SqlType = { base: 'text', bits: 0, precision: 0, scale: 0 }
export const FLOAT: SqlType = { base: 'float', bits: 0, precision: 0, scale: 0 }
export const BYTES: SqlType = { base: 'bytes', bits: 0, precision: 0, scale: 0 }
export const BIGINT: SqlType = { base: 'int', bits: 64, precision: 0, scale: 0 }
/** DECIMAL(precision, scale). */
export const decimal = (precision: number, scale: number): SqlType => ({ base: 'decimal', bits: 0, precision, scale })

const INTS: Readonly<Record<string, number>> = { TINYINT: 8, SMALLINT: 16, INTEGER: 32, BIGINT: 64 }

/** The type that DuckDB spells so; null when it is none of ours (HUGEINT, FLOAT, DATE, …). */
export function parseSqlType(text: string): SqlType | null {
  const bits = INTS[text]
  if (bits !== undefined) return { base: 'int', bits, precision: 0, scale: 0 }
  const match = /^DECIMAL\((\d+),(\d+)\)$/.exec(text)
  if (match !== null) return decimal(Number(match[1]), Number(match[2]))
  const others: Readonly<Record<string, SqlType>> = { DOUBLE: FLOAT, BOOLEAN: BOOL, VARCHAR: TEXT, BLOB: BYTES }
  return others[text] ?? null
}

/** DuckDB's spelling of the type. */
export function sqlTypeText(type: SqlType): string {
  switch (type.base) {
    case 'int':
      return type.bits === 8 ? 'TINYINT' : type.bits === 16 ? 'SMALLINT' : type.bits === 32 ? 'INTEGER' : 'BIGINT'
    case 'decimal':
      return `DECIMAL(${type.precision},${type.scale})`
    case 'float':
      return 'DOUBLE'
    case 'bool':
      return 'BOOLEAN'
    case 'text':
      return 'VARCHAR'
    case 'bytes':
      return 'BLOB'
  }
}

/** Whether the two are one type. */
export const sameType = (a: SqlType, b: SqlType): boolean =>
  a.base === b.base && a.bits === b.bits && a.precision === b.precision && a.scale === b.scale

/** Whether values of the type are numbers. */
export const isNumeric = (type: SqlType): boolean =>
  type.base === 'int' || type.base === 'decimal' || type.base === 'float'

/** The nodes below a node, itself last. */
export function* walk(node: Node): Generator<Node> {
  if ('args' in node) for (const child of node.args) yield* walk(child)
  yield node
}

/** Names of the fields that the expressions read, each once. */
export function fieldsOf(nodes: readonly Node[]): string[] {
  const names = new Set<string>()
  for (const root of nodes) for (const node of walk(root)) if (node.op === 'column') names.add(node.name)
  return [...names]
}
