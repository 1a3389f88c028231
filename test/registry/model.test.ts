/**
 * Goal: over any sequence of operations the registry answers as the model of the documentation, and at any concurrency its numbers
 * hold: a schema has one id, ids only grow, a subject's versions have no gap.
 * Method: random sequences in a small world, so that subjects and schemas meet often; the model's ids are translated on first sight.
 */
import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { runs } from '#testkit/runs.ts'
import { Model, type Operation, type Outcome } from './model.ts'
import { openPlace, type RegistryPlace } from './place.ts'
import { Names, V1_JSON } from './scenario.ts'

const SUBJECTS = ['x', 'y', 'z']
const SCHEMAS = 4

const subject = fc.constantFrom(...SUBJECTS)
const schema = fc.integer({ min: 0, max: SCHEMAS - 1 })
const flag = fc.boolean()
const number = fc.integer({ min: 1, max: 5 })
const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('register' as const), subject, schema }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('look-up' as const), subject, schema }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('versions' as const), subject, flag }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('version' as const),
      subject,
      version: fc.oneof(number, fc.constant('latest' as const)),
      flag,
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('delete-version' as const), subject, version: number, flag }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('delete-subject' as const), subject, flag }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('by-id' as const), nth: fc.nat({ max: 20 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('level' as const),
      subject,
      level: fc.constantFrom('NONE' as const, 'NONE' as const, 'BACKWARD' as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('subjects' as const), flag }) },
)

let place: RegistryPlace
let worlds = 0
beforeAll(async () => {
  place = await openPlace()
})
afterAll(async () => place?.close())

async function ask(method: string, path: string, body?: unknown): Promise<{ status: number; body: unknown }> {
  const response = await fetch(`${place.url}${path}`, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': V1_JSON } }),
  })
  return { status: response.status, body: await response.json() }
}

/** One world: names of its own, and the real ids of the model's. */
class World {
  readonly names = new Names(worlds++)
  readonly real = new Map<number, number>()
  highest = 0

  schema = (n: number): string => this.names.rec(`S${n}`, [`f${n}`, 'string'])

  /** Performs an operation on the registry; the answer in the model's words. */
  async perform(operation: Operation, model: Model): Promise<Outcome> {
    const { s, tag } = this.names
    const of = (name: string) => encodeURIComponent(s(name))
    const flagged = (query: string, on: boolean) => (on ? `?${query}=true` : '')
    switch (operation.kind) {
      case 'register': {
        const answer = await ask('POST', `/subjects/${of(operation.subject)}/versions`, this.#body(operation))
        // Confluent's releases differ in what stands beside the id.
        const { id } = answer.body as { id: number }
        return this.#told(answer.status === 200 ? { status: 200, body: { id } } : answer, model)
      }
      case 'look-up':
        return this.#told(await ask('POST', `/subjects/${of(operation.subject)}`, this.#body(operation)), model)
      case 'versions':
        return this.#told(
          await ask('GET', `/subjects/${of(operation.subject)}/versions${flagged('deleted', operation.flag)}`),
          model,
        )
      case 'version':
        return this.#told(
          await ask(
            'GET',
            `/subjects/${of(operation.subject)}/versions/${operation.version}${flagged('deleted', operation.flag)}`,
          ),
          model,
        )
      case 'delete-version':
        return this.#told(
          await ask(
            'DELETE',
            `/subjects/${of(operation.subject)}/versions/${operation.version}${flagged('permanent', operation.flag)}`,
          ),
          model,
        )
      case 'delete-subject':
        return this.#told(
          await ask('DELETE', `/subjects/${of(operation.subject)}${flagged('permanent', operation.flag)}`),
          model,
        )
      case 'by-id': {
        const wanted = model.ids[operation.nth % Math.max(1, model.ids.length)]
        const answer = await ask('GET', `/schemas/ids/${(wanted === undefined ? 0 : this.real.get(wanted)) ?? 0}`)
        if (answer.status !== 200) return this.#told(answer, model)
        const text = (answer.body as { schema: string }).schema
        return { ok: { schema: Array.from({ length: SCHEMAS }, (_, n) => this.schema(n)).indexOf(text) } }
      }
      case 'level':
        return this.#told(
          await ask('PUT', `/config/${of(operation.subject)}`, { compatibility: operation.level }),
          model,
        )
      case 'subjects': {
        const { body } = await ask('GET', `/subjects?subjectPrefix=${tag}${operation.flag ? '&deleted=true' : ''}`)
        return { ok: (body as string[]).map((name) => name.slice(tag.length + 1)) }
      }
    }
  }

  #body = (operation: { readonly schema: number }) => ({ schema: this.schema(operation.schema) })

  /** The model's id of a real one; a new real id must be the highest so far. */
  #id(real: number, model: Model): number {
    for (const [mine, known] of this.real) if (known === real) return mine
    expect(real, 'ids only grow').toBeGreaterThan(this.highest)
    this.highest = real
    this.real.set(model.ids.length, real)
    return model.ids.length
  }

  #told({ status, body }: { status: number; body: unknown }, model: Model): Outcome {
    if (status !== 200) return { error: (body as { error_code: number }).error_code }
    if (typeof body !== 'object' || body === null || Array.isArray(body)) return { ok: body }
    const { id, version, compatibility } = body as Record<string, unknown>
    return {
      ok: {
        ...(version === undefined ? {} : { version }),
        ...(compatibility === undefined ? {} : { compatibility }),
        ...(id === undefined ? {} : { id: this.#id(id as number, model) }),
      },
    }
  }
}

