import { expect, it } from 'vitest'
import type { Definitions, MetricDefinition, StreamDefinition } from '#metrics/definition.ts'
import { createVirtualClock } from '#testkit/clock-virtual.ts'
import { createMemoryLog } from '#testkit/log-memory.ts'
import { ensureTopics } from './topics.ts'

it('[D3] an event topic with more partitions than its definition keeps them, and the topics beside it get as many', async () => {
  const clicks = { name: 'clicks', partitions: 2, retentionMs: null } as StreamDefinition
  const views = { ...clicks, name: 'views' }
  const metric = { name: 'clicked', stream: clicks } as MetricDefinition
  const definitions: Definitions = { directory: '', streams: [clicks, views], metrics: [metric] }
  const log = createMemoryLog({ clock: createVirtualClock() })
  await log.createTopics([{ topic: 'events.clicks', partitions: 5, retentionMs: null, cleanup: 'delete' }])
  await ensureTopics(log, definitions)
  const topics = ['events.clicks', 'dead.clicks', 'quarantine.clicks', 'live.clicked', 'sealed.clicked', 'events.views']
  const described = await Promise.all(topics.map((topic) => log.describeTopic(topic)))
  expect(described.map((one) => one?.partitions)).toEqual([5, 5, 5, 5, 5, 2])
})
