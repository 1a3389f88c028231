/**
 * A registry of a hundred lines, from the documentation alone: subjects, versions, ids, soft and permanent deletion, levels NONE and
 * BACKWARD. It shares no code with the product. Schemas are numbers: number n is a record with field `f<n>`; two of them never fit.
 */

/** What the API answers, cut to what the model knows. */
export type Outcome = { readonly ok: unknown } | { readonly error: number }

/** An operation on one subject with one schema of a small world. */
export type Operation =
  | { readonly kind: 'register' | 'look-up'; readonly subject: string; readonly schema: number }
  | { readonly kind: 'versions' | 'delete-subject'; readonly subject: string; readonly flag: boolean }
  | { readonly kind: 'delete-version'; readonly subject: string; readonly version: number; readonly flag: boolean }
  | { readonly kind: 'version'; readonly subject: string; readonly version: number | 'latest'; readonly flag: boolean }
  | { readonly kind: 'by-id'; readonly nth: number }
  | { readonly kind: 'level'; readonly subject: string; readonly level: 'NONE' | 'BACKWARD' }
  | { readonly kind: 'subjects'; readonly flag: boolean }

interface Held {
  readonly version: number
  readonly schema: number
  readonly id: number
  deleted: boolean
}

const error = (code: number): Outcome => ({ error: code })

/** The model. Ids are its own, from 1; `ids` holds them in order of allotment for `by-id`. */
export class Model {
  readonly subjects = new Map<string, Held[]>()
  readonly levels = new Map<string, string>()
  readonly ids: number[] = []
  /** Numbers ever given to a subject's versions while it had any. */
  readonly #highest = new Map<string, number>()

  #held(subject: string, deleted: boolean): Held[] {
    return (this.subjects.get(subject) ?? []).filter((held) => deleted || !held.deleted)
  }

  #idOf(schema: number): number {
    for (const held of [...this.subjects.values()].flat()) if (held.schema === schema) return held.id
    const id = this.ids.length + 1
    this.ids.push(id)
    return id
  }

  /** The answer to an operation, which it performs. */
  apply(operation: Operation): Outcome {
    switch (operation.kind) {
      case 'register': {
        const { subject, schema } = operation
        const live = this.#held(subject, false)
        const known = live.find((held) => held.schema === schema)
        if (known !== undefined) return { ok: { id: known.id } }
        if ((this.levels.get(subject) ?? 'BACKWARD') === 'BACKWARD' && live.length > 0) return error(409)
        const version = (this.#highest.get(subject) ?? 0) + 1
        const id = this.#idOf(schema)
        this.#highest.set(subject, version)
        // A soft deleted version of the same schema gives way to the new one.
        const others = this.#held(subject, true).filter((held) => held.schema !== schema)
        this.subjects.set(subject, [...others, { version, schema, id, deleted: false }])
        return { ok: { id } }
      }
      case 'look-up': {
        const live = this.#held(operation.subject, false)
        if (live.length === 0) return error(40401)
        const found = live.find((held) => held.schema === operation.schema)
        return found === undefined ? error(40403) : { ok: { version: found.version, id: found.id } }
      }
      case 'versions': {
        const held = this.#held(operation.subject, operation.flag)
        return held.length === 0 ? error(40401) : { ok: held.map(({ version }) => version) }
      }
      case 'version': {
        const held = this.#held(operation.subject, operation.flag)
        const live = this.#held(operation.subject, false)
        const found =
          operation.version === 'latest' ? live.at(-1) : held.find(({ version }) => version === operation.version)
        if (found !== undefined) return { ok: { version: found.version, id: found.id } }
        return error(held.length === 0 ? 40401 : 40402)
      }
      case 'delete-version': {
        const all = this.#held(operation.subject, true)
        const found = all.find(({ version }) => version === operation.version)
        if (found === undefined) return error(all.length === 0 ? 40401 : 40402)
        if (!operation.flag) {
          if (found.deleted) return error(40406)
          found.deleted = true
          return { ok: found.version }
        }
        if (!found.deleted) return error(40407)
        this.#drop(operation.subject, [found])
        return { ok: found.version }
      }
      case 'delete-subject': {
        const all = this.#held(operation.subject, true)
        const live = this.#held(operation.subject, false)
        if (all.length === 0) return error(40401)
        if (operation.flag) {
          if (live.length > 0) return error(40405)
          this.#drop(operation.subject, all)
          return { ok: all.map(({ version }) => version) }
        }
        if (live.length === 0) return error(40404)
        for (const held of live) held.deleted = true
        return { ok: live.map(({ version }) => version) }
      }
      case 'by-id': {
        const id = this.ids[operation.nth % Math.max(1, this.ids.length)] ?? 0
        const held = [...this.subjects.values()].flat().find((each) => each.id === id)
        return held === undefined ? error(40403) : { ok: { schema: held.schema } }
      }
      case 'level':
        this.levels.set(operation.subject, operation.level)
        return { ok: { compatibility: operation.level } }
      case 'subjects':
        return {
          ok: [...this.subjects.keys()].filter((subject) => this.#held(subject, operation.flag).length > 0).toSorted(),
        }
    }
  }

  #drop(subject: string, gone: readonly Held[]): void {
    const left = this.#held(subject, true).filter((held) => !gone.includes(held))
    this.subjects.set(subject, left)
    // What was highest and is gone without a trace: the documentation leaves open whether its number comes again.
    this.#highest.set(subject, left.at(-1)?.version ?? 0)
    if (left.length === 0) this.levels.delete(subject)
  }
}
