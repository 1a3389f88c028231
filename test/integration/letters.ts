/** Reading a dead-letter topic as a user would: a stock consumer, values decoded by the stock registry client. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { SchemaRegistry } from '@kafkajs/confluent-schema-registry'
import type kafkajs from 'kafkajs'

/** A decoded letter and where it stands. */
export interface Letter {
  readonly partition: number
  readonly reason: string
  readonly value: Buffer | null
  readonly sha256: string
}

const PATIENCE_MS = 300_000

/**
 * All letters of a topic, once there are `count`. A consumer that kafkajs begins again by itself may bring some twice.
 * @throws Error with the topic's offsets when there are fewer; what ended the consumer
 */
export async function readLetters(
  kafka: InstanceType<typeof kafkajs.Kafka>,
  registry: SchemaRegistry,
  topic: string,
  count: number,
): Promise<Letter[]> {
  const letters = new Map<string, Letter>()
  let crash: Error | null = null
  const consumer = kafka.consumer({ groupId: `letters-of-${topic}` })
  consumer.on('consumer.crash', ({ payload }) => {
    if (!payload.restart) crash = payload.error
  })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await consumer.run({
    eachMessage: async ({ message, partition }) =>
      void letters.set(`${partition}/${message.offset}`, {
        ...((await registry.decode(message.value!)) as Omit<Letter, 'partition'>),
        partition,
      }),
  })
  for (const begun = performance.now(); crash === null && letters.size < count; await sleep(50))
    if (performance.now() - begun > PATIENCE_MS) break
  await consumer.disconnect()
  if (crash !== null) throw crash
  if (letters.size >= count) return [...letters.values()]
  const admin = kafka.admin()
  await admin.connect()
  const offsets = await admin.fetchTopicOffsets(topic)
  await admin.disconnect()
  throw new Error(`${topic}: ${letters.size} letters of ${count}; offsets ${JSON.stringify(offsets)}`)
}
