/** Every topic that Tidemark writes or reads: name, partitions, retention, cleanup. Partitions of partials follow the event topic. */

/** Records: Avro events of a stream, and its barriers. */
export const eventsTopic = (stream: string): string => `events.${stream}`
/** Records: changed partials of the open epochs, one Arrow record batch each (schemas/partials.ts). */
export const liveTopic = (metric: string): string => `live.${metric}`
/** Records: whole tables of ended epochs, Arrow. */
export const sealedTopic = (metric: string): string => `sealed.${metric}`
/** Records that could not be decoded, with their bytes (schemas/dead-letter.avsc). */
export const deadTopic = (stream: string): string => `dead.${stream}`
/** Future events (same layout as dead letters, reason `future`). */
export const quarantineTopic = (stream: string): string => `quarantine.${stream}`
/** One record per barrier id that was given out, so that tickers never share one: schemas/barrier.avsc; see services/barriers/ids.ts. */
export const BARRIERS_TOPIC = 'tidemark.barriers'
/** Confluent-format store of the registry. */
export const SCHEMAS_TOPIC = '_schemas'

/** Retention of live partials: they only bridge the open epoch, an hour at most by any sensible barrier interval. */
const LIVE_RETENTION_MS = 3_600_000
/** Header that marks a barrier record. */
export const BARRIER_HEADER = 'tidemark-barrier'

/** Topics of a stream's records that could not be used, and of its future events. `partitions` are the event topic's. */
export const letterTopics = (stream: string, partitions: number) =>
  [deadTopic(stream), quarantineTopic(stream)].map((topic) => ({
    topic,
    partitions,
    retentionMs: null,
    cleanup: 'delete' as const,
  }))

/** Topics of a metric's partials. `partitions` are the event topic's. */
export const partialTopics = (metric: string, partitions: number, retentionMs: number | null) => [
  { topic: liveTopic(metric), partitions, retentionMs: LIVE_RETENTION_MS, cleanup: 'delete' as const },
  { topic: sealedTopic(metric), partitions, retentionMs, cleanup: 'delete' as const },
]
