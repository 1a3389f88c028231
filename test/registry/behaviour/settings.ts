/**
 * Settings: compatibility levels and modes, of a subject and of the whole registry, their defaults, scopes and effects.
 * Sources: ConfigResource, ModeResource, RestInvalidCompatibilityException, RestInvalidModeException of confluentinc/schema-registry.
 */
import {
  config,
  del,
  delSubject,
  delVersion,
  fits,
  get,
  globalScenario,
  id,
  lookUp,
  MODES,
  mode,
  ok,
  PERMANENT,
  put,
  refused,
  register,
  type Scenario,
  type Step,
  scenario,
  setConfig,
  setMode,
  test,
  unchecked,
  version,
  versions,
} from '../scenario.ts'

export const LEVELS = [
  'NONE',
  'BACKWARD',
  'BACKWARD_TRANSITIVE',
  'FORWARD',
  'FORWARD_TRANSITIVE',
  'FULL',
  'FULL_TRANSITIVE',
] as const

const noConfig = (s: string) => refused(40408, `Subject '${s}' does not have subject-level compatibility configured`)
const noMode = (s: string) => refused(40409, `Subject '${s}' does not have subject-level mode configured`)
const notFound = (s: string) => refused(40401, `Subject '${s}' not found.`)
const badLevel = refused(
  42203,
  'Invalid compatibility level. Valid values are none, backward, forward, full, backward_transitive, forward_transitive, and full_transitive',
)
const badMode = refused(42204, 'Invalid mode. Valid values are READWRITE, READONLY, and IMPORT.')
/** Since 8.0 the sentences name the context, which is empty here. */
const notPermitted = (s: string, why: string) => refused(42205, new RegExp(`^Subject ${s}( in context \\S*)? ${why}$`))
const readOnly = (s: string) => notPermitted(s, 'is in read-only mode')
const level = (value: string) => ok({ compatibilityLevel: value })
const set = (s: string, value: string) => setConfig(s, { compatibility: value }, ok({ compatibility: value }))
const enter = (s: string, value: string, query = '') => setMode(s, { mode: value }, ok({ mode: value }), query)

