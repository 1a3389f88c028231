/** Writes the reference pages that follow from tables in the code: `node infra/docs/generate.ts`. A tidy test holds them fresh. */
import { writeFileSync } from 'node:fs'
import { SETTINGS } from '#io/config.ts'
import { ERRORS } from '#io/errors.ts'

/** Pages by path, as they must stand in the repository. */
export function referencePages(): Readonly<Record<string, string>> {
  const retry = { now: 'at once', later: 'with back-off', never: 'no' } as const
  const errors = Object.entries(ERRORS)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([code, { retry: when, status, hint }]) => `| \`${code}\` | ${status} | ${retry[when]} | ${hint} |`)
  const settings = Object.entries(SETTINGS).map(
    ([name, { fallback, meaning }]) =>
      `| \`TIDEMARK_${name}\` | ${fallback === '' ? '–' : `\`${fallback}\``} | ${meaning} |`,
  )
  return {
    'docs/errors.md': [
      '# Error codes',
      '',
      'Generated from `lib/io/errors.ts`. HTTP bodies are RFC 9457 problems with `code`, `detail` and `hint`; processes print code, sentence and hint and exit 1.',
      '',
      '| code | HTTP | retried | what to do |',
      '|---|---|---|---|',
      ...errors,
      '',
    ].join('\n'),
    'docs/settings.md': [
      '# Settings',
      '',
      'Generated from `lib/io/config.ts`. Environment variables; or one YAML file named by `TIDEMARK_CONFIG` with the same names in lower case and without the prefix. The environment wins. Every setting also exists as `…_FILE` (read from a file). The command line reads the platform’s address from `TIDEMARK_URL`.',
      '',
      '| variable | default | meaning |',
      '|---|---|---|',
      ...settings,
      '',
    ].join('\n'),
  }
}

if (import.meta.main) for (const [path, text] of Object.entries(referencePages())) writeFileSync(path, text)
