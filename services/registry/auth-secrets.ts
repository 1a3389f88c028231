/**
 * Whose secret is it? Credentials of a request become a key, or nothing; who guesses is told to wait.
 *
 * A password's scrypt takes tens of milliseconds, so a secret that was verified is known again by its salted hash, and the same
 * one is verified once however many requests bring it at the same time. Failures are counted by address and key name before the
 * verification begins: a burst of guesses counts as many. Unknown names share one count per address and cost the same work.
 */
import { hash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Clock } from '#io/ports.ts'
import { isSecret, type RegistryKey } from '#io/registry-keys.ts'

/** What credentials came to: the key; `refused`; or how long to wait. */
export type Verdict = { readonly key: RegistryKey } | 'refused' | { readonly waitMs: number }

/** Credentials of a request: basic's user and password, or the two parts of a bearer token `name.secret`. */
export interface Credentials {
  readonly name: string
  readonly secret: string
}

/** Failed attempts of one address and name, and the time in which they count. */
const FAILURES_MAX = 20
const WINDOW_MS = 60_000
/** Counts kept; the oldest goes first, so that many addresses cannot fill the memory. */
const COUNTS_MAX = 10_000

/** Credentials of an `Authorization` header; null when there are none that this registry takes. */
export function credentialsOf(header: string | undefined): Credentials | null {
  const [, scheme, token] = /^(basic|bearer) +([\w\-.~+/]+=*)$/i.exec(header ?? '') ?? []
  if (scheme === undefined || token === undefined) return null
  const isBasic = scheme.toLowerCase() === 'basic'
  const text = isBasic ? Buffer.from(token, 'base64').toString('utf8') : token
  const at = text.indexOf(isBasic ? ':' : '.')
  return at < 0 ? null : { name: text.slice(0, at), secret: text.slice(at + 1) }
}

/** Verifies credentials against the keys. */
export function createVerifier(keys: readonly RegistryKey[], clock: Clock) {
  const named = new Map(keys.map((key) => [key.name, key]))
  /** Nothing that is kept of a secret means anything outside this process. */
  const salt = randomBytes(32)
  /** Salted hash of the secret that was verified last, by key name. */
  const verified = new Map<string, Buffer>()
  const verifying = new Map<string, Promise<boolean>>()
  const counts = new Map<string, { failures: number; untilMs: number }>()
  /** Who is nobody costs as much as the dearest key: a quick refusal would say that there is no such name. */
  const decoy = keys.find(({ hash }) => hash.kind === 'scrypt') ?? keys[0]

  function countOf(id: string): { failures: number; untilMs: number } {
    const now = clock.monotonic()
    const known = counts.get(id)
    if (known !== undefined && known.untilMs > now) return known
    const fresh = { failures: 0, untilMs: now + WINDOW_MS }
    counts.delete(id)
    if (counts.size >= COUNTS_MAX) counts.delete(counts.keys().next().value!)
    counts.set(id, fresh)
    return fresh
  }

  /** At once for a secret that was verified: most requests bring one, and none of them waits its turn for it. */
  return function verify({ name, secret }: Credentials, address: string): Verdict | Promise<Verdict> {
    const key = named.get(name)
    const count = countOf(`${address} ${key === undefined ? '' : name}`)
    if (count.failures >= FAILURES_MAX) return { waitMs: count.untilMs - clock.monotonic() }
    const mark = hash('sha256', Buffer.concat([salt, Buffer.from(secret)]), 'buffer')
    const last = verified.get(name)
    if (key !== undefined && last !== undefined && timingSafeEqual(last, mark)) return { key }
    return verifyAnew({ name, secret, key, mark, count })
  }

  async function verifyAnew(attempt: {
    name: string
    secret: string
    key: RegistryKey | undefined
    mark: Buffer
    count: { failures: number }
  }): Promise<Verdict> {
    const { name, secret, key, mark, count } = attempt
    const id = `${name} ${mark.toString('hex')}`
    let running = verifying.get(id)
    if (running === undefined) {
      count.failures++
      const kept = (key ?? decoy)?.hash
      running = (kept === undefined ? Promise.resolve(false) : isSecret(kept, secret)).finally(() =>
        verifying.delete(id),
      )
      verifying.set(id, running)
      if ((await running) && key !== undefined) {
        count.failures--
        verified.set(name, mark)
      }
    }
    return (await running) && key !== undefined ? { key } : 'refused'
  }
}
