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

const ATTEMPTS = 4
const ATTEMPT_MS = 20_000

/**
 * All letters of a topic, once there are `count`. A stock consumer now and then joins its group and fetches nothing, so each attempt has a
 * new one in a group of its own; letters that are not there are missed by all of them.
 * @throws Error with the topic's offsets when there are fewer
 */
export async function readLetters(
  kafka: InstanceType<typeof kafkajs.Kafka>,
  registry: SchemaRegistry,
  topic: string,
  count: number,
): Promise<Letter[]> {
  let letters: Letter[] = []
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    letters = []
    const found = letters
    const consumer = kafka.consumer({ groupId: `letters-of-${topic}-${attempt}` })
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    await consumer.run({
      eachMessage: async ({ message, partition }) =>
        void found.push({ ...((await registry.decode(message.value!)) as Omit<Letter, 'partition'>), partition }),
    })
    for (let waited = 0; waited < ATTEMPT_MS && found.length < count; waited += 50) await sleep(50)
    await consumer.disconnect()
    if (found.length >= count) return found
    process.stdout.write(`letters of ${topic}: ${found.length} of ${count} at attempt ${attempt}\n`)
  }
  const admin = kafka.admin()
  await admin.connect()
  const offsets = await admin.fetchTopicOffsets(topic)
  await admin.disconnect()
  throw new Error(`${topic}: ${letters.length} letters of ${count}; offsets ${JSON.stringify(offsets)}`)
}
