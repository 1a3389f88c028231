/**
 * The registry in processes of its own on real Kafka: two instances on one topic, every documented behaviour and the stock clients
 * against the second one, so that what it may not write itself goes to the first.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { PlatformProcess } from '#testkit/platform-process.ts'
import { stockClientTests } from '#testkit/registry-clients.ts'
import { kafkaMissing, startKafka } from '../../infra/local/launcher.ts'
import { registryBehaviour } from '../registry/behaviour.ts'

const missing = await kafkaMissing()
if (missing !== null) process.stderr.write(`skipped, the registry on Kafka: ${missing}\n`)

describe.skipIf(missing !== null)('the registry in processes of its own, on Kafka', () => {
  let kafka: Awaited<ReturnType<typeof startKafka>>
  let directory: string
  beforeAll(async () => {
    kafka = await startKafka({ directory: await mkdtemp(join(tmpdir(), 'tidemark-kafka-')), temporary: true })
    directory = await mkdtemp(join(tmpdir(), 'tidemark-registries-'))
  })
  afterAll(async () => {
    await kafka?.stop()
    await rm(directory, { recursive: true, force: true })
  })

  /** An instance; its URL is the last word of its ready line. */
  async function instance(name: string): Promise<{ url: string; process: PlatformProcess }> {
    const started = new PlatformProcess({
      args: ['platform/service.ts', 'registry'],
      env: {
        TIDEMARK_KAFKA_BROKERS: kafka.brokers,
        TIDEMARK_DATA_DIR: join(directory, name),
        TIDEMARK_REGISTRY_PORT: '0',
        TIDEMARK_LOG_LEVEL: 'error',
      },
    })
    const words = await started.untilReady()
    const url = words.find((word) => word.startsWith('http'))
    if (url === undefined) throw new Error(`no URL in "ready ${words.join(' ')}"`)
    return { url, process: started }
  }

  it('[O2] an instance serves its series, as every service does', async () => {
    const { url, process } = await instance('measured')
    const text = await (await fetch(`${url}/metrics`)).text()
    expect(text).toMatch(/^tidemark_registry_writer [01]$/m)
    expect(text).toMatch(/^tidemark_registry_passed_over_records\{reason="malformed"\} 0$/m)
    await process.stop()
  })

  describe('the documented behaviours', () => {
    registryBehaviour(
      async () => {
        const first = await instance('first')
        const second = await instance('second')
        return {
          url: second.url,
          close: async () => void (await Promise.all([first.process.stop(), second.process.stop()])),
        }
      },
      { shared: false },
    )
  })

  describe('stock clients', () => {
    stockClientTests(async () => {
      const first = await instance('first')
      let second = await instance('second')
      return {
        url: second.url,
        async restart() {
          await second.process.stop()
          second = await instance('second')
          return second.url
        },
        close: async () => void (await Promise.all([first.process.stop(), second.process.stop()])),
      }
    }, 'distributed-')
  })
})
