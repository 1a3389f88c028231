/**
 * A documented behaviour as data: requests in order, each with the answer it must get. Runs over plain fetch against any registry.
 *
 * Subjects and record names are unique to a run, so a shared registry does no harm. Ids are symbols: the first answer that shows
 * one binds it, later ones must repeat it, and `{#a}` in a path, body or sentence stands for its number. In answers of 2xx objects
 * may hold more fields than the pattern names; lists and refusals must be equal as a whole.
 */
import { randomBytes } from 'node:crypto'
import { expect } from 'vitest'

/** Content type of the API, and of every answer unless another was asked for. */
export const V1_JSON = 'application/vnd.schemaregistry.v1+json'

/** An id that the registry gives. */
export class IdOf {
  readonly name: string
  constructor(name: string) {
    this.name = name
  }
}
export const id = (name: string): IdOf => new IdOf(name)

/** A pattern that needs a word of code; `what` says what it looks for. */
export class Fits {
  readonly what: string
  readonly holds: (actual: unknown) => boolean
  constructor(what: string, holds: (actual: unknown) => boolean) {
    this.what = what
    this.holds = holds
  }
}
export const fits = (what: string, holds: (actual: unknown) => boolean): Fits => new Fits(what, holds)

/** What an answer must be. `exact` demands that objects hold nothing else. */
export interface Expected {
  readonly status: number
  readonly body: unknown
  readonly exact: boolean
  /** Content type of the answer; default V1_JSON. */
  readonly type?: string
  /** Another answer that is right as well: where registries may differ. */
  readonly or?: Expected
}
export const ok = (body: unknown): Expected => ({ status: 200, body, exact: false })
/** A refusal: the status is the code's first three digits. */
export const refused = (error_code: number, message: unknown): Expected => ({
  status: error_code >= 10_000 ? Math.floor(error_code / 100) : error_code,
  body: { error_code, message },
  exact: true,
})

/** One request and its answer. `body` is sent as JSON; `raw` as it is. */
export interface Step {
  readonly method: string
  readonly path: string
  readonly body?: unknown
  readonly raw?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly expected: Expected
}

type Field = readonly [name: string, type: unknown, ...rest: unknown[]]

/** Names of one scenario: subjects and schemas that nobody else uses. */
export class Names {
  readonly tag: string
  constructor(scenario: number) {
    this.tag = `bb${randomBytes(4).toString('hex')}n${scenario}`
  }

  /** A subject. */
  readonly s = (name = 'a'): string => `${this.tag}-${name}`

  /** A record schema whose name is unique to the scenario; a field is [name, type] or [name, type, default]. */
  readonly record = (name: string, ...fields: readonly Field[]): object => ({
    type: 'record',
    name: `${name}_${this.tag}`,
    fields: fields.map(([field, type, ...rest]) => ({
      name: field,
      type,
      ...(rest.length === 0 ? {} : { default: rest[0] }),
    })),
  })

  /** The same as JSON. */
  readonly rec = (name: string, ...fields: readonly Field[]): string => JSON.stringify(this.record(name, ...fields))
}

/** A behaviour: its title carries the requirement. `global` changes settings of the whole registry and puts them back. */
export interface Scenario {
  readonly title: string
  readonly steps: (names: Names) => readonly Step[]
  readonly global?: boolean
}
export const scenario = (title: string, steps: Scenario['steps']): Scenario => ({ title, steps })
export const globalScenario = (title: string, steps: Scenario['steps']): Scenario => ({ title, steps, global: true })

const enc = encodeURIComponent
const send = (method: string) => (path: string, expected: Expected, body?: unknown) => ({
  method,
  path,
  expected,
  body,
})
export const get = (path: string, expected: Expected): Step => ({ method: 'GET', path, expected })
export const post = send('POST')
export const put = send('PUT')
export const del = (path: string, expected: Expected): Step => ({ method: 'DELETE', path, expected })

type More = Readonly<Record<string, unknown>>
/** Registers `schema` (JSON text) under a subject. */
export const register = (subject: string, schema: string, expected: Expected, more: More = {}, query = ''): Step =>
  post(`/subjects/${enc(subject)}/versions${query}`, expected, { schema, ...more })
export const lookUp = (subject: string, schema: string, expected: Expected, query = '', more: More = {}): Step =>
  post(`/subjects/${enc(subject)}${query}`, expected, { schema, ...more })
export const versions = (subject: string, expected: Expected, query = ''): Step =>
  get(`/subjects/${enc(subject)}/versions${query}`, expected)
export const version = (subject: string, at: number | string, expected: Expected, query = ''): Step =>
  get(`/subjects/${enc(subject)}/versions/${at}${query}`, expected)
export const delVersion = (subject: string, at: number | string, expected: Expected, query = ''): Step =>
  del(`/subjects/${enc(subject)}/versions/${at}${query}`, expected)
export const delSubject = (subject: string, expected: Expected, query = ''): Step =>
  del(`/subjects/${enc(subject)}${query}`, expected)
export const PERMANENT = '?permanent=true'
export const test = (
  subject: string,
  at: number | string | null,
  schema: string,
  expected: Expected,
  query = '',
  more: More = {},
): Step =>
  post(`/compatibility/subjects/${enc(subject)}/versions${at === null ? '' : `/${at}`}${query}`, expected, {
    schema,
    ...more,
  })
