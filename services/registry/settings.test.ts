/** Settings and modes over HTTP: global, of subjects, inherited; what they change and what is refused. */
import { describe, expect, it } from 'vitest'
import type { MemoryLog } from '#testkit/log-memory.ts'
import { memoryLog, ok, record, recordsOf, refused, type Served, serve as serveBy } from '#testkit/registry-served.ts'
import { startRegistry } from './start.ts'

const serve = (log?: MemoryLog): Promise<Served> => serveBy(startRegistry, log)

const A = record({ name: 'a', type: 'int' })
const AB = record({ name: 'a', type: 'int' }, { name: 'b', type: 'int', default: 0 })

describe('settings', () => {
  it('[R1] levels: global, per subject, inherited, unset', async () => {
    const { ask } = await serve()
    expect(await ask('GET', '/config')).toEqual(ok({ compatibilityLevel: 'BACKWARD' }))
    expect(await ask('GET', '/config/s')).toEqual(
      refused(40408, "Subject 's' does not have subject-level compatibility configured"),
    )
    expect(await ask('GET', '/config/s?defaultToGlobal=true')).toEqual(ok({ compatibilityLevel: 'BACKWARD' }))
    expect(await ask('PUT', '/config', { compatibility: 'FULL' })).toEqual(ok({ compatibility: 'FULL' }))
    expect(await ask('PUT', '/config/s', { compatibility: 'NONE' })).toEqual(ok({ compatibility: 'NONE' }))
    expect(await ask('GET', '/config/s')).toEqual(ok({ compatibilityLevel: 'NONE' }))
    expect(await ask('DELETE', '/config/s')).toEqual(ok({ compatibilityLevel: 'NONE' }))
    expect(await ask('DELETE', '/config/s')).toEqual(refused(40401, "Subject 's' not found."))
    expect(await ask('DELETE', '/config')).toEqual(ok({ compatibilityLevel: 'FULL' }))
    expect(await ask('GET', '/config')).toEqual(ok({ compatibilityLevel: 'BACKWARD' }))
    expect(await ask('PUT', '/config', { compatibility: 'SIDEWAYS' })).toEqual(
      refused(
        42203,
        'Invalid compatibility level. Valid values are none, backward, forward, full, backward_transitive, forward_transitive, and full_transitive',
      ),
    )
    expect(await ask('GET', '/mode')).toEqual(ok({ mode: 'READWRITE' }))
    expect(await ask('GET', '/mode/s')).toEqual(
      refused(40409, "Subject 's' does not have subject-level mode configured"),
    )
    expect(await ask('GET', '/mode/s?defaultToGlobal=true')).toEqual(ok({ mode: 'READWRITE' }))
  })

  it('[R1] settings are changed by what a request names; null unsets; all are told in order', async () => {
    const { ask } = await serve()
    const first = { normalize: true, compatibilityGroup: 'major', compatibility: 'full' }
    const stands = { ...first, compatibility: 'FULL' }
    expect(await ask('PUT', '/config/s', first)).toEqual(ok(stands))
    expect(await ask('PUT', '/config/s', { alias: 't', defaultMetadata: { properties: { b: '2', a: 1 } } })).toEqual(
      ok({ ...stands, alias: 't', defaultMetadata: { properties: { a: '1', b: '2' } } }),
    )
    expect(JSON.stringify((await ask('GET', '/config/s')).body)).toBe(
      '{"alias":"t","normalize":true,"compatibilityLevel":"FULL","compatibilityGroup":"major",' +
        '"defaultMetadata":{"properties":{"a":"1","b":"2"}}}',
    )
    const none = { compatibilityGroup: null, defaultMetadata: null, alias: null }
    expect(await ask('PUT', '/config/s', none)).toEqual(ok({ normalize: true, compatibility: 'FULL' }))
    expect(await ask('GET', '/config/s')).toEqual(ok({ normalize: true, compatibilityLevel: 'FULL' }))
  })

  it('[R1] normalize, asked for or set, gives one schema for texts that mean the same', async () => {
    const { ask, register } = await serve()
    const plain = { type: 'record', name: 'R', fields: [{ name: 'x', type: 'int', q: 1, p: { z: 1, y: 2 } }] }
    const other = { type: 'record', name: 'R', fields: [{ name: 'x', type: 'int', p: { y: 2, z: 1 }, q: 1 }] }
    expect(await register('a', plain, {}, '?normalize=true')).toMatchObject(ok({ id: 1 }))
    expect(await register('a', other, {}, '?normalize=true')).toMatchObject(ok({ id: 1 }))
    await ask('PUT', '/config/b', { normalize: true })
    expect(await register('b', other)).toMatchObject(ok({ id: 1 }))
    expect(await ask('POST', '/subjects/b', { schema: JSON.stringify(plain) })).toMatchObject(ok({ id: 1 }))
    expect(await ask('POST', '/subjects/a', { schema: JSON.stringify(plain) })).toEqual(
      refused(40403, 'Schema not found'),
    )
    expect(await register('c', plain)).toMatchObject(ok({ id: 2 }))
  })

  it('[R1] an alias stands for its subject, one step far', async () => {
    const { ask, register } = await serve()
    await register('s', A)
    await ask('PUT', '/config/nick', { alias: 's' })
    await ask('PUT', '/config/nicknick', { alias: 'nick' })
    expect(await ask('GET', '/subjects/nick/versions')).toEqual(ok([1]))
    expect(await ask('GET', '/subjects/nicknick/versions')).toEqual(refused(40401, "Subject 'nick' not found."))
    expect(await register('nick', AB)).toMatchObject(ok({ id: 2, version: 2 }))
    expect(await ask('GET', '/subjects/s/versions')).toEqual(ok([1, 2]))
    expect(await ask('GET', '/config/nick')).toEqual(ok({ alias: 's', compatibilityLevel: 'BACKWARD' }))
    expect(await ask('GET', '/schemas?aliases=true&latestOnly=true')).toMatchObject(ok([{ id: 2, aliases: ['nick'] }]))
  })

  it('[R1] a default for the metadata wraps what is registered, an override wins, a version hands on', async () => {
    const { ask, register } = await serve()
    await register('s', A, { metadata: { properties: { owner: 'me', kind: 'x' } } })
    await ask('PUT', '/config/s', {
      defaultMetadata: { properties: { owner: 'nobody', team: 'shop' } },
      overrideMetadata: { properties: { kind: 'y' } },
    })
    expect(await register('s', AB)).toMatchObject(
      ok({ version: 2, metadata: { properties: { kind: 'y', owner: 'me', team: 'shop' } } }),
    )
    expect(await ask('GET', '/subjects/s/metadata?key=owner&value=me&key=kind&value=x')).toMatchObject(
      ok({ version: 1 }),
    )
    expect(await ask('GET', '/subjects/s/metadata?key=owner&value=me')).toMatchObject(ok({ version: 2 }))
  })

  it('[R2] a group compares only versions whose metadata agree', async () => {
    const { ask, register } = await serve()
    const major = (of: string) => ({ metadata: { properties: { major: of } } })
    await ask('PUT', '/config/s', { compatibilityGroup: 'major' })
    await register('s', A, major('1'))
    expect((await register('s', 'string', major('1'))).status).toBe(409)
    expect(await register('s', 'string', major('2'))).toMatchObject(ok({ version: 2 }))
    expect(await register('s', AB, major('1'))).toMatchObject(ok({ version: 3 }))
  })

  it('[R1] READONLY refuses every change and no question; what stands is still found', async () => {
    const { ask, register } = await serve()
    await register('s', A)
    expect(await ask('PUT', '/mode/s', { mode: 'readonly' })).toEqual(ok({ mode: 'readonly' }))
    expect(await ask('GET', '/mode/s')).toEqual(ok({ mode: 'READONLY' }))
    const readOnly = refused(42205, 'Subject s in context  is in read-only mode')
    expect(await register('s', AB)).toEqual(readOnly)
    expect(await register('s', A)).toMatchObject(ok({ id: 1 }))
    expect(await ask('DELETE', '/subjects/s')).toEqual(readOnly)
    expect(await ask('DELETE', '/subjects/s/versions/1')).toEqual(readOnly)
    expect(await ask('PUT', '/config/s', { compatibility: 'NONE' })).toEqual(readOnly)
    expect(await ask('DELETE', '/mode/s')).toEqual(ok({ mode: 'READONLY' }))
    expect((await register('s', AB)).status).toBe(200)
  })

  it('[R1] [R3] IMPORT takes ids and versions as given, wants an empty subject, and clears what was soft deleted', async () => {
    const log = memoryLog()
    const { ask, register } = await serve(log)
    await register('s', A)
    expect(await ask('PUT', '/mode/s', { mode: 'IMPORT' })).toEqual(
      refused(42205, 'Cannot import since found existing subjects'),
    )
    expect(await register('s', AB, { id: 9 })).toEqual(refused(42205, 'Subject s in context  is not in import mode'))
    await ask('DELETE', '/subjects/s')
    expect(await ask('PUT', '/mode/s', { mode: 'IMPORT' })).toEqual(ok({ mode: 'IMPORT' }))
    expect(await ask('GET', '/subjects/s/versions?deleted=true')).toEqual(refused(40401, "Subject 's' not found."))
    expect(await register('s', 'string', { id: 50, version: 7 })).toMatchObject(ok({ id: 50, version: 7 }))
    expect(await register('s', 'long', { id: 50, version: 8 })).toEqual(
      refused(42205, 'Overwrite new schema with id 50 in context  is not permitted.'),
    )
    expect(await register('s', 'long', { id: 51, version: 7 })).toEqual(
      refused(42205, 'Subject s has schema 50 as version 7; a version is not replaced. Delete it first.'),
    )
    expect(await register('s', 'long')).toEqual(refused(42205, 'Subject s in context  is not in read-write mode'))
    expect(await register('s', 'long', { id: 20, version: 3 })).toMatchObject(ok({ id: 20, version: 3 }))
    expect(await ask('GET', '/subjects/s/versions')).toEqual(ok([3, 7]))
    expect(await ask('DELETE', '/mode/s')).toEqual(ok({ mode: 'IMPORT' }))
    await ask('PUT', '/config/s', { compatibility: 'NONE' })
    expect(await register('s', 'bytes')).toMatchObject(ok({ id: 51, version: 8 }))
    expect((await recordsOf(log)).map(([key]) => key)).toContain('{"keytype":"CLEAR_SUBJECT","subject":"s","magic":0}')
  })
})
