/**
 * What HTTP (RFC 9110) asks of every path, whatever it serves: a method that a path does not have is 405 with `Allow`, OPTIONS tells
 * the methods, an unchanged answer is 304, and a body in a coding or charset that is not read is 415 before it is taken for broken.
 * A condition counts for GET and HEAD with something to answer only: whoever writes always learns what came of it.
 */
import { createHash } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { OperatingError } from './errors.ts'

/** Answers what no route took: 405 with `Allow`, the methods for OPTIONS, else `notFound`. Call it before routes are added. */
export function answerOtherMethods(
  app: FastifyInstance,
  answers: Readonly<Record<'notFound' | 'otherMethod', (request: FastifyRequest, reply: FastifyReply) => void>>,
): void {
  const paths = new Map<string, { pattern: RegExp; methods: Set<string> }>()
  app.addHook('onRoute', ({ url, method }) => {
    const path = paths.get(url) ?? { pattern: patternOf(url), methods: new Set() }
    for (const one of Array.isArray(method) ? method : [method]) path.methods.add(one)
    paths.set(url, path)
  })
  app.setNotFoundHandler((request, reply) => {
    const asked = request.url.split('?', 1)[0]!
    const methods = new Set<string>()
    for (const path of paths.values()) if (path.pattern.test(asked)) for (const one of path.methods) methods.add(one)
    if (methods.size === 0 || methods.has(request.method)) return answers.notFound(request, reply)
    void reply.header('allow', [...methods, 'OPTIONS'].join(', '))
    if (request.method === 'OPTIONS') return void reply.code(204).send()
    answers.otherMethod(request, reply)
  })
}

/** Fastify's pattern of a path as an expression: `:name` is one segment, `*` the rest. */
function patternOf(url: string): RegExp {
  const source = url
    .replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&')
    .replaceAll(/:\w+/g, '[^/]+')
    .replaceAll('*', '.*')
  return new RegExp(`^${source.replace(/\/$/, '')}/?$`)
}

/** Gives every answer to GET and HEAD a strong ETag, unless it has one, and answers 304 to who has it already. */
export function answerConditions(app: FastifyInstance): void {
  app.addHook('onSend', (request, reply, payload, done) => {
    const reads = request.method === 'GET' || request.method === 'HEAD'
    if (!reads || reply.statusCode !== 200 || !(typeof payload === 'string' || Buffer.isBuffer(payload))) return done()
    if (!reply.hasHeader('etag')) reply.header('etag', `"${createHash('sha1').update(payload).digest('base64url')}"`)
    if (!hasAlready(request.headers['if-none-match'], String(reply.getHeader('etag')))) return done()
    reply.code(304).removeHeader('content-length')
    // Fastify measures what HEAD would have sent, and null has no length.
    done(null, request.method === 'GET' ? null : '')
  })
}

/** Compares weakly, as RFC 9110 §13.1.2 says. */
function hasAlready(condition: string | undefined, etag: string): boolean {
  if (condition === undefined) return false
  const strong = (tag: string): string => tag.trim().replace(/^W\//, '')
  return condition.trim() === '*' || condition.split(',').some((tag) => strong(tag) === strong(etag))
}

/** Refuses bodies that are compressed or in another charset. */
export function refuseCodedBodies(app: FastifyInstance): void {
  app.addHook('preParsing', (request, reply, payload, done) => {
    const coding = request.headers['content-encoding']
    if (coding !== undefined && coding.toLowerCase() !== 'identity') {
      reply.header('accept-encoding', 'identity')
      const hint = 'Send the body as it is, without Content-Encoding.'
      return done(new OperatingError('MEDIA_TYPE', `Bodies in ${coding} are not read.`, {}, { hint }))
    }
    const charset = /;\s*charset\s*=\s*"?([^\s;"]+)/i.exec(request.headers['content-type'] ?? '')?.[1]
    if (charset !== undefined && !/^(utf-?8|us-ascii)$/i.test(charset)) {
      const hint = 'Send the body in UTF-8.'
      return done(new OperatingError('MEDIA_TYPE', `Bodies in ${charset} are not read.`, {}, { hint }))
    }
    done(null, payload)
  })
}

/** Tells with every answer of a stop that the connection ends: a client that takes it for kept would lose its next request. */
export function announceStop(app: FastifyInstance): void {
  let stopping = false
  app.addHook('preClose', (done) => {
    stopping = true
    done()
  })
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (stopping) reply.header('connection', 'close')
    done(null, payload)
  })
}
