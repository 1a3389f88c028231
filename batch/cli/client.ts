/** The API as the command line uses it: JSON in and out; a problem body becomes a `CliError` with its code and hint. */

/** An error to be shown as code, detail and hint; `exitCode` see batch/cli.ts. */
export class CliError extends Error {
  override readonly name = 'CliError'
  readonly code: string
  readonly hint: string
  readonly exitCode: number
  constructor(problem: { code: string; detail: string; hint: string }, exitCode: number) {
    super(problem.detail)
    this.code = problem.code
    this.hint = problem.hint
    this.exitCode = exitCode
  }
}

/** An answer: its text as it came, and parsed when it is JSON. */
export interface ApiAnswer {
  readonly text: string
  readonly json: unknown
  readonly headers: Headers
}

/** Longest wait for an answer, ms. */
const TIMEOUT_MS = 60_000

/** The platform at one URL. */
export interface Api {
  /** @throws CliError with the problem's code, or UNREACHABLE */
  call(method: 'GET' | 'POST', path: string, options?: { body?: unknown; accept?: string }): Promise<ApiAnswer>
}

/** Calls the API at `url` (without a path). */
export function connectApi(url: string): Api {
  return {
    async call(method, path, { body, accept = 'application/json' } = {}) {
      let response: Response
      try {
        response = await fetch(new URL(path, url), {
          method,
          headers: { accept, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
          signal: AbortSignal.timeout(TIMEOUT_MS),
        })
      } catch (error) {
        const { message, cause: inner } = error as Error & { cause?: { code?: string } }
        const cause = inner?.code ?? message
        const hint = 'Start the platform with `npm start`, or give its address with --url.'
        throw new CliError({ code: 'UNREACHABLE', detail: `No answer from ${url} (${cause}).`, hint }, 69)
      }
      const text = await response.text()
      const isJson = /[/+]json/.test(response.headers.get('content-type') ?? '')
      const json: unknown = isJson && text !== '' ? JSON.parse(text) : null
      if (!response.ok) {
        const { code, detail, hint } = (json ?? {}) as Partial<Record<'code' | 'detail' | 'hint', string>>
        const problem = {
          code: code ?? `HTTP_${response.status}`,
          detail: detail ?? text.slice(0, 200),
          hint: hint ?? 'Is this a Tidemark platform?',
        }
        throw new CliError(problem, 1)
      }
      return { text, json, headers: response.headers }
    },
  }
}