it('[R1] any sequence of operations is answered as the model of the documentation answers', async () => {
  const met = { refusals: 0, reborn: 0 }
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 10, maxLength: 60 }), async (operations) => {
      const world = new World()
      const model = new Model()
      for (const [i, each] of operations.entries()) {
        const expected = model.apply(each)
        const got = await world.perform(each, model)
        expect(got, `${i}: ${JSON.stringify(each)}`).toEqual(expected)
        if ('error' in expected) met.refusals++
      }
      if (model.ids.length > SCHEMAS) met.reborn++
    }),
    runs(120, 'registry model'),
  )
  expect(met.refusals).toBeGreaterThan(0)
})

it('[R1] a thousand registrations at once: each schema one id, ids unique, versions without gaps', async () => {
  const { s, rec } = new Names(worlds++)
  const subjects = Array.from({ length: 10 }, (_, i) => s(`c${i}`))
  await Promise.all(subjects.map((each) => ask('PUT', `/config/${each}`, { compatibility: 'NONE' })))
  const wanted = Array.from({ length: 1_000 }, (_, i) => ({
    subject: subjects[(i * 7) % subjects.length]!,
    schema: (i * 13) % 60,
  }))
  const answers = await Promise.all(
    wanted.map(({ subject, schema }) =>
      ask('POST', `/subjects/${subject}/versions`, { schema: rec(`C${schema}`, [`f${schema}`, 'int']) }),
    ),
  )
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
  const idsOf = new Map<number, Set<number>>()
  for (const [i, { body }] of answers.entries()) {
    const { schema } = wanted[i]!
    idsOf.set(schema, (idsOf.get(schema) ?? new Set()).add((body as { id: number }).id))
  }
  expect([...idsOf.values()].map(({ size }) => size)).toEqual([...idsOf.values()].map(() => 1))
  expect(new Set([...idsOf.values()].flatMap((ids) => [...ids])).size).toBe(idsOf.size)
  for (const subject of subjects) {
    const distinct = new Set(wanted.filter((each) => each.subject === subject).map(({ schema }) => schema)).size
    const { body } = await ask('GET', `/subjects/${subject}/versions`)
    expect(body, subject).toEqual(Array.from({ length: distinct }, (_, i) => i + 1))
  }
})

it('[R1] registrations, deletions and look-ups at once: what is answered holds afterwards', async () => {
  const { s, rec, tag } = new Names(worlds++)
  const subjects = Array.from({ length: 6 }, (_, i) => s(`d${i}`))
  await Promise.all(subjects.map((each) => ask('PUT', `/config/${each}`, { compatibility: 'NONE' })))
  const statuses = new Set<number>()
  const idsOf = new Map<string, Set<number>>()
  const clients = subjects.map(async (subject, c) => {
    // Each client keeps to its subject, so its own answers must be in order; schemas are everybody's.
    for (let i = 0; i < 25; i++) {
      const text = rec(`D${(i * 5 + c) % 12}`, ['a', 'int'])
      const registered = await ask('POST', `/subjects/${subject}/versions`, { schema: text })
      statuses.add(registered.status)
      const { id } = registered.body as { id: number }
      idsOf.set(text, (idsOf.get(text) ?? new Set()).add(id))
      const found = await ask('POST', `/subjects/${subject}`, { schema: text })
      expect(found.body, 'what was registered is found').toMatchObject({ id })
      const { version } = found.body as { version: number }
      if (i % 3 === 2) {
        expect(await ask('DELETE', `/subjects/${subject}/versions/${version}`)).toEqual({ status: 200, body: version })
        expect((await ask('POST', `/subjects/${subject}`, { schema: text })).status).toBe(404)
        expect(await ask('GET', `/schemas/ids/${id}`), 'a soft deleted schema stays readable').toMatchObject({
          status: 200,
        })
      }
    }
  })
  await Promise.all(clients)
  expect(statuses).toEqual(new Set([200]))
  // Nothing was deleted for good: one schema, one id, from beginning to end.
  for (const [text, ids] of idsOf) expect(ids.size, text).toBe(1)
  expect(new Set([...idsOf.values()].map((ids) => [...ids][0])).size).toBe(idsOf.size)
  expect((await ask('GET', `/subjects?subjectPrefix=${tag}&deleted=true`)).body).toEqual(subjects)
})
