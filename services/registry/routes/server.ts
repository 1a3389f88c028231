/** What the registry tells of itself: the root, its contexts, whose it is and what it speaks. */
import { cut, pageOf, part, text } from '../asked.ts'
import { RegistryRefusal, refusals } from '../refusal.ts'
import { readRoot } from '../request.ts'
import type { Routes } from './mount.ts'

/** Confluent's version whose API this is. */
const API_VERSION = '8.1.0'
/** One registry serves one log; clients show these names, nothing else. */
const CLUSTERS = { 'kafka-cluster': 'tidemark', 'schema-registry-cluster': 'schema-registry' }

/** Mounts them. */
export const serverRoutes: Routes = (route, state) => {
  route('GET', '/', () => ({}))
  route('POST', '/', (request) => {
    readRoot(request.body)
    return {}
  })
  route('GET', '/contexts', (request) => {
    const prefix = text(request, 'contextPrefix') ?? ''
    const page = pageOf(request)
    return cut(
      state.table.contexts().filter((context) => context.startsWith(prefix)),
      page,
    )
  })
  // Addresses of a context are written anew before they are routed (naming.ts); here comes what is none.
  route('GET', '/contexts/:context/*', (request) => {
    if (part(request, 'context').includes(':')) {
      throw new RegistryRefusal(400, 'Context name cannot contain a colon')
    }
    throw refusals.notFound()
  })
  route('GET', '/v1/metadata/id', () => ({ scope: { path: [], clusters: CLUSTERS } }))
  route('GET', '/v1/metadata/version', () => ({ version: API_VERSION, commitId: 'unknown' }))
}
