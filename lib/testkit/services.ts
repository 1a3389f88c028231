/**
 * Real services for integration tests: one broker per test run, shared by its test files, or a printed reason to skip.
 * TIDEMARK_KAFKA_BROKERS names a broker to use instead. The run's first file starts the broker; it ends with the run.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { kafkaMissing, startKafka } from '../../infra/local/launcher.ts'

/** A broker to test against, or why there is none. */
export type KafkaForTests =
  | { readonly brokers: string; readonly skip: null }
  | { readonly brokers: null; readonly skip: string }

/**
 * The run's broker. Call it at the top level of a test file and pass `skip !== null` to `describe.skipIf`.
 * Test files run in processes forked by one runner, so the runner's process id names the run.
 */
export async function kafkaForTests(): Promise<KafkaForTests> {
  const given = process.env['TIDEMARK_KAFKA_BROKERS']
  if (given !== undefined && given !== '') return { brokers: given, skip: null }
  const skip = await kafkaMissing()
  if (skip !== null) {
    process.stderr.write(`skipped, tests with Kafka: ${skip}\n`)
    return { brokers: null, skip }
  }
  const runner = process.ppid
  const directory = join(tmpdir(), `tidemark-test-kafka-${runner}`)
  const addressPath = join(directory, 'address')
  try {
    mkdirSync(directory)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    return { brokers: await addressOf(addressPath), skip: null }
  }
  const { brokers } = await startKafka({ directory, ownerPid: runner, temporary: true })
  writeFileSync(`${addressPath}.new`, brokers)
  renameSync(`${addressPath}.new`, addressPath)
  return { brokers, skip: null }
}

/** Another file of this run is starting the broker; the address appears when it is ready. */
async function addressOf(path: string): Promise<string> {
  for (let waitedMs = 0; waitedMs < 90_000; waitedMs += 50) {
    if (existsSync(path)) return readFileSync(path, 'utf8')
    await sleep(50)
  }
  throw new Error(`no broker came up: ${path} is missing`)
}
