/** `tidemark query`: the API's query as a table, CSV, or its JSON. */
import type { Api } from './client.ts'
import { fits, tableOf } from './print.ts'

interface Row {
  readonly from: string
  readonly group: Readonly<Record<string, unknown>>
  readonly values: Readonly<Record<string, unknown>>
  readonly finality: string
}

interface QueryAnswer {
  readonly rows: readonly Row[]
  readonly envelope: {
    readonly cut: number
    readonly offsets: readonly number[]
    readonly watermark: string | null
    readonly layer: string
    readonly shares: { readonly batch: number; readonly speed: number }
  }
}

/** Options as commander gives them: names of QUERY_FIELDS in camel case. */
export type QueryOptions = Readonly<Record<string, string | string[] | boolean | undefined>>

const snake = (name: string): string => name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

/** Runs a query and returns what is to be printed. */
export async function query(
  api: Api,
  metric: string,
  options: QueryOptions,
  form: 'table' | 'csv' | 'json',
): Promise<string> {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(options)) {
    for (const one of Array.isArray(value) ? value : [value])
      if (typeof one === 'string') search.append(snake(name), one)
  }
  // A terminal needs no numbers; text never refuses a big one.
  if (form !== 'json' && !search.has('numbers')) search.set('numbers', 'string')
  const path = `/v1/metrics/${encodeURIComponent(metric)}/query?${search.toString()}`
  const { text, json } = await api.call('GET', path, { accept: form === 'csv' ? 'text/csv' : 'application/json' })
  if (form !== 'table') return text.trimEnd()
  const { rows, envelope } = json as QueryAnswer
  const groups = Object.keys(rows[0]?.group ?? {})
  const measures = Object.keys(rows[0]?.values ?? {})
  const cellsOf = (shown: readonly string[]): unknown[][] =>
    rows.map(({ from, group, values, finality }) => [
      from.replace('T', ' ').replace(/(:00)?\.000Z$/, ''),
      ...groups.map((name) => group[name]),
      ...shown.map((name) => rounded(values[name])),
      finality,
    ])
  const headOf = (shown: readonly string[]): string[] => ['from (UTC)', ...groups, ...shown, 'finality']
  // A column that does not fit is named below the table; a head cut to three letters tells nothing.
  let shown = measures
  while (shown.length > 1 && !fits(headOf(shown), cellsOf(shown))) shown = shown.slice(0, -1)
  const more = measures.slice(shown.length)
  const table = `${tableOf(headOf(shown), cellsOf(shown))}${more.length === 0 ? '' : `\n\nnot shown: ${more.join(', ')} (--measures, --csv or --json)`}`
  const { layer, cut, offsets, watermark, shares } = envelope
  const whole = `${layer} at cut ${cut}, cells ${shares.batch} batch + ${shares.speed} speed`
  return `${table}\n\n${whole}\nwatermark ${watermark ?? 'none yet'}, offsets ${offsets.join(' ')}`
}

/** Doubles to six digits, for reading; `--json` has them whole. */
const rounded = (value: unknown): unknown =>
  typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value
