/**
 * Puts referenced types into a schema: what a registry keeps as several schemas with references becomes one text that stands for
 * itself. Each type is written where its name is met first; later ones keep the name. A name that no definition has is left as it
 * is, so that the parser names it. Numbers keep their source text, as in avro-tree.ts.
 */

type Json = Readonly<Record<string, unknown>>

const PRIMITIVES = new Set(['null', 'boolean', 'int', 'long', 'float', 'double', 'bytes', 'string'])

/** A number that prints as its source: the compiler's library does not know these yet. */
const { isRawJSON, rawJSON } = JSON as unknown as {
  readonly isRawJSON: (value: unknown) => boolean
  readonly rawJSON: (text: string) => unknown
}

/** Parses JSON; a number whose shortest spelling is not its source keeps the source. @throws SyntaxError */
function parseExact(text: string): unknown {
  const keepSource = (_key: string, value: unknown, context: { source?: string }): unknown =>
    typeof value === 'number' && context.source !== undefined && String(value) !== context.source
      ? rawJSON(context.source)
      : value
  return JSON.parse(text, keepSource as Parameters<typeof JSON.parse>[1])
}

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !isRawJSON(value)

const fullName = (name: string, namespace: string): string =>
  name.includes('.') || namespace === '' ? name : `${namespace}.${name}`

const nameOf = (type: Json, namespace: string): string => {
  const own = type['namespace']
  return fullName(String(type['name']), typeof own === 'string' ? own : namespace)
}

/**
 * The schema with the types of `definitions` (schema texts, each a named type) put in where they are used. A schema that uses none
 * comes back as it was, character by character. @throws SyntaxError when a text is no JSON
 */
export function inlineReferences(schema: string, definitions: readonly string[]): string {
  const known = new Map<string, Json>()
  for (const text of definitions) {
    const type = parseExact(text)
    if (isObject(type) && typeof type['name'] === 'string') known.set(nameOf(type, ''), type)
  }
  const defined = new Set<string>()
  let changed = false

  function place(name: string, namespace: string): unknown {
    if (PRIMITIVES.has(name)) return name
    const full = known.has(fullName(name, namespace)) ? fullName(name, namespace) : name
    const type = known.get(full)
    if (defined.has(fullName(name, namespace)) || defined.has(full) || type === undefined) return name
    changed = true
    // A definition without a namespace must not take that of the place where it is put.
    const standing = namespace !== '' && !full.includes('.') ? { ...type, namespace: '' } : type
    return walk(standing, '')
  }

  function walk(type: unknown, namespace: string): unknown {
    if (typeof type === 'string') return place(type, namespace)
    if (Array.isArray(type)) return type.map((branch) => walk(branch, namespace))
    if (!isObject(type)) return type
    switch (type['type']) {
      case 'array':
        return { ...type, items: walk(type['items'], namespace) }
      case 'map':
        return { ...type, values: walk(type['values'], namespace) }
      case 'enum':
      case 'fixed':
        defined.add(nameOf(type, namespace))
        return type
      case 'record':
      case 'error': {
        const full = nameOf(type, namespace)
        defined.add(full)
        const inside = full.slice(0, Math.max(0, full.lastIndexOf('.')))
        const fields = type['fields']
        if (!Array.isArray(fields)) return type
        return {
          ...type,
          fields: fields.map((field) => (isObject(field) ? { ...field, type: walk(field['type'], inside) } : field)),
        }
      }
      default:
        return { ...type, type: walk(type['type'], namespace) }
    }
  }

  const whole = walk(parseExact(schema), '')
  return changed ? JSON.stringify(whole) : schema
}

/** Full names of the types that a schema's text uses without defining them, in the order met. @throws SyntaxError */
export function undefinedNames(schema: string): string[] {
  const missing = new Set<string>()
  const defined = new Set<string>()
  function walk(type: unknown, namespace: string): void {
    if (typeof type === 'string') {
      if (!PRIMITIVES.has(type) && !defined.has(fullName(type, namespace)) && !defined.has(type))
        missing.add(fullName(type, namespace))
    } else if (Array.isArray(type)) for (const branch of type) walk(branch, namespace)
    else if (isObject(type)) walkObject(type, namespace)
  }
  function walkObject(type: Json, namespace: string): void {
    const kind = type['type']
    if (kind === 'array') walk(type['items'], namespace)
    else if (kind === 'map') walk(type['values'], namespace)
    else if (kind === 'enum' || kind === 'fixed') defined.add(nameOf(type, namespace))
    else if (kind === 'record' || kind === 'error') {
      const full = nameOf(type, namespace)
      defined.add(full)
      const inside = full.slice(0, Math.max(0, full.lastIndexOf('.')))
      for (const field of Array.isArray(type['fields']) ? type['fields'] : [])
        if (isObject(field)) walk(field['type'], inside)
    } else walk(kind, namespace)
  }
  walk(parseExact(schema), '')
  return [...missing]
}
