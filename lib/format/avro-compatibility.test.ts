/**
 * Compatibility by the Avro specification. Vectors: avro-compatibility.vectors.json, each with the rule of the specification
 * that it shows, what the reader says to the writer, and (`reverse`) the same with their roles changed; each was compared
 * with the checker of Avro 1.12 on the JVM, and a `note` says where that one answers otherwise and why.
 * Other implementations as oracles: test/differential/avro-resolution.test.ts.
 */
import { readFileSync } from 'node:fs'
import avro from 'avsc'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SEED } from '#testkit/runs.ts'
import { compareNodes, parseAvro } from './avro-compatibility.ts'

interface Vector {
  readonly rule: string
  readonly name: string
  readonly reader: unknown
  readonly writer: unknown
  readonly expect: readonly (readonly [string, string])[]
  readonly reverse?: readonly (readonly [string, string])[]
  readonly note?: string
}
const vectors = JSON.parse(
  readFileSync(new URL('./avro-compatibility.vectors.json', import.meta.url), 'utf8'),
) as readonly Vector[]
const compare = (reader: string, writer: string) => compareNodes(parseAvro(reader), parseAvro(writer))
const text = (schema: unknown): string => JSON.stringify(schema)
const record = (...fields: unknown[]): string => text({ type: 'record', name: 'R', fields })

