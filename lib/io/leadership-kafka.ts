/**
 * Leadership by a group at Kafka's group coordinator, in the protocol of Confluent's Schema Registry, so that its instances
 * and ours agree on one writer. A member's metadata is its address; the member that Kafka names first among equals chooses.
 *
 *   joining ─ joined, assignment read ─▶ member ─ beat, twice a second ─▶ member
 *      ▲                                   │ the group changes: join again, the leader stays the one it was
 *      └── member unknown, no connection ──┘ a leader that could not beat for the session's time is none
 *
 *   metadata     {"host":h,"port":p,"master_eligibility":true,"scheme":"http","version":1}
 *   assignment   {"error":0,"master":member,"master_identity":metadata,"version":1}    error 1: an address was given twice
 *
 * Confluent elects the member with the least URL. So do we at first; later the leader stays while it is a member.
 */
import { classify, type OperatingError } from '#io/errors.ts'
import type { JoinedGroup, KafkaBroker, KafkaConnection } from '#io/kafkajs-raw.ts'
import { errorTypes, KafkaLink } from '#io/log-kafka-link.ts'
import type { Clock, Leader, Leadership } from '#io/ports.ts'

/** How to take part. */
export interface KafkaLeadershipOptions {
  readonly brokers: readonly string[]
  readonly clientId: string
  readonly clock: Clock
  /** Group of all instances that write to one topic. */
  readonly group: string
  /** Base URL at which the others reach this instance. */
  readonly url: string
  /** Hears of trouble that goes on for some seconds, and of a choice that cannot be made. */
  readonly onTrouble: (error: OperatingError | Error) => void
  /** How long a member may be silent before it is put out (default 6 s, the shortest that a broker allows by default). */
  readonly sessionMs?: number
  /** Rewrites broker addresses; for tests. */
  readonly route?: KafkaConnection['route']
}

const PROTOCOL_TYPE = 'sr'
const PROTOCOL = 'v0'
const SESSION_MS = 6_000
/** Whoever is there and does not join again in this part of a session, several beats, is put out. */
const REBALANCES_PER_SESSION = 3
const BEAT_MS = 500
const AGAIN_MS = 250
/** A fresh cluster has no coordinator for a moment, which is no trouble. */
const TELL_EVERY = 5
const REQUEST_MS = 5_000
/** A coordinator that is in the middle of a change does not answer until it is through. */
const LEAVE_MS = 1_000
const NO_ERROR = 0
const DUPLICATE_URLS = 1

interface Identity {
  readonly host: string
  readonly port: number
  readonly master_eligibility: boolean
  readonly scheme: string
  readonly version: number
}

interface Assignment {
  readonly error: number
  readonly master: string | null
  readonly master_identity: Identity | null
  readonly version: number
}

function identityOf(url: string): Identity {
  const { hostname, port, protocol } = new URL(url)
  const scheme = protocol.slice(0, -1)
  return {
    host: hostname,
    port: port === '' ? (scheme === 'https' ? 443 : 80) : Number(port),
    master_eligibility: true,
    scheme,
    version: 1,
  }
}

const urlOf = ({ scheme, host, port }: Identity): string => `${scheme}://${host}:${port}`

function parse<T>(bytes: Buffer): T | null {
  try {
    return JSON.parse(bytes.toString()) as T
  } catch {
    return null
  }
}

/** Chooses: the last leader when it is still there, else the least URL; nobody when two members give one URL. */
function choose(members: JoinedGroup['members'], last: string | null): Assignment {
  const eligible = members.flatMap(({ memberId, memberMetadata }) => {
    const identity = parse<Identity>(memberMetadata)
    return identity?.master_eligibility === true ? [{ memberId, identity, url: urlOf(identity) }] : []
  })
  if (new Set(eligible.map(({ url }) => url)).size < eligible.length)
    return { error: DUPLICATE_URLS, master: null, master_identity: null, version: 1 }
  const [least] = eligible.toSorted((a, b) => (a.url < b.url ? -1 : 1))
  const chosen = eligible.find(({ url }) => url === last) ?? least
  return {
    error: NO_ERROR,
    master: chosen?.memberId ?? null,
    master_identity: chosen?.identity ?? null,
    version: 1,
  }
}

