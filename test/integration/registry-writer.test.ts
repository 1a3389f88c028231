/**
 * Goal: several registries on one Kafka are one registry: one writes, none gives an id twice, and the topic is Confluent's.
 * Method: instances in this process and in processes of their own, asked by HTTP at once; the writer killed between allotment
 * and answer, and cut off from Kafka; the topic printed by the JVM's console consumer and written to by a stock producer.
 */
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '#io/clock.ts'
import { joinKafkaLeadership } from '#io/leadership-kafka.ts'
import { openKafkaLog } from '#io/log-kafka.ts'
import type { EventLog } from '#io/ports.ts'
import { SCHEMAS_TOPIC } from '#schemas/topics.ts'
import { startFaultProxy } from '#testkit/fault-proxy.ts'
import { leadershipConformance } from '#testkit/leadership-conformance.ts'
import { PlatformProcess } from '#testkit/platform-process.ts'
import { kafkaMissing, printTopic, startKafka } from '../../infra/local/launcher.ts'
import { type RunningRegistry, startRegistry } from '../../services/registry/start.ts'

const missing = await kafkaMissing()
const FIXTURES = path.join(import.meta.dirname, '../fixtures/schemas-topic')
const linesOf = (name: string): string[] => readFileSync(path.join(FIXTURES, name), 'utf8').split('\n').slice(0, -1)

interface Answer {
  readonly status: number
  readonly body: unknown
}

async function ask(url: string, method: string, at: string, body?: unknown): Promise<Answer> {
  const headers = { 'content-type': 'application/vnd.schemaregistry.v1+json' }
  const sent = body === undefined ? { method } : { method, headers, body: JSON.stringify(body) }
  const response = await fetch(url + at, sent)
  return { status: response.status, body: await response.json() }
}

const register = (url: string, subject: string, schema: unknown): Promise<Answer> =>
  ask(url, 'POST', `/subjects/${subject}/versions`, { schema: JSON.stringify(schema) })
const enumOf = (name: string) => ({ type: 'enum', name, symbols: [name] })

const PATIENCE_MS = 300_000

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = systemClock.monotonic() + PATIENCE_MS
  while (!(await holds())) {
    if (systemClock.monotonic() > endMs) throw new Error(`not so after ${PATIENCE_MS} ms: ${what}`)
    await systemClock.sleep(20)
  }
}

/** All that stands in the topic, as text. */
async function textOf(log: EventLog): Promise<string> {
  const end = (await log.endOffsets(SCHEMAS_TOPIC))[0]!
  const reader = await log.open(SCHEMAS_TOPIC, [{ partition: 0, offset: 0 }])
  let text = ''
  for (let next = 0; next < end; ) {
    for (const { bytes, lastOffset } of await reader.poll({ maxWaitMs: 1_000, maxBytes: 2 ** 24 })) {
      text += Buffer.from(bytes).toString('latin1')
      next = lastOffset + 1
    }
  }
  await reader.close()
  return text
}

