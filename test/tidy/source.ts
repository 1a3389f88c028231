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

/** All TypeScript files, tracked or new. */
export function sourceFiles(): SourceFile[] {
  const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.ts'], {
    encoding: 'utf8',
  })
  return listed
    .split('\n')
    .filter((path) => path !== '')
    .flatMap((path) => {
      try {
        const text = readFileSync(path, 'utf8')
        return [{ path, text, imports: importsOf(text) }]
      } catch {
        return [] // Deleted in the working tree.
      }
    })
}

/** Tracked files of more than `bytesMax` bytes, of any kind. */
export function largeFiles(bytesMax: number): string[] {
  const listed = execFileSync('git', ['ls-files'], { encoding: 'utf8' }).split('\n')
  return listed.filter((path) => path !== '' && (statSync(path, { throwIfNoEntry: false })?.size ?? 0) > bytesMax)
}
