/** Conformance suite of the Leadership port: what the registry relies on, on the group in memory and on Kafka's. */
import { afterEach, describe, expect, it } from 'vitest'
import type { Leadership } from '#io/ports.ts'

/** How long a group may take to agree, ms. */
const PATIENCE_MS = 180_000

/** Registers the suite under `name`; every test has a group of its own. */
export function leadershipConformance(
  name: string,
  makeGroup: () => { join(url: string): Leadership } | Promise<{ join(url: string): Leadership }>,
): void {
  describe(`Leadership on ${name}`, () => {
    const members: Leadership[] = []
    afterEach(async () => {
      await Promise.all(members.splice(0).map((member) => member.close()))
    })
    const URLS = ['http://127.0.0.1:9003', 'http://127.0.0.1:9001', 'http://127.0.0.1:9002'] as const

    /** Joins one after the other, each when the one before it knows a leader. */
    async function joinAll(urls: readonly string[]): Promise<Leadership[]> {
      const group = await makeGroup()
      const joined: Leadership[] = []
      for (const url of urls) {
        const member = group.join(url)
        members.push(member)
        joined.push(member)
        await until(joined, () => joined.every((one) => one.leader() !== null))
      }
      return joined
    }

    async function until(joined: readonly Leadership[], holds: () => boolean): Promise<void> {
      for (const begun = performance.now(); !holds(); ) {
        if (performance.now() - begun > PATIENCE_MS)
          throw new Error(`not so: ${JSON.stringify(joined.map((one) => one.leader()))}`)
        await joined[0]!.changed(50)
      }
    }

    const urlsSeen = (joined: readonly Leadership[]) => new Set(joined.map((one) => one.leader()?.url))
    const selves = (joined: readonly Leadership[]) => joined.filter((one) => one.leader()?.self === true)

    it('[R3] one alone leads', async () => {
      const [only] = await joinAll([URLS[0]])
      expect(only!.leader()).toEqual({ url: URLS[0], self: true })
    })

    it('[R3] all agree on one, and who comes later does not take its place', async () => {
      const joined = await joinAll(URLS)
      await until(joined, () => urlsSeen(joined).size === 1 && selves(joined).length === 1)
      expect(joined.map((one) => one.leader())).toEqual(URLS.map((_, index) => ({ url: URLS[0], self: index === 0 })))
    })

    it('[R3] when the leader leaves, one of the others leads, and who waits is told', async () => {
      const [first, ...others] = await joinAll(URLS)
      await until([first!, ...others], () => urlsSeen(others).size === 1)
      const told = others[0]!.changed(PATIENCE_MS)
      await first!.close()
      expect(first!.leader()).toBeNull()
      await told
      await until(others, () => urlsSeen(others).size === 1 && others[0]!.leader()?.url === URLS[1])
      expect(others.map((one) => one.leader()?.self)).toEqual([true, false])
    })

    it('[R3] two at one URL: nobody leads, for what is forwarded would come back', async () => {
      const group = await makeGroup()
      members.push(group.join(URLS[0]))
      await until(members, () => members[0]!.leader() !== null)
      members.push(group.join(URLS[0]))
      await until(members, () => members.every((one) => one.leader() === null))
    })
  })
}
