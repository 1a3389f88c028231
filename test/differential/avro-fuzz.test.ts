/**
 * Malformed schemas: whatever the text, `parseAvro` answers with a schema or a SchemaProblem, and what it accepts prints,
 * parses again to the same, normalises once and for all, and reads itself. Nothing is kept of what is gone.
 *
 * Method: valid schemas (drawn, and those of the vectors) are damaged as text (characters lost, doubled, put in, two texts
 * spliced) and as JSON (parts replaced by any other part or by nonsense, keys renamed, doubled, lost).
 * `RUNS_MULTIPLIER=25` makes 100,000 texts of it.
 */
import { readFileSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { compareNodes, normalizeAvro, parseAvro, printAvro } from '#format/avro-compatibility.ts'
import { canonicalForm } from '#format/avro-fingerprint.ts'
import { SchemaProblem } from '#format/avro-schema.ts'
import { isGate, random, runs } from '#testkit/runs.ts'
import { drawPair } from './avro-pairs.ts'

const { seed, numRuns } = runs(4_000, 'malformed schemas')
const draw = random(seed)
const below = (count: number): number => Math.floor(draw() * count)
const pick = <T>(of: readonly T[]): T => of[below(of.length)]!

const vectors = JSON.parse(
  readFileSync(new URL('../../lib/format/avro-compatibility.vectors.json', import.meta.url), 'utf8'),
) as { reader: unknown }[]

const PIECES = [
  ...Array.from('{}[]",:\\\u0000\u001f\ud800é0-e.'),
  '/*',
  '*/',
  '//',
  '\n',
  '1e999',
  '-0',
  '1e308',
  '9223372036854775808',
  '"type":',
  '"name":"R",',
  '"__proto__":',
  '"R"',
  'null',
  'true',
  '\\u0000',
  '"\\ud800"',
  '['.repeat(300),
  '{"a":'.repeat(300),
]
const NONSENSE: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  1e308,
  '',
  '.',
  'a..b',
  '__proto__',
  'constructor',
  'int',
  'record',
  'R',
  [],
  {},
  [[]],
  { type: null },
  { type: { type: { type: 'int' } } },
  ['null', 'null'],
  { type: 'record', name: 'R', fields: [{ name: 'r', type: 'R' }] },
  { type: 'array', items: 'null' },
  { type: 'fixed', name: 'F', size: 1e10 },
  { type: 'enum', name: 'E', symbols: ['A', 'A'] },
  'x'.repeat(5_000),
]
const KEYS =
  'type name namespace fields items values symbols size default aliases order doc logicalType precision scale __proto__'.split(
    ' ',
  )

const validText = (): string => JSON.stringify(draw() < 0.8 ? drawPair(draw).reader : pick(vectors).reader)

function damageText(text: string): string {
  let damaged = text
  for (let edits = 1 + below(4); edits > 0; edits--) {
    const at = below(damaged.length + 1)
    const until = Math.min(damaged.length, at + below(6))
    const replaced = draw()
    if (replaced < 0.3) damaged = damaged.slice(0, at) + damaged.slice(until)
    else if (replaced < 0.6) damaged = damaged.slice(0, at) + pick(PIECES) + damaged.slice(at)
    else if (replaced < 0.8) damaged = damaged.slice(0, until) + damaged.slice(at)
    else if (replaced < 0.9) damaged = damaged.slice(0, at)
    else damaged = damaged.slice(0, at) + validText().slice(below(20))
  }
  return damaged
}

/** The text of a JSON value after some of its parts were replaced; a doubled key can only be written, not held. */
function damageJson(json: unknown, share: number, parts: readonly unknown[]): string {
  if (draw() < share) return JSON.stringify(draw() < 0.5 ? pick(NONSENSE) : pick(parts))
  if (Array.isArray(json)) {
    const items = json.map((item) => damageJson(item, share, parts)).filter(() => draw() > share / 2)
    if (draw() < share) items.push(JSON.stringify(pick(parts)))
    return `[${items.join(',')}]`
  }
  if (typeof json !== 'object' || json === null) return JSON.stringify(json)
  const entries = Object.entries(json).filter(() => draw() > share / 2)
  const printed = entries.map(
    ([key, item]) => `${JSON.stringify(draw() < share ? pick(KEYS) : key)}:${damageJson(item, share, parts)}`,
  )
  if (draw() < share) printed.push(`"${pick(KEYS)}":${JSON.stringify(pick(NONSENSE))}`)
  return `{${printed.join(',')}}`
}

const partsOf = (json: unknown): unknown[] =>
  typeof json === 'object' && json !== null ? [json, ...Object.values(json).flatMap(partsOf)] : [json]

function damaged(): string {
  const text = validText()
  if (draw() < 0.4) return damageText(text)
  const json = JSON.parse(text) as unknown
  const once = damageJson(json, pick([0.03, 0.1, 0.3]), partsOf(json))
  return draw() < 0.1 ? damageText(once) : once
}

/** Bytes that are still held when everything that can be collected was. */
function heldBytes(): number {
  setFlagsFromString('--expose_gc')
  ;(runInNewContext('gc') as () => void)()
  return process.memoryUsage().heapUsed
}
/** What a run may keep, of caches and compiled code, however long it is. */
const KEPT_BYTES_MAX = 32 * 1024 * 1024

test('[R1] a malformed schema is refused with a reason and nothing else happens', () => {
  let [accepted, refused, slowestMs] = [0, 0, 0]
  const reasons = new Set<string>()
  const heldBefore = heldBytes()
  for (let i = 0; i < numRuns; i++) {
    const text = damaged()
    const from = performance.now()
    try {
      const node = parseAvro(text)
      const printed = printAvro(node)
      expect(printAvro(parseAvro(printed))).toBe(printed)
      const normal = normalizeAvro(node)
      expect(normalizeAvro(parseAvro(normal))).toBe(normal)
      expect(canonicalForm(parseAvro(printed))).toBe(canonicalForm(node))
      expect(compareNodes(node, node)).toEqual([])
      accepted += 1
    } catch (error) {
      if (!(error instanceof SchemaProblem)) throw new Error(`seed ${seed}, text ${i}: ${text}`, { cause: error })
      reasons.add(
        error.message
          .replace(/["':(].*/s, '')
          .replaceAll(/\d+/g, '#')
          .trim(),
      )
      refused += 1
    }
    slowestMs = Math.max(slowestMs, performance.now() - from)
  }
  process.stdout.write(
    `malformed schemas: ${refused} refused for ${reasons.size} reasons, ${accepted} accepted, slowest ${slowestMs.toFixed(1)} ms\n`,
  )
  expect(heldBytes() - heldBefore).toBeLessThan(KEPT_BYTES_MAX)
  if (isGate) {
    expect(refused).toBeGreaterThan(numRuns / 2)
    expect(accepted).toBeGreaterThan(numRuns / 20)
    expect(reasons.size).toBeGreaterThan(25)
  }
})
