/** `/schemas`: schemas by id and GUID, and all of them. */
import type { FastifyRequest } from 'fastify'
import { cut, flag, formsOf, idOf, isPlain, pageOf, part, shownTo, text } from '../asked.ts'
import { aliasesBySubject, holdersFor, holdersOfGuid, told, versionsOfMany } from '../reading.ts'
import { contextOf, type SchemaVersion } from '../records.ts'
import { refusals } from '../refusal.ts'
import { plainSchema, rawSchema, schemaView, versionView } from '../views.ts'
import type { Routes } from './mount.ts'

const LIST_MAX = 1_000

/** Mounts them. */
export const schemaRoutes: Routes = (route, state) => {
  const { table } = state

  route('GET', '/schemas', (request) => {
    const { offset, limit } = pageOf(request, LIST_MAX)
    const prefix = text(request, 'subjectPrefix') ?? ''
    const aliases: ReturnType<typeof aliasesBySubject> = flag(request, 'aliases')
      ? aliasesBySubject(table, prefix, shownTo(request))
      : new Map()
    const versions = versionsOfMany(table, prefix, {
      deleted: flag(request, 'deleted'),
      latestOnly: flag(request, 'latestOnly'),
      ruleType: text(request, 'ruleType') || null,
      aliases,
      count: offset + limit,
    })
    return versions.slice(offset, offset + limit).map((version) => {
      const names = aliases.get(version.subject)
      const view = versionView(table, version, { tells: true })
      return names === undefined ? view : { ...view, aliases: names }
    })
  })

  route('GET', '/schemas/types', () => ['AVRO'])

  route('GET', '/schemas/ids/:id', async (request) => {
    const id = idOf(request)
    const hint = text(request, 'subject')
    const found = told(await state.holders(id, hint), hint)!
    if (isPlain(request)) return plainSchema(table, found)
    const maxId = flag(request, 'fetchMaxId') ? table.idMaxOf(contextOf(found.subject)) : null
    return schemaView(table, found, { ...formsOf(request), named: (hint ?? '') !== '', maxId })
  })

  route('GET', '/schemas/ids/:id/schema', async (request) => {
    const hint = text(request, 'subject')
    const found = told(await state.holders(idOf(request), hint), hint)!
    return rawSchema(table, found, formsOf(request))
  })

  const named = (request: FastifyRequest): Promise<readonly SchemaVersion[]> => {
    const [id, deleted] = [idOf(request), flag(request, 'deleted')]
    return state.query(() => {
      const holders = holdersFor(table, id, text(request, 'subject'))
      if (holders.length === 0) throw refusals.schemaNotFound()
      return deleted ? holders : holders.filter((held) => !held.deleted)
    })
  }
  route('GET', '/schemas/ids/:id/subjects', async (request) => {
    const page = pageOf(request)
    return cut([...new Set((await named(request)).map(({ subject }) => subject))], page)
  })
  route('GET', '/schemas/ids/:id/versions', async (request) => {
    const page = pageOf(request)
    return cut(await named(request), page).map(({ subject, version }) => ({ subject, version }))
  })

  const withGuid = (request: FastifyRequest): Promise<readonly SchemaVersion[]> =>
    state.query(() => {
      const holders = holdersOfGuid(table, part(request, 'guid').toLowerCase())
      if (holders.length === 0) throw refusals.schemaNotFound()
      return holders
    })
  route('GET', '/schemas/guids/:guid', async (request) =>
    schemaView(table, told(await withGuid(request), null)!, {
      ...formsOf(request),
      named: false,
      maxId: null,
    }),
  )
  route('GET', '/schemas/guids/:guid/ids', async (request) => {
    const ids = new Map((await withGuid(request)).map(({ subject, id }) => [contextOf(subject), id]))
    return [...ids].map(([context, id]) => ({ context, id }))
  })
}
