/**
 * Malformed requests by the seed: good requests of every path, then bytes, JSON, schema, path, query and headers spoilt. About one in
 * ten stays good, so that there is something to spoil. No draw may last long on the server by right: sizes stay below a megabyte.
 */

/** A request to send. `path` may hold anything that a request line can. */
export interface FuzzRequest {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer | null
}

type Draw = () => number
type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

const pick = <T>(draw: Draw, list: readonly T[]): T => list[Math.floor(draw() * list.length)]!
const chance = (draw: Draw, p: number): boolean => draw() < p
const upTo = (draw: Draw, n: number): number => Math.floor(draw() * n)

/** Subjects of the fuzz, few, so that they are met again. */
export const FUZZ_SUBJECTS = ['f0', 'f1', 'f2', 'f/3', 'f 4'] as const
const LEVELS = ['NONE', 'BACKWARD', 'FORWARD', 'FULL', 'BACKWARD_TRANSITIVE', 'FORWARD_TRANSITIVE', 'FULL_TRANSITIVE']
const MODES = ['READWRITE', 'READONLY', 'IMPORT', 'READONLY_OVERRIDE']
const SCHEMAS: readonly Json[] = [
  'string',
  ['null', 'int'],
  { type: 'record', name: 'A', fields: [{ name: 'a', type: 'int', default: 1 }] },
  { type: 'record', name: 'A', fields: [{ name: 'a', type: 'string' }] },
  {
    type: 'record',
    name: 'A',
    fields: [
      { name: 'a', type: ['null', 'long'] },
      { name: 'b', type: 'bytes' },
    ],
  },
  {
    type: 'record',
    name: 'n.s.B',
    aliases: ['Old'],
    fields: [
      { name: 'next', type: ['null', 'n.s.B'], default: null },
      { name: 'e', type: { type: 'enum', name: 'E', symbols: ['X', 'Y'], default: 'X' } },
      { name: 'm', type: { type: 'map', values: { type: 'array', items: 'n.s.E' } } },
      { name: 'd', type: { type: 'bytes', logicalType: 'decimal', precision: 9, scale: 2 } },
    ],
  },
  { type: 'fixed', name: 'F', size: 4 },
]

const LONG = 'x'.repeat(200_000)
const nested = (depth: number, open: string, close: string): string =>
  `${open.repeat(depth)}"int"${close.repeat(depth)}`
/** Texts that decoders stumble over. */
const TEXTS = [
  '',
  ' ',
  '\u0000',
  '\ud800',
  '__proto__',
  'constructor',
  'latest',
  '-1',
  '1e999',
  '99999999999999999999',
  'NaN',
  '../../etc/passwd',
  '%00',
  '{',
  '"',
  "'; drop table schemas; --",
  '<script>',
  'é'.repeat(300),
  LONG,
]
const NUMBERS = [0, -1, 1, 1.5, 2 ** 31 - 1, 2 ** 31, 2 ** 53, -(2 ** 63), 1e308, Number.MIN_VALUE]
const SCHEMA_TEXTS = [
  nested(1_000, '{"type":"array","items":', '}'),
  nested(20_000, '[', ']'),
  nested(3_000, '{"type":', '}'),
  `{"type":"record","name":"R","fields":[${Array.from({ length: 5_000 }, (_, i) => `{"name":"f${i}","type":"int"}`).join()}]}`,
  `[${Array.from({ length: 3_000 }, (_, i) => `{"type":"fixed","name":"F${i}","size":1}`).join()}]`,
  '{"type":"fixed","name":"F","size":9007199254740993}',
  '{"type":"fixed","name":"F","size":-1}',
  '{"type":"array","items":"null"}',
  '{"type":"array","items":{"type":"record","name":"Z","fields":[]}}',
  '{"type":"record","name":"R","fields":[{"name":"r","type":"R"}]}',
  '{"type":"record","name":"__proto__","fields":[{"name":"constructor","type":"int"}]}',
  '{"type":"record","name":"R","fields":[{"name":"a","type":"int","default":1e400}]}',
  '{"type":"enum","name":"E","symbols":[]}',
  '{"type":"bytes","logicalType":"decimal","precision":-5,"scale":1e9}',
  '{"type":"record","type":"enum","name":"R","fields":[]}',
  'null',
  '1',
  'true',
  '"\\ud800"',
]

function anyJson(draw: Draw, depth = 0): Json {
  const kind = upTo(draw, depth > 3 ? 4 : 7)
  if (kind === 0) return null
  if (kind === 1) return chance(draw, 0.5)
  if (kind === 2) return pick(draw, NUMBERS)
  if (kind === 3 || kind === 4) return pick(draw, TEXTS)
  if (kind === 5) return Array.from({ length: upTo(draw, 4) }, () => anyJson(draw, depth + 1))
  return Object.fromEntries(
    Array.from({ length: upTo(draw, 4) }, () => [
      pick(draw, ['type', 'name', 'fields', 'schema', '__proto__', 'items', 'id', 'x']),
      anyJson(draw, depth + 1),
    ]),
  )
}

