/** `npm start`: the embedded platform, until SIGINT or SIGTERM. */
import { startEmbedded } from './embedded.ts'
import { runProcess } from './runtime.ts'

await runProcess('tidemark', async (config, logger) => {
  const platform = await startEmbedded(config, logger)
  process.stdout.write(`ready ${platform.url} registry ${platform.registryUrl}\n`)
  return platform
})
