/**
 * Schemas that refer to others: registered, shown, looked up, resolved across subjects and through several steps, and kept from
 * deletion while somebody refers to them. Sources: refs in AvroSchemaProvider and AbstractSchemaRegistry of confluentinc/schema-registry;
 * the specification's rules for names.
 */
import {
  delSubject,
  delVersion,
  get,
  id,
  lookUp,
  type Names,
  ok,
  PERMANENT,
  post,
  refused,
  register,
  type Scenario,
  scenario,
  test,
  unchecked,
  version,
  versions,
} from '../scenario.ts'

const dep = ({ tag }: Names, type = 'int') =>
  `{"type":"record","name":"Dep","namespace":"ns.${tag}","fields":[{"name":"v","type":"${type}"}]}`
const holder = ({ tag }: Names) =>
  `{"type":"record","name":"Holder","namespace":"ns.${tag}","fields":[{"name":"d","type":"ns.${tag}.Dep"}]}`
const outer = ({ tag }: Names) =>
  `{"type":"record","name":"Outer","namespace":"ns.${tag}","fields":[{"name":"h","type":"ns.${tag}.Holder"}]}`
const toDep = (n: Names, version: number = 1) => ({
  references: [{ name: `ns.${n.tag}.Dep`, subject: n.s('dep'), version }],
})
const toHolder = (n: Names) => ({
  references: [{ name: `ns.${n.tag}.Holder`, subject: n.s('holder'), version: 1 }],
})
const held = (n: Names) => [
  register(n.s('dep'), dep(n), ok({ id: id('dep') })),
  register(n.s('holder'), holder(n), ok({ id: id('holder') }), toDep(n)),
]
const inUse = (subject: string, at = 1) =>
  refused(
    42206,
    `One or more references exist to the schema {magic=1,keytype=SCHEMA,subject=${subject},version=${at}}.`,
  )
const invalid = (details: RegExp) =>
  refused(42201, new RegExp(`^Invalid schema [\\s\\S]*details: [\\s\\S]*${details.source}`))

