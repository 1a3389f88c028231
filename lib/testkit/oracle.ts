/**
 * The oracle: what a metric comes to, recomputed from plain event objects with maps, bigints and JavaScript functions. It is
 * slow, obvious, and shares no code with the product: it knows the rules of DESIGN sections 4 to 6 and nothing else.
 *
 *   judge       dedup, quarantine and the watermark before each record     recompute   partials per (window, group)
 *   presented   partials as a reader of the page sees them
 */

/** A value of a row or group: integers are bigint, decimals unscaled bigint, doubles number. */
export type OracleValue = bigint | number | string | boolean | null

/** One record of the log that holds an event. `offset` orders the records of a partition. */
export interface OracleEvent {
  readonly partition: number
  readonly offset: number
  /** Id of the barrier that opened its epoch. */
  readonly epoch: number
  readonly arrivalMs: number
  readonly eventTime: number
  /** Identity for dedup; null is never a duplicate. */
  readonly id: string | bigint | null
  readonly row: Readonly<Record<string, OracleValue>>
}

/** The stream's time policy. */
export interface OraclePolicy {
  readonly disorderMs: number
  readonly futureToleranceMs: number | null
  readonly dedupHorizonEpochs: number | null
}

type Row = OracleEvent['row']

/** A metric written by hand. Functions give null where SQL would; a null condition counts as false. */
export interface OracleMetric {
  readonly sizeMs: number
  readonly allowedLatenessMs: number
  readonly where?: (row: Row) => boolean | null
  readonly dimensions: readonly ((row: Row) => OracleValue)[]
  readonly measures: Readonly<Record<string, OracleMeasure>>
}

/** One measure. Without `value` it counts rows. `scale`: decimal digits of the unscaled values. */
export interface OracleMeasure {
  readonly kind: 'count' | 'sum' | 'avg' | 'min' | 'max'
  readonly value?: (row: Row) => OracleValue
  readonly filter?: (row: Row) => boolean | null
  readonly scale?: number
}

/** A (window, group) and its partials. `n` counts the values that were not null, `sum` and `value` are unscaled. */
export interface OracleCell {
  readonly windowFrom: number
  readonly group: readonly OracleValue[]
  late: number
  readonly partials: Record<string, { n: number; sum: bigint; value: bigint | number | null }>
}

/** A record and what becomes of it. `watermark` is its partition's just before it; null = none yet. */
export interface Judged {
  readonly event: OracleEvent
  readonly verdict: 'accepted' | 'duplicate' | 'quarantined'
  readonly watermark: number | null
}

/** Judges every record. Any order in; by partition and offset out. */
export function judge(events: readonly OracleEvent[], policy: OraclePolicy): Judged[] {
  const ordered = [...events].sort((a, b) => a.partition - b.partition || a.offset - b.offset)
  return ordered.map((event, at) => {
    const earlier = ordered.slice(0, at).filter(({ partition }) => partition === event.partition)
    const known = earlier.filter((other) => !isFuture(other, policy))
    const newest = known.reduce((time, other) => Math.max(time, other.eventTime), Number.NEGATIVE_INFINITY)
    const watermark = known.length === 0 ? null : newest - policy.disorderMs
    const horizon = policy.dedupHorizonEpochs
    const repeated =
      horizon !== null &&
      event.id !== null &&
      known.some(({ id, epoch }) => id === event.id && epoch > event.epoch - horizon)
    const verdict = isFuture(event, policy) ? 'quarantined' : repeated ? 'duplicate' : 'accepted'
    return { event, verdict, watermark }
  })
}

const isFuture = ({ eventTime, arrivalMs }: OracleEvent, { futureToleranceMs }: OraclePolicy): boolean =>
  futureToleranceMs !== null && eventTime > arrivalMs + futureToleranceMs

/** The metric over the accepted records; cells by window, then group. */
export function recompute(judged: readonly Judged[], metric: OracleMetric): OracleCell[] {
  const cells = new Map<string, OracleCell>()
  for (const { event, verdict, watermark } of judged) {
    if (verdict !== 'accepted' || (metric.where !== undefined && metric.where(event.row) !== true)) continue
    const windowFrom = Math.floor(event.eventTime / metric.sizeMs) * metric.sizeMs
    const group = metric.dimensions.map((dimension) => dimension(event.row))
    const key = cellKey(windowFrom, group)
    const fresh = () => ({
      windowFrom,
      group,
      late: 0,
      partials: Object.fromEntries(Object.keys(metric.measures).map((name) => [name, { n: 0, sum: 0n, value: null }])),
    })
    const cell: OracleCell = cells.get(key) ?? fresh()
    cells.set(key, cell)
    if (watermark !== null && watermark >= windowFrom + metric.sizeMs + metric.allowedLatenessMs) cell.late++
    for (const [name, measure] of Object.entries(metric.measures)) addTo(cell.partials[name]!, measure, event.row)
  }
  return [...cells.values()].sort(
    (a, b) => a.windowFrom - b.windowFrom || (cellKey(0, a.group) < cellKey(0, b.group) ? -1 : 1),
  )
}

function addTo(partial: OracleCell['partials'][string], measure: OracleMeasure, row: Row): void {
  if (measure.filter !== undefined && measure.filter(row) !== true) return
  const value = measure.value === undefined ? true : measure.value(row)
  if (value === null) return
  partial.n++
  if (measure.kind === 'sum' || measure.kind === 'avg') partial.sum += value as bigint
  if (measure.kind === 'min' || measure.kind === 'max') {
    const number = value as bigint | number
    const better = partial.value === null || (measure.kind === 'min' ? number < partial.value : number > partial.value)
    if (better) partial.value = number
  }
}

/** A text that is the same exactly for the same window and group. */
export const cellKey = (windowFrom: number, group: readonly OracleValue[]): string =>
  `${windowFrom}|${group.map((value) => (value === null ? 'null' : `${typeof value === 'bigint' ? 'number' : typeof value}:${String(value)}`)).join('|')}`

/** The cell's numbers as doubles, by measure; null without a value. For decimals of more than 15 digits only nearly right. */
export function presented(cell: OracleCell, metric: OracleMetric): Record<string, number | null> {
  const numbers: Record<string, number | null> = {}
  for (const [name, { kind, scale }] of Object.entries(metric.measures)) {
    const { n, sum, value } = cell.partials[name]!
    const unit = 10 ** (scale ?? 0)
    if (kind === 'count') numbers[name] = n
    else if (kind === 'sum') numbers[name] = n === 0 ? null : Number(sum) / unit
    else if (kind === 'avg') numbers[name] = n === 0 ? null : Number(sum) / (n * unit)
    else numbers[name] = value === null ? null : typeof value === 'bigint' ? Number(value) / unit : value
  }
  return numbers
}
