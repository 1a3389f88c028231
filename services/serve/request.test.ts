/** Goal: what a number in a JSON filter may stand for. Method: the parser alone, on a metric with one dimension of each exact kind. */
import { expect, it } from 'vitest'
import { layoutOf } from '#core/partial.ts'
import type { MetricDefinition } from '#metrics/definition.ts'
import { fieldsOf, parseQuery } from './request.ts'

const layout = layoutOf(
  [
    { name: 'id', kind: 'int64', scale: 0 },
    { name: 'price', kind: 'decimal', scale: 2 },
  ],
  [{ name: 'n', kind: 'count', scale: 0, float: false }],
)
const window = { kind: 'tumbling', sizeMs: 60_000 }
const metric = { name: 'sales', layout, window, measures: [{ name: 'n' }], derived: [] } as unknown as MetricDefinition
const filter = (value: unknown) => parseQuery({ filter: value }, metric).filters.map(({ values }) => values)

it('[Q1][Q3] a number that JSON may have rounded is no filter: it would answer for another group', () => {
  const beyond: unknown = JSON.parse('9007199254740993')
  const long: unknown = JSON.parse('123456789012345.67')
  for (const wrong of [{ id: beyond }, { id: [1, beyond] }, { price: long }])
    expect(() => filter(wrong)).toThrow(/may have lost digits/)
  expect(filter({ id: ['9007199254740993', 7], price: ['123456789012345.67', 1.5] })).toEqual([
    [9007199254740993n, 7],
    [12345678901234567n, 150n],
  ])
  expect(() => filter({ id: 1.5 })).toThrow(/no int64 value/)
})

it('[Q1][Q3] the fields of a POST are those of body and query string, each once', () => {
  expect(fieldsOf({ limit: 5 }, { numbers: 'string' })).toEqual({ limit: 5, numbers: 'string' })
  expect(() => fieldsOf({ limit: 5 }, { limit: '6' })).toThrow(/^limit: /)
})

it('[Q3] a zone that there is, but for UTC, is not served yet; another one is none', () => {
  expect(() => parseQuery({ zone: 'Europe/London' }, metric)).toThrow(
    expect.objectContaining({ code: 'NOT_IMPLEMENTED', context: { field: 'zone' } }),
  )
  expect(() => parseQuery({ zone: 'Mars/Base' }, metric)).toThrow(expect.objectContaining({ code: 'REQUEST_INVALID' }))
})
