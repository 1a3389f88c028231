/**
 * Goal: CI learns whether a working copy's schemas may follow what is registered, with the place and the remedy, by its exit code.
 * Method: the command line against a real registry on a log in memory, and against servers that are other registries or none.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { systemClock } from '#io/clock.ts'
import { isSecret, parseRegistryKeys, sha256Of } from '#io/registry-keys.ts'
import { createMemoryLog } from '#testkit/log-memory.ts'
import { type RunningRegistry, startRegistry } from '../../services/registry/start.ts'
import { runCli } from './run.ts'

let registry: RunningRegistry
let folder: string
beforeAll(async () => {
  const log = createMemoryLog({ clock: systemClock })
  registry = await startRegistry({ log, clock: systemClock, port: 0, host: '127.0.0.1' })
})
afterAll(() => registry.close())
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-schemas-'))
})
afterEach(async () => {
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
  await rm(folder, { recursive: true })
})

async function run(...args: string[]) {
  let out = ''
  let error = ''
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    out += String(text)
    return true
  })
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    error += String(text)
    return true
  })
  const exitCode = await runCli(args)
  vi.restoreAllMocks()
  // File names are as long as the temporary folder's; what the command itself writes stays within 80 columns.
  for (const line of out.replaceAll(folder, '.').split('\n'))
    if (!args.includes('--json')) expect(line.length, line).toBeLessThanOrEqual(80)
  return { exitCode, out: out.replaceAll(`${folder}/`, ''), error: error.replaceAll(`${folder}/`, '') }
}
const schemas = (verb: string, ...args: string[]) => run('schemas', verb, folder, '--registry', registry.url, ...args)
/** The parsed answer of `--json`. */
const json = async (verb: string, ...args: string[]) => {
  const { exitCode, out } = await schemas(verb, '--json', ...args)
  return { exitCode, answer: JSON.parse(out) as { ok: boolean; schemas: Report[]; registered: object[] } }
}
interface Report {
  file: string
  subject: string
  state: string
  level: string
  version: number | null
  findings: { type: string; path: string; line: number; reader: Side; writer: Side; advice: string }[]
  changes: { what: string; path: string; name: string; from: string | null; to: string | null; line: number | null }[]
}
interface Side {
  name: string
  at?: unknown
}

