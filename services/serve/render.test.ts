import { expect, it } from 'vitest'
import { formOf } from './render.ts'

it.each([
  [undefined, 'json'],
  ['', 'json'],
  ['*/*', 'json'],
  ['text/html, application/xhtml+xml, */*;q=0.8', 'json'],
  ['text/csv', 'csv'],
  ['TEXT/CSV; charset=utf-8', 'csv'],
  ['text/*', 'csv'],
  ['text/csv;q=0.5, application/json', 'json'],
  ['text/csv;q=0.9, */*;q=0.1', 'csv'],
  ['text/csv, application/json', 'csv'],
  ['application/json;q=0, */*', 'csv'],
  ['text/csv;q=0, text/*, application/*;q=0.1', 'json'],
])('[Q1] Accept: %s is answered as %s', (accept, form) => {
  expect(formOf(accept)).toBe(form)
})

it.each(['image/png', 'application/vnd.apache.arrow.stream', 'application/json;q=0', 'nonsense'])(
  '[Q1] Accept: %s is refused',
  (accept) => {
    expect(() => formOf(accept)).toThrow(expect.objectContaining({ code: 'NOT_ACCEPTABLE' }))
  },
)
