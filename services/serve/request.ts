/**
 * Requests: the fields of a query, from a query string or a JSON body, → one normalised query, or a refusal that names the field.
 * Two requests that mean the same give the same `key`, which is the key of the answer cache. Nothing unknown is passed over.
 */
import { FINALITIES, type Finality } from '#core/finality.ts'
import { normaliseGroupValue } from '#core/group-key.ts'
import { LIMITS } from '#core/limits.ts'
import type { DimensionLayout, GroupValue } from '#core/partial.ts'
import { nests, originOf } from '#core/rollup.ts'
import { formatDuration, parseDuration } from '#core/time.ts'
import { parseInstant } from '#format/event-time.ts'
import { OperatingError } from '#io/errors.ts'
import type { MetricDefinition } from '#metrics/definition.ts'

/** Fields of a query and what they mean; the OpenAPI text and the list of what is accepted. */
export const QUERY_FIELDS = {
  from: 'First bucket start, ISO 8601 with offset or epoch ms; left out = unbounded.',
  until: 'Bucket starts before this, exclusive; left out = unbounded.',
  grain:
    "Bucket size as a multiple of the metric's window (5m, 1h, 1d, 1w), UTC; weeks begin on Monday. Default: the window.",
  zone: 'Only UTC.',
  group_by: 'Dimensions to keep, comma-separated. Left out = all rolled up.',
  filter: 'dimension:value,value; repeatable; an empty value is null. In JSON: {"dimension": ["value", null]}.',
  measures: 'Measures and derived measures, comma-separated. Left out = all.',
  layer: 'merged (default), batch or speed.',
  as_of: 'Cut of an older view: the batch layer as it was then.',
  min_finality: 'provisional, closed, confirmed or restated: rows of less are left out.',
  order: '`from` or a measure; a leading - for descending. Nulls come last.',
  limit: `Most rows, up to ${LIMITS.answerRows}. Without order more rows are refused, with it they are the first n.`,
  numbers: '`string`: decimals and integers beyond 2^53-1 as text.',
} as const

/** Raw fields as they arrive. */
export type RawQuery = Readonly<Record<string, unknown>>

/** Which layers take part. */
export type Layer = 'merged' | 'batch' | 'speed'

/** A checked query. */
export interface MetricQuery {
  /** ±Infinity = unbounded. */
  readonly from: number
  readonly until: number
  readonly grainMs: number
  /** Start of one bucket. */
  readonly originMs: number
  /** Indexes of dimensions, in the order asked for. */
  readonly groupBy: readonly number[]
  readonly filters: readonly { readonly dimension: number; readonly values: readonly GroupValue[] }[]
  /** Names of measures and derived ones, in the order asked for. */
  readonly measures: readonly string[]
  readonly layer: Layer
  readonly asOf: number | null
  readonly minFinality: Finality
  /** `by` is `from` or a name of `measures`' kind, asked for or not. */
  readonly order: { readonly by: string; readonly descending: boolean } | null
  readonly limit: number
  readonly strings: boolean
  readonly key: string
}

/** @throws OperatingError REQUEST_INVALID naming the field */
export function parseQuery(raw: RawQuery, definition: MetricDefinition): MetricQuery {
  for (const field of Object.keys(raw)) {
    if (!(field in QUERY_FIELDS))
      throw invalid(field, `there is no such field; known are ${Object.keys(QUERY_FIELDS).join(', ')}`)
  }
  const from = instantOf('from', raw['from']) ?? Number.NEGATIVE_INFINITY
  const until = instantOf('until', raw['until']) ?? Number.POSITIVE_INFINITY
  if (from > until) throw invalid('until', 'it lies before `from`')
  const zone = textOf('zone', raw['zone'])
  if (zone !== null && zone !== 'UTC') refuseZone(zone)
  const layer = oneOf('layer', raw['layer'], ['merged', 'batch', 'speed'] as const) ?? 'merged'
  const asOf = wholeOf('as_of', raw['as_of'])
  if (asOf !== null && layer === 'speed') throw invalid('as_of', 'an older view has no speed layer')
  const grainMs = grainOf(raw['grain'], definition)
  const query = {
    from,
    until,
    grainMs,
    originMs: originOf(definition.window.sizeMs, grainMs),
    groupBy: groupByOf(raw['group_by'], definition),
    filters: filtersOf(raw['filter'], definition),
    measures: measuresOf(raw['measures'], definition),
    layer: asOf === null ? layer : ('batch' as const),
    asOf,
    minFinality: oneOf('min_finality', raw['min_finality'], FINALITIES) ?? 'provisional',
    order: orderOf(raw['order'], definition),
    limit: limitOf(raw['limit']),
    strings: oneOf('numbers', raw['numbers'], ['string'] as const) === 'string',
  }
  const key = JSON.stringify(query, (_, value: unknown) =>
    typeof value === 'bigint' ? `${value}n` : value === Infinity || value === -Infinity ? String(value) : value,
  )
  return { ...query, key }
}

