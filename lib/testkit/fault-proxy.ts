/**
 * TCP proxy before a Kafka broker that makes unknown outcomes: it forwards a request and swallows its response. It
 * reads the frames (size, api key, version, correlation id) and changes no byte. Every fault is counted.
 */
import { createServer, connect as dial, type Socket } from 'node:net'

/** Kafka's api keys that tests aim at. */
export const API = { produce: 0, fetch: 1, metadata: 3 } as const

/** A running proxy. */
export interface FaultProxy {
  readonly host: string
  readonly port: number
  /** How many responses were, or will be, swallowed. */
  readonly dropped: number
  /** How many bytes' arrivals were held back by `freeze`. */
  readonly held: number
  /** Swallows the responses to the next `count` requests with this api key. */
  dropResponses(apiKey: number, count: number): void
  /** Holds all traffic back, both ways, until `thaw`; connections stay open. */
  freeze(): void
  thaw(): void
  /** Resets every connection. */
  cut(): void
  close(): Promise<void>
}

/** Splits a stream into length-prefixed frames; a frame includes its prefix. */
function frames(onFrame: (frame: Buffer) => void): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0)
  return (chunk) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    while (rest.length >= 4 && rest.length >= 4 + rest.readInt32BE(0)) {
      const end = 4 + rest.readInt32BE(0)
      onFrame(rest.subarray(0, end))
      rest = rest.subarray(end)
    }
  }
}

/** Starts a proxy on a free loopback port before `target` (`host:port`). */
export async function startFaultProxy(target: string): Promise<FaultProxy> {
  const [targetHost, targetPort] = target.split(':') as [string, string]
  const pairs = new Set<readonly [Socket, Socket]>()
  const toDrop = new Map<number, number>()
  let heldBack: (() => void)[] | null = null
  let dropped = 0
  let held = 0

  const pass = (work: () => void): void => {
    if (heldBack === null) {
      work()
    } else {
      held += 1
      heldBack.push(work)
    }
  }

  const server = createServer((client) => {
    const broker = dial({ host: targetHost, port: Number(targetPort) })
    const pair = [client, broker] as const
    pairs.add(pair)
    /** Correlation ids whose responses are swallowed; ids are unique per connection. */
    const doomed = new Set<number>()
    const send = (socket: Socket, bytes: Buffer): void => {
      if (!socket.destroyed) socket.write(bytes)
    }
    client.on(
      'data',
      frames((frame) => {
        const apiKey = frame.readInt16BE(4)
        const left = toDrop.get(apiKey) ?? 0
        if (left > 0) {
          toDrop.set(apiKey, left - 1)
          doomed.add(frame.readInt32BE(8))
          dropped += 1
        }
        pass(() => send(broker, frame))
      }),
    )
    broker.on(
      'data',
      frames((frame) => {
        if (!doomed.delete(frame.readInt32BE(4))) pass(() => send(client, frame))
      }),
    )
    for (const [one, other] of [pair, pair.toReversed() as [Socket, Socket]]) {
      one.on('error', () => {})
      one.on('close', () => {
        pairs.delete(pair)
        other.destroy()
      })
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  const cut = (): void => {
    for (const [client, broker] of pairs) {
      client.resetAndDestroy()
      broker.resetAndDestroy()
    }
  }

  return {
    host: '127.0.0.1',
    port,
    get dropped() {
      return dropped
    },
    get held() {
      return held
    },
    dropResponses(apiKey, count) {
      toDrop.set(apiKey, count)
    },
    freeze() {
      heldBack ??= []
    },
    thaw() {
      const waiting = heldBack ?? []
      heldBack = null
      for (const work of waiting) work()
    },
    cut,
    async close() {
      cut()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
