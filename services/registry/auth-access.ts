/**
 * What a request needs leave for, by its route: reading, look-ups and checks need `read`, a registration `write`, deletions and
 * settings `admin`, and what touches every subject needs it for all (`''`). A route that is not listed needs `admin` for all, so
 * that a new one is closed until somebody decides; settings of `:.__GLOBAL:` are those of all. The words of operations are those of
 * Confluent's refusals.
 * A prefix without a context stands for subjects of the default context; `:.c:p` for those of another.
 */
import type { Allowance } from '#io/registry-keys.ts'
import { isEverywhere, normalizeSubject } from './naming.ts'

/** What is needed. */
export type Need =
  /** Nothing: alive and ready, and figures of the machine, which name no subject. */
  | { readonly kind: 'open' }
  /** Any key; with `filtered`, the answer is a list of which only readable subjects are shown. */
  | { readonly kind: 'key'; readonly filtered: boolean }
  /** Leave for a subject; `''` is all of them. */
  | { readonly kind: 'subject'; readonly subject: string; readonly allow: Allowance; readonly operation: string }
  /** Leave to read one of the subjects that hold the path's schema id; with `filtered` as above. */
  | { readonly kind: 'schema'; readonly filtered: boolean }

const OPEN: ReadonlySet<string> = new Set(['/healthz', '/readyz', '/metrics'])
/** What every key may read: nothing of a subject stands in it. */
const COMMON: ReadonlySet<string> = new Set([
  '/',
  '/schemas/types',
  '/contexts/:context/*',
  '/config',
  '/mode',
  '/v1/metadata/id',
  '/v1/metadata/version',
])
const LISTS: ReadonlySet<string> = new Set(['/subjects', '/schemas', '/contexts'])

/** A request as routing found it. `route` is the pattern; undefined when there is no such route. */
export interface RoutedRequest {
  readonly method: string
  readonly route: string | undefined
  readonly params: Readonly<Record<string, string | undefined>>
}

/** What the request needs. */
export function needOf({ method, route, params }: RoutedRequest): Need {
  const verb = method === 'HEAD' ? 'GET' : method
  // Whatever is answered to who has a key: there is no such path.
  if (route === undefined) return { kind: 'key', filtered: false }
  const named = normalizeSubject(params['subject'] ?? '')
  const subject = isEverywhere(named) ? '' : named
  const on = (allow: Allowance, operation: string): Need => ({ kind: 'subject', subject, allow, operation })
  const hasSubject = route.includes('/:subject')
  if (verb === 'GET') {
    if (OPEN.has(route)) return { kind: 'open' }
    if (COMMON.has(route)) return { kind: 'key', filtered: false }
    if (LISTS.has(route)) return { kind: 'key', filtered: true }
    if (route.startsWith('/schemas/ids/:id')) return { kind: 'schema', filtered: /\/(subjects|versions)$/.test(route) }
    if (hasSubject) return on('read', 'Read')
    // A GUID may stand for schemas of several contexts.
    if (route.startsWith('/schemas/guids/')) return on('read', 'Read')
  }
  if (verb === 'POST') {
    if (route === '/') return { kind: 'key', filtered: false }
    if (route === '/subjects/:subject' || route.startsWith('/compatibility/subjects/:subject/'))
      return on('read', 'Read')
    if (route === '/subjects/:subject/versions') return on('write', 'Write')
  }
  if (route.startsWith('/config')) return on('admin', 'WriteCompatibility')
  if (route.startsWith('/mode')) return on('admin', 'WriteMode')
  if (verb === 'DELETE' && hasSubject) return on('admin', 'Delete')
  return { kind: 'subject', subject: '', allow: 'admin', operation: verb }
}
