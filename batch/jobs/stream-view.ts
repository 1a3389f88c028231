/**
 * The stream arm: the view at a cut as the stream engine has it, that is the sealed partials of every epoch before the cut,
 * merged with the previous stream view. Same rows, same columns and same files as the SQL arm: their difference is drift.
 *
 *   previous stream view (cut j) ⊕ sealed epochs in [j, k) per partition, without hole ─▶ view at cut k
 *
 * A pure function of what is sealed; published by one manifest entry. Files whose days no partial touches are carried over.
 */

import { floorTo } from '#core/time.ts'
import type { DuckDb } from '#io/duckdb.ts'
import { OperatingError } from '#io/errors.ts'
import type { JobContext } from '#io/ports.ts'
import { publishView, readViews, sweepViews, type ViewDraft } from '#io/views.ts'
import type { MetricDefinition } from '#metrics/definition.ts'
import type { ViewEntry } from '#schemas/view.ts'
import { appendPartials } from '../append-partials.ts'
import { fileList, verifyFiles } from '../archive-input.ts'
import type { BatchDeps } from '../deps.ts'
import { readSealed, readTables, rememberSealed, type SealedRange, type Tiling, tile } from '../sealed.ts'
import { columnNames, type ViewColumn, viewColumns } from '../sql-types.ts'
import { DAY_MS, FILE_ROWS, rangeOf } from '../view-blocks.ts'
import { createViewTable, type ViewFile, writeFiles } from '../view-files.ts'
import { isBase, partFiles, viewDraft, withDuckDb } from './build-view.ts'

const POLL_MS = 500
type Whole = Extract<Tiling, { kind: 'whole' }>

/** A cut with its bounds, as the archive or another view states them. */
export type CutBounds = Pick<ViewEntry, 'cut' | 'offsets' | 'watermark'>

/**
 * The stream arm's view at a cut: found, or built and published. A view older than the one that is read (after a rollback
 * of the SQL arm) is built and returned, but the chain stays as it is.
 * @throws OperatingError SPEED_BEHIND, SEALED_MISSING, METRIC_LIMIT, MEASURE_OVERFLOW, LAKE_DAMAGED
 */
export async function streamViewAt(
  deps: BatchDeps,
  metric: MetricDefinition,
  at: CutBounds,
  job: JobContext,
): Promise<ViewDraft> {
  const views = await readViews(deps.lake, metric.name, 'stream')
  const there = views.findLast((view) => isBase(view, metric, at.cut) && view.cut === at.cut)
  if (there !== undefined) return there
  const previous = views.findLast((view) => isBase(view, metric, at.cut)) ?? null
  const from = at.offsets.map((_, partition) => previous?.offsets[partition] ?? 0)
  const sealed = await awaitSealed(deps, metric, { from, until: at.offsets }, job)
  return withDuckDb(deps, job, async (db) => {
    const view = { metric: metric.name, arm: 'stream' as const, generation: metric.generation, cut: at.cut }
    const columns = viewColumns(metric.layout)
    const { kept, merged } = await mergeInto(deps, db, metric, columns, sealed.epochs, previous, job)
    const { files } = await writeFiles(db, deps.lake, {
      view,
      columns,
      table: merged,
      there: kept.map(rangeOf),
      until: Number.POSITIVE_INFINITY,
      rowsMax: deps.limits?.fileRows ?? FILE_ROWS,
      onFile: (done) => job.progress(0.2 + 0.8 * done),
    })
    const draft = viewDraft(view, metric, at, kept, files, job.id, deps.clock.now())
    const published = await publishView(deps.lake, draft)
    if (published.cut !== at.cut) return draft
    await sweepViews(deps.lake, published)
    await rememberSealed(deps.log, metric, sealed.marks)
    return published
  })
}

/** The tiled epochs, once the speed layer has sealed the last one, and where the next view may begin to read. */
async function awaitSealed(
  deps: BatchDeps,
  metric: MetricDefinition,
  range: SealedRange,
  job: JobContext,
): Promise<{ epochs: Whole['epochs']; marks: ReadonlyMap<number, number> }> {
  const endMs = deps.clock.monotonic() + deps.waitMs
  for (let fromMark = true; ; ) {
    const { epochs, marks } = await readSealed(deps.log, metric, range, { fromMark, signal: job.signal })
    const tiling = attempt(() => tile(epochs, range))
    if ('kind' in tiling && tiling.kind === 'whole') return { epochs: tiling.epochs, marks }
    const late = deps.clock.monotonic() >= endMs
    if (fromMark && (late || 'failed' in tiling)) {
      // The mark may have led past what is needed; the whole topic decides.
      fromMark = false
      continue
    }
    if ('failed' in tiling) throw tiling.failed
    if (late) {
      const { partition, from, until } = tiling
      throw new OperatingError(
        'SPEED_BEHIND',
        `${metric.name}: offsets [${from}, ${until}) of partition ${partition} are not sealed yet`,
        { metric: metric.name, partition, from, until },
      )
    }
    await job.progress(0)
    await deps.clock.sleep(POLL_MS, job.signal)
  }
}

function attempt<T>(work: () => T): T | { readonly failed: unknown } {
  try {
    return work()
  } catch (failed) {
    return { failed }
  }
}

/** Combines the partials with the previous view's rows in the files of the same days; returns the table and the files that stay. */
async function mergeInto(
  deps: BatchDeps,
  db: DuckDb,
  metric: MetricDefinition,
  columns: readonly ViewColumn[],
  epochs: Whole['epochs'],
  previous: ViewEntry | null,
  job: JobContext,
): Promise<{ kept: readonly ViewFile[]; merged: string }> {
  await createViewTable(db, 'sealed', columns, null)
  const tables = readTables(deps.log, metric, epochs, job.signal)
  await appendPartials(db, 'sealed', tables, () => job.progress(0.1))
  const windows = await db.query('SELECT DISTINCT window_from AS w FROM sealed')
  const days = [...new Set(windows.map((row) => floorTo(Number(row['w']), DAY_MS)))]
  const { kept, touched: before } = partFiles(previous, (range) =>
    days.some((day) => day >= range.from && day < range.until),
  )
  await verifyFiles(deps.lake, before, job.signal)
  const names = columnNames(columns)
  const old =
    before.length === 0
      ? ''
      : ` UNION ALL SELECT ${names} FROM read_parquet(${fileList(
          deps.lake,
          before.map((file) => file.path),
        )}, hive_partitioning = false)`
  await createViewTable(db, 'merged', columns, combineSql(columns, `SELECT ${names} FROM sealed${old}`))
  await db.run('DROP TABLE sealed')
  return { kept, merged: 'merged' }
}

/** The monoid's combine as SQL: sums add, extremes compare, keys with null are equal. */
function combineSql(columns: readonly ViewColumn[], rows: string): string {
  const list = columns.map(({ name, combine }) =>
    combine === null ? `"${name}"` : `${combine}("${name}") AS "${name}"`,
  )
  const keys = columns.filter(({ role }) => role === 'key').map(({ name }) => `"${name}"`)
  return `SELECT ${list.join(', ')} FROM (${rows}) GROUP BY ${keys.join(', ')}`
}
