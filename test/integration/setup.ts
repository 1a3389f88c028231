/** Before the first test with Kafka: its jars are fetched once, where files that run side by side would each fetch them. */
import { kafkaMissing } from '../../infra/local/launcher.ts'

/** Vitest's global setup of the suites that start Kafka. What is missing is told by the files that need it. */
export default async function setup(): Promise<void> {
  await kafkaMissing()
}
