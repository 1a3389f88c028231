/** House rules as functions from a file to its breaches, `path:line: problem, use …`; so that the rules themselves can be tested. */
import { posix } from 'node:path'
import type { SourceFile } from './source.ts'

/** Part of the house a path belongs to; null = free (tests, benches, tools). */
export function partOf(path: string): string | null {
  if (path.endsWith('.test.ts') || path.startsWith('test/') || path === 'vitest.config.ts') return null
  const match = /^(schemas|lib\/(?:core|format|metrics|io|testkit)|services\/[a-z-]+|batch|platform|infra)\//.exec(path)
  return match?.[1] ?? null
}

const LIBRARIES = ['schemas', 'lib/core', 'lib/format', 'lib/metrics', 'lib/io']

/** What each part may import, besides itself. */
export function mayImport(from: string, to: string): boolean {
  if (from === to || to === 'lib/testkit') return from === to || from === 'lib/testkit'
  switch (from) {
    case 'schemas':
    case 'lib/core':
      return false
    case 'lib/format':
      return to === 'lib/core' || to === 'schemas'
    case 'lib/metrics':
    case 'lib/io':
      return to === 'lib/core' || to === 'lib/format' || to === 'schemas'
    case 'platform':
    case 'lib/testkit':
      return true
    case 'infra':
      return to === 'schemas' || to === 'lib/io'
    default:
      return LIBRARIES.includes(to)
  }
}

const ALIASES: Record<string, string> = {
  '#schemas': 'schemas',
  '#core': 'lib/core',
  '#format': 'lib/format',
  '#metrics': 'lib/metrics',
  '#io': 'lib/io',
  '#testkit': 'lib/testkit',
}

/** Repository path of an import, or null for packages. */
export function resolveImport(from: string, specifier: string): string | null {
  if (specifier.startsWith('.')) return posix.normalize(posix.join(posix.dirname(from), specifier))
  const alias = ALIASES[specifier.split('/')[0]!]
  return alias === undefined ? null : `${alias}/${specifier.split('/').slice(1).join('/')}`
}

/** Imports against the law of the house. */
export function importBreaches(file: SourceFile): string[] {
  const from = partOf(file.path)
  if (from === null) return []
  return file.imports.flatMap(({ line, specifier }) => {
    const target = resolveImport(file.path, specifier)
    if (target === null) {
      if (specifier === 'kafkajs' && !file.path.startsWith('lib/io/'))
        return [`${file.path}:${line}: kafkajs outside lib/io, use the EventLog port`]
      if (from === 'lib/core') return [`${file.path}:${line}: core imports ${specifier}, use plain values`]
      return []
    }
    const to = partOf(target)
    return to === null || mayImport(from, to)
      ? []
      : [`${file.path}:${line}: ${from} imports ${to}, see the import law in docs/ARCHITECTURE.md`]
  })
}

/** Circles of imports among these files, each as the path around it: files of a circle can only be read together. */
export function importCircles(files: readonly SourceFile[]): string[] {
  const byPath = new Map(files.map((file) => [file.path, file]))
  const done = new Set<string>()
  const circles: string[] = []
  const visit = (file: SourceFile, way: readonly string[]): void => {
    const met = way.indexOf(file.path)
    if (met >= 0) circles.push([...way.slice(met), file.path].join(' > '))
    if (met >= 0 || done.has(file.path)) return
    for (const { specifier } of file.imports) {
      const target = byPath.get(resolveImport(file.path, specifier) ?? '')
      if (target !== undefined) visit(target, [...way, file.path])
    }
    done.add(file.path)
  }
  for (const file of files) visit(file, [])
  return circles
}

// kafkajs measures its throttling by the wall clock, so the patched timer of kafkajs-raw.ts has to ask the same one.
const BANNED: readonly {
  readonly pattern: RegExp
  readonly advice: string
  readonly allowed: (path: string) => boolean
}[] = [
  {
    pattern: /\bDate\.now\(|new Date\(\)/,
    advice: 'use the Clock that is passed in',
    allowed: (path) => path === 'lib/io/clock.ts' || path === 'lib/io/kafkajs-raw.ts',
  },
  // Adapters may bound their own waits; no number depends on it.
  {
    pattern: /\bperformance\.now\(/,
    advice: 'use the Clock that is passed in',
    allowed: (path) => path.startsWith('lib/io/') || path.startsWith('lib/testkit/') || path.startsWith('infra/'),
  },
  { pattern: /\bMath\.random\(/, advice: 'use a seed that is passed in', allowed: () => false },
  { pattern: /\bconsole\./, advice: 'use the logger, or process.stdout in a command', allowed: () => false },
  {
    pattern: /from 'node:fs/,
    advice: 'use a port of lib/io',
    allowed: (path) =>
      path.startsWith('lib/io/') ||
      path.startsWith('infra/') ||
      path.startsWith('platform/') ||
      path.startsWith('lib/testkit/') ||
      path === 'batch/cli.ts',
  },
  {
    pattern: /^\s*\/\/\s*(?:const|let|if|for|return|import|await)\b.*[;({]$/,
    advice: 'delete commented-out code',
    allowed: () => false,
  },
  { pattern: /\b(?:TODO|FIXME|XXX)\b(?!\(#\d+\))/, advice: 'name the issue: TODO(#n)', allowed: () => false },
]

/** Calls and texts that do not belong into product code. */
export function bannedBreaches(file: SourceFile): string[] {
  if (partOf(file.path) === null) return []
  return file.text
    .split('\n')
    .flatMap((text, i) =>
      BANNED.filter(({ pattern, allowed }) => pattern.test(text) && !allowed(file.path)).map(
        ({ advice }) => `${file.path}:${i + 1}: ${text.trim().slice(0, 60)}, ${advice}`,
      ),
    )
}

/** Exports without a docstring. */
export function docBreaches(file: SourceFile): string[] {
  if (partOf(file.path) === null) return []
  const lines = file.text.split('\n')
  return lines.flatMap((text, i) =>
    /^export (?:default )?(?:async )?(?:function|class|const|interface|type (?!\{)|abstract)/.test(text) &&
    !/\*\/\s*$|^export const .*$/.test(lines[i - 1] ?? '')
      ? [`${file.path}:${i + 1}: export without a docstring: ${text.slice(0, 60)}`]
      : [],
  )
}

/** Files that may hold two ideas: a question, not a breach. */
export function sizeQuestions(file: SourceFile): string[] {
  const lines = file.text.split('\n').length
  return lines > 400 ? [`${file.path}: ${lines} lines; does it hold two ideas?`] : []
}
