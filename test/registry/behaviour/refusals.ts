/**
 * What no registration or look-up takes, and in which words Confluent Platform says so: schemas, bodies, ids, names.
 * Sources: SubjectVersionsResource, SubjectsResource, AbstractSchemaRegistry and Errors of confluentinc/schema-registry.
 */
import {
  id,
  lookUp,
  ok,
  post,
  refused,
  register,
  type Scenario,
  scenario,
  setConfig,
  V1_JSON,
  versions,
} from '../scenario.ts'

/** Confluent puts the schema, its references and the reason into one sentence. */
const invalid = (details: RegExp = /.+/) =>
  refused(
    42201,
    new RegExp(`^Invalid schema [\\s\\S]* with refs \\[[\\s\\S]*\\] of type AVRO, details: ${details.source}`),
  )
const NULL_BODY = /^\w+\.arg\d+ must not be null( \(was null\))?$/

const BAD_SCHEMAS: readonly (readonly [string, string])[] = [
  ['a record without fields', '{"type":"record","name":"X"}'],
  ['an unknown type', '{"type":"nosuchtype"}'],
  ['JSON that ends early', '{"type":"record",'],
  ['no JSON', 'message M { }'],
  ['a name that begins with a digit', '{"type":"record","name":"1X","fields":[]}'],
  ['a field name that begins with a digit', '{"type":"record","name":"R","fields":[{"name":"1a","type":"int"}]}'],
  ['a field twice', '{"type":"record","name":"X","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}'],
  ['a union in a union', '["null",["int"]]'],
  ['a union of a type twice', '["int","int"]'],
  ['an empty name', '""'],
  ['no type', '{}'],
  ['an array without items', '{"type":"array"}'],
  ['a map without values', '{"type":"map"}'],
  ['a name nobody defined', '{"type":"map","values":"nope"}'],
  ['a fixed without size', '{"type":"fixed","name":"F"}'],
  ['a fixed whose size is text', '{"type":"fixed","name":"F","size":"4"}'],
  ['an enum symbol twice', '{"type":"enum","name":"E","symbols":["A","A"]}'],
  ['an enum without symbols', '{"type":"enum","name":"E"}'],
  ['an enum default that is no symbol', '{"type":"enum","name":"E","symbols":["A"],"default":"B"}'],
  ['an enum symbol that begins with a digit', '{"type":"enum","name":"E","symbols":["1A"]}'],
  ['a record named like a primitive', '{"type":"record","name":"int","fields":[]}'],
  [
    'a name defined twice',
    '{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"record","name":"R","fields":[]}}]}',
  ],
  ['a field without a name', '{"type":"record","name":"R","fields":[{"type":"int"}]}'],
  ['a field without a type', '{"type":"record","name":"R","fields":[{"name":"a"}]}'],
]

export const refusals: readonly Scenario[] = [
  ...BAD_SCHEMAS.map(([title, schema]) =>
    scenario(`[R1] ${title} is 42201 with the reason, wherever a schema is sent`, ({ s, rec }) => [
      register(s(), schema, invalid()),
      register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
      register(s(), schema, invalid()),
      lookUp(s(), schema, invalid()),
      post(`/compatibility/subjects/${s()}/versions/latest`, invalid(), { schema }),
      post(`/compatibility/subjects/${s()}/versions`, invalid(), { schema }),
      versions(s(), ok([1])),
    ]),
  ),
  ...([{}, { schema: null }, { schema: '' }, { schema: '   ' }] as const).map((body) =>
    scenario(`[R1] ${JSON.stringify(body)} is 42201, empty schema`, ({ s }) => [
      post(`/subjects/${s()}/versions`, refused(42201, 'Empty schema'), body),
    ]),
  ),
  ...[42, true].map((schema) =>
    scenario(`[R1] the schema ${schema} is read as its text and is 42201`, ({ s }) => [
      post(`/subjects/${s()}/versions`, invalid(), { schema }),
    ]),
  ),
  ...['avro', 'JSON5', 'XML', 'Avro'].map((type) =>
    scenario(`[R1] schemaType ${type} is 42201`, ({ s }) => [
      register(s(), '"int"', refused(42201, `Invalid schema type ${type}`), { schemaType: type }),
    ]),
  ),
  ...['[]', '"text"', '42', '{"schema":{"type":"string"}}', '{"schema":"\\"int\\"","references":{}}'].map((raw) =>
    scenario(`[R1] the body ${raw} is 400`, ({ s }) => [
      { ...post(`/subjects/${s()}/versions`, refused(400, /./)), raw },
    ]),
  ),
  ...['{', '{"schema"', 'no json'].map((raw) =>
    scenario(`[R1] a body that is not JSON (${raw}) is 400, on every path that takes one`, ({ s }) =>
      [
        ['POST', `/subjects/${s()}/versions`],
        ['POST', `/subjects/${s()}`],
        ['POST', `/compatibility/subjects/${s()}/versions`],
        ['PUT', `/config/${s()}`],
        ['PUT', `/mode/${s()}`],
      ].map(([method, path]) => ({ method: method!, path: path!, raw, expected: refused(400, /./) })),
    ),
  ),
  scenario('[R1] an empty body is 422, on every path that takes one', ({ s }) =>
    [
      ['POST', `/subjects/${s()}/versions`],
      ['POST', `/subjects/${s()}`],
      ['POST', `/compatibility/subjects/${s()}/versions`],
      ['PUT', `/config/${s()}`],
      ['PUT', `/mode/${s()}`],
    ].map(([method, path]) => ({
      method: method!,
      path: path!,
      raw: '',
      headers: { 'content-type': V1_JSON },
      expected: refused(422, NULL_BODY),
    })),
  ),
  ...['__GLOBAL', '__EMPTY'].map((subject) =>
    scenario(`[R1] subject ${subject} is 42208`, () => {
      const message = `The specified subject '${subject}' is not a valid.`
      return [
        register(subject, '"int"', refused(42208, message)),
        setConfig(subject, { compatibility: 'NONE' }, refused(42208, message)),
        {
          method: 'PUT',
          path: `/mode/${subject}`,
          body: { mode: 'READWRITE' },
          expected: refused(42208, message),
        },
      ]
    }),
  ),
  scenario('[R1] a subject with a control character is 42208 for writes, unknown for reads', ({ s }) => {
    const subject = s('tab\there')
    const message = `The specified subject '${subject}' is not a valid.`
    return [
      register(subject, '"int"', refused(42208, message)),
      versions(subject, refused(40401, `Subject '${subject}' not found.`)),
      setConfig(subject, { compatibility: 'NONE' }, refused(42208, message)),
    ]
  }),
]
