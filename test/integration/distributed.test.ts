/**
 * Goal: the platform as one process per service on real Kafka and Redis gives the numbers of a plain recompute at every moment.
 * Method: `npm run start:distributed` as a user starts it; events by HTTP and from stock Kafka clients, with duplicates, late,
 * future and unreadable ones; builds, kills of every process, a stop and a second start. Each test goes on from the one before.
 */

import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SchemaRegistry } from '@kafkajs/confluent-schema-registry'
import kafkajs from 'kafkajs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { PlatformProcess } from '#testkit/platform-process.ts'
import { random, SEED } from '#testkit/runs.ts'
import { distributedMissing } from '#testkit/services.ts'
import { isAlive } from '../../infra/local/launcher.ts'
import { FUTURE_MS, PARCELS, type Scan, Scanner } from '../chaos/parcels.ts'
import { complaintsOf, Shift, until } from '../chaos/shift.ts'
import { readLetters } from './letters.ts'

const SERVICES = ['registry', 'ingest', 'speed', 'archive', 'batch', 'serve']
const missing = await distributedMissing('the distributed platform')

/** Address and pid of each part, from the table that the platform prints. */
function partsOf(output: string): Map<string, { address: string; pid: number }> {
  const rows = [...output.matchAll(/^ {2}(\w+) +(\S+) +pid (\d+)$/gm)]
  return new Map(rows.map(([, name = '', address = '', pid]) => [name, { address, pid: Number(pid) }]))
}

/** The sum of a machine series. */
async function series(url: string, name: string, label = ''): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text()
  const samples = text.split('\n').filter((line) => line.startsWith(`${name}{`) && line.includes(label))
  return samples.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
}

const utf8 = (bytes: Buffer | null): string => bytes?.toString() ?? ''

