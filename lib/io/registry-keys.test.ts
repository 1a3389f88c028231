/** Goal: keys are read or refused by name, and no secret is shown. Method: settings as a user writes them, mistakes among them. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { loadConfig } from './config.ts'
import { isSecret, mayDo, parseHash, parseRegistryKeys, printHash, scryptOf, sha256Of } from './registry-keys.ts'

const hash = printHash(sha256Of('a-secret-of-some-length'))

describe('keys of the registry as settings', () => {
  it('hashes print and parse, and tell the secret from others', async () => {
    for (const made of [sha256Of('s'), await scryptOf('s')]) {
      const read = parseHash(printHash(made))!
      expect(read).toEqual(made)
      expect([await isSecret(read, 's'), await isSecret(read, 'S')]).toEqual([true, false])
    }
    for (const bad of ['', 'sha256:00', 'md5:00', 'scrypt:31:8:1:AAAAAAAAAAAAAAAAAAAAAA:' + 'A'.repeat(43)])
      expect(parseHash(bad)).toBeNull()
  })

  it('come from the environment, a file, or the configuration file as plain YAML', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'tidemark-keys-'))
    const entry = { name: 'ci', hash, scopes: [{ subjects: 'orders', allow: 'write' }] }
    await writeFile(join(directory, 'secret'), 'a-secret-of-some-length\n')
    await writeFile(join(directory, 'keys.json'), JSON.stringify([entry]))
    const fromSecret = { ...entry, hash: undefined, secret_file: join(directory, 'secret') }
    await writeFile(join(directory, 'config.yaml'), `registry_keys:\n  - ${JSON.stringify(fromSecret)}\n`)
    for (const env of [
      { TIDEMARK_REGISTRY_KEYS: JSON.stringify([entry]) },
      { TIDEMARK_REGISTRY_KEYS_FILE: join(directory, 'keys.json') },
      { TIDEMARK_CONFIG: join(directory, 'config.yaml') },
    ]) {
      const [key] = loadConfig(env).registryKeys!
      expect(printHash(key!.hash)).toBe(hash)
      expect([mayDo(key!, 'orders-value', 'read'), mayDo(key!, 'orders-value', 'admin')]).toEqual([true, false])
      expect(['order', 'x-orders', ''].map((subject) => mayDo(key!, subject, 'read'))).toEqual([false, false, false])
    }
    expect(loadConfig({}).registryKeys).toBeNull()
    await rm(directory, { recursive: true })
  })

  it('name every mistake, and never show what may be a secret', () => {
    const secret = 'hunter2-hunter2-hunter2'
    const problems: string[] = []
    const text = JSON.stringify([
      { name: 'a b', hash, scopes: [{ subjects: '', allow: 'read' }] },
      { name: 'c', hash: secret, scopes: [{ subjects: '', allow: 'read' }] },
      { name: 'd', hash, secret_file: secret, scopes: [] },
      { name: 'e', hash, scopes: [{ subjects: '', allow: 'all' }] },
      { name: 'f', hash, scopes: [{ subjects: '', allow: 'read' }], [secret]: secret },
      { name: 'g', hash, scopes: [{ subjects: '', allow: 'read' }] },
      { name: 'g', hash, scopes: [{ subjects: '', allow: 'read' }] },
      secret,
    ])
    expect(parseRegistryKeys(text, problems).map(({ name }) => name)).toEqual(['g'])
    for (const index of [1, 2, 3, 4, 5, 7, 8]) expect(problems.join('\n')).toContain(`key ${index}: `)
    expect(problems.join('\n')).not.toContain('hunter2')
    const broken = () => loadConfig({ TIDEMARK_REGISTRY_KEYS: `[${secret}: {` })
    expect(broken).toThrow(/TIDEMARK_REGISTRY_KEYS is no YAML/)
    expect(broken).not.toThrow(/hunter2/)
    expect(() => loadConfig({ TIDEMARK_REGISTRY_URL: `user:${secret}` })).toThrow(/TIDEMARK_REGISTRY_URL is no http/)
    expect(() => loadConfig({ TIDEMARK_REGISTRY_URL: `user:${secret}` })).not.toThrow(/hunter2/)
    expect(() => loadConfig({ TIDEMARK_REGISTRY_AUTH: secret })).not.toThrow(/hunter2/)
  })
})
