/** `tidemark schemas check`, `diff` and `register` without a terminal: local schemas and a registry → reports. */

import { parseAvro } from '#format/avro-compatibility.ts'
import { SchemaProblem } from '#format/avro-schema.ts'
import { type Change, changesBetween } from './schemas-diff.ts'
import { type LocalSchema, lineOf } from './schemas-files.ts'
import { type Finding, readMessages } from './schemas-findings.ts'
import type { Registered, SchemaRegistry } from './schemas-registry.ts'

/** What a schema is to the registry. */
export type CheckState = 'new' | 'unchanged' | 'compatible' | 'incompatible' | 'invalid'

/** A finding with its line in the file, from 1; null when the place is not in the file. */
export interface PlacedFinding extends Finding {
  readonly line: number | null
}

/** One file under one subject. */
export interface CheckReport {
  readonly file: string
  readonly subject: string
  readonly level: string
  readonly state: CheckState
  /** Version with the same schema, or that it does not fit, or the latest; null when the subject is new. */
  readonly version: number | null
  readonly findings: readonly PlacedFinding[]
}

/** Whether all may be registered. */
export const allFit = (reports: readonly CheckReport[]): boolean =>
  reports.every(({ state }) => state !== 'incompatible' && state !== 'invalid')

/** Compares one schema with what is registered under its subject. */
export async function checkSchema(registry: SchemaRegistry, local: LocalSchema): Promise<CheckReport> {
  const { file, subject, source, text } = local
  const level = await registry.level(subject)
  const report = (state: CheckState, version: number | null, findings: readonly Finding[] = []): CheckReport => ({
    file,
    subject,
    level,
    state,
    version,
    findings: findings.map((one) => ({
      ...one,
      line: one.filePath === null ? null : lineOf(source, one.filePath),
    })),
  })
  const problem = problemOf(text)
  if (problem !== null) return report('invalid', null, [problem])
  const latest = await registry.latest(subject)
  const same = await findSame(registry, local, latest)
  if (same !== null) return report('unchanged', same.version)
  const verdict = await registry.check(subject, text)
  if ('refused' in verdict) return report('invalid', null, [invalid(null, verdict.message, 'Correct the schema.')])
  if (verdict.compatible) return report(latest === null ? 'new' : 'compatible', latest?.version ?? null)
  const { version, findings } = readMessages(verdict.messages, text, level)
  return report('incompatible', version ?? latest?.version ?? null, findings)
}

/** The version with this schema. What was registered with references is compared as one text. */
async function findSame(
  registry: SchemaRegistry,
  { subject, text }: LocalSchema,
  latest: Registered | null,
): Promise<{ readonly id: number; readonly version: number } | null> {
  const found = latest === null ? null : await registry.find(subject, text)
  if (found !== null || latest?.referring !== true) return found
  return changesBetween(parseAvro(latest.schema), parseAvro(text)).length === 0 ? latest : null
}

function problemOf(text: string): Finding | null {
  try {
    parseAvro(text)
    return null
  } catch (error) {
    if (error instanceof SchemaProblem) return invalid(pointerOf(error), error.message, error.advice)
    throw error
  }
}

/** The place of a problem as a JSON pointer; what is no pointer stands in the message. */
const pointerOf = ({ path }: SchemaProblem): string | null => (path.startsWith('/') ? path : null)

const invalid = (path: string | null, message: string, advice: string): Finding => ({
  type: 'INVALID',
  path,
  filePath: path,
  reader: { name: 'this file', at: undefined },
  writer: { name: 'this file', at: undefined },
  message,
  advice,
})

/** What changed against the latest version; null in place of changes when the subject is new. */
export interface DiffReport {
  readonly file: string
  readonly subject: string
  readonly version: number | null
  readonly changes: readonly (Change & { readonly line: number | null })[]
}

/** Compares texts. @throws SchemaProblem when one of them is no schema */
export async function diffSchema(registry: SchemaRegistry, local: LocalSchema): Promise<DiffReport> {
  const { file, subject, source, text } = local
  const newer = parseAvro(text)
  const latest = await registry.latest(subject)
  const changes = latest === null ? [] : changesBetween(parseAvro(latest.schema), newer)
  const placed = changes.map((change) => ({
    ...change,
    line: change.what === 'field removed' ? null : lineOf(source, change.path),
  }))
  return { file, subject, version: latest?.version ?? null, changes: placed }
}

/** What a registration came to. */
export interface RegisterReport {
  readonly file: string
  readonly subject: string
  readonly state: 'registered' | 'unchanged' | 'refused'
  readonly id: number | null
  readonly version: number | null
  /** The registry's sentence when it refused, which only a change between check and registration brings about. */
  readonly message: string | null
}

/** Registers one schema that was checked. */
export async function registerSchema(registry: SchemaRegistry, local: LocalSchema): Promise<RegisterReport> {
  const { file, subject, text } = local
  const before = await findSame(registry, local, await registry.latest(subject))
  if (before !== null)
    return { file, subject, state: 'unchanged', id: before.id, version: before.version, message: null }
  const answer = await registry.register(subject, text)
  if ('refused' in answer) return { file, subject, state: 'refused', id: null, version: null, message: answer.message }
  const { id } = answer
  const version = (await registry.find(subject, text))?.version ?? null
  return { file, subject, state: 'registered', id, version, message: null }
}
