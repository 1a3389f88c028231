/**
 * Which subject an address means, before anything else is decided about the request: a path under `/contexts/{context}/` is that of the
 * subject in the context, and a subject whose settings name another (`alias`) means that one. Keys are checked afterwards, so that they
 * count for the subject that is read or written. Then a version or a schema that is asked for under a name that the default context does
 * not hold is looked for in the others, as far as the key may read them.
 * Source: Confluent's ContextFilter, AliasFilter, and the …UsingContexts of AbstractSchemaRegistry.
 */
import type { FastifyInstance, FastifyRequest, onRequestHookHandler } from 'fastify'
import { flag, numberOfVersion, shownTo } from './asked.ts'
import { normalizeSubject, qualify, relatedSubject } from './naming.ts'
import { contextOf, DEFAULT_CONTEXT } from './records.ts'
import type { SchemaTable } from './table.ts'

const UNDER_CONTEXT = /^\/+contexts\/+([^/?]+)\/+([^?]+)(?:\?(.*))?$/
/** Lists that are cut down to the context by their prefix. */
const LISTS = new Set(['subjects', 'schemas'])

/** The address without its context, which goes into the subject; the same when it has none, or none that can be. */
export function rewriteContext(url: string): string {
  if (!url.startsWith('/contexts/') && !url.startsWith('//')) return url
  const [, written, path, query = ''] = UNDER_CONTEXT.exec(url) ?? []
  if (written === undefined || path === undefined) return url
  try {
    // `c`, `.c` and `:.c:` are one context.
    const name = decodeURIComponent(written).replace(/^:/, '').replace(/:$/, '')
    if (name.includes(':')) return url
    const context = name.startsWith('.') ? name : `.${name}`
    return rewritten(`:${context}:`, path, new URLSearchParams(query))
  } catch {
    // Not decodable: the router refuses it.
    return url
  }
}

function rewritten(prefix: string, path: string, query: URLSearchParams): string {
  const within = (subject: string): string => (/^:[.*]/.test(subject) ? subject : prefix + subject)
  const parts = path.split('/').filter((each) => each !== '')
  const root = parts[0] ?? ''
  const at = root === 'compatibility' ? 2 : 1
  if (['subjects', 'compatibility', 'config', 'mode'].includes(root) && parts[at] !== undefined) {
    parts[at] = encodeURIComponent(within(decodeURIComponent(parts[at])))
  } else if (root === 'config' || root === 'mode') {
    parts.push(encodeURIComponent(prefix))
  } else if (LISTS.has(root) && parts.length === 1) {
    query.set('subjectPrefix', within(query.get('subjectPrefix') ?? ''))
  } else if (root === 'schemas') {
    query.set('subject', within(query.get('subject') ?? ''))
  }
  const asked = query.toString()
  return `/${parts.join('/')}${asked === '' ? '' : `?${asked}`}`
}

const ALIASED = /^\/(?:compatibility\/)?subjects\/:subject/
/** A look-up, and what is read of one version. */
const SEARCHED: ReadonlySet<string> = new Set([
  'POST /subjects/:subject',
  ...['', '/schema', '/referencedby'].map((part) => `GET /subjects/:subject/versions/:version${part}`),
])

/** Puts every request's subject into its one spelling and its alias in its place; call it before keys are checked. */
export function resolveNames(app: FastifyInstance, table: SchemaTable): void {
  app.addHook('onRequest', (request, _reply, done) => {
    const params = request.params as Record<string, string>
    const query = request.query as Record<string, string | string[]>
    const route = request.routeOptions.url ?? ''
    if (params['subject'] !== undefined) {
      const subject = normalizeSubject(params['subject'])
      params['subject'] = ALIASED.test(route) ? aliasOf(table, subject) : subject
    } else if (typeof query['subject'] === 'string' && route.startsWith('/schemas/ids/')) {
      query['subject'] = aliasOf(table, normalizeSubject(query['subject']))
    }
    done()
  })
}

/** What a subject means; one step only, so that there is no way round in circles. */
function aliasOf(table: SchemaTable, subject: string): string {
  const alias = table.configOf(subject)?.['alias']
  return typeof alias === 'string' && alias !== '' ? relatedSubject(subject, alias) : subject
}

/**
 * Looks for names in the contexts in which the request may read them. Call it after keys, so that these are checked first, and before
 * routes are registered: only those that need it search.
 */
export function searchContexts(app: FastifyInstance, table: SchemaTable): void {
  const search: onRequestHookHandler = (request, _reply, done) => {
    const params = request.params as Record<string, string>
    const [holds, mayRead] = [holdsWhatIsAsked(request, table), shownTo(request)]
    params['subject'] = inItsContext(table, params['subject']!, (name) => holds(name) && mayRead(name))
    done()
  }
  app.addHook('onRoute', (route) => {
    const methods = [route.method].flat().map((method) => (method === 'HEAD' ? 'GET' : method))
    if (methods.some((method) => SEARCHED.has(`${method} ${route.url}`)))
      route.onRequest = [...[route.onRequest ?? []].flat(), search]
  })
}

/** Whether a subject has the version that is asked for, or any when none is. */
function holdsWhatIsAsked(request: FastifyRequest, table: SchemaTable): (subject: string) => boolean {
  const { version } = request.params as Record<string, string>
  const deleted = flag(request, 'deleted') || request.routeOptions.url!.endsWith('/referencedby')
  if (version === undefined) return (subject) => table.has(subject, deleted)
  const number = numberOfVersion(version)
  if (number === null) return () => false
  return (subject) => (deleted ? table.find(subject, number) : table.findLive(subject, number)) !== null
}

/** The subject of that name in the first context that holds it; itself when none does, or when it names its context. */
function inItsContext(table: SchemaTable, subject: string, isThere: (subject: string) => boolean): string {
  if (contextOf(subject) !== DEFAULT_CONTEXT || isThere(subject)) return subject
  const elsewhere = table.contexts().map((context) => qualify(context, subject))
  return elsewhere.find(isThere) ?? subject
}
