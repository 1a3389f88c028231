/**
 * The start page: lists metrics, draws one of them live. Plain DOM and uPlot; text is only ever set as text.
 * Rows arrive over server-sent events and are upserts by window; provisional ones are drawn lighter and dashed.
 */
import uPlot from '/assets/uplot/uPlot.esm.js'

const POLL_MS = 2000
/** Windows drawn. */
const POINTS_MAX = 120
const TABLE_ROWS = 12

const $ = (id) => document.getElementById(id)
const number = new Intl.NumberFormat('en', { maximumFractionDigits: 3 })
/** Exact numbers come as text and keep every digit. */
const grouped = (text) => text.replace(/^-?\d+/, (whole) => whole.replace(/\B(?=(\d{3})+$)/g, ','))
const show = (value) => (value === null || value === undefined ? '–' : typeof value === 'number' ? number.format(value) : grouped(String(value)))
const time = (iso) => (iso === null ? 'none yet' : iso.slice(0, 19).replace('T', ' '))

/** What the page knows; `told`: the metric on show has answered. */
const state = { streams: [], metrics: [], metric: null, measure: null, rows: new Map(), told: false, source: null, chart: null }

function cell(row, content, className = '') {
  const td = row.insertCell()
  td.className = className
  if (content instanceof Node) td.append(content)
  else td.textContent = content
  return td
}

/** Replaces a table's rows only when what they say has changed, so that focus and selection stay. */
function fill(body, items, write) {
  const text = JSON.stringify(items)
  if (body.dataset.shown === text) return
  body.dataset.shown = text
  const focused = document.activeElement?.dataset?.key
  body.replaceChildren()
  for (const item of items) write(body.insertRow(), item)
  if (focused) body.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus()
}

function options(select, names, chosen) {
  if ([...select.options].map(({ value }) => value).join('\n') !== names.join('\n')) {
    select.replaceChildren(...names.map((name) => new Option(name, name)))
  }
  select.value = chosen
}

/** Asks for JSON; null when the route is not there or does not answer well. */
async function ask(path) {
  try {
    const response = await fetch(path, { headers: { accept: 'application/json' } })
    return response.ok ? await response.json() : null
  } catch {
    return null
  }
}

async function poll() {
  const found = await ask('/v1/metrics')
  if (found !== null) {
    state.metrics = found.metrics
    if (state.streams.length === 0) state.streams = (await ask('/v1/streams'))?.streams ?? []
    showMetrics()
    if (state.metric === null && state.metrics.length > 0) {
      const wanted = new URLSearchParams(location.hash.slice(1))
      choose(wanted.get('metric'), wanted.get('measure'))
    }
  }
  const jobs = await ask('/v1/jobs')
  const list = Array.isArray(jobs) ? jobs : jobs?.jobs
  $('jobs-card').hidden = !Array.isArray(list)
  if (Array.isArray(list)) showJobs(list.slice(0, 10))
  setTimeout(poll, POLL_MS)
}

/** Which registry is in use, said once: its own, or another one by configuration. */
async function showRegistry() {
  const registry = (await ask('/healthz'))?.registry
  if (registry === undefined) return
  $('registry').textContent = `Schema Registry: ${registry.url}${registry.external ? ' (external; the platform’s own is off)' : ''}`
  $('registry').hidden = false
}

function showMetrics() {
  const items = state.metrics.map(({ stream, metric, window, cut, view, watermark, refusal }) => [
    stream, metric, Object.values(window)[0], view === null ? 'none' : String(cut), time(watermark), refusal,
  ])
  fill($('metrics'), items, (row, [stream, metric, window, cut, watermark, refusal]) => {
    cell(row, stream)
    const button = document.createElement('button')
    button.type = 'button'
    button.textContent = metric
    button.dataset.key = metric
    button.addEventListener('click', () => {
      choose(metric, null)
      $('chart-title').focus()
    })
    cell(row, button)
    cell(row, window)
    cell(row, cut, 'number')
    cell(row, watermark)
    cell(row, refusal === null ? 'serving' : refusal.code, refusal === null ? 'good' : 'bad').title = refusal?.reason ?? ''
  })
}

