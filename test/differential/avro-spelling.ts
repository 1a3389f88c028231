/**
 * One schema, spelled in another of the ways that JSON and Avro allow: attributes in any order, unknown ones and documentation
 * and comments among them, numbers and strings in odd spellings, names whole or split into name and namespace, primitives as objects.
 */
import type { Random } from './avro-pairs.ts'

type Json = { [key: string]: unknown }

/** Attributes as text, since a parsed number has lost its spelling. */
const UNKNOWN = [
  '"zeta":1.50',
  '"alpha":{"b":1e3,"a":[null,true,-0.0]}',
  '"big":9223372036854775807',
  '"tiny":0.00012',
  '"text":"\\u001f\\u00e9\\/\\u2028"',
  '"__proto__":{}',
  '"java-class":"x"',
  '"max":1.7976931348623157e308',
  '"seven":1e7',
]
const PRIMITIVES = new Set('null boolean int long float double bytes string'.split(' '))

/** The schema's text in a spelling of its own. */
export function spell(random: Random, schema: unknown): string {
  const chance = (share: number): boolean => random() < share
  const pick = (of: readonly string[]): string => of[Math.floor(random() * of.length)]!
  const shuffled = (attributes: string[]): string => {
    const order = attributes.map((text) => [random(), text] as const).toSorted(([a], [b]) => a - b)
    const between = chance(0.5) ? pick([' ,\n', ', // so\n', ',/* "{[ */']) : ','
    return `{ ${order.map(([, text]) => text).join(between)} }`
  }
  const unknown = (): string[] => UNKNOWN.filter(() => chance(0.08))
  const named = (json: Json): string[] => {
    const [space, name] = (json['name'] as string).split('.') as [string, string]
    const names = chance(0.5) ? [`"name":"${space}.${name}"`] : [`"name":"${name}"`, `"namespace":"${space}"`]
    return [...names, ...(chance(0.3) ? [`"doc":"d \\u0022 ${name}"`] : [])]
  }
  const field = (json: Json): string => {
    const attributes = [`"name":"${json['name'] as string}"`, `"type":${type(json['type'])}`, ...unknown()]
    if ('default' in json) attributes.push(`"default":${JSON.stringify(json['default'])}`)
    if ('aliases' in json) attributes.push(`"aliases":${JSON.stringify(json['aliases'])}`)
    if (chance(0.4)) attributes.push(`"order":"${pick(['ignore', 'ascending', 'DESCENDING'])}"`)
    if (chance(0.1)) attributes.push('"namespace":"of no meaning here"')
    if (chance(0.2)) attributes.push('"doc":"f"')
    return shuffled(attributes)
  }
  const type = (value: unknown): string => {
    if (Array.isArray(value)) return `[${value.map(type).join(', ')}]`
    if (typeof value === 'string') {
      if (!PRIMITIVES.has(value)) return JSON.stringify(value)
      return chance(0.2) ? shuffled([`"type":"${value}"`, ...unknown()]) : JSON.stringify(value)
    }
    const json = value as Json
    const attributes = [`"type":"${json['type'] as string}"`, ...unknown()]
    if ('items' in json) attributes.push(`"items":${type(json['items'])}`)
    if ('values' in json) attributes.push(`"values":${type(json['values'])}`)
    if ('name' in json) attributes.push(...named(json))
    if ('fields' in json) attributes.push(`"fields":[${(json['fields'] as Json[]).map(field).join(',')}]`)
    for (const key of ['aliases', 'symbols', 'default', 'size', 'logicalType', 'precision', 'scale']) {
      if (key in json) attributes.push(`"${key}":${JSON.stringify(json[key])}`)
    }
    return shuffled(attributes)
  }
  return type(schema)
}
