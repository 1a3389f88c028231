/**
 * Goal: credentials come to their key, a guess to nothing, and many guesses to a wait; a verified secret is known again at once.
 * Method: the verifier by itself on a clock that the test moves; headers of every kind.
 */
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { type RegistryKey, scryptOf, sha256Of } from '#io/registry-keys.ts'
import { createVirtualClock } from '#testkit/clock-virtual.ts'
import { runs } from '#testkit/runs.ts'
import { createVerifier, credentialsOf } from './auth-secrets.ts'

const secrets = { root: 'root-secret-0123456789', person: 'correct horse battery staple' }
let keys: RegistryKey[]
beforeAll(async () => {
  const scopes = [{ subjects: '', allow: 'read' as const }]
  keys = [
    { name: 'root', hash: sha256Of(secrets.root), scopes },
    { name: 'person', hash: await scryptOf(secrets.person), scopes },
  ]
})
const basic = (name: string, secret: string): string => `Basic ${Buffer.from(`${name}:${secret}`).toString('base64')}`

describe('verification', () => {
  it('guesses at the same time count as many, and a right secret is verified once', async () => {
    const clock = createVirtualClock()
    const verify = createVerifier(keys, clock)
    const right = { name: 'person', secret: secrets.person }
    const all = await Promise.all(Array.from({ length: 50 }, async () => verify(right, '1.1.1.1')))
    expect(all.every((verdict) => typeof verdict === 'object' && 'key' in verdict)).toBe(true)
    const guesses = await Promise.all(
      Array.from({ length: 50 }, async (_, i) => verify({ name: 'root', secret: `guess ${i}` }, '1.1.1.1')),
    )
    expect(guesses.filter((verdict) => verdict === 'refused')).toHaveLength(20)
    const waiting = await verify({ name: 'root', secret: secrets.root }, '1.1.1.1')
    expect(waiting).toMatchObject({ waitMs: 60_000 })
    expect(await verify({ name: 'root', secret: secrets.root }, '2.2.2.2')).toMatchObject({ key: { name: 'root' } })
    await clock.advance(60_000)
    expect(await verify({ name: 'root', secret: secrets.root }, '1.1.1.1')).toMatchObject({ key: { name: 'root' } })
  })

  it('a secret that was verified costs no scrypt again', async () => {
    const verify = createVerifier(keys, createVirtualClock())
    const right = { name: 'person', secret: secrets.person }
    // Each verification takes a tenth of a second; so many of them would not end in the time of a test.
    for (let i = 0; i < 2_000; i++) expect(await verify(right, '1.1.1.1')).toMatchObject({ key: { name: 'person' } })
    expect(await verify({ ...right, secret: 'another' }, '1.1.1.1')).toBe('refused')
  })

  it('takes basic and bearer, and nothing that only looks like them', () => {
    expect(credentialsOf(basic('a', 'b:c.d'))).toEqual({ name: 'a', secret: 'b:c.d' })
    expect(credentialsOf('bearer a.b.c')).toEqual({ name: 'a', secret: 'b.c' })
    for (const header of [
      undefined,
      '',
      'Basic',
      'Basic !!!',
      'Digest a.b',
      `Basic ${btoa('no colon')}`,
      'Bearer nodot',
    ])
      expect(credentialsOf(header)).toBeNull()
  })

  it('nothing that is written in the header opens the registry, or breaks it', async () => {
    const scheme = fc.constantFrom('Basic ', 'Bearer ', 'basic  ', 'Digest ', '')
    const plain = fc.tuple(fc.constantFrom('root', 'reader', 'nobody', ''), fc.constantFrom(':', '.', ''), fc.string())
    const token = fc.oneof(
      plain.map((parts) => Buffer.from(parts.join('')).toString('base64')),
      plain.map((parts) => parts.join('')),
      fc.string({ unit: fc.constantFrom(...'a Z 0 9 + / = . ~ - _ :'.split(' ')) }),
    )
    // Each from an address of its own, as far as the count goes: guesses are many here.
    const quick = keys.filter(({ hash }) => hash.kind === 'sha256')
    const verify = createVerifier(quick, createVirtualClock())
    let addresses = 0
    await fc.assert(
      fc.asyncProperty(scheme, token, async (kind, text) => {
        const credentials = credentialsOf(kind + text)
        if (credentials === null) return
        expect(await verify(credentials, `address ${addresses++}`)).toBe('refused')
      }),
      runs(2_000, 'headers'),
    )
  })
})
