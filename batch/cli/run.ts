/** The verbs: options and output. Each is one call or two of the API; `--json` prints its answer as it came. */
import { Command, CommanderError } from 'commander'
import { classify } from '#io/errors.ts'
import manifest from '../../package.json' with { type: 'json' }
import { type Api, CliError, connectApi } from './client.ts'
import { checkDefinitions, checkedText } from './definitions.ts'
import { addJob, fieldsOf, getJob, jobLines, jobsOf, jobsTable, waitForJob } from './jobs.ts'
import { linesOf, show, tableOf } from './print.ts'
import { query } from './query.ts'
import { addSchemaCommands } from './schemas.ts'

interface Globals {
  readonly url: string
  readonly json?: boolean
}

type Json = Readonly<Record<string, unknown>>

const EXIT_CODES = `
Exit codes: 0 done; 1 refused, failed or findings; 2 wrong usage;
69 the platform cannot be reached (of schemas, the registry: 2).`

const JOB_VERBS = {
  pause: 'hold a job at its next step',
  resume: 'let a paused job go on',
  cancel: 'end a job; nothing half-done is published',
  retry: 'run a failed or cancelled job again',
} as const

/** Runs one command line (without node and script); returns the exit code. Nothing is thrown. */
export async function runCli(args: readonly string[]): Promise<number> {
  let exitCode = 0
  const program = new Command('tidemark')
  const globals = (): Globals => program.opts<Globals>()
  const api = (): Api => connectApi(globals().url)
  /** Prints JSON when it was asked for, else the text. */
  const say = (json: unknown, text: () => string): void => {
    process.stdout.write(`${globals().json === true ? JSON.stringify(json, null, 2) : text()}\n`)
  }
  program
    .description('Exact KPIs over event streams: query, jobs, drift, checks.')
    .option('--url <url>', 'address of the platform', process.env['TIDEMARK_URL'] ?? 'http://127.0.0.1:7070')
    .option('--json', "print the API's answer")
    .version(manifest.version)
    .addHelpText('after', EXIT_CODES)
    .exitOverride()
    .showHelpAfterError('(see --help)')

  program
    .command('query <metric>')
    .description('the numbers of a metric: batch and speed merged')
    .option('--from <time>', 'windows from here on: ISO 8601 with offset, or epoch ms')
    .option('--until <time>', 'windows before here; same forms')
    .option('--grain <duration>', 'coarser windows, for example 1h or 1d')
    .option('--group-by <dimensions>', 'comma-separated; without it, all are rolled up')
    .option('--filter <dimension:values...>', 'only these, for example origin:JFK,LGA')
    .option('--measures <names>', 'comma-separated; without it, all')
    .option('--layer <layer>', 'merged (default), batch or speed')
    .option('--as-of <cut>', 'as the view of this cut had it')
    .option('--min-finality <finality>', 'provisional, closed, confirmed or restated')
    .option('--order <measure>', 'by from or a measure; descending with a minus: -flights')
    .option('--limit <rows>', 'at most so many rows; with --order the top ones')
    .option('--numbers <form>', 'string: numbers as text in --json, whatever their size')
    .option('--csv', 'as CSV')
    .action(async (metric: string, { csv, ...options }: Record<string, string | string[] | boolean>) => {
      const form = csv === true ? 'csv' : globals().json === true ? 'json' : 'table'
      process.stdout.write(`${await query(api(), metric, options, form)}\n`)
    })
  program
    .command('metrics [metric]')
    .description('all metrics with cut and watermark, or one metric whole')
    .action(async (metric: string | undefined) => {
      const { json } = await api().call(
        'GET',
        metric === undefined ? '/v1/metrics' : `/v1/metrics/${encodeURIComponent(metric)}`,
      )
      if (metric !== undefined) return say(json, () => linesOf(json as Json))
      const rows = (json as { metrics: Record<string, Json | string | number | null>[] }).metrics
      say(json, () =>
        tableOf(
          ['metric', 'stream', 'window', 'mode', 'cut', 'watermark', 'state'],
          rows.map((one) => [
            one['metric'],
            one['stream'],
            Object.values(one['window'] as Json)[0],
            one['mode'],
            one['cut'],
            one['watermark'],
            (one['refusal'] as Json | null)?.['code'] ?? 'serving',
          ]),
        ),
      )
    })
  program
    .command('streams')
    .description('the streams with their keys and topics')
    .action(async () => {
      const { json } = await api().call('GET', '/v1/streams')
      say(json, () => streamsTable((json as { streams: readonly Json[] }).streams))
    })
  program
    .command('views <metric>')
    .description('published views of a metric')
    .option('--rollback [sequence]', 'point back to the view before, or to this entry')
    .action(async (metric: string, { rollback }: { rollback?: string | true }) => {
      const path = `/v1/views/${encodeURIComponent(metric)}`
      if (rollback === undefined) {
        const { json } = await api().call('GET', path)
        say(json, () => viewsTable((json as { views: readonly Json[] }).views))
        return
      }
      const body = rollback === true ? {} : { to: Number(rollback) }
      const { json } = await api().call('POST', `${path}/rollback`, { body })
      say(json, () => linesOf(json as Json))
    })
  program
    .command('drift <metric> [report]')
    .description('the newest drift report of a metric, or one of them')
    .action(async (metric: string, report: string | undefined) => {
      const path = `/v1/drift/${encodeURIComponent(metric)}${report === undefined ? '' : `/${encodeURIComponent(report)}`}`
      const { json } = await api().call('GET', path)
      say(json, () => driftText(json as Json))
    })
  program
    .command('barrier <stream>')
    .description('put a barrier into every partition; prints the cut')
    .action(async (stream: string) => {
      const { json } = await api().call('POST', `/v1/streams/${encodeURIComponent(stream)}/barriers`, { body: {} })
      say(json, () => linesOf(json as Json))
    })
  program
    .command('verify [stream]')
    .description('prove that the archive is complete and undamaged; exit code 1 when it is not')
    .action(async (stream: string | undefined) => {
      const added = await addJob(api(), { type: 'verify', stream: stream ?? '*' })
      const job = await waitForJob(api(), added.id)
      const { ok, findings } = {
        ok: true,
        findings: [],
        ...(job.result as { ok?: boolean; findings?: readonly Json[] } | null),
      }
      if (!ok) exitCode = 1
      say(job.result, () => verifyText((job.result ?? {}) as Json, findings))
    })

  const jobs = program.command('jobs').description('start, follow and control jobs')
  jobs
    .command('list')
    .description('the latest jobs')
    .action(async () => {
      const { json } = await api().call('GET', '/v1/jobs')
      say(json, () => jobsTable(jobsOf(json)))
    })
  jobs
    .command('show <id>')
    .description('one job')
    .action(async (id: string) => {
      const job = await getJob(api(), id)
      say(job, () => jobLines(job))
    })
  jobs
    .command('run <type> [fields...]')
    .description("start a build-view, drift or verify job: tidemark jobs run build-view 'metric=*'")
    .option('--key <key>', 'the same key gives the same job')
    .option('--wait', 'wait for its end, with progress')
    .action(async (type: string, fields: string[], { key, wait }: { key?: string; wait?: boolean }) => {
      const added = await addJob(api(), { type, ...fieldsOf(fields), ...(key === undefined ? {} : { key }) })
      const job = wait === true ? await waitForJob(api(), added.id) : added
      say(job, () => (wait === true ? jobLines(job) : linesOf({ id: job.id, state: job.state })))
    })
  for (const [verb, does] of Object.entries(JOB_VERBS)) {
    jobs
      .command(`${verb} <id>`)
      .description(does)
      .action(async (id: string) => {
        const { json } = await api().call('POST', `/v1/jobs/${encodeURIComponent(id)}/${verb}`, { body: {} })
        say(json, () => linesOf({ id, state: (json as Json)['state'] }))
      })
  }

  program
    .command('definitions')
    .description('streams and metrics as files')
    .command('check [directory]')
    .description('check a directory whole, without a running platform; default TIDEMARK_DEFINITIONS')
    .action(async (directory: string | undefined) => {
      const checked = await checkDefinitions(directory ?? process.env['TIDEMARK_DEFINITIONS'] ?? './definitions')
      if (!checked.ok) exitCode = 1
      say(checked, () => checkedText(checked))
    })

  addSchemaCommands(program, {
    say,
    fail: (code) => {
      exitCode = code
    },
  })

  try {
    await program.parseAsync(args, { from: 'user' })
    return exitCode
  } catch (error) {
    return explain(error, globals().json === true)
  }
}

