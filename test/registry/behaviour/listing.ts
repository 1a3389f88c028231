/**
 * Lists and look-ups by id: `/subjects`, `/schemas`, `/schemas/ids`, `/schemas/types`, filters and paging, `/v1/metadata`, the root.
 * Sources: SubjectsResource.list, SchemasResource, RootResource, ServerMetadataResource of confluentinc/schema-registry.
 */
import {
  delSubject,
  delVersion,
  type Expected,
  fits,
  get,
  id,
  type Names,
  ok,
  post,
  refused,
  register,
  type Scenario,
  type Step,
  scenario,
  setConfig,
  unchecked,
} from '../scenario.ts'

const enc = encodeURIComponent
const noSuchPath = refused(404, 'HTTP 404 Not Found')

/** Four subjects: the second soft deleted whole, the third by its only version, the fourth by one of two. */
function four({ s, rec }: Names): Step[] {
  return [
    ...[0, 1, 2, 3].map((i) => register(s(`s${i}`), rec('R', ['a', 'int']), ok({ id: id('a') }))),
    delSubject(s('s1'), ok([1])),
    delVersion(s('s2'), 1, ok(1)),
    register(s('s3'), rec('R', ['a', 'int'], ['b', 'int', 0]), ok({ id: id('b') })),
    delVersion(s('s3'), 1, ok(1)),
  ]
}

const SUBJECT_LISTS: readonly (readonly [string, readonly number[]])[] = [
  ['', [0, 3]],
  ['&deleted=true', [0, 1, 2, 3]],
  // The fourth has a soft deleted version beside a live one: it is not among the deleted.
  ['&deletedOnly=true', [1, 2]],
  ['&deleted=true&deletedOnly=true', [1, 2]],
  ['&deleted=false', [0, 3]],
  ['&offset=1', [3]],
  ['&limit=1', [0]],
  ['&offset=1&limit=1', [3]],
  ['&deleted=true&offset=1&limit=2', [1, 2]],
  ['&offset=100', []],
  ['&limit=0', [0, 3]],
  ['&limit=-1', [0, 3]],
]

const SCHEMA_LISTS: readonly (readonly [string, readonly string[]])[] = [
  ['', ['s0/1', 's0/2', 's2/1']],
  ['&deleted=true', ['s0/1', 's0/2', 's1/1', 's2/1']],
  ['&latestOnly=true', ['s0/2', 's2/1']],
  ['&latestOnly=true&deleted=true', ['s0/2', 's1/1', 's2/1']],
  ['&offset=1', ['s0/2', 's2/1']],
  ['&limit=2', ['s0/1', 's0/2']],
  ['&offset=1&limit=1', ['s0/2']],
  ['&offset=100', []],
  ['&limit=0', ['s0/1', 's0/2', 's2/1']],
  ['&limit=-5', ['s0/1', 's0/2', 's2/1']],
  ['&aliases=true', ['s0/1', 's0/2', 's2/1']],
]