const of = (subject: string | null): string => (subject === null ? '' : `/${enc(subject)}`)
export const config = (subject: string | null, expected: Expected, query = ''): Step =>
  get(`/config${of(subject)}${query}`, expected)
export const setConfig = (subject: string | null, body: unknown, expected: Expected): Step =>
  put(`/config${of(subject)}`, expected, body)
export const mode = (subject: string | null, expected: Expected, query = ''): Step =>
  get(`/mode${of(subject)}${query}`, expected)
export const setMode = (subject: string | null, to: unknown, expected: Expected, query = ''): Step =>
  put(`/mode${of(subject)}${query}`, expected, to)
/** Switches a subject's checks off, so that a scenario may register what it likes. */
export const unchecked = (subject: string): Step =>
  setConfig(subject, { compatibility: 'NONE' }, ok({ compatibility: 'NONE' }))
export const MODES = ['READWRITE', 'READONLY', 'READONLY_OVERRIDE', 'IMPORT'] as const

/** Runs a scenario; fails with every step whose answer was another. */
export async function run(url: string, steps: readonly Step[]): Promise<void> {
  const bound = new Map<string, number>()
  const wrong: string[] = []
  for (const [i, step] of steps.entries()) {
    const path = filled(step.path, bound)
    const text = step.raw ?? (step.body === undefined ? undefined : filled(JSON.stringify(step.body), bound))
    const response = await fetch(`${url}${path}`, {
      method: step.method,
      ...(text === undefined ? {} : { body: Buffer.from(text) }),
      headers: { ...(text === undefined ? {} : { 'content-type': V1_JSON }), ...step.headers },
    })
    const body = parsed(await response.text())
    const type = response.headers.get('content-type')?.split(';')[0]
    const against = ({ status, exact, type: wanted = V1_JSON, body: pattern }: Expected): string[] => [
      ...(response.status === status ? [] : [`status ${response.status} instead of ${status}`]),
      ...(type === wanted ? [] : [`content type ${type} instead of ${wanted}`]),
      ...differences(pattern, body, { bound, exact, at: '' }),
    ]
    const { expected } = step
    const first = against(expected)
    const found = first.length > 0 && expected.or !== undefined && against(expected.or).length === 0 ? [] : first
    if (found.length > 0) {
      const request = `${i + 1}. ${step.method} ${path}${text === undefined ? '' : ` ${text.slice(0, 400)}`}`
      wrong.push(`${request}\n   ${found.join('\n   ')}\n   got ${response.status} ${JSON.stringify(body)}`)
    }
  }
  expect(wrong, wrong.join('\n')).toEqual([])
}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

const filled = (text: string, bound: ReadonlyMap<string, number>): string =>
  text.replace(/"?\{#(\w+)\}"?/g, (whole, name: string) => {
    const value = bound.get(name)
    if (value === undefined) throw new Error(`no answer has shown id ${name} yet`)
    // A whole JSON string that is only the symbol becomes the number.
    if (whole.startsWith('"') && whole.endsWith('"')) return String(value)
    return whole.replace(`{#${name}}`, String(value))
  })

interface Context {
  readonly bound: Map<string, number>
  readonly exact: boolean
  readonly at: string
}

/** Where the answer is not what the pattern says. */
function differences(pattern: unknown, actual: unknown, context: Context): string[] {
  const { bound, exact, at } = context
  const differs = (what: string): string[] => [`${at || '/'}: expected ${what}`]
  if (pattern instanceof IdOf) {
    if (typeof actual !== 'number' || !Number.isInteger(actual)) return differs(`id ${pattern.name}`)
    const before = bound.get(pattern.name)
    if (before !== undefined) return before === actual ? [] : differs(`id ${pattern.name} = ${before}`)
    const twin = [...bound].find(([, value]) => value === actual)
    if (twin !== undefined) return differs(`id ${pattern.name}, another than id ${twin[0]} = ${actual}`)
    bound.set(pattern.name, actual)
    return []
  }
  if (pattern instanceof Fits) return pattern.holds(actual) ? [] : differs(pattern.what)
  if (pattern instanceof RegExp) {
    const source = new RegExp(filled(pattern.source, bound), pattern.flags)
    return typeof actual === 'string' && source.test(actual) ? [] : differs(String(source))
  }
  if (Array.isArray(pattern)) {
    if (!Array.isArray(actual) || actual.length !== pattern.length) return differs(JSON.stringify(pattern))
    return pattern.flatMap((each, i) => differences(each, actual[i], { ...context, at: `${at}/${i}` }))
  }
  if (typeof pattern === 'object' && pattern !== null) {
    if (typeof actual !== 'object' || actual === null || Array.isArray(actual)) return differs(JSON.stringify(pattern))
    const more = exact ? Object.keys(actual).filter((key) => !(key in pattern)) : []
    return [
      ...more.map((key) => `${at}/${key}: not expected`),
      ...Object.entries(pattern).flatMap(([key, value]) =>
        differences(value, (actual as Record<string, unknown>)[key], { ...context, at: `${at}/${key}` }),
      ),
    ]
  }
  const wanted = typeof pattern === 'string' ? filled(pattern, bound) : pattern
  return Object.is(wanted, actual) ? [] : differs(JSON.stringify(wanted) ?? 'nothing')
}
