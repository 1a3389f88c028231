/** Stock registry clients on the embedded log: a real SQLite file, so a restart reads what was written. */
import { describe } from 'vitest'
import { stockClientTests } from '#testkit/registry-clients.ts'
import { openOwnPlace } from './place.ts'

describe('stock clients on the embedded log', () => stockClientTests(openOwnPlace))
