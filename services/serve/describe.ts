/** Metrics as the API describes them: the definition, and where the serving process stands with it. */
import { formatDuration, NO_WATERMARK } from '#core/time.ts'
import type { ServedMetric } from './served-metric.ts'
import type { Serve } from './start.ts'

const isoOf = (instant: number | null): string | null =>
  instant === null || instant === NO_WATERMARK ? null : new Date(instant).toISOString()

/** A metric as `GET /v1/metrics` shows it. `cut` 0 = no view; `refusal` null = merged answers are given. */
export function describeMetric(serve: Serve, served: ServedMetric): object {
  const { definition, store } = served
  const state = store.state()
  const memory = store.memory()
  const view = served.adopted
  const shapes = definition.layout.dimensions
  return {
    metric: definition.name,
    doc: definition.doc,
    stream: definition.stream.name,
    mode: definition.mode,
    generation: definition.generation,
    where: definition.where,
    window: { [definition.window.kind]: formatDuration(definition.window.sizeMs) },
    allowed_lateness: formatDuration(definition.allowedLatenessMs),
    dimensions: definition.dimensions.map(({ name, sql }, at) => ({
      name,
      sql,
      type: shapes[at]!.kind,
      scale: shapes[at]!.scale,
    })),
    measures: definition.measures.map(({ name, sql, type, scale }) => ({ name, sql, type, scale })),
    derived: definition.derived.map(({ name, sql }) => ({ name, sql })),
    tolerance: definition.tolerance,
    cut: state.cut,
    offsets: state.offsets,
    watermark: isoOf(state.watermark),
    view:
      view === null
        ? null
        : { cut: view.cut, rows: view.rows, watermark: isoOf(view.watermark), published: isoOf(view.published_ms) },
    pending_cut: store.pendingCut,
    refusal: serve.refusalOf(served),
    memory: {
      entries: memory.entries,
      groups: memory.groups,
      bytes: memory.bytes,
      bytes_per_entry: Math.round(memory.bytesPerEntry),
    },
  }
}
