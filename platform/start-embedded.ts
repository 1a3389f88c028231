/** The embedded platform with the demo feed, until SIGINT or SIGTERM. Started by start.ts. */
import { systemClock } from '#io/clock.ts'
import { OperatingError } from '#io/errors.ts'
import { LAPSE_LABEL } from '../services/feed/flights.ts'
import { startEmbedded } from './embedded.ts'
import { startLapse } from './lapse.ts'
import { runProcess, untilReady } from './runtime.ts'
import { say } from './terminal.ts'

await runProcess('tidemark', async (config, logger) => {
  const since = systemClock.monotonic()
  const platform = await startEmbedded(config, logger)
  const seconds = () => ((systemClock.monotonic() - since) / 1_000).toFixed(1)
  const metric = platform.definitions.metrics[0]
  say(`Tidemark is up after ${seconds()} s: everything in this process, data in ${config.dataDir}`)
  say()
  say(`  page, API     ${platform.url}   (OpenAPI: /openapi.json)`)
  say(
    `  registry      ${platform.registryUrl}${platform.registryExternal ? '   (TIDEMARK_REGISTRY_URL; ours is off)' : ''}`,
  )
  say(`  streams       ${platform.definitions.streams.map(({ name }) => name).join(', ')}`)
  say(`  metrics       ${platform.definitions.metrics.map(({ name }) => name).join(', ')}`)
  say()
  if (metric !== undefined) {
    say('Try next:')
    say(`  curl '${platform.url}/v1/metrics/${metric.name}/query?order=-from&limit=5'`)
    say(`  npx tidemark query ${metric.name} --url ${platform.url}`)
    say(`  npx tidemark jobs run build-view 'metric=*' --wait --url ${platform.url}`)
    say(`  npx tidemark drift ${metric.name} --url ${platform.url}`)
    say()
  }
  if (config.feed === 'demo') {
    const stream = platform.definitions.streams.find(({ name }) => name === 'flights')
    if (stream === undefined) {
      throw new OperatingError(
        'CONFIG_INVALID',
        'The demo feed needs a stream named flights, which the definitions do not have.',
        {},
        {
          hint: 'Set TIDEMARK_FEED=none for your own definitions.',
        },
      )
    }
    say(`Feed: ${LAPSE_LABEL}; ${config.lapseDaysPerMinute} day(s) per minute, a build each night.`)
    say('First thirty days of history, then live: provisional, closed and confirmed within minutes.')
    const lapse = startLapse({
      log: platform.log,
      registry: platform.registry,
      jobs: platform.jobs,
      stream,
      logger,
      daysPerMinute: config.lapseDaysPerMinute,
      onLive: (sent) =>
        say(`History is in: ${sent.toLocaleString('en')} flights after ${seconds()} s; the feed is live.`),
    })
    platform.onClose(() => lapse.close())
  }
  return {
    close: () => platform.close(),
    async announce() {
      await untilReady(() => platform.ready())
      say(`ready ${platform.url} registry ${platform.registryUrl}`)
    },
  }
})
