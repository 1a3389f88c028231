/** `/subjects`: names, look-up, versions, registration, deletion, who refers to a version. */
import type { FastifyRequest } from 'fastify'
import { cut, flag, formsOf, isPlain, pageOf, subjectOf, text, values, versionOf } from '../asked.ts'
import { EVERY_SUBJECT, isValidSubject } from '../naming.ts'
import { latestWith, lookedUp, type Shown, subjectNames, versionIn, versionsIn } from '../reading.ts'
import type { SchemaVersion } from '../records.ts'
import { refusals } from '../refusal.ts'
import { removeSubject, removeVersion } from '../registration.ts'
import { readSchema } from '../request.ts'
import { entityView, plainVersion, rawSchema, versionView } from '../views.ts'
import type { Routes } from './mount.ts'

const shownBy = (request: FastifyRequest): Shown => ({
  deleted: flag(request, 'deleted'),
  deletedOnly: flag(request, 'deletedOnly'),
})

/** Mounts them. */
export const subjectRoutes: Routes = (route, state) => {
  const { table } = state

  route('GET', '/subjects', (request) => {
    const page = pageOf(request)
    return cut(subjectNames(table, text(request, 'subjectPrefix') ?? EVERY_SUBJECT, shownBy(request)), page)
  })

  route('POST', '/subjects/:subject', async (request) => {
    const schema = readSchema(request.body, 'lookUpSchemaUnderSubject.arg5')
    const options = { normalize: flag(request, 'normalize'), deleted: flag(request, 'deleted') }
    const found = await state.query(() => lookedUp(table, subjectOf(request), schema, options))
    return versionView(table, found, { ...formsOf(request), tells: false })
  })

  route('DELETE', '/subjects/:subject', (request) => {
    const options = { permanent: flag(request, 'permanent') }
    return state.command(() => removeSubject(table, subjectOf(request), options))
  })

  route('GET', '/subjects/:subject/metadata', async (request) => {
    const [keys, wanted] = [values(request, 'key'), values(request, 'value')]
    const properties = new Map(keys.slice(0, wanted.length).map((key, i) => [key, wanted[i]!]))
    const deleted = flag(request, 'deleted')
    const found = await state.query(() => latestWith(table, subjectOf(request), properties, deleted))
    return versionView(table, found, { ...formsOf(request), tells: true })
  })

  route('GET', '/subjects/:subject/versions', async (request) => {
    const page = pageOf(request)
    const versions = await state.query(() => versionsIn(table, subjectOf(request), shownBy(request)))
    const negative = flag(request, 'deletedAsNegative')
    const numbers = versions.map(({ version, deleted }) => (deleted && negative ? -version : version))
    return cut(numbers, page)
  })

  route('POST', '/subjects/:subject/versions', async (request) => {
    const schema = readSchema(request.body, 'register.arg5')
    const subject = subjectOf(request)
    if (!isValidSubject(subject, 'schemas')) throw refusals.invalidSubject(subject)
    return entityView(await state.register(subject, schema, { normalize: flag(request, 'normalize') }))
  })

  const version = (request: FastifyRequest, deleted = flag(request, 'deleted')): Promise<SchemaVersion> => {
    const number = versionOf(request)
    return state.query(() => versionIn(table, subjectOf(request), number, deleted))
  }
  route('GET', '/subjects/:subject/versions/:version', async (request) => {
    const found = await version(request)
    return isPlain(request)
      ? plainVersion(table, found)
      : versionView(table, found, { ...formsOf(request), tells: true })
  })
  route('GET', '/subjects/:subject/versions/:version/schema', async (request) =>
    rawSchema(table, await version(request), formsOf(request)),
  )
  route('GET', '/subjects/:subject/versions/:version/referencedby', async (request) => {
    const page = pageOf(request)
    const { subject, version: number } = await version(request, true)
    return cut(table.referrersOf(subject, number), page)
  })
  route('DELETE', '/subjects/:subject/versions/:version', (request) => {
    const [number, options] = [versionOf(request), { permanent: flag(request, 'permanent') }]
    return state.command(() => removeVersion(table, subjectOf(request), number, options))
  })
}
