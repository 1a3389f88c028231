/**
 * A YAML file with places: every key and value knows its line and column, so that each problem can point at its cause.
 * `Section` is a map with a closed set of keys; asking for a value of the wrong shape reports a problem and gives null.
 */
import { isMap, isScalar, LineCounter, parseDocument, type Scalar, type YAMLMap, type Node as YamlNode } from 'yaml'
import type { DurationMs } from '#core/time.ts'
import { parseDuration } from '#core/time.ts'
import type { Problem } from './definition.ts'
import { didYouMean } from './suggest.ts'

/** A value and where it stands. */
export interface Located {
  readonly text: string
  readonly at: YamlNode
}

/** What to say about a place. */
export interface Finding {
  readonly code: string
  readonly message: string
  readonly advice: string
}

/** One YAML file of a definitions directory; problems are appended to the list it was made with. */
export class YamlFile {
  readonly path: string
  readonly root: YAMLMap | null
  readonly #text: string
  readonly #lines = new LineCounter()
  readonly #problems: Problem[]

  constructor(path: string, text: string, problems: Problem[]) {
    this.path = path
    this.#text = text
    this.#problems = problems
    const document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false })
    for (const error of document.errors) {
      const code = error.code === 'DUPLICATE_KEY' ? 'KEY_DUPLICATE' : 'YAML_SYNTAX'
      this.#add(error.pos[0], {
        code,
        message: error.message,
        advice: code === 'KEY_DUPLICATE' ? 'Remove one.' : 'Fix the YAML syntax.',
      })
    }
    // A doubled key leaves the rest of the file readable, so its other problems are told in the same run.
    const readable = document.errors.every(({ code }) => code === 'DUPLICATE_KEY')
    this.root = readable && isMap(document.contents) ? document.contents : null
    if (this.root === null && document.errors.length === 0) {
      this.#add(0, { code: 'VALUE_TYPE', message: 'the file is no map of keys', advice: 'Write key: value lines.' })
    }
  }

  /** Reports a problem at a node (or, with null, about the file); `shift` moves on by that many characters inside it. */
  problem(at: YamlNode | null, finding: Finding, shift = 0): void {
    const range = at?.range ?? null
    const last = range === null ? 0 : Math.max(range[0], range[1] - 1)
    this.#add(at === null || range === null ? null : Math.min(range[0] + this.#shiftInside(at, shift), last), finding)
  }

  /** Characters from a scalar's start to its text's `shift`-th character: quotes count, and block scalars begin on the next line. */
  #shiftInside(at: YamlNode, shift: number): number {
    if (shift <= 0 || !isScalar(at)) return 0
    if (at.type === 'PLAIN') return shift
    return at.type === 'QUOTE_SINGLE' || at.type === 'QUOTE_DOUBLE' ? shift + 1 : 0
  }

  #add(offset: number | null, { code, message, advice }: Finding): void {
    const place = offset === null ? null : this.#lines.linePos(Math.min(offset, this.#text.length))
    const line = place === null ? null : Math.max(1, place.line)
    const column = place === null ? null : Math.max(1, place.col)
    this.#problems.push({ file: this.path, line, column, code, message, advice })
  }
}

/** A YAML map of which the keys are known. Unknown keys are reported at once. */
export class Section {
  readonly file: YamlFile
  readonly map: YAMLMap
  readonly #what: string

  constructor(file: YamlFile, map: YAMLMap, what: string, keys: readonly string[] | null) {
    this.file = file
    this.map = map
    this.#what = what
    if (keys === null) return
    for (const [name, at] of this.#keys()) {
      if (keys.includes(name)) continue
      file.problem(at, {
        code: 'KEY_UNKNOWN',
        message: `${what} has no key ${name}${didYouMean(name, keys)}`,
        advice: `Keys: ${keys.join(', ')}.`,
      })
    }
  }

