/** Stock registry clients on a real Kafka: the suite of the embedded log, and the topic as Confluent's tools expect it. */
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '#io/clock.ts'
import { openKafkaLog } from '#io/log-kafka.ts'
import { SCHEMAS_TOPIC } from '#schemas/topics.ts'
import { stockClientTests } from '#testkit/registry-clients.ts'
import { kafkaMissing, startKafka } from '../../infra/local/launcher.ts'
import { ownRegistry } from '../registry/place.ts'

const missing = await kafkaMissing()

describe.skipIf(missing !== null)(`stock clients on Kafka${missing === null ? '' : ` (${missing})`}`, () => {
  let kafka: Awaited<ReturnType<typeof startKafka>>
  beforeAll(async () => {
    kafka = await startKafka({ directory: await mkdtemp(path.join(tmpdir(), 'tidemark-kafka-')), temporary: true })
  })
  afterAll(async () => kafka.stop())

  const openLog = () => openKafkaLog({ brokers: [kafka.brokers], clientId: 'registry-test', clock: systemClock })
  stockClientTests(() => ownRegistry(openLog))

  it('[R3] the topic has one partition', async () => {
    const log = await openLog()
    expect(await log.describeTopic(SCHEMAS_TOPIC)).toMatchObject({ partitions: 1 })
    await log.close()
  })
})
