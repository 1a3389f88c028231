/** Random SQL expressions over the fields of rows.ts, as text. Many do not bind; the suite counts those that do. */

/** Draws expressions by family. */
export class ExpressionGenerator {
  readonly #next: () => number
  constructor(next: () => number) {
    this.#next = next
  }

  #pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.#next() * list.length)]!
  }

  /** An expression of any family. */
  any(depth: number): string {
    return this.#pick([() => this.number(depth), () => this.boolean(depth), () => this.text(depth)])()
  }

  number(depth: number): string {
    if (depth <= 0) {
      return this.#pick([
        'i',
        'j',
        'm',
        'q',
        'd',
        'i',
        'j',
        'm',
        '0',
        '1',
        '-1',
        '2',
        '7',
        '1.5',
        '-0.05',
        '0.125',
        '1e0',
        '2.5e0',
        '3600000',
        '9007199254740993',
        'NULL',
      ])
    }
    const n = () => this.number(depth - 1)
    return this.#pick([
      () => `(${n()} ${this.#pick(['+', '-', '*', '/', '//', '%'])} ${n()})`,
      () => `(${n()} ${this.#pick(['+', '-', '*'])} ${n()})`,
      () => `(-${n()})`,
      () => `${this.#pick(['abs', 'floor', 'ceil', 'round', 'trunc'])}(${n()})`,
      () => `round(${n()}, ${this.#pick(['0', '1', '2'])})`,
      () =>
        `CASE WHEN ${this.boolean(depth - 1)} THEN ${n()} WHEN ${this.boolean(depth - 1)} THEN ${n()} ELSE ${n()} END`,
      () => `CASE WHEN ${this.boolean(depth - 1)} THEN ${n()} END`,
      () => `coalesce(${n()}, ${n()})`,
      () => `nullif(${n()}, ${n()})`,
      () => `${this.#pick(['greatest', 'least'])}(${n()}, ${n()}, ${n()})`,
      () =>
        `CAST(${n()} AS ${this.#pick(['TINYINT', 'SMALLINT', 'INTEGER', 'BIGINT', 'DOUBLE', 'DECIMAL(18,3)', 'DECIMAL(5,1)', 'DECIMAL(38,4)', 'DECIMAL(9,0)'])})`,
      () => `CAST(${this.boolean(depth - 1)} AS ${this.#pick(['INTEGER', 'BIGINT', 'DOUBLE'])})`,
      () => `${this.#pick(['length', 'strlen'])}(${this.text(depth - 1)})`,
    ])()
  }

  boolean(depth: number): string {
    if (depth <= 0) return this.#pick(['b', 'b', 'true', 'false', 'NULL', 'i > 0', 'm IS NULL', "s = 'a'", 'd < 1'])
    const b = () => this.boolean(depth - 1)
    const n = () => this.number(depth - 1)
    const t = () => this.text(depth - 1)
    const compare = () => this.#pick(['=', '<>', '<', '<=', '>', '>='])
    return this.#pick([
      () => `(${n()} ${compare()} ${n()})`,
      () => `(${t()} ${compare()} ${t()})`,
      () => `(${b()} ${compare()} ${b()})`,
      () => `(${b()} AND ${b()})`,
      () => `(${b()} OR ${b()} OR ${b()})`,
      () => `(NOT ${b()})`,
      () => `(${this.any(depth - 1)} IS ${this.#pick(['', 'NOT '])}NULL)`,
      () => `(${n()} ${this.#pick(['', 'NOT '])}IN (${n()}, ${n()}, 1))`,
      () => `(${t()} ${this.#pick(['', 'NOT '])}IN ('a', ${t()}))`,
      () => `(${n()} BETWEEN ${n()} AND ${n()})`,
      () =>
        `(${t()} ${this.#pick(['LIKE', 'NOT LIKE'])} ${this.#pick(["'a%'", "'%b'", "'%é%'", "'ab'", "'%'", "''", "'%x%'"])})`,
      () =>
        `${this.#pick(['starts_with', 'ends_with', 'contains'])}(${t()}, ${this.#pick(["'a'", "''", "'😀'", "'ab'"])})`,
      () => `CAST(${n()} AS BOOLEAN)`,
    ])()
  }

  text(depth: number): string {
    if (depth <= 0) return this.#pick(['s', 't', 's', 't', "'a'", "''", "'é😀'", "'it''s'"])
    const t = () => this.text(depth - 1)
    return this.#pick([
      () => `(${t()} || ${t()})`,
      () => `concat(${t()}, ${t()}, ${t()})`,
      () => `substr(${t()}, ${this.#pick(['1', '2', '3'])}, ${this.#pick(['0', '1', '2', '9'])})`,
      () => `substr(${t()}, 2)`,
      () => `left(${t()}, ${this.#pick(['0', '1', '3'])})`,
      () => `CASE WHEN ${this.boolean(depth - 1)} THEN ${t()} ELSE ${t()} END`,
      () => `coalesce(${t()}, ${t()})`,
      () => `nullif(${t()}, ${t()})`,
      () => `CAST(${this.#pick(['i', 'j', 'm', 'q', 'b', '(i + 1)', '(m * 2)'])} AS VARCHAR)`,
    ])()
  }
}
