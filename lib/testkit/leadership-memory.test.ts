/** The leadership in memory passes the suite that Kafka's passes. */
import { leadershipConformance } from './leadership-conformance.ts'
import { createMemoryElection } from './leadership-memory.ts'

leadershipConformance('a group in memory', createMemoryElection)
