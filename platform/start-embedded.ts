/** The embedded platform with the demo feed, until SIGINT or SIGTERM. Started by start.ts. */
import { systemClock } from '#io/clock.ts'
import { LAPSE_LABEL } from '../services/feed/flights.ts'
import { type Embedded, startEmbedded } from './embedded.ts'
import { demoStream, startLapse } from './lapse.ts'
import { runProcess, TERMINAL_SETTINGS, untilReady } from './runtime.ts'
import { say } from './terminal.ts'

/** Where the command line looks for the platform by itself. */
const DEFAULT_URL = 'http://127.0.0.1:7070'

/** What runs where, and what to try next. */
function tell({ url, registryUrl, registryExternal, definitions }: Embedded, dataDir: string, seconds: string): void {
  const { streams, metrics } = definitions
  say(`Tidemark is up after ${seconds} s, all of it in this process. Ctrl-C stops it.`)
  say()
  say(`  page, API     ${url}   (OpenAPI: /openapi.json)`)
  say(`  registry      ${registryUrl}${registryExternal ? '   (TIDEMARK_REGISTRY_URL; ours is off)' : ''}`)
  say(`  data          ${dataDir}`)
  say(`  streams       ${streams.map(({ name }) => name).join(', ')}`)
  say(`  metrics       ${metrics.map(({ name }) => name).join(', ')}`)
  say()
  // The shortest name, so that the lines fit a terminal.
  const metric = [...metrics].sort((a, b) => a.name.length - b.name.length)[0]?.name
  if (metric === undefined) return
  const at = url === DEFAULT_URL ? '' : ` --url ${url}`
  say('Try next:')
  say(`  curl '${url}/v1/metrics/${metric}/query?order=-from&limit=5'`)
  say(`  npx tidemark query ${metric} --order -from --limit 5${at}`)
  say(`  npx tidemark jobs run build-view 'metric=*' --wait${at}`)
  say(`  npx tidemark drift ${metric}${at}`)
  say()
}

await runProcess(
  'tidemark',
  async (config, logger) => {
    const since = systemClock.monotonic()
    const seconds = () => ((systemClock.monotonic() - since) / 1_000).toFixed(1)
    const platform = await startEmbedded(config, logger, config.feed === 'demo' ? demoStream : undefined)
    tell(platform, config.dataDir, seconds())
    if (config.feed === 'demo') {
      const days = config.lapseDaysPerMinute
      say(`Feed: ${LAPSE_LABEL},`)
      say(
        `${days} ${days === 1 ? 'day' : 'days'} per minute: half an hour of history first, then live. Each day ends with a`,
      )
      say('build; windows turn from provisional to closed to confirmed.')
      const lapse = startLapse({
        log: platform.log,
        registry: platform.registry,
        jobs: platform.jobs,
        stream: demoStream(platform.definitions),
        logger,
        daysPerMinute: days,
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
  },
  TERMINAL_SETTINGS,
)
