/** `node infra/local/main.ts [directory]`: Kafka and Redis on this machine until SIGINT or SIGTERM. Default directory: ./data/local. */
import { join, resolve } from 'node:path'
import { type Service, startKafka, startRedis } from './launcher.ts'

const directory = resolve(process.argv[2] ?? 'data/local')
const services: Service[] = []

async function stop(exitCode: number): Promise<never> {
  await Promise.all(services.map((service) => service.stop()))
  process.exit(exitCode)
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void stop(0))
// The services are detached from this process's event loop; this keeps it alive until a signal.
setInterval(() => {}, 2 ** 30)

try {
  const redis = await startRedis({ directory: join(directory, 'redis') })
  services.push(redis)
  const kafka = await startKafka({ directory: join(directory, 'kafka') })
  services.push(kafka)
  process.stdout.write(`ready TIDEMARK_KAFKA_BROKERS=${kafka.brokers} TIDEMARK_REDIS_URL=${redis.url}\n`)
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  await stop(1)
}
