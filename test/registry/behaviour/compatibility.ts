/**
 * Compatibility: verdicts of every level over a history, messages that name what, where and against what, and refusals on registration.
 * Sources: CompatibilityResource, AvroSchema.isCompatible and Difference of confluentinc/schema-registry; the specification's
 * "Schema Resolution".
 */
import {
  delVersion,
  id,
  type Names,
  ok,
  post,
  refused,
  register,
  type Scenario,
  scenario,
  setConfig,
  test,
} from '../scenario.ts'
import { LEVELS } from './settings.ts'

const VERBOSE = '?verbose=true'
const user = (n: Names) => n.rec('User', ['name', 'string'])
const userOfInt = (n: Names) => n.rec('User', ['name', 'int'])
const userAge = (n: Names) => n.rec('User', ['name', 'string'], ['age', 'int', 0])
const userAgeRequired = (n: Names) => n.rec('User', ['name', 'string'], ['age', 'int'])
const at = (level: string) => `{validateFields: 'false', compatibility: '${level}'}`
const older = (version: number, schema: string) => [`{oldSchemaVersion: ${version}}`, `{oldSchema: '${schema}'}`]
const mismatch = (reader: string, writer: string, way: 'new' | 'old') =>
  `{errorType:'TYPE_MISMATCH', description:'The type (path '/fields/0/type') of a field in the ${way} schema does not match with the ${
    way === 'new' ? 'old' : 'new'
  } schema', additionalInfo:'reader type: ${reader} not compatible with writer type: ${writer}'}`
const noDefault = (way: 'new' | 'old') =>
  `{errorType:'READER_FIELD_MISSING_DEFAULT_VALUE', description:'The field 'age' at path '/fields/1' in the ${way} schema has no default value and is missing in the ${
    way === 'new' ? 'old' : 'new'
  } schema', additionalInfo:'age'}`
const incompatible = (subject: string, details: readonly string[]) =>
  refused(
    409,
    `Schema being registered is incompatible with an earlier schema for subject "${subject}", details: [${details.join(', ')}]`,
  )

/** Whether (string) → (int) → (string, age=0) admits a fourth schema with a required age, at each level. */
const REQUIRED_AGE: Readonly<Record<string, boolean>> = {
  NONE: true,
  BACKWARD: true,
  BACKWARD_TRANSITIVE: false,
  FORWARD: true,
  FORWARD_TRANSITIVE: false,
  FULL: true,
  FULL_TRANSITIVE: false,
}

/** Pairs for the single rules: [title, old, new, errorType, path]; fits under BACKWARD when errorType is null. */
const PAIRS: readonly (readonly [string, unknown, unknown, string | null, string])[] = [
  ['int read as long', 'int', 'long', null, ''],
  ['int read as float', 'int', 'float', null, ''],
  ['long read as double', 'long', 'double', null, ''],
  ['long read as int', 'long', 'int', 'TYPE_MISMATCH', '/fields/0/type'],
  ['string read as bytes', 'string', 'bytes', null, ''],
  ['bytes read as string', 'bytes', 'string', null, ''],
  ['int read as string', 'int', 'string', 'TYPE_MISMATCH', '/fields/0/type'],
  ['a type read as a union with it', 'int', ['null', 'int'], null, ''],
  // Avro's releases differ in whether the branch is named.
  ['a union read as one of its types', ['null', 'int'], 'int', 'TYPE_MISMATCH', '/fields/0/type(/0)?'],
  [
    'a union read as a smaller one',
    ['null', 'int', 'string'],
    ['null', 'int'],
    'MISSING_UNION_BRANCH',
    '/fields/0/type/2',
  ],
  ['a union read as a larger one', ['null', 'int'], ['null', 'int', 'string'], null, ''],
  [
    'an enum without a symbol',
    { type: 'enum', name: 'E', symbols: ['A', 'B'] },
    { type: 'enum', name: 'E', symbols: ['A'] },
    'MISSING_ENUM_SYMBOLS',
    '/fields/0/type/symbols',
  ],
  [
    'an enum without a symbol and with a default',
    { type: 'enum', name: 'E', symbols: ['A', 'B'] },
    { type: 'enum', name: 'E', symbols: ['A'], default: 'A' },
    null,
    '',
  ],
  [
    'an enum with one symbol more',
    { type: 'enum', name: 'E', symbols: ['A'] },
    { type: 'enum', name: 'E', symbols: ['A', 'B'] },
    null,
    '',
  ],
  [
    'a fixed of another size',
    { type: 'fixed', name: 'F', size: 4 },
    { type: 'fixed', name: 'F', size: 8 },
    'FIXED_SIZE_MISMATCH',
    '/fields/0/type/size',
  ],
  [
    'a nested record of another name',
    { type: 'record', name: 'In', fields: [] },
    { type: 'record', name: 'Out', fields: [] },
    'NAME_MISMATCH',
    '/fields/0/type/name',
  ],
  [
    'a nested record of another name with the old one as alias',
    { type: 'record', name: 'In', fields: [] },
    { type: 'record', name: 'Out', aliases: ['In'], fields: [] },
    null,
    '',
  ],
  ['items of an array promoted', { type: 'array', items: 'int' }, { type: 'array', items: 'long' }, null, ''],
  [
    'items of an array changed',
    { type: 'array', items: 'int' },
    { type: 'array', items: 'string' },
    'TYPE_MISMATCH',
    '/fields/0/type/items',
  ],
  ['values of a map promoted', { type: 'map', values: 'float' }, { type: 'map', values: 'double' }, null, ''],
  [
    'values of a map changed',
    { type: 'map', values: 'string' },
    { type: 'map', values: 'boolean' },
    'TYPE_MISMATCH',
    '/fields/0/type/values',
  ],
]

