/**
 * Drift reports in the lake: what differed between the two arms of a metric at one cut.
 *
 *   drift/<metric>/<cut>.json, drift/<metric>/<cut>-<attempt>.json (from 2)        create-if-absent, canonical JSON
 */

/** A partial as JSON: `n` count, `s` unscaled sum, `v` extreme; integers beyond 2^53 as text, null = no value. */
export type ReportedCell = Readonly<Record<string, number | string | null>>

/** One (window, group, measure) that differs; an arm without the row is null. */
export interface ReportedDifference {
  /** ISO 8601, UTC. */
  readonly window_from: string
  readonly group: Readonly<Record<string, string | number | boolean | null>>
  /** Name of the measure, or `late`. */
  readonly measure: string
  readonly sql: ReportedCell | null
  readonly stream: ReportedCell | null
}

/** Why cells differ. Amounts add up with `unexplained` to all that differs. */
export interface DriftCause {
  readonly cause: string
  readonly cells: number
  readonly amount: number | string
  readonly events: readonly string[]
}

/** One report. */
export interface DriftReport {
  readonly format: 1
  /** Its name: the cut, with the attempt behind it when it is not the first. */
  readonly report: string
  readonly metric: string
  readonly generation: string
  readonly cut: number
  readonly offsets: readonly number[]
  readonly cells_compared: number
  readonly cells_different: number
  /** Cells that differ without a known cause. */
  readonly unexplained: number
  readonly causes: readonly DriftCause[]
  /** The first 100, by window and group. */
  readonly differences: readonly ReportedDifference[]
  /** Shown at close against confirmed; null while nothing recorded what was shown. */
  readonly revision: Readonly<Record<string, unknown>> | null
  /** ISO 8601, UTC. */
  readonly created: string
}

/** Path of a report. */
export const driftPath = (metric: string, report: string): string => `drift/${metric}/${report}.json`
