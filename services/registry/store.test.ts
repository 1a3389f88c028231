/**
 * The registry's log under writers at once, lost acknowledgements, compaction and foreign records.
 * Method: several stores on one log in memory with faults as inputs; then the log is folded anew, whole and compacted, and every
 * answer that was ever given must still be true in each.
 */
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { encodeBatch, openBatch, type RecordInput, readRecord } from '#format/record-batch.ts'
import { systemClock } from '#io/clock.ts'
import { SCHEMAS_TOPIC } from '#schemas/topics.ts'
import { type AppendFault, createMemoryLog, type MemoryLog } from '#testkit/log-memory.ts'
import { runs } from '#testkit/runs.ts'
import { encodeConfig, encodeRemoval, encodeSchema } from './records.ts'
import { openStore, type SchemaStore } from './store.ts'
import { identityOf } from './table.ts'

const opened: SchemaStore[] = []
afterEach(async () => {
  await Promise.all(opened.splice(0).map((store) => store.close()))
})

const memoryLog = (onAppend?: (attempt: number) => AppendFault | null): MemoryLog =>
  createMemoryLog({
    clock: systemClock,
    ...(onAppend === undefined ? {} : { faults: { onAppend: ({ attempt }) => onAppend(attempt) } }),
  })

async function open(log: MemoryLog) {
  const logged: { context: { offset?: number }; message: string }[] = []
  const note = (context: object, message: string): unknown => logged.push({ context, message })
  const store = await openStore({ log, clock: systemClock, logger: { warn: note, error: note } })
  opened.push(store)
  return Object.assign(store, { logged })
}

/** Registers as the registry does, without its checks: the id. */
const register = (store: SchemaStore, subject: string, schema: string): Promise<number> =>
  store.write((table) => {
    const identity = identityOf({ schema, schemaType: 'AVRO', references: [] })
    const known = table.versionsOf(subject, false).find(({ id }) => table.identityOfId(id) === identity)
    if (known !== undefined) return { records: [], answer: known.id }
    const id = table.idOf(identity) ?? table.idMaxOf() + 1
    const version = table.nextVersion(subject)
    const records = [encodeSchema({ subject, version, id, schema, deleted: false })]
    return { records, answer: id, allotted: { id, subject, version } }
  })

/** Soft deletes one version, as a rewritten record. */
const softDelete = (store: SchemaStore, subject: string, version: number): Promise<boolean> =>
  store.write((table) => {
    const held = table.versionOf(subject, version)
    if (held === null || held.deleted) return { records: [], answer: false }
    return { records: [encodeSchema({ ...held, deleted: true })], answer: true }
  })

const name = (of: string): string => JSON.stringify({ type: 'enum', name: of, symbols: [of] })
const put = (log: MemoryLog, ...records: RecordInput[]) => log.append(SCHEMAS_TOPIC, 0, encodeBatch(records, 0))
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

async function recordsOf(log: MemoryLog): Promise<RecordInput[]> {
  const found: RecordInput[] = []
  const reader = await log.open(SCHEMAS_TOPIC, [{ partition: 0, offset: 0 }])
  for (const batch of await reader.poll({ maxWaitMs: 0, maxBytes: 2 ** 26 })) {
    const batchOpened = openBatch(batch.bytes, 0)
    if ('dead' in batchOpened) throw new Error(batchOpened.dead)
    for (let at = readRecord(batchOpened.cursor); at !== null; at = readRecord(batchOpened.cursor)) {
      found.push({ key: at.key, value: at.value })
    }
  }
  await reader.close()
  return found
}

/** The log as compaction leaves it in the end: each key's last record, tombstones gone. */
async function compacted(log: MemoryLog): Promise<MemoryLog> {
  const records = await recordsOf(log)
  const last = new Map(records.map(({ key }, index) => [Buffer.from(key!).toString(), index]))
  const kept = records.filter(
    ({ key, value }, index) => value !== null && last.get(Buffer.from(key!).toString()) === index,
  )
  const fresh = memoryLog()
  await fresh.createTopics([{ topic: SCHEMAS_TOPIC, partitions: 1, retentionMs: null, cleanup: 'compact' }])
  if (kept.length > 0) await put(fresh, ...kept)
  return fresh
}

/** What every subject holds: `subject/version/id/schema/deleted`. */
const holdings = ({ table }: SchemaStore): string[] =>
  table
    .subjects(true)
    .flatMap((subject) => table.versionsOf(subject, true))
    .map(({ subject, version, id, schema, deleted }) => `${subject}/${version}/${id}/${schema}/${deleted}`)

