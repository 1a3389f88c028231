/**
 * Batch views in the lake: which are published, publishing another one, pointing back. Layout: schemas/view.ts.
 *
 * One manifest entry makes a view visible as a whole, the last entry is the one that is read; older ones stay readable.
 * Within a generation the cut of what is published never goes back, except by a rollback, which says so (law 7). A cut below
 * the highest one that its generation ever published is published again or never: so files under such a cut that no entry
 * names are what a failed or overtaken build left, and are swept.
 */
import type { ViewArm, ViewEntry } from '#schemas/view.ts'
import { OperatingError } from './errors.ts'
import { failpoint } from './failpoints.ts'
import { appendEntry, type Chain, nextOf, readChain } from './manifest.ts'
import type { Lake } from './ports.ts'

/** A view that has its files but no place in the chain yet. */
export type ViewDraft = Omit<ViewEntry, 'format' | 'sequence' | 'previous' | 'rollback_of'>

/** Writers that may lose against each other before one gives up. */
const CONFLICTS_MAX = 5

/** Folder of a metric's manifest chain. */
export const viewManifest = (metric: string, arm: ViewArm): string => `views/${metric}/${arm}/manifest`

/** Folder of the files of one generation. */
const viewFolder = (view: { metric: string; arm: ViewArm; generation: string }): string =>
  `views/${view.metric}/${view.arm}/${view.generation}`

/** Path of the file of some days. */
export const viewFilePath = (
  view: { metric: string; arm: ViewArm; generation: string; cut: number },
  days: { from_day: string; until_day: string },
): string => `${viewFolder(view)}/${view.cut}/${days.from_day}_${days.until_day}.parquet`

const readViewChain = (lake: Lake, metric: string, arm: ViewArm): Promise<Chain<ViewEntry>> =>
  readChain<ViewEntry>(lake, viewManifest(metric, arm))

/** Every published view, oldest first, rollbacks included; empty when there is none. @throws OperatingError LAKE_DAMAGED */
export async function readViews(lake: Lake, metric: string, arm: ViewArm): Promise<readonly ViewEntry[]> {
  return (await readViewChain(lake, metric, arm)).entries
}

/** The view that is read, or null when none was published. @throws OperatingError LAKE_DAMAGED */
export async function latestView(lake: Lake, metric: string, arm: ViewArm): Promise<ViewEntry | null> {
  return (await readViews(lake, metric, arm)).at(-1) ?? null
}

/** Whether two views hold the same: cut, generation, and files with their hashes. */
function isSameView(a: ViewDraft | ViewEntry, b: ViewDraft | ViewEntry): boolean {
  const files = (view: ViewDraft | ViewEntry): string =>
    view.files.map((file) => `${file.from_day} ${file.until_day} ${file.path} ${file.sha256}`).join('\n')
  return (
    a.cut === b.cut && a.generation === b.generation && a.definition_hash === b.definition_hash && files(a) === files(b)
  )
}

/**
 * Publishes a view by one entry. A view that the chain already ends with is not published twice; one that was overtaken is
 * not published at all, and its generation's last entry is returned: a later cut is read now, or was read before a rollback
 * and this one never was.
 * @throws OperatingError LAKE_DAMAGED, MANIFEST_CONFLICT when other writers were first too often
 */
export async function publishView(lake: Lake, draft: ViewDraft): Promise<ViewEntry> {
  for (let attempt = 1; ; attempt++) {
    const chain = await readViewChain(lake, draft.metric, draft.arm)
    const current = chain.entries.at(-1)
    if (current !== undefined && isSameView(current, draft)) return current
    const entries = chain.entries.filter(({ generation }) => generation === draft.generation)
    const last = entries.at(-1)
    if (last !== undefined && (last.cut > draft.cut || isUnpublishable(entries, draft.cut))) return last
    const entry: ViewEntry = { ...draft, ...nextOf(chain), rollback_of: null }
    if (await append(lake, entry, attempt)) return entry
  }
}

