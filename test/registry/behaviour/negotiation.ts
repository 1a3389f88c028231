/**
 * Content negotiation, paths and methods, as JAX-RS answers for Confluent: 404, 405, 406, 415, and the types that are taken and given.
 * Sources: Versions, the @Produces and @Consumes of every resource of confluentinc/schema-registry; KafkaExceptionMapper of rest-utils.
 */
import { get, id, ok, refused, register, type Scenario, type Step, scenario, V1_JSON } from '../scenario.ts'

const TYPES = [V1_JSON, 'application/vnd.schemaregistry+json', 'application/json'] as const
const noSuchPath = refused(404, 'HTTP 404 Not Found')
const noSuchMethod = refused(405, 'HTTP 405 Method Not Allowed')
const notAcceptable = refused(406, 'HTTP 406 Not Acceptable')
const unsupported = refused(415, 'HTTP 415 Unsupported Media Type')
/** A refusal may come in any of the types: clients read it as JSON. */
const asking = (accept: string, path: string, type: string): Step => ({
  ...get(path, { ...ok([]), body: ok([]).body, type }),
  headers: { accept },
})

const ACCEPTS: readonly (readonly [string, string])[] = [
  ['*/*', V1_JSON],
  ['application/*', V1_JSON],
  [V1_JSON, V1_JSON],
  ['application/vnd.schemaregistry+json', 'application/vnd.schemaregistry+json'],
  ['application/json', 'application/json'],
  [`${V1_JSON}, application/vnd.schemaregistry+json, application/json`, V1_JSON],
  ['application/json, */*;q=0.1', 'application/json'],
  ['application/json;q=0.5, application/vnd.schemaregistry+json;q=0.9', 'application/vnd.schemaregistry+json'],
  [`text/html, ${V1_JSON};q=0.1`, V1_JSON],
]

export const negotiation: readonly Scenario[] = [
  ...ACCEPTS.map(([accept, type]) =>
    scenario(`[R1] Accept: ${accept} is answered as ${type}`, () => [
      asking(accept, '/subjects?subjectPrefix=no-such-prefix-anywhere', type),
    ]),
  ),
  ...['text/html', 'text/plain', 'application/xml', 'image/png'].map((accept) =>
    scenario(`[R1] Accept: ${accept} is 406`, () => [
      {
        ...get('/subjects?subjectPrefix=no-such-prefix-anywhere', notAcceptable),
        headers: { accept },
      },
    ]),
  ),
  ...[...TYPES, 'application/octet-stream', `${V1_JSON}; charset=utf-8`].map((type) =>
    scenario(`[R1] Content-Type: ${type} is taken`, ({ s, rec }) => [
      { ...register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })), headers: { 'content-type': type } },
    ]),
  ),
  ...['text/plain', 'application/xml', 'application/x-www-form-urlencoded', 'text/json'].map((type) =>
    scenario(`[R1] Content-Type: ${type} is 415, on every path that takes a body`, ({ s }) =>
      (
        [
          ['POST', `/subjects/${s()}/versions`],
          ['POST', `/subjects/${s()}`],
          ['POST', `/compatibility/subjects/${s()}/versions/latest`],
          ['PUT', `/config/${s()}`],
          ['PUT', `/mode/${s()}`],
        ] as const
      ).map(([method, path]) => ({
        method,
        path,
        body: { schema: '"int"', compatibility: 'NONE', mode: 'READWRITE' },
        headers: { 'content-type': type },
        expected: unsupported,
      })),
    ),
  ),
  ...(
    [
      ['PUT', '/subjects'],
      ['DELETE', '/subjects'],
      ['GET', '/subjects/x'],
      ['PUT', '/subjects/x/versions'],
      ['DELETE', '/schemas/types'],
      ['POST', '/schemas/ids/1'],
      ['POST', '/config'],
      ['GET', '/compatibility/subjects/x/versions'],
    ] as const
  ).map(([method, path]) =>
    scenario(`[R1] ${method} ${path} is 405`, () => [
      {
        method,
        path,
        ...(method === 'GET' ? {} : { body: {} }),
        expected: noSuchMethod,
      },
    ]),
  ),
  ...['/nope', '/subjects/x/nope', '/schemas/ids', '/schemas/nope', '/v1/nope', '/compatibility'].map((path) =>
    scenario(`[R1] ${path} is 404`, () => [get(path, noSuchPath)]),
  ),
  scenario('[R1] a slash at the end changes nothing', ({ s, rec }) => [
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    get(`/subjects/${s()}/versions/`, ok([1])),
    get(`/subjects/${s()}/versions/1/`, ok({ version: 1 })),
  ]),
  scenario('[R1] of a query value given twice the first counts', ({ s, rec }): Step[] => [
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    { method: 'DELETE', path: `/subjects/${s()}/versions/1`, expected: ok(1) },
    get(`/subjects/${s()}/versions?deleted=true&deleted=false`, ok([1])),
    get(`/subjects/${s()}/versions?deleted=false&deleted=true`, refused(40401, `Subject '${s()}' not found.`)),
  ]),
  scenario('[R1] a truth value in the query is true when it says so, in any case', ({ s, rec }): Step[] => [
    register(s(), rec('R', ['a', 'int']), ok({ id: id('a') })),
    { method: 'DELETE', path: `/subjects/${s()}/versions/1`, expected: ok(1) },
    ...['true', 'TRUE', 'True'].map((flag) => get(`/subjects/${s()}/versions?deleted=${flag}`, ok([1]))),
    ...['1', 'yes', 'false', ''].map((flag) =>
      get(`/subjects/${s()}/versions?deleted=${flag}`, refused(40401, `Subject '${s()}' not found.`)),
    ),
  ]),
]
