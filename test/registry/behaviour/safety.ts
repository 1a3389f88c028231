/**
 * What ours refuses on purpose and Confluent's takes: schemas that are too large, too deep, too wide, or a trap for whoever decodes.
 * Each refusal says why. Runs only against ours.
 */
import { get, id, type Names, ok, refused, register, type Scenario, scenario, test, versions } from '../scenario.ts'

const nested = (depth: number): string => `${'{"type":"array","items":'.repeat(depth)}"int"${'}'.repeat(depth)}`
const wide = (tag: string, fields: number): string =>
  JSON.stringify({
    type: 'record',
    name: `W${tag}`,
    fields: Array.from({ length: fields }, (_, i) => ({ name: `f${i}`, type: 'int' })),
  })
/** Records that hold one another twice: 2^depth values in next to no byte. */
const doubling = (tag: string, depth: number): string => {
  let inner: unknown = { type: 'record', name: `D${tag}_0`, fields: [{ name: 'x', type: 'null' }] }
  for (let i = 1; i <= depth; i++) {
    inner = {
      type: 'record',
      name: `D${tag}_${i}`,
      fields: [
        { name: 'a', type: inner },
        { name: 'b', type: `D${tag}_${i - 1}` },
      ],
    }
  }
  return JSON.stringify(inner)
}

/** [title, schema, what the refusal speaks of]. */
const REFUSED: readonly (readonly [string, (n: Names) => string, RegExp])[] = [
  [
    'a schema of 300 kB',
    ({ tag }) => JSON.stringify({ type: 'record', name: `R${tag}`, doc: 'x'.repeat(300_000), fields: [] }),
    /262144 bytes/,
  ],
  ['arrays 65 deep', () => nested(65), /64/],
  ['arrays 5,000 deep', () => nested(5_000), /./],
  ['1,001 fields', ({ tag }) => wide(tag, 1_001), /1,?000/],
  ['an array of null', () => '{"type":"array","items":"null"}', /array items take no byte \(at \/items\)/],
  [
    'an array of empty records',
    ({ tag }) => `{"type":"array","items":{"type":"record","name":"Z${tag}","fields":[]}}`,
    /array items take no byte \(at \/items\)/,
  ],
  [
    'a record that holds itself on every way',
    ({ tag }) => `{"type":"record","name":"S${tag}","fields":[{"name":"next","type":"S${tag}"}]}`,
    /no finite value/,
  ],
  ['records that double thirty times', ({ tag }) => doubling(tag, 30), /holds more than|values/],
  ['a fixed of a gigabyte', ({ tag }) => `{"type":"fixed","name":"F${tag}","size":1073741824}`, /./],
  ['a name with a hyphen', ({ tag }) => `{"type":"record","name":"a-${tag}","fields":[]}`, /name/i],
  [
    'a namespace that ends in a dot',
    ({ tag }) => `{"type":"record","name":"R${tag}","namespace":"a.","fields":[]}`,
    /./,
  ],
  [
    'a field name with a dot',
    ({ tag }) => `{"type":"record","name":"R${tag}","fields":[{"name":"a.b","type":"int"}]}`,
    /./,
  ],
]

/** What is large and good stays good. */
const TAKEN: readonly (readonly [string, (n: Names) => string])[] = [
  ['arrays 60 deep', () => nested(60)],
  ['1,000 fields', ({ tag }) => wide(tag, 1_000)],
  [
    'an array of enums, of fixed and of booleans',
    ({ tag }) => `{"type":"array","items":{"type":"enum","name":"E${tag}","symbols":["A"]}}`,
  ],
  [
    'a list that ends in null',
    ({ tag }) =>
      `{"type":"record","name":"L${tag}","fields":[{"name":"next","type":["null","L${tag}"],"default":null}]}`,
  ],
  [
    'a tree in an array',
    ({ tag }) =>
      `{"type":"record","name":"T${tag}","fields":[{"name":"v","type":"int"},{"name":"under","type":{"type":"array","items":"T${tag}"}}]}`,
  ],
]

export const safety: readonly Scenario[] = [
  scenario(
    '[R1] headers larger than the server reads: refused in the words of the registry, and the next is served',
    () => [
      {
        ...get('/subjects', refused(431, 'HTTP 431 Request Header Fields Too Large')),
        headers: { 'x-long': 'y'.repeat(17_000) },
      },
      get('/schemas/types', ok(['AVRO'])),
    ],
  ),
  ...REFUSED.map(([title, schema, reason]) =>
    scenario(`[R1] ${title}: refused with the reason, and nothing is registered`, (n) => [
      register(
        n.s(),
        schema(n),
        refused(42201, new RegExp(`^Invalid schema [\\s\\S]*details: [\\s\\S]*${reason.source}`, reason.flags)),
      ),
      test(n.s(), null, schema(n), refused(42201, /^Invalid schema /)),
      versions(n.s(), refused(40401, `Subject '${n.s()}' not found.`)),
    ]),
  ),
  ...TAKEN.map(([title, schema]) =>
    scenario(`[R1] ${title}: taken`, (n) => [
      register(n.s(), schema(n), ok({ id: id('a') })),
      register(n.s(), schema(n), ok({ id: id('a') })),
      test(n.s(), 'latest', schema(n), ok({ is_compatible: true })),
    ]),
  ),
]
