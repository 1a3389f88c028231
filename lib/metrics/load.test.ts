/**
 * Loading a definitions directory: what is good comes back typed, what is wrong comes back whole, with its place and advice.
 * Files are texts, so that each test reads as the directory it is about. The engine is DuckDB itself: its parser is what is
 * relied on.
 */
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readDefinitionFiles } from '../io/definition-files.ts'
import { type DuckDb, openDuckDb } from '../io/duckdb.ts'
import type { Definitions, MetricDefinition, Problem, StreamDefinition } from './definition.ts'
import { formatProblem, loadDefinitions } from './load.ts'

let db: DuckDb
beforeAll(async () => {
  db = await openDuckDb({ threads: 1, memoryMb: 256, temporaryDirectory: null })
})
afterAll(() => db.close())

const SCHEMA = JSON.stringify({
  type: 'record',
  name: 'Sale',
  fields: [
    { name: 'sale_id', type: 'long' },
    { name: 'sold_at', type: { type: 'long', logicalType: 'timestamp-millis' } },
    { name: 'sold_us', type: { type: 'long', logicalType: 'timestamp-micros' } },
    { name: 'day', type: { type: 'int', logicalType: 'date' } },
    { name: 'seconds', type: 'int' },
    { name: 'iso', type: 'string' },
    { name: 'shop', type: 'string' },
    { name: 'amount', type: { type: 'bytes', logicalType: 'decimal', precision: 12, scale: 2 } },
    { name: 'weight', type: 'double' },
    { name: 'paid', type: 'boolean' },
    { name: 'raw', type: 'bytes' },
  ],
})
const STREAM = 'stream: sales\nschema: sale.avsc\nkey: shop\nevent_time: sold_at\n'
const METRIC = 'metric: revenue\nstream: sales\nwindow: { tumbling: 1h }\nmeasures:\n  sales: count(*)\n'

type Files = Readonly<Record<string, string>>
const load = (files: Files) =>
  loadDefinitions({ directory: 'defs', files: Object.entries(files).map(([path, text]) => ({ path, text })) }, db)
const base: Files = { 'sale.avsc': SCHEMA, 'streams/sales.yaml': STREAM, 'metrics/revenue.yaml': METRIC }

async function good(files: Files): Promise<Definitions> {
  const outcome = await load({ ...base, ...files })
  if (!outcome.ok) expect.unreachable(outcome.problems.map(formatProblem).join('\n'))
  return outcome.definitions
}
async function bad(files: Files): Promise<readonly Problem[]> {
  const outcome = await load({ ...base, ...files })
  return outcome.ok ? expect.unreachable('the definitions were accepted') : outcome.problems
}
const stream = async (yaml: string): Promise<StreamDefinition> =>
  (await good({ 'streams/sales.yaml': yaml })).streams[0]!
const metric = async (yaml: string): Promise<MetricDefinition> =>
  (await good({ 'metrics/revenue.yaml': yaml })).metrics[0]!
/** `line:column CODE` of every problem. */
const places = (problems: readonly Problem[]): string[] =>
  problems.map(({ line, column, code }) => `${line}:${column} ${code}`)
const badStream = async (yaml: string): Promise<string[]> => places(await bad({ 'streams/sales.yaml': yaml }))
const badMetric = async (yaml: string): Promise<string[]> => places(await bad({ 'metrics/revenue.yaml': yaml }))