describe('compareNodes', () => {
  it.each(vectors.map((vector) => [vector.rule, vector.name, vector] as const))(
    '[R2] %s: %s',
    (_rule, _name, vector) => {
      const reasons = (reader: unknown, writer: unknown) =>
        compare(text(reader), text(writer)).map(({ type, path }) => [type, path])
      expect(reasons(vector.reader, vector.writer)).toEqual(vector.expect)
      if (vector.reverse !== undefined) expect(reasons(vector.writer, vector.reader)).toEqual(vector.reverse)
    },
  )

  it('[R2] has 300 vectors at least, each of another pair of schemas and another name under its rule', () => {
    expect(vectors.length).toBeGreaterThanOrEqual(300)
    expect(new Set(vectors.map(({ rule, name }) => `${rule}: ${name}`)).size).toBe(vectors.length)
    expect(new Set(vectors.map(({ reader, writer }) => text([reader, writer]))).size).toBe(vectors.length)
  })

  it("[R2] words its reasons as Avro's checker does", () => {
    const reasons = (reader: unknown, writer: unknown) =>
      compare(text(reader), text(writer)).map(({ message }) => message)
    expect(reasons('int', 'string')).toEqual(['reader type: INT not compatible with writer type: STRING'])
    expect(reasons(['null', 'int'], 'string')).toEqual(['reader union lacking writer type: STRING'])
    const fixed = (name: string, size: number) => ({ type: 'fixed', name, size })
    expect(reasons(fixed('F', 8), fixed('F', 4))).toEqual(['expected: 4, found: 8'])
    expect(reasons(fixed('F', 4), { ...fixed('G', 4), namespace: 'n' })).toEqual(['expected: n.G'])
    const symbols = (...list: string[]) => ({ type: 'enum', name: 'E', symbols: list })
    expect(reasons(symbols('A'), symbols('A', 'C', 'B'))).toEqual(['[B, C]'])
    const decimal = (precision: number, scale: number) => ({ type: 'bytes', logicalType: 'decimal', precision, scale })
    expect(reasons(decimal(9, 3), decimal(9, 2))).toEqual([
      'reader type: decimal(9, 3) not compatible with writer type: decimal(9, 2)',
    ])
    expect(reasons(decimal(9, 3), 'bytes')).toEqual([
      'reader type: decimal(9, 3) not compatible with writer type: BYTES',
    ])
    const long = (logicalType: string) => ({ type: 'long', logicalType })
    expect(reasons(long('timestamp-micros'), ['null', long('timestamp-millis')])).toEqual([
      'reader type: LONG not compatible with writer type: NULL',
      'reader type: timestamp-micros not compatible with writer type: timestamp-millis',
    ])
  })

  it('[R2] ends on records that hold each other twice, sixty deep', () => {
    const chain = (leaf: string): string => {
      let type: unknown = { type: 'record', name: 'R0', fields: [{ name: 'x', type: leaf }] }
      for (let i = 1; i < 60; i++) {
        const again = `R${i - 1}`
        type = {
          type: 'record',
          name: `R${i}`,
          fields: [
            { name: 'a', type },
            { name: 'b', type: ['null', again] },
            { name: 'c', type: { type: 'array', items: again } },
          ],
        }
      }
      return text(type)
    }
    expect(compare(chain('long'), chain('int'))).toEqual([])
    expect(compare(chain('int'), chain('long')).length).toBeGreaterThan(0)
  })

  it('[R2] refuses two cycles that unroll into more pairs of records than the stack would hold', () => {
    const cycle = (length: number): string => {
      const to = (i: number) => ['null', i === 0 ? 'top.R' : `n${i}.R`]
      const fields = Array.from({ length: length - 1 }, (_, i) => ({
        name: `d${length}x${i}`,
        type: ['null', { type: 'record', name: `n${i + 1}.R`, fields: [{ name: 'f', type: to(i) }] }],
        default: null,
      }))
      return text({
        type: 'record',
        name: 'R',
        namespace: 'top',
        fields: [...fields, { name: 'f', type: to(length - 1) }],
      })
    }
    expect(compare(cycle(15), cycle(16))).toEqual([])
    expect(() => compare(cycle(400), cycle(399))).toThrow(/more than 256 pairs of records/)
  })

  it('[R2] refuses unions of many records of one name, which need millions of comparisons', () => {
    const tangle = (leaf: string): string => {
      const names = Array.from({ length: 120 }, (_, i) => `n${i}.R`)
      const fields = names.map((name, i) => ({
        name: `d${i}`,
        type: { type: 'record', name, fields: [{ name: 'f', type: leaf }] },
      }))
      const tops = names.map((_, i) => ({
        name: `t${i}`,
        type: { type: 'record', name: `m${i}.T`, fields: [{ name: 'u', type: [...names] }] },
      }))
      const unions = [{ name: 'u', type: tops.map(({ type }) => type.name) }]
      return record(...fields, ...tops, ...unions)
    }
    expect(() =>
      compare(
        tangle('int'),
        tangle('string').replaceAll(/"[nm](?=\d)/g, (quoted) => `${quoted}x`),
      ),
    ).toThrow(/more than 1000000 comparisons/)
  })

  it('[R2] never allows what avsc cannot resolve', () => {
    const leaf = fc.constantFrom<unknown>('null', 'int', 'long', 'float', 'double', 'string', 'bytes', 'boolean')
    const field = fc.record({
      name: fc.constantFrom('a', 'b', 'c'),
      nullable: fc.boolean(),
      type: leaf,
      hasDefault: fc.boolean(),
    })
    const schema = fc.uniqueArray(field, { selector: ({ name }) => name, maxLength: 3 }).map((fields) =>
      record(
        ...fields.map(({ name, type, nullable, hasDefault }) => ({
          name,
          type: nullable && type !== 'null' ? ['null', type] : { type: 'array', items: type === 'null' ? 'int' : type },
          ...(hasDefault ? { default: nullable && type !== 'null' ? null : [] } : {}),
        })),
      ),
    )
    const seed = SEED
    let allowed = 0
    fc.assert(
      fc.property(schema, schema, (reader, writer) => {
        if (compare(reader, writer).length > 0) return
        allowed += 1
        const readerType = avro.Type.forSchema(JSON.parse(reader))
        readerType.createResolver(avro.Type.forSchema(JSON.parse(writer)))
      }),
      { seed, numRuns: 500 },
    )
    expect(allowed, `seed ${seed}`).toBeGreaterThan(20)
  })
})
