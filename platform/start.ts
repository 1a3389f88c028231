/** `npm start`: the embedded platform with the demo feed (start-embedded.ts), in a process whose memory is settled. */
import { settleMemory } from './memory.ts'

settleMemory()
await import('./start-embedded.ts')
