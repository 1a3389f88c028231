/** Answers of the serving process as JSON schemas, for the OpenAPI document. */
import { Type } from 'typebox'
import { FINALITIES } from '#core/finality.ts'

const nullable = <T extends Type.TSchema>(type: T) => Type.Union([type, Type.Null()])
const instant = Type.String({ description: 'ISO 8601, UTC.' })
const value = Type.Union([Type.Number(), Type.String(), Type.Null()])
const finality = Type.Unsafe<string>({ type: 'string', enum: [...FINALITIES] })

const rowSchema = Type.Object({
  from: instant,
  until: instant,
  group: Type.Record(Type.String(), Type.Union([Type.String(), Type.Number(), Type.Boolean(), Type.Null()]), {
    description: 'Every dimension that was asked for.',
  }),
  values: Type.Record(Type.String(), value),
  finality,
})

const envelopeSchema = Type.Object({
  metric: Type.String(),
  generation: Type.String(),
  layer: Type.Unsafe<string>({ type: 'string', enum: ['merged', 'batch', 'speed'] }),
  cut: Type.Integer({ description: 'Cut of the view; 0 = none.' }),
  offsets: Type.Array(Type.Integer(), {
    description: 'Next offset per partition: the answer is a function of what is before it.',
  }),
  watermark: nullable(instant),
  shares: Type.Object(
    { batch: Type.Integer(), speed: Type.Integer() },
    { description: 'Cells that were combined, by layer.' },
  ),
  bounds: Type.Record(Type.String(), Type.Number(), { description: 'Relative error bounds of approximate measures.' }),
})

/** Rows and envelope. */
export const answerSchema = Type.Object({ rows: Type.Array(rowSchema), envelope: envelopeSchema }, { title: 'Answer' })

const typed = Type.Object({
  name: Type.String(),
  sql: Type.String(),
  type: Type.String(),
  scale: Type.Integer({ description: 'Digits behind the point of a decimal.' }),
})

/** A metric, as `describe.ts` makes it. */
export const metricSchema = Type.Object(
  {
    metric: Type.String(),
    doc: Type.String(),
    stream: Type.String(),
    mode: Type.String({ description: 'lambda or kappa.' }),
    generation: Type.String(),
    where: nullable(Type.String()),
    window: Type.Record(Type.String(), Type.String(), { description: 'Kind and size: {"tumbling": "1h"}.' }),
    allowed_lateness: Type.String(),
    dimensions: Type.Array(typed),
    measures: Type.Array(typed),
    derived: Type.Array(Type.Object({ name: Type.String(), sql: Type.String() })),
    tolerance: Type.Number(),
    cut: Type.Integer({ description: 'Latest cut; 0 = no view yet.' }),
    offsets: Type.Array(Type.Integer()),
    watermark: nullable(instant),
    view: nullable(
      Type.Object({ cut: Type.Integer(), rows: Type.Integer(), watermark: nullable(instant), published: instant }),
    ),
    pending_cut: nullable(Type.Integer({ description: 'A published view that is not read yet.' })),
    refusal: nullable(
      Type.Object({ code: Type.String(), reason: Type.String() }, { description: 'null = answers are given.' }),
    ),
    memory: Type.Object({
      entries: Type.Integer(),
      groups: Type.Integer(),
      bytes: Type.Integer(),
      bytes_per_entry: Type.Integer(),
    }),
  },
  { title: 'Metric' },
)
