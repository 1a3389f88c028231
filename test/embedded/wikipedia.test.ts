/**
 * Goal: texts of many scripts and nulls are groups like any other, in both layers and in every form of an answer.
 * Method: the 39,232 edits of the Wikipedia sample (Apache Druid project, Apache-2.0; edits by Wikipedia contributors) over HTTP, a build
 * in the middle; every cell against DuckDB over the original, and the counts per hour against the data set's README.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { DuckDb } from '#io/duckdb.ts'
import { startForTest, type TestPlatform } from '#testkit/embedded.ts'
import { cellsBySql, cellsOf, dataSet, differences, openOriginal, sendRange, total, wholeAnswer } from './data-set.ts'

const ROWS = 39_232
const PER_HOUR =
  '256 1144 1102 815 824 1260 2120 2237 1622 1704 1792 1624 1709 2073 1873 1965 1959 2300 2170 2013 1832 1766 1590 1482'
const found = dataSet('wikipedia_edits_2015_09_12', 'edits.parquet')
const SOURCE = {
  stream: 'edits',
  select: `"time" := strftime("time", '%Y-%m-%dT%H:%M:%S.%gZ'), channel := channel, city_name := cityName, comment := comment,
    country_iso_code := countryIsoCode, is_anonymous := isAnonymous, is_new := isNew, is_robot := isRobot, "namespace" := "namespace",
    page := page, "user" := "user", delta := delta, added := added, deleted := deleted`,
}
const at = (unit: string) => `epoch_ms(date_trunc('${unit}', "time")) AS at`
const ORACLES = {
  edits_by_channel: {
    dimensions: ['channel', 'country'],
    sql: `SELECT ${at('hour')}, channel, countryIsoCode AS country, count(*) AS edits, count(comment) AS with_comment,
      sum(added) AS added, sum(deleted) AS deleted, sum(delta) AS delta, sum(delta)::DOUBLE / count(*)::DOUBLE AS delta_mean,
      min(delta) AS delta_min, max(delta) AS delta_max, count(*) FILTER (isRobot) AS robots,
      count(*) FILTER (isAnonymous) AS anonymous, count(*) FILTER (isNew) AS new_pages,
      (count(*) FILTER (isRobot))::DOUBLE / count(*)::DOUBLE AS robot_ratio FROM source GROUP BY ALL`,
  },
  edits_by_page: {
    dimensions: ['page', 'namespace'],
    sql: `SELECT ${at('hour')}, page, "namespace", count(*) AS edits, sum(delta) AS delta FROM source GROUP BY ALL`,
  },
  edits_by_minute: {
    dimensions: ['robot'],
    sql: `SELECT ${at('minute')}, isRobot AS robot, count(*) AS edits, sum(added) AS added FROM source GROUP BY ALL`,
  },
}

describe.skipIf(found.skip !== null)(
  `own data: wikipedia edits${found.skip === null ? '' : ` (${found.skip})`}`,
  () => {
    let original: DuckDb
    let platform: TestPlatform

    beforeAll(async () => {
      original = await openOriginal(found.path!)
      platform = await startForTest('test/fixtures/wikipedia')
    })
    afterAll(async () => {
      await platform?.stop()
      original?.close()
    })

    const allEqual = async () => {
      for (const [metric, { sql, dimensions }] of Object.entries(ORACLES)) {
        const cells = cellsOf(await wholeAnswer(platform, metric))
        expect(differences(cells, await cellsBySql(original, sql, dimensions)), metric).toEqual([])
      }
    }

    it('[M5][W1][W11] every cell is that of the original, half of them from a view', async () => {
      await sendRange(platform, original, SOURCE, { from: 0, until: 20_000 })
      await platform.build('*')
      await sendRange(platform, original, SOURCE, { from: 20_000, until: ROWS })
      await platform.settle('edits')
      await allEqual()
    })

    it('[Q1][W10] totals, hours, nulls and filters are those of the data set’s README', async () => {
      const whole = cellsOf(await wholeAnswer(platform, 'edits_by_channel'))
      expect(total(whole, 'edits')).toBe(String(ROWS))
      expect(total(whole, 'added')).toBe('9384964')
      expect(total(whole, 'deleted')).toBe('394278')
      expect(total(whole, 'delta')).toBe('8990686')
      expect(total(whole, 'robots')).toBe('15413')
      expect(total(whole, 'anonymous')).toBe('3798')
      expect(total(whole, 'new_pages')).toBe('2277')
      const hours = (await platform.query('edits_by_minute', { grain: '1h' })).rows.map(({ values }) => values['edits'])
      expect(hours.join(' ')).toBe(PER_HOUR)
      const channels = await platform.query('edits_by_channel', { grain: '1d', group_by: 'channel' })
      expect(channels.rows).toHaveLength(51)
      const countries = await platform.query('edits_by_channel', {
        grain: '1d',
        group_by: 'country',
        measures: 'edits',
      })
      expect(countries.rows).toHaveLength(113 + 1)
      expect(countries.rows[0]!.group).toEqual({ country: null })
      const registered = await platform.query('edits_by_channel', { grain: '1d', filter: { country: [null] } })
      expect(registered.rows[0]!.values['edits']).toBe(countries.rows[0]!.values['edits'])
      const pages = await platform.query('edits_by_page', { grain: '1d', group_by: 'page', order: '-edits', limit: 5 })
      expect(pages.rows.map(({ group, values }) => [group['page'], values['edits']])).toEqual([
        ['Wikipedia:Vandalismusmeldung', 33],
        ['User:Cyde/List of candidates for speedy deletion/Subpage', 28],
        ['Jeremy Corbyn', 27],
        ["Wikipedia:Administrators' noticeboard/Incidents", 21],
        ['Flavia Pennetta', 20],
      ])
    })

    it('[Q1] every page title survives a CSV and a filter in a URL', async () => {
      const query = 'grain=1d&group_by=page&measures=edits&limit=100000'
      const csv = await platform.get(`/v1/metrics/edits_by_page/query?${query}`, { accept: 'text/csv' })
      const lines = csv.text.trimEnd().split('\n').slice(1)
      const fields = /^[^,]+,[^,]+,("(?:[^"]|"")*"|[^,]*),(\d+),\w+$/
      const found = new Map(
        lines.map((line) => {
          const [, page, edits] = fields.exec(line)!
          return [page!.startsWith('"') ? page!.slice(1, -1).replaceAll('""', '"') : page!, Number(edits)]
        }),
      )
      const rows = await original.query('SELECT page, count(*)::INTEGER AS edits FROM source GROUP BY ALL')
      expect(found.size).toBe(35_132)
      expect(rows.filter(({ page, edits }) => found.get(page as string) !== edits)).toEqual([])
      // One title per script range: Cyrillic, Hebrew, Arabic, Han, Hangul, Thai.
      for (const script of [
        '[\\u0400-\\u04ff]',
        '[\\u0590-\\u05ff]',
        '[\\u0600-\\u06ff]',
        '[\\u4e00-\\u9fff]',
        '[\\uac00-\\ud7af]',
      ]) {
        const title = [...found.keys()].find((page) => new RegExp(script).test(page) && !page.includes(','))!
        const search = new URLSearchParams({ grain: '1d', group_by: 'page', filter: `page:${title}` })
        const { json } = await platform.get<{ rows: unknown[] }>(`/v1/metrics/edits_by_page/query?${search.toString()}`)
        expect(json.rows).toMatchObject([{ group: { page: title }, values: { edits: found.get(title) } }])
      }
    })

    it('[B2][F1][L1] a full build of everything gives the same, drift on demand is zero, the archive is whole', async () => {
      await platform.build('*', { days: 'all' })
      await allEqual()
      for (const metric of Object.keys(ORACLES)) {
        const { envelope } = await platform.query(metric, { grain: '1d' })
        expect(envelope.shares.speed).toBe(0)
        expect(await platform.drift(metric)).toMatchObject({ cut: envelope.cut, cells_different: 0, unexplained: 0 })
      }
      const { result } = await platform.job('verify', { stream: '*', deep: true })
      expect(JSON.stringify(result)).toContain('"ok":true')
    })

    it('[S1] a restart changes no answer', async () => {
      const before = await Promise.all(Object.keys(ORACLES).map((metric) => wholeAnswer(platform, metric)))
      await platform.restart()
      expect(await Promise.all(Object.keys(ORACLES).map((metric) => wholeAnswer(platform, metric)))).toEqual(before)
    })
  },
)