const put = async (path: string, content: unknown) => {
  await mkdir(dirname(join(folder, path)), { recursive: true })
  await writeFile(join(folder, path), typeof content === 'string' ? content : JSON.stringify(content, null, 2))
}
let named = 0
/** A subject of its own for each test. */
const fresh = (): string => `s${++named}`
const record = (fields: object[], more: object = {}) => ({
  type: 'record',
  name: 'Order',
  namespace: 'shop',
  fields,
  ...more,
})
const V1 = [
  { name: 'id', type: 'string' },
  { name: 'cents', type: 'int' },
  { name: 'state', type: { type: 'enum', name: 'State', symbols: ['OPEN', 'PAID', 'GONE'] } },
]
const setLevel = (subject: string, compatibility: string) =>
  fetch(`${registry.url}/config/${subject}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ compatibility }),
  })

describe('tidemark schemas', () => {
  it('[R4] a new schema fits, is registered once, and is unchanged from then on', async () => {
    const subject = fresh()
    await put(`${subject}.avsc`, record(V1))
    expect((await json('check')).answer.schemas).toMatchObject([{ subject, state: 'new', version: null }])
    const first = await schemas('register')
    expect(first.exitCode).toBe(0)
    expect(first.out).toMatch(new RegExp(`^${subject}\\.avsc +${subject} +\\d+ +1 +registered$`, 'm'))
    expect((await schemas('register')).out).toMatch(/ 1 +unchanged$/m)
    const checked = await json('check')
    expect([checked.exitCode, checked.answer.schemas]).toMatchObject([0, [{ state: 'unchanged', version: 1 }]])
    await put(`${subject}.avsc`, record([...V1, { name: 'note', type: 'string', default: '' }]))
    expect((await json('check')).answer.schemas).toMatchObject([{ state: 'compatible', version: 1 }])
    expect((await json('register')).answer.registered).toMatchObject([{ state: 'registered', version: 2 }])
  })

  it('[R4] an incompatible schema: exit code 1, the place in file and schema, both sides, and what to do', async () => {
    const subject = fresh()
    await put(`${subject}.avsc`, record(V1))
    await schemas('register')
    const changed = record([
      { name: 'id', type: 'long' },
      { name: 'amount', type: 'int' },
      { name: 'state', type: { type: 'enum', name: 'State', symbols: ['OPEN', 'PAID'] } },
    ])
    await put(`${subject}.avsc`, changed)
    const { exitCode, answer } = await json('check')
    expect([exitCode, answer.ok]).toEqual([1, false])
    expect(answer.schemas).toMatchObject([
      {
        subject,
        level: 'BACKWARD',
        state: 'incompatible',
        version: 1,
        findings: [
          {
            type: 'TYPE_MISMATCH',
            path: '/fields/0/type',
            line: 8,
            reader: { name: 'this file', at: 'long' },
            writer: { name: 'version 1', at: 'string' },
          },
          {
            type: 'READER_FIELD_MISSING_DEFAULT_VALUE',
            path: '/fields/1',
            line: 10,
            reader: { name: 'this file', at: { name: 'amount', type: 'int' } },
            writer: { name: 'version 1' },
            advice: expect.stringContaining('"aliases": ["cents"]') as string,
          },
          {
            type: 'MISSING_ENUM_SYMBOLS',
            path: '/fields/2/type/symbols',
            line: 19,
            reader: { at: ['OPEN', 'PAID'] },
            writer: { at: ['OPEN', 'PAID', 'GONE'] },
          },
        ],
      },
    ])
    const { out } = await schemas('check')
    expect(out).toContain(
      `${subject}.avsc:8 → ${subject}, version 1, level BACKWARD\n  TYPE_MISMATCH at /fields/0/type`,
    )
    expect(out).toContain('  reader  this file: "long"\n  writer  version 1: "string"')
    expect(out).toMatch(/ {2}do: {5}Give the field "amount" a default, or, if it is "cents"\n? +renamed/)
    expect(out).toContain('Level NONE is no remedy')
    const register = await schemas('register')
    expect([register.exitCode, register.out]).toEqual([1, expect.stringContaining('Nothing was registered.')])
    // An alias, a promotion, a default symbol: the advice followed.
    const followed = record([
      { name: 'id', type: 'string' },
      { name: 'amount', type: 'long', aliases: ['cents'] },
      { name: 'state', type: { type: 'enum', name: 'State', symbols: ['OPEN', 'PAID'], default: 'OPEN' } },
    ])
    await put(`${subject}.avsc`, followed)
    expect((await schemas('check')).exitCode).toBe(0)
  })

  it('[R4] every kind of place is found in both schemas', async () => {
    const subject = fresh()
    /** One field a line, so that lines can be counted. */
    const lines = (name: string, types: object[]) =>
      put(
        `${subject}.avsc`,
        `{"type":"record","name":"${name}","namespace":"n","fields":[\n${types.map((type, i) => JSON.stringify({ name: `f${i}`, type })).join(',\n')}]}`,
      )
    const item = (field: string) => ({
      type: 'array',
      items: { type: 'record', name: 'I', fields: [{ name: field, type: 'int' }] },
    })
    const decimal = (scale: number) => ({ type: 'bytes', logicalType: 'decimal', precision: 9, scale })
    const state = (...symbols: string[]) => ['null', { type: 'enum', name: 'E', symbols }]
    const fixed = (size: number) => ({ type: 'fixed', name: 'F', size })
    await lines('Old', [
      ['null', 'int', 'string'],
      item('a'),
      { type: 'map', values: 'string' },
      fixed(4),
      decimal(2),
      state('A', 'B'),
    ])
    await schemas('register')
    await lines('New', [['null', 'int'], item('b'), { type: 'map', values: 'long' }, fixed(8), decimal(4), state('A')])
    const found = (await json('check')).answer.schemas[0]!.findings
    expect(found.map(({ type, line, reader, writer }) => [type, line, reader.at, writer.at])).toEqual([
      ['NAME_MISMATCH', 1, 'New', 'Old'],
      ['MISSING_UNION_BRANCH', 2, ['null', 'int'], 'string'],
      ['READER_FIELD_MISSING_DEFAULT_VALUE', 3, { name: 'b', type: 'int' }, undefined],
      ['TYPE_MISMATCH', 4, 'long', 'string'],
      ['FIXED_SIZE_MISMATCH', 5, 8, 4],
      ['TYPE_MISMATCH', 6, decimal(4), decimal(2)],
      ['MISSING_UNION_BRANCH', 7, state('A'), { type: 'enum', name: 'E', symbols: ['A', 'B'] }],
    ])
    for (const [at, words] of [
      [0, 'add "aliases": ["n.Old"]'],
      [1, 'Keep the branch'],
      [2, '"aliases": ["a"]'],
      [3, 'widen it'],
      [4, 'Keep the size'],
      [5, 'let a precision only grow'],
      [6, 'has a branch of this name'],
    ] as const)
      expect(found[at]!.advice).toContain(words)
    expect((await schemas('check')).exitCode).toBe(1)
  })

  it('[R4] forward, the registered schema reads: sides and advice are turned round', async () => {
    const subject = fresh()
    await put(`${subject}.avsc`, record(V1))
    await schemas('register')
    await setLevel(subject, 'FORWARD')
    await put(`${subject}.avsc`, record([V1[0]!, { name: 'cents', type: 'long' }]))
    const { exitCode, answer } = await json('check')
    expect(exitCode).toBe(1)
    expect(answer.schemas[0]).toMatchObject({
      level: 'FORWARD',
      findings: [
        {
          type: 'TYPE_MISMATCH',
          line: 12,
          reader: { name: 'version 1', at: 'int' },
          writer: { name: 'this file', at: 'long' },
        },
        {
          type: 'READER_FIELD_MISSING_DEFAULT_VALUE',
          reader: { name: 'version 1' },
          writer: { name: 'this file' },
          advice: expect.stringMatching(/^Keep the field "state"/) as string,
        },
      ],
    })
  })

  it('[R4] a stream’s schema belongs to its topic, a shared one to every stream; nothing else is asked', async () => {
    const base = fresh()
    await put('order.avsc', record(V1))
    await put('streams/a.yaml', `stream: ${base}_a\nschema: ../order.avsc\n`)
    await put('streams/b.yml', `stream: ${base}_b\nschema: order.avsc\n`)
    await put('streams/broken.yaml', 'stream: [\n')
    expect((await json('check')).answer.schemas.map(({ subject }) => subject)).toEqual([
      `events.${base}_a-value`,
      `events.${base}_b-value`,
    ])
    const other = fresh()
    expect((await json('check', '--subject', other)).answer.schemas.map(({ subject }) => subject)).toEqual([other])
    const file = await run('schemas', 'check', join(folder, 'order.avsc'), '--registry', registry.url, '--json')
    expect((JSON.parse(file.out) as { schemas: [] }).schemas).toHaveLength(2)
    // A file in a folder of the definitions still belongs to their streams.
    await put('types/click.avsc', '"string"')
    await put('streams/c.yaml', `stream: ${base}_c\nschema: click.avsc\n`)
    vi.stubEnv('TIDEMARK_DEFINITIONS', folder)
    const inner = await run('schemas', 'check', join(folder, 'types/click.avsc'), '--registry', registry.url, '--json')
    expect((JSON.parse(inner.out) as { schemas: Report[] }).schemas).toMatchObject([
      { file: 'types/click.avsc', subject: `events.${base}_c-value` },
    ])
  })

  it('[R1] types of other files are put in, and those files are no subjects themselves', async () => {
    const subject = fresh()
    await put('money.avsc', { type: 'enum', name: 'Currency', namespace: 'money', symbols: ['EUR'] })
    await put('amount.avsc', record([{ name: 'in', type: 'money.Currency' }], { name: 'Amount', namespace: 'money' }))
    await put(`${subject}.avsc`, record([{ name: 'paid', type: 'money.Amount' }]))
    expect((await json('register')).answer.registered).toMatchObject([{ subject, state: 'registered' }])
    expect((await json('check')).answer.schemas).toMatchObject([{ subject, state: 'unchanged' }])
    expect((await json('diff')).answer.schemas).toMatchObject([{ subject, changes: [] }])
  })

  it('[R1] a registered schema with references is compared as one text', async () => {
    const [currency, subject] = [fresh(), fresh()]
    const post = async (to: string, body: object) => {
      const response = await fetch(`${registry.url}/subjects/${to}/versions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
      return response.status
    }
    const enumText = JSON.stringify({ type: 'enum', name: 'Currency', symbols: ['EUR'] })
    const text = JSON.stringify({ type: 'record', name: 'Price', fields: [{ name: 'in', type: 'Currency' }] })
    expect(await post(currency, { schema: enumText })).toBe(200)
    const references = [{ name: 'Currency', subject: currency, version: 1 }]
    expect(await post(subject, { schema: text, references })).toBe(200)
    await put('currency.avsc', enumText)
    await put(`${subject}.avsc`, text)
    expect((await json('diff')).answer.schemas).toMatchObject([{ subject, version: 1, changes: [] }])
    expect((await json('check')).answer.schemas).toMatchObject([{ subject, version: 1, state: 'unchanged' }])
    expect((await json('register')).answer.registered).toMatchObject([{ subject, version: 1, state: 'unchanged' }])
  })

  it('[R4] what is no schema is invalid, with its line, and never sent', async () => {
    const subject = fresh()
    await put(`${subject}.avsc`, record([{ name: 'id', type: 'strin' }]))
    const { exitCode, answer } = await json('check')
    expect(exitCode).toBe(1)
    expect(answer.schemas).toMatchObject([{ state: 'invalid', findings: [{ type: 'INVALID', line: 8 }] }])
    await put(`${subject}.avsc`, '{ not json')
    expect((await schemas('check')).exitCode).toBe(1)
    expect((await schemas('register')).exitCode).toBe(1)
    const diff = await schemas('diff')
    expect([diff.exitCode, diff.error]).toEqual([1, expect.stringContaining(`SCHEMA_INVALID: ${subject}.avsc`)])
  })

  it('[R4] diff names every change with its place', async () => {
    const subject = fresh()
    await put(`${subject}.avsc`, record([...V1, { name: 'gone', type: 'int', default: 1 }], { doc: 'Old.' }))
    expect((await schemas('diff')).out).toBe(`${subject}.avsc → ${subject}: nothing is registered yet\n`)
    await schemas('register')
    expect((await schemas('diff')).out).toBe(`${subject}.avsc → ${subject}, version 1: no change\n`)
    const symbols = { type: 'enum', name: 'State', symbols: ['OPEN', 'PAID', 'LOST'], default: 'OPEN' }
    const fields = [
      { name: 'cents', type: ['null', 'long'], default: null },
      { name: 'key', type: 'string', aliases: ['id'], doc: 'Of the order.' },
      { name: 'state', type: symbols },
      { name: 'at', type: { type: 'long', logicalType: 'timestamp-millis' }, default: 9_007_199_254_740_991 },
    ]
    await put(`${subject}.avsc`, record(fields, { doc: 'New.' }))
    const { exitCode, answer } = await json('diff')
    expect(exitCode).toBe(0)
    expect(answer.schemas[0]!.changes.map(({ what, name, path, from, to }) => [what, name, path, from, to])).toEqual([
      ['doc', 'Order', '/', '"Old."', '"New."'],
      ['default', 'Order.cents', '/fields/0', null, 'null'],
      ['type', 'Order.cents', '/fields/0/type', '"int"', '["null","long"]'],
      ['field renamed', 'Order.key', '/fields/1', '"id"', '"key"'],
      ['aliases', 'Order.key', '/fields/1', null, '["id"]'],
      ['doc', 'Order.key', '/fields/1', null, '"Of the order."'],
      ['default', 'Order.state', '/fields/2/type', null, '"OPEN"'],
      ['symbols removed', 'Order.state', '/fields/2/type', '["GONE"]', null],
      ['symbols added', 'Order.state', '/fields/2/type', null, '["LOST"]'],
      [
        'field added',
        'Order.at',
        '/fields/3',
        null,
        '{"type":"long","logicalType":"timestamp-millis"} default 9007199254740991',
      ],
      ['field removed', 'Order.gone', '/fields/3', '"int" default 1', null],
      ['fields reordered', 'Order', '/', '["id","cents","state","gone"]', '["cents","key","state","at"]'],
    ])
    expect((await schemas('diff')).out).toContain('Order.cents (line 8, /fields/0/type): type: "int" → ["null","long"]')
  })

  it('diff follows recursive and nested types, and says of a type once what changed', async () => {
    const subject = fresh()
    const list = (doc: string) => ({
      type: 'record',
      name: 'L',
      fields: [
        { name: 'next', type: ['null', 'L'] },
        { name: 'also', type: { type: 'array', items: { type: 'map', values: ['null', 'L'] } } },
        { name: 'v', type: 'int', doc },
      ],
    })
    await put(`${subject}.avsc`, list('a'))
    await schemas('register')
    await put(`${subject}.avsc`, list('b'))
    expect((await json('diff')).answer.schemas[0]!.changes).toMatchObject([{ what: 'doc', name: 'L.v' }])
  })
})

