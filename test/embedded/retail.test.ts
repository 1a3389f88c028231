/**
 * Goal: a user's own shop data, money included, comes out to the last digit: before, during and after a build, and after a restart.
 * Method: all 541,909 order lines of Online Retail (Chen 2015, UCI 352, CC BY 4.0) over HTTP in their order, a part of them twice, a
 * build in the middle; every cell against DuckDB over the original, and the totals against the data set's README.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { DuckDb } from '#io/duckdb.ts'
import { startForTest, type TestPlatform } from '#testkit/embedded.ts'
import {
  type Cells,
  cellsBySql,
  cellsOf,
  dataSet,
  differences,
  openOriginal,
  sendRange,
  total,
  wholeAnswer,
} from './data-set.ts'

const ROWS = 541_909
const found = dataSet('online_retail', 'online_retail.parquet')
const SOURCE = {
  stream: 'order_lines',
  select: `line := n, invoice := InvoiceNo, stock_code := StockCode, description := Description, quantity := Quantity,
    invoiced := epoch_ms(InvoiceDate), unit_price := UnitPrice, customer := CustomerID, country := Country`,
}
/** Money as exact integers of a thousandth, so that the oracle's mean is one division of two exact doubles. */
const LINES =
  '(SELECT *, round(UnitPrice * 1000)::BIGINT AS milli, (Quantity * round(UnitPrice * 1000))::BIGINT AS value FROM source)'
const BY_COUNTRY = `SELECT epoch_ms(date_trunc('day', InvoiceDate)) AS at, Country AS country, count(*) AS lines,
    count(CustomerID) AS with_customer, sum(Quantity) AS units, (sum(value) * 0.001::DECIMAL(4,3))::DECIMAL(38,3) AS revenue,
    (sum(value) FILTER (Quantity > 0 AND milli > 0) * 0.001::DECIMAL(4,3))::DECIMAL(38,3) AS gross,
    count(*) FILTER (InvoiceNo LIKE 'C%') AS cancelled,
    (sum(value) FILTER (InvoiceNo LIKE 'C%') * 0.001::DECIMAL(4,3))::DECIMAL(38,3) AS cancelled_value,
    sum(value)::DOUBLE / (count(*) * 1000)::DOUBLE AS line_value,
    min(UnitPrice)::DECIMAL(12,3) AS price_min, max(UnitPrice)::DECIMAL(12,3) AS price_max,
    (count(*) FILTER (InvoiceNo LIKE 'C%'))::DOUBLE / count(*)::DOUBLE AS cancel_ratio
  FROM ${LINES} GROUP BY ALL`
const bucketed = (
  bucket: string,
) => `SELECT epoch_ms(time_bucket(INTERVAL '${bucket}', InvoiceDate)) AS at, count(*) AS lines,
    (sum(value) * 0.001::DECIMAL(4,3))::DECIMAL(38,3) AS revenue FROM ${LINES} GROUP BY ALL`

