/**
 * Other implementations of Avro as processes that answer lines of JSON: fastavro (Python) and Avro's own library (JVM).
 * They are fetched once, by pip and Maven, into the cache folder of this machine's temporary directory; where a tool or its
 * registry is not there, the reason is given instead and the suites say it in the titles of what they skip.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

const FASTAVRO = '1.13.1'
const AVRO = '1.12.0'
const FETCH_TIMEOUT_MS = 120_000
const ANSWER_BYTES_MAX = 1024 * 1024 * 1024
const file = (name: string): string => new URL(name, import.meta.url).pathname

/** Answers each question, in order; or why it cannot be asked. */
export type Oracle =
  | { readonly ask: (questions: readonly unknown[]) => unknown[]; readonly reason: null }
  | { readonly ask: null; readonly reason: string }

/** fastavro; questions and answers as in avro-fastavro.py. */
export function findFastavro(): Oracle {
  const fetched = fetchOnce(`fastavro-${FASTAVRO}`, (folder) => {
    const pip =
      '-m pip install --quiet --no-deps --disable-pip-version-check --no-input --retries 1 --timeout 10 --target'.split(
        ' ',
      )
    return run('python3', [...pip, folder, `fastavro==${FASTAVRO}`])
  })
  if ('reason' in fetched) return { ask: null, reason: fetched.reason }
  return oracle('python3', [file('avro-fastavro.py')], { PYTHONPATH: fetched.folder })
}

/** Avro's JVM library; questions and answers as in AvroJvm.java. */
export function findAvroJvm(): Oracle {
  const fetched = fetchOnce(`avro-jvm-${AVRO}`, (folder) => {
    mkdirSync(folder, { recursive: true })
    const pom = path.join(folder, 'pom.xml')
    writeFileSync(
      pom,
      '<project><modelVersion>4.0.0</modelVersion><groupId>t</groupId><artifactId>t</artifactId><version>1</version><dependencies>' +
        `<dependency><groupId>org.apache.avro</groupId><artifactId>avro</artifactId><version>${AVRO}</version></dependency>` +
        '</dependencies></project>',
    )
    return run('mvn', ['-q', '-B', '-f', pom, 'dependency:copy-dependencies', `-DoutputDirectory=${folder}`])
  })
  if ('reason' in fetched) return { ask: null, reason: fetched.reason }
  return oracle('java', ['-cp', path.join(fetched.folder, '*'), file('AvroJvm.java')], {})
}

/** Runs `fetch` into a folder of its own and keeps the folder when it worked. Two at a time do not disturb each other. */
function fetchOnce(name: string, fetch: (folder: string) => string | null): { folder: string } | { reason: string } {
  const folder = path.join(tmpdir(), 'tidemark-oracles', name)
  if (existsSync(folder)) return { folder }
  mkdirSync(path.dirname(folder), { recursive: true })
  const fresh = mkdtempSync(`${folder}-`)
  const reason = fetch(fresh)
  try {
    if (reason === null) renameSync(fresh, folder)
  } catch (error) {
    // Another process was faster.
    if (!existsSync(folder)) throw error
  }
  rmSync(fresh, { recursive: true, force: true })
  return reason === null ? { folder } : { reason }
}

/** Why a command failed, in one line; null when it did not. */
function run(command: string, args: readonly string[]): string | null {
  const { error, status, stderr, stdout } = spawnSync(command, args, { encoding: 'utf8', timeout: FETCH_TIMEOUT_MS })
  if (error !== undefined) return `${command}: ${error.message}`
  if (status === 0) return null
  const lines = `${stderr}${stdout}`.trim().split('\n')
  return `${command}: ${(lines.find((line) => /error/i.test(line)) ?? `exit ${status}`).slice(0, 120)}`
}

function oracle(command: string, args: readonly string[], env: Record<string, string>): Oracle {
  const ask = (questions: readonly unknown[]): unknown[] => {
    const { error, stdout, stderr } = spawnSync(command, args, {
      input: questions.map((question) => `${JSON.stringify(question)}\n`).join(''),
      encoding: 'utf8',
      maxBuffer: ANSWER_BYTES_MAX,
      env: { ...process.env, ...env },
    })
    const answers = stdout.split('\n').filter((line) => line !== '')
    if (error !== undefined || answers.length !== questions.length) {
      throw new Error(`${command} answered ${answers.length} of ${questions.length}: ${stderr.slice(0, 500)}`, {
        cause: error,
      })
    }
    return answers.map((line) => JSON.parse(line) as unknown)
  }
  try {
    ask([{}])
  } catch (error) {
    return { ask: null, reason: (error as Error).message.split('\n')[0]!.slice(0, 120) }
  }
  return { ask, reason: null }
}
