/** The registry of the embedded platform: every documented behaviour, and the stock clients, beside streams that run. */
import { describe } from 'vitest'
import { startForTest } from '#testkit/embedded.ts'
import { stockClientTests } from '#testkit/registry-clients.ts'
import { registryBehaviour } from '../registry/behaviour.ts'

const SHOP = new URL('../fixtures/shop', import.meta.url).pathname

describe('the documented behaviours', () => {
  registryBehaviour(
    async () => {
      const platform = await startForTest(SHOP)
      return { url: platform.parts.registryUrl, close: () => platform.stop() }
    },
    { shared: false },
  )
})

describe('stock clients', () => {
  stockClientTests(async () => {
    const platform = await startForTest(SHOP)
    return {
      url: platform.parts.registryUrl,
      async restart() {
        await platform.restart()
        return platform.parts.registryUrl
      },
      close: () => platform.stop(),
    }
  }, 'embedded-')
})
