/**
 * The batch reader: a bound metric → DuckDB SQL over the archive's columns that yields its partials.
 *
 *   inner   one pass over the events: window start, dimensions, arguments and filters, each once
 *   groups  GROUP BY window and dimensions; sums stay DECIMAL(38, s), which no sum of int64 values leaves
 *   outer   sums and extrema as unscaled integers
 *
 * Windows are grouped by their number, (event time + lift) // size: integer arithmetic is 30 % cheaper than time_bucket, the lift
 * makes it right before 1970, and small numbers let DuckDB group by position instead of by hash. A row's argument is evaluated only when it passes `where`, whether or not it passes the measure's own filter: the columnar reader does the same.
 */
import { EVENT_TIME_MIN_MS } from '#core/time.ts'
import type { BoundAggregate } from './bind.ts'
import type { SqlInput, WindowSpec } from './definition.ts'
import type { Node } from './expression.ts'
import { printSql, quoteName } from './print-sql.ts'

/** A metric's expressions, bound. */
export interface BoundMetric {
  readonly where: Node | null
  readonly dimensions: readonly { readonly name: string; readonly node: Node }[]
  readonly measures: readonly (BoundAggregate & { readonly name: string })[]
}

/** What the SQL depends on beside the expressions. */
export interface SqlPolicy {
  readonly window: WindowSpec
  readonly allowedLatenessMs: number
}

/** The metric's partials as SQL; columns as `MetricDefinition.toSql` states. */
export function toSql(metric: BoundMetric, policy: SqlPolicy, input: SqlInput): string {
  const { sizeMs } = policy.window
  // A multiple of the size that lifts every event time above 0, where // rounds down.
  const lift = Math.ceil(-EVENT_TIME_MIN_MS / sizeMs) * sizeMs
  const columns = new Columns()
  const { allowedLatenessMs } = policy
  const measures = metric.measures.map((measure, id) => partialOf(measure, id, columns))
  const dimensions = metric.dimensions.map(({ node }, at) => `${exactSql(node)} AS "_d${at}"`)

  const number = `(_event_time + ${lift}) // ${sizeMs}`
  // A window ends behind its events, so the first comparison spares nearly every row the second; count leaves nulls out.
  const late = `CASE WHEN _watermark > _event_time + ${allowedLatenessMs} THEN
      CASE WHEN _watermark >= (${number} + 1) * ${sizeMs} - ${lift - allowedLatenessMs} THEN true END END`
  const inner = [`${number} AS "_w"`, `${late} AS "_m"`, ...dimensions, ...columns.list]
  const conditions = ["_kind = 'event'"]
  if (input.windows !== null) {
    const from = Math.ceil(input.windows.from / sizeMs) * sizeMs
    const until = Math.ceil(input.windows.until / sizeMs) * sizeMs
    conditions.push(`_event_time >= ${from}`, `_event_time < ${until}`)
  }
  if (metric.where !== null) conditions.push(printSql(metric.where))
  const keys = ['"_w"', ...metric.dimensions.map((_, at) => `"_d${at}"`)]
  const grouped = [...keys, ...measures.map((measure) => measure.grouped), 'count("_m") AS "_late"']
  const outer = [
    `"_w" * ${sizeMs} - ${lift} AS window_from`,
    ...metric.dimensions.map(({ name }, at) => `"_d${at}" AS ${quoteName(`d_${name}`)}`),
    ...measures.map((measure) => measure.outer),
    '"_late" AS late',
  ]
  return [
    `SELECT ${outer.join(', ')}`,
    `FROM (SELECT ${grouped.join(', ')}`,
    `  FROM (SELECT ${inner.join(', ')} FROM ${input.relation}`,
    `    WHERE ${conditions.join(' AND ')})`,
    `  GROUP BY ${keys.join(', ')})`,
    ...(input.ordered === false ? [] : [`ORDER BY ${keys.map((key) => `${key} NULLS FIRST`).join(', ')}`]),
  ].join('\n')
}

/** Inner columns, shared by measures that read the same expression. */
class Columns {
  readonly list: string[] = []
  readonly #names = new Map<string, string>()
  nameOf(node: Node): string {
    const text = exactSql(node)
    let name = this.#names.get(text)
    if (name === undefined) {
      name = `"_x${this.#names.size}"`
      this.#names.set(text, name)
      this.list.push(`${text} AS ${name}`)
    }
    return name
  }
}

/** The expression; a DOUBLE that is not finite is an error, and -0 is 0, so that both readers group it alike. */
function exactSql(node: Node): string {
  const text = printSql(node)
  if (node.type.base !== 'float') return text
  if (node.op === 'column') return `(${text} + 0.0::DOUBLE)`
  return `(CASE WHEN isfinite(${text}) THEN ${text} + 0.0::DOUBLE WHEN ${text} IS NULL THEN NULL ELSE error('MEASURE_OVERFLOW a DOUBLE is not finite') END)`
}

/** The measure's columns of the groups and of the answer. */
function partialOf(
  measure: BoundAggregate & { readonly name: string },
  id: number,
  columns: Columns,
): { grouped: string; outer: string } {
  const argument = measure.argument === null ? '*' : columns.nameOf(measure.argument)
  const filter = measure.filter === null ? '' : ` FILTER (WHERE ${columns.nameOf(measure.filter)})`
  const scale = measure.argument?.type.scale ?? 0
  const [n, s, v] = (['n', 's', 'v'] as const).map((part) => quoteName(`${measure.name}_${part}`)) as [
    string,
    string,
    string,
  ]
  const count = `count(${argument})${filter} AS "_n${id}"`
  switch (measure.kind) {
    case 'count':
      return { grouped: count, outer: `"_n${id}" AS ${n}` }
    case 'sum':
    case 'avg':
      return {
        grouped: `${count}, sum(${argument})${filter} AS "_s${id}"`,
        outer: `"_n${id}" AS ${n}, coalesce(${unscaledSum(`"_s${id}"`, scale)}, 0)::DECIMAL(38,0) AS ${s}`,
      }
    case 'min':
    case 'max':
      return {
        grouped: `${measure.kind}(${argument})${filter} AS "_v${id}"`,
        outer: `${measure.argument!.type.base === 'float' ? `"_v${id}"` : unscaledValue(`"_v${id}"`, scale)} AS ${v}`,
      }
  }
}

/** DECIMAL(38, s) or HUGEINT → HUGEINT, exact: the part before the point and the part behind it apart, since x * 10^s could leave 38 digits. */
function unscaledSum(value: string, scale: number): string {
  if (scale === 0) return `${value}::HUGEINT`
  return `(floor(${value})::HUGEINT * 1${'0'.repeat(scale)}::HUGEINT + ${shifted(`(${value} - floor(${value}))`, scale)}::HUGEINT)`
}

/** DECIMAL(≤ 18, s) → BIGINT, exact. */
function unscaledValue(value: string, scale: number): string {
  return scale === 0 ? `${value}::BIGINT` : `${shifted(value, scale)}::BIGINT`
}

/** value * 10^s for a value of at most 18 digits. As DECIMAL(38, s), or DuckDB would multiply within 18 digits and overflow. */
const shifted = (value: string, scale: number): string =>
  `(${value}::DECIMAL(38,${scale}) * 1${'0'.repeat(scale)}::DECIMAL(${scale + 1},0))`
