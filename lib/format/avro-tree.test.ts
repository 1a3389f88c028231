/**
 * Which texts are Avro schemas: those of the specification within the limits, and no others. Each refusal names its reason;
 * whatever the text, nothing but a SchemaProblem is thrown.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SEED } from '#testkit/runs.ts'
import { printAvro } from './avro-print.ts'
import { SchemaProblem } from './avro-schema.ts'
import { parseAvro } from './avro-tree.ts'

const text = (schema: unknown): string => JSON.stringify(schema)
const record = (...fields: unknown[]): string => text({ type: 'record', name: 'R', fields })

describe('parseAvro', () => {
  const refused: readonly (readonly [string, unknown, RegExp])[] = [
    ['unknown type', 'strin', /undefined name: "strin"/],
    ['name with a dash', { type: 'record', name: 'a-b', fields: [] }, /not an Avro name/],
    ['name that begins with a digit', { type: 'enum', name: '1E', symbols: ['A'] }, /not an Avro name/],
    ['namespace with a slash', { type: 'record', name: 'R', namespace: 'a/b', fields: [] }, /not an Avro namespace/],
    ['primitive redefined', { type: 'record', name: 'string', fields: [] }, /is a primitive type/],
    ['record without fields', { type: 'record', name: 'R' }, /has no fields/],
    [
      'field twice',
      {
        type: 'record',
        name: 'R',
        fields: [
          { name: 'a', type: 'int' },
          { name: 'a', type: 'int' },
        ],
      },
      /duplicate field a/,
    ],
    [
      'type defined twice',
      [
        { type: 'enum', name: 'E', symbols: ['A'] },
        { type: 'array', items: { type: 'enum', name: 'E', symbols: ['A'] } },
      ],
      /can't redefine: E/,
    ],
    ['symbol twice', { type: 'enum', name: 'E', symbols: ['A', 'A'] }, /duplicate enum symbol/],
    ['symbol that is no name', { type: 'enum', name: 'E', symbols: ['a b'] }, /symbols that are Avro names/],
    ['enum default that is no symbol', { type: 'enum', name: 'E', symbols: ['A'], default: 'B' }, /is not a symbol/],
    ['fixed without a size', { type: 'fixed', name: 'F' }, /invalid fixed size/],
    ['fixed of a negative size', { type: 'fixed', name: 'F', size: -1 }, /invalid fixed size/],
    ['union in a union', ['null', ['int']], /nested union/],
    [
      'two arrays in a union',
      [
        { type: 'array', items: 'int' },
        { type: 'array', items: 'long' },
      ],
      /duplicate in union: array/,
    ],
    ['object without a type', { name: 'x' }, /no "type"/],
    ['object whose type is an object', { type: { type: 'int' } }, /no "type"/],
    ['items whose type is a union', { type: 'array', items: { type: ['null', 'int'] } }, /no "type" \(at \/items\)/],
    ['number', 5, /not a type: 5/],
    ['array of nulls', { type: 'array', items: 'null' }, /take no byte/],
    [
      'array of empty records',
      { type: 'array', items: { type: 'record', name: 'R', fields: [{ name: 'n', type: 'null' }] } },
      /take no byte/,
    ],
    [
      'array of empty fixed, deep inside',
      { type: 'map', values: ['null', { type: 'array', items: { type: 'fixed', name: 'F', size: 0 } }] },
      /take no byte/,
    ],
    ['field order', { type: 'record', name: 'R', fields: [{ name: 'a', type: 'int', order: 'up' }] }, /unknown order/],
  ]
  it.each(refused)('[R1] refuses %s', (_name, schema, message) => {
    expect(() => parseAvro(text(schema))).toThrow(message)
  })

  const defaults: readonly (readonly [unknown, string, boolean])[] = [
    ['int', '2147483647', true],
    ['int', '2147483648', false],
    ['int', '1.5', false],
    ['long', '-9223372036854775808', true],
    ['long', '9223372036854775808', false],
    ['double', '1', true],
    ['double', '"1"', false],
    ['double', '1e400', false],
    ['string', 'null', false],
    ['null', 'null', true],
    [['null', 'int'], '5', true],
    [['null', 'int'], '"5"', false],
    ['bytes', '"\\u00ff"', true],
    ['bytes', '"\\u0100"', false],
    [{ type: 'fixed', name: 'F', size: 2 }, '"ab"', true],
    [{ type: 'fixed', name: 'F', size: 2 }, '"abc"', false],
    [{ type: 'enum', name: 'E', symbols: ['A'] }, '"A"', true],
    [{ type: 'enum', name: 'E', symbols: ['A'] }, '"B"', false],
    [{ type: 'array', items: 'int' }, '[1,2]', true],
    [{ type: 'array', items: 'int' }, '[1,"2"]', false],
    [{ type: 'map', values: 'int' }, '{"k":1}', true],
    [{ type: 'map', values: 'int' }, '[]', false],
    [{ type: 'record', name: 'N', fields: [{ name: 'x', type: 'int' }] }, '{"x":1}', true],
    [{ type: 'record', name: 'N', fields: [{ name: 'x', type: 'int' }] }, '{}', false],
    [{ type: 'record', name: 'N', fields: [{ name: 'x', type: 'int', default: 3 }] }, '{}', true],
  ]
  it.each(defaults)('[R1] default of %j: %s is %s', (type, value, valid) => {
    const parse = () =>
      parseAvro(`{"type":"record","name":"R","fields":[{"name":"a","type":${text(type)},"default":${value}}]}`)
    if (valid) expect(parse().kind).toBe('record')
    else expect(parse).toThrow(/invalid default for field a/)
  })

  const named = (name: string, ...fields: unknown[]) => ({ type: 'record', name, fields })
  const field = (name: string, type: unknown, more: object = {}) => ({ name, type, ...more })
  const bombs: readonly (readonly [string, unknown, RegExp])[] = [
    ['a record that holds itself', named('R', field('next', 'R')), /no finite value is a R \(at \/\)/],
    [
      'two records that hold each other, below an array that need not be empty',
      { type: 'array', items: named('A', field('b', named('B', field('a', 'A')))) },
      /no finite value is a A \(at \/items\)/,
    ],
    ['a union of nothing but itself', named('R', field('next', ['R'])), /no finite value is a R/],
    [
      'a union whose every branch comes back',
      named('R', field('u', [named('S', field('r', 'R')), 'R'])),
      /no finite value is a R/,
    ],
    [
      'a default that holds itself',
      named('R', field('next', ['null', 'R'], { default: {} })),
      /the default of field next expands without end \(at \/fields\/0\)/,
    ],
    [
      'a default that comes back through another record',
      named(
        'R',
        field('s', ['null', named('S', field('r', ['null', 'R'], { default: {} }))], { default: null }),
        field('x', ['null', 'S'], { default: {} }),
      ),
      /expands without end/,
    ],
    ['a fixed of two gigabytes', { type: 'fixed', name: 'F', size: 2 ** 31 - 1 }, /larger than 16777216 bytes/],
    ['a fixed of a fraction', { type: 'fixed', name: 'F', size: 1.5 }, /invalid fixed size/],
    ['a fixed beyond integers', { type: 'fixed', name: 'F', size: 1e300 }, /larger than 16777216 bytes/],
    ['a name of a megabyte', named('R'.repeat(2_000)), /not an Avro name/],
    [
      'ten thousand and one symbols',
      { type: 'enum', name: 'E', symbols: Array.from({ length: 10_001 }, (_, i) => `S${i}`) },
      /more than 10000 symbols/,
    ],
    [
      'an array of records that hold only empty records',
      { type: 'array', items: named('R', field('n', named('N')), field('m', 'N')) },
      /take no byte \(at \/items\)/,
    ],
    [
      'an array of arrays of nulls',
      { type: 'array', items: { type: 'array', items: 'null' } },
      /take no byte \(at \/items\/items\)/,
    ],
  ]
  it.each(bombs)('[R1] refuses the bomb: %s', (_name, schema, message) => {
    expect(() => parseAvro(text(schema))).toThrow(message)
  })

  it('[R1] takes what only looks like a bomb', () => {
    const fine: readonly unknown[] = [
      { type: 'array', items: ['null'] },
      { type: 'map', values: 'null' },
      named('R', field('kids', { type: 'array', items: 'R' })),
      named('R', field('next', ['null', 'R'], { default: null })),
      named('R', field('next', ['R', 'null'])),
      named('R', field('kids', { type: 'map', values: 'R' }, { default: {} })),
      { type: 'fixed', name: 'F', size: 16 * 1024 * 1024 },
    ]
    for (const schema of fine) expect(() => parseAvro(text(schema))).not.toThrow()
  })

  /** Each record holds the one below it twice: one datum of the last has 2^depth values. */
  const doubling = (depth: number, leaf: unknown, more: object = {}): string[] => [
    text(named('R0', field('leaf', leaf, more))),
    ...Array.from({ length: depth }, (_, i) =>
      text(named(`R${i + 1}`, field('a', `R${i}`, more), field('b', `R${i}`, more))),
    ),
  ]
  it('[R1] refuses a datum that unrolls without bytes, also through references', () => {
    const texts = doubling(40, 'null')
    expect(() => parseAvro(texts.at(-1)!, texts.slice(0, -1))).toThrow(/one R\d+ holds more than 100000 values/)
    expect(parseAvro(texts[10]!, texts.slice(0, 10)).kind).toBe('record')
  })

  it('[R1] refuses a default that unrolls, and answers at once for one that fits in many ways and not at all', () => {
    const lists = doubling(40, 'int', { default: 0 }).map((schema) =>
      schema.replaceAll(/("R\d+"),"default":0/g, '$1,"default":{}'),
    )
    expect(() => parseAvro(lists.at(-1)!, lists.slice(0, -1))).toThrow(/expands without end|more than 100000 values/)
    let value: unknown = { n: 'no' }
    for (let i = 0; i < 100; i++) value = { n: value }
    const union = ['null', 'A', 'B']
    const schema = named(
      'T',
      field('a', ['null', named('A', field('n', ['null', 'A', named('B', field('n', union))]))]),
      field('x', union, { default: value }),
    )
    expect(() => parseAvro(text(schema))).toThrow(/invalid default for field x/)
  })

  it('[R1] aliases are unique as names are, and any text', () => {
    const twice = (a: object, b: object) => text(named('R', field('a', 'int', a), field('b', 'int', b)))
    expect(() => parseAvro(twice({ aliases: ['x'] }, { aliases: ['x'] }))).toThrow(
      /the alias x of field b is field a's too \(at \/fields\/1\/aliases\)/,
    )
    expect(() => parseAvro(twice({ aliases: ['b'] }, {}))).toThrow(/the alias b of field a is field b's too/)
    expect(() => parseAvro(twice({ aliases: 'x' }, {}))).toThrow(/not a list of aliases/)
    expect(() => parseAvro(twice({ aliases: [''] }, {}))).toThrow(/not a list of aliases/)
    expect(parseAvro(twice({ aliases: ['a', 'x', 'x'] }, { aliases: ['old name'] })).kind).toBe('record')
    const types = (...aliases: string[]) => text([{ ...named('n.A'), aliases }, named('n.B', field('a', 'n.A'))])
    expect(() => parseAvro(types('B'))).toThrow(/the alias "n.B" of n.A is n.B's too/)
    expect(parseAvro(types('A', 'C')).kind).toBe('union')
  })

  it('[R1] names are those of the specification', () => {
    for (const name of ['', 'a..b', '.a', 'a.', 'é', 'a b', '1a', 'n.int', 'null', 'a-b'])
      expect(() => parseAvro(text(named(name))), name).toThrow(SchemaProblem)
    for (const name of ['record', 'n.map', '_', 'A9', '__proto__', 'constructor.toString', 'a.b.c'])
      expect(parseAvro(text(named(name))), name).toMatchObject({ name })
    expect(() => parseAvro(text(named('R', field('n.f', 'int'))))).toThrow(/not a field/)
    expect(() => parseAvro(text({ ...named('R'), namespace: 'a..b' }))).toThrow(/not an Avro namespace/)
    expect(parseAvro(text({ ...named('R'), namespace: null }))).toMatchObject({ name: 'R' })
  })

  it('[R1] fields named like members of objects have defaults of their own', () => {
    const fields = ['__proto__', 'constructor', 'toString'].map((name) => field(name, 'int'))
    const withDefault = (value: string) =>
      `{"type":"record","name":"O","fields":[{"name":"r","type":${text(named('R', ...fields))},"default":${value}}]}`
    expect(() => parseAvro(withDefault('{}'))).toThrow(/invalid default/)
    expect(() => parseAvro(withDefault('{"__proto__":1,"constructor":2}'))).toThrow(/invalid default/)
    const whole = withDefault('{"__proto__":1,"constructor":2,"toString":3}')
    expect(printAvro(parseAvro(whole))).toBe(whole)
    expect(Object.prototype.toString.call({})).toBe('[object Object]')
  })

  it('[R1] a key twice in one object is refused, in whatever spelling; in two objects it is none', () => {
    for (const twice of [
      '{"type":"int","type":"long"}',
      '{"type":"int","typ\\u0065":"long"}',
      '{"type":"int" , "x":[{"a":1,"b":{},"a" :2}]}',
      '{"__proto__":1,"type":"int","__proto__":2}',
    ])
      expect(() => parseAvro(twice), twice).toThrow(/an object has the key "\w+" twice/)
    expect(parseAvro('{"type":"int","x":[{"a":1},{"a":"a:","b":"{\\"a\\":1"}]}').kind).toBe('int')
  })

  it('[R1] comments are white space, as for the JVM; in strings they are text', () => {
    const commented =
      '/* licence: "x" */ {"type": // a record\n"record","name":"R" /**/,"doc":"// no /* comment */","fields":[]}// end'
    expect(printAvro(parseAvro(commented))).toBe('{"type":"record","name":"R","doc":"// no /* comment */","fields":[]}')
    for (const broken of [
      '"int" /* open',
      '"int" /',
      '/',
      '/*/ "int"',
      '"in" /**/ "t"',
      '{"a"/**/:1,"type":"int","a":2}',
    ])
      expect(() => parseAvro(broken), broken).toThrow(SchemaProblem)
  })

  it('[R1] a number keeps its source when a double would not', () => {
    for (const number of ['0', '-1', '999999999999999', '1000000000000000', '9007199254740993', '-9223372036854775808'])
      expect(printAvro(parseAvro(`{"type":"int","x":[${number},"${number}"]}`))).toBe(
        `{"type":"int","x":[${number},"${number}"]}`,
      )
    expect(printAvro(parseAvro('{"type":"int","x":[-0,1.0,1E2,-0.0,1e-7]}'))).toBe(
      '{"type":"int","x":[0,1.0,100.0,-0.0,1.0E-7]}',
    )
    for (const broken of ['01', '1.', '.5', '+1', '1e', '--1', '1-', '0x1'])
      expect(() => parseAvro(`{"type":"int","x":${broken}}`), broken).toThrow(/not JSON/)
  })

  it('[R1] nesting of 20,000 levels is refused and overflows nothing', () => {
    const wrap = (open: string, middle: string, close: string) => open.repeat(20_000) + middle + close.repeat(20_000)
    for (const deep of [
      wrap('[', '"int"', ']'),
      wrap('{"type":"array","items":', '"int"', '}'),
      wrap('{"type":', '"int"', '}'),
      `{"type":"int","x":${wrap('[', '', ']')}}`,
      `{"type":"record","name":"R","fields":[{"name":"a","type":"int","default":${wrap('{"a":', '1', '}')}}]}`,
    ])
      expect(() => parseAvro(deep)).toThrow(/types nest deeper than 64|larger than/)
  })

  it('[R1] refuses bombs by name: text, depth, fields, brackets', () => {
    expect(() => parseAvro(`"${'x'.repeat(256 * 1024)}"`)).toThrow(/larger than 262144 bytes/)
    const nested = (depth: number): unknown => (depth === 1 ? 'int' : { type: 'map', values: nested(depth - 1) })
    expect(parseAvro(text(nested(64))).kind).toBe('map')
    expect(() => parseAvro(text(nested(65)))).toThrow(/deeper than 64/)
    expect(() => parseAvro('['.repeat(100_000))).toThrow(/deeper than 64/)
    expect(() => parseAvro('{"type":'.repeat(30_000))).toThrow(/deeper than 64/)
    const wide = (count: number) => record(...Array.from({ length: count }, (_, i) => ({ name: `f${i}`, type: 'int' })))
    expect(parseAvro(wide(1_000)).kind).toBe('record')
    expect(() => parseAvro(wide(1_001))).toThrow(/more than 1000 fields/)
  })

  it('[R1] brackets and escapes in strings nest nothing', () => {
    expect(parseAvro(text({ type: 'string', doc: '[[[{{{\\"'.repeat(500) })).kind).toBe('string')
  })

  it('[R1] throws nothing but SchemaProblem on any JSON', () => {
    const seed = SEED
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (input) => {
        try {
          parseAvro(input)
        } catch (error) {
          expect(error, `seed ${seed}: ${input}`).toBeInstanceOf(SchemaProblem)
        }
      }),
      { seed, numRuns: 500 },
    )
  })
})