/** Prints an error as code, detail, hint (or as JSON) and gives its exit code. */
function explain(error: unknown, json: boolean): number {
  // Commander has printed its own message already.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  const known = error instanceof CliError ? error : classify(error)
  const { code, hint, message } = known
  if (json) process.stdout.write(`${JSON.stringify({ code, detail: message, hint }, null, 2)}\n`)
  else process.stderr.write(`${code}: ${message}\n${hint}\n`)
  return known instanceof CliError ? known.exitCode : 1
}

/** Streams with what an owner of events has to know; `--json` has the rest. */
const streamsTable = (streams: readonly Json[]): string =>
  tableOf(
    ['stream', 'topic', 'partitions', 'key', 'id', 'dedup', 'retention'],
    streams.map((one) => [
      ...['stream', 'topic', 'partitions', 'key', 'id'].map((name) => one[name]),
      one['dedup_horizon_epochs'] === null ? null : `${show(one['dedup_horizon_epochs'])} epochs`,
      one['retention'],
    ]),
  )

/** Views as published, newest first; `--json` has hashes, bounds and files. */
function viewsTable(views: readonly Json[]): string {
  const head = ['sequence', 'cut', 'arm', 'generation', 'rows', 'published', 'current']
  return tableOf(
    head,
    views.map((view) => head.map((name) => (name === 'published' ? show(view[name]).slice(0, 19) : view[name]))),
  )
}

/** A drift report: its counts, then what differs and why. */
function driftText({ causes, differences, reports, revision, ...counts }: Json): string {
  const lists = [causes, differences].filter((list): list is Json[] => Array.isArray(list) && list.length > 0)
  const others = Array.isArray(reports) && reports.length > 1 ? [`all reports: ${reports.join(' ')}`] : []
  return [linesOf(counts), ...lists.map(tableOfObjects), ...others].join('\n\n')
}

/** What was verified, then every finding with its place and remedy. */
function verifyText({ findings: _, ...counts }: Json, findings: readonly Json[]): string {
  const lines = findings.map(({ severity, kind, path, first, next, message, remedy }) => {
    const range = first === undefined ? '' : ` [${show(first)}, ${show(next)})`
    return `${show(severity)} ${show(kind)} ${show(path)}${range}\n  ${show(message)}\n  ${show(remedy)}`
  })
  return [linesOf(counts), ...lines].join('\n\n')
}

/** Objects as a table of their plain members; nested ones are left to `--json`. */
function tableOfObjects(list: readonly Json[]): string {
  const plain = (value: unknown): boolean => typeof value !== 'object' || value === null
  const head = [...new Set(list.flatMap((one) => Object.keys(one)))].filter((name) =>
    list.every((one) => plain(one[name])),
  )
  return tableOf(
    head,
    list.map((one) => head.map((name) => one[name] ?? null)),
  )
}