function showJobs(jobs) {
  const items = jobs.map(({ id, type, data, state, progress, eta_ms }) => [
    id, type, data.metric ?? data.stream ?? '', state, Math.round(progress * 100), eta_ms,
  ])
  fill($('jobs'), items, (row, [id, type, of, jobState, percent, eta]) => {
    cell(row, type)
    cell(row, of)
    cell(row, jobState, jobState === 'failed' ? 'bad' : jobState === 'completed' ? 'good' : '')
    const bar = document.createElement('progress')
    bar.max = 100
    bar.value = percent
    bar.setAttribute('aria-label', `${type} ${id}`)
    const left = eta === null || jobState !== 'active' ? '' : `, about ${Math.ceil(eta / 1000)} s left`
    cell(row, bar).append(` ${percent} %${left}`)
    cell(row, id.length > 12 ? `${id.slice(0, 12)}…` : id).title = id
  })
}

/** Shows a metric and measure; null or unknown = the first. */
function choose(metricName, measureName) {
  const metric = state.metrics.find(({ metric }) => metric === metricName) ?? state.metrics[0]
  const measures = [...metric.measures, ...metric.derived]
  const measure = measures.find(({ name }) => name === measureName) ?? measures[0]
  const changed = state.metric?.metric !== metric.metric
  state.metric = metric
  state.measure = measure.name
  options($('metric'), state.metrics.map(({ metric }) => metric), metric.metric)
  options($('measure'), measures.map(({ name }) => name), measure.name)
  $('chart-title').textContent = `${metric.metric}: ${measure.name}`
  $('chart-doc').textContent = [metric.doc, measure.sql].filter((text) => text !== '').join('  ·  ')
  const stream = state.streams.find(({ stream }) => stream === metric.stream)
  $('stream-doc').textContent = stream?.doc ? `Stream ${stream.stream}: ${stream.doc}` : ''
  $('empty').textContent = `No events yet. Send them to POST /v1/streams/${metric.stream}/events, or in Avro to the topic ${stream?.topic ?? `events.${metric.stream}`}.`
  document.title = `${metric.metric}: ${measure.name} · Tidemark`
  $('points-measure').textContent = measure.name
  history.replaceState(null, '', `#metric=${encodeURIComponent(metric.metric)}&measure=${encodeURIComponent(measure.name)}`)
  if (changed) connect()
  draw()
}

function connection(name, text) {
  $('connection').dataset.state = name
  if ($('connection').textContent !== text) $('connection').textContent = text
}

function connect() {
  state.source?.close()
  state.rows = new Map()
  state.told = false
  const source = new EventSource(`/v1/metrics/${encodeURIComponent(state.metric.metric)}/live?numbers=string`)
  state.source = source
  const keep = (row) => state.rows.set(row.from, row)
  source.addEventListener('open', () => connection('live', 'Live'))
  source.addEventListener('error', () => {
    if ($('connection').dataset.state !== 'lost') connection('lost', `Connection lost at ${time(new Date().toISOString()).slice(11)} UTC, trying again`)
  })
  source.addEventListener('snapshot', ({ data }) => {
    state.rows = new Map()
    for (const row of JSON.parse(data).rows) keep(row)
  })
  source.addEventListener('upsert', ({ data }) => keep(JSON.parse(data)))
  source.addEventListener('refusal', ({ data }) => {
    const { code, reason } = JSON.parse(data)
    $('refusal').textContent = `${code}: ${reason}`
    $('refusal').hidden = false
  })
  source.addEventListener('envelope', ({ data }) => {
    const { cut, watermark, shares } = JSON.parse(data)
    $('refusal').hidden = true
    $('watermark').textContent = time(watermark)
    $('cut').textContent = cut === 0 ? 'no view yet' : String(cut)
    const all = shares.batch + shares.speed
    const percent = all === 0 ? 0 : Math.round((shares.batch / all) * 100)
    $('shares').textContent = all === 0 ? '–' : `${percent} % batch, ${100 - percent} % speed`
    state.told = true
    draw()
  })
}

