/**
 * Goal: `tidemark schemas` finds registry, folder and key where they are set, works with other registries, and tells wrong usage.
 * Method: the command line against registries that are closed, other ones, or none.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { systemClock } from '#io/clock.ts'
import { isSecret, parseRegistryKeys, sha256Of } from '#io/registry-keys.ts'
import { createMemoryLog } from '#testkit/log-memory.ts'
import { workingCopy } from '#testkit/schemas-cli.ts'
import { startRegistry } from '../../services/registry/start.ts'

const copy = workingCopy()
const { run, schemas, put } = copy
afterEach(() => vi.unstubAllEnvs())

describe('usage, addresses and keys', () => {
  it('wrong usage and a registry that is not there end with 2', async () => {
    expect(await schemas('check')).toMatchObject({
      exitCode: 2,
      error: expect.stringMatching(/^USAGE: There is no/) as string,
    })
    await put('a.avsc', '"int"')
    await put('b.avsc', '"int"')
    expect(await schemas('check', '--subject', 's')).toMatchObject({
      exitCode: 2,
      error: expect.stringMatching(/^USAGE: --subject is for one schema/) as string,
    })
    expect((await run('schemas', 'check', `${copy.folder}/none`)).exitCode).toBe(2)
    expect((await run('schemas', 'check', copy.folder, '--registry', 'ftp://x')).exitCode).toBe(2)
    expect((await run('schemas')).exitCode).toBe(2)
    const away = await run('schemas', 'check', copy.folder, '--registry', 'http://127.0.0.1:9', '--json')
    expect([away.exitCode, JSON.parse(away.out)]).toMatchObject([2, { code: 'REGISTRY_UNREACHABLE' }])
  })

  it('takes address, folder and key from the settings, the key from a file too', async () => {
    const log = createMemoryLog({ clock: systemClock })
    const secret = 'ci-secret-0123456789'
    const keys = [{ name: 'ci', hash: sha256Of(secret), scopes: [{ subjects: 'mine', allow: 'read' as const }] }]
    const closed = await startRegistry({ log, clock: systemClock, port: 0, host: '127.0.0.1', keys })
    try {
      await put('mine.avsc', '"int"')
      vi.stubEnv('TIDEMARK_REGISTRY_URL', closed.url)
      vi.stubEnv('TIDEMARK_DEFINITIONS', copy.folder)
      const denied = await run('schemas', 'check')
      expect([denied.exitCode, denied.error]).toEqual([
        2,
        expect.stringMatching(/^REGISTRY_DENIED: .*answered 401 Unauthorized\n.*TIDEMARK_REGISTRY_AUTH/),
      ])
      await put('key', `ci:${secret}\n`)
      vi.stubEnv('TIDEMARK_REGISTRY_AUTH_FILE', join(copy.folder, 'key'))
      expect((await run('schemas', 'check')).exitCode).toBe(0)
      const writes = await run('schemas', 'register')
      expect([writes.exitCode, writes.error]).toEqual([
        2,
        expect.stringMatching(/^REGISTRY_DENIED: .*User is denied operation Write/),
      ])
      expect(writes.error).not.toContain(secret)
    } finally {
      await closed.close()
    }
  })

  it('works with a registry that compares with the last version only, without details', async () => {
    const server = createServer((request, response) => {
      const answer = (status: number, body: object) =>
        response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
      if (request.url === '/config') return answer(200, { compatibilityLevel: 'FULL' })
      if (request.url === '/subjects/x/versions/latest') return answer(200, { id: 1, version: 4, schema: '"long"' })
      if (request.url?.startsWith('/compatibility/subjects/x/versions/latest'))
        return answer(200, { is_compatible: false, messages: ['something else is wrong'] })
      if (request.url?.startsWith('/compatibility')) return answer(404, { error_code: 404, message: 'Not Found' })
      return answer(404, { error_code: request.url === '/subjects/x' ? 40403 : 40401, message: 'none' })
    }).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    try {
      await put('x.avsc', '"int"')
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
      const { exitCode, out } = await run('schemas', 'check', copy.folder, '--registry', url)
      expect(exitCode).toBe(1)
      expect(out).toMatch(/FULL +4 +incompatible/)
      expect(out).toContain('something else is wrong')
    } finally {
      server.close()
    }
  })

  it('makes a key whose entry is one, and shows a secret only when it made it', async () => {
    const made = await run('schemas', 'key', 'ci', '--scope', 'write:orders', 'read:', '--json')
    const { secret, entry } = JSON.parse(made.out) as { secret: string; entry: string }
    const problems: string[] = []
    const [key] = parseRegistryKeys(entry, problems)
    expect([problems, key!.scopes]).toEqual([
      [],
      [
        { subjects: 'orders', allow: 'write' },
        { subjects: '', allow: 'read' },
      ],
    ])
    expect(await isSecret(key!.hash, secret)).toBe(true)
    expect((await run('schemas', 'key', 'ci', '--scope', 'write:orders')).out).toContain('shown this once')
    expect((await run('schemas', 'key', 'a b', '--scope', 'write:orders')).exitCode).toBe(2)
    expect((await run('schemas', 'key', 'ci', '--scope', 'all:orders')).exitCode).toBe(2)
    expect((await run('schemas', 'key', 'ci')).exitCode).toBe(2)
  })
})
