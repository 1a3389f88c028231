/**
 * Registration and look-up, as Confluent Platform answers: ids, versions, bodies, what makes two schemas one.
 * Sources: SubjectVersionsResource, SubjectsResource, AbstractSchemaRegistry and Errors of confluentinc/schema-registry.
 */
import {
  config,
  fits,
  get,
  id,
  lookUp,
  ok,
  post,
  refused,
  register,
  type Scenario,
  scenario,
  setConfig,
  unchecked,
  version,
  versions,
} from '../scenario.ts'

const enc = encodeURIComponent
const REGISTRATION: readonly Scenario[] = [
  scenario('[R1] a first registration gives version 1, a second schema version 2, ids grow', ({ s, rec }) => [
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    register(s(), rec('R', ['a', 'int'], ['b', 'int', 0]), ok({ id: id('b') })),
    versions(s(), ok([1, 2])),
  ]),
  scenario('[R1] registering again gives the same id and no new version', ({ s, rec }) => [
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    versions(s(), ok([1])),
  ]),
  scenario('[R1] the same schema has one id across subjects, and own version numbers there', ({ s, rec }) => [
    register(s('x'), rec('R', ['a', 'int']), ok({ id: id('a') })),
    register(s('y'), rec('R', ['a', 'int'], ['b', 'int', 0]), ok({ id: id('b') })),
    unchecked(s('y')),
    register(s('y'), rec('R', ['a', 'int']), ok({ id: id('a') })),
    version(s('y'), 2, ok({ subject: s('y'), version: 2, id: id('a') })),
  ]),
  scenario(
    '[R1] an older schema of the subject registers again as what it is, whatever the level says',
    ({ s, rec }) => [
      register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
      register(s(), rec('R', ['a', 'int'], ['b', 'int', 0]), ok({ id: id('b') })),
      setConfig(s(), { compatibility: 'FORWARD' }, ok({ compatibility: 'FORWARD' })),
      register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
      versions(s(), ok([1, 2])),
    ],
  ),
  scenario('[R1] a version shows subject, version, id, schemaType and schema', ({ s, rec }) => [
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    ...[1, 'latest', '-1'].map((at) =>
      version(
        s(),
        at,
        ok({ subject: s(), version: 1, id: id('a'), schemaType: 'AVRO', schema: rec('R', ['a', 'int']) }),
      ),
    ),
  ]),
  scenario('[R1] /versions/{v}/schema is the schema itself', (n) => [
    register(n.s(), n.rec('R', ['a', 'int']), ok({ id: id('a') })),
    ...['1', 'latest', '-1'].map((at) => version(n.s(), `${at}/schema`, ok(n.record('R', ['a', 'int'])))),
  ]),
  scenario('[R1] a primitive schema is stored and shown as such', ({ s }) => [
    register(s(), '"string"', ok({ id: id('a') })),
    version(s(), 1, ok({ schema: '"string"' })),
    version(s(), '1/schema', ok('string')),
  ]),
  scenario('[R1] look-up answers with the version under which the subject has the schema', ({ s, rec }) => [
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    register(s(), rec('R', ['a', 'int'], ['b', 'int', 0]), ok({ id: id('b') })),
    lookUp(
      s(),
      rec('R', ['a', 'int']),
      ok({ subject: s(), version: 1, id: id('a'), schemaType: 'AVRO', schema: rec('R', ['a', 'int']) }),
    ),
    lookUp(s(), rec('R', ['a', 'int'], ['b', 'int', 0]), ok({ version: 2, id: id('b') })),
  ]),
  scenario('[R1] look-up of an unknown subject is 40401, of an unknown schema 40403', ({ s, rec }) => [
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    lookUp(s('none'), rec('R', ['a', 'int']), refused(40401, `Subject '${s('none')}' not found.`)),
    lookUp(s(), rec('R', ['a', 'long']), refused(40403, 'Schema not found')),
    // Known under another subject, not under this one.
    register(s('other'), rec('R', ['a', 'long']), ok({ id: id('b') })),
    lookUp(s(), rec('R', ['a', 'long']), refused(40403, 'Schema not found')),
  ]),
  scenario('[R1] look-up registers nothing', ({ s, rec }) => [
    lookUp(s(), rec('R', ['a', 'int']), refused(40401, `Subject '${s()}' not found.`)),
    versions(s(), refused(40401, `Subject '${s()}' not found.`)),
  ]),
  ...['versions', 'versions/1', 'versions/latest', 'versions/1/schema', 'versions/1/referencedby'].map((path) =>
    scenario(`[R1] GET of ${path} of an unknown subject is 40401`, ({ s }) => [
      get(`/subjects/${s()}/${path}`, refused(40401, `Subject '${s()}' not found.`)),
    ]),
  ),
  ...['', '/schema', '/referencedby'].map((path) =>
    scenario(`[R1] GET of an unknown version${path} is 40402`, ({ s, rec }) => [
      register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
      version(s(), `2${path}`, refused(40402, 'Version 2 not found.')),
      version(s(), `2147483647${path}`, refused(40402, 'Version 2147483647 not found.')),
    ]),
  ),
  ...['0', '-2', 'abc', '1.0', '2147483648', '99999999999', 'earliest'].map((at) =>
    scenario(`[R1] version '${at}' is 42202, also where the subject is unknown`, ({ s, rec }) => {
      const message = `The specified version '${at}' is not a valid version id. Allowed values are between [1, 2^31-1] and the string "latest"`
      return [
        version(s(), at, refused(42202, message)),
        register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
        version(s(), at, refused(42202, message)),
        version(s(), `${at}/schema`, refused(42202, message)),
      ]
    }),
  ),
  scenario("[R1] a version may be written 'LATEST', '01' or '+1'", ({ s, rec }) => [
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    ...['LATEST', 'Latest', '01', '+1'].map((at) => version(s(), at, ok({ version: 1, id: id('a') }))),
  ]),
  scenario('[R1] a body may name version -1 or 0 and id -1: not given', ({ s, rec }) => [
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') }), { version: 0, id: -1 }),
    versions(s(), ok([1])),
  ]),
  scenario('[R1] a version in the body that is not the next one is 42201', ({ s, rec }) => [
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    register(
      s(),
      rec('R', ['a', 'int'], ['b', 'int', 0]),
      refused(42201, 'Version is not one more than previous version'),
      { version: 5 },
    ),
    versions(s(), ok([1])),
  ]),
  scenario('[R1] an id in the body is refused outside IMPORT, unless it is the one the schema has', ({ s, rec }) => [
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') }), { id: '{#a}' }),
    register(
      s('other'),
      rec('S', ['a', 'int']),
      refused(42205, new RegExp(`^Subject ${s('other')}( in context \\S*)? is not in import mode$`)),
      { id: 987_655 },
    ),
  ]),
  scenario('[R1] unknown fields, null references, null metadata and null ruleSet change nothing', ({ s, rec }) => [
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') }), { unknownField: 1 }),
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') }), { references: null, metadata: null, ruleSet: null }),
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') }), { references: [], schemaType: 'AVRO' }),
    versions(s(), ok([1])),
  ]),
  scenario('[R1] empty metadata and rules are some, unlike none: registered once, and handed on', ({ s, rec }) => [
    ...['x', 'y'].flatMap((name) => [
      register(s(name), rec('R', ['a', 'int']), ok({ id: id('a') }), { metadata: {}, ruleSet: { domainRules: [] } }),
      versions(s(name), ok([1])),
    ]),
    version(s('x'), 1, ok({ metadata: {}, ruleSet: {} })),
    register(s('x'), rec('R', ['a', 'int']), ok({ id: id('a') })),
    lookUp(s('x'), rec('R', ['a', 'int']), ok({ version: 1, id: id('a') })),
    versions(s('x'), ok([1])),
  ]),
  scenario('[R1] a rule has a kind, a mode and a type, or it is 42210', ({ s, rec }) => {
    const rules = (list: string, rule: object) => ({ ruleSet: { [list]: [rule] } })
    const wrong = (reason: string, list: string, rule: object) =>
      register(s(), rec('R', ['a', 'int']), refused(42210, reason), rules(list, rule))
    return [
      wrong('Missing rule name', 'domainRules', { type: 'CEL' }),
      wrong('Empty rule name', 'domainRules', { name: '', type: 'CEL' }),
      wrong('Illegal initial character in rule name: 1st', 'domainRules', { name: '1st', type: 'CEL' }),
      wrong('Illegal character in rule name: a b', 'domainRules', { name: 'a b', type: 'CEL' }),
      wrong('Missing rule type', 'domainRules', { name: 'check' }),
      wrong('Migration rules can only be UPGRADE, DOWNGRADE, UPDOWN', 'migrationRules', { name: 'up', type: 'CEL' }),
      ...['Domain', 'Encoding'].map((kind) =>
        wrong(`${kind} rules can only be WRITE, READ, WRITEREAD`, `${kind.toLowerCase()}Rules`, {
          ...{ name: 'up', type: 'CEL', mode: 'UPGRADE' },
        }),
      ),
      register(
        s(),
        rec('R', ['a', 'int']),
        ok({
          id: id('a'),
          ...rules('domainRules', {
            ...{ name: 'check', kind: 'TRANSFORM', mode: 'WRITEREAD', type: 'CEL', disabled: false },
          }),
        }),
        rules('domainRules', { name: 'check', type: 'CEL' }),
      ),
    ]
  }),
  scenario('[R1] metadata is kept and shown, or refused by its name', ({ s, rec }) => [
    register(
      s(),
      rec('R', ['a', 'int']),
      {
        ...ok({ id: id('a'), metadata: { properties: { owner: 'x' } } }),
        or: { status: 422, exact: false, body: { message: /metadata/ } },
      },
      { metadata: { properties: { owner: 'x' } } },
    ),
  ]),
]

/** Spellings of one schema; the last member says whether plain registration takes them for one. */
const SPELLINGS: readonly (readonly [string, (tag: string) => readonly [string, string]])[] = [
  [
    'white space',
    (tag) => [
      `{"type":"record","name":"${tag}","fields":[]}`,
      `{ "type" : "record",\n "name": "${tag}", "fields" : [ ] }`,
    ],
  ],
  [
    'order of attributes',
    (tag) => [`{"type":"record","name":"${tag}","fields":[]}`, `{"fields":[],"name":"${tag}","type":"record"}`],
  ],
  [
    'name with namespace and full name',
    (tag) => [
      `{"type":"record","name":"${tag}","namespace":"acme","fields":[]}`,
      `{"type":"record","name":"acme.${tag}","fields":[]}`,
    ],
  ],
  [
    'a primitive as an object',
    (tag) => [
      `{"type":"record","name":"${tag}","fields":[{"name":"a","type":"long"}]}`,
      `{"type":"record","name":"${tag}","fields":[{"name":"a","type":{"type":"long"}}]}`,
    ],
  ],
]

const SAMENESS: readonly Scenario[] = [
  ...SPELLINGS.map(([title, spell]) =>
    scenario(`[R1] one schema, one id: ${title}`, ({ s, tag }) => {
      const [a, b] = spell(`N${tag}`)
      return [
        register(s('x'), a, ok({ id: id('a') })),
        register(s('x'), b, ok({ id: id('a') })),
        register(s('y'), b, ok({ id: id('a') })),
        lookUp(s('x'), b, ok({ version: 1, id: id('a'), schema: a })),
        versions(s('x'), ok([1])),
      ]
    }),
  ),
  scenario('[R1] a doc is a difference: another schema, another id', ({ s, record }) => [
    register(s(), JSON.stringify(record('R', ['a', 'int'])), ok({ id: id('a') })),
    register(s(), JSON.stringify({ ...record('R', ['a', 'int']), doc: 'words' }), ok({ id: id('b') })),
    versions(s(), ok([1, 2])),
  ]),
  scenario('[R1] normalize=true takes properties in another order for the same', ({ s, tag }) => {
    const base = { type: 'record', name: `N${tag}`, fields: [] }
    const a = JSON.stringify({ ...base, 'x-b': 2, 'x-a': 1 })
    const b = JSON.stringify({ ...base, 'x-a': 1, 'x-b': 2 })
    return [
      register(s(), a, ok({ id: id('a') }), {}, '?normalize=true'),
      register(s(), b, ok({ id: id('a') }), {}, '?normalize=true'),
      versions(s(), ok([1])),
      lookUp(s(), a, ok({ version: 1, id: id('a') }), '?normalize=true'),
    ]
  }),
  scenario('[R1] the subject setting normalize does what the query does', ({ s, tag }) => {
    const base = { type: 'record', name: `N${tag}`, fields: [] }
    return [
      setConfig(s(), { normalize: true }, ok({ normalize: true })),
      config(s(), ok({ normalize: true, compatibilityLevel: 'BACKWARD' })),
      register(s(), JSON.stringify({ ...base, 'x-b': 2, 'x-a': 1 }), ok({ id: id('a') })),
      register(s(), JSON.stringify({ ...base, 'x-a': 1, 'x-b': 2 }), ok({ id: id('a') })),
      versions(s(), ok([1])),
    ]
  }),
]

const NAMES = [
  'with space',
  'slash/inside',
  'größe',
  '日本',
  'dots.and-dashes_',
  '%percent',
  'plus+sign',
  'q?mark',
  'hash#tag',
  'trailing ',
  'semi;colon',
  'amp&er',
  'eq=al',
  'quote"d',
  'back\\slash',
  'star*',
  'colon:mid',
  'a'.repeat(300),
]

const SUBJECT_NAMES: readonly Scenario[] = NAMES.map((name) =>
  scenario(`[R1] a percent-encoded subject is one subject: ${name.slice(0, 20)}`, ({ s, rec }) => {
    const subject = s(name)
    return [
      register(subject, rec('R', ['a', 'int']), ok({ id: id('a') })),
      versions(subject, ok([1])),
      version(subject, 1, ok({ subject, version: 1, id: id('a') })),
      lookUp(subject, rec('R', ['a', 'int']), ok({ subject, version: 1 })),
      setConfig(subject, { compatibility: 'NONE' }, ok({ compatibility: 'NONE' })),
      config(subject, ok({ compatibilityLevel: 'NONE' })),
      post(`/compatibility/subjects/${enc(subject)}/versions/latest`, ok({ is_compatible: true }), { schema: '"int"' }),
      get(`/subjects?subjectPrefix=${enc(subject)}`, fitsList(subject)),
    ]
  }),
)

function fitsList(subject: string) {
  return ok(fits(`a list with ${subject}`, (list) => Array.isArray(list) && list.includes(subject)))
}

export const registration: readonly Scenario[] = [...REGISTRATION, ...SAMENESS, ...SUBJECT_NAMES]
