/**
 * References of schemas to versions of other subjects: each names a subject of the same context (or says which) and a version, -1
 * for its latest. What was once registered stays readable: for it soft deleted versions resolve too, for a new schema they do not.
 * Source: Confluent's AbstractSchemaProvider.
 */
import { LIMITS } from '#core/limits.ts'
import type { Reference } from './contract.ts'
import { relatedSubject } from './naming.ts'
import type { SchemaVersion } from './records.ts'

const STEPS_MAX = 64
/** Characters of their texts altogether. */
const TEXTS_MAX = 8 * LIMITS.schemaBytes

/** Why references cannot be resolved. */
export class ReferenceProblem extends Error {
  override readonly name = 'ReferenceProblem'
}

/** What references come to. */
export interface Resolved {
  /** The references with the numbers of the versions that they mean. */
  readonly references: readonly Reference[]
  /** Texts of the referenced schemas, each after those that it refers to. */
  readonly texts: readonly string[]
  /** Their subjects, each before those that it refers to. */
  readonly subjects: readonly string[]
}

/** Finds a version; -1 is the latest one that is not deleted. */
export type FindVersion = (subject: string, version: number) => SchemaVersion | null

/** As Confluent prints it in its sentences. */
export const showReference = (reference: Reference | null): string =>
  reference === null
    ? 'null'
    : `{name='${reference.name}', subject='${reference.subject}', version=${reference.version}}`

/** Resolves what a schema under `subject` refers to, directly and through others. @throws ReferenceProblem */
export function resolveReferences(
  subject: string,
  references: readonly (Reference | null)[],
  find: FindVersion,
): Resolved {
  const texts: string[] = []
  const subjects: string[] = []
  let chars = 0
  const visited = new Set<string>()

  function visit(parent: string, list: readonly (Reference | null)[], step: number): Reference[] {
    if (step > STEPS_MAX) throw new ReferenceProblem(`references lead over more than ${STEPS_MAX} steps`)
    return list.map((reference) => {
      if (reference === null || reference.name === null || reference.subject === null || reference.version === null) {
        throw new ReferenceProblem(`Invalid reference: ${showReference(reference)}`)
      }
      const { name, version } = reference
      if (version < 1 && version !== -1) throw new ReferenceProblem(`Invalid reference: ${showReference(reference)}`)
      const target = relatedSubject(parent, reference.subject)
      const found = find(target, version)
      if (found === null) {
        throw new ReferenceProblem(`No schema reference found for subject "${target}" and version ${version}`)
      }
      if (!visited.has(name)) {
        visited.add(name)
        if (visited.size > LIMITS.schemaReferences)
          throw new ReferenceProblem(`more than ${LIMITS.schemaReferences} referenced schemas`)
        subjects.push(target)
        visit(target, found.references as readonly Reference[], step + 1)
        chars += found.schema.length
        if (chars > TEXTS_MAX) throw new ReferenceProblem(`referenced schemas are larger than ${TEXTS_MAX} characters`)
        texts.push(found.schema)
      }
      return { name, subject: reference.subject, version: found.version }
    })
  }

  return { references: visit(subject, references, 1), texts, subjects }
}
