/** `tidemark schemas key`: makes a key of the registry. A generated secret is shown once and kept nowhere; its hash goes into the settings. */
import { randomBytes } from 'node:crypto'
import { stringify } from 'yaml'
import { ALLOWANCES, parseRegistryKeys, printHash, type RegistryScope, scryptOf, sha256Of } from '#io/registry-keys.ts'
import { CliError } from './client.ts'

/** A key that was made. */
export interface MadeKey {
  readonly name: string
  /** Generated; null when it was given. */
  readonly secret: string | null
  /** The entry of TIDEMARK_REGISTRY_KEYS, a list of one in YAML. */
  readonly entry: string
}

const usage = (detail: string): CliError =>
  new CliError({ code: 'USAGE', detail, hint: 'For example: tidemark schemas key ci --scope write:orders' }, 2)

/** `write:orders` → a scope; `read:` is for every subject. */
function scopeOf(text: string): RegistryScope {
  const at = text.indexOf(':')
  const allow = ALLOWANCES.find((one) => one === text.slice(0, Math.max(0, at)))
  if (allow === undefined) throw usage(`${text} is not of the form ${ALLOWANCES.join('|')}:<subject prefix>.`)
  return { subjects: text.slice(at + 1), allow }
}

/**
 * Makes a key. `given`: a password of a person, kept as scrypt; null generates 256 random bits, kept as SHA-256.
 * @throws CliError USAGE for a name or scope that is none, or a password below 12 characters
 */
export async function makeKey(name: string, scopes: readonly string[], given: string | null): Promise<MadeKey> {
  if (given !== null && given.length < 12) throw usage('A password has at least 12 characters.')
  const secret = given ?? randomBytes(32).toString('base64url')
  const hash = printHash(given === null ? sha256Of(secret) : await scryptOf(secret))
  const entry = stringify([{ name, hash, scopes: scopes.map(scopeOf) }])
  const problems: string[] = []
  parseRegistryKeys(entry, problems)
  if (problems.length > 0) throw usage(problems.join('; '))
  return { name, secret: given === null ? secret : null, entry }
}

/** The key for a terminal. */
export const keyText = ({ name, secret, entry }: MadeKey): string =>
  [
    ...(secret === null
      ? []
      : [
          'The secret, shown this once:',
          `  ${secret}`,
          '',
          `Clients send it as basic authentication, user ${name}, or as a bearer token:`,
          `  ${name}.${secret}`,
          '',
        ]),
    'The entry for the file that TIDEMARK_REGISTRY_KEYS_FILE names:',
    entry.trimEnd(),
  ].join('\n')