export const compatibility: readonly Scenario[] = [
  ...LEVELS.map((level) =>
    scenario(`[R2] ${level} over a history of three: what registers and what does not`, (n) => [
      setConfig(n.s(), { compatibility: 'NONE' }, ok({ compatibility: 'NONE' })),
      register(n.s(), user(n), ok({ id: id('string') })),
      register(n.s(), userOfInt(n), ok({ id: id('int') })),
      register(n.s(), userAge(n), ok({ id: id('age') })),
      setConfig(n.s(), { compatibility: level }, ok({ compatibility: level })),
      test(n.s(), null, userAgeRequired(n), ok({ is_compatible: REQUIRED_AGE[level] })),
      register(
        n.s(),
        userAgeRequired(n),
        REQUIRED_AGE[level] === true
          ? ok({ id: id('required') })
          : refused(
              409,
              new RegExp(`^Schema being registered is incompatible.*\\{oldSchemaVersion: 2\\}.*'${level}'\\}\\]$`),
            ),
      ),
    ]),
  ),
  scenario('[R2] [R4] a refused registration says what, where, against which version and at which level', (n) => [
    register(n.s(), user(n), ok({ id: id('a') })),
    register(
      n.s(),
      userOfInt(n),
      incompatible(n.s(), [mismatch('INT', 'STRING', 'new'), ...older(1, user(n)), at('BACKWARD')]),
    ),
    register(n.s(), userAgeRequired(n), incompatible(n.s(), [noDefault('new'), ...older(1, user(n)), at('BACKWARD')])),
  ]),
  scenario('[R2] [R4] a refused registration lists every reason', (n) => [
    register(n.s(), userOfInt(n), ok({ id: id('a') })),
    register(
      n.s(),
      userAgeRequired(n),
      incompatible(n.s(), [
        mismatch('STRING', 'INT', 'new'),
        noDefault('new'),
        ...older(1, userOfInt(n)),
        at('BACKWARD'),
      ]),
    ),
  ]),
  scenario('[R2] FORWARD asks whether the old reads the new, FULL asks both', (n) => [
    register(n.s(), user(n), ok({ id: id('a') })),
    setConfig(n.s(), { compatibility: 'FORWARD' }, ok({ compatibility: 'FORWARD' })),
    test(n.s(), 'latest', userAgeRequired(n), ok({ is_compatible: true, messages: [] }), VERBOSE),
    test(
      n.s(),
      'latest',
      userOfInt(n),
      ok({ is_compatible: false, messages: [mismatch('STRING', 'INT', 'old'), ...older(1, user(n)), at('FORWARD')] }),
      VERBOSE,
    ),
    setConfig(n.s(), { compatibility: 'FULL' }, ok({ compatibility: 'FULL' })),
    test(
      n.s(),
      'latest',
      userOfInt(n),
      ok({
        is_compatible: false,
        messages: [
          mismatch('STRING', 'INT', 'old'),
          mismatch('INT', 'STRING', 'new'),
          ...older(1, user(n)),
          at('FULL'),
        ],
      }),
      VERBOSE,
    ),
  ]),
  scenario('[R1] messages only when verbose', (n) => [
    register(n.s(), user(n), ok({ id: id('a') })),
    ...['latest', '1', '-1', null].flatMap((version) => [
      test(n.s(), version, userAge(n), { ...ok({ is_compatible: true }), exact: true }),
      test(n.s(), version, userAge(n), ok({ is_compatible: true, messages: [] }), VERBOSE),
      test(n.s(), version, userOfInt(n), { ...ok({ is_compatible: false }), exact: true }),
      test(n.s(), version, userOfInt(n), { ...ok({ is_compatible: false }), exact: true }, '?verbose=false'),
      test(
        n.s(),
        version,
        userOfInt(n),
        ok({
          is_compatible: false,
          messages: [mismatch('INT', 'STRING', 'new'), ...older(1, user(n)), at('BACKWARD')],
        }),
        VERBOSE,
      ),
    ]),
  ]),
  scenario('[R1] with verbose an invalid schema is a message, without it 42201', (n) => [
    register(n.s(), user(n), ok({ id: id('a') })),
    test(n.s(), 'latest', '{"type":"record"}', refused(42201, /^Invalid schema /)),
    test(n.s(), 'latest', '{"type":"record"}', ok({ is_compatible: false, messages: [/^Invalid schema /] }), VERBOSE),
    test(n.s(), null, '{"type":"record"}', ok({ is_compatible: false, messages: [/^Invalid schema /] }), VERBOSE),
  ]),
  scenario('[R1] a subject without versions fits everything; an unknown version of it is 40402', (n) => [
    test(n.s(), null, user(n), ok({ is_compatible: true })),
    test(n.s(), 'latest', user(n), ok({ is_compatible: true })),
    test(n.s(), 1, user(n), refused(40402, 'Version 1 not found.')),
    register(n.s(), user(n), ok({ id: id('a') })),
    test(n.s(), 2, user(n), refused(40402, 'Version 2 not found.')),
    ...['0', 'abc'].map((version) =>
      test(
        n.s(),
        version,
        user(n),
        refused(
          42202,
          `The specified version '${version}' is not a valid version id. Allowed values are between [1, 2^31-1] and the string "latest"`,
        ),
      ),
    ),
    delVersion(n.s(), 1, ok(1)),
    test(n.s(), null, userOfInt(n), ok({ is_compatible: true })),
    test(n.s(), 'latest', userOfInt(n), ok({ is_compatible: true })),
    test(n.s(), 1, userOfInt(n), refused(40402, 'Version 1 not found.')),
  ]),
  scenario('[R1] an empty schema is 42201 here too, unknown fields change nothing', (n) => [
    register(n.s(), user(n), ok({ id: id('a') })),
    post(`/compatibility/subjects/${n.s()}/versions`, refused(42201, 'Empty schema'), {}),
    test(n.s(), 'latest', user(n), ok({ is_compatible: true }), '', { unknown: 1 }),
  ]),
  scenario('[R1] one version is compared with alone, whatever the level says', (n) => [
    setConfig(n.s(), { compatibility: 'NONE' }, ok({ compatibility: 'NONE' })),
    register(n.s(), user(n), ok({ id: id('a') })),
    register(n.s(), userOfInt(n), ok({ id: id('b') })),
    setConfig(n.s(), { compatibility: 'BACKWARD' }, ok({ compatibility: 'BACKWARD' })),
    test(n.s(), 1, userAge(n), ok({ is_compatible: true })),
    test(n.s(), 2, userAge(n), ok({ is_compatible: false })),
    test(n.s(), 'latest', userAge(n), ok({ is_compatible: false })),
    test(n.s(), null, userAge(n), ok({ is_compatible: false })),
    setConfig(n.s(), { compatibility: 'NONE' }, ok({ compatibility: 'NONE' })),
    test(n.s(), 'latest', userAge(n), ok({ is_compatible: true })),
  ]),
  scenario('[R2] the name of the schema is compared', (n) => [
    register(n.s(), n.rec('A', ['a', 'int']), ok({ id: id('a') })),
    register(
      n.s(),
      n.rec('B', ['a', 'int']),
      refused(
        409,
        new RegExp(
          `details: \\[\\{errorType:'NAME_MISMATCH', description:'The name of the schema has changed \\(path '/name'\\)', additionalInfo:'expected: A_${n.tag}'\\}`,
        ),
      ),
    ),
  ]),
  scenario('[R2] a renamed field with its old name as alias fits; without it the new name lacks a default', (n) => {
    const renamed = (aliases: object) =>
      JSON.stringify({ ...n.record('R'), fields: [{ name: 'b', type: 'int', ...aliases }] })
    return [
      register(n.s(), n.rec('R', ['a', 'int']), ok({ id: id('a') })),
      test(n.s(), 'latest', renamed({ aliases: ['a'] }), ok({ is_compatible: true })),
      test(n.s(), 'latest', renamed({}), ok({ is_compatible: false })),
    ]
  }),
  ...PAIRS.map(([title, before, after, type, path]) =>
    scenario(`[R2] ${title} ${type === null ? 'fits' : `is ${type} at ${path}`}`, (n) => [
      register(n.s(), n.rec('R', ['a', before]), ok({ id: id('a') })),
      test(
        n.s(),
        'latest',
        n.rec('R', ['a', after]),
        type === null
          ? ok({ is_compatible: true, messages: [] })
          : ok({ is_compatible: false, messages: [new RegExp(`^\\{errorType:'${type}'.*'${path}'`), /./, /./, /./] }),
        VERBOSE,
      ),
    ]),
  ),
]