describe.skipIf(found.skip !== null)(`own data: online retail${found.skip === null ? '' : ` (${found.skip})`}`, () => {
  let original: DuckDb
  let platform: TestPlatform
  const middle = 300_000

  beforeAll(async () => {
    original = await openOriginal(found.path!)
    platform = await startForTest('test/fixtures/retail')
  })
  afterAll(async () => {
    await platform?.stop()
    original?.close()
  })

  it('[M5][D2] takes all lines over HTTP, with a build in the middle', async () => {
    expect(await sendRange(platform, original, SOURCE, { from: 0, until: middle })).toBe(middle)
    await platform.build('*')
    const half = await wholeAnswer(platform, 'sales_by_country')
    expect(total(cellsOf(half), 'lines')).toBe(String(middle))
    expect(half.envelope.shares.speed).toBe(0)
    expect(await sendRange(platform, original, SOURCE, { from: middle, until: ROWS })).toBe(ROWS - middle)
    // A client that lost the answer sends again, from before the build and from after it.
    await sendRange(platform, original, SOURCE, { from: middle - 5_000, until: middle + 5_000 })
    await platform.settle('order_lines')
  })

  let merged: Cells
  it('[W1][W8][W11][Q1] every cell of the merged answer is that of the original', async () => {
    const answer = await wholeAnswer(platform, 'sales_by_country')
    merged = cellsOf(answer)
    expect(answer.envelope.shares.batch).toBeGreaterThan(0)
    expect(answer.envelope.shares.speed).toBeGreaterThan(0)
    expect(differences(merged, await cellsBySql(original, BY_COUNTRY, ['country']))).toEqual([])
    const minutes = cellsOf(await wholeAnswer(platform, 'sales'))
    expect(minutes.size).toBe(23_260)
    expect(differences(minutes, await cellsBySql(original, bucketed('1 minute'), []))).toEqual([])
  })

  it('[W8] the totals are those of the data set’s README', async () => {
    expect(total(merged, 'lines')).toBe('541909')
    expect(total(merged, 'units')).toBe('5176450')
    expect(total(merged, 'revenue', 3)).toBe('9747747.934')
    expect(total(merged, 'gross', 3)).toBe('10666684.544')
    expect(total(merged, 'cancelled')).toBe('9288')
    expect(total(merged, 'cancelled_value', 3)).toBe('-896812.490')
    expect(total(merged, 'with_customer')).toBe(String(541_909 - 135_080))
    const uk = await platform.query('sales_by_country', {
      filter: { country: ['United Kingdom'] },
      measures: ['lines', 'revenue'],
      numbers: 'string',
    })
    expect(total(cellsOf(uk), 'lines')).toBe('495478')
    expect(total(cellsOf(uk), 'revenue', 3)).toBe('8187806.364')
  })

  it('[W1] coarser grains add up: 5 minutes, hours, days', async () => {
    for (const [grain, bucket, windows] of [
      ['5m', '5 minutes', 15_921],
      ['1h', '1 hour', 2_938],
      ['1d', '1 day', 305],
    ] as const) {
      const cells = cellsOf(await platform.query('sales', { grain, numbers: 'string', limit: 100_000 }))
      expect(cells.size, grain).toBe(windows)
      expect(differences(cells, await cellsBySql(original, bucketed(bucket), [])), grain).toEqual([])
    }
    const [best] = (await platform.query('sales', { grain: '1d', order: '-revenue', limit: 1, numbers: 'string' })).rows
    expect(best).toMatchObject({ from: '2011-11-14T00:00:00.000Z', values: { lines: 3597, revenue: '112141.110' } })
    const [richest] = (await platform.query('sales', { order: '-revenue', limit: 1, numbers: 'string' })).rows
    expect(richest).toMatchObject({ from: '2011-12-09T09:15:00.000Z', values: { revenue: '168469.600' } })
  })

  it('[B2][F1] a second build changes no number; drift is zero; the archive is whole', async () => {
    await platform.build('*')
    const confirmed = await wholeAnswer(platform, 'sales_by_country')
    expect(confirmed.envelope.shares.speed).toBe(0)
    expect(differences(cellsOf(confirmed), merged)).toEqual([])
    for (const metric of ['sales_by_country', 'sales']) {
      const report = await platform.driftAfterBuild(metric)
      expect(report).toMatchObject({ cells_different: 0, unexplained: 0, differences: [] })
      expect(report.cells_compared).toBeGreaterThan(1_000)
    }
    const { result } = await platform.job('verify', { stream: 'order_lines', deep: true })
    expect(JSON.stringify(result)).toContain('"ok":true')
  })

  it('[S1][T5] a restart changes no answer, and goes on taking events', async () => {
    const before = await wholeAnswer(platform, 'sales_by_country')
    await platform.restart()
    expect(await wholeAnswer(platform, 'sales_by_country')).toEqual(before)
    const late = { invoice: 'X1', stock_code: 'M', quantity: 1, unit_price: '0.001', country: 'EIRE' }
    await platform.send('order_lines', [{ line: ROWS, invoiced: '2010-12-01T08:26:00Z', customer: null, ...late }])
    await platform.settle('order_lines')
    const after = cellsOf(await wholeAnswer(platform, 'sales_by_country'))
    expect(total(after, 'lines')).toBe(String(ROWS + 1))
    expect(total(after, 'revenue', 3)).toBe('9747747.935')
  })
})