describe('directories', () => {
  test.each(['definitions', 'test/fixtures/shop'])('%s loads', async (directory) => {
    const path = fileURLToPath(new URL(`../../${directory}`, import.meta.url))
    const outcome = await loadDefinitions({ directory, files: await readDefinitionFiles(path) }, db)
    expect(outcome.ok ? [] : outcome.problems.map(formatProblem)).toEqual([])
    for (const each of outcome.ok ? outcome.definitions.metrics : []) {
      expect(each.doc).not.toBe('')
      expect(each.createReader()).toBeTypeOf('function')
    }
  })

  test('[M5] every problem is reported at once, with file, line, column and advice', async () => {
    const problems = await bad({
      'streams/sales.yaml':
        'stream: sales\nschema: sale.avsc\nkey: shoop\nevent_time: sold_at\ndisorder: soon\npartitons: 3\n',
      'metrics/revenue.yaml':
        'metric: revenue\nstream: sales\nwindow: { tumbling: 1h }\nmeasures:\n  a: sum(amuont)\n  b: median(seconds)\n',
      'metrics/other.yaml': 'metric: Other\nstream: salse\nwindow: { session: 5m }\nmeasures: { n: count(*) }\n',
    })
    expect(problems.map(formatProblem)).toEqual([
      'defs/metrics/other.yaml:1:9: NAME_INVALID "Other" is no name for a metric. Use a to z, 0 to 9 and _, starting with a letter, at most 63 characters.',
      'defs/metrics/other.yaml:2:9: STREAM_UNKNOWN there is no stream salse, did you mean sales? Streams: sales.',
      'defs/metrics/other.yaml:3:20: WINDOW_UNSUPPORTED session windows are not supported yet. Use window: { tumbling: 1h }.',
      expect.stringMatching(
        /^defs\/metrics\/revenue\.yaml:5:10: FIELD_UNKNOWN the stream has no field amuont, did you mean amount\?/,
      ),
      expect.stringMatching(
        /^defs\/metrics\/revenue\.yaml:6:6: AGGREGATE_UNSUPPORTED median is not supported yet\. Use count/,
      ),
      expect.stringMatching(
        /^defs\/streams\/sales\.yaml:3:6: FIELD_UNKNOWN key: the schema has no field shoop, did you mean shop\?/,
      ),
      'defs/streams/sales.yaml:5:11: DURATION_INVALID disorder: soon is no duration. Write a whole number and a unit: 250ms, 30s, 15m, 6h, 7d or 1w.',
      expect.stringMatching(
        /^defs\/streams\/sales\.yaml:6:1: KEY_UNKNOWN a stream has no key partitons, did you mean partitions\?/,
      ),
    ])
  })

  test('what would be ignored in silence is a problem', async () => {
    expect(places(await bad({ 'sales.yaml': STREAM }))).toEqual(['1:1 FILE_MISPLACED'])
    expect(places(await bad({ 'rules/r.yaml': 'rule: r\n' }))).toEqual(['1:1 FILE_UNSUPPORTED'])
    expect(await load({})).toMatchObject({
      ok: false,
      problems: [{ code: 'STREAMS_MISSING', file: 'defs', line: null }],
    })
  })

  test('names are unique; YAML errors and doubled keys have a place', async () => {
    expect(places(await bad({ 'streams/two.yaml': STREAM }))).toEqual(['1:1 NAME_DUPLICATE'])
    expect(places(await bad({ 'metrics/two.yaml': METRIC }))).toEqual(['1:9 NAME_DUPLICATE'])
    expect(await badMetric(`${METRIC}stream: sales\n`)).toEqual(['6:1 KEY_DUPLICATE'])
    expect(await badMetric(METRIC.replace('sales: count(*)', 'n: count(*)\n  m: sum(amuont)\n  n: count(*)'))).toEqual([
      '6:10 FIELD_UNKNOWN',
      '7:3 KEY_DUPLICATE',
    ])
    expect(await badMetric('metric: [\n')).toContain('2:1 YAML_SYNTAX')
    expect(await badMetric('just text\n')).toEqual(['1:1 VALUE_TYPE'])
    expect(await badMetric(METRIC.replace('sales: count(*)', 'n: count(*)\ndimensions: { n: shop }'))).toEqual([
      '5:3 NAME_DUPLICATE',
    ])
  })
})

