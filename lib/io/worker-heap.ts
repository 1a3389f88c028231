/**
 * Heaps of worker threads that move bytes. Their objects are few (some 16 MB) and their buffers many, and V8 counts both against
 * a limit that follows the objects: by default such a thread marks its heap again for every 30 MB of buffers that come and go,
 * on four helper threads, for a quarter of all its CPU time. A higher first limit makes that rare; it bounds garbage, not state.
 */
import { setFlagsFromString } from 'node:v8'

/** Heap and buffers up to which a new worker thread need not collect its old objects, MB. */
const FIRST_LIMIT_MB = 160

/** Worker threads that start from now on begin with the higher limit; the heap of this thread stays as it is. */
export function easeWorkerHeaps(): void {
  setFlagsFromString(`--initial-old-space-size=${FIRST_LIMIT_MB}`)
}
