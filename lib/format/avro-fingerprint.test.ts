/**
 * Fingerprints of the Parsing Canonical Form against those of Avro's JVM library (1.12), and the rules of the form one by one.
 */
import { describe, expect, it } from 'vitest'
import { crc64Avro, fingerprint, parsingCanonicalForm } from './avro-fingerprint.ts'

const known: readonly (readonly [string, string, string, string])[] = [
  [
    '"null"',
    '63dd24e7cc258f8a',
    '9b41ef67651c18488a8b08bb67c75699',
    'f072cbec3bf8841871d4284230c5e983dc211a56837aed862487148f947d1a1f',
  ],
  [
    '"boolean"',
    '9f42fc78a4d4f764',
    '01f692b30d4a1c8a3e600b1440637f8f',
    'a5b031ab62bc416d720c0410d802ea46b910c4fbe85c50a946ccc658b74e677e',
  ],
  [
    '"int"',
    '7275d51a3f395c8f',
    'ef524ea1b91e73173d938ade36c1db32',
    '3f2b87a9fe7cc9b13835598c3981cd45e3e355309e5090aa0933d7becb6fba45',
  ],
  [
    '"long"',
    'd054e14493f41db7',
    'e1dd9a1ef98b451b53690370b393966b',
    'c32c497df6730c97fa07362aa5023f37d49a027ec452360778114cf427965add',
  ],
  [
    '"float"',
    '4d7c02cb3ea8d790',
    '50a6b9db85da367a6d2df400a41758a6',
    '1e71f9ec051d663f56b0d8e1fc84d71aa56ccfe9fa93aa20d10547a7abeb5cc0',
  ],
  [
    '"double"',
    '8e7535c032ab957e',
    'bfc71a62f38b99d6a93690deeb4b3af6',
    '730a9a8c611681d7eef442e03c16c70d13bca3eb8b977bb403eaff52176af254',
  ],
  [
    '"bytes"',
    '4fc016dac3201965',
    'b462f06cb909be57c85008867784cde6',
    '9ae507a9dd39ee5b7c7e285da2c0846521c8ae8d80feeae5504e0c981d53f5fa',
  ],
  [
    '"string"',
    '8f014872634503c7',
    '095d71cf12556b9d5e330ad575b3df5d',
    'e9e5c1c9e4f6277339d1bcde0733a59bd42f8731f449da6dc13010a916930d48',
  ],
  [
    '[]',
    'eec6e173d23fb9d1',
    'd751713988987e9331980363e24189ce',
    '4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945',
  ],
  [
    '["int"]',
    'b763638a48b2fb03',
    '9113bdd17a9ca5ce5ce0d32131e86fbb',
    'c511da579364be932435a248bf3f04254e5c257664551ad10ac69cdc4170a098',
  ],
  [
    '{"fields":[],"type":"record","name":"foo"}',
    'bd0c50c84319be7e',
    'aea8d9d0e93c3a26749ee0373dc49d35',
    'ac35c07ecd88fe52d0a310135a01329b012c45ade36dd8b4880effb55b7f725c',
  ],
  [
    '{"type":"record","name":"foo","namespace":"x.y","doc":"d","fields":[{"name":"f1","type":"boolean"}]}',
    '1e5d36a27e8ed2cd',
    '32111558a5d5c4bc58127997b17fcd3b',
    '125fc2b668c848a98d5d9c4f2e2ca66720d6ae9715c19805eeca8fecec0ae667',
  ],
  [
    '{"namespace":"x.y","type":"enum","name":"foo","symbols":["A1"]}',
    'b7148199326fbb2c',
    '08445b44a23ec0091e53625ecc8347b4',
    '690591be09f316fc27235926706ed4674c3a9282f55978ad7623e0655e09ecbc',
  ],
  [
    '{"name":"foo","type":"fixed","doc":"foo","size":32}',
    '18acbd69110718d0',
    '22adf3ffe1b94abe7cf9f0f728c900a7',
    '82d4342b8a54280b28b0788bc14f3412c4040a64756755483c9c0148fd9b1576',
  ],
  [
    '{"values":"string","type":"map"}',
    '86ce965d92864572',
    'a236344d3b2bbe2cc09439868bfc7168',
    '52bf173d92fa85cec682a0ad4186c96c9f5147e4881bd1c7154dba8bb4515297',
  ],
]

