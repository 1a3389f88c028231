/**
 * Keys of the registry: who may do what with which subjects, as YAML or JSON.
 *
 *   - name: ci-orders                       # [A-Za-z0-9_-], user name of basic authentication
 *     hash: sha256:<hex>                    # of a generated secret; or scrypt:<log2 N>:<r>:<p>:<salt>:<digest> of a password
 *     scopes:
 *       - { subjects: orders, allow: write } # every subject that begins with it; '' = all. read < write < admin
 *
 * In place of `hash`, `secret_file` names a file with the secret itself. Guarantees: a secret is kept as its hash only, compared
 * in constant time, and stands in no problem text.
 */
import { createHash, randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { parse as parseYaml } from 'yaml'

/** What a scope allows; each includes those before it. */
export const ALLOWANCES = ['read', 'write', 'admin'] as const
/** One of {@link ALLOWANCES}. */
export type Allowance = (typeof ALLOWANCES)[number]

/** Leave for every subject that begins with `subjects`. */
export interface RegistryScope {
  readonly subjects: string
  readonly allow: Allowance
}

/** A secret as it is kept. */
export type SecretHash =
  | { readonly kind: 'sha256'; readonly digest: Buffer }
  | { readonly kind: 'scrypt'; readonly cost: ScryptCost; readonly salt: Buffer; readonly digest: Buffer }

/** Cost of scrypt: N is 2 to `log2N`. */
export interface ScryptCost {
  readonly log2N: number
  readonly r: number
  readonly p: number
}

/** A key. */
export interface RegistryKey {
  readonly name: string
  readonly hash: SecretHash
  readonly scopes: readonly RegistryScope[]
}

const NAME = /^[A-Za-z0-9_-]{1,64}$/
/** OWASP's second choice, 32 MiB and about 80 ms: each verification of a new secret costs it once. */
const COST: ScryptCost = { log2N: 15, r: 8, p: 3 }
/** Above it a wrong password would be a way to fill the memory. */
const COST_MAX: ScryptCost = { log2N: 17, r: 16, p: 8 }
const DIGEST_BYTES = 32

/** SHA-256 of a secret: enough for one that was generated with 128 random bits or more, and none for a password. */
export const sha256Of = (secret: string): SecretHash => ({
  kind: 'sha256',
  digest: createHash('sha256').update(secret).digest(),
})

/** scrypt of a password, with a new salt. */
export async function scryptOf(secret: string): Promise<SecretHash> {
  const salt = randomBytes(16)
  return { kind: 'scrypt', cost: COST, salt, digest: await derive(secret, salt, COST) }
}

function derive(secret: string, salt: Buffer, { log2N, r, p }: ScryptCost): Promise<Buffer> {
  const N = 2 ** log2N
  return new Promise((resolve, reject) => {
    scrypt(secret, salt, DIGEST_BYTES, { N, r, p, maxmem: 256 * N * r }, (error, digest) =>
      error === null ? resolve(digest) : reject(error),
    )
  })
}

/** Whether the secret is the one of the hash; takes as long for a wrong one. */
export async function isSecret(hash: SecretHash, secret: string): Promise<boolean> {
  const digest = hash.kind === 'sha256' ? sha256Of(secret).digest : await derive(secret, hash.salt, hash.cost)
  return timingSafeEqual(digest, hash.digest)
}

/** The hash as text, as it stands in the settings. */
export function printHash(hash: SecretHash): string {
  if (hash.kind === 'sha256') return `sha256:${hash.digest.toString('hex')}`
  const { log2N, r, p } = hash.cost
  return `scrypt:${log2N}:${r}:${p}:${hash.salt.toString('base64url')}:${hash.digest.toString('base64url')}`
}

/** A hash from its text; null when it is none. */
export function parseHash(text: string): SecretHash | null {
  const plain = /^sha256:([0-9a-f]{64})$/i.exec(text)
  if (plain !== null) return { kind: 'sha256', digest: Buffer.from(plain[1]!, 'hex') }
  const parts = /^scrypt:(\d{1,2}):(\d{1,2}):(\d{1,2}):([\w-]{11,86}):([\w-]{43})$/.exec(text)
  if (parts === null) return null
  const [log2N, r, p] = parts.slice(1, 4).map(Number) as [number, number, number]
  if (log2N < 10 || log2N > COST_MAX.log2N || r < 1 || r > COST_MAX.r || p < 1 || p > COST_MAX.p) return null
  return {
    kind: 'scrypt',
    cost: { log2N, r, p },
    salt: Buffer.from(parts[4]!, 'base64url'),
    digest: Buffer.from(parts[5]!, 'base64url'),
  }
}

/** Reads keys. What is wrong goes to `problems`, one sentence each, with the place and never with a value that may be a secret. */
export function parseRegistryKeys(text: string, problems: string[]): RegistryKey[] {
  let entries: unknown
  try {
    entries = parseYaml(text, { maxAliasCount: 0 })
  } catch {
    // The parser quotes the line, which may hold a hash or a secret.
    problems.push('TIDEMARK_REGISTRY_KEYS is no YAML')
    return []
  }
  if (!Array.isArray(entries)) {
    problems.push('TIDEMARK_REGISTRY_KEYS is no list of keys')
    return []
  }
  const keys: RegistryKey[] = []
  for (const [index, entry] of entries.entries()) {
    const found: string[] = []
    const key = keyOf(entry, found)
    if (key !== null && keys.some(({ name }) => name === key.name)) found.push(`there are two keys ${key.name}`)
    problems.push(...found.map((message) => `TIDEMARK_REGISTRY_KEYS: key ${index + 1}: ${message}`))
    if (key !== null && found.length === 0) keys.push(key)
  }
  return keys
}

const FIELDS: ReadonlySet<string> = new Set(['name', 'hash', 'secret_file', 'scopes'])

function keyOf(entry: unknown, problems: string[]): RegistryKey | null {
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) {
    problems.push('is no mapping with name, hash (or secret_file) and scopes')
    return null
  }
  const { name, hash, secret_file: path, scopes } = entry as Readonly<Record<string, unknown>>
  const strange = Object.keys(entry).filter((field) => !FIELDS.has(field))
  if (strange.length > 0) problems.push(`knows only ${[...FIELDS].join(', ')}`)
  if (typeof name !== 'string' || !NAME.test(name))
    problems.push('name is not 1 to 64 of letters, digits, hyphen and underscore')
  if ((hash === undefined) === (path === undefined)) problems.push('needs either hash or secret_file')
  const kept = typeof path === 'string' ? hashOfFile(path, problems) : parseHash(typeof hash === 'string' ? hash : '')
  if (kept === null && hash !== undefined)
    problems.push('hash is no sha256:… or scrypt:…; make one with npx tidemark schemas key')
  const allowed = scopesOf(scopes, problems)
  return problems.length > 0 || kept === null ? null : { name: name as string, hash: kept, scopes: allowed }
}

