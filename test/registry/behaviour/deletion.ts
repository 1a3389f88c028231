/**
 * Soft and permanent deletion of versions and subjects: every state, every answer; what stays readable; numbers.
 * Sources: SubjectVersionsResource.deleteSchemaVersion, SubjectsResource.deleteSubject, Errors of confluentinc/schema-registry.
 */
import {
  config,
  delSubject,
  delVersion,
  get,
  id,
  lookUp,
  mode,
  ok,
  PERMANENT,
  refused,
  register,
  type Scenario,
  scenario,
  setConfig,
  setMode,
  unchecked,
  version,
  versions,
} from '../scenario.ts'

const enc = encodeURIComponent
const notFound = (subject: string) => refused(40401, `Subject '${subject}' not found.`)
const softDeleted = (subject: string, at: number) =>
  refused(40406, `Subject '${subject}' Version ${at} was soft deleted.Set permanent=true to delete permanently`)
const notSoftDeleted = (subject: string, at: number) =>
  refused(40407, `Subject '${subject}' Version ${at} was not deleted first before being permanently deleted`)
const listed = (subject: string, query: string, expected: readonly string[]) =>
  get(`/subjects?subjectPrefix=${enc(subject)}${query}`, ok(expected))

export const deletion: readonly Scenario[] = [
  scenario('[R1] a soft deleted version is gone, unless deleted ones are asked for', ({ s, rec }) => {
    const [a, b] = [rec('R', ['a', 'int']), rec('R', ['a', 'int'], ['b', 'int', 0])]
    return [
      register(s(), a, ok({ id: id('a') })),
      register(s(), b, ok({ id: id('b') })),
      delVersion(s(), 1, ok(1)),
      versions(s(), ok([2])),
      versions(s(), ok([1, 2]), '?deleted=true'),
      versions(s(), ok([1]), '?deletedOnly=true'),
      versions(s(), ok([1]), '?deletedOnly=true&deleted=true'),
      version(s(), 1, refused(40402, 'Version 1 not found.')),
      version(s(), 1, ok({ version: 1, id: id('a'), schema: a }), '?deleted=true'),
      version(s(), '1/schema', refused(40402, 'Version 1 not found.')),
      version(s(), '1/schema?deleted=true', ok(JSON.parse(a))),
      version(s(), 'latest', ok({ version: 2 }), '?deleted=true'),
      lookUp(s(), a, refused(40403, 'Schema not found')),
      lookUp(s(), a, ok({ version: 1, id: id('a') }), '?deleted=true'),
      get('/schemas/ids/{#a}', ok({ schema: a })),
      get('/schemas/ids/{#a}/subjects', ok([])),
      get('/schemas/ids/{#a}/subjects?deleted=true', ok([s()])),
      get('/schemas/ids/{#a}/versions', ok([])),
      get('/schemas/ids/{#a}/versions?deleted=true', ok([{ subject: s(), version: 1 }])),
    ]
  }),
  scenario('[R1] deleting a version: each state, each answer', ({ s, rec }) => [
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    register(s(), rec('R', ['a', 'int'], ['b', 'int', 0]), ok({ id: id('b') })),
    register(s(), rec('R', ['a', 'int'], ['c', 'int', 0]), ok({ id: id('c') })),
    delVersion(s(), 1, notSoftDeleted(s(), 1), PERMANENT),
    delVersion(s(), 1, ok(1)),
    delVersion(s(), 1, softDeleted(s(), 1)),
    delVersion(s(), 1, ok(1), PERMANENT),
    delVersion(s(), 1, refused(40402, 'Version 1 not found.'), PERMANENT),
    delVersion(s(), 1, refused(40402, 'Version 1 not found.')),
    delVersion(s(), 9, refused(40402, 'Version 9 not found.')),
    delVersion(s(), 'latest', notSoftDeleted(s(), 3), PERMANENT),
    delVersion(s(), 'latest', ok(3)),
    delVersion(s(), '-1', ok(2)),
    versions(s(), ok([2, 3]), '?deleted=true'),
    versions(s(), notFound(s())),
  ]),
  scenario("[R1] deleting version '0' or 'abc' is 42202, of an unknown subject 40401", ({ s }) => [
    ...['0', 'abc'].map((at) =>
      delVersion(
        s(),
        at,
        refused(
          42202,
          `The specified version '${at}' is not a valid version id. Allowed values are between [1, 2^31-1] and the string "latest"`,
        ),
      ),
    ),
    delVersion(s(), 1, notFound(s())),
    delVersion(s(), 'latest', notFound(s())),
    delVersion(s(), 1, notFound(s()), PERMANENT),
  ]),
  scenario('[R1] deleting a subject: each state, each answer', ({ s, rec }) => [
    delSubject(s(), notFound(s())),
    delSubject(s(), notFound(s()), PERMANENT),
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    register(s(), rec('R', ['a', 'int'], ['b', 'int', 0]), ok({ id: id('b') })),
    delSubject(
      s(),
      refused(40405, `Subject '${s()}' was not deleted first before being permanently deleted`),
      PERMANENT,
    ),
    delSubject(s(), ok([1, 2])),
    delSubject(s(), refused(40404, `Subject '${s()}' was soft deleted.Set permanent=true to delete permanently`)),
    versions(s(), notFound(s())),
    versions(s(), ok([1, 2]), '?deleted=true'),
    version(s(), 1, notFound(s())),
    version(s(), 1, ok({ version: 1, id: id('a') }), '?deleted=true'),
    lookUp(s(), rec('R', ['a', 'int']), notFound(s())),
    lookUp(s(), rec('R', ['a', 'int']), ok({ version: 1 }), '?deleted=true'),
    listed(s(), '', []),
    listed(s(), '&deleted=true', [s()]),
    listed(s(), '&deletedOnly=true', [s()]),
    delSubject(s(), ok([1, 2]), PERMANENT),
    delSubject(s(), notFound(s()), PERMANENT),
    delSubject(s(), notFound(s())),
    versions(s(), notFound(s()), '?deleted=true'),
    listed(s(), '&deleted=true', []),
    get('/schemas/ids/{#a}', refused(40403, 'Schema {#a} not found')),
    get('/schemas/ids/{#b}', refused(40403, 'Schema {#b} not found')),
  ]),
  scenario('[R1] deleting a subject answers only with the versions that were there', ({ s, rec }) => [
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    register(s(), rec('R', ['a', 'int'], ['b', 'int', 0]), ok({ id: id('b') })),
    delVersion(s(), 1, ok(1)),
    delSubject(s(), ok([2])),
    delSubject(s(), ok([1, 2]), PERMANENT),
  ]),
  scenario('[R1] numbers of soft deleted versions are never used again', ({ s, rec }) => [
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    register(s(), rec('R', ['a', 'int'], ['b', 'int', 0]), ok({ id: id('b') })),
    delSubject(s(), ok([1, 2])),
    register(s(), rec('Other', ['x', 'string']), ok({ id: id('c') })),
    versions(s(), ok([3])),
    versions(s(), ok([1, 2, 3]), '?deleted=true'),
    delSubject(s(), ok([3])),
    delSubject(s(), ok([1, 2, 3]), PERMANENT),
  ]),
  scenario('[R1] numbers below the newest are not used again after a permanent deletion', ({ s, rec }) => [
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    register(s(), rec('R', ['a', 'int'], ['b', 'int', 0]), ok({ id: id('b') })),
    delVersion(s(), 1, ok(1)),
    delVersion(s(), 1, ok(1), PERMANENT),
    register(s(), rec('R', ['a', 'int'], ['c', 'int', 0]), ok({ id: id('c') })),
    versions(s(), ok([2, 3]), '?deleted=true'),
  ]),
  scenario(
    '[R1] a soft deleted schema that is registered again keeps its id and gets the next number',
    ({ s, rec }) => [
      unchecked(s()),
      register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
      register(s(), rec('S', ['a', 'int']), ok({ id: id('b') })),
      delVersion(s(), 1, ok(1)),
      register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
      versions(s(), ok([2, 3])),
      version(s(), 3, ok({ id: id('a') })),
    ],
  ),
  scenario('[R1] soft deleted versions are not compared with', ({ s, rec }) => [
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    delSubject(s(), ok([1])),
    register(s(), rec('R', ['a', 'string']), ok({ id: id('b') })),
    versions(s(), ok([2])),
  ]),
  scenario('[R1] an id lives until its last version is permanently deleted', ({ s, rec }) => [
    register(s('x'), rec('R', ['a', 'int']), ok({ id: id('a') })),
    register(s('y'), rec('R', ['a', 'int']), ok({ id: id('a') })),
    delSubject(s('x'), ok([1])),
    delSubject(s('x'), ok([1]), PERMANENT),
    get('/schemas/ids/{#a}', ok({ schema: rec('R', ['a', 'int']) })),
    get('/schemas/ids/{#a}/subjects', ok([s('y')])),
    get('/schemas/ids/{#a}/versions', ok([{ subject: s('y'), version: 1 }])),
    delSubject(s('y'), ok([1])),
    delSubject(s('y'), ok([1]), PERMANENT),
    get('/schemas/ids/{#a}', refused(40403, 'Schema {#a} not found')),
  ]),
  scenario('[R1] a schema registered again after its permanent deletion gets another id', ({ s, rec }) => [
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    delSubject(s(), ok([1])),
    delSubject(s(), ok([1]), PERMANENT),
    register(s(), rec('R', ['a', 'int']), ok({ id: id('b') })),
  ]),
  scenario('[R1] a subject whose last version is deleted loses its own settings', ({ s, rec }) => [
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    register(s(), rec('R', ['a', 'int'], ['b', 'int', 0]), ok({ id: id('b') })),
    setConfig(s(), { compatibility: 'NONE' }, ok({ compatibility: 'NONE' })),
    setMode(s(), { mode: 'READWRITE' }, ok({ mode: 'READWRITE' })),
    delVersion(s(), 1, ok(1)),
    config(s(), ok({ compatibilityLevel: 'NONE' })),
    delVersion(s(), 2, ok(2)),
    config(s(), refused(40408, `Subject '${s()}' does not have subject-level compatibility configured`)),
    mode(s(), refused(40409, `Subject '${s()}' does not have subject-level mode configured`)),
  ]),
  scenario('[R1] deleting a whole subject drops its settings too', ({ s, rec }) => [
    setConfig(s(), { compatibility: 'NONE' }, ok({ compatibility: 'NONE' })),
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    delSubject(s(), ok([1])),
    config(s(), refused(40408, `Subject '${s()}' does not have subject-level compatibility configured`)),
  ]),
]
