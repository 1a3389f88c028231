/**
 * Completes package-lock.json with the optional packages of other platforms: `node infra/npm/complete-lock.ts`, after `npm install`.
 *
 * npm writes only those that the registry at hand could resolve, and `npm ci` then refuses the lock ("Missing … from lock file").
 * Every such package is pinned by its parent to one version, so the entry follows from the name; npm skips it by `os` and `cpu`.
 */
import { readFileSync, writeFileSync } from 'node:fs'

interface Entry {
  version?: string
  dev?: boolean
  optional?: boolean
  os?: string[]
  cpu?: string[]
  libc?: string[]
  optionalDependencies?: Record<string, string>
}

const OS = ['android', 'darwin', 'freebsd', 'linux', 'openharmony', 'win32', 'aix', 'sunos', 'wasm32'] as const
const CPU = ['arm64', 'x64', 'ia32', 'ppc64', 'riscv64', 's390x', 'loong64', 'arm', 'wasm32'] as const

/** The entry of a platform package, by its name; null when the name tells no platform. */
export function platformEntry(name: string, version: string, dev: boolean): Entry | null {
  const words = name.split('/').at(-1)!.split(/[-.]/)
  const os = OS.find((word) => words.includes(word))
  const cpu = CPU.find((word) => words.includes(word))
  if (os === undefined || cpu === undefined) return null
  const libc =
    words.includes('musl') || words.includes('musleabihf') ? ['musl'] : words.includes('gnu') ? ['glibc'] : null
  return {
    version,
    ...(dev ? { dev } : {}),
    optional: true,
    os: [os],
    cpu: [cpu],
    ...(libc === null || os !== 'linux' ? {} : { libc }),
  }
}

if (import.meta.main) {
  const lock = JSON.parse(readFileSync('package-lock.json', 'utf8')) as { packages: Record<string, Entry> }
  let added = 0
  for (const parent of Object.values(lock.packages)) {
    for (const [name, version] of Object.entries(parent.optionalDependencies ?? {})) {
      const path = `node_modules/${name}`
      if (path in lock.packages || !/^\d/.test(version)) continue
      const entry = platformEntry(name, version, parent.dev === true)
      if (entry === null) continue
      lock.packages[path] = entry
      added++
    }
  }
  const sorted = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)))
  writeFileSync('package-lock.json', `${JSON.stringify({ ...lock, packages: sorted }, null, 2)}\n`)
  process.stdout.write(`${added} packages of other platforms added\n`)
}
