/**
 * Goal: the start page in a real browser shows what the API says, follows it live, and can be used without a mouse.
 * Method: Chromium on the embedded platform with a few events; the numbers in the page against the API's. SCREENSHOTS=<folder> keeps pictures.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startForTest, type TestPlatform, until } from '#testkit/embedded.ts'
import { reading } from '../embedded/readings.ts'

const EXECUTABLE = '/usr/bin/chromium'
/** How long the browser may take for anything before a test gives up, ms. */
const PATIENCE_MS = 300_000
const missing = existsSync(EXECUTABLE) ? null : `there is no ${EXECUTABLE}`
if (missing !== null) process.stderr.write(`skipped, browser: ${missing}\n`)

describe.skipIf(missing !== null)('start page', () => {
  let platform: TestPlatform
  let browser: Browser
  let page: Page
  const complaints: string[] = []

  beforeAll(async () => {
    platform = await startForTest('test/fixtures/readings')
    const minutes = Array.from({ length: 90 }, (_, minute) => minute)
    const wave = (minute: number) => Math.round(8 + 6 * Math.sin(minute / 9))
    await platform.send(
      'readings',
      minutes.flatMap((minute) => Array.from({ length: wave(minute) }, () => reading(minute, { price: '2.50' }))),
    )
    await platform.build('readings_by_minute')
    await platform.send('readings', [reading(90), reading(91)])
    await platform.barrier('readings')
    await platform.settle('readings')
    browser = await chromium.launch({
      executablePath: EXECUTABLE,
      timeout: PATIENCE_MS,
      args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking'],
    })
    page = await browser.newPage({ viewport: { width: 1280, height: 1000 } })
    page.setDefaultTimeout(PATIENCE_MS)
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text())
    })
    page.on('pageerror', (error) => complaints.push(error.message))
    page.on('response', (response) => {
      if (response.status() >= 400) complaints.push(`${response.status()} ${response.url()}`)
    })
    await page.goto(`${platform.url}/#metric=readings_by_minute&measure=readings`)
    await page.locator('#connection[data-state=live]').waitFor()
  })
  afterAll(async () => {
    await browser?.close()
    await platform?.stop()
  })

  const text = async (selector: string): Promise<string> => (await page.locator(selector).textContent()) ?? ''
  const picture = async (name: string) => {
    const folder = process.env['SCREENSHOTS']
    if (folder !== undefined) await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true })
  }
  const newest = async (finality: (finality: string) => boolean) => {
    const { rows } = await platform.query('readings_by_minute', { measures: 'readings' })
    return rows.findLast((row) => finality(row.finality))!
  }

  it('[R6] says which registry is in use', async () => {
    expect(await text('#registry')).toBe(`Schema Registry: ${platform.parts.registryUrl}`)
  })

  it('[G4] lists streams and metrics with their state', async () => {
    const rows = page.locator('#metrics tr')
    await rows.nth(1).waitFor()
    const texts = await rows.allInnerTexts()
    expect(texts).toHaveLength(2)
    for (const metric of ['readings_by_minute', 'total']) {
      const row = texts.find((each) => each.includes(metric))!
      expect(row).toContain('readings')
      const { json } = await platform.get<{ cut: number; watermark: string }>(`/v1/metrics/${metric}`)
      expect(row).toContain(json.watermark.slice(0, 10))
    }
  })

  it('[G4][Q6] the numbers are the API’s, provisional and settled apart', async () => {
    const closed = await newest((finality) => finality !== 'provisional')
    const open = await newest((finality) => finality === 'provisional')
    await until('the page shows them', async () => (await text('#latest')) === String(closed.values['readings']))
    expect(await text('#open')).toBe(String(open.values['readings']))
    expect(await text('#latest-label')).toContain(closed.from.slice(11, 16))
    const { envelope } = await platform.query('readings_by_minute')
    expect(await text('#cut')).toBe(String(envelope.cut))
    expect(await text('#watermark')).toBe(envelope.watermark!.slice(0, 19).replace('T', ' '))
    expect(await text('#chart-title')).toBe('readings_by_minute: readings')
    // The chart is drawn: a canvas with more than one colour in it.
    const colours = await page.evaluate<number>(`(() => {
      const canvas = document.querySelector('#chart canvas')
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
      return new Set(new Uint32Array(data.buffer)).size
    })()`)
    expect(colours).toBeGreaterThan(5)
    await picture('start-page')
  })

  it('[G4][Q6] a new event is on the page without a reload', async () => {
    const before = Number(await text('#open'))
    await platform.send('readings', [reading(91), reading(91)])
    await until('the page shows it', async () => Number(await text('#open')) === before + 2)
    await page.locator('summary').click()
    const rows = await page.locator('#points tr').allInnerTexts()
    const { json } = await platform.get<{ rows: { from: string; values: { readings: number }; finality: string }[] }>(
      '/v1/metrics/readings_by_minute/query?measures=readings&order=-from&limit=12',
    )
    expect(rows.map((row) => row.split('\t'))).toEqual(
      json.rows.map(({ from, values, finality }) => [
        from.slice(0, 19).replace('T', ' '),
        String(values.readings),
        finality,
      ]),
    )
    await picture('start-page-table')
    await page.locator('summary').click()
  })

  it('[G4] everything is reached and chosen by keyboard, and each control has a name', async () => {
    await page.locator('body').focus()
    const reached: string[] = []
    for (let i = 0; i < 25; i++) {
      await page.keyboard.press('Tab')
      const focused = 'document.activeElement'
      reached.push(await page.evaluate<string>(`${focused}.id || ${focused}.tagName.toLowerCase()`))
    }
    for (const control of ['metric', 'measure', 'summary', 'a']) expect(reached).toContain(control)
    await page.locator('#measure').focus()
    await page.keyboard.press('ArrowDown')
    await until('another measure is shown', async () => (await text('#chart-title')) !== 'readings_by_minute: readings')
    expect(new URL(page.url()).hash).not.toContain('measure=readings&')
    const unnamed = await page.evaluate<
      string[]
    >(`[...document.querySelectorAll('select, button, a, progress, summary')]
      .filter((each) => !each.labels?.length && !each.getAttribute('aria-label') && each.textContent.trim() === '')
      .map((each) => each.outerHTML)`)
    expect(unnamed).toEqual([])
  })

  it('[G4] exact decimals, a job’s progress and a narrow dark screen', async () => {
    await page.locator('#measure').selectOption('price')
    const { rows } = await platform.query('readings_by_minute', { measures: 'price', numbers: 'string' })
    const closed = rows.findLast(({ finality }) => finality !== 'provisional')!
    await until('the price is shown', async () => Number(await text('#latest')) === Number(closed.values['price']))
    await platform.send('readings', [reading(91, { price: '1234567.80' })])
    await until('a long one is grouped', async () => /^1,234,\d{3}\.\d\d$/.test(await text('#open')))
    await platform.build('*')
    await until('the job is listed as done', async () => /build-view\*completed/.test(await text('#jobs')))
    await picture('start-page-jobs')
    await page.emulateMedia({ colorScheme: 'dark' })
    await page.setViewportSize({ width: 390, height: 844 })
    const overflow = 'document.documentElement.scrollWidth - document.documentElement.clientWidth'
    await until('nothing is wider than the screen', async () => (await page.evaluate<number>(overflow)) <= 0)
    await picture('start-page-dark')
  })

  it('[G4] without events it says where to send them, with the first it draws, and without the platform it says since when', async () => {
    const empty = await startForTest('test/fixtures/kappa')
    const other = await browser.newPage()
    try {
      await other.goto(empty.url)
      const hint = other.locator('#empty')
      await hint.waitFor({ state: 'visible' })
      expect(await hint.textContent()).toContain('POST /v1/streams/sales/events')
      expect(await hint.textContent()).toContain('events.sales')
      expect(await other.locator('#chart').isVisible()).toBe(false)
      expect(await other.locator('#stream-doc').textContent()).toMatch(/^Stream sales: \S/)
      await empty.send('sales', [{ id: 'a', sold: 1_700_000_000_000, shop: 'x', cents: 5 }])
      await other.locator('#chart canvas').waitFor({ state: 'visible' })
      expect(await hint.isVisible()).toBe(false)
    } finally {
      await empty.stop()
    }
    await other.locator('#connection[data-state=lost]').waitFor()
    expect(await other.locator('#connection').textContent()).toMatch(/^Connection lost at \d\d:\d\d:\d\d UTC/)
    await other.close()
  })

  it('[G4][Q3] nothing was reported on the console, no request failed', () => {
    expect(complaints).toEqual([])
  })
})