export const listing: readonly Scenario[] = [
  ...SUBJECT_LISTS.map(([query, expected]) =>
    scenario(`[R1] GET /subjects?subjectPrefix=…${query}`, (n) => [
      ...four(n),
      get(`/subjects?subjectPrefix=${n.tag}${query}`, ok(expected.map((i) => n.s(`s${i}`)))),
    ]),
  ),
  scenario('[R1] GET /subjects lists every subject', ({ s, rec }) => [
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    get('/subjects', ok(fits(`a list with ${s()}`, (list) => Array.isArray(list) && list.includes(s())))),
    get('/subjects?subjectPrefix=no-such-prefix-anywhere', ok([])),
  ]),
  ...SCHEMA_LISTS.map(([query, expected]) =>
    scenario(`[R1] GET /schemas?subjectPrefix=…${query}`, ({ s, rec, tag }) => {
      const schemas: Record<string, string> = {
        's0/1': rec('A', ['a', 'int']),
        's0/2': rec('D', ['a', 'int']),
        's1/1': rec('B', ['a', 'int']),
        's2/1': rec('C', ['a', 'int']),
      }
      return [
        unchecked(s('s0')),
        register(s('s0'), schemas['s0/1']!, ok({ id: id('s0_1') })),
        register(s('s1'), schemas['s1/1']!, ok({ id: id('s1_1') })),
        register(s('s2'), schemas['s2/1']!, ok({ id: id('s2_1') })),
        register(s('s0'), schemas['s0/2']!, ok({ id: id('s0_2') })),
        delVersion(s('s1'), 1, ok(1)),
        get(
          `/schemas?subjectPrefix=${tag}${query}`,
          ok(
            expected.map((name) => {
              const [subject, version] = name.split('/')
              return {
                subject: s(subject),
                version: Number(version),
                id: id(name.replace('/', '_')),
                schemaType: 'AVRO',
                schema: schemas[name],
              }
            }),
          ),
        ),
      ]
    }),
  ),
  ...['/subjects', '/schemas'].flatMap((path) =>
    ['limit=abc', 'offset=abc', 'limit=2147483648', 'limit=1.0'].map((query) =>
      scenario(`[R1] ${path}?${query} is 404: no number`, () => [get(`${path}?${query}`, noSuchPath)]),
    ),
  ),
  scenario('[R1] GET /schemas/ids/{id} is the schema, /schema its JSON, /subjects and /versions who has it', (n) => [
    register(n.s('x'), n.rec('R', ['a', 'int']), ok({ id: id('a') })),
    register(n.s('y'), n.rec('R', ['a', 'int']), ok({ id: id('a') })),
    get('/schemas/ids/{#a}', ok({ schema: n.rec('R', ['a', 'int']), schemaType: 'AVRO' })),
    get('/schemas/ids/{#a}/schema', ok(n.record('R', ['a', 'int']))),
    get('/schemas/ids/{#a}/subjects', ok([n.s('x'), n.s('y')])),
    get(
      '/schemas/ids/{#a}/versions',
      ok([
        { subject: n.s('x'), version: 1 },
        { subject: n.s('y'), version: 1 },
      ]),
    ),
  ]),
  scenario('[R1] GET /schemas with aliases shows subjects whose other names have the prefix, and these names', (n) => {
    const shown = (versions: number, names: readonly string[]) =>
      ok(
        Array.from({ length: versions }, (_, i) => ({ subject: n.s('real'), version: i + 1, aliases: names.map(n.s) })),
      )
    const listed = (prefix: string, expected: Expected, query = '&aliases=true') =>
      get(`/schemas?subjectPrefix=${n.s(prefix)}${query}`, expected)
    return [
      register(n.s('real'), n.rec('R', ['a', 'int']), ok({ id: id('a') })),
      register(n.s('real'), n.rec('R', ['a', 'int'], ['b', 'int', 0]), ok({ id: id('b') })),
      setConfig(n.s('other1'), { alias: n.s('real') }, ok({ alias: n.s('real') })),
      listed('other', shown(2, ['other1'])),
      listed('other', ok([]), ''),
      setConfig(n.s('other2'), { alias: n.s('real') }, ok({ alias: n.s('real') })),
      listed('other', shown(2, ['other1', 'other2'])),
      listed('other2', shown(2, ['other2'])),
      listed('real', ok(fits('no aliases', (list) => (list as object[]).every((one) => !('aliases' in one))))),
    ]
  }),
  scenario('[R1] an answer tells when the record was written, and whether it is deleted', ({ s, rec }) => {
    const when = fits('a time', (ts) => Number.isSafeInteger(ts) && (ts as number) > 1_500_000_000_000)
    return [
      register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
      get('/schemas/ids/{#a}', ok({ ts: when, deleted: false })),
      get(`/subjects/${s()}/versions/1`, ok({ ts: when, deleted: false })),
      get(`/schemas?subjectPrefix=${s()}`, ok([{ ts: when, deleted: false }])),
      delVersion(s(), 1, ok(1)),
      get(`/subjects/${s()}/versions/1?deleted=true`, ok({ ts: when, deleted: true })),
    ]
  }),
  scenario('[R1] subject in the query helps to find an id and filters nothing', ({ s, rec }) => [
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    ...[s(), s('other')].flatMap((subject) => [
      get(`/schemas/ids/{#a}?subject=${enc(subject)}`, ok({ schema: rec('R', ['a', 'int']) })),
      get(`/schemas/ids/{#a}/subjects?subject=${enc(subject)}`, ok([s()])),
      get(`/schemas/ids/{#a}/versions?subject=${enc(subject)}`, ok([{ subject: s(), version: 1 }])),
    ]),
  ]),
  scenario('[R1] fetchMaxId shows the highest id there is', ({ s, rec }) => [
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    get(
      '/schemas/ids/{#a}?fetchMaxId=true',
      ok({
        schema: rec('R', ['a', 'int']),
        maxId: fits('a number', (max) => Number.isInteger(max) && (max as number) > 0),
      }),
    ),
  ]),
  scenario('[R1] an unknown format changes nothing', ({ s, rec }) => [
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    get('/schemas/ids/{#a}?format=nope', ok({ schema: rec('R', ['a', 'int']) })),
  ]),
  ...['0', '-1', '2147483647'].map((unknown) =>
    scenario(`[R1] id ${unknown} is 40403: no such schema`, () => [
      get(`/schemas/ids/${unknown}`, refused(40403, `Schema ${unknown} not found`)),
      // Confluent 7.9 answers 500 here, which helps nobody; 8.x says that it is not found.
      get(`/schemas/ids/${unknown}/schema`, refused(40403, `Schema ${unknown} not found`)),
      get(`/schemas/ids/${unknown}/subjects`, refused(40403, 'Schema not found')),
      get(`/schemas/ids/${unknown}/versions`, refused(40403, 'Schema not found')),
    ]),
  ),
  ...['abc', '1.5', '2147483648', '99999999999999999999', '%20'].map((text) =>
    scenario(`[R1] id ${text} is 404: no number`, () =>
      ['', '/schema', '/subjects', '/versions'].map((path) => get(`/schemas/ids/${text}${path}`, noSuchPath)),
    ),
  ),
  scenario('[R1] GET /schemas/types names AVRO', () => [
    get('/schemas/types', ok(fits('a list with AVRO', (list) => Array.isArray(list) && list.includes('AVRO')))),
  ]),
  scenario('[R1] the root is an empty object, by GET and by POST', () => [
    get('/', { status: 200, exact: true, body: {} }),
    post('/', { status: 200, exact: true, body: {} }, {}),
    post('/', { status: 200, exact: true, body: {} }, { a: 'b' }),
  ]),
  scenario('[R1] GET /v1/metadata/id names the cluster', () => [
    get(
      '/v1/metadata/id',
      ok({
        scope: {
          path: [],
          clusters: { 'kafka-cluster': fits('a name', isText), 'schema-registry-cluster': fits('a name', isText) },
        },
      }),
    ),
  ]),
  scenario('[R1] GET /v1/metadata/version names the version and the commit', () => [
    get('/v1/metadata/version', ok({ version: fits('a version', isText), commitId: fits('a commit', isText) })),
  ]),
]

function isText(value: unknown): boolean {
  return typeof value === 'string' && value !== ''
}
