/**
 * Goal: CI learns whether a working copy's schemas may follow what is registered, with the place and the remedy, by its exit code.
 * Method: the command line against a real registry on a log in memory.
 */
import { join } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { freshSubject, ORDER_FIELDS, orderSchema, type SchemasAnswer, workingCopy } from '#testkit/schemas-cli.ts'

const copy = workingCopy()
const { run, schemas, json, put, setLevel } = copy
afterEach(() => vi.unstubAllEnvs())

describe('tidemark schemas check and register', () => {
  it('[R4] a new schema fits, is registered once, and is unchanged from then on', async () => {
    const subject = freshSubject()
    await put(`${subject}.avsc`, orderSchema(ORDER_FIELDS))
    expect((await json('check')).answer.schemas).toMatchObject([{ subject, state: 'new', version: null }])
    const first = await schemas('register')
    expect(first.exitCode).toBe(0)
    expect(first.out).toMatch(new RegExp(`^${subject}\\.avsc +${subject} +\\d+ +1 +registered$`, 'm'))
    expect((await schemas('register')).out).toMatch(/ 1 +unchanged$/m)
    const checked = await json('check')
    expect([checked.exitCode, checked.answer.schemas]).toMatchObject([0, [{ state: 'unchanged', version: 1 }]])
    await put(`${subject}.avsc`, orderSchema([...ORDER_FIELDS, { name: 'note', type: 'string', default: '' }]))
    expect((await json('check')).answer.schemas).toMatchObject([{ state: 'compatible', version: 1 }])
    expect((await json('register')).answer.registered).toMatchObject([{ state: 'registered', version: 2 }])
  })

  it('[R4] an incompatible schema: exit code 1, the place in file and schema, both sides, and what to do', async () => {
    const subject = freshSubject()
    await put(`${subject}.avsc`, orderSchema(ORDER_FIELDS))
    await schemas('register')
    const changed = orderSchema([
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
    const followed = orderSchema([
      { name: 'id', type: 'string' },
      { name: 'amount', type: 'long', aliases: ['cents'] },
      { name: 'state', type: { type: 'enum', name: 'State', symbols: ['OPEN', 'PAID'], default: 'OPEN' } },
    ])
    await put(`${subject}.avsc`, followed)
    expect((await schemas('check')).exitCode).toBe(0)
  })

  it('[R4] every kind of place is found in both schemas', async () => {
    const subject = freshSubject()
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
    const subject = freshSubject()
    await put(`${subject}.avsc`, orderSchema(ORDER_FIELDS))
    await schemas('register')
    await setLevel(subject, 'FORWARD')
    await put(`${subject}.avsc`, orderSchema([ORDER_FIELDS[0]!, { name: 'cents', type: 'long' }]))
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
    const base = freshSubject()
    await put('order.avsc', orderSchema(ORDER_FIELDS))
    await put('streams/a.yaml', `stream: ${base}_a\nschema: ../order.avsc\n`)
    await put('streams/b.yml', `stream: ${base}_b\nschema: order.avsc\n`)
    await put('streams/broken.yaml', 'stream: [\n')
    expect((await json('check')).answer.schemas.map(({ subject }) => subject)).toEqual([
      `events.${base}_a-value`,
      `events.${base}_b-value`,
    ])
    const other = freshSubject()
    expect((await json('check', '--subject', other)).answer.schemas.map(({ subject }) => subject)).toEqual([other])
    const file = await run(
      'schemas',
      'check',
      join(copy.folder, 'order.avsc'),
      '--registry',
      copy.registryUrl,
      '--json',
    )
    expect((JSON.parse(file.out) as SchemasAnswer).schemas).toHaveLength(2)
    // A file in a folder of the definitions still belongs to their streams.
    await put('types/click.avsc', '"string"')
    await put('streams/c.yaml', `stream: ${base}_c\nschema: click.avsc\n`)
    vi.stubEnv('TIDEMARK_DEFINITIONS', copy.folder)
    const inner = await run(
      'schemas',
      'check',
      join(copy.folder, 'types/click.avsc'),
      '--registry',
      copy.registryUrl,
      '--json',
    )
    expect((JSON.parse(inner.out) as SchemasAnswer).schemas).toMatchObject([
      { file: 'types/click.avsc', subject: `events.${base}_c-value` },
    ])
  })

  it('[R1] types of other files are put in, and those files are no subjects themselves', async () => {
    const subject = freshSubject()
    await put('money.avsc', { type: 'enum', name: 'Currency', namespace: 'money', symbols: ['EUR'] })
    await put(
      'amount.avsc',
      orderSchema([{ name: 'in', type: 'money.Currency' }], { name: 'Amount', namespace: 'money' }),
    )
    await put(`${subject}.avsc`, orderSchema([{ name: 'paid', type: 'money.Amount' }]))
    expect((await json('register')).answer.registered).toMatchObject([{ subject, state: 'registered' }])
    expect((await json('check')).answer.schemas).toMatchObject([{ subject, state: 'unchanged' }])
    expect((await json('diff')).answer.schemas).toMatchObject([{ subject, changes: [] }])
  })

  it('[R1] a registered schema with references is compared as one text', async () => {
    const [currency, subject] = [freshSubject(), freshSubject()]
    const post = async (to: string, body: object) => {
      const response = await fetch(`${copy.registryUrl}/subjects/${to}/versions`, {
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

  it('[R4] schemas lie however deep, with the marks and line ends of any editor; folders of others are left out', async () => {
    const [plain, deep] = [freshSubject(), freshSubject()]
    await put(`${plain}.avsc`, `\uFEFF${JSON.stringify(orderSchema(ORDER_FIELDS), null, 1).replaceAll('\n', '\r\n')}`)
    await put(`one/two/three/${deep}.avsc`, '"int"')
    for (const folder of ['node_modules/x', '.git']) await put(`${folder}/other.avsc`, 'no schema')
    expect((await json('check')).answer.schemas.map(({ subject, state }) => [subject, state])).toEqual(
      expect.arrayContaining([
        [plain, 'new'],
        [deep, 'new'],
      ]),
    )
    expect((await json('register')).answer.registered).toHaveLength(2)
    const fields = [...ORDER_FIELDS, { name: 'more', type: 'int' }]
    await put(`${plain}.avsc`, `\uFEFF${JSON.stringify(orderSchema(fields), null, 1).replaceAll('\n', '\r\n')}`)
    const { exitCode, answer } = await json('check')
    expect(exitCode).toBe(1)
    const found = answer.schemas.find(({ subject }) => subject === plain)!.findings[0]!
    const lines = JSON.stringify(orderSchema(fields), null, 1).split('\n')
    expect(lines.slice(found.line - 1, found.line + 1).join('')).toContain('"more"')
  })

  it('[R4] two different schemas for one subject are refused before any is registered', async () => {
    const subject = freshSubject()
    await put(`a/${subject}.avsc`, '"int"')
    await put(`b/${subject}.avsc`, '"string"')
    for (const verb of ['check', 'register', 'diff'])
      expect(await schemas(verb)).toMatchObject({
        exitCode: 2,
        error: expect.stringContaining(
          `a/${subject}.avsc and b/${subject}.avsc are different schemas of one subject, ${subject}.`,
        ) as string,
      })
    await put(`b/${subject}.avsc`, '"int"')
    expect((await schemas('register')).exitCode).toBe(0)
  })

  it('[R4] what is no schema is invalid, with its line, and never sent', async () => {
    const subject = freshSubject()
    await put(`${subject}.avsc`, orderSchema([{ name: 'id', type: 'strin' }]))
    const { exitCode, answer } = await json('check')
    expect(exitCode).toBe(1)
    expect(answer.schemas).toMatchObject([{ state: 'invalid', findings: [{ type: 'INVALID', line: 8 }] }])
    await put(`${subject}.avsc`, '{ not json')
    expect((await schemas('check')).exitCode).toBe(1)
    expect((await schemas('register')).exitCode).toBe(1)
    const diff = await schemas('diff')
    expect([diff.exitCode, diff.error]).toEqual([1, expect.stringContaining(`SCHEMA_INVALID: ${subject}.avsc`)])
  })
})