describe('streams', () => {
  test('defaults and the whole policy', async () => {
    expect(await stream('stream: sales\nschema: sale.avsc\nevent_time: sold_at\n')).toMatchObject({
      key: null,
      id: null,
      disorderMs: 0,
      futureToleranceMs: null,
      dedupHorizonEpochs: null,
      partitions: 1,
      retentionMs: null,
      doc: '',
    })
    const whole = `${STREAM}id: sale_id\ndoc: Sales.\ndisorder: 6h\nfuture_tolerance: 10m\ndedup: { horizon: 1440 }\npartitions: 256\nretention: 7d\n`
    expect(await stream(whole)).toMatchObject({
      key: 'shop',
      id: 'sale_id',
      disorderMs: 21_600_000,
      futureToleranceMs: 600_000,
      dedupHorizonEpochs: 1440,
      partitions: 256,
      retentionMs: 604_800_000,
      doc: 'Sales.',
      file: 'defs/streams/sales.yaml',
      schema: SCHEMA,
    })
  })

  test.each([
    ['sold_at', 'ms'],
    ['sold_us', 'us'],
    ['sale_id', 'ms'],
    ['iso', 'iso'],
    ['{ field: sale_id, unit: s }', 's'],
    ['{ field: seconds, unit: s }', 's'],
    ['{ field: sold_us, unit: us }', 'us'],
  ])('[T1] event_time: %s is read as %s', async (written, unit) => {
    const { eventTime } = await stream(STREAM.replace('sold_at', written))
    expect(eventTime.unit).toBe(unit)
  })

  test.each([
    ['seconds', '4:13 EVENT_TIME_UNIT'],
    ['weight', '4:13 EVENT_TIME_UNIT'],
    ['day', '4:13 EVENT_TIME_UNIT'],
    ['{ field: sold_at, unit: s }', '4:37 EVENT_TIME_UNIT'],
    ['{ field: iso, unit: ms }', '4:33 EVENT_TIME_UNIT'],
    ['{ field: sale_id, unit: iso }', '4:37 EVENT_TIME_UNIT'],
    ['{ field: sale_id, unit: fortnights }', '4:37 EVENT_TIME_UNIT'],
    ['sold', '4:13 FIELD_UNKNOWN'],
  ])('[T1] event_time: %s is refused', async (written, place) => {
    expect(await badStream(STREAM.replace('sold_at', written))).toEqual([place])
  })

  test('bounds, key types, dedup without id, missing keys', async () => {
    expect(await badStream(`${STREAM}partitions: 0\n`)).toEqual(['5:13 VALUE_RANGE'])
    expect(await badStream(`${STREAM}partitions: 257\n`)).toEqual(['5:13 VALUE_RANGE'])
    expect(await badStream(`${STREAM}partitions: four\n`)).toEqual(['5:13 VALUE_RANGE'])
    expect(await badStream(`${STREAM}id: weight\ndedup: { horizon: 5 }\n`)).toEqual(['5:5 FIELD_TYPE'])
    expect(await badStream(`${STREAM}dedup: { horizon: 5 }\n`)).toEqual(['5:8 DEDUP_WITHOUT_ID'])
    expect(await badStream(`${STREAM}id: sale_id\ndedup: { horizon: 0 }\n`)).toEqual(['6:19 VALUE_RANGE'])
    expect(await badStream(`${STREAM}id: sale_id\ndedup: { hoorizon: 5 }\n`)).toEqual([
      '6:8 KEY_MISSING',
      '6:10 KEY_UNKNOWN',
    ])
    expect(await badStream('doc: nothing\n')).toEqual([
      '2:9 STREAM_UNKNOWN',
      '1:1 KEY_MISSING',
      '1:1 KEY_MISSING',
      '1:1 KEY_MISSING',
    ])
    expect(await badStream(STREAM.replace('sale.avsc', 'sael.avsc'))).toContain('2:9 SCHEMA_UNKNOWN')
  })

  test.each([
    ['{\n  "a": 1,\n}', '3:1', 'Expected double-quoted property name'],
    ['{\n  "a": [1,\n  2,]\n}', '3:5', "Unexpected token ']'"],
    ['// a sale\n{}', '1:1', "Unexpected token '/'"],
    ['{\n  "a": nul\n}', '2:11', 'Unexpected token'],
    ['{\n  "a": 1\n', '3:1', 'Expected'],
    ['', '1:1', 'it ends too early'],
    ['{}\n}', '2:1', 'Unexpected non-whitespace character'],
  ])('[M5] a schema that is not JSON has the place of the fault: %j', async (text, place, why) => {
    const [problem] = (await bad({ 'sale.avsc': text })).filter(({ code }) => code === 'SCHEMA_INVALID')
    expect(`${problem!.line}:${problem!.column}`).toBe(place)
    expect(problem!.message).toContain(`not JSON: ${why}`)
    expect(problem!.message).not.toContain('\n')
  })

  test('[R5] every bad field of a schema is a problem of the schema file', async () => {
    const fields = [
      { name: 'sold_at', type: 'long' },
      { name: '_key', type: 'string' },
      { name: 'shop', type: 'string' },
      { name: 'SHOP', type: 'string' },
    ]
    const reserved = await bad({ 'sale.avsc': JSON.stringify({ type: 'record', name: 'S', fields }, null, 1) })
    expect(reserved.filter(({ file }) => file.endsWith('.avsc')).map(({ line, code }) => `${line} ${code}`)).toEqual([
      '10 FIELD_NAME_RESERVED',
      '18 FIELD_NAME_CASE',
    ])
    const nested = {
      type: 'record',
      name: 'S',
      fields: [
        { name: 'a', type: { type: 'array', items: 'int' } },
        { name: 'b', type: { type: 'map', values: 'int' } },
      ],
    }
    const refused = await bad({ 'sale.avsc': JSON.stringify(nested) })
    expect(refused.map(({ code }) => code)).toEqual(['SCHEMA_INVALID', 'SCHEMA_INVALID'])
    expect(places(await bad({ 'sale.avsc': '{' }))).toEqual(['1:2 SCHEMA_INVALID'])
  })
})