/** Columns of the chart: time, settled values, provisional values (joined to the last settled one). */
function columns(rows) {
  const value = ({ values }) => (values[state.measure] === null ? null : Number(values[state.measure]))
  const open = ({ finality }) => finality === 'provisional'
  return [
    rows.map(({ from }) => Date.parse(from) / 1000),
    rows.map((row) => (open(row) ? null : value(row))),
    rows.map((row, at) => (open(row) || (at + 1 < rows.length && open(rows[at + 1])) ? value(row) : null)),
  ]
}

function draw() {
  const rows = [...state.rows.values()].sort((a, b) => (a.from < b.from ? -1 : 1)).slice(-POINTS_MAX)
  state.rows = new Map(rows.map((row) => [row.from, row]))
  const settled = rows.findLast(({ finality }) => finality !== 'provisional')
  const open = rows.findLast(({ finality }) => finality === 'provisional')
  $('latest').textContent = show(settled?.values[state.measure])
  $('latest-label').textContent = settled ? `Latest ${settled.finality} window, from ${time(settled.from)} UTC` : 'Latest closed window'
  $('open').textContent = show(open?.values[state.measure])
  $('empty').hidden = !state.told || rows.length > 0
  $('chart').hidden = !$('empty').hidden
  $('chart-summary').textContent = `${rows.length} windows; the latest closed one is ${show(settled?.values[state.measure])}.`
  fill($('points'), rows.slice(-TABLE_ROWS).reverse().map(({ from, values, finality }) => [time(from), show(values[state.measure]), finality]), (row, [from, value, finality]) => {
    cell(row, from)
    cell(row, value, 'number')
    cell(row, finality)
  })
  if (rows.length > 0) state.chart ??= makeChart()
  state.chart?.setData(columns(rows))
}

function makeChart() {
  const box = $('chart')
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()
  const axis = { stroke: () => color('--quiet'), grid: { stroke: () => color('--line'), width: 1 }, ticks: { show: false } }
  /** Times of day, or days when the ticks are at least a day apart; UTC like everything else. */
  const times = (_, ticks) => ticks.map((tick) => {
    const iso = new Date(tick * 1000).toISOString()
    return ticks.length > 1 && ticks[1] - ticks[0] >= 86_400 ? iso.slice(0, 10) : iso.slice(11, 16)
  })
  const size = () => ({ width: box.clientWidth, height: box.clientHeight })
  const chart = new uPlot(
    {
      ...size(),
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), 'UTC'),
      legend: { show: false },
      cursor: { drag: { x: false, y: false } },
      scales: { y: { range: (_, low, high) => (low === null ? [0, 1] : [Math.min(0, low * 1.08), high <= 0 ? 1 : high * 1.08]) } },
      axes: [{ ...axis, size: 30, space: 90, values: times }, { ...axis, size: 64, values: (_, ticks) => ticks.map((tick) => number.format(tick)) }],
      series: [
        {},
        { stroke: () => color('--accent'), width: 2.5, points: { show: false } },
        { stroke: () => color('--accent-soft'), width: 2.5, dash: [7, 5], points: { show: false } },
      ],
    },
    [[], [], []],
    box,
  )
  new ResizeObserver(() => chart.setSize(size())).observe(box)
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => chart.redraw())
  return chart
}

$('choice').addEventListener('submit', (event) => event.preventDefault())
$('metric').addEventListener('change', ({ target }) => choose(target.value, null))
$('measure').addEventListener('change', ({ target }) => choose(state.metric.metric, target.value))
void showRegistry()
void poll()
