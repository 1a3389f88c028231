/**
 * Content types of requests and answers, as Confluent's resources declare them: three types of JSON go out, the one the client
 * likes best; with the same liking the first of them. An answer names its type without a charset, for some clients compare the type as a whole.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { RegistryRefusal } from './refusal.ts'

/** Content type of answers unless the client asks for another. */
export const CONTENT_TYPE = 'application/vnd.schemaregistry.v1+json'
/** What goes out, the preferred first. */
const PRODUCED = [CONTENT_TYPE, 'application/vnd.schemaregistry+json', 'application/json'] as const
/** What comes in. */
const CONSUMED: ReadonlySet<string> = new Set([...PRODUCED, 'application/octet-stream'])

/** Headers whose meaning is kept; clients send few different ones. */
const KEPT = 200
const kept = new Map<string, string | null>()

/** The type that answers `Accept` best; null when none does. */
export function typeFor(accept: string | undefined): string | null {
  // An empty header says nothing.
  if (accept === undefined || accept === '' || accept === CONTENT_TYPE || accept === '*/*') return CONTENT_TYPE
  let type = kept.get(accept)
  if (type === undefined) {
    if (kept.size >= KEPT) kept.clear()
    type = best(accept)
    kept.set(accept, type)
  }
  return type
}

function best(accept: string): string | null {
  const ranges = accept.split(',').map((text) => {
    const [name = '', ...parameters] = text.split(';').map((part) => part.trim().toLowerCase())
    const weight = parameters.find((parameter) => parameter.startsWith('q='))
    // A lone star is what the JVM's own HTTP client sends.
    return { name: name === '*' ? '*/*' : name, weight: weight === undefined ? 1 : Number(weight.slice(2)) }
  })
  const weightOf = (type: string): number => {
    const fitting = [type, 'application/*', '*/*'].map((name) => ranges.find((range) => range.name === name))
    return fitting.find((range) => range !== undefined)?.weight ?? 0
  }
  let [found, most]: [string | null, number] = [null, 0]
  for (const type of PRODUCED) {
    const weight = weightOf(type)
    if (weight > most) [found, most] = [type, weight]
  }
  return found
}

/** Whether a body of this type is read; a body without one is. */
export function isConsumed(contentType: string | undefined): boolean {
  const [type = ''] = (contentType ?? '').toLowerCase().split(';', 1)
  return type.trim() === '' || CONSUMED.has(type.trim())
}

/** Sends a body that is JSON already, or a value as JSON. */
export function answer(request: FastifyRequest, reply: FastifyReply, status: number, body: unknown): FastifyReply {
  const bytes = Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body))
  return reply
    .code(status)
    .header('content-type', typeFor(request.headers.accept) ?? CONTENT_TYPE)
    .header('x-content-type-options', 'nosniff')
    .send(bytes)
}

/** Sends `{ error_code, message }`. */
export const answerRefusal = (request: FastifyRequest, reply: FastifyReply, refusal: RegistryRefusal): FastifyReply =>
  answer(request, reply, refusal.status, { error_code: refusal.errorCode, message: refusal.message })

/** What the server itself refused, with a status below 500, in the words of Confluent's server; null when it is something else. */
export function refusedByServer(error: unknown): RegistryRefusal | null {
  const { statusCode, message } = error as { readonly statusCode?: number; readonly message: string }
  if (statusCode === undefined || statusCode < 400 || statusCode >= 500) return null
  return new RegistryRefusal(statusCode, REASONS[statusCode] ?? message)
}

const REASONS: Readonly<Record<number, string>> = {
  413: 'HTTP 413 Request Entity Too Large',
  414: 'HTTP 414 Request-URI Too Long',
  415: 'HTTP 415 Unsupported Media Type',
}