/** The fields of a POST: those of its body and of its query string, which may not name one twice. @throws OperatingError REQUEST_INVALID */
export function fieldsOf(body: RawQuery, querystring: RawQuery): RawQuery {
  const twice = Object.keys(querystring).find((field) => Object.hasOwn(body, field))
  if (twice !== undefined) throw invalid(twice, 'it is in the body and in the query string')
  return { ...body, ...querystring }
}

function refuseZone(zone: string): never {
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone })
  } catch {
    throw invalid('zone', `\`${zone}\` is no time zone`)
  }
  throw new OperatingError('NOT_IMPLEMENTED', `Only UTC is served yet, not ${zone}.`, { field: 'zone' })
}

/** A request that is refused because of one field. */
export const invalid = (field: string, message: string): OperatingError =>
  new OperatingError('REQUEST_INVALID', `${field}: ${message}.`, { field })

function textOf(field: string, value: unknown): string | null {
  if (value === undefined || value === null || value === '') return null
  if (typeof value === 'string') return value
  if (typeof value === 'number' && Number.isFinite(value)) return String(value)
  throw invalid(field, Array.isArray(value) ? 'it may be given only once' : 'it must be a text')
}

/** A comma-separated text, or an array of texts in JSON. */
function listOf(field: string, value: unknown): readonly string[] | null {
  const items = Array.isArray(value) ? (value as unknown[]) : [value]
  const names = items.flatMap((item) => textOf(field, item)?.split(',') ?? []).map((name) => name.trim())
  return names.length === 0 ? null : names
}

function oneOf<T extends string>(field: string, value: unknown, known: readonly T[]): T | null {
  const text = textOf(field, value)
  if (text === null) return null
  if (!(known as readonly string[]).includes(text)) throw invalid(field, `\`${text}\` is none of ${known.join(', ')}`)
  return text as T
}

function wholeOf(field: string, value: unknown): number | null {
  const text = textOf(field, value)
  if (text === null) return null
  if (!/^\d{1,15}$/.test(text)) throw invalid(field, `\`${text}\` is no whole number`)
  return Number(text)
}

const utf8 = new TextEncoder()

function instantOf(field: string, value: unknown): number | null {
  const text = textOf(field, value)
  if (text === null) return null
  if (/^-?\d{1,15}$/.test(text)) return Number(text)
  // An unescaped + of the offset arrives as a space.
  const bytes = utf8.encode(text.replace(/ (\d\d:?\d\d)$/, '+$1'))
  const instant = parseInstant(bytes, 0, bytes.length)
  if (Number.isNaN(instant)) {
    throw invalid(field, `\`${text}\` is neither ISO 8601 with an offset (2001-01-01T00:00:00Z) nor epoch milliseconds`)
  }
  return instant
}

function grainOf(value: unknown, { window }: MetricDefinition): number {
  const text = textOf('grain', value)
  if (text === null) return window.sizeMs
  const grainMs = parseDuration(text)
  if (grainMs === null || grainMs === 0) throw invalid('grain', `\`${text}\` is no duration such as 5m, 1h, 1d`)
  if (!nests(window.sizeMs, grainMs))
    throw new OperatingError(
      'NOT_ADDITIVE',
      `Windows of ${formatDuration(window.sizeMs)} do not add up to a grain of ${text}.`,
      { field: 'grain' },
    )
  return grainMs
}

function dimensionOf(field: string, name: string, { layout }: MetricDefinition): number {
  const at = layout.dimensions.findIndex((dimension) => dimension.name === name)
  if (at >= 0) return at
  const known = layout.dimensions.map((dimension) => dimension.name).join(', ') || 'none'
  throw invalid(field, `there is no dimension \`${name}\`; the metric has ${known}`)
}

function groupByOf(value: unknown, definition: MetricDefinition): number[] {
  const dimensions = (listOf('group_by', value) ?? []).map((name) => dimensionOf('group_by', name, definition))
  if (new Set(dimensions).size !== dimensions.length) throw invalid('group_by', 'a dimension is named twice')
  return dimensions
}