function hashOfFile(path: string, problems: string[]): SecretHash | null {
  try {
    const secret = readFileSync(path, 'utf8').trim()
    if (secret.length >= 16) return sha256Of(secret)
    problems.push(`the secret in ${path} is shorter than 16 characters`)
  } catch (error) {
    problems.push(`secret_file cannot be read (${(error as { code?: string }).code ?? 'unknown'})`)
  }
  return null
}

function scopesOf(list: unknown, problems: string[]): RegistryScope[] {
  if (!Array.isArray(list) || list.length === 0) {
    problems.push('needs scopes, for example [{ subjects: orders, allow: read }]')
    return []
  }
  return list.flatMap((scope: unknown) => {
    const { subjects, allow, ...others } = (scope ?? {}) as Readonly<Record<string, unknown>>
    const known = ALLOWANCES.find((one) => one === allow)
    if (typeof subjects === 'string' && known !== undefined && Object.keys(others).length === 0)
      return [{ subjects, allow: known }]
    problems.push(`a scope is { subjects: <prefix>, allow: ${ALLOWANCES.join(' | ')} }`)
    return []
  })
}

/** Whether a key has leave for a subject, or with `''` for all of them. */
export const mayDo = ({ scopes }: RegistryKey, subject: string, need: Allowance): boolean =>
  scopes.some(
    ({ subjects, allow }) => subject.startsWith(subjects) && ALLOWANCES.indexOf(allow) >= ALLOWANCES.indexOf(need),
  )
