/** What batch jobs are given: ports, definitions, limits. Composed by platform/; nothing here constructs an adapter. */

import type { DuckDb } from '#io/duckdb.ts'
import { OperatingError } from '#io/errors.ts'
import type { Clock, EventLog, Lake } from '#io/ports.ts'
import type { Definitions, MetricDefinition, StreamDefinition } from '#metrics/definition.ts'

/** Dependencies of the job handlers. */
export interface BatchDeps {
  readonly log: EventLog
  readonly lake: Lake
  readonly clock: Clock
  readonly definitions: Definitions
  /** Puts a demand barrier into every partition of a stream; returns its id. */
  readonly putBarrier: (stream: string) => Promise<{ readonly id: number }>
  /** Opens a database for a job; its limits are those of all jobs together. */
  readonly openDuckDb: () => Promise<DuckDb>
  /** Other bounds than usual, for tests with few rows; every writer of a lake's views must have the same `fileRows`. */
  readonly limits?: {
    /** Rows of a view's file at most, unless one day has more. */
    readonly fileRows: number
    /** Events that one query of build-view recomputes at most, unless one day has more. */
    readonly chunkEvents: number
  }
  /** How long a job waits for the archive or the speed layer to reach a cut before it goes back to the queue, ms. */
  readonly waitMs: number
}

/** A metric by name. @throws OperatingError METRIC_UNKNOWN */
export function metricNamed(definitions: Definitions, name: string): MetricDefinition {
  const metric = definitions.metrics.find((each) => each.name === name)
  if (metric === undefined) throw new OperatingError('METRIC_UNKNOWN', `there is no metric ${name}`, { metric: name })
  return metric
}

/** One metric, or all of them for `*`, grouped by stream. @throws OperatingError METRIC_UNKNOWN */
export function metricsByStream(
  definitions: Definitions,
  name: string,
): { readonly stream: StreamDefinition; readonly metrics: readonly MetricDefinition[] }[] {
  const metrics = name === '*' ? definitions.metrics : [metricNamed(definitions, name)]
  return definitions.streams
    .map((stream) => ({ stream, metrics: metrics.filter((metric) => metric.stream.name === stream.name) }))
    .filter((group) => group.metrics.length > 0)
}

/** Names of streams: one, or all of them for `*`. @throws OperatingError STREAM_UNKNOWN */
export function streamNames(definitions: Definitions, name: string): string[] {
  if (name === '*') return definitions.streams.map((stream) => stream.name)
  if (definitions.streams.some((stream) => stream.name === name)) return [name]
  throw new OperatingError('STREAM_UNKNOWN', `there is no stream ${name}`, { stream: name })
}
