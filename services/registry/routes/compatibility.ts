/** `/compatibility`: whether a schema would be taken. Reasons are told when they are asked for (`verbose`). */
import type { FastifyRequest } from 'fastify'
import { flag, subjectOf, versionOf } from '../asked.ts'
import { canonicalize } from '../canonical.ts'
import { incompatibilities } from '../compatibility.ts'
import type { SchemaVersion } from '../records.ts'
import { RegistryRefusal, refusals } from '../refusal.ts'
import { normalizes } from '../registration.ts'
import { readSchema, type SchemaRequest } from '../request.ts'
import { configFor } from '../settings.ts'
import type { SchemaTable } from '../table.ts'
import type { Routes } from './mount.ts'

/** Mounts them. */
export const compatibilityRoutes: Routes = (route, state) => {
  const { table } = state

  /** Compares with what `versionsOf` gives. */
  async function compare(
    request: FastifyRequest,
    schema: SchemaRequest,
    versionsOf: (subject: string) => readonly SchemaVersion[],
  ): Promise<unknown> {
    const subject = subjectOf(request)
    const normalize = flag(request, 'normalize')
    const messages = await state.query(() =>
      messagesOf(table, subject, schema, {
        normalize,
        versions: versionsOf(subject),
        verbose: flag(request, 'verbose'),
      }),
    )
    return { is_compatible: messages.length === 0, ...(flag(request, 'verbose') ? { messages } : {}) }
  }

  route('POST', '/compatibility/subjects/:subject/versions', (request) => {
    const schema = readSchema(request.body, 'testCompatibilityForSubject.arg3')
    return compare(request, schema, (subject) => table.versionsOf(subject, false))
  })

  route('POST', '/compatibility/subjects/:subject/versions/:version', (request) => {
    const schema = readSchema(request.body, 'testCompatibilityBySubjectName.arg4')
    const number = versionOf(request)
    return compare(request, schema, (subject) => {
      const found = table.find(subject, number)
      if (found !== null && !found.deleted) return [found]
      // A subject without versions has nothing to be incompatible with; a number that is not there is a mistake.
      if (number === -1) return []
      throw refusals.versionNotFound(number)
    })
  })
}

function messagesOf(
  table: SchemaTable,
  subject: string,
  schema: SchemaRequest,
  options: { normalize: boolean; versions: readonly SchemaVersion[]; verbose: boolean },
): string[] {
  try {
    const normalize = normalizes(table, subject, options.normalize)
    const canon = canonicalize(table, subject, schema, { normalize, isNew: true })
    if (canon === null) throw refusals.emptySchema()
    return incompatibilities(canon, options.versions, configFor(table, subject), table)
  } catch (error) {
    // Who asks for reasons hears this one too.
    if (options.verbose && error instanceof RegistryRefusal && error.message.startsWith('Invalid schema ')) {
      return [error.message]
    }
    throw error
  }
}