/** Whether a cut lies below one that was published and was not published itself: then it never will be. */
const isUnpublishable = (entries: readonly ViewEntry[], cut: number): boolean =>
  entries.some((entry) => entry.cut > cut) && entries.every((entry) => entry.cut !== cut)

/**
 * Removes the files of a generation that no view will ever name, and returns how many: those under cuts that cannot be
 * published any more. Safe beside any writer: such a cut stays one, see {@link publishView}. Files under a cut of the other
 * arm stay, for drift builds and reads a view there that it does not publish; so do files of other generations, whose
 * writers may still be at work.
 * @throws OperatingError LAKE_DAMAGED, LAKE_UNWRITABLE
 */
export async function sweepViews(
  lake: Lake,
  view: { readonly metric: string; readonly arm: ViewArm; readonly generation: string },
): Promise<number> {
  // Listed before the chains are read: a file seen here was begun before any entry that is missed below.
  const files = await lake.list(viewFolder(view))
  const own = await readViews(lake, view.metric, view.arm)
  const other = await readViews(lake, view.metric, view.arm === 'sql' ? 'stream' : 'sql')
  const entries = own.filter(({ generation }) => generation === view.generation)
  const named = new Set(own.flatMap((entry) => entry.files.map((file) => file.path)))
  const orphans = files.filter((path) => {
    const cut = Number(path.slice(viewFolder(view).length + 1).split('/')[0])
    return isUnpublishable(entries, cut) && !named.has(path) && other.every((entry) => entry.cut !== cut)
  })
  for (const path of orphans) await lake.remove(path)
  return orphans.length
}

/**
 * Points back: a new entry that repeats an old one. `to` is the sequence of the old entry; null takes the last one that
 * differs from what is read now and is older.
 * @throws OperatingError VIEW_UNKNOWN when there is no such entry
 */
export async function rollbackView(
  lake: Lake,
  view: { metric: string; arm: ViewArm; to: number | null; job: string | null; publishedMs: number },
): Promise<ViewEntry> {
  for (let attempt = 1; ; attempt++) {
    const chain = await readViewChain(lake, view.metric, view.arm)
    const target = rollbackTarget(chain.entries, view.to)
    if (target === null) {
      const what = view.to === null ? 'no older view' : `no view ${view.to}`
      throw new OperatingError('VIEW_UNKNOWN', `${view.metric} (${view.arm}) has ${what} to go back to`, {
        metric: view.metric,
      })
    }
    const entry: ViewEntry = {
      ...target,
      ...nextOf(chain),
      rollback_of: target.sequence,
      job: view.job,
      published_ms: view.publishedMs,
    }
    if (await append(lake, entry, attempt)) return entry
  }
}

/** The entry a rollback repeats; a rollback of a rollback names the view itself. */
function rollbackTarget(entries: readonly ViewEntry[], to: number | null): ViewEntry | null {
  const original = (entry: ViewEntry): ViewEntry =>
    entry.rollback_of === null ? entry : entries[entry.rollback_of - 1]!
  if (to !== null) {
    const found = entries[to - 1]
    return found === undefined ? null : original(found)
  }
  const last = entries.at(-1)
  if (last === undefined) return null
  const current = original(last)
  for (let at = current.sequence - 2; at >= 0; at--) {
    const entry = original(entries[at]!)
    if (entry.sequence < current.sequence && !isSameView(entry, current)) return entry
  }
  return null
}

async function append(lake: Lake, entry: ViewEntry, attempt: number): Promise<boolean> {
  try {
    await appendEntry(lake, viewManifest(entry.metric, entry.arm), entry)
    failpoint('batch.view-entry')
    return true
  } catch (error) {
    if (error instanceof OperatingError && error.code === 'MANIFEST_CONFLICT' && attempt < CONFLICTS_MAX) return false
    throw error
  }
}