/** Joins the group and goes on by itself until `close`; nothing here throws. */
export function joinKafkaLeadership(options: KafkaLeadershipOptions): Leadership {
  const { brokers, clientId, clock, group, url, onTrouble, sessionMs = SESSION_MS } = options
  const route = options.route ?? ((address) => address)
  const link = new KafkaLink({ brokers, clientId, requestTimeoutMs: REQUEST_MS, route }, clock)
  const metadata = Buffer.from(JSON.stringify(identityOf(url)))
  const closing = new AbortController()
  const wakers = new Set<() => void>()
  let memberId = ''
  let known: Leader | null = null
  /** When the last beat began that the coordinator answered. */
  let beatAt = Number.NEGATIVE_INFINITY
  let failures = 0

  /** One that leads and cannot reach the coordinator must assume that another was chosen. */
  const leader = (): Leader | null => (known?.self === true && clock.monotonic() - beatAt > sessionMs ? null : known)

  function learn(next: Leader | null): void {
    const changed = next?.url !== known?.url || next?.self !== known?.self
    known = next
    if (changed) for (const wake of [...wakers]) wake()
  }

  /** Joins, and reads or makes the choice; the generation that now stands. */
  async function join(coordinator: KafkaBroker): Promise<number> {
    const joinedAt = clock.monotonic()
    const joined = await coordinator.joinGroup({
      groupId: group,
      sessionTimeout: sessionMs,
      rebalanceTimeout: sessionMs / REBALANCES_PER_SESSION,
      memberId,
      protocolType: PROTOCOL_TYPE,
      groupProtocols: [{ name: PROTOCOL, metadata }],
    })
    memberId = joined.memberId
    const chosen =
      joined.leaderId === memberId ? Buffer.from(JSON.stringify(choose(joined.members, known?.url ?? null))) : null
    const groupAssignment =
      chosen === null ? [] : joined.members.map((member) => ({ memberId: member.memberId, memberAssignment: chosen }))
    const { generationId } = joined
    const synced = await coordinator.syncGroup({ groupId: group, generationId, memberId, groupAssignment })
    const assignment = parse<Assignment>(synced.memberAssignment)
    const identity = assignment?.master_identity ?? null
    if (assignment?.error === DUPLICATE_URLS)
      onTrouble(
        new Error(`no writer can be chosen: two registries say that they are at the same URL; this one is at ${url}`),
      )
    beatAt = joinedAt
    learn(identity === null ? null : { url: urlOf(identity), self: assignment?.master === memberId })
    return generationId
  }

  /** Beats until the group changes. @throws Error of kafkajs; OperatingError */
  async function stay(coordinator: KafkaBroker, generationId: number): Promise<void> {
    for (;;) {
      failures = 0
      await clock.sleep(BEAT_MS, closing.signal)
      if (closing.signal.aborted) return
      const beganAt = clock.monotonic()
      await coordinator.heartbeat({ groupId: group, groupGenerationId: generationId, memberId })
      beatAt = beganAt
    }
  }

  async function run(): Promise<void> {
    while (!closing.signal.aborted) {
      try {
        const coordinator = await link.coordinator(group)
        await stay(coordinator, await join(coordinator))
      } catch (error) {
        if (closing.signal.aborted) return
        const types = errorTypes(error)
        // The group changes, as it does whenever one joins or leaves: join again at once.
        if (types.includes('REBALANCE_IN_PROGRESS')) continue
        if (types.includes('UNKNOWN_MEMBER_ID') || types.includes('ILLEGAL_GENERATION')) {
          // Put out of the group, so another leads by now.
          memberId = ''
          learn(null)
          continue
        }
        link.reset()
        failures += 1
        if (failures % TELL_EVERY === 0) onTrouble(classify(error))
        await clock.sleep(Math.min(AGAIN_MS * failures, sessionMs), closing.signal)
      }
    }
  }

  const running = run()
  return {
    leader,
    async changed(waitMs) {
      const waiting = new AbortController()
      let wake: () => void = () => undefined
      const woken = new Promise<void>((resolve) => (wake = resolve))
      wakers.add(wake)
      await Promise.race([woken, clock.sleep(waitMs, waiting.signal)])
      wakers.delete(wake)
      waiting.abort()
    },
    async close() {
      if (closing.signal.aborted) return
      closing.abort()
      learn(null)
      if (memberId !== '') {
        const leaving = link
          .coordinator(group)
          .then((coordinator) => coordinator.leaveGroup({ groupId: group, memberId }))
          .catch(() => null)
        await Promise.race([leaving, clock.sleep(LEAVE_MS)])
      }
      link.close()
      await running
    },
  }
}