const CONFIG: readonly Scenario[] = [
  scenario('[R1] a subject has no level of its own; defaultToGlobal shows the one that counts', ({ s }) => [
    config(s(), noConfig(s())),
    config(
      s(),
      ok({ compatibilityLevel: fits('a level', (found) => LEVELS.includes(found as never)) }),
      '?defaultToGlobal=true',
    ),
    config(s(), noConfig(s()), '?defaultToGlobal=false'),
  ]),
  ...LEVELS.map((value) =>
    scenario(`[R1] level ${value} is set, shown and unset, also of a subject without schemas`, ({ s }) => [
      set(s(), value),
      config(s(), level(value)),
      config(s(), level(value), '?defaultToGlobal=true'),
      del(`/config/${s()}`, level(value)),
      config(s(), noConfig(s())),
      del(`/config/${s()}`, notFound(s())),
      versions(s(), notFound(s())),
    ]),
  ),
  scenario('[R1] a level may be written in any case', ({ s }) => [
    setConfig(s(), { compatibility: 'full' }, ok({ compatibility: 'FULL' })),
    config(s(), ok({ compatibilityLevel: 'FULL' })),
    setConfig(s(), { compatibility: 'Backward_Transitive' }, ok({ compatibility: 'BACKWARD_TRANSITIVE' })),
  ]),
  ...['NOPE', '', 5, true].map((value) =>
    scenario(`[R1] level ${JSON.stringify(value)} is 42203`, ({ s }) => [
      setConfig(s(), { compatibility: value }, badLevel),
      config(s(), noConfig(s())),
    ]),
  ),
  scenario('[R1] an update changes what it names and keeps the rest', ({ s }) => [
    setConfig(s(), { compatibility: 'FULL' }, ok({ compatibility: 'FULL' })),
    setConfig(s(), { normalize: true }, ok({ compatibility: 'FULL', normalize: true })),
    config(s(), ok({ compatibilityLevel: 'FULL', normalize: true })),
    setConfig(s(), {}, ok({ compatibility: 'FULL', normalize: true })),
    config(s(), ok({ compatibilityLevel: 'FULL', normalize: true })),
    setConfig(s(), { compatibility: 'NONE', normalize: false }, ok({ compatibility: 'NONE', normalize: false })),
    config(s(), ok({ compatibilityLevel: 'NONE', normalize: false })),
    setConfig(s(), { compatibility: 'FULL', unknownKey: 1 }, ok({ compatibility: 'FULL' })),
  ]),
  scenario('[R1] normalize that is no truth value is 400', ({ s }) => [
    setConfig(s(), { normalize: 'yes' }, refused(400, /./)),
  ]),
  globalScenario('[R1] the global level is set, shown, inherited and unset', ({ s }) => [
    ...LEVELS.flatMap((value) => [
      put('/config', ok({ compatibility: value }), { compatibility: value }),
      get('/config', level(value)),
      config(s(), level(value), '?defaultToGlobal=true'),
    ]),
    config(s(), noConfig(s())),
    set(s(), 'NONE'),
    config(s(), level('NONE'), '?defaultToGlobal=true'),
    put('/config', badLevel, { compatibility: 'NOPE' }),
    del('/config', level('FULL_TRANSITIVE')),
    get('/config', level('BACKWARD')),
    get('/config?defaultToGlobal=true', level('BACKWARD')),
    del('/config', level('BACKWARD')),
  ]),
  globalScenario('[R1] [R2] the global level decides for subjects without one', ({ s, rec }) => [
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    put('/config', ok({ compatibility: 'NONE' }), { compatibility: 'NONE' }),
    register(s(), rec('R', ['a', 'string']), ok({ id: id('b') })),
    del('/config', level('NONE')),
    register(s(), rec('R', ['a', 'boolean']), refused(409, /TYPE_MISMATCH/)),
  ]),
]