export const references: readonly Scenario[] = [
  scenario('[R1] a schema with references registers, and shows them', (n) => {
    const shown = { id: id('holder'), references: toDep(n).references }
    return [
      ...held(n),
      version(n.s('holder'), 1, ok({ ...shown, subject: n.s('holder'), version: 1 })),
      get('/schemas/ids/{#holder}', ok({ references: toDep(n).references })),
      register(n.s('holder'), holder(n), ok({ id: id('holder') }), toDep(n)),
      versions(n.s('holder'), ok([1])),
      lookUp(n.s('holder'), holder(n), ok({ ...shown, version: 1 }), '', toDep(n)),
      register(n.s('other'), holder(n), ok({ id: id('holder') }), toDep(n)),
    ]
  }),
  scenario('[R1] without its references the schema is 42201, naming what is undefined', (n) => [
    register(n.s('dep'), dep(n), ok({ id: id('dep') })),
    register(n.s('holder'), holder(n), invalid(new RegExp(`ns\\.${n.tag}\\.Dep`))),
  ]),
  scenario('[R1] references resolve through several steps', (n) => [
    ...held(n),
    register(n.s('outer'), outer(n), ok({ id: id('outer') }), toHolder(n)),
    version(n.s('outer'), 1, ok({ id: id('outer'), references: toHolder(n).references })),
    lookUp(n.s('outer'), outer(n), ok({ version: 1 }), '', toHolder(n)),
  ]),
  scenario('[R1] a reference to version -1 means the latest, and is kept as its number', (n) => [
    register(n.s('dep'), dep(n), ok({ id: id('dep') })),
    register(n.s('holder'), holder(n), ok({ id: id('holder') }), toDep(n, -1)),
    get(`/subjects/${n.s('dep')}/versions/1/referencedby`, ok([id('holder')])),
  ]),
  scenario('[R1] referencedby lists the ids that refer to a version', (n) => {
    const by = (subject: string, at: number | string) => `/subjects/${subject}/versions/${at}/referencedby`
    return [
      ...held(n),
      get(by(n.s('dep'), 1), ok([id('holder')])),
      get(by(n.s('dep'), 'latest'), ok([id('holder')])),
      get(by(n.s('holder'), 1), ok([])),
      get(by(n.s('none'), 1), refused(40401, `Subject '${n.s('none')}' not found.`)),
      get(by(n.s('dep'), 9), refused(40402, 'Version 9 not found.')),
      unchecked(n.s('dep')),
      register(n.s('dep'), dep(n, 'string'), ok({ id: id('dep2') })),
      get(by(n.s('dep'), 'latest'), ok([])),
      register(n.s('second'), holder(n), ok({ id: id('holder2') }), toDep(n, 2)),
      get(by(n.s('dep'), 2), ok([id('holder2')])),
      get(by(n.s('dep'), 1), ok([id('holder')])),
    ]
  }),
  scenario('[R1] what is referred to cannot be deleted, as a version or with its subject', (n) => [
    ...held(n),
    delVersion(n.s('dep'), 1, inUse(n.s('dep'))),
    delVersion(n.s('dep'), 'latest', inUse(n.s('dep'))),
    delSubject(n.s('dep'), inUse(n.s('dep'))),
    versions(n.s('dep'), ok([1])),
    delVersion(n.s('holder'), 1, ok(1)),
    get(`/subjects/${n.s('dep')}/versions/1/referencedby`, ok([])),
    delVersion(n.s('dep'), 1, ok(1)),
  ]),
  scenario('[R1] a chain is deleted from its end', (n) => [
    ...held(n),
    register(n.s('outer'), outer(n), ok({ id: id('outer') }), toHolder(n)),
    delSubject(n.s('holder'), inUse(n.s('holder'))),
    delSubject(n.s('dep'), inUse(n.s('dep'))),
    delSubject(n.s('outer'), ok([1])),
    delSubject(n.s('holder'), ok([1])),
    delSubject(n.s('dep'), ok([1])),
    ...['outer', 'holder', 'dep'].map((name) => delSubject(n.s(name), ok([1]), PERMANENT)),
  ]),
  ...(
    [
      ['an unknown subject', (n: Names) => ({ name: `ns.${n.tag}.Dep`, subject: n.s('nope'), version: 1 })],
      ['an unknown version', (n: Names) => ({ name: `ns.${n.tag}.Dep`, subject: n.s('dep'), version: 5 })],
    ] as const
  ).map(([title, reference]) =>
    scenario(`[R1] a reference to ${title} is 42201`, (n) => {
      const { subject, version } = reference(n)
      return [
        register(n.s('dep'), dep(n), ok({ id: id('dep') })),
        register(
          n.s('holder'),
          holder(n),
          invalid(new RegExp(`No schema reference found for subject "${subject}" and version ${version}`)),
          { references: [reference(n)] },
        ),
      ]
    }),
  ),
  ...(
    [
      ['no name', (n: Names) => ({ subject: n.s('dep'), version: 1 })],
      ['no subject', (n: Names) => ({ name: `ns.${n.tag}.Dep`, version: 1 })],
      ['no version', (n: Names) => ({ name: `ns.${n.tag}.Dep`, subject: n.s('dep') })],
    ] as [string, (n: Names) => object][]
  ).map(([title, reference]) =>
    scenario(`[R1] a reference with ${title} is 42201`, (n) => [
      register(n.s('dep'), dep(n), ok({ id: id('dep') })),
      register(n.s('holder'), holder(n), invalid(/Invalid reference/), {
        references: [reference(n)],
      }),
    ]),
  ),
  scenario('[R1] a soft deleted schema is no target for a new reference by -1', (n) => [
    register(n.s('dep'), dep(n), ok({ id: id('dep') })),
    delVersion(n.s('dep'), 1, ok(1)),
    register(n.s('holder'), holder(n), invalid(/No schema reference found/), toDep(n, -1)),
  ]),
  scenario('[R1] a soft deleted schema is no target for a new schema; what referred to it is still found', (n) => [
    ...held(n),
    delVersion(n.s('holder'), 1, ok(1)),
    delVersion(n.s('dep'), 1, ok(1)),
    ...['holder', 'other'].map((name) =>
      register(n.s(name), holder(n), invalid(/No schema reference found/), toDep(n)),
    ),
    test(n.s('other'), null, holder(n), invalid(/No schema reference found/), '', toDep(n)),
    lookUp(n.s('holder'), holder(n), ok({ version: 1, id: id('holder') }), '?deleted=true', toDep(n)),
    get('/schemas/ids/{#holder}', ok({ references: toDep(n).references })),
  ]),
  scenario('[R1] with its references written out a schema is the same, in whatever order its attributes stand', (n) => {
    const attributes = { 'x-b': 2, 'x-a': 1 }
    const of = (type: unknown, more: object) =>
      JSON.stringify({ ...JSON.parse(holder(n)), fields: [{ name: 'd', type }], ...more })
    const writtenOut = of(JSON.parse(dep(n)), { 'x-a': 1, 'x-b': 2 })
    return [
      register(n.s('dep'), dep(n), ok({ id: id('dep') })),
      register(n.s('holder'), of(`ns.${n.tag}.Dep`, attributes), ok({ id: id('holder') }), toDep(n), '?normalize=true'),
      lookUp(n.s('holder'), writtenOut, ok({ version: 1, id: id('holder') }), '?normalize=true'),
      lookUp(n.s('holder'), writtenOut, ok({ version: 1, id: id('holder') })),
    ]
  }),
  scenario('[R1] referenceFormat=qualified names the context of each reference', (n) => {
    const [holderName, depName] = [`:.${n.tag}:holder`, `:.${n.tag}:dep`]
    const reference = (subject: string) => ({ references: [{ name: `ns.${n.tag}.Dep`, subject, version: 1 }] })
    return [
      register(depName, dep(n), ok({ id: id('dep') })),
      register(holderName, holder(n), ok({ id: id('holder') }), reference('dep')),
      version(holderName, 1, ok(reference('dep'))),
      version(holderName, 1, ok(reference(depName)), '?referenceFormat=qualified'),
      get(`/schemas/ids/{#holder}?subject=${holderName}&referenceFormat=qualified`, ok(reference(depName))),
    ]
  }),
  scenario('[R1] [R2] compatibility looks through references, at both sides', (n) => [
    ...held(n),
    unchecked(n.s('dep')),
    register(n.s('dep'), dep(n, 'string'), ok({ id: id('dep2') })),
    // The same text over another Dep: its field changed from int to string.
    test(n.s('holder'), 'latest', holder(n), ok({ is_compatible: false }), '', toDep(n, 2)),
    test(n.s('holder'), 'latest', holder(n), ok({ is_compatible: true, messages: [] }), '?verbose=true', toDep(n)),
    register(
      n.s('holder'),
      holder(n),
      refused(409, /^Schema being registered is incompatible with an earlier schema .*TYPE_MISMATCH/),
      toDep(n, 2),
    ),
    post(`/compatibility/subjects/${n.s('holder')}/versions/latest`, invalid(/./), { schema: holder(n) }),
  ]),
]
