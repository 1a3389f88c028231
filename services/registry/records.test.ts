/**
 * The format of the schemas topic against bytes on file: what other registries write is understood, written again it is the
 * same byte for byte, and what is in no format is told apart.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  encodeClearing,
  encodeConfig,
  encodeContext,
  encodeIdsUsed,
  encodeMode,
  encodeRemoval,
  encodeSchema,
  encodeSubjectDeletion,
  isReservedSubject,
  keyOf,
  parseRecord,
  type RegistryRecord,
} from './records.ts'

const FIXTURES = join(import.meta.dirname, '../../test/fixtures/schemas-topic')
const bytes = (text: string): Uint8Array | null => (text === 'null' ? null : new TextEncoder().encode(text))
const text = (from: Uint8Array | null): string => (from === null ? 'null' : Buffer.from(from).toString())

/** The lines of a fixture as [key, value]. */
function linesOf(name: string): [string, string][] {
  const lines = readFileSync(join(FIXTURES, name), 'utf8').split('\n').slice(0, -1)
  return lines.map((line) => line.split('\t') as [string, string])
}

/** Writes what was read; null for what this registry never writes. */
function again(record: RegistryRecord): string[] | null {
  const written = (() => {
    switch (record.kind) {
      case 'schema':
        return encodeSchema(record.version)
      case 'schema-removed':
        return encodeRemoval(record.subject, record.version)
      case 'subject-deleted':
        return encodeSubjectDeletion(record.subject, record.version)
      case 'subject-cleared':
        return encodeClearing(record.subject)
      case 'config':
        return encodeConfig(record.subject, record.config)
      case 'mode':
        return encodeMode(record.subject, record.mode)
      case 'context':
        return encodeContext(record.context)
      case 'ids-used':
        return encodeIdsUsed(record.context, record.id, record.set)
      case 'other':
        return null
    }
  })()
  return written === null ? null : [text(written.key), text(written.value)]
}

describe('the format of the schemas topic', () => {
  const foreign = linesOf('foreign.tsv')

  it.each(foreign)('[R3] reads %s', (key, value) => {
    const read = parseRecord(bytes(key), bytes(value))
    expect(read).not.toBeNull()
    expect(read!.kind).toBe(
      /"keytype":"NOOP"/.test(key)
        ? 'other'
        : {
            SCHEMA: 'schema',
            CONFIG: 'config',
            MODE: 'mode',
            CONTEXT: 'context',
            DELETE_SUBJECT: 'subject-deleted',
            CLEAR_SUBJECT: 'subject-cleared',
          }[/"keytype":"(\w+)"/.exec(key)![1]!]! + (value === 'null' && key.includes('SCHEMA') ? '-removed' : ''),
    )
  })

  it.each(foreign.filter(([key]) => key.startsWith('{"keytype"') && !/null|NOOP/.test(key)))(
    '[R3] writes %s again byte for byte',
    (key, value) => {
      expect(again(parseRecord(bytes(key), bytes(value))!)).toEqual([key, value])
    },
  )

  it('[R3] puts properties in order whatever order they were given in', () => {
    const line = foreign.find(([key]) => key.includes('"subject":"ruled","version"'))!
    const { metadata, ruleSet, ...rest } = JSON.parse(line[1]) as Record<string, Record<string, unknown>>
    const turned = (value: unknown): unknown =>
      Array.isArray(value)
        ? value.every((one) => typeof one === 'string')
          ? [...(value as string[])].reverse()
          : value.map(turned)
        : value !== null && typeof value === 'object'
          ? Object.fromEntries(
              Object.entries(value)
                .toReversed()
                .map(([name, each]) => [name, turned(each)]),
            )
          : value
    const given = { ...rest, metadata: turned(metadata), ruleSet: turned(ruleSet) } as never
    const written = encodeSchema(given)
    expect([text(written.key), text(written.value)]).toEqual(line)
  })

  it('[R3] names the same key in whatever spelling it came', () => {
    const named = (key: string, value: string) => text(keyOf(parseRecord(bytes(key), bytes(value))!))
    expect(named('{"keytype":"CONFIG","subject":null,"magic":0}', 'null')).toBe('{"keytype":"CONFIG","magic":0}')
    expect(named('{"subject":"k","version":2,"magic":1,"keytype":"SCHEMA"}', 'null')).toBe(
      '{"keytype":"SCHEMA","subject":"k","version":2,"magic":1}',
    )
  })

  it('[R3] what it does not know is kept; where the record stood is not', () => {
    const value =
      '{"subject":"s","version":1,"id":1,"schema":"\\"int\\"","deleted":false,"later":{"a":1},"offset":7,"ts":9}'
    const read = parseRecord(bytes('{"keytype":"SCHEMA","subject":"s","version":1,"magic":1}'), bytes(value))!
    expect(read.kind === 'schema' && text(encodeSchema({ ...read.version, deleted: true }).value)).toBe(
      '{"subject":"s","version":1,"id":1,"schema":"\\"int\\"","deleted":true,"later":{"a":1}}',
    )
  })

  it('[R1] the highest id is kept per context under a name that no subject may have', () => {
    for (const context of ['.', '.staging']) {
      const { key, value } = encodeIdsUsed(context, 12, true)
      expect(parseRecord(key, value)).toEqual({ kind: 'ids-used', context, id: 12, set: true })
      expect(isReservedSubject((JSON.parse(text(key)) as { subject: string }).subject)).toBe(true)
    }
    expect(isReservedSubject('orders-value')).toBe(false)
  })

  it.each(linesOf('malformed.tsv'))('[R3] %s with %s is in no format', (key, value) => {
    expect(parseRecord(bytes(key), bytes(value))).toBeNull()
  })

  it('[R3] bytes that are no text are in no format', () => {
    const noText = new Uint8Array([0x7b, 0xff, 0xfe])
    expect(parseRecord(noText, null)).toBeNull()
    expect(parseRecord(bytes('{"keytype":"NOOP","magic":0}'), noText)).toBeNull()
  })
})
