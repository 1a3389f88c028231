/**
 * `tidemark schemas`: a working copy's schemas against any Confluent-compatible registry, for people and for CI.
 *
 * Exit codes: 0 all is well · 1 a schema is incompatible, invalid or refused · 2 wrong usage, or the registry does not answer or refuses the key.
 */
import { text as textOf } from 'node:stream/consumers'
import type { Command } from 'commander'
import { SchemaProblem } from '#format/avro-schema.ts'
import { settingOf } from '#io/config.ts'
import { OperatingError } from '#io/errors.ts'
import { withAuth } from '#io/registry-http.ts'
import { CliError } from './client.ts'
import { type LocalSchema, localSchemas } from './schemas-files.ts'
import { keyText, makeKey } from './schemas-key.ts'
import { checkText, diffText, registerText } from './schemas-print.ts'
import { connectSchemas, type SchemaRegistry } from './schemas-registry.ts'
import { allFit, checkSchema, diffSchema, registerSchema } from './schemas-work.ts'

interface Options {
  readonly registry?: string
  readonly subject?: string
}

/** What the commands need of the program. */
export interface SchemaCommandDeps {
  /** Prints JSON when it was asked for, else the text. */
  readonly say: (json: unknown, text: () => string) => void
  /** Sets the exit code. */
  readonly fail: (exitCode: number) => void
}

/** Adds `schemas check`, `diff`, `register` and `key`. */
export function addSchemaCommands(program: Command, { say, fail }: SchemaCommandDeps): void {
  const schemas = program.command('schemas').description('Avro schemas of a folder against a Schema Registry')
  const command = (name: string, description: string): Command =>
    schemas
      .command(`${name} [path]`)
      .description(`${description}; path: a folder or a *.avsc, default TIDEMARK_DEFINITIONS`)
      .option('--registry <url>', 'default TIDEMARK_REGISTRY_URL, or the local one; see TIDEMARK_REGISTRY_AUTH')
      .option('--subject <subject>', 'for one schema; default: of the stream that uses it, else the file name')

  command('check', 'whether each schema may follow what is registered; exit code 1 when not').action(
    async (path: string | undefined, options: Options) => {
      const { registry, locals } = await open(path, options)
      const reports = await inOrder(locals, (local) => checkSchema(registry, local))
      const ok = allFit(reports)
      if (!ok) fail(1)
      say({ registry: registry.address, ok, schemas: reports }, () => checkText(reports))
    },
  )
  command('diff', 'what changed against the latest registered version').action(
    async (path: string | undefined, options: Options) => {
      const { registry, locals } = await open(path, options)
      const reports = await inOrder(locals, (local) =>
        diffSchema(registry, local).catch((error: unknown) => {
          if (error instanceof SchemaProblem)
            throw new CliError(
              { code: 'SCHEMA_INVALID', detail: `${local.file}: ${error.message}`, hint: error.advice },
              1,
            )
          throw error
        }),
      )
      say({ registry: registry.address, schemas: reports }, () => diffText(reports))
    },
  )
  command('register', 'registers each schema, if all of them fit').action(
    async (path: string | undefined, options: Options) => {
      const { registry, locals } = await open(path, options)
      const checks = await inOrder(locals, (local) => checkSchema(registry, local))
      if (!allFit(checks)) {
        fail(1)
        say(
          { registry: registry.address, ok: false, registered: [], schemas: checks },
          () => `${checkText(checks)}\n\nNothing was registered.`,
        )
        return
      }
      const reports = await inOrder(locals, (local) => registerSchema(registry, local))
      const ok = reports.every(({ state }) => state !== 'refused')
      if (!ok) fail(1)
      say({ registry: registry.address, ok, registered: reports, schemas: checks }, () => registerText(reports))
    },
  )
  schemas
    .command('key <name>')
    .description('make a key for TIDEMARK_REGISTRY_KEYS; needs no registry')
    .requiredOption('--scope <allow:prefix...>', 'read, write or admin, and a subject prefix: write:orders, read:')
    .option('--stdin', 'a password from stdin, kept as scrypt, in place of a generated secret')
    .action(async (name: string, { scope, stdin }: { scope: string[]; stdin?: true }) => {
      const given = stdin === true ? (await textOf(process.stdin)).replace(/\r?\n$/, '') : null
      const made = await makeKey(name, scope, given)
      say(made, () => keyText(made))
    })
}

async function open(
  path: string | undefined,
  { registry, subject }: Options,
): Promise<{ registry: SchemaRegistry; locals: LocalSchema[] }> {
  const { env } = process
  return orUsage(async () => {
    const local = `http://127.0.0.1:${settingOf(env, 'REGISTRY_PORT')}`
    const url = registry ?? (settingOf(env, 'REGISTRY_URL') || local)
    const auth = settingOf(env, 'REGISTRY_AUTH')
    const definitions = settingOf(env, 'DEFINITIONS')
    const locals = await localSchemas(path ?? definitions, { subject: subject ?? null, definitions })
    return { registry: connectSchemas(withAuth(url, auth === '' ? null : auth)), locals }
  })
}

/** One after the other: the order of the report is that of the files, and a registry is asked by one at a time. */
async function inOrder<T>(locals: readonly LocalSchema[], work: (local: LocalSchema) => Promise<T>): Promise<T[]> {
  return orUsage(async () => {
    const results: T[] = []
    for (const local of locals) results.push(await work(local))
    return results
  })
}

/** What keeps the command from its work ends with 2, so that CI tells it from a schema that does not fit. */
async function orUsage<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error
    const { code, message } = error
    throw new CliError({ code, detail: message, hint: hintOf(error) }, 2)
  }
}

function hintOf({ code, hint }: OperatingError): string {
  if (code === 'DEFINITIONS_INVALID') return 'Name a folder with *.avsc files, or one such file.'
  if (code !== 'REGISTRY_UNREACHABLE') return hint
  return 'Start the platform, or give the address with --registry or TIDEMARK_REGISTRY_URL.'
}
