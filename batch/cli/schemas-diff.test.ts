/** Goal: a person sees what changed in a schema, with its place. Method: the command line against a real registry on a log in memory. */
import { describe, expect, it } from 'vitest'
import { freshSubject, ORDER_FIELDS, orderSchema, workingCopy } from '#testkit/schemas-cli.ts'

const { schemas, json, put } = workingCopy()

describe('tidemark schemas diff', () => {
  it('[R4] names every change with its place', async () => {
    const subject = freshSubject()
    await put(
      `${subject}.avsc`,
      orderSchema([...ORDER_FIELDS, { name: 'gone', type: 'int', default: 1 }], { doc: 'Old.' }),
    )
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
    await put(`${subject}.avsc`, orderSchema(fields, { doc: 'New.' }))
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

  it('follows recursive and nested types, and says of a type once what changed', async () => {
    const subject = freshSubject()
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
