/** Rendering: an answer as JSON or CSV bytes with its headers (strong ETag over the body, no-store while a row is provisional). */
import { createHash } from 'node:crypto'
import { stringify } from 'csv-stringify/sync'
import { OperatingError } from '#io/errors.ts'
import type { AnswerTable } from './answer.ts'
import type { MetricQuery } from './request.ts'
import type { Answer } from './served-metric.ts'

/** Forms of an answer. */
export type Form = 'json' | 'csv'

const TYPES: Record<Form, string> = { json: 'application/json; charset=utf-8', csv: 'text/csv; charset=utf-8' }

/** The form that an Accept header asks for, by its order and weights; JSON when it asks for nothing. @throws OperatingError NOT_ACCEPTABLE */
export function formOf(accept: string | undefined): Form {
  if (accept === undefined || accept.trim() === '') return 'json'
  const ranges = accept.split(',').map((part, at) => {
    const [type, ...parameters] = part.trim().toLowerCase().split(';')
    const weight = parameters.map((one) => /^\s*q=([\d.]+)/.exec(one)?.[1]).find((one) => one !== undefined)
    return { type: type!.trim(), weight: weight === undefined ? 1 : Number(weight), at }
  })
  // Of the ranges that take in a form the narrowest speaks for it: `application/json;q=0, */*` is anything but JSON.
  const found = (['json', 'csv'] as const).flatMap((form) => {
    const [type] = TYPES[form].split(';', 1)
    const range = [type, type!.replace(/\/.*/, '/*'), '*/*']
      .map((wanted) => ranges.find((one) => one.type === wanted))
      .find((one) => one !== undefined)
    return range === undefined || range.weight === 0 ? [] : [{ form, ...range }]
  })
  found.sort((a, b) => b.weight - a.weight || a.at - b.at)
  if (found.length > 0) return found[0]!.form
  throw new OperatingError('NOT_ACCEPTABLE', `None of ${accept} can be given.`)
}

/** Renders an answer. A CSV has the envelope as JSON in the header `tidemark-envelope`. */
export function render(answer: AnswerTable, query: MetricQuery, form: Form, dimensions: readonly string[]): Answer {
  const body = Buffer.from(form === 'json' ? JSON.stringify(answer) : csvOf(answer, query, dimensions))
  const open = answer.rows.some(({ finality }) => finality === 'provisional')
  const headers: Record<string, string> = {
    'content-type': TYPES[form],
    'cache-control': open ? 'no-store' : 'no-cache',
    vary: 'accept',
    etag: `"${createHash('sha256').update(body).digest('base64url').slice(0, 27)}"`,
  }
  if (form === 'csv') headers['tidemark-envelope'] = JSON.stringify(answer.envelope)
  return { body, headers }
}

function csvOf({ rows }: AnswerTable, { measures }: MetricQuery, dimensions: readonly string[]): string {
  const columns = ['from', 'until', ...dimensions, ...measures, 'finality']
  const records = rows.map(({ from, until, group, values, finality }) => [
    from,
    until,
    ...dimensions.map((name) => group[name]),
    ...measures.map((name) => values[name]),
    finality,
  ])
  // Null is an empty field, an empty text is quoted: the two stay different.
  return stringify([columns, ...records], {
    cast: { boolean: String, string: (value) => (value === '' ? { value, quoted_empty: true } : value) },
  })
}
