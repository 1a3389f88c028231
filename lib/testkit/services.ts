/**
 * Real services for integration tests: a broker for the test file that asks, or a printed reason to skip.
 * TIDEMARK_KAFKA_BROKERS names a broker to use instead. One that was started here ends with the file's process.
 */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { kafkaMissing, redisMissing, startKafka } from '../../infra/local/launcher.ts'

/** A broker to test against, or why there is none. */
export type KafkaForTests =
  | { readonly brokers: string; readonly skip: null }
  | { readonly brokers: null; readonly skip: string }

/** The file's broker. Call it at the top level of a test file and pass `skip !== null` to `describe.skipIf`. */
export async function kafkaForTests(): Promise<KafkaForTests> {
  const given = process.env['TIDEMARK_KAFKA_BROKERS']
  if (given !== undefined && given !== '') return { brokers: given, skip: null }
  const skip = await kafkaMissing()
  if (skip !== null) {
    process.stderr.write(`skipped, tests with Kafka: ${skip}\n`)
    return { brokers: null, skip }
  }
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-test-kafka-'))
  const { brokers } = await startKafka({ directory, temporary: true })
  return { brokers, skip: null }
}

/** Why one process per service cannot run here, in one sentence that is printed too; null when it can. `what`: the tests' subject. */
export async function distributedMissing(what: string): Promise<string | null> {
  const missing = (await kafkaMissing()) ?? (await redisMissing())
  if (missing !== null) process.stderr.write(`skipped, ${what}: ${missing}\n`)
  return missing
}