/** The value with one place replaced, dropped, doubled or wrapped. */
function spoilt(value: Json, draw: Draw): Json {
  if (value === null || typeof value !== 'object' || chance(draw, 0.15)) return anyJson(draw)
  if (Array.isArray(value)) {
    if (value.length === 0) return [anyJson(draw)]
    const at = upTo(draw, value.length)
    const act = upTo(draw, 4)
    if (act === 0) return value.filter((_, i) => i !== at)
    if (act === 1) return [...value, value[at]!]
    if (act === 2) return [value, value]
    return value.map((each, i) => (i === at ? spoilt(each, draw) : each))
  }
  const keys = Object.keys(value)
  if (keys.length === 0) return { x: anyJson(draw) }
  const key = pick(draw, keys)
  const act = upTo(draw, 4)
  if (act === 0) return Object.fromEntries(Object.entries(value).filter(([name]) => name !== key))
  if (act === 1)
    return {
      ...value,
      [pick(draw, ['type', 'name', 'size', 'items', 'symbols', 'default', '__proto__'])]: anyJson(draw),
    }
  return { ...value, [key]: spoilt(value[key]!, draw) }
}

function schemaText(draw: Draw): string {
  if (chance(draw, 0.08)) return pick(draw, SCHEMA_TEXTS)
  let schema = pick(draw, SCHEMAS)
  for (let i = upTo(draw, 5) - 1; i > 0; i--) schema = spoilt(schema, draw)
  const text = JSON.stringify(schema)
  return chance(draw, 0.1) ? text.slice(0, upTo(draw, text.length)) : text
}

function bodyOf(kind: 'schema' | 'config' | 'mode', draw: Draw): Buffer {
  let value: Json =
    kind === 'config'
      ? { compatibility: pick(draw, LEVELS) }
      : kind === 'mode'
        ? { mode: pick(draw, MODES) }
        : {
            schema: schemaText(draw),
            ...(chance(draw, 0.2) ? { schemaType: pick(draw, ['AVRO', 'JSON', 'PROTOBUF', 'avro', '']) } : {}),
            ...(chance(draw, 0.2) ? { id: pick(draw, NUMBERS), version: pick(draw, NUMBERS) } : {}),
            ...(chance(draw, 0.2)
              ? { references: [{ name: 'A', subject: pick(draw, FUZZ_SUBJECTS), version: pick(draw, NUMBERS) }] }
              : {}),
            ...(chance(draw, 0.1) ? { metadata: anyJson(draw), ruleSet: anyJson(draw) } : {}),
          }
  if (chance(draw, 0.2)) value = spoilt(value, draw)
  const bytes = Buffer.from(JSON.stringify(value) ?? '')
  if (!chance(draw, 0.15) || bytes.length === 0) return bytes
  const at = upTo(draw, bytes.length)
  const act = upTo(draw, 4)
  if (act === 0) return bytes.subarray(0, at)
  if (act === 1) return Buffer.concat([bytes.subarray(0, at), Buffer.from([upTo(draw, 256)]), bytes.subarray(at)])
  if (act === 2) return Buffer.concat([bytes, bytes.subarray(at)])
  bytes[at] = upTo(draw, 256)
  return bytes
}

const SEGMENTS = [
  '%',
  '%ZZ',
  '%00',
  '%C0%AF',
  '%2e%2e',
  '..',
  '.',
  '',
  '%20',
  '%F0%9F%98%80',
  'é',
  '~',
  '*',
  ':.:',
  ':.x:f0',
  '%0A',
]
const QUERIES = [
  'deleted',
  'deletedOnly',
  'permanent',
  'normalize',
  'verbose',
  'force',
  'defaultToGlobal',
  'offset',
  'limit',
  'subjectPrefix',
  'subject',
  'format',
  'fetchMaxId',
  'latestOnly',
  '%',
  '__proto__',
]
const VALUES = [
  'true',
  'false',
  '1',
  '-1',
  '',
  '%',
  '%ZZ',
  '99999999999',
  '1e3',
  'a&b',
  'true&deleted=false',
  '%00',
  '[]',
]
const TYPES = [
  'application/vnd.schemaregistry.v1+json',
  'application/json',
  'application/octet-stream',
  'application/json; charset=utf-16',
  'text/plain',
  'application/xml',
  '*/*',
  'a',
  'application/json;;;=',
  '',
]