describe.skipIf(missing !== null)('one process per service, on Kafka and Redis', () => {
  let directory: string
  let platform: PlatformProcess
  let parts: ReturnType<typeof partsOf>
  let kafka: InstanceType<typeof kafkajs.Kafka>
  const scanner = new Scanner(random(SEED))
  /** Everything that went onto the stream's topic as an event, duplicates included. */
  let onTopic = 0
  let rejected = 0
  let poisoned = 0
  const addressOf = (name: string): string => parts.get(name)!.address
  const shift = new Shift({
    url: (path) => addressOf(path.startsWith('/v1/streams') ? 'ingest' : 'serve'),
    revive: async () => undefined,
    deaths: () => 0,
  })

  async function start(): Promise<void> {
    platform = new PlatformProcess({
      args: ['platform/distributed.ts'],
      env: {
        TIDEMARK_DATA_DIR: directory,
        TIDEMARK_DEFINITIONS: PARCELS,
        TIDEMARK_FEED: 'none',
        TIDEMARK_NIGHTLY: 'off',
        TIDEMARK_PORT: '0',
        TIDEMARK_REGISTRY_PORT: '0',
        TIDEMARK_INGEST_PORT: '0',
        TIDEMARK_BARRIER_INTERVAL: '1h',
        TIDEMARK_LOG_LEVEL: 'warn',
      },
    })
    const ready = await platform.untilReady()
    parts = partsOf(platform.output)
    expect([...parts.keys()].sort()).toEqual([...SERVICES, 'kafka', 'redis'].sort())
    expect(ready).toEqual([addressOf('serve'), 'registry', addressOf('registry')])
    kafka = new kafkajs.Kafka({ clientId: 'stock', brokers: [addressOf('kafka')], logLevel: kafkajs.logLevel.NOTHING })
  }

  /** Sends scans by HTTP and waits until they are in the answers. */
  async function send(scans: readonly unknown[]): Promise<void> {
    const taken = await shift.send(scans)
    expect(taken.accepted + taken.rejected.length).toBe(scans.length)
    onTopic += taken.accepted
    rejected += taken.rejected.length
    await shift.settle()
  }

  const differences = () => shift.differences(scanner.scans.values())

  beforeAll(async () => {
    process.stdout.write(`distributed: repeat with SEED=${SEED}\n`)
    directory = await mkdtemp(join(tmpdir(), 'tidemark-distributed-'))
    await start()
  })
  afterAll(async () => {
    await platform?.kill()
    await until('what the platform started is gone', async () => [...parts.values()].every(({ pid }) => !isAlive(pid)))
    await rm(directory, { recursive: true, force: true })
  })

  it('[M4] [D1] [D2] [D3] events by HTTP, with duplicates, late and bad ones: every answer is the recompute', async () => {
    for (let batch = 0; batch < 4; batch++) {
      await send(scanner.some(60))
      expect(await differences()).toEqual([])
    }
    const good = scanner.one()
    await send([{ ...good, scanned: 'yesterday' }, good, { scan_id: 'without the rest' }, 7])
    expect(rejected).toBe(3)
    await shift.barrier()
    await send(scanner.some(60))
    expect(await differences()).toEqual([])
  })

  it('[M5] [D3] stock Kafka clients: what they produce counts, and a repeated id counts once across both ways', async () => {
    const registry = new SchemaRegistry({ host: addressOf('registry') })
    const id = await registry.getLatestSchemaId('events.scans-value')
    const producer = kafka.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner })
    await producer.connect()
    const known = [...scanner.scans.values()].slice(0, 10).map((scan): Scan => ({ ...scan, postage: null }))
    const fresh = Array.from({ length: 50 }, () => scanner.one())
    const messages = await Promise.all(
      [...fresh, ...known].map(async (scan) => ({
        key: scan.depot,
        value: await registry.encode(id, { ...scan, postage: decimalOf(scan.postage) }),
      })),
    )
    await producer.send({ topic: 'events.scans', messages, compression: kafkajs.CompressionTypes.GZIP })
    await producer.disconnect()
    onTopic += messages.length
    await shift.settle()
    expect(await differences()).toEqual([])
  })

  it('[D5] [R5] bytes that no one can read become dead letters, and their partitions go on', async () => {
    const registry = new SchemaRegistry({ host: addressOf('registry') })
    const id = await registry.getLatestSchemaId('events.scans-value')
    const good = await registry.encode(id, { ...scanner.one(), postage: null })
    const last = [...scanner.scans.values()].at(-1)!
    scanner.scans.set(last.scan_id, { ...last, postage: null })
    const unknown = Buffer.from(good)
    unknown.writeInt32BE(999_999, 1)
    const wrongMagic = Buffer.from(good)
    wrongMagic[0] = 1
    const bad = [wrongMagic, unknown, good.subarray(0, -1), Buffer.from('{"scan_id": "json"}'), Buffer.alloc(0)]
    const producer = kafka.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner })
    await producer.connect()
    for (const partition of [0, 1, 2]) {
      const messages = bad.map((value) => ({ key: last.depot, value, partition }))
      await producer.send({ topic: 'events.scans', messages })
      poisoned += bad.length
    }
    // Behind the unreadable ones, keyed: to the partition that ingest would choose.
    await producer.send({ topic: 'events.scans', messages: [{ key: last.depot, value: good }] })
    await producer.disconnect()
    onTopic += 1
    await send(scanner.some(40))
    expect(await differences()).toEqual([])

    await shift.build()
    const letters = await readLetters(kafka, registry, 'dead.scans', poisoned)
    const hash = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
    expect(letters.map(({ sha256 }) => sha256).sort()).toEqual([...bad, ...bad, ...bad].map(hash).sort())
    expect(letters.every(({ value, sha256 }) => hash(value!) === sha256)).toBe(true)
    expect(new Set(letters.map(({ reason }) => reason))).toEqual(
      new Set(['wrong-magic', 'unknown-schema', 'truncated']),
    )
    expect(letters.map(({ value }) => utf8(value))).toContain('{"scan_id": "json"}')
  })

  it('[B1] [B2] [Q1] [T5] a build by the job API: the same answer before, during and after it; a late event is in the next one', async () => {
    // A build may be over before the second answer: then another one is watched.
    for (let asked = 0; asked < 2; ) {
      await send(scanner.some(60))
      const building = shift.build().then(() => true)
      asked = 0
      do {
        expect(await differences()).toEqual([])
        asked++
      } while (!(await Promise.race([building, new Promise((resolve) => setTimeout(resolve, 20, false))])))
    }
    const built = await shift.query('scans_by_minute')
    expect(built.envelope.shares.batch).toBeGreaterThan(0)
    expect(built.rows.some(({ finality }) => finality === 'confirmed')).toBe(true)

    const first = [...scanner.scans.values()].find(({ scanned }) => scanned < FUTURE_MS)!
    await send([scanner.one(first.scanned)])
    expect(await differences()).toEqual([])
    const after = await shift.query('scans_by_minute')
    expect(after.envelope.cut).toBe(built.envelope.cut)
    expect(after.rows.filter(({ finality }) => finality === 'restated').length).toBeGreaterThan(0)
  })

  it('[F1] [L1] drift is zero and the archive is whole', async () => {
    for (const report of await shift.drift()) {
      expect(report).toMatchObject({ cells_different: 0, unexplained: 0 })
      expect(report.cells_compared).toBeGreaterThan(0)
    }
    const { ok, rows, findings } = await shift.verify()
    expect({ ok, findings }).toEqual({ ok: true, findings: [] })
    expect(rows).toBeGreaterThan(onTopic)
  })

  it('[O1] conservation: accepted + rejected + dead + quarantined + duplicates = received', async () => {
    await shift.barrier()
    await shift.settle()
    const url = addressOf('serve')
    const total = (name: string) => series(url, `tidemark_${name}_total`, 'stream="scans"')
    const count = async () => ({
      counted: await total('events'),
      duplicates: await total('duplicate_events'),
      quarantined: await total('quarantined_events'),
      dead: await total('dead_letters'),
    })
    let counts = await count()
    await until('all epochs are counted', async () => {
      counts = await count()
      const { counted, duplicates, quarantined, dead } = counts
      return counted + duplicates + quarantined >= onTopic && dead >= poisoned
    })
    const distinct = [...scanner.scans.values()]
    const future = distinct.filter(({ scanned }) => scanned >= FUTURE_MS).length
    expect(counts.dead).toBe(poisoned)
    expect(counts.quarantined).toBeGreaterThanOrEqual(future)
    expect(counts.counted + counts.duplicates + counts.quarantined).toBe(onTopic)
    expect(counts.counted).toBe(distinct.length - future)
    expect(await series(addressOf('ingest'), 'tidemark_ingested_events_total', 'outcome="rejected"')).toBe(rejected)
  })

  it('[O2] [S1] [D1] any process may be killed: it comes back by itself, and nothing is lost or doubled', async () => {
    for (const name of [...SERVICES, 'redis', 'kafka']) {
      const { pid } = parts.get(name)!
      process.kill(pid, 'SIGKILL')
      for (let batch = 0; batch < 3; batch++) await shift.send(scanner.some(30))
      await until(`${name} is dead`, async () => !isAlive(pid))
    }
    expect(await complaintsOf(shift, scanner)).toEqual([])
  })

  it('[O2] stops in order with exit 0, leaves nothing running, and goes on where it was', async () => {
    expect(await platform.stop()).toBe(0)
    await until('all are gone', async () => [...parts.values()].every(({ pid }) => !isAlive(pid)))
    await start()
    expect(await differences()).toEqual([])
    await shift.send(scanner.some(30))
    expect(await complaintsOf(shift, scanner)).toEqual([])
  })
})

/** Two's complement, big endian, as Avro writes a decimal of scale 2. */
function decimalOf(postage: string | null): Buffer | null {
  if (postage === null) return null
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(BigInt(Math.round(Number(postage) * 100)))
  return bytes
}
