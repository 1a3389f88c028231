/**
 * Contexts: ids and lists of their own, addresses of their own, what is found in them without being named, settings of all of them.
 * Sources: ContextFilter, QualifiedSubject, the …UsingContexts of AbstractSchemaRegistry, RestApiContextTest of confluentinc/schema-registry.
 */
import {
  config,
  fits,
  get,
  globalScenario,
  id,
  lookUp,
  mode,
  type Names,
  ok,
  put,
  refused,
  register,
  type Scenario,
  scenario,
  setConfig,
  setMode,
  version,
  versions,
} from '../scenario.ts'

const enc = encodeURIComponent
/** A context that nobody else uses, and a subject in it. */
const contextOf = ({ tag }: Names, name = '') => `.${tag}${name}`
const inContext = (n: Names, name: string, context = '') => `:${contextOf(n, context)}:${name}`
const listed = (prefix: string, expected: readonly string[]) =>
  get(`/subjects?subjectPrefix=${enc(prefix)}`, ok(expected))

export const contexts: readonly Scenario[] = [
  scenario('[R1] a prefix without a context asks in the default one, :.c: in that one, :*: in every one', (n) => {
    const [plain, other] = [n.s(), inContext(n, n.s())]
    const found = (prefix: string, expected: readonly string[]) => [
      listed(prefix, expected),
      get(`/schemas?subjectPrefix=${enc(prefix)}`, ok(expected.map((subject) => ({ subject })))),
    ]
    return [
      register(plain, n.rec('R', ['a', 'int']), ok({ id: id('plain') })),
      register(other, n.rec('S', ['a', 'int']), ok({ id: fits('the first id of a context', (first) => first === 1) })),
      ...found(plain, [plain]),
      ...found(inContext(n, ''), [other]),
      ...found(`:*:${plain}`, [other, plain]),
      get('/subjects?subjectPrefix=', ok(fits(`no ${other}`, (list) => !(list as string[]).includes(other)))),
      get('/subjects', ok(fits(`both`, (list) => [plain, other].every((name) => (list as string[]).includes(name))))),
      get(
        '/schemas',
        ok(fits(`no ${other}`, (list) => (list as { subject: string }[]).every(({ subject }) => subject !== other))),
      ),
    ]
  }),
  scenario('[R1] an address names its context as c, .c or :.c:, the default one as :.:', (n) => {
    const [plain, other] = [n.s(), inContext(n, n.s())]
    const at = (context: string) => `/contexts/${enc(context)}`
    return [
      register(plain, n.rec('R', ['a', 'int']), ok({ id: id('plain') })),
      register(other, n.rec('S', ['a', 'int']), ok({})),
      ...[contextOf(n).slice(1), contextOf(n), inContext(n, '')].flatMap((context) => [
        get(`${at(context)}/subjects`, ok([other])),
        get(`${at(context)}/subjects/${plain}/versions/1`, ok({ subject: other, id: 1 })),
      ]),
      get(`${at(':.:')}/subjects/${plain}/versions/1`, ok({ subject: plain })),
      get(`${at(':.:')}/subjects?subjectPrefix=${plain}`, ok([plain])),
      get(`${at('a:b')}/subjects`, refused(400, 'Context name cannot contain a colon')),
    ]
  }),
  scenario('[R1] a version or a schema asked for without its context is found in the one that holds it', (n) => {
    const [plain, other] = [n.s(), inContext(n, n.s())]
    const schema = n.rec('R', ['a', 'int'])
    return [
      register(other, schema, ok({ id: 1 })),
      ...['1', 'latest'].map((at) => version(plain, at, ok({ subject: other, version: 1, schema }))),
      version(plain, '1/schema', ok(JSON.parse(schema))),
      version(plain, '1/referencedby', ok([])),
      lookUp(plain, schema, ok({ subject: other, version: 1 })),
      // Lists and settings are those of the name itself.
      versions(plain, refused(40401, `Subject '${plain}' not found.`)),
      version(inContext(n, n.s(), 'x'), 1, refused(40401, `Subject '${inContext(n, n.s(), 'x')}' not found.`)),
      // As soon as the default context holds it, it is that one.
      register(plain, n.rec('S', ['a', 'int']), ok({ id: id('plain') })),
      version(plain, 1, ok({ subject: plain, id: id('plain') })),
      // A version that it does not have is still looked for.
      register(other, n.rec('R', ['a', 'int'], ['b', 'int', 0]), ok({ id: 2, version: 2 })),
      version(plain, 2, ok({ subject: other, version: 2 })),
      version(plain, 3, refused(40402, 'Version 3 not found.')),
    ]
  }),
  globalScenario('[R1] settings of :.__GLOBAL: hold where nothing nearer is set', (n) => {
    const everywhere = ':.__GLOBAL:'
    const other = inContext(n, 'a')
    return [
      setConfig(everywhere, { compatibility: 'NONE' }, ok({ compatibility: 'NONE' })),
      ...[null, n.s(), other].map((name) => config(name, ok({ compatibilityLevel: 'NONE' }), '?defaultToGlobal=true')),
      config(null, ok({ compatibilityLevel: 'BACKWARD' })),
      setConfig(inContext(n, ''), { compatibility: 'FULL' }, ok({ compatibility: 'FULL' })),
      config(other, ok({ compatibilityLevel: 'FULL' }), '?defaultToGlobal=true'),
      put('/config', ok({ compatibility: 'FORWARD' }), { compatibility: 'FORWARD' }),
      config(n.s(), ok({ compatibilityLevel: 'FORWARD' }), '?defaultToGlobal=true'),
      { method: 'DELETE', path: '/config', expected: ok({ compatibilityLevel: 'FORWARD' }) },
      { method: 'DELETE', path: `/config/${everywhere}`, expected: ok({ compatibilityLevel: 'NONE' }) },
      setMode(everywhere, { mode: 'READONLY' }, ok({ mode: 'READONLY' })),
      mode(n.s(), ok({ mode: 'READONLY' }), '?defaultToGlobal=true'),
      register(n.s(), n.rec('R', ['a', 'int']), refused(42205, /is in read-only mode$/)),
      { method: 'DELETE', path: `/mode/${everywhere}`, expected: ok({ mode: 'READONLY' }) },
      register(n.s(), n.rec('R', ['a', 'int']), ok({ id: id('a') })),
      register(`${everywhere}a`, n.rec('R', ['a', 'int']), refused(42208, /is not a valid\.$/)),
    ]
  }),
]