describe.skipIf(missing !== null)(`registries on one Kafka${missing === null ? '' : ` (${missing})`}`, () => {
  let kafka: Awaited<ReturnType<typeof startKafka>>
  const closers: (() => Promise<unknown>)[] = []
  beforeAll(async () => {
    kafka = await startKafka({ directory: await mkdtemp(path.join(tmpdir(), 'tidemark-kafka-')), temporary: true })
  })
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close()
  })
  afterAll(async () => kafka?.stop())

  type Taking = Pick<Parameters<typeof joinKafkaLeadership>[0], 'route' | 'sessionMs'>
  const electAt = (group: string, taking: Taking) => (url: string) =>
    joinKafkaLeadership({
      brokers: [kafka.brokers],
      clientId: 'registry-test',
      clock: systemClock,
      group,
      url,
      onTrouble() {},
      ...taking,
    })
  /** A slow machine may stop all that runs here for a while, and nobody shall lose the lead by it where the test is not about that. */
  const STEADY: Taking = { sessionMs: 120_000 }
  const MORTAL: Taking = { sessionMs: 15_000 }

  /** An instance in this process, on a log of its own. */
  async function start(taking: Taking | 'alone'): Promise<RunningRegistry> {
    const log = await openKafkaLog({ brokers: [kafka.brokers], clientId: 'registry-test', clock: systemClock })
    closers.push(() => log.close())
    const election = taking === 'alone' ? {} : { elect: electAt('schema-registry', taking), patienceMs: PATIENCE_MS }
    const running = await startRegistry({ log, clock: systemClock, port: 0, host: '127.0.0.1', ...election })
    closers.push(() => running.close())
    return running
  }

  const agreed = (instances: readonly RunningRegistry[]): boolean =>
    new Set(instances.map((one) => one.leader()?.url)).size === 1 &&
    instances.filter((one) => one.leader()?.self === true).length === 1

  let groups = 0
  leadershipConformance('a group of Kafka', () => {
    const group = `conformance-${groups++}`
    return { join: electAt(group, STEADY) }
  })

  it("[R3] the topic is Confluent's byte by byte, as the JVM's console consumer prints it", async () => {
    const { url } = await start('alone')
    const money = { type: 'record', name: 'Money', fields: [{ name: 'cents', type: 'long' }] }
    const wider = { ...money, fields: [...money.fields, { name: 'note', type: ['null', 'string'], default: null }] }
    const order = { type: 'record', name: 'Order', fields: [{ name: 'price', type: 'Money' }] }
    const references = [{ version: 2, name: 'Money', subject: 'money-value' }]
    const walk: [string, string, unknown?][] = [
      ['POST', '/subjects/money-value/versions', { schema: JSON.stringify(money) }],
      ['POST', '/subjects/money-value/versions', { schema: JSON.stringify(wider) }],
      ['POST', '/subjects/kopeks-%C3%BC/versions', { schema: JSON.stringify(money) }],
      ['PUT', '/config', { compatibility: 'FULL' }],
      ['PUT', '/config/money-value', { compatibility: 'none' }],
      ['DELETE', '/config/money-value'],
      ['DELETE', '/subjects/money-value/versions/1'],
      ['DELETE', '/subjects/money-value/versions/1?permanent=true'],
      ['DELETE', '/subjects/kopeks-%C3%BC'],
      ['PUT', '/config', { compatibility: 'BACKWARD', normalize: false }],
      ['PUT', '/mode/money-value', { mode: 'READONLY' }],
      ['DELETE', '/mode/money-value'],
      ['PUT', '/mode/imported', { mode: 'IMPORT' }],
      ['POST', '/subjects/imported/versions', { schema: '"long"', id: 42, version: 5 }],
      ['POST', '/subjects/order-value/versions', { schema: JSON.stringify(order), references }],
    ]
    for (const [method, at, body] of walk) expect(await ask(url, method, at, body)).toMatchObject({ status: 200 })
    const expected = linesOf('ours.tsv')
    const printed = await printTopic({ brokers: kafka.brokers, topic: SCHEMAS_TOPIC, records: expected.length })
    expect(printed).toEqual(expected)
  })

  it('[R1] [R3] a thousand registrations at once through three instances: one id per schema, and no id twice', async () => {
    const instances = [await start(STEADY), await start(STEADY), await start(STEADY)]
    await until('they agree on one writer', () => agreed(instances))
    const names = Array.from({ length: 200 }, (_, index) => `N${index}`)
    const asked = names.flatMap((name) =>
      ['a', 'b', 'c', 'd', 'e'].map((subject) => ({ name, subject: `${subject}${name}` })),
    )
    const answers = await Promise.all(
      asked.map(async ({ name, subject }, index) => {
        const { url } = instances[index % 3]!
        const { status, body } = await register(url, subject, enumOf(name))
        expect(status).toBe(200)
        // What was answered is there at once, at the instance that answered.
        const found = await ask(url, 'GET', `/subjects/${subject}/versions/latest`)
        return { name, id: (body as { id: number }).id, found: (found.body as { id: number }).id }
      }),
    )
    expect(answers.every(({ id, found }) => id === found)).toBe(true)
    const idsByName = new Map(
      names.map((name) => [name, new Set(answers.filter((one) => one.name === name).map(({ id }) => id))]),
    )
    expect([...idsByName.values()].every((ids) => ids.size === 1)).toBe(true)
    const ids = [...idsByName.values()].flatMap((one) => [...one])
    expect(new Set(ids).size).toBe(200)
    expect(Math.max(...ids) - Math.min(...ids)).toBe(199)
    expect(instances.map(({ passedOver }) => passedOver.conflicting)).toEqual([0, 0, 0])
    // A fresh reader of the topic says the same.
    const fresh = await start('alone')
    for (const { name, id } of answers.slice(0, 20)) {
      expect((await ask(fresh.url, 'GET', `/schemas/ids/${id}/schema`)).body).toEqual(enumOf(name))
    }
  })

  it('[R1] [R3] every write goes to the writer, settings and deletions too, with its own refusals', async () => {
    const instances = [await start(STEADY), await start(STEADY)]
    await until('they agree on one writer', () => agreed(instances))
    const { url } = instances.find((one) => one.leader()?.self === false)!
    await register(url, 'fw', enumOf('F1'))
    expect(await register(url, 'fw', { type: 'string' })).toMatchObject({ status: 409 })
    expect(await ask(url, 'PUT', '/config/fw', { compatibility: 'NONE' })).toEqual({
      status: 200,
      body: { compatibility: 'NONE' },
    })
    expect(await ask(url, 'GET', '/config/fw')).toMatchObject({ body: { compatibilityLevel: 'NONE' } })
    expect(await register(url, 'fw', { type: 'string' })).toMatchObject({ status: 200 })
    expect(await ask(url, 'DELETE', '/subjects/fw/versions/1')).toEqual({ status: 200, body: 1 })
    expect(await ask(url, 'GET', '/subjects/fw/versions')).toEqual({ status: 200, body: [2] })
    expect(await ask(url, 'DELETE', '/subjects/fw')).toEqual({ status: 200, body: [2] })
    expect(await ask(url, 'DELETE', '/subjects/none')).toMatchObject({ status: 404, body: { error_code: 40401 } })
    expect(await ask(url, 'POST', '/subjects/fw/versions', 'no object')).toMatchObject({ status: 400 })
  })

  it('[R1] [D1] a writer that is cut off from Kafka steps down, another takes over, and the ids go on', async () => {
    const proxy = await startFaultProxy(kafka.brokers)
    closers.push(() => proxy.close())
    const cut = await start({ ...MORTAL, route: () => ({ host: proxy.host, port: proxy.port }) })
    await until('the first one writes', () => cut.leader()?.self === true)
    const other = await start(MORTAL)
    await until('they agree on one writer', () => agreed([cut, other]))
    expect(cut.leader()?.self).toBe(true)
    const { body } = await register(other.url, 'cut', enumOf('C1'))
    proxy.freeze()
    // Asked while nobody knows of it yet: held until the other one writes.
    await until('the other one writes', () => other.leader()?.self === true)
    expect(cut.leader()).toBeNull()
    expect(await register(other.url, 'cut', enumOf('C1'))).toEqual({ status: 200, body })
    expect(await register(other.url, 'cut2', enumOf('C2'))).toMatchObject({
      status: 200,
      body: { id: (body as { id: number }).id + 1 },
    })
    proxy.thaw()
    await until('the one that was cut off follows', () => cut.leader()?.self === false)
    expect(await register(cut.url, 'cut2', enumOf('C2'))).toMatchObject({ status: 200 })
  })

  it('[R1] two that both believe they write: the log decides, and every answer is true', async () => {
    const writers = [await start('alone'), await start('alone')]
    const names = Array.from({ length: 60 }, (_, index) => `Both${index}`)
    await ask(writers[0]!.url, 'PUT', '/config/both.settled', { compatibility: 'NONE' })
    // The same schema at both under one subject, under two, and many schemas under one; each writer in an order of its own.
    const subjectOf = (name: string, nth: number): string =>
      ['both.settled', name, `${name}.${nth}`][names.indexOf(name) % 3]!
    const answers = await Promise.all(
      [names, names.toReversed()].flatMap((order, nth) =>
        order.map(async (name) => {
          const { body } = await register(writers[nth]!.url, subjectOf(name, nth), enumOf(name))
          return { name, id: (body as { id: number }).id }
        }),
      ),
    )
    const idsOf = (name: string) => new Set(answers.filter((one) => one.name === name).map(({ id }) => id))
    expect(names.map((name) => idsOf(name).size)).toEqual(names.map(() => 1))
    expect(new Set(answers.map(({ id }) => id)).size).toBe(names.length)
    const fresh = await start('alone')
    for (const { name, id } of answers) {
      expect((await ask(fresh.url, 'GET', `/schemas/ids/${id}/schema`)).body).toEqual(enumOf(name))
    }
    process.stdout.write(`two writers at once: ${fresh.passedOver.conflicting} records were passed over\n`)
    expect(fresh.passedOver.conflicting).toBeGreaterThan(0)
  })

  it('[R3] what another registry writes is understood at once, and what is malformed is passed over and counted', async () => {
    const { url, passedOver } = await start('alone')
    // Of the race before.
    const { conflicting } = passedOver
    // Loaded late: the log's own use of its parts must come first.
    const { default: kafkajs } = await import('kafkajs')
    const producer = new kafkajs.Kafka({
      clientId: 'stock',
      brokers: [kafka.brokers],
      logLevel: kafkajs.logLevel.NOTHING,
    }).producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner })
    await producer.connect()
    closers.push(() => producer.disconnect())
    const text = (one: string | undefined): string | null => (one === undefined || one === 'null' ? null : one)
    // Ids of the fixture are raised above those that this topic has given.
    const raised = (line: string): string =>
      line.replace(/"id": ?(\d+)/, (_, id: string) => `"id":${Number(id) + 100_000}`)
    // A compacted topic refuses a record without a key by itself.
    const malformed = linesOf('malformed.tsv').filter((line) => !line.startsWith('null\t'))
    const lines = [...linesOf('foreign.tsv').map(raised), ...malformed]
    const messages = lines.map((line) => {
      const [key, value] = line.split('\t')
      return { key: text(key), value: text(value), partition: 0 }
    })
    await producer.send({ topic: SCHEMAS_TOPIC, messages })
    await until('the malformed ones are counted', () => passedOver.malformed === malformed.length)
    expect(passedOver.conflicting).toBe(conflicting)
    const holders = await ask(url, 'GET', '/schemas/ids/100001/versions')
    expect(holders.body).toEqual([{ subject: 'av-value', version: 1 }])
    // An alias of another registry's setting is followed.
    expect(await ask(url, 'GET', '/subjects/av-value/versions/1')).toMatchObject({
      body: { message: "Subject 'users' not found." },
    })
    expect(await ask(url, 'GET', '/subjects/order/versions/1')).toMatchObject({
      body: { references: [{ name: 'Money', subject: 'money', version: 1 }] },
    })
    expect(await ask(url, 'GET', '/config/av-value')).toMatchObject({
      body: { compatibilityLevel: 'BACKWARD_TRANSITIVE' },
    })
    expect(await ask(url, 'GET', '/mode/av-value')).toMatchObject({ body: { mode: 'READONLY' } })
    expect(await ask(url, 'GET', '/subjects/js-value/versions?deleted=true')).toMatchObject({ status: 404 })
    expect(await ask(url, 'GET', '/config')).toMatchObject({ body: { compatibilityLevel: 'FORWARD' } })
    expect(await register(url, 'after', enumOf('AfterForeign'))).toMatchObject({ status: 200, body: { id: 100_044 } })
  })

  /** A registry as a process of its own; it ends with the test. */
  async function startProcess(env: Readonly<Record<string, string>> = {}) {
    const directory = await mkdtemp(path.join(tmpdir(), 'tidemark-registry-'))
    closers.push(() => rm(directory, { recursive: true, force: true }))
    const child = new PlatformProcess({
      args: ['platform/service.ts', 'registry'],
      env: {
        TIDEMARK_KAFKA_BROKERS: kafka.brokers,
        TIDEMARK_REGISTRY_PORT: '0',
        TIDEMARK_DATA_DIR: directory,
        TIDEMARK_LOG_LEVEL: 'fatal',
        ...env,
      },
    })
    closers.push(() => child.kill())
    const ready = await child.untilReady()
    return { child, url: ready.at(-1)! }
  }

  it.each(['registry.allotted', 'registry.appended'])(
    '[R1] [D1] the writer dies at %s: the registration is answered all the same, and no id is given twice',
    async (place) => {
      const { child: writer, url } = await startProcess({ FAIL: `${place}:3` })
      const first = await register(url, `kill-${place}-1`, enumOf(`K1${place.slice(9)}`))
      const followers = [await start(STEADY), await start(STEADY)]
      await until('they follow', () => followers.every((one) => one.leader()?.url === url))
      const second = await register(followers[0]!.url, `kill-${place}-2`, enumOf(`K2${place.slice(9)}`))
      // The third is the writer's death; four are asked at once, at both others.
      const asked = [3, 4, 5, 6].map((nth) => ({
        subject: `kill-${place}-${nth}`,
        schema: enumOf(`K${nth}${place.slice(9)}`),
      }))
      const answers = await Promise.all(
        asked.map(({ subject, schema }, index) => register(followers[index % 2]!.url, subject, schema)),
      )
      expect(await writer.ended).toBe('SIGKILL')
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200])
      const ids = [first, second, ...answers].map(({ body }) => (body as { id: number }).id)
      expect(new Set(ids).size).toBe(6)
      expect(Math.max(...ids) - ids[0]!).toBe(5)
      // Asked again, at the other one: the same.
      for (const [index, { subject, schema }] of asked.entries()) {
        expect(await register(followers[(index + 1) % 2]!.url, subject, schema)).toEqual(answers[index])
      }
    },
  )

  it('[R1] what Kafka compacts away is not given again: ids of schemas that were removed for good', async () => {
    const { default: kafkajs } = await import('kafkajs')
    const stock = new kafkajs.Kafka({ clientId: 'stock', brokers: [kafka.brokers], logLevel: kafkajs.logLevel.NOTHING })
    const admin = stock.admin()
    await admin.connect()
    closers.push(() => admin.disconnect())
    const { url } = await start('alone')
    const ids: number[] = []
    for (const name of ['Gone1', 'Gone2', 'Stays', 'Gone3']) {
      ids.push(((await register(url, `compact-${name}`, enumOf(name))).body as { id: number }).id)
    }
    for (const name of ['Gone1', 'Gone2', 'Gone3']) {
      await ask(url, 'DELETE', `/subjects/compact-${name}`)
      expect(await ask(url, 'DELETE', `/subjects/compact-${name}?permanent=true`)).toMatchObject({ status: 200 })
    }
    const log = await openKafkaLog({ brokers: [kafka.brokers], clientId: 'registry-test', clock: systemClock })
    closers.push(() => log.close())
    const isLeft = async (): Promise<boolean> => /Gone\d\\"/.test(await textOf(log))
    expect(await isLeft()).toBe(true)
    // All settings of the topic: what is not named here goes back to the broker's.
    const settings = {
      'cleanup.policy': 'compact',
      'message.timestamp.type': 'LogAppendTime',
      'segment.ms': '50',
      'min.cleanable.dirty.ratio': '0.0001',
      'delete.retention.ms': '0',
    }
    const configEntries = Object.entries(settings).map(([name, value]) => ({ name, value }))
    const topic = { type: kafkajs.ConfigResourceTypes.TOPIC, name: SCHEMAS_TOPIC, configEntries }
    await admin.alterConfigs({ validateOnly: false, resources: [topic] })
    await until('nothing is left of them', async () => {
      // What rolls the segment: a setting that is set again and again.
      await ask(url, 'PUT', '/config/compact-roll', { compatibility: 'NONE' })
      return !(await isLeft())
    })
    const fresh = await start('alone')
    expect(await register(fresh.url, 'compact-next', enumOf('Next'))).toMatchObject({
      body: { id: Math.max(...ids) + 1 },
    })
    expect(await ask(fresh.url, 'GET', `/schemas/ids/${ids[2]}/schema`)).toMatchObject({ body: enumOf('Stays') })
    expect(await ask(fresh.url, 'GET', `/schemas/ids/${ids[3]}`)).toMatchObject({ status: 404 })
    expect(await ask(fresh.url, 'GET', '/subjects/money-value/versions')).toMatchObject({ status: 200, body: [2] })
  })
})
