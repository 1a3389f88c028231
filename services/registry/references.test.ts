/** References across subjects over HTTP: resolved, part of what a schema is, kept from deletion, known to who asks. */
import { describe, expect, it } from 'vitest'
import { systemClock } from '#io/clock.ts'
import type { EventLog } from '#io/ports.ts'
import { memoryLog, ok, record, refused, type Served, serve as serveBy } from '#testkit/registry-served.ts'
import { startRegistry } from './start.ts'

const serve = (): Promise<Served> => serveBy(startRegistry)

const money = record({ name: 'cents', type: 'long' })
const MONEY = { ...money, name: 'Money', namespace: 'm' }
const ITEM = { type: 'record', name: 'Item', namespace: 'm', fields: [{ name: 'price', type: 'm.Money' }] }
const ORDER = { type: 'record', name: 'Order', namespace: 'o', fields: [{ name: 'item', type: 'm.Item' }] }
const to = (subject: string, name: string, version = 1) => ({ references: [{ name, subject, version }] })

/** Money ← Item ← Order. */
async function chain() {
  const served = await serve()
  expect(await served.register('money', MONEY)).toMatchObject(ok({ id: 1 }))
  expect(await served.register('item', ITEM, to('money', 'm.Money'))).toMatchObject(ok({ id: 2 }))
  expect(await served.register('order', ORDER, to('item', 'm.Item'))).toMatchObject(ok({ id: 3 }))
  return served
}

describe('references', () => {
  it('[R1] a schema may use types of other subjects, over several steps', async () => {
    const { ask } = await chain()
    expect(await ask('GET', '/schemas/ids/3')).toMatchObject(
      ok({ schema: JSON.stringify(ORDER), references: [{ name: 'm.Item', subject: 'item', version: 1 }] }),
    )
    expect(await ask('GET', '/subjects/item/versions/1/referencedby')).toEqual(ok([3]))
    expect(await ask('GET', '/subjects/money/versions/latest/referencedby')).toEqual(ok([2]))
    expect(await ask('GET', '/subjects/order/versions/1/referencedby')).toEqual(ok([]))
    const { body } = await ask('GET', '/schemas/ids/3?format=resolved')
    const { schema } = body as { schema: string }
    expect(JSON.parse(schema)).toMatchObject({
      fields: [{ type: { name: 'Item', fields: [{ type: MONEY_RESOLVED }] } }],
    })
  })

  it('[R1] the same text with other references is another schema; with the same ones it has one id', async () => {
    const { ask, register } = await chain()
    await ask('PUT', '/config/money', { compatibility: 'NONE' })
    await register('money', { ...MONEY, doc: 'second' })
    expect(await register('item2', ITEM, to('money', 'm.Money'))).toMatchObject(ok({ id: 2 }))
    expect(await register('item3', ITEM, to('money', 'm.Money', 2))).toMatchObject(ok({ id: 5 }))
    expect(await register('item4', ITEM, to('money', 'm.Money', -1))).toMatchObject(
      ok({ id: 5, references: [{ name: 'm.Money', subject: 'money', version: 2 }] }),
    )
    const written = { ...ITEM, fields: [{ name: 'price', type: { ...MONEY } }] }
    expect(await ask('POST', '/subjects/item', { schema: JSON.stringify(written) })).toMatchObject(ok({ id: 2 }))
  })

  it('[R1] what cannot be resolved is refused by name', async () => {
    const { register } = await chain()
    const refusedFor = (reason: string) => refused(42201, expect.stringMatching(`details: ${reason}`))
    expect(await register('x', ITEM, to('none', 'm.Money'))).toEqual(
      refusedFor('No schema reference found for subject "none" and version 1$'),
    )
    expect(await register('x', ITEM, to('money', 'm.Money', 7))).toEqual(
      refusedFor('No schema reference found for subject "money" and version 7$'),
    )
    expect(await register('x', ITEM)).toEqual(refusedFor('undefined name: "m.Money"'))
    expect(await register('x', ITEM, { references: [null] })).toEqual(refusedFor('Invalid reference: null$'))
  })

  it('[R1] what is referred to is not deleted, until who refers to it is', async () => {
    const { ask } = await chain()
    const held = (subject: string) =>
      refused(
        42206,
        `One or more references exist to the schema {magic=1,keytype=SCHEMA,subject=${subject},version=1}.`,
      )
    expect(await ask('DELETE', '/subjects/money')).toEqual(held('money'))
    expect(await ask('DELETE', '/subjects/item/versions/1')).toEqual(held('item'))
    expect(await ask('DELETE', '/subjects/order')).toEqual(ok([1]))
    expect(await ask('DELETE', '/subjects/item')).toEqual(ok([1]))
    expect(await ask('DELETE', '/subjects/money')).toEqual(ok([1]))
    expect(await ask('GET', '/schemas/ids/3')).toMatchObject(ok({ schema: JSON.stringify(ORDER), deleted: true }))
  })

  it('[R3] what another registry has just written may be referred to at once', async () => {
    const log = memoryLog()
    // Nothing comes by following the log: whoever waits at it is told nothing.
    const deaf: EventLog = {
      ...log,
      open: async (...place) => {
        const reader = await log.open(...place)
        const poll: typeof reader.poll = async (options) => {
          if (options.maxWaitMs < 1_000) return reader.poll(options)
          await systemClock.sleep(options.maxWaitMs)
          return []
        }
        return { poll, close: () => reader.close() }
      },
    }
    const { register, ask } = await serveBy(startRegistry, deaf)
    const other = await serveBy(startRegistry, log)
    for (let i = 1; i <= 2; i++) {
      await other.register(`money${i}`, { ...MONEY, name: `Money${i}` })
      const item = { ...ITEM, name: `Item${i}`, fields: [{ name: 'price', type: `m.Money${i}` }] }
      const body = { schema: JSON.stringify(item), ...to(`money${i}`, `m.Money${i}`) }
      const check = () => ask('POST', `/compatibility/subjects/item${i}/versions`, body)
      if (i === 1) expect(await check()).toEqual(ok({ is_compatible: true }))
      expect((await register(`item${i}`, item, to(`money${i}`, `m.Money${i}`))).status).toBe(200)
    }
  })

  it('[R2] compatibility reads through references, of the old and of the new schema', async () => {
    const { register } = await chain()
    expect(await register('money', { ...MONEY, fields: [{ name: 'cents', type: 'double' }] })).toMatchObject(
      ok({ id: 4 }),
    )
    // Item with the wider Money reads what was written with the narrow one, and not the other way round.
    expect(await register('item', ITEM, to('money', 'm.Money', 2))).toMatchObject(ok({ id: 5, version: 2 }))
    expect(await register('item', ITEM, to('money', 'm.Money', 1))).toMatchObject(ok({ id: 2, version: 1 }))
    const { status, body } = await register('item', { ...ITEM, doc: 'again' }, to('money', 'm.Money', 1))
    expect([status, (body as { message: string }).message]).toEqual([
      409,
      expect.stringContaining("The type (path '/fields/0/type/fields/0/type') of a field in the new schema"),
    ])
  })
})

const MONEY_RESOLVED = { type: 'record', name: 'Money', fields: [{ name: 'cents', type: 'long' }] }
