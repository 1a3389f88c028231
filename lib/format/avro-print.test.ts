/**
 * The text of a schema, as the JVM's registry stores it, and the normalised one. Expectations are written from the rules of
 * Avro's JVM printer and Confluent's normalisation, by hand.
 */
import { describe, expect, it } from 'vitest'
import { normalizeAvro, parseAvro, printAvro } from './avro-compatibility.ts'

const stored = (schema: string, references: readonly string[] = []): string => printAvro(parseAvro(schema, references))
const normal = (schema: string, references: readonly string[] = []): string =>
  normalizeAvro(parseAvro(schema, references))

describe('the stored text', () => {
  const cases: readonly (readonly [string, string, string])[] = [
    [
      'attributes of a record stand in one order, unknown ones as written and before the aliases',
      '{"aliases":["Old"],"zeta":1,"fields":[],"alpha":[true,null],"doc":"d","name":"n.R","type":"record"}',
      '{"type":"record","name":"R","namespace":"n","doc":"d","fields":[],"zeta":1,"alpha":[true,null],"aliases":["Old"]}',
    ],
    [
      'attributes of a field: unknown ones come last',
      '{"type":"record","name":"R","fields":[{"x":1,"aliases":["b"],"order":"DESCENDING","default":3,"doc":"d","type":{"type":"int"},"name":"a"}]}',
      '{"type":"record","name":"R","fields":[{"name":"a","type":"int","doc":"d","default":3,"order":"descending","aliases":["b"],"x":1}]}',
    ],
    [
      'an enum: default before what Avro does not know',
      '{"symbols":["A"],"p":{},"default":"A","aliases":["F"],"name":"E","type":"enum"}',
      '{"type":"enum","name":"E","symbols":["A"],"default":"A","p":{},"aliases":["F"]}',
    ],
    [
      'a fixed: size, then its logical type',
      '{"logicalType":"decimal","precision":4,"name":"F","aliases":["m.F"],"size":2,"type":"fixed"}',
      '{"type":"fixed","name":"F","size":2,"logicalType":"decimal","precision":4,"aliases":["m.F"]}',
    ],
    ['an attribute without a meaning is dropped', '{"type":"string","doc":"d","size":3,"name":"x"}', '"string"'],
    ['a default on a primitive is none that Avro knows', '{"type":"int","default":1}', '{"type":"int","default":1}'],
    [
      'aliases are as short as their name allows, and each once',
      '{"type":"record","name":"n.R","aliases":["n.Old","Old","m.Old","n.int"],"fields":[]}',
      '{"type":"record","name":"R","namespace":"n","fields":[],"aliases":["Old","m.Old","n.int"]}',
    ],
    [
      'a type without a namespace inside one says so; a name that is a type keyword stays full',
      '{"type":"record","name":"n.R","fields":[{"name":"a","type":{"type":"enum","name":"E","namespace":"","symbols":["A"]}},{"name":"b","type":{"type":"enum","name":"map","symbols":["A"]}},{"name":"c","type":"E"},{"name":"d","type":"n.map"}]}',
      '{"type":"record","name":"R","namespace":"n","fields":[{"name":"a","type":{"type":"enum","name":"E","namespace":"","symbols":["A"]}},{"name":"b","type":{"type":"enum","name":"map","symbols":["A"]}},{"name":"c","type":"E"},{"name":"d","type":"n.map"}]}',
    ],
    [
      'the namespace comes back after a definition in another one',
      '[{"type":"record","name":"a.R","fields":[{"name":"x","type":{"type":"fixed","name":"b.F","size":1}},{"name":"y","type":["null","R","b.F"]}]},"int"]',
      '[{"type":"record","name":"R","namespace":"a","fields":[{"name":"x","type":{"type":"fixed","name":"F","namespace":"b","size":1}},{"name":"y","type":["null","R","b.F"]}]},"int"]',
    ],
    ['an error record stays one', '{"type":"error","name":"X","fields":[]}', '{"type":"error","name":"X","fields":[]}'],
  ]
  it.each(cases)('[R1] %s', (_name, text, expected) => {
    expect(stored(text)).toBe(expected)
    expect(stored(expected)).toBe(expected)
  })

  const field = (type: string, value: string): string =>
    `{"type":"record","name":"R","fields":[{"name":"a","type":${type},"default":${value}}]}`
  const numbers: readonly (readonly [string, string])[] = [
    ['0', '0'],
    ['-0', '0'],
    ['-0.0', '-0.0'],
    ['1.0', '1.0'],
    ['1.50', '1.5'],
    ['1e3', '1000.0'],
    ['1E-3', '0.001'],
    ['0.00099', '9.9E-4'],
    ['12345678.9', '1.23456789E7'],
    ['9999999.5', '9999999.5'],
    ['1e21', '1.0E21'],
    ['123e-7', '1.23E-5'],
    ['9007199254740993', '9007199254740993'],
    ['"NaN"', '"NaN"'],
  ]
  it.each(numbers)('[R1] the double default %s prints as %s', (written, printed) => {
    expect(stored(field('"double"', written))).toBe(field('"double"', printed))
  })

  it('[R1] strings: control characters in upper-case digits, everything else as it is', () => {
    expect(stored(field('"string"', '"\\u001f\\n\\/\\u00e9\\u2028\\"\\\\ \\ud83d\\ude00"'))).toBe(
      field('"string"', '"\\u001F\\n/é\u2028\\"\\\\ 😀"'),
    )
  })

  it('[R1] attributes named __proto__ and constructor are attributes', () => {
    const text = '{"type":"int","__proto__":{"a":1},"constructor":2,"toString":[]}'
    expect(stored(text)).toBe(text)
  })

  it('[R5] a long default beyond 2^53 survives parse and print', () => {
    const schema = '{"type":"record","name":"R","fields":[{"name":"a","type":"long","default":9007199254740993}]}'
    expect(stored(schema)).toBe(schema)
  })

  it('[R1] white space, order of attributes and spelling of names do not make another schema', () => {
    const a =
      '{"type":"record","name":"n.R","fields":[{"name":"a","type":{"type":"string"},"order":"ascending"},{"name":"b","type":["null","n.R"]}]}'
    const b =
      '{ "fields": [ {"type":"string","name":"a"}, {"type":["null","R"],"name":"b"} ], "namespace":"n", "name":"R", "type":"record" }'
    expect(stored(a)).toBe(stored(b))
    expect(stored(stored(a))).toBe(stored(a))
    expect(stored('{"type":"string","doc2":"x"}')).not.toBe(stored('"string"'))
  })
})

