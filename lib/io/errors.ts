/**
 * Operating errors: one class, many codes. Codes are the table below; docs/errors.md is generated from it.
 * Bad data are values (core/outcome), broken invariants are assertions (core/assert); only the outside world throws these.
 */

/** What the caller may do: retry at once, retry with back-off, or stop (the process or the job must fail). */
export type Retry = 'now' | 'later' | 'never'

/** Code → retry, HTTP status and what a person does about it. */
export const ERRORS = {
  LOG_UNREACHABLE: { retry: 'later', status: 503, hint: 'Check that the broker address is right and the broker runs.' },
  LOG_APPEND_UNKNOWN: {
    retry: 'later',
    status: 503,
    hint: 'The append may or may not have happened; send the same events again with the same ids.',
  },
  LOG_TOPIC_UNKNOWN: { retry: 'never', status: 404, hint: 'Create the topic, or check the stream name.' },
  LOG_LOCKED: {
    retry: 'never',
    status: 503,
    hint: 'Another process uses this data directory; stop it or set TIDEMARK_DATA_DIR.',
  },
  DATA_LOSS_SUSPECTED: {
    retry: 'never',
    status: 503,
    hint: 'The log no longer holds the position to read from; see docs/operating.md before restarting.',
  },
  LOG_INCARNATION_CHANGED: {
    retry: 'never',
    status: 503,
    hint: 'The topic was created again; archive the old lake elsewhere or restore the topic.',
  },
  RECORD_TOO_LARGE: { retry: 'never', status: 413, hint: 'Send smaller records.' },
  LAKE_UNWRITABLE: {
    retry: 'never',
    status: 503,
    hint: 'Make the folder writable or set TIDEMARK_LAKE to one that is.',
  },
  LAKE_DISK_FULL: { retry: 'later', status: 503, hint: 'Free disk space; work goes on by itself.' },
  LAKE_DAMAGED: { retry: 'never', status: 500, hint: 'Run `npx tidemark verify`; it names the file and the range.' },
  MANIFEST_CONFLICT: { retry: 'now', status: 409, hint: 'Another writer was first; the chain is read again.' },
  REGISTRY_UNREACHABLE: {
    retry: 'later',
    status: 503,
    hint: 'Check TIDEMARK_REGISTRY_URL and that the registry runs.',
  },
  REGISTRY_DENIED: {
    retry: 'later',
    status: 503,
    hint: 'Check TIDEMARK_REGISTRY_AUTH, or user and password in the URL, and the scopes of that key.',
  },
  SCHEMA_INCOMPATIBLE: {
    retry: 'never',
    status: 409,
    hint: 'Make the change compatible or register under a new subject.',
  },
  SCHEMA_INVALID: { retry: 'never', status: 422, hint: 'Correct the schema at the named place.' },
  SCHEMA_UNKNOWN: { retry: 'never', status: 404, hint: 'Register the schema first.' },
  DEFINITIONS_INVALID: { retry: 'never', status: 422, hint: 'Fix the listed lines.' },
  CONFIG_INVALID: { retry: 'never', status: 500, hint: 'Fix the listed settings.' },
  PORT_TAKEN: {
    retry: 'never',
    status: 500,
    hint: 'Stop the other process or set TIDEMARK_PORT / TIDEMARK_REGISTRY_PORT.',
  },
  DATA_DIR_UNWRITABLE: { retry: 'never', status: 500, hint: 'Make the folder writable or set TIDEMARK_DATA_DIR.' },
  QUEUE_UNREACHABLE: { retry: 'later', status: 503, hint: 'Check TIDEMARK_REDIS_URL and that Redis runs.' },
  DUCKDB_FAILED: {
    retry: 'later',
    status: 500,
    hint: 'See the message; memory and thread limits are in docs/operating.md.',
  },
  ARCHIVE_BEHIND: {
    retry: 'later',
    status: 503,
    hint: 'The archive has not reached the cut yet; the job waits and tries again.',
  },
  SEALED_MISSING: { retry: 'never', status: 409, hint: 'A sealed partial is missing; run a replay of the range.' },
  JOB_UNKNOWN: { retry: 'never', status: 404, hint: 'List the jobs with GET /v1/jobs.' },
  JOB_STATE: { retry: 'never', status: 409, hint: 'The job is not in a state in which this can be done.' },
  CUT_UNCOVERED: { retry: 'later', status: 409, hint: 'Wait for the speed layer, or run a build-view job.' },
  SPEED_BEHIND: { retry: 'later', status: 503, hint: 'The speed layer is still reading; ask again in a moment.' },
  RANGE_TOO_WIDE: {
    retry: 'never',
    status: 422,
    hint: 'Narrow the range, use a coarser grain, or give order and limit.',
  },
  NOT_ADDITIVE: { retry: 'never', status: 422, hint: "Ask for the parts instead, or at the metric's own grain." },
  NUMBER_INEXACT: { retry: 'never', status: 406, hint: 'Ask with ?numbers=string.' },
  METRIC_UNKNOWN: { retry: 'never', status: 404, hint: 'List the metrics with GET /v1/metrics.' },
  STREAM_UNKNOWN: { retry: 'never', status: 404, hint: 'List the streams with GET /v1/streams.' },
  VIEW_UNKNOWN: { retry: 'never', status: 404, hint: 'List the views with GET /v1/views/{metric}.' },
  REQUEST_INVALID: { retry: 'never', status: 400, hint: 'See the named field.' },
  BODY_TOO_LARGE: { retry: 'never', status: 413, hint: 'Send fewer events at once.' },
  MEDIA_TYPE: { retry: 'never', status: 415, hint: 'Send application/json or application/x-ndjson.' },
  NOT_ACCEPTABLE: { retry: 'never', status: 406, hint: 'Accept application/json or text/csv.' },
  OVERLOADED: { retry: 'later', status: 503, hint: 'Send again after Retry-After.' },
  RATE_LIMITED: { retry: 'later', status: 429, hint: 'Send fewer requests; go on after Retry-After.' },
  METRIC_LIMIT: {
    retry: 'never',
    status: 503,
    hint: 'The metric reached a limit of docs/operating.md; coarsen its groups or windows.',
  },
  MEASURE_OVERFLOW: {
    retry: 'never',
    status: 503,
    hint: 'An exact value left int64; cast it to a DECIMAL or smaller unit.',
  },
  NOT_FOUND: { retry: 'never', status: 404, hint: 'See /openapi.json for the paths.' },
  METHOD_NOT_ALLOWED: { retry: 'never', status: 405, hint: 'Use one of the methods in the header Allow.' },
  NOT_IMPLEMENTED: {
    retry: 'never',
    status: 501,
    hint: 'This version does not have it yet; docs/CHANGELOG.md tells what a version has.',
  },
  INTERNAL: { retry: 'never', status: 500, hint: 'This is a defect; the log line with this id has the details.' },
} as const satisfies Record<string, { retry: Retry; status: number; hint: string }>

/** Closed union of the codes. */
export type ErrorCode = keyof typeof ERRORS

/** Where it happened: operation, topic, partition, offset, path, job. Never the payload. */
export type ErrorContext = Readonly<Record<string, string | number | boolean | null>>

/** An error of the outside world, with what to do about it. */
export class OperatingError extends Error {
  override readonly name = 'OperatingError'
  readonly code: ErrorCode
  readonly retry: Retry
  readonly context: ErrorContext
  readonly hint: string

  constructor(
    code: ErrorCode,
    message: string,
    context: ErrorContext = {},
    options: { cause?: unknown; hint?: string } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.retry = ERRORS[code].retry
    this.context = context
    this.hint = options.hint ?? ERRORS[code].hint
  }
}

/** Total: turns anything thrown into an OperatingError; what is not known is `INTERNAL`. Never throws. */
export function classify(error: unknown): OperatingError {
  if (error instanceof OperatingError) return error
  const message = error instanceof Error ? error.message : String(error)
  const code = (error as { code?: unknown } | null)?.code
  if (code === 'ENOSPC') return new OperatingError('LAKE_DISK_FULL', message, {}, { cause: error })
  return new OperatingError('INTERNAL', message, {}, { cause: error })
}