const MODE: readonly Scenario[] = [
  scenario('[R1] a subject has no mode of its own; defaultToGlobal shows the one that counts', ({ s }) => [
    mode(s(), noMode(s())),
    mode(s(), ok({ mode: fits('a mode', (found) => MODES.includes(found as never)) }), '?defaultToGlobal=true'),
  ]),
  ...MODES.map((value) =>
    scenario(`[R1] mode ${value} is set, shown and unset`, ({ s }) => [
      enter(s(), value),
      mode(s(), ok({ mode: value })),
      mode(s(), ok({ mode: value }), '?defaultToGlobal=true'),
      del(`/mode/${s()}`, ok({ mode: value })),
      mode(s(), noMode(s())),
      del(`/mode/${s()}`, notFound(s())),
    ]),
  ),
  ...['NOPE', '', 'bogus', 5].map((value) =>
    scenario(`[R1] mode ${JSON.stringify(value)} is 42204`, ({ s }) => [
      setMode(s(), { mode: value }, badMode),
      mode(s(), noMode(s())),
    ]),
  ),
  scenario('[R1] a mode may be written in any case; other fields change nothing', ({ s }) => [
    enter(s(), 'readonly'),
    mode(s(), ok({ mode: 'READONLY' })),
    setMode(s(), { mode: 'READWRITE', extra: 1 }, ok({ mode: 'READWRITE' })),
  ]),
  ...(['READONLY', 'READONLY_OVERRIDE'] as const).map((value) =>
    scenario(`[R1] a ${value} subject is read, and refuses every change`, ({ s, rec }) => [
      register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
      enter(s(), value),
      register(s(), rec('R', ['a', 'int'], ['b', 'int', 0]), readOnly(s())),
      delVersion(s(), 1, readOnly(s())),
      delSubject(s(), readOnly(s())),
      setConfig(s(), { compatibility: 'NONE' }, readOnly(s())),
      version(s(), 1, ok({ version: 1 })),
      lookUp(s(), rec('R', ['a', 'int']), ok({ version: 1 })),
      test(s(), 'latest', rec('R', ['a', 'int']), ok({ is_compatible: true })),
      // What it holds already is no change.
      register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
      register(s('other'), rec('S', ['a', 'int']), ok({ id: id('b') })),
      del(`/mode/${s()}`, ok({ mode: value })),
      delSubject(s(), ok([1])),
    ]),
  ),
  globalScenario('[R1] the global mode is set, shown and inherited; a subject may have another', ({ s, rec }) => [
    get('/mode', ok({ mode: 'READWRITE' })),
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    put('/mode', ok({ mode: 'READONLY' }), { mode: 'READONLY' }),
    get('/mode', ok({ mode: 'READONLY' })),
    mode(s(), noMode(s())),
    mode(s(), ok({ mode: 'READONLY' }), '?defaultToGlobal=true'),
    register(s(), rec('R', ['a', 'int'], ['b', 'int', 0]), readOnly(s())),
    delSubject(s(), readOnly(s())),
    lookUp(s(), rec('R', ['a', 'int']), ok({ version: 1 })),
    enter(s(), 'READWRITE'),
    register(s(), rec('R', ['a', 'int'], ['b', 'int', 0]), ok({ id: id('b') })),
    put('/mode', badMode, { mode: 'NOPE' }),
    put('/mode', ok({ mode: 'READWRITE' }), { mode: 'READWRITE' }),
    get('/mode', ok({ mode: 'READWRITE' })),
  ]),
  globalScenario('[R1] a global READONLY_OVERRIDE wins over the modes of subjects', ({ s, rec }) => [
    enter(s(), 'READWRITE'),
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    put('/mode', ok({ mode: 'READONLY_OVERRIDE' }), { mode: 'READONLY_OVERRIDE' }),
    mode(s(), ok({ mode: 'READONLY_OVERRIDE' })),
    register(s(), rec('R', ['a', 'int'], ['b', 'int', 0]), readOnly(s())),
    put('/mode', ok({ mode: 'READWRITE' }), { mode: 'READWRITE' }),
    mode(s(), ok({ mode: 'READWRITE' })),
    register(s(), rec('R', ['a', 'int'], ['b', 'int', 0]), ok({ id: id('b') })),
  ]),
  globalScenario('[R1] the global mode becomes IMPORT only when there are no subjects, or by force', ({ s, rec }) => [
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    put('/mode', refused(42205, 'Cannot import since found existing subjects'), { mode: 'IMPORT' }),
    put('/mode?force=true', ok({ mode: 'IMPORT' }), { mode: 'IMPORT' }),
    get('/mode', ok({ mode: 'IMPORT' })),
    put('/mode', ok({ mode: 'READWRITE' }), { mode: 'READWRITE' }),
  ]),
]

/** An id that nobody else of this run gives: ids of scenarios lie far apart. */
const given = (tag: string, n: number): number =>
  1_000_000_000 + (Number.parseInt(tag.slice(2, 8), 16) % 1_000_000) * 1_000 + n