/** Lets a store decide on a table that another has outdated meanwhile: the decision of a leader that was paused. */
function paused(store: SchemaStore, log: MemoryLog, subject: string, schema: string, meanwhile: RecordInput[]) {
  let isFirst = true
  return store.write((table) => {
    const identity = identityOf({ schema, schemaType: 'AVRO', references: [] })
    const known = table.versionsOf(subject, false).find(({ id }) => table.identityOfId(id) === identity)
    if (known !== undefined) return { records: [], answer: { id: known.id, version: known.version } }
    const answer = { id: table.idOf(identity) ?? table.idMaxOf() + 1, version: table.nextVersion(subject) }
    if (isFirst) void put(log, ...meanwhile)
    isFirst = false
    return { records: [encodeSchema({ subject, ...answer, schema, deleted: false })], answer }
  })
}

describe('writers at once', () => {
  it('[R1] an id that another writer gave meanwhile is not given again: who lost decides anew', async () => {
    const log = memoryLog()
    const store = await open(log)
    const winner = encodeSchema({ subject: 't', version: 1, id: 1, schema: name('B'), deleted: false })
    expect(await paused(store, log, 's', name('A'), [winner])).toEqual({ id: 2, version: 2 })
    expect(store.passedOver).toEqual({ malformed: 0, conflicting: 1 })
    expect(holdings(store)).toEqual([`s/2/2/${name('A')}/false`, `t/1/1/${name('B')}/false`])
    expect(holdings(await open(log))).toEqual(holdings(store))
  })

  it('[R1] a version that another writer took meanwhile keeps its schema, also when the id was known before', async () => {
    const log = memoryLog()
    const store = await open(log)
    await register(store, 't', name('B'))
    const winner = encodeSchema({ subject: 's', version: 1, id: 1, schema: name('B'), deleted: false })
    expect(await paused(store, log, 's', name('A'), [winner])).toEqual({ id: 2, version: 2 })
    expect(holdings(await open(log))).toEqual([
      `s/1/1/${name('B')}/false`,
      `s/2/2/${name('A')}/false`,
      `t/1/1/${name('B')}/false`,
    ])
  })

  it('[R1] the same numbers for another schema: the first holds, also after compaction kept the second only', async () => {
    const log = memoryLog()
    const store = await open(log)
    const winner = encodeSchema({ subject: 's', version: 1, id: 1, schema: name('B'), deleted: false })
    expect(await paused(store, log, 's', name('A'), [winner])).toEqual({ id: 2, version: 2 })
    const expected = [`s/1/1/${name('B')}/false`, `s/2/2/${name('A')}/false`]
    expect(holdings(await open(log))).toEqual(expected)
    expect(holdings(await open(await compacted(log)))).toEqual(expected)
  })

  it("[R1] another's record that lost over what holds is made harmless before the next write", async () => {
    const log = memoryLog()
    const store = await open(log)
    await register(store, 's', name('A'))
    await put(log, encodeSchema({ subject: 's', version: 1, id: 1, schema: name('B'), deleted: false }))
    await register(store, 't', name('C'))
    const expected = [`s/1/1/${name('A')}/false`, `t/1/2/${name('C')}/false`]
    expect(holdings(await open(await compacted(log)))).toEqual(expected)
    expect(store.logged.map(({ message }) => message)).toEqual([
      'record binds a known id or version to another schema; passed over',
      'what was passed over is taken back',
    ])
  })

  it("[R1] another's record that lost at a key of its own is taken back: the winner may come to stand behind it", async () => {
    const log = memoryLog()
    const store = await open(log)
    await register(store, 's', name('A'))
    await put(log, encodeSchema({ subject: 'z', version: 1, id: 1, schema: name('B'), deleted: false }))
    expect(await softDelete(store, 's', 1)).toBe(true)
    expect(holdings(await open(await compacted(log)))).toEqual([`s/1/1/${name('A')}/true`])
    expect(await register(store, 'z', name('B'))).toBe(2)
    expect(store.table.versionsOf('z', false).map(({ version }) => version)).toEqual([2])
  })

  it('[R1] random writers, faults, deletions: every answer stays true, whole and compacted', async () => {
    const fault = fc.oneof(
      { weight: 5, arbitrary: fc.constant(null) },
      { weight: 1, arbitrary: fc.constant<AppendFault>({ kind: 'lost' }) },
      { weight: 1, arbitrary: fc.constant<AppendFault>({ kind: 'ack-lost' }) },
      { weight: 1, arbitrary: fc.constant<AppendFault>({ kind: 'refused' }) },
      {
        weight: 1,
        arbitrary: fc.integer({ min: 0, max: 4 }).map((delayMs): AppendFault => ({ kind: 'late', delayMs })),
      },
    )
    const action = fc.record({
      writer: fc.nat(2),
      subject: fc.constantFrom('s', 't', 'u'),
      schema: fc.constantFrom('A', 'B', 'C', 'D', 'E').map(name),
      deletes: fc.boolean(),
      together: fc.boolean(),
    })
    const world = fc.record({
      faults: fc.array(fault, { maxLength: 24 }),
      actions: fc.array(action, { minLength: 1, maxLength: 16 }),
    })
    let answered = 0
    let conflicts = 0
    await fc.assert(
      fc.asyncProperty(world, async ({ faults, actions }) => {
        let isFaulty = true
        const log = memoryLog((attempt) => (isFaulty ? (faults[attempt] ?? null) : null))
        const stores = await Promise.all([open(log), open(log), open(log)])
        const answers: { schema: string; id: number }[] = []
        const pending: Promise<unknown>[] = []
        for (const { writer, subject, schema, deletes, together } of actions) {
          const store = stores[writer]!
          const work = deletes
            ? softDelete(store, subject, 1)
            : register(store, subject, schema).then((id) => answers.push({ schema, id }))
          pending.push(work.catch(() => null))
          if (!together) await Promise.all(pending.splice(0))
        }
        await Promise.all(pending)
        // What is late comes; then somebody writes once more, which mends what was left.
        isFaulty = false
        await systemClock.sleep(8)
        const last = await register(stores[0]!, 'last', name('Z'))
        answers.push({ schema: name('Z'), id: last })
        for (const reread of [await open(log), await open(await compacted(log))]) {
          for (const { schema, id } of answers) expect(reread.table.holdersOf(id)[0]?.schema).toBe(schema)
        }
        const byId = new Map<number, string>()
        for (const { schema, id } of answers) {
          expect(byId.get(id) ?? schema).toBe(schema)
          byId.set(id, schema)
        }
        const whole = holdings(await open(log))
        expect(holdings(await open(await compacted(log)))).toEqual(whole)
        for (const store of stores) {
          await store.refresh()
          expect(holdings(store)).toEqual(whole)
          conflicts += store.passedOver.conflicting
        }
        answered += answers.length
        await Promise.all(opened.splice(0).map((store) => store.close()))
      }),
      runs(150, 'registry writers'),
    )
    process.stdout.write(`registry writers: ${answered} answers, ${conflicts} records passed over\n`)
    expect(conflicts).toBeGreaterThan(0)
  })
})

