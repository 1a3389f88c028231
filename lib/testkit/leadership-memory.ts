/** Leadership in memory: the rules of the group at Kafka without one. For tests of forwarding, and to keep the suite honest. */
import { systemClock } from '#io/clock.ts'
import type { Leader, Leadership } from '#io/ports.ts'

/** Instances of one service that choose a leader among themselves. */
export interface MemoryElection {
  join(url: string): Leadership
}

/** An election without members. */
export function createMemoryElection(): MemoryElection {
  interface Member {
    readonly url: string
  }
  const members = new Set<Member>()
  const wakers = new Set<() => void>()
  let chosen: Member | null = null

  function choose(): void {
    const urls = [...members].map(({ url }) => url)
    const before = chosen
    if (new Set(urls).size < urls.length) chosen = null
    else if (chosen === null || !members.has(chosen))
      chosen = [...members].toSorted((a, b) => (a.url < b.url ? -1 : 1))[0] ?? null
    if (chosen !== before) for (const wake of [...wakers]) wake()
  }

  return {
    join(url) {
      const self: Member = { url }
      members.add(self)
      choose()
      return {
        leader(): Leader | null {
          return chosen === null || !members.has(self) ? null : { url: chosen.url, self: chosen === self }
        },
        async changed(waitMs) {
          const waiting = new AbortController()
          let wake: () => void = () => undefined
          const woken = new Promise<void>((resolve) => (wake = resolve))
          wakers.add(wake)
          await Promise.race([woken, systemClock.sleep(waitMs, waiting.signal)])
          wakers.delete(wake)
          waiting.abort()
        },
        async close() {
          members.delete(self)
          choose()
        },
      }
    },
  }
}
