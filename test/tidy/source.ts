/** The source files that the tidy suite looks at, with their imports. Reads the tree as git sees it: nothing generated, nothing ignored. */
import { execFileSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'

/** One TypeScript file of the repository. Paths are relative, `/`-separated. */
export interface SourceFile {
  readonly path: string
  readonly text: string
  readonly imports: readonly { readonly line: number; readonly specifier: string }[]
}

/** Import specifiers with their lines; static imports, re-exports and dynamic imports of literals. */
export function importsOf(text: string): { line: number; specifier: string }[] {
  const found: { line: number; specifier: string }[] = []
  for (const match of text.matchAll(/(?:\bfrom\s+|\bimport\s*\(\s*|^import\s+)'([^']+)'/gm)) {
    found.push({ line: text.slice(0, match.index).split('\n').length, specifier: match[1]! })
  }
  return found
}

const sizeOf = (path: string): number | undefined => statSync(path, { throwIfNoEntry: false })?.size

/** Paths as `git ls-files` lists them, but those that are deleted in the working tree. */
const listed = (...options: readonly string[]): string[] =>
  execFileSync('git', ['ls-files', '-z', ...options], { encoding: 'utf8' })
    .split('\0')
    .filter((path) => path !== '' && sizeOf(path) !== undefined)

const NEW_TOO = ['--cached', '--others', '--exclude-standard']

/** All TypeScript files, tracked or new. */
export const sourceFiles = (): SourceFile[] =>
  listed(...NEW_TOO, '*.ts').map((path) => {
    const text = readFileSync(path, 'utf8')
    return { path, text, imports: importsOf(text) }
  })

/** All pages, tracked or new. */
export const pageFiles = (): string[] => listed(...NEW_TOO, '*.md')

/** Tracked files of more than `bytesMax` bytes, of any kind. */
export const largeFiles = (bytesMax: number): string[] => listed().filter((path) => sizeOf(path)! > bytesMax)
