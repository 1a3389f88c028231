/** A schema with references, written as one text, is the schema that was meant: its reader meets each type where it is needed. */
import { describe, expect, it } from 'vitest'
import { parseAvro, parsingCanonicalForm } from './avro-compatibility.ts'
import { inlineReferences, undefinedNames } from './avro-inline.ts'

const currency = '{"type":"enum","name":"Currency","namespace":"money","symbols":["EUR","USD"]}'
const amount =
  '{"type":"record","name":"Amount","namespace":"money","fields":[{"name":"cents","type":"long","default":9007199254740993},{"name":"currency","type":"Currency"}]}'
const payment =
  '{"type":"record","name":"Payment","namespace":"shop","fields":[{"name":"paid","type":"money.Amount"},{"name":"fee","type":["null","money.Amount"]},{"name":"in","type":{"type":"array","items":"money.Currency"}}]}'

describe('inlineReferences', () => {
  it('[R1] puts each type where it is met first, through references of references', () => {
    const whole = inlineReferences(payment, [amount, currency])
    expect(() => parseAvro(payment)).toThrow(/undefined name/)
    expect(parsingCanonicalForm(whole)).toBe(
      '{"name":"shop.Payment","type":"record","fields":[{"name":"paid","type":{"name":"money.Amount","type":"record","fields":[{"name":"cents","type":"long"},{"name":"currency","type":{"name":"money.Currency","type":"enum","symbols":["EUR","USD"]}}]}},{"name":"fee","type":["null","money.Amount"]},{"name":"in","type":{"type":"array","items":"money.Currency"}}]}',
    )
    expect(whole).toContain('9007199254740993')
  })

  it('keeps a type without a namespace without one, inside one that has one', () => {
    const plain = '{"type":"fixed","name":"Hash","size":4}'
    const user = '{"type":"record","name":"User","namespace":"a.b","fields":[{"name":"hash","type":"Hash"}]}'
    expect(parsingCanonicalForm(inlineReferences(user, [plain]))).toContain('"name":"Hash"')
  })

  it('leaves a schema that needs nothing as it is, and a name that nobody defines to the parser', () => {
    const recursive = '{ "type": "record", "name": "L", "fields": [{"name": "next", "type": ["null", "L"]}] }'
    expect(inlineReferences(recursive, [amount])).toBe(recursive)
    expect(inlineReferences(payment, [currency])).toContain('"money.Amount"')
    expect(undefinedNames(payment)).toEqual(['money.Amount', 'money.Currency'])
    expect(undefinedNames(recursive)).toEqual([])
  })
})