describe('fingerprints', () => {
  it.each(known)('[R2] of %s', (schema, crc, md5, sha) => {
    const form = parsingCanonicalForm(schema)
    expect(fingerprint(form, 'CRC-64-AVRO')).toBe(crc)
    expect(fingerprint(form, 'MD5')).toBe(md5)
    expect(fingerprint(form, 'SHA-256')).toBe(sha)
  })

  it('[R2] the fingerprint of nothing is the constant of the specification', () => {
    expect(crc64Avro(new Uint8Array())).toBe(0xc15d213aa4d7a795n)
  })
})

describe('the canonical form', () => {
  const rules: readonly (readonly [string, string, string])[] = [
    ['PRIMITIVES', '{"type":"int"}', '"int"'],
    [
      'FULLNAMES',
      '{"type":"record","name":"R","namespace":"a.b","fields":[{"name":"e","type":{"type":"enum","name":"E","symbols":["X"]}},{"name":"f","type":["null","E"]}]}',
      '{"name":"a.b.R","type":"record","fields":[{"name":"e","type":{"name":"a.b.E","type":"enum","symbols":["X"]}},{"name":"f","type":["null","a.b.E"]}]}',
    ],
    [
      'STRIP',
      '{"type":"enum","name":"E","doc":"d","aliases":["F"],"default":"X","owner":1,"symbols":["X"]}',
      '{"name":"E","type":"enum","symbols":["X"]}',
    ],
    [
      'STRIP, in fields and logical types',
      '{"type":"record","name":"R","fields":[{"name":"a","doc":"d","default":0,"order":"ignore","aliases":["b"],"type":{"type":"long","logicalType":"timestamp-millis"}}]}',
      '{"name":"R","type":"record","fields":[{"name":"a","type":"long"}]}',
    ],
    ['ORDER', '{"size":4,"name":"F","type":"fixed"}', '{"name":"F","type":"fixed","size":4}'],
    ['STRINGS', '{"typ\\u0065":"fixed","name":"\\u0046","size":4}', '{"name":"F","type":"fixed","size":4}'],
    ['WHITESPACE', ' {\n"type" :\t"map" , "values" : "int" } ', '{"type":"map","values":"int"}'],
  ]
  it.each(rules)('[R2] %s', (_rule, schema, form) => {
    expect(parsingCanonicalForm(schema)).toBe(form)
    expect(parsingCanonicalForm(form)).toBe(form)
  })

  it('[R2] a referenced type stands in full at its first use', () => {
    expect(parsingCanonicalForm('["null","n.F"]', ['{"type":"fixed","name":"n.F","size":2}'])).toBe(
      '["null",{"name":"n.F","type":"fixed","size":2}]',
    )
  })

  it('[R2] every rule at once', () => {
    const schema = JSON.stringify({
      type: 'record',
      name: 'R',
      namespace: 'x.y',
      doc: 'd',
      aliases: ['Q'],
      fields: [
        { name: 'e', type: { type: 'enum', name: 'E', symbols: ['A', 'B'], default: 'A' }, default: 'A' },
        { name: 'f', type: { type: 'fixed', name: 'other.F', size: 4 } },
        { name: 'l', type: ['null', { type: 'array', items: { type: 'long', logicalType: 'timestamp-millis' } }] },
        { name: 'm', type: { type: 'map', values: 'E' } },
      ],
    })
    const canonical =
      '{"name":"x.y.R","type":"record","fields":[{"name":"e","type":{"name":"x.y.E","type":"enum","symbols":["A","B"]}},' +
      '{"name":"f","type":{"name":"other.F","type":"fixed","size":4}},{"name":"l","type":["null",{"type":"array","items":"long"}]},' +
      '{"name":"m","type":{"type":"map","values":"x.y.E"}}]}'
    expect(parsingCanonicalForm(schema)).toBe(canonical)
    expect(parsingCanonicalForm(canonical)).toBe(canonical)
    expect(parsingCanonicalForm('{"type":"int"}')).toBe('"int"')
  })
})
