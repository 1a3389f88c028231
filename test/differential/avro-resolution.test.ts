/**
 * Schema resolution against three other implementations, on random pairs and real bytes.
 *
 *   checker (lib/format/avro-compatibility)  ⇔  avsc's resolver, and Avro's own checker on the JVM with type and place
 *          │ yes ⇒ every value is read
 *   reader of the specification (avro-reader.ts)  ⇔  fastavro, value by value
 *
 * Each disagreement belongs to a class of the tables below, which says why; another one fails. A class holds when the
 * answers agree as soon as its cause is taken away (logical types) or put into our reader (a quirk of the other one), so a
 * table cannot hide a disagreement of another kind. `RUNS_MULTIPLIER=34` makes 102,000 pairs of it; the counts of
 * one: test/differential/README.md.
 */
import { isDeepStrictEqual } from 'node:util'
import avsc from 'avsc'
import { afterAll, describe, expect, test } from 'vitest'
import { compareNodes, type Incompatibility, parseAvro, printAvro } from '#format/avro-compatibility.ts'
import { canonicalForm, fingerprint } from '#format/avro-fingerprint.ts'
import type { AvroNode } from '#format/avro-node.ts'
import { SchemaProblem } from '#format/avro-schema.ts'
import { isGate, random, runs } from '#testkit/runs.ts'
import { findAvroJvm, findFastavro } from './avro-oracles.ts'
import { drawBytes, drawPair } from './avro-pairs.ts'
import { type Quirks, readAs, Unreadable, type Word } from './avro-reader.ts'
import { spell } from './avro-spelling.ts'

const { seed, numRuns } = runs(3_000, 'schema resolution')
/** Pairs asked at a time: bounds the memory of a campaign. */
const BATCH = 3_000

interface Pair {
  readonly reader: unknown
  readonly writer: unknown
  readonly readerNode: AvroNode
  readonly writerNode: AvroNode
  readonly found: readonly Incompatibility[]
}

const parse = (schema: unknown): AvroNode => parseAvro(JSON.stringify(schema))
/** The same without logical types. */
const bare = (schema: unknown): AvroNode => parseAvro(JSON.stringify(schema).replaceAll('"logicalType"', '"other"'))

/** The next pair of schemas that are valid, both. */
function nextPair(draw: () => number): Pair {
  for (;;) {
    const { reader, writer } = drawPair(draw)
    try {
      const [readerNode, writerNode] = [parse(reader), parse(writer)]
      return { reader, writer, readerNode, writerNode, found: compareNodes(readerNode, writerNode) }
    } catch (error) {
      if (!(error instanceof SchemaProblem)) throw error
    }
  }
}

/** Calls `check` with all pairs, some at a time; every suite sees the same ones. */
function eachBatch(check: (pairs: Pair[], draw: () => number) => void): void {
  const draw = random(seed)
  for (let left = numRuns; left > 0; left -= BATCH) {
    check(
      Array.from({ length: Math.min(left, BATCH) }, () => nextPair(draw)),
      draw,
    )
  }
}