describe('metrics', () => {
  test('layout, presented types, fields and policy', async () => {
    const yaml = [
      'metric: revenue',
      'doc: Revenue.',
      'stream: sales',
      'mode: kappa',
      'where: paid',
      'window: { tumbling: 15m }',
      'allowed_lateness: 90s',
      'dimensions:',
      '  shop: shop',
      '  heavy: weight > 10',
      'measures:',
      '  sales: count(*)',
      '  total: sum(amount)',
      '  mean: avg(seconds)',
      '  heaviest: max(weight)',
      '  last: max(seconds)',
      'derived:',
      '  per_sale: total / (sales + 0)',
      'tolerance: 0.5',
    ].join('\n')
    const each = await metric(yaml)
    expect(each).toMatchObject({
      doc: 'Revenue.',
      mode: 'kappa',
      where: 'paid',
      window: { kind: 'tumbling', sizeMs: 900_000 },
      allowedLatenessMs: 90_000,
      tolerance: 0.5,
      fields: ['paid', 'shop', 'weight', 'amount', 'seconds'],
      dimensions: [
        { name: 'shop', sql: 'shop' },
        { name: 'heavy', sql: 'weight > 10' },
      ],
    })
    expect(each.layout.dimensions).toEqual([
      { name: 'shop', kind: 'string', scale: 0 },
      { name: 'heavy', kind: 'bool', scale: 0 },
    ])
    expect(each.layout.measures.map(({ name, kind, scale, float }) => [name, kind, scale, float])).toEqual([
      ['sales', 'count', 0, false],
      ['total', 'sum', 2, false],
      ['mean', 'avg', 0, false],
      ['heaviest', 'max', 0, true],
      ['last', 'max', 0, false],
    ])
    expect(each.measures.map(({ type, scale }) => [type, scale])).toEqual([
      ['int64', 0],
      ['decimal', 2],
      ['float64', 0],
      ['float64', 0],
      ['int64', 0],
    ])
    expect(each.derived[0]!.evaluate({ total: 10, sales: 4 })).toBe(2.5)
    expect(each.generation).toBe(each.hash.slice(0, 12))
  })

  test('a generation is what partials depend on: not words, order of writing, or derived measures', async () => {
    const hash = async (yaml: string) => (await metric(yaml)).hash
    const first = await hash(METRIC)
    expect(await hash(METRIC.replace('count(*)', 'COUNT( * )'))).toBe(first)
    expect(await hash(`${METRIC}doc: Words.\nderived: { half: sales / 2 }\ntolerance: 1\n`)).toBe(first)
    expect(await hash(METRIC.replace('1h', '60m'))).toBe(first)
    for (const other of [
      METRIC.replace('1h', '2h'),
      `${METRIC}where: paid\n`,
      `${METRIC}allowed_lateness: 1s\n`,
      METRIC.replace('(*)', '(shop)'),
    ]) {
      expect(await hash(other)).not.toBe(first)
    }
    const later = await good({ 'streams/sales.yaml': `${STREAM}disorder: 1s\n` })
    expect(later.metrics[0]!.hash).not.toBe(first)
  })

  test.each([
    ['sum(weight)', 'AGGREGATE_TYPE', 'sum(x::DECIMAL(18,3))'],
    ['avg(weight * 2)', 'AGGREGATE_TYPE', 'avg(x::DECIMAL(18,3))'],
    ['min(shop)', 'AGGREGATE_TYPE', 'count(x)'],
    ['sum(paid)', 'AGGREGATE_TYPE', 'filter (where x)'],
    ['count(distinct shop)', 'AGGREGATE_UNSUPPORTED', 'count(*)'],
    ['quantile(seconds, 0.95)', 'AGGREGATE_UNSUPPORTED', 'count(*)'],
    ['sum(seconds order by sale_id)', 'AGGREGATE_UNSUPPORTED', 'count(*)'],
    ['sum(seconds) / count(*)', 'AGGREGATE_EXPECTED', 'derived'],
    ['seconds', 'AGGREGATE_EXPECTED', 'derived'],
    ['sum(seconds) over ()', 'AGGREGATE_EXPECTED', 'derived'],
    ['sum(random())', 'EXPRESSION_UNSUPPORTED', 'coalesce, nullif'],
    ['sum(length(upper(shop)))', 'EXPRESSION_UNSUPPORTED', 'coalesce, nullif'],
    ['count(raw)', 'EXPRESSION_UNSUPPORTED', 'coalesce, nullif'],
    ['sum((select 1))', 'EXPRESSION_UNSUPPORTED', 'coalesce, nullif'],
    ['sum(try_cast(shop as int))', 'EXPRESSION_UNSUPPORTED', 'coalesce, nullif'],
    ['sum(shop::int)', 'EXPRESSION_TYPE', 'Cast'],
    ["count(*) filter (where seconds < '15')", 'EXPRESSION_TYPE', 'Cast'],
    ['count(*) filter (where seconds)', 'EXPRESSION_TYPE', 'Compare'],
    ['sum(seconds', 'EXPRESSION_SYNTAX', 'one SQL expression'],
    ['count(*) from sales', 'EXPRESSION_SYNTAX', 'one SQL expression'],
    ['count(*), sum(seconds)', 'EXPRESSION_SYNTAX', 'one SQL expression'],
    ['count(*) as n', 'EXPRESSION_SYNTAX', 'one SQL expression'],
    ['count(*); drop table x', 'EXPRESSION_SYNTAX', 'one SQL expression'],
  ])('[M5] the measure %s is refused with advice', async (sql, code, advice) => {
    const [problem, ...others] = await bad({ 'metrics/revenue.yaml': METRIC.replace('count(*)', JSON.stringify(sql)) })
    expect(others).toEqual([])
    expect(problem).toMatchObject({ code, line: 5, file: 'defs/metrics/revenue.yaml' })
    expect(problem!.advice).toContain(advice)
  })

  test.each(['hopping', 'session', 'global', 'calendar'])('%s windows are refused by name', async (kind) => {
    const [problem] = await bad({ 'metrics/revenue.yaml': METRIC.replace('tumbling: 1h', `${kind}: 1h`) })
    expect(problem).toMatchObject({
      code: 'WINDOW_UNSUPPORTED',
      message: `${kind} windows are not supported yet`,
      line: 3,
    })
  })

  test('[M5] an expression cut by a comma inside { } is named as such', async () => {
    const problems = await bad({
      'metrics/revenue.yaml': METRIC.replace('\n  sales: count(*)', ' { total: sum(amount::DECIMAL(18,2)) }'),
    })
    const cut = problems.find(({ code }) => code === 'EXPRESSION_CUT')
    expect(cut).toMatchObject({ line: 4, message: '"2))" is the rest of an expression that a comma has cut' })
    expect(cut!.advice).toContain('quotes')
    expect(problems.map(({ code }) => code)).not.toContain('KEY_MISSING')
  })

  test('windows, modes, measures and names have bounds', async () => {
    expect(await badMetric(METRIC.replace('1h', '0s'))).toEqual(['3:21 WINDOW_RANGE'])
    expect(await badMetric(METRIC.replace('tumbling: 1h', 'tumblng: 1h'))).toEqual([
      '3:9 KEY_MISSING',
      '3:11 KEY_UNKNOWN',
    ])
    expect(await badMetric(METRIC.replace('{ tumbling: 1h }', '1h'))).toEqual(['3:9 VALUE_TYPE'])
    expect(await badMetric(`${METRIC}mode: delta\n`)).toEqual(['6:7 VALUE_RANGE'])
    expect(await badMetric(`${METRIC}tolerance: -1\n`)).toEqual(['6:12 VALUE_RANGE'])
    expect(await badMetric(METRIC.replace('\n  sales: count(*)', ' {}'))).toEqual(['4:11 KEY_MISSING'])
    expect(await badMetric(METRIC.replace('sales: count', 'Sales: count'))).toEqual(['5:3 NAME_INVALID'])
    expect(await badMetric(`${METRIC}late: restate\n`)).toEqual(['6:1 KEY_UNKNOWN'])
  })

  test.each([
    ['sales / other', 'MEASURE_UNKNOWN'],
    ['coalesce(sales, 0)', 'DERIVED_UNSUPPORTED'],
    ['sales % 2', 'DERIVED_UNSUPPORTED'],
    ['sales /', 'EXPRESSION_SYNTAX'],
  ])('the derived measure %s is refused', async (sql, code) => {
    const [problem] = await bad({ 'metrics/revenue.yaml': `${METRIC}derived:\n  d: ${sql}\n` })
    expect(problem).toMatchObject({ code, line: 7 })
  })

  test('[W8] a derived measure is null when an operand is, or the divisor is 0', async () => {
    const yaml = METRIC.replace(
      'sales: count(*)',
      'a: count(*)\n  b: sum(seconds)\nderived:\n  d: -(b - 1.5) / a + 2e1 * 0.25',
    )
    const { evaluate } = (await metric(yaml)).derived[0]!
    expect(evaluate({ a: 2, b: 4.5 })).toBe(3.5)
    expect(evaluate({ a: 0, b: 4.5 })).toBeNull()
    expect(evaluate({ a: 2, b: null })).toBeNull()
    expect(evaluate({ a: 2, b: Number.POSITIVE_INFINITY })).toBeNull()
  })

  test('the SQL reads events only, and only of the windows that start in the range', async () => {
    const { toSql } = await metric(METRIC)
    const sql = toSql({ relation: 'events', windows: { from: -1, until: 3_600_001 } })
    expect(sql).toContain("_kind = 'event'")
    expect(sql).toContain('_event_time >= 0 AND _event_time < 7200000')
  })
})