function filtersOf(value: unknown, definition: MetricDefinition): MetricQuery['filters'] {
  if (value === undefined || value === null) return []
  const wanted = new Map<number, Set<GroupValue>>()
  const add = (name: string, values: readonly unknown[]): void => {
    const dimension = dimensionOf('filter', name, definition)
    const layout = definition.layout.dimensions[dimension]!
    const accepted = new Set(values.map((one) => filterValue(layout, one)))
    const before = wanted.get(dimension)
    // Two filters on one dimension must both hold.
    wanted.set(dimension, before === undefined ? accepted : new Set([...before].filter((one) => accepted.has(one))))
  }
  if (typeof value === 'object' && !Array.isArray(value)) {
    for (const [name, values] of Object.entries(value))
      add(name, Array.isArray(values) ? (values as unknown[]) : [values])
  } else {
    for (const text of Array.isArray(value) ? (value as unknown[]) : [value]) {
      const colon = typeof text === 'string' ? text.indexOf(':') : -1
      if (colon < 1) throw invalid('filter', `\`${String(text)}\` is not of the form dimension:value,value`)
      const values = (text as string).slice(colon + 1).split(',')
      add(
        (text as string).slice(0, colon),
        values.map((one) => (one === '' ? null : one)),
      )
    }
  }
  return [...wanted].sort(([a], [b]) => a - b).map(([dimension, values]) => ({ dimension, values: [...values] }))
}

/** Whether a number is sure to be what was written: past it, another group's rows would be answered. */
function isExact({ kind, scale }: DimensionLayout, value: number): boolean {
  if (kind === 'int64') return !Number.isInteger(value) || Number.isSafeInteger(value)
  return kind !== 'decimal' || Math.abs(value) * 10 ** scale < 1e15
}

function filterValue(dimension: DimensionLayout, value: unknown): GroupValue {
  if (value === null) return null
  const wrong = (): OperatingError =>
    invalid('filter', `\`${JSON.stringify(value)}\` is no ${dimension.kind} value of ${dimension.name}`)
  if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') throw wrong()
  if (typeof value === 'number' && !isExact(dimension, value))
    throw invalid('filter', `a JSON number may have lost digits of ${dimension.name}; send it as a text`)
  const text = String(value)
  switch (dimension.kind) {
    case 'string':
      return text
    case 'int64':
      if (!/^-?\d{1,19}$/.test(text)) throw wrong()
      return normaliseGroupValue(dimension, BigInt(text))
    case 'decimal': {
      const match = /^(-?)(\d{1,18})(?:\.(\d{1,18}))?$/.exec(text)
      const fraction = (match?.[3] ?? '').replace(/0+$/, '')
      if (match === null || fraction.length > dimension.scale) throw wrong()
      return BigInt(`${match[1]}${match[2]}${fraction.padEnd(dimension.scale, '0')}`)
    }
    case 'float64':
      if (text.trim() === '' || !Number.isFinite(Number(text))) throw wrong()
      return Number(text)
    case 'bool':
      if (text !== 'true' && text !== 'false') throw wrong()
      return text === 'true'
  }
}

/** Names of all measures and derived measures. */
const measureNames = ({ measures, derived }: MetricDefinition): string[] =>
  [...measures, ...derived].map(({ name }) => name)

function measuresOf(value: unknown, definition: MetricDefinition): string[] {
  const known = measureNames(definition)
  const names = listOf('measures', value)
  if (names === null) return known
  for (const name of names)
    if (!known.includes(name))
      throw invalid('measures', `there is no measure \`${name}\`; the metric has ${known.join(', ')}`)
  if (new Set(names).size !== names.length) throw invalid('measures', 'a measure is named twice')
  return [...names]
}

function orderOf(value: unknown, definition: MetricDefinition): MetricQuery['order'] {
  const text = textOf('order', value)
  if (text === null) return null
  const descending = text.startsWith('-')
  const by = descending ? text.slice(1) : text
  const known = ['from', ...measureNames(definition)]
  if (!known.includes(by)) throw invalid('order', `\`${by}\` is none of ${known.join(', ')}`)
  return { by, descending }
}

function limitOf(value: unknown): number {
  const limit = wholeOf('limit', value) ?? LIMITS.answerRowsDefault
  if (limit < 1 || limit > LIMITS.answerRows) throw invalid('limit', `it must be from 1 to ${LIMITS.answerRows}`)
  return limit
}
