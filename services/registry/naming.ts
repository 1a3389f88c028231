/**
 * Names of subjects. `:.c:s` is subject s of context `.c`; `s` and `:.:s` are the same subject of the default context `.`;
 * `:.c:` without a name stands for the context itself, in settings. Source: Confluent's QualifiedSubject.
 */
import { contextOf, DEFAULT_CONTEXT, isReservedSubject } from './records.ts'

const CONTEXT_PREFIX = ':.'
/** Before a name: that name in every context. */
const ANY_CONTEXT = ':*:'
/** Names that Confluent keeps for settings of everything and for the empty name. */
const KEPT: readonly string[] = ['__GLOBAL', '__EMPTY']
/** The context whose settings are those of every context; it holds no subjects. */
const GLOBAL_CONTEXT = '.__GLOBAL'

/** Puts a context before a name; nothing is put before a name of the default context. */
export const qualify = (context: string, name: string): string =>
  context === DEFAULT_CONTEXT ? name : `:${context}:${name}`

/** The one spelling of a subject that everything else knows. */
export function normalizeSubject(subject: string): string {
  if (!subject.startsWith(CONTEXT_PREFIX)) return subject
  const end = subject.indexOf(':', CONTEXT_PREFIX.length)
  return end < 0 ? qualify(subject.slice(1), '') : qualify(subject.slice(1, end), subject.slice(end + 1))
}

/** The name without its context. */
export function nameOf(subject: string): string {
  const context = contextOf(subject)
  return context === DEFAULT_CONTEXT ? subject : subject.slice(context.length + 2)
}

/** A subject that a subject of `parent` names: in the parent's context, unless it names its own. */
export function relatedSubject(parent: string, subject: string): string {
  return subject.startsWith(CONTEXT_PREFIX) ? normalizeSubject(subject) : qualify(contextOf(parent), subject)
}

/**
 * Whose settings hold, the first that has any: the subject's own, those of its context (null: the registry's, which are those of
 * the default one), those of every context.
 */
export function scopesOf(subject: string | null): readonly (string | null)[] {
  const context = contextOf(subject ?? '')
  return [subject, context === DEFAULT_CONTEXT ? null : qualify(context, ''), qualify(GLOBAL_CONTEXT, '')]
}

/** Whether a subject may be written to; `setting`: whether it may have settings. */
export function isValidSubject(subject: string, use: 'schemas' | 'settings'): boolean {
  if (subject === '' || /\p{Cc}/u.test(subject) || isReservedSubject(subject)) return false
  if (KEPT.includes(nameOf(subject))) return false
  return use === 'settings' || !isEverywhere(subject)
}

/** Whether a subject's settings are those of every context. */
export const isEverywhere = (subject: string): boolean => contextOf(subject) === GLOBAL_CONTEXT

/** Whether a normalized subject is what a prefix asks for: `p` in the default context, `:.c:p` in c, `:*:p` in every one. */
export function hasPrefix(subject: string, prefix: string): boolean {
  if (prefix.startsWith(ANY_CONTEXT)) return nameOf(subject).startsWith(prefix.slice(ANY_CONTEXT.length))
  const asked = prefix.startsWith(':.:') ? prefix.slice(3) : prefix
  if (!asked.startsWith(CONTEXT_PREFIX) && contextOf(subject) !== DEFAULT_CONTEXT) return false
  return subject.startsWith(asked)
}

/** The prefix of every subject. */
export const EVERY_SUBJECT = ANY_CONTEXT