  *#keys(): Generator<[string, YamlNode]> {
    for (const { key } of this.map.items) if (isScalar(key)) yield [String(key.value), key]
  }

  /** The value of a key, or null; a missing required one is a problem. */
  #value(key: string, required: boolean): YamlNode | null {
    const value = this.map.get(key, true) as YamlNode | undefined
    if (value !== undefined && value !== null && !(isScalar(value) && value.value === null)) return value
    if (required) {
      this.file.problem(this.map, {
        code: 'KEY_MISSING',
        message: `${this.#what} needs the key ${key}`,
        advice: `Add ${key}: ….`,
      })
    }
    return null
  }

  #wrong(at: YamlNode, key: string, expected: string): null {
    this.file.problem(at, { code: 'VALUE_TYPE', message: `${key} is not ${expected}`, advice: `Write ${expected}.` })
    return null
  }

  has(key: string): boolean {
    return this.map.has(key)
  }

  /** The node of a value (or the map when absent), for problems about it. */
  at(key: string): YamlNode {
    return (this.map.get(key, true) as YamlNode | undefined) ?? this.map
  }

  /** A text; numbers and booleans are taken as they are spelled. */
  text(key: string, required = false): Located | null {
    const value = this.#value(key, required)
    if (value === null) return null
    return isScalar(value) ? located(value) : this.#wrong(value, key, 'a text')
  }

  /** A name by the rule for names. */
  name(key: string): Located | null {
    const value = this.text(key, true)
    return value === null || this.checkName(value.text, value.at, key) ? value : null
  }

  /** Whether the text is a name; reports it if not. */
  checkName(text: string, at: YamlNode, what: string): boolean {
    if (/^[a-z][a-z0-9_]{0,62}$/.test(text)) return true
    this.file.problem(at, {
      code: 'NAME_INVALID',
      message: `${JSON.stringify(text)} is no name for a ${what}`,
      advice: 'Use a to z, 0 to 9 and _, starting with a letter, at most 63 characters.',
    })
    return false
  }

  /** A duration such as `90s`. `fallback` when the key is absent; null when it is wrong. */
  duration<T extends DurationMs | null>(key: string, fallback: T): DurationMs | T | null {
    const value = this.text(key)
    if (value === null) return this.has(key) && this.#value(key, false) !== null ? null : fallback
    const duration = parseDuration(value.text)
    if (duration !== null) return duration
    this.file.problem(value.at, {
      code: 'DURATION_INVALID',
      message: `${key}: ${value.text} is no duration`,
      advice: 'Write a whole number and a unit: 250ms, 30s, 15m, 6h, 7d or 1w.',
    })
    return null
  }

  /** A number within bounds; `fallback` when absent, null when wrong. */
  number(
    key: string,
    bounds: { min: number; max: number; whole: boolean; fallback: number | null; required?: boolean },
  ): number | null {
    const value = this.#value(key, bounds.required ?? false)
    if (value === null) return bounds.fallback
    const number = isScalar(value) ? value.value : null
    const fits =
      typeof number === 'number' &&
      number >= bounds.min &&
      number <= bounds.max &&
      (!bounds.whole || Number.isInteger(number))
    if (fits) return number
    const range =
      bounds.max === Number.MAX_SAFE_INTEGER ? `of at least ${bounds.min}` : `from ${bounds.min} to ${bounds.max}`
    this.file.problem(value, {
      code: 'VALUE_RANGE',
      message: `${key} is not a${bounds.whole ? ' whole' : ''} number ${range}`,
      advice: `Write a number ${range}.`,
    })
    return null
  }

  /** A map with known keys (null: any keys). */
  section(key: string, keys: readonly string[] | null, required = false): Section | null {
    const value = this.#value(key, required)
    if (value === null) return null
    if (!isMap(value)) return this.#wrong(value, key, 'a map')
    return new Section(this.file, value as YAMLMap, key, keys)
  }

  /** Whether the value is a map. */
  isMap(key: string): boolean {
    return isMap(this.map.get(key, true))
  }

  /** The entries of a map of names to expressions, in order; wrong ones are reported and left out. */
  expressions(key: string, what: string, required = false): { name: string; at: YamlNode; sql: Located }[] {
    const section = this.section(key, null, required)
    const entries: { name: string; at: YamlNode; sql: Located }[] = []
    if (section === null) return entries
    for (const [name, at] of section.#keys()) {
      if (entries.some((entry) => entry.name === name)) continue
      // `{ total: sum(x::DECIMAL(18,2)) }`: to YAML the comma ends the expression, and its rest is a key without a value.
      if (name.includes(')') && section.#value(name, false) === null) {
        this.file.problem(at, {
          code: 'EXPRESSION_CUT',
          message: `${JSON.stringify(name)} is the rest of an expression that a comma has cut`,
          advice: 'Inside { } put the expression into quotes, or write one expression per line.',
        })
        continue
      }
      const sql = section.text(name, true)
      if (sql !== null && this.checkName(name, at, what)) entries.push({ name, at, sql })
    }
    return entries
  }
}

const located = (scalar: Scalar): Located => ({
  text: typeof scalar.value === 'string' ? scalar.value : (scalar.source ?? String(scalar.value)),
  at: scalar as YamlNode,
})