describe('the normalised text', () => {
  const cases: readonly (readonly [string, string, string])[] = [
    [
      'unknown attributes by name at every level',
      '{"type":"int","z":{"b":1,"a":[{"d":1,"c":2}]},"a":1}',
      '{"type":"int","a":1,"z":{"a":[{"c":2,"d":1}],"b":1}}',
    ],
    [
      'a logical type first, its scale only when it is not zero',
      '{"scale":2,"type":"bytes","aa":1,"precision":9,"logicalType":"decimal"}',
      '{"type":"bytes","logicalType":"decimal","precision":9,"scale":2,"aa":1}',
    ],
    [
      'a scale of zero is an attribute as others',
      '{"type":"bytes","zz":1,"scale":0,"precision":9,"logicalType":"decimal"}',
      '{"type":"bytes","logicalType":"decimal","precision":9,"scale":0,"zz":1}',
    ],
    [
      'what is no valid logical type is an attribute as others',
      '{"type":"string","logicalType":"decimal","aa":1}',
      '{"type":"string","aa":1,"logicalType":"decimal"}',
    ],
    [
      'aliases by their full names',
      '{"type":"record","name":"n.R","aliases":["Z","a.B","A"],"fields":[{"name":"x","type":"int","aliases":["c","b"]}]}',
      '{"type":"record","name":"R","namespace":"n","fields":[{"name":"x","type":"int","aliases":["b","c"]}],"aliases":["a.B","A","Z"]}',
    ],
    ['an error is a record', '{"type":"error","name":"X","fields":[]}', '{"type":"record","name":"X","fields":[]}'],
    [
      'the empty doc of a type goes, of a field it stays',
      '{"type":"record","name":"X","doc":"","fields":[{"name":"a","type":"int","doc":""}]}',
      '{"type":"record","name":"X","fields":[{"name":"a","type":"int","doc":""}]}',
    ],
    [
      'defaults as values of their types',
      '{"type":"record","name":"X","fields":[{"name":"a","type":"double","default":1},{"name":"b","type":"float","default":0.10000000149011612},{"name":"c","type":{"type":"map","values":["float","null"]},"default":{"z":1,"a":null}},{"name":"d","type":["null","double"],"default":2}]}',
      '{"type":"record","name":"X","fields":[{"name":"a","type":"double","default":1.0},{"name":"b","type":"float","default":0.1},{"name":"c","type":{"type":"map","values":["float","null"]},"default":{"a":null,"z":1.0}},{"name":"d","type":["null","double"],"default":2.0}]}',
    ],
  ]
  it.each(cases)('[R1] %s', (_name, text, expected) => {
    expect(normal(text)).toBe(expected)
    expect(normal(expected)).toBe(expected)
  })
})

describe('references', () => {
  const item = '{"type":"record","name":"Item","namespace":"shop","fields":[{"name":"id","type":"long"}]}'
  const order =
    '{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"items","type":{"type":"array","items":"Item"}}]}'
  const basket =
    '{"type":"record","name":"Basket","namespace":"web","fields":[{"name":"o","type":"shop.Order"},{"name":"i","type":["null","shop.Item"]}]}'

  it('[R1] a referenced type is known by its full name and printed by it', () => {
    expect(stored(basket, [item, order])).toBe(basket)
    expect(normal(basket, [item, order])).toBe(basket)
    expect(stored('"shop.Item"', [item])).toBe('"shop.Item"')
    expect(() => parseAvro(basket, [item])).toThrow(/undefined name: "shop.Order"/)
    expect(() => parseAvro(basket, [order, item])).toThrow(/in referenced schema 1: undefined name: "Item"/)
  })

  it('[R1] resolved, it stands in full at its first use', () => {
    expect(printAvro(parseAvro(basket, [item, order]), { resolved: true })).toBe(
      '{"type":"record","name":"Basket","namespace":"web","fields":[{"name":"o","type":' +
        '{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"items","type":{"type":"array","items":' +
        '{"type":"record","name":"Item","fields":[{"name":"id","type":"long"}]}}}]}},{"name":"i","type":["null","shop.Item"]}]}',
    )
  })

  it('[R1] a type that two references hold is one, if they hold the same', () => {
    const other = (id: string) =>
      `{"type":"record","name":"web.Other","fields":[{"name":"i","type":{"type":"record","name":"shop.Item","fields":[{"name":"id","type":"${id}"}]}}]}`
    expect(stored('["web.Other","shop.Item"]', [item, other('long')])).toBe('["web.Other","shop.Item"]')
    expect(() => parseAvro('"web.Other"', [item, other('int')])).toThrow(/can't redefine: shop.Item/)
  })
})