/** A request drawn. */
export function fuzzRequest(draw: Draw): FuzzRequest {
  const subject = chance(draw, 0.85) ? encodeURIComponent(pick(draw, FUZZ_SUBJECTS)) : pick(draw, SEGMENTS)
  const version = pick(draw, ['1', '2', 'latest', '-1', '0', 'abc', '2147483648', '1.0', '%20', '+1'])
  const id = pick(draw, ['1', '2', '3', '0', '-1', 'abc', '2147483647', '99999999999999999999', '%31', '1e2'])
  const [method, path, kind] = pick<readonly [string, string, 'schema' | 'config' | 'mode' | null]>(draw, [
    ['POST', `/subjects/${subject}/versions`, 'schema'],
    ['POST', `/subjects/${subject}/versions`, 'schema'],
    ['POST', `/subjects/${subject}/versions`, 'schema'],
    ['POST', `/subjects/${subject}/versions`, 'schema'],
    ['POST', `/subjects/${subject}/versions`, 'schema'],
    ['POST', `/subjects/${subject}/versions`, 'schema'],
    ['POST', `/subjects/${subject}`, 'schema'],
    ['POST', `/compatibility/subjects/${subject}/versions`, 'schema'],
    ['POST', `/compatibility/subjects/${subject}/versions/${version}`, 'schema'],
    ['PUT', `/config/${subject}`, 'config'],
    ['PUT', '/config', 'config'],
    ['PUT', `/mode/${subject}`, 'mode'],
    ['PUT', '/mode', 'mode'],
    ['DELETE', `/config/${subject}`, null],
    ['DELETE', `/mode/${subject}`, null],
    ['DELETE', `/subjects/${subject}`, null],
    ['DELETE', `/subjects/${subject}/versions/${version}`, null],
    ['GET', '/subjects', null],
    ['GET', '/schemas', null],
    ['GET', `/subjects/${subject}/versions`, null],
    ['GET', `/subjects/${subject}/versions/${version}`, null],
    ['GET', `/subjects/${subject}/versions/${version}/schema`, null],
    ['GET', `/subjects/${subject}/versions/${version}/referencedby`, null],
    ['GET', `/schemas/ids/${id}`, null],
    ['GET', `/schemas/ids/${id}/${pick(draw, ['schema', 'subjects', 'versions', 'x'])}`, null],
    ['GET', `/config/${subject}`, null],
    ['GET', `/mode/${subject}`, null],
    ['GET', `/v1/metadata/${pick(draw, ['id', 'version', 'x'])}`, null],
  ])
  let target = path
  if (chance(draw, 0.1)) target = target.replace(/[^/]+$/, pick(draw, SEGMENTS))
  if (chance(draw, 0.03)) target += `/${pick(draw, SEGMENTS)}`
  if (chance(draw, 0.01)) target += 'x'.repeat(upTo(draw, 12_000))
  if (chance(draw, 0.35)) {
    const parts = Array.from({ length: 1 + upTo(draw, 3) }, () => `${pick(draw, QUERIES)}=${pick(draw, VALUES)}`)
    target += `?${parts.join('&')}`
  }
  const body =
    kind === null
      ? chance(draw, 0.05)
        ? bodyOf('schema', draw)
        : null
      : chance(draw, 0.03)
        ? Buffer.alloc(0)
        : bodyOf(kind, draw)
  return {
    method: chance(draw, 0.03) ? pick(draw, ['PATCH', 'OPTIONS', 'HEAD', 'PUT', 'DELETE', 'GET']) : method,
    path: target,
    headers: {
      ...(body === null && !chance(draw, 0.05)
        ? {}
        : { 'content-type': chance(draw, 0.9) ? TYPES[0]! : pick(draw, TYPES) }),
      ...(chance(draw, 0.05) ? { accept: pick(draw, TYPES) } : {}),
      ...(chance(draw, 0.03)
        ? { authorization: pick(draw, ['Basic', 'Basic !!!', 'Bearer x', 'Basic OjpbOg==']) }
        : {}),
      ...(chance(draw, 0.01) ? { 'x-long': 'y'.repeat(upTo(draw, 8_000)) } : {}),
    },
    body,
  }
}

/** Bytes for a socket that are no request, or hardly one. */
export function fuzzBytes(draw: Draw): Buffer {
  const head = `${pick(draw, ['GET', 'POST', 'PUT', 'get', 'G\u0000T', '\r\n'])} ${pick(draw, ['/subjects', '*', '', 'http://x/y', '/\u0001', '/%'])} ${pick(draw, ['HTTP/1.1', 'HTTP/1.0', 'HTTP/9.9', ''])}\r\n`
  const headers = [
    'Host: x',
    ...(chance(draw, 0.5) ? [`Content-Length: ${pick(draw, ['-1', 'abc', '10', '99999999999', '0', '1, 2'])}`] : []),
    ...(chance(draw, 0.3)
      ? [`Transfer-Encoding: ${pick(draw, ['chunked', 'gzip', 'chunked, chunked', '\u000b'])}`]
      : []),
    ...(chance(draw, 0.2) ? [`${pick(draw, ['X', 'a b', ':', '\u0000'])}: ${'z'.repeat(upTo(draw, 30_000))}`] : []),
    ...(chance(draw, 0.2) ? ['Expect: 100-continue'] : []),
  ]
  const body = chance(draw, 0.5)
    ? pick(draw, ['5\r\nhello\r\n0\r\n\r\n', 'ffffffffff\r\n', '{"schema":', '\r\n\r\n'])
    : ''
  const whole = Buffer.from(`${head}${headers.join('\r\n')}\r\n\r\n${body}`, 'latin1')
  if (chance(draw, 0.3)) return Buffer.from(Array.from({ length: 1 + upTo(draw, 400) }, () => upTo(draw, 256)))
  if (chance(draw, 0.3)) return whole.subarray(0, upTo(draw, whole.length))
  return whole
}