/** Disagreements by class, and the first few that belong to none. */
class Tally {
  readonly counts: Record<string, number> = {}
  readonly unexplained: string[] = []
  readonly #reasons: Readonly<Record<string, string>>
  agreed = 0
  constructor(reasons: Readonly<Record<string, string>>) {
    this.#reasons = reasons
  }
  add(name: string | null, example: () => unknown): void {
    if (name === null) {
      if (this.unexplained.length < 5) this.unexplained.push(JSON.stringify(example()))
      return
    }
    expect(Object.keys(this.#reasons)).toContain(name)
    this.counts[name] = (this.counts[name] ?? 0) + 1
  }
  close(title: string, common: readonly string[]): void {
    const rows = Object.entries(this.#reasons).map(
      ([name, reason]) => `  ${this.counts[name] ?? 0}\t${name}: ${reason}`,
    )
    process.stdout.write(`${title}: agreed ${this.agreed}; disagreed, by class:\n${rows.join('\n')}\n`)
    expect(this.unexplained).toEqual([])
    // Rare classes need a campaign to come up; the common ones show that the pairs reach what they are drawn for.
    if (isGate) for (const name of common) expect(this.counts[name], name).toBeGreaterThan(0)
  }
}

const LOGICAL =
  'we refuse what would be misread: other digits of a decimal, other units of time; it leaves logical types aside'

const SAME_NAME =
  'of a union we hold to the branch of the same full name, as decoders do; it goes on to another one of the same short name'
/** The reasons when no type of the writer has the full name of one of the reader's: `k` goes before its namespaces. */
function apart({ reader, writer }: Pair): Incompatibility[] {
  const moved = (text: string): string => text.replaceAll(/"([mn]\.[ABC])"/g, '"k$1"')
  const readerText = JSON.stringify(reader).replaceAll('"logicalType"', '"other"')
  const into = readerText.replaceAll(/"aliases":\["[^\]]*\]/g, moved)
  return compareNodes(
    parseAvro(into),
    parse(JSON.parse(moved(JSON.stringify(writer).replaceAll('"logicalType"', '"other"')))),
  )
}

describe('avsc', () => {
  const REASONS = {
    'logical types': LOGICAL,
    'same full name': SAME_NAME,
    'does not take the schema':
      'it takes the default of a union for its first branch only, which the specification no longer asks for',
  }

  test('[R2] its resolver and our checker say the same of every pair', () => {
    const tally = new Tally(REASONS)
    const verdict = ({ reader, writer }: Pair): boolean | null => {
      let types: avsc.Type[]
      try {
        types = [reader, writer].map((schema) => avsc.Type.forSchema(schema as avsc.Schema, { wrapUnions: true }))
      } catch (error) {
        // Its error for a default of a record that is not complete yet fails while it writes the message.
        const { message } = error as Error
        if (/union defaults must match the first branch|reading 'map'/.test(message)) return null
        throw error
      }
      try {
        // Names match by their last part, as the specification says; avsc can do that too.
        types[0]!.createResolver(types[1]!, { ignoreNamespaces: true } as never)
        return true
      } catch {
        return false
      }
    }
    eachBatch((pairs) => {
      for (const pair of pairs) {
        const theirs = verdict(pair)
        const ours = pair.found.length === 0
        if (theirs === ours) tally.agreed += 1
        else if (theirs === null) tally.add('does not take the schema', () => pair)
        else {
          const without = compareNodes(bare(pair.reader), bare(pair.writer)).length === 0
          const other = (apart(pair).length === 0) === theirs ? 'same full name' : null
          tally.add(without === theirs ? 'logical types' : other, () => ({ ours, theirs, ...texts(pair) }))
        }
      }
    })
    tally.close('avsc', ['logical types', 'does not take the schema'])
  })
})

const texts = ({ reader, writer }: Pair) => ({ reader: JSON.stringify(reader), writer: JSON.stringify(writer) })

type Outcome = { word: Word } | { error: string }

/** What our reader makes of the bytes. */
function outcome(reader: AvroNode, writer: AvroNode, bytes: Uint8Array, quirks: Quirks = {}): Outcome {
  try {
    return { word: readAs(reader, writer, bytes, quirks) }
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error
    return { error: error.message }
  }
}

describe('the reader of the specification', () => {
  test('[R2] [R5] reads every value of a writer that the checker allows, unless bytes are no text', () => {
    let [read, refused] = [0, 0]
    eachBatch((pairs, draw) => {
      for (const pair of pairs) {
        const told = outcome(pair.readerNode, pair.writerNode, drawBytes(draw, pair.writerNode))
        const failed = 'error' in told && told.error !== 'not text'
        if (pair.found.length === 0) expect({ failed, ...texts(pair) }).toEqual({ failed: false, ...texts(pair) })
        else if (failed) refused += 1
        read += 1
      }
    })
    process.stdout.write(`values: ${read}; of pairs that the checker refuses, ${refused} cannot be read\n`)
    if (isGate) expect(refused).toBeGreaterThan(200)
  })
})

const fastavro = findFastavro()

describe('fastavro', () => {
  const SINGLE: Readonly<Record<string, Quirks>> = {
    'promoted before same': { promotedBeforeSame: true },
    'first of the name': { firstOfTheName: true },
    'float not rounded': { floatNotRounded: true },
    'default stays text': { defaultStaysText: true },
    'name without kind': { nameWithoutKind: true },
  }
  /** Every way in which several of them meet. */
  const COMBINED: Quirks[] = [{}]
  for (const quirk of Object.values(SINGLE)) COMBINED.push(...COMBINED.map((known) => ({ ...known, ...quirk })))
  const REASONS = {
    'promoted before same':
      'of a union it takes the first branch that the value may be promoted to; we and the JVM take the branch of its own type',
    'first of the name':
      'of a union it takes the first branch of the same short name, or of the same kind, and fails there; we go on to one that reads it',
    'float not rounded': 'an integer read as float keeps digits that no float has',
    'default stays text': 'a default of bytes or fixed comes as text',
    'name without kind': 'it reads a fixed as a record or an enum of the same name',
    'types before values':
      'it compares types first, also where this value (an empty array, another branch) has nothing of them',
    'logical types': LOGICAL,
    'fails inside': 'a KeyError of its own: branches of a union that are named types of several kinds',
    'several at once': 'more than one of these in one value',
  }

  test.skipIf(fastavro.ask === null)(
    `[R2] [R5] reads the same values${fastavro.reason === null ? '' : ` (skipped: ${fastavro.reason})`}`,
    () => {
      const tally = new Tally(REASONS)
      eachBatch((pairs, draw) => {
        const data = pairs.map(({ writerNode }) => [drawBytes(draw, writerNode), drawBytes(draw, writerNode)])
        const questions = pairs.map(({ reader, writer }, i) => ({
          reader,
          writer,
          data: data[i]!.map((bytes) => bytes.toString('hex')),
        }))
        const answers = fastavro.ask!(questions) as { refused?: string; read?: Outcome[] }[]
        for (const [i, pair] of pairs.entries()) {
          for (const [j, bytes] of data[i]!.entries()) {
            const theirs = answers[i]!.read?.[j] ?? { error: `refused: ${answers[i]!.refused}` }
            const ours = outcome(pair.readerNode, pair.writerNode, bytes)
            if (alike(ours, theirs)) tally.agreed += 1
            else
              tally.add(classOf(pair, bytes, theirs), () => ({
                ours,
                theirs,
                ...questions[i],
                data: bytes.toString('hex'),
              }))
          }
        }
      })
      tally.close('fastavro', ['types before values', 'default stays text', 'float not rounded'])
    },
    600_000,
  )

  function classOf(pair: Pair, bytes: Uint8Array, theirs: Outcome): string | null {
    const explains = (reader: AvroNode, writer: AvroNode, quirks: Quirks): boolean =>
      alike(outcome(reader, writer, bytes, quirks), theirs)
    for (const [name, quirks] of Object.entries(SINGLE)) {
      if (explains(pair.readerNode, pair.writerNode, quirks)) return name
    }
    const [reader, writer] = [bare(pair.reader), bare(pair.writer)]
    if (explains(reader, writer, {})) return 'logical types'
    if ('error' in theirs) {
      if (theirs.error.startsWith('KeyError')) return 'fails inside'
      if (
        /^Schema(Resolution)?Error|^SchemaResolutionError/.test(theirs.error) &&
        compareNodes(reader, writer).length > 0
      )
        return 'types before values'
    }
    const several = COMBINED.some(
      (quirks) => explains(pair.readerNode, pair.writerNode, quirks) || explains(reader, writer, quirks),
    )
    return several ? 'several at once' : null
  }
})

const alike = (a: Outcome, b: Outcome): boolean =>
  'word' in a ? 'word' in b && isDeepStrictEqual(plain(a.word), plain(b.word)) : 'error' in b

/** Objects by their keys in order and without a prototype to compare. */
function plain(word: Word): unknown {
  if (Array.isArray(word)) return word.map(plain)
  if (typeof word !== 'object' || word === null) return word
  return Object.entries(word)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, item]) => [key, plain(item)])
}

/** A type is referred to by its name. */
const refersByName = (pair: Pair): boolean =>
  Object.values(texts(pair)).some((text) =>
    [...text.matchAll(/"name":("[mn]\.[ABC]")/g)].some(([, name]) => text.split(name!).length > 2),
  )

const jvm = findAvroJvm()

describe("Avro's own checker", () => {
  const REASONS = {
    'logical types': LOGICAL,
    throws:
      'it throws where a field matches two written ones, also in a branch that nothing would be read by; we say so in its place',
    'cannot parse': 'a default that could be of the record it stands in, whose fields it does not know yet',
    'enum default':
      'of a new enum field without a default it says that the enum is no record; we say that the default lacks',
    'same full name': SAME_NAME,
    'met again':
      'of two types that meet again it repeats what it found at the first place, without the way there when that was a branch, or takes them as readable while it still looks; the verdict is the same',
  }

  test.skipIf(jvm.ask === null)(
    `[R2] finds the same reasons at the same places${jvm.reason === null ? '' : ` (skipped: ${jvm.reason})`}`,
    () => {
      const tally = new Tally(REASONS)
      eachBatch((pairs) => {
        const answers = jvm.ask!(pairs.map(texts)) as { error?: string; found?: [string, string, string][] }[]
        for (const [i, pair] of pairs.entries()) {
          const { error, found: theirs } = answers[i]!
          const ours = pair.found.map(({ type, path, message }) => [type, path, message])
          if (isDeepStrictEqual(ours, theirs)) tally.agreed += 1
          else tally.add(classOf(pair, theirs, error), () => ({ ours, theirs, error, ...texts(pair) }))
        }
      })
      tally.close('JVM', ['logical types', 'met again'])
    },
    600_000,
  )

  test.skipIf(jvm.ask === null)(
    `[R1] [R2] prints the same text, canonical form and fingerprint of any spelling${jvm.reason === null ? '' : ` (skipped: ${jvm.reason})`}`,
    () => {
      let printed = 0
      eachBatch((pairs, draw) => {
        const spelled = pairs.map(({ reader }) => spell(draw, reader))
        const answers = jvm.ask!(spelled.map((schema) => ({ schema, references: [] }))) as Record<string, string>[]
        for (const [i, schema] of spelled.entries()) {
          const theirs = answers[i]!
          if (theirs['error']?.includes('Schema fields not set yet') === true) continue
          const node = parseAvro(schema)
          const canonical = canonicalForm(node)
          const ours = { printed: printAvro(node), canonical, crc: fingerprint(canonical, 'CRC-64-AVRO') }
          if (!isDeepStrictEqual(ours, theirs)) expect({ schema, ...ours }).toEqual({ schema, ...theirs })
          printed += 1
        }
      })
      process.stdout.write(`printed alike: ${printed}\n`)
      expect(printed).toBeGreaterThan(numRuns * 0.99)
    },
    600_000,
  )

  function classOf(
    pair: Pair,
    theirs: [string, string, string][] | undefined,
    error: string | undefined,
  ): string | null {
    if (theirs === undefined) {
      if (error?.includes('matches multiple fields') === true) return 'throws'
      return error?.includes('Schema fields not set yet') === true ? 'cannot parse' : null
    }
    const without = compareNodes(bare(pair.reader), bare(pair.writer)).map(({ type, path, message }) => [
      type,
      path,
      message,
    ])
    if (isDeepStrictEqual(without, theirs)) return 'logical types'
    const elsewhere = apart(pair).map(({ type, path, message }) => [
      type,
      path,
      message.replaceAll('expected: k', 'expected: '),
    ])
    if (isDeepStrictEqual(elsewhere, theirs)) return 'same full name'
    const placeless = (reasons: readonly (readonly string[])[]) =>
      reasons.map(([type, , message]) => `${type} ${message}`)
    const ours = new Set(placeless([...without, ...elsewhere]))
    const more = placeless(theirs).filter((reason) => !ours.has(reason))
    if (more.length > 0) {
      return more.every((reason) => reason.endsWith('ENUM not compatible with writer type: RECORD'))
        ? 'enum default'
        : null
    }
    return refersByName(pair) && theirs.length > 0 === without.length > 0 ? 'met again' : null
  }
})

afterAll(() => process.stdout.write(`schema resolution: ${numRuns} pairs\n`))
