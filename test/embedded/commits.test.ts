/**
 * Goal: real lateness (commits written years before they were committed) loses nothing, and what is late is known to the event.
 * Method: the 39,490 commits of curl (from the history of the curl project, © Daniel Stenberg and many contributors) in their order, written
 * time as event time, one partition; a build in between; late counts against SQL over the original and the README.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { DuckDb } from '#io/duckdb.ts'
import { startForTest, type TestPlatform, until } from '#testkit/embedded.ts'
import { cellsBySql, cellsOf, dataSet, differences, openOriginal, sendRange, total, wholeAnswer } from './data-set.ts'

const ROWS = 39_490
/** Commits in the view; they are spread over hundreds of days, which is what a build costs. */
const VIEWED = 3_000
const found = dataSet('git_commits_curl', 'commits.parquet')
const SOURCE = {
  stream: 'commits',
  select: `sha := sha, parents := n_parents, author := author_id, committer := committer_id, authored := epoch(author_time_utc)::BIGINT,
    committed := epoch(commit_time_utc)::BIGINT, author_zone := author_tz_minutes, component := component`,
}
const BY_SECOND = 'SELECT epoch_ms(author_time_utc) AS at, count(*) AS commits FROM source GROUP BY ALL'
const WAIT = '(epoch(commit_time_utc)::BIGINT - epoch(author_time_utc)::BIGINT)'
const BY_COMPONENT = `SELECT epoch_ms(date_trunc('day', author_time_utc)) AS at, component, count(*) AS commits,
    count(*) FILTER (n_parents > 1) AS merges, sum(${WAIT}) AS wait_total, sum(${WAIT})::DOUBLE / count(*)::DOUBLE AS wait_mean,
    max(${WAIT}) AS wait_max, min(${WAIT}) AS wait_min, count(*) FILTER (author_id = committer_id) AS same_person
  FROM source GROUP BY ALL`
/** Late by the rule of the definition: the window's end and the lateness had passed when the event came. */
const lateBySql = async (original: DuckDb, window: string, lateness: string): Promise<number> => {
  const [row] = await original.query(`SELECT count(*)::INTEGER AS late FROM (
    SELECT date_trunc('${window}', author_time_utc) + INTERVAL 1 ${window} + INTERVAL ${lateness} AS closes,
      max(author_time_utc) OVER (ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS watermark
    FROM source) WHERE closes <= watermark`)
  return row!['late'] as number
}

describe.skipIf(found.skip !== null)(
  `own data: commits of curl${found.skip === null ? '' : ` (${found.skip})`}`,
  () => {
    let original: DuckDb
    let platform: TestPlatform

    beforeAll(async () => {
      original = await openOriginal(found.path!)
      platform = await startForTest('test/fixtures/commits')
    })
    afterAll(async () => {
      await platform?.stop()
      original?.close()
    })

    it('[T5][W1][W11] every commit counts once, however late, before and after a build', async () => {
      await sendRange(platform, original, SOURCE, { from: 0, until: VIEWED })
      await platform.build('commits_by_component')
      await sendRange(platform, original, SOURCE, { from: VIEWED, until: 20_000 })
      await platform.settle('commits')
      expect(total(cellsOf(await wholeAnswer(platform, 'commits_by_component')), 'commits')).toBe('20000')
      await sendRange(platform, original, SOURCE, { from: 20_000, until: ROWS })
      await platform.settle('commits')
      const answer = await wholeAnswer(platform, 'commits_by_component')
      expect(answer.envelope.shares.batch).toBeGreaterThan(300)
      expect(differences(cellsOf(answer), await cellsBySql(original, BY_COMPONENT, ['component']))).toEqual([])
      expect(total(cellsOf(answer), 'merges')).toBe('24')
      // A window that was closed and that a late commit changed says so.
      expect(answer.rows.filter(({ finality }) => finality === 'restated').length).toBeGreaterThan(100)
      const seconds = cellsOf(await wholeAnswer(platform, 'commits_by_second'))
      expect(differences(seconds, await cellsBySql(original, BY_SECOND, []))).toEqual([])
    })

    it('[T3][T4] the late ones are those of the data, to the event', async () => {
      await platform.barrier('commits')
      await platform.settle('commits')
      const late = (metric: string) => platform.series('tidemark_late_events_total', { metric })
      const expected = await lateBySql(original, 'day', '7 days')
      expect(expected).toBeGreaterThan(1_000)
      const wanted = { commits_by_second: 10_484, commits_by_component: expected }
      for (const [metric, count] of Object.entries(wanted)) {
        await until('the last epochs are counted', async () => (await late(metric)) >= count)
        expect(await late(metric), metric).toBe(count)
      }
    })

    it('[F1][L1] drift is zero and the archive is whole', async () => {
      const report = await platform.driftAfterBuild('commits_by_component')
      expect(report).toMatchObject({ cells_different: 0, unexplained: 0 })
      expect(report.cells_compared).toBeGreaterThan(300)
      const { result } = await platform.job('verify', { stream: 'commits', deep: true })
      expect(JSON.stringify(result)).toContain('"ok":true')
    })

    it('[S1][S5] after a restart the same answers, and the same commits again change nothing', async () => {
      const before = await wholeAnswer(platform, 'commits_by_component')
      await platform.restart()
      expect(await wholeAnswer(platform, 'commits_by_component')).toEqual(before)
      await sendRange(platform, original, SOURCE, { from: 38_000, until: ROWS })
      await platform.settle('commits')
      expect((await wholeAnswer(platform, 'commits_by_component')).rows).toEqual(before.rows)
    })
  },
)
