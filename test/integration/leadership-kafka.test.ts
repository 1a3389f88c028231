/** Leadership by a group of a real Kafka: the port's suite, and a member that is cut off. */
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '#io/clock.ts'
import { joinKafkaLeadership } from '#io/leadership-kafka.ts'
import { leadershipConformance } from '#testkit/leadership-conformance.ts'
import { kafkaMissing, startKafka } from '../../infra/local/launcher.ts'

const missing = await kafkaMissing()

describe.skipIf(missing !== null)(`the writer's election on Kafka${missing === null ? '' : ` (${missing})`}`, () => {
  let kafka: Awaited<ReturnType<typeof startKafka>>
  let groups = 0
  beforeAll(async () => {
    kafka = await startKafka({ directory: await mkdtemp(path.join(tmpdir(), 'tidemark-kafka-')), temporary: true })
  })
  afterAll(async () => kafka.stop())

  leadershipConformance('a group of Kafka', () => {
    const group = `registry-${groups++}`
    return {
      join: (url) =>
        joinKafkaLeadership({
          brokers: [kafka.brokers],
          clientId: 'test',
          clock: systemClock,
          group,
          url,
          onTrouble() {},
        }),
    }
  })
})
