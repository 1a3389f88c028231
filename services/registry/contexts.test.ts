/** Contexts: ids of their own, addresses of their own, settings of their own; keys count for what is meant. */
import { describe, expect, it } from 'vitest'
import { parseRegistryKeys, printHash, sha256Of } from '#io/registry-keys.ts'
import { memoryLog, ok, record, refused, type Served, serve as serveBy } from '#testkit/registry-served.ts'
import { rewriteContext } from './addresses.ts'
import { startRegistry } from './start.ts'

const serve = (): Promise<Served> => serveBy(startRegistry)
const A = record({ name: 'a', type: 'int' })

describe('contexts', () => {
  it('[R1] ids are counted apart in every context; the default one is written or not', async () => {
    const { ask, register } = await serve()
    expect(await register('s', 'int')).toMatchObject(ok({ id: 1 }))
    expect(await register(':.c:s', A)).toMatchObject(ok({ id: 1 }))
    expect(await register(':.c:t', A)).toMatchObject(ok({ id: 1 }))
    expect(await register(':.:s', 'int')).toMatchObject(ok({ id: 1, version: 1 }))
    expect(await ask('GET', '/contexts')).toEqual(ok(['.', '.c']))
    expect(await ask('GET', '/subjects')).toEqual(ok([':.c:s', ':.c:t', 's']))
    expect(await ask('GET', '/subjects?subjectPrefix=:.c:')).toEqual(ok([':.c:s', ':.c:t']))
    expect(await ask('GET', '/subjects?subjectPrefix=s')).toEqual(ok(['s']))
    expect(await ask('GET', '/subjects?subjectPrefix=:*:s')).toEqual(ok([':.c:s', 's']))
    expect(await ask('GET', '/schemas/ids/1')).toMatchObject(ok({ schema: '"int"' }))
    expect(await ask('GET', '/schemas/ids/1?subject=:.c:')).toMatchObject(ok({ schema: JSON.stringify(A) }))
    expect(await ask('GET', '/schemas/ids/1?subject=t')).toMatchObject(ok({ subject: ':.c:t', version: 1 }))
    expect(await ask('GET', '/schemas/ids/1?subject=:.c:none')).toEqual(refused(40403, 'Schema 1 not found'))
  })

  it('[R1] an address under /contexts means the subject of that context', async () => {
    const { ask, register } = await serve()
    await register(':.c:s', A)
    expect(await ask('GET', '/contexts/.c/subjects')).toEqual(ok([':.c:s']))
    expect(await ask('GET', '/contexts/c/subjects/s/versions')).toEqual(ok([1]))
    expect(await ask('GET', '/contexts/.c/schemas/ids/1/schema')).toEqual(ok(A))
    expect(await ask('PUT', '/contexts/.c/config', { compatibility: 'NONE' })).toEqual(ok({ compatibility: 'NONE' }))
    expect(await ask('GET', '/config/:.c:s?defaultToGlobal=true')).toEqual(ok({ compatibilityLevel: 'NONE' }))
    expect(await ask('GET', '/config')).toEqual(ok({ compatibilityLevel: 'BACKWARD' }))
    expect(await register(':.c:s', 'string')).toMatchObject(ok({ id: 2 }))
  })

  it.each([
    ['/contexts/.c/subjects/a%2Fb/versions?x=1', '/subjects/%3A.c%3Aa%2Fb/versions?x=1'],
    ['/contexts/.c/compatibility/subjects/a/versions', '/compatibility/subjects/%3A.c%3Aa/versions'],
    ['/contexts/.c/subjects/:.d:a', '/subjects/%3A.d%3Aa'],
    ['/contexts/.c/mode', '/mode/%3A.c%3A'],
    ['/contexts/.c/subjects?subjectPrefix=a', '/subjects?subjectPrefix=%3A.c%3Aa'],
    ['/contexts/.c/subjects/%ZZ', '/contexts/.c/subjects/%ZZ'],
    ['/contexts/a%3Ab/subjects', '/contexts/a%3Ab/subjects'],
    ['/contexts', '/contexts'],
    ['/subjects/a', '/subjects/a'],
  ])('[R1] %s is %s', (url, expected) => {
    expect(rewriteContext(url)).toBe(expected)
  })

  it('[R5] a key for one subject reads neither the same name in a context nor an alias of another', async () => {
    const log = memoryLog()
    const open = await serveBy(startRegistry, log)
    await open.register('shop', 'int')
    await open.register('secret', 'string')
    await open.register(':.c:shop', A)
    await open.register(':.c:other', A)
    await open.ask('PUT', '/config/shop-alias', { alias: 'secret' })
    await open.close()
    const problems: string[] = []
    const secret = 'reader-secret-0123456789'
    const text = `- { name: reader, hash: "${printHash(sha256Of(secret))}", scopes: [{ subjects: shop, allow: read }] }`
    const keys = parseRegistryKeys(text, problems)
    expect(problems).toEqual([])
    const { url } = await serveBy((deps) => startRegistry({ ...deps, keys }), log)
    const authorization = `Bearer reader.${secret}`
    const get = async (path: string) => (await fetch(`${url}${path}`, { headers: { authorization } })).status
    expect(await get('/subjects/shop/versions/1')).toBe(200)
    expect(await get('/contexts/.c/subjects/shop/versions/1')).toBe(403)
    expect(await get('/subjects/shop-alias/versions/1')).toBe(403)
    expect(await get('/schemas/ids/1')).toBe(200)
    expect(await get('/schemas/ids/2')).toBe(403)
    expect(await get('/schemas/ids/1?subject=:.c:')).toBe(403)
    expect(await get('/schemas/ids/1?subject=other')).toBe(403)
    expect(await get('/contexts/.c/schemas/ids/1')).toBe(403)
    expect(await get('/schemas/guids/02c2e97c-c5cf-89d3-841f-0c647a9439ce')).toBe(403)
  })
})