const IMPORT: readonly Scenario[] = [
  scenario('[R1] IMPORT: a subject that has versions enters it only by force', ({ s, rec }) => [
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    setMode(s(), { mode: 'IMPORT' }, refused(42205, 'Cannot import since found existing subjects')),
    mode(s(), noMode(s())),
    enter(s(), 'IMPORT', '?force=true'),
    mode(s(), ok({ mode: 'IMPORT' })),
  ]),
  scenario('[R1] IMPORT: a schema registers with the id and the version it is given', ({ s, rec, tag }) => [
    enter(s(), 'IMPORT'),
    register(s(), rec('R', ['a', 'int']), ok({ id: given(tag, 1) }), { id: given(tag, 1), version: 3 }),
    version(s(), 3, ok({ id: given(tag, 1), version: 3, schema: rec('R', ['a', 'int']) })),
    versions(s(), ok([3])),
    get(`/schemas/ids/${given(tag, 1)}`, ok({ schema: rec('R', ['a', 'int']) })),
    register(s(), rec('R', ['a', 'int']), ok({ id: given(tag, 1) }), { id: given(tag, 1), version: 3 }),
    // Without a version: the next. Nothing is compared.
    register(s(), rec('R', ['a', 'string']), ok({ id: given(tag, 2) }), { id: given(tag, 2) }),
    versions(s(), ok([3, 4])),
  ]),
  scenario('[R1] IMPORT: without an id a new schema is refused', ({ s, rec }) => [
    enter(s(), 'IMPORT'),
    register(s(), rec('R', ['a', 'int']), notPermitted(s(), 'is not in read-write mode')),
    register(s(), rec('R', ['a', 'int']), notPermitted(s(), 'is not in read-write mode'), { version: 3 }),
    versions(s(), notFound(s())),
  ]),
  scenario('[R1] IMPORT: an id that another schema has is refused', ({ s, rec, tag }) => [
    enter(s(), 'IMPORT'),
    register(s(), rec('R', ['a', 'int']), ok({ id: given(tag, 1) }), { id: given(tag, 1), version: 1 }),
    register(
      s(),
      rec('S', ['a', 'int']),
      refused(
        42205,
        new RegExp(`^Overwrite new schema with id ${given(tag, 1)}( in context \\S*)? is not permitted\\.$`),
      ),
      { id: given(tag, 1), version: 2 },
    ),
    versions(s(), ok([1])),
  ]),
  scenario('[R1] IMPORT: the same schema and id in another subject', ({ s, rec, tag }) => [
    enter(s('x'), 'IMPORT'),
    enter(s('y'), 'IMPORT'),
    register(s('x'), rec('R', ['a', 'int']), ok({ id: given(tag, 1) }), { id: given(tag, 1), version: 1 }),
    register(s('y'), rec('R', ['a', 'int']), ok({ id: given(tag, 1) }), { id: given(tag, 1), version: 7 }),
    version(s('y'), 7, ok({ id: given(tag, 1) })),
  ]),
  scenario('[R1] IMPORT: numbers may leave gaps and come in any order', ({ s, rec, tag }) => [
    enter(s(), 'IMPORT'),
    register(s(), rec('A', ['a', 'int']), ok({ id: given(tag, 1) }), { id: given(tag, 1), version: 5 }),
    register(s(), rec('B', ['a', 'int']), ok({ id: given(tag, 2) }), { id: given(tag, 2), version: 2 }),
    versions(s(), ok([2, 5])),
    delVersion(s(), 2, ok(2)),
    delVersion(s(), 2, ok(2), PERMANENT),
    versions(s(), ok([5])),
  ]),
  scenario(
    '[R1] IMPORT: back in READWRITE an id in the body is refused, the next id is higher than what was given',
    (n) => [
      enter(n.s(), 'IMPORT'),
      register(n.s(), n.rec('A', ['a', 'int']), ok({ id: given(n.tag, 1) }), { id: given(n.tag, 1), version: 1 }),
      enter(n.s(), 'READWRITE'),
      register(n.s(), n.rec('B', ['b', 'int']), notPermitted(n.s(), 'is not in import mode'), {
        id: given(n.tag, 2),
        version: 2,
      }),
      unchecked(n.s()),
      register(
        n.s(),
        n.rec('B', ['b', 'int']),
        ok({ id: fits('a higher id', (next) => (next as number) > given(n.tag, 1)) }),
      ),
    ],
  ),
  scenario('[R1] IMPORT: entering it removes what was soft deleted', ({ s, rec }): Step[] => [
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    delSubject(s(), ok([1])),
    enter(s(), 'IMPORT'),
    versions(s(), notFound(s()), '?deleted=true'),
    get('/schemas/ids/{#a}', refused(40403, 'Schema {#a} not found')),
  ]),
]

export const settings: readonly Scenario[] = [...CONFIG, ...MODE, ...IMPORT]
