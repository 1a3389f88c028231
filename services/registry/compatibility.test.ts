/** Compatibility over HTTP: levels, directions, histories, the words of a refusal; references and settings take part. */
import { describe, expect, it } from 'vitest'
import type { MemoryLog } from '#testkit/log-memory.ts'
import { ok, record, refused, type Served, serve as serveBy } from '#testkit/registry-served.ts'
import { startRegistry } from './start.ts'

const serve = (log?: MemoryLog): Promise<Served> => serveBy(startRegistry, log)

const A = record({ name: 'a', type: 'int' })
const AB = record({ name: 'a', type: 'int' }, { name: 'b', type: 'int', default: 0 })
const AB_REQUIRED = record({ name: 'a', type: 'int' }, { name: 'b', type: 'int' })

describe('compatibility', () => {
  it('[R4] refuses an incompatible change with the reason and the path', async () => {
    const { register } = await serve()
    await register('s', A)
    expect(await register('s', AB_REQUIRED)).toEqual(
      refused(
        409,
        `Schema being registered is incompatible with an earlier schema for subject "s", details: [{errorType:'READER_FIELD_MISSING_DEFAULT_VALUE', ` +
          `description:'The field 'b' at path '/fields/1' in the new schema has no default value and is missing in the old schema', additionalInfo:'b'}, ` +
          `{oldSchemaVersion: 1}, {oldSchema: '${JSON.stringify(A)}'}, {validateFields: 'false', compatibility: 'BACKWARD'}]`,
      ),
    )
  })

  /** v1 {a}, v2 {a, b = 0}, then a candidate; which levels let it pass. */
  const C = record({ name: 'a', type: 'int' }, { name: 'b', type: 'int' })
  const B_ONLY = record({ name: 'b', type: 'int', default: 0 })
  const candidates: readonly (readonly [string, unknown, Readonly<Record<string, boolean>>])[] = [
    [
      'drops the default',
      C,
      {
        NONE: true,
        BACKWARD: true,
        BACKWARD_TRANSITIVE: false,
        FORWARD: true,
        FORWARD_TRANSITIVE: true,
        FULL: true,
        FULL_TRANSITIVE: false,
      },
    ],
    [
      'drops a field without default',
      B_ONLY,
      {
        NONE: true,
        BACKWARD: true,
        BACKWARD_TRANSITIVE: true,
        FORWARD: false,
        FORWARD_TRANSITIVE: false,
        FULL: false,
        FULL_TRANSITIVE: false,
      },
    ],
    [
      'changes a type',
      record({ name: 'a', type: 'string' }),
      {
        NONE: true,
        BACKWARD: false,
        BACKWARD_TRANSITIVE: false,
        FORWARD: false,
        FORWARD_TRANSITIVE: false,
        FULL: false,
        FULL_TRANSITIVE: false,
      },
    ],
    [
      'widens a type',
      record({ name: 'a', type: 'long' }),
      {
        NONE: true,
        BACKWARD: true,
        BACKWARD_TRANSITIVE: true,
        FORWARD: false,
        FORWARD_TRANSITIVE: false,
        FULL: false,
        FULL_TRANSITIVE: false,
      },
    ],
  ]
  it.each(candidates)('[R2] every level on a schema that %s', async (_name, schema, expected) => {
    const { ask, register } = await serve()
    await register('s', A)
    await register('s', AB)
    const verdicts: Record<string, unknown> = {}
    for (const level of Object.keys(expected)) {
      expect(await ask('PUT', '/config/s', { compatibility: level.toLowerCase() })).toEqual(
        ok({ compatibility: level }),
      )
      const { body } = await ask('POST', '/compatibility/subjects/s/versions', { schema: JSON.stringify(schema) })
      verdicts[level] = (body as { is_compatible: boolean }).is_compatible
    }
    expect(verdicts).toEqual(expected)
  })

  it('[R1] a check names its reasons when asked, takes no side effect, and one version when given', async () => {
    const { ask, register } = await serve()
    await register('s', A)
    await register('s', AB)
    const body = { schema: JSON.stringify(C) }
    expect(await ask('POST', '/compatibility/subjects/s/versions/latest', body)).toEqual(ok({ is_compatible: true }))
    expect(await ask('POST', '/compatibility/subjects/s/versions/1?verbose=true', body)).toEqual(
      ok({
        is_compatible: false,
        messages: [
          "{errorType:'READER_FIELD_MISSING_DEFAULT_VALUE', description:'The field 'b' at path '/fields/1' in the new schema has no default value and is missing in the old schema', additionalInfo:'b'}",
          '{oldSchemaVersion: 1}',
          `{oldSchema: '${JSON.stringify(A)}'}`,
          "{validateFields: 'false', compatibility: 'BACKWARD'}",
        ],
      }),
    )
    expect(await ask('POST', '/compatibility/subjects/none/versions/latest?verbose=true', body)).toEqual(
      ok({ is_compatible: true, messages: [] }),
    )
    expect(await ask('POST', '/compatibility/subjects/s/versions/9', body)).toEqual(
      refused(40402, 'Version 9 not found.'),
    )
    expect(await ask('GET', '/subjects/s/versions')).toEqual(ok([1, 2]))
  })

  it('[R1] deleted versions are not compared with, and their numbers are not used again', async () => {
    const { ask, register } = await serve()
    await register('s', A)
    expect((await register('s', 'string')).status).toBe(409)
    await ask('DELETE', '/subjects/s/versions/1')
    expect(await register('s', 'string')).toMatchObject(ok({ id: 2 }))
    expect(await ask('GET', '/subjects/s/versions')).toEqual(ok([2]))
  })
})
