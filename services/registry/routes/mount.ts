/**
 * How a group of routes is mounted: a handler returns what is answered, paths refuse the methods that they do not have, and what a
 * client accepts is checked before its body is read.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { answer, answerRefusal, CONTENT_TYPE, typeFor } from '../negotiation.ts'
import { RegistryRefusal } from '../refusal.ts'
import type { RegistryState } from '../state.ts'

const METHODS = ['GET', 'POST', 'PUT', 'DELETE'] as const
type Method = (typeof METHODS)[number]

/** Answers a request: a value that becomes JSON, or bytes that are JSON. */
export type Handler = (request: FastifyRequest) => unknown
/** Mounts one route. */
export type Route = (method: Method, url: string, handler: Handler) => void
/** A group of routes. */
export type Routes = (route: Route, state: RegistryState) => void

/** Mounts groups of routes. */
export function mount(app: FastifyInstance, state: RegistryState, groups: readonly Routes[]): void {
  const methods = new Map<string, Method[]>()
  const route: Route = (method, url, handler) => {
    methods.set(url, [...(methods.get(url) ?? []), method])
    app.route({ method, url, onRequest: requireAcceptable, handler: answering(handler) })
  }
  for (const group of groups) group(route, state)
  for (const [url, offered] of methods) closeOthers(app, url, offered)
}

const answering = (handler: Handler) => async (request: FastifyRequest, reply: FastifyReply) =>
  answer(request, reply, 200, await handler(request))

function requireAcceptable(request: FastifyRequest, reply: FastifyReply, done: () => void): void {
  if (typeFor(request.headers.accept) !== null) done()
  else answerRefusal(request, reply, new RegistryRefusal(406, 'HTTP 406 Not Acceptable'))
}

/** 405 for the methods that a path does not have, and OPTIONS, which tells those that it has. */
function closeOthers(app: FastifyInstance, url: string, offered: readonly Method[]): void {
  const allow = [...offered, ...(offered.includes('GET') ? ['HEAD'] : []), 'OPTIONS'].join(',')
  const refuse = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> =>
    answerRefusal(request, reply.header('allow', allow), new RegistryRefusal(405, 'HTTP 405 Method Not Allowed'))
  const closed = [
    ...METHODS.filter((method) => !offered.includes(method)),
    'PATCH',
    ...(offered.includes('GET') ? [] : ['HEAD']),
  ]
  app.route({ method: closed, url, onRequest: refuse, handler: refuse })
  app.options(url, async (_request, reply) =>
    reply.header('allow', allow).header('content-type', CONTENT_TYPE).send(Buffer.alloc(0)),
  )
}