describe('what others write', () => {
  it('[R3] is in the table without being asked for', async () => {
    const log = memoryLog()
    const store = await open(log)
    await put(log, encodeConfig('s', { compatibilityLevel: 'FULL' }))
    await expect.poll(() => store.table.levelOf('s'), { timeout: 60_000 }).toBe('FULL')
  })

  it('[R3] malformed records are passed over, counted and named by their offset', async () => {
    const log = memoryLog()
    const store = await open(log)
    await register(store, 's', name('A'))
    await put(log, { key: bytes('no json'), value: bytes('{}') }, { key: null, value: bytes('{}') })
    await put(log, { key: bytes('{"keytype":"SCHEMA","subject":"s","version":2}'), value: bytes('{"id":') })
    await put(log, { key: bytes('{"keytype":"LATER","magic":9}'), value: bytes('{"any":1}') })
    expect(await register(store, 's', name('B'))).toBe(2)
    expect(store.passedOver).toEqual({ malformed: 3, conflicting: 0 })
    expect(store.logged.map(({ context }) => context.offset)).toEqual([1, 2, 3])
  })

  it('[R3] a key in another spelling does not outlive what is written over it or removed', async () => {
    const log = memoryLog()
    await log.createTopics([{ topic: SCHEMAS_TOPIC, partitions: 1, retentionMs: null, cleanup: 'compact' }])
    const value = JSON.stringify({ subject: 'k', version: 1, id: 4, schema: name('A'), deleted: true })
    await put(
      log,
      { key: bytes('{"subject":"k","version":1,"magic":1,"keytype":"SCHEMA"}'), value: bytes(value) },
      { key: bytes('{"keytype":"CONFIG","subject":null,"magic":0}'), value: bytes('{"compatibilityLevel":"NONE"}') },
    )
    const store = await open(log)
    await store.write(() => ({ records: [encodeConfig(null, null)], answer: null }))
    await store.write(() => ({ records: [encodeRemoval('k', 1)], answer: null }))
    for (const reread of [await open(log), await open(await compacted(log))]) {
      expect(reread.table.levelOf(null)).toBeNull()
      expect(holdings(reread)).toEqual([])
    }
  })

  it('[R3] ids of another context are its own', async () => {
    const log = memoryLog()
    const store = await open(log)
    expect(await register(store, 's', name('A'))).toBe(1)
    await put(log, encodeSchema({ subject: ':.staging:s', version: 1, id: 1, schema: name('B'), deleted: false }))
    expect(await register(store, 's', name('B'))).toBe(2)
    expect(store.table.holdersOf(1).map(({ subject }) => subject)).toEqual(['s'])
    expect(store.table.holdersOf(1, '.staging').map(({ subject }) => subject)).toEqual([':.staging:s'])
    expect(store.passedOver.conflicting).toBe(0)
  })
})
