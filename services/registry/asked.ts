/**
 * What a request asks for, read as the JVM's registry reads it: of a query value given twice the first counts, a flag is true only
 * for the word, a number that is none is no such path (404).
 */
import type { FastifyRequest } from 'fastify'
import { normalizeSubject } from './naming.ts'
import { RegistryRefusal, refusals } from './refusal.ts'

const INT_MAX = 2 ** 31 - 1
type Texts = Readonly<Record<string, string | undefined>>

/** Part of the path; '' when it is not there. */
export const part = (request: FastifyRequest, name: string): string => (request.params as Texts)[name] ?? ''

/** Every value of a query parameter. */
export function values(request: FastifyRequest, name: string): readonly string[] {
  const value = (request.query as Readonly<Record<string, string | string[] | undefined>>)[name]
  return value === undefined ? [] : Array.isArray(value) ? value : [value]
}

/** A query parameter; null when it is not there. */
export const text = (request: FastifyRequest, name: string): string | null => values(request, name)[0] ?? null

/** Whether nothing is asked for but what the path names. */
export const isPlain = ({ url }: FastifyRequest): boolean => !url.includes('?')

/** A query parameter that is on or off. */
export const flag = (request: FastifyRequest, name: string): boolean => text(request, name)?.toLowerCase() === 'true'

/** Whether a subject may be read. */
export type MayRead = (subject: string) => boolean

/** All of them may. */
export const everySubject: MayRead = () => true

const readers = new WeakMap<FastifyRequest, MayRead>()

/** Says which subjects a request may be shown; nothing said: all of them. */
export const showOnly = (request: FastifyRequest, mayRead: MayRead): unknown => readers.set(request, mayRead)

/** Which subjects a request may be shown. */
export const shownTo = (request: FastifyRequest): MayRead => readers.get(request) ?? everySubject

/** In which form a schema's text and its references are asked for, and of which subjects. */
export const formsOf = (request: FastifyRequest) => ({
  format: text(request, 'format'),
  referenceFormat: text(request, 'referenceFormat'),
  mayRead: shownTo(request),
})

/** The path's subject in its one spelling. */
export const subjectOf = (request: FastifyRequest): string => normalizeSubject(part(request, 'subject'))

/** The subject of settings; null: those of the registry. */
export const scopeOf = (request: FastifyRequest): string | null => {
  const subject = subjectOf(request)
  return subject === '' ? null : subject
}

/** An integer as Java reads one; null when it is none. */
function integer(word: string): number | null {
  if (!/^[+-]?\d+$/.test(word)) return null
  const number = Number(word)
  return number <= INT_MAX && number >= -INT_MAX - 1 ? number : null
}

/** A schema's id in the path. @throws RegistryRefusal 404 */
export function idOf(request: FastifyRequest): number {
  const id = integer(part(request, 'id'))
  if (id === null) throw refusals.notFound()
  return id
}

/** The number of a version as a path writes it; -1 is the latest, null is none. */
export function numberOfVersion(word: string): number | null {
  const trimmed = word.trim()
  if (trimmed.toLowerCase() === 'latest') return -1
  const version = integer(trimmed)
  return version === 0 || (version ?? 0) < -1 ? null : version
}

/** The version in the path; -1 is the latest. @throws RegistryRefusal 42202 */
export function versionOf(request: FastifyRequest): number {
  const word = part(request, 'version')
  const version = numberOfVersion(word)
  if (version === null) throw refusals.invalidVersion(word)
  return version
}

/** A part of a list. */
export interface Page {
  readonly offset: number
  readonly limit: number
}

const whole = new WeakSet<FastifyRequest>()

/** Makes the route give the whole list, whatever part is asked for: who calls it cuts it. */
export const giveWhole = (request: FastifyRequest): unknown => whole.add(request)

/** What part of a list is asked for; a limit out of bounds is the greatest. @throws RegistryRefusal 404, 400 */
export function pageOf(request: FastifyRequest, limitMax = 20_000): Page {
  if (whole.has(request)) return { offset: 0, limit: Number.POSITIVE_INFINITY }
  const read = (name: string, otherwise: number): number => {
    const word = text(request, name)
    const number = word === null || word === '' ? otherwise : integer(word)
    if (number === null) throw refusals.notFound()
    return number
  }
  const [offset, limit] = [read('offset', 0), read('limit', -1)]
  if (offset < 0) throw new RegistryRefusal(400, 'offset must not be negative')
  return { offset, limit: limit < 1 || limit > limitMax ? limitMax : limit }
}

/** A page of a list. */
export const cut = <T>(list: readonly T[], { offset, limit }: Page): readonly T[] =>
  offset === 0 && limit >= list.length ? list : list.slice(offset, offset + limit)