describe('usage, addresses and keys', () => {
  it('wrong usage and a registry that is not there end with 2', async () => {
    expect(await schemas('check')).toMatchObject({
      exitCode: 2,
      error: expect.stringMatching(/^USAGE: There is no/) as string,
    })
    await put('a.avsc', '"int"')
    await put('b.avsc', '"int"')
    expect(await schemas('check', '--subject', 's')).toMatchObject({
      exitCode: 2,
      error: expect.stringMatching(/^USAGE: --subject is for one schema/) as string,
    })
    expect((await run('schemas', 'check', `${folder}/none`)).exitCode).toBe(2)
    expect((await run('schemas', 'check', folder, '--registry', 'ftp://x')).exitCode).toBe(2)
    expect((await run('schemas')).exitCode).toBe(2)
    const away = await run('schemas', 'check', folder, '--registry', 'http://127.0.0.1:9', '--json')
    expect([away.exitCode, JSON.parse(away.out)]).toMatchObject([2, { code: 'REGISTRY_UNREACHABLE' }])
  })

  it('takes address, folder and key from the settings, the key from a file too', async () => {
    const log = createMemoryLog({ clock: systemClock })
    const secret = 'ci-secret-0123456789'
    const keys = [{ name: 'ci', hash: sha256Of(secret), scopes: [{ subjects: 'mine', allow: 'read' as const }] }]
    const closed = await startRegistry({ log, clock: systemClock, port: 0, host: '127.0.0.1', keys })
    try {
      await put('mine.avsc', '"int"')
      vi.stubEnv('TIDEMARK_REGISTRY_URL', closed.url)
      vi.stubEnv('TIDEMARK_DEFINITIONS', folder)
      const denied = await run('schemas', 'check')
      expect([denied.exitCode, denied.error]).toEqual([2, expect.stringContaining('TIDEMARK_REGISTRY_AUTH')])
      await put('key', `ci:${secret}\n`)
      vi.stubEnv('TIDEMARK_REGISTRY_AUTH_FILE', join(folder, 'key'))
      expect((await run('schemas', 'check')).exitCode).toBe(0)
      const writes = await run('schemas', 'register')
      expect([writes.exitCode, writes.error]).toEqual([2, expect.stringContaining('User is denied operation Write')])
      expect(writes.error).not.toContain(secret)
    } finally {
      await closed.close()
    }
  })

  it('works with a registry that compares with the last version only, without details', async () => {
    const server = createServer((request, response) => {
      const answer = (status: number, body: object) =>
        response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
      if (request.url === '/config') return answer(200, { compatibilityLevel: 'FULL' })
      if (request.url === '/subjects/x/versions/latest') return answer(200, { id: 1, version: 4, schema: '"long"' })
      if (request.url?.startsWith('/compatibility/subjects/x/versions/latest'))
        return answer(200, { is_compatible: false, messages: ['something else is wrong'] })
      if (request.url?.startsWith('/compatibility')) return answer(404, { error_code: 404, message: 'Not Found' })
      return answer(404, { error_code: request.url === '/subjects/x' ? 40403 : 40401, message: 'none' })
    }).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    try {
      await put('x.avsc', '"int"')
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
      const { exitCode, out } = await run('schemas', 'check', folder, '--registry', url)
      expect(exitCode).toBe(1)
      expect(out).toMatch(/FULL +4 +incompatible/)
      expect(out).toContain('something else is wrong')
    } finally {
      server.close()
    }
  })

  it('makes a key whose entry is one, and shows a secret only when it made it', async () => {
    const made = await run('schemas', 'key', 'ci', '--scope', 'write:orders', 'read:', '--json')
    const { secret, entry } = JSON.parse(made.out) as { secret: string; entry: string }
    const problems: string[] = []
    const [key] = parseRegistryKeys(entry, problems)
    expect([problems, key!.scopes]).toEqual([
      [],
      [
        { subjects: 'orders', allow: 'write' },
        { subjects: '', allow: 'read' },
      ],
    ])
    expect(await isSecret(key!.hash, secret)).toBe(true)
    expect((await run('schemas', 'key', 'ci', '--scope', 'write:orders')).out).toContain('shown this once')
    expect((await run('schemas', 'key', 'a b', '--scope', 'write:orders')).exitCode).toBe(2)
    expect((await run('schemas', 'key', 'ci', '--scope', 'all:orders')).exitCode).toBe(2)
    expect((await run('schemas', 'key', 'ci')).exitCode).toBe(2)
  })
})
