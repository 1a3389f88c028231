/** Frames survive any division into pieces; a request is laid out as Kafka's protocol has it. */
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { connectFramed, createFrameReader, frameRequest, recycleFrames } from '#io/kafka-frames.ts'
import { runs } from '#testkit/runs.ts'

function framed(body: Uint8Array): Buffer {
  const frame = Buffer.alloc(4 + body.length)
  frame.writeInt32BE(body.length, 0)
  frame.set(body, 4)
  return frame
}

test('any division into pieces gives the same frames, each in a buffer of its own', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ minLength: 4, maxLength: 40 }), { maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 200 }),
      (bodies, sizes) => {
        const frames = bodies.map(framed)
        const all = Buffer.concat(frames)
        const found: Buffer[] = []
        const read = createFrameReader((frame) => found.push(frame))
        const piece = Buffer.alloc(9)
        for (let at = 0, i = 0; at < all.length; i++) {
          // One buffer for all pieces, as the socket's.
          const count = all.copy(piece, 0, at, at + sizes[i % sizes.length]!)
          read(piece.subarray(0, count))
          at += count
        }
        expect(found).toEqual(frames)
      },
    ),
    runs(100, 'frames in pieces'),
  )
})

test.each([0, 3, -1, 0x7fff_ffff])('a frame of %i bytes is refused before room is made for it', (size) => {
  const head = Buffer.alloc(4)
  head.writeInt32BE(size, 0)
  expect(() => createFrameReader(() => {})(head)).toThrow(RangeError)
})

test('a request carries its header, the head of the body and the tail as it is', () => {
  const tail = Uint8Array.of(7, 8, 9)
  const frame = frameRequest(
    { apiKey: 1, apiVersion: 11, correlationId: 42, clientId: 'né' },
    { head: Buffer.of(5), tail },
  )
  expect([...frame]).toEqual([0, 0, 0, 17, 0, 1, 0, 11, 0, 0, 0, 42, 0, 3, 110, 195, 169, 5, 7, 8, 9])
  expect(
    frameRequest({ apiKey: 1, apiVersion: 11, correlationId: 42, clientId: '' }, { head: Buffer.of(5), tail: null })
      .length,
  ).toBe(15)
})

test('memory that was given back, and only that, serves a later frame of about its size', () => {
  const found: Buffer[] = []
  const read = createFrameReader((frame) => found.push(frame))
  const next = (size: number, fill: number): Buffer => {
    read(framed(Buffer.alloc(size, fill)))
    return found.at(-1)!
  }
  const [first, second] = [next(300_000, 1), next(300_000, 2)]
  recycleFrames([first.subarray(100, 200), first.subarray(200, 300)])
  recycleFrames([first, Buffer.alloc(300_000)])
  const [third, fourth, small] = [next(400_000, 3), next(300_000, 4), next(1_000, 5)]
  expect(third.buffer).toBe(first.buffer)
  expect(new Set([second, third, fourth, small].map(({ buffer }) => buffer)).size).toBe(4)
  const bodies = [second, third, fourth].map((frame) => [frame.length - 4, ...new Set(frame.subarray(4))])
  expect(bodies).toEqual([
    [300_000, 2],
    [400_000, 3],
    [300_000, 4],
  ])
  recycleFrames([small])
  expect(next(1_000, 6).buffer).not.toBe(small.buffer)
})

test('of what is kept the largest stay, and a frame takes the least that holds it', () => {
  const found: Buffer[] = []
  const read = createFrameReader((frame) => found.push(frame))
  const frames = [300_000, 300_000, 2_500_000, 300_000, 3_500_000, 300_000, 4_500_000].map((size) => {
    read(framed(Buffer.alloc(size)))
    return found.at(-1)!
  })
  recycleFrames(frames)
  read(framed(Buffer.alloc(1_500_000)))
  expect(found.at(-1)!.buffer).toBe(frames[2]!.buffer)
  read(framed(Buffer.alloc(4_400_000)))
  expect(found.at(-1)!.buffer).toBe(frames[6]!.buffer)
})

test('a socket gives whole frames, and ends with an error at a broken one', async () => {
  const [first, second] = [framed(Buffer.alloc(300_000, 1)), framed(Buffer.from('four'))]
  const server = createServer((peer) => {
    peer.on('error', () => {})
    peer.write(first)
    peer.write(second)
    peer.write(Buffer.alloc(4, 0xff))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  const frames: Buffer[] = []
  const error = await new Promise<Error>((resolve) => {
    const socket = connectFramed({ host: '127.0.0.1', port }, () => {})
    socket.on('data', (frame: Buffer) => frames.push(frame))
    socket.on('error', resolve)
  })
  expect(frames.map((frame) => frame.equals(first) || frame.equals(second))).toEqual([true, true])
  expect(error.message).toContain('a response of -1 bytes')
  server.close()
})

test('a connection of another user of kafkajs in this process still gathers its answers from pieces', async () => {
  await import('#io/kafkajs-raw.ts')
  const Connection = createRequire(import.meta.url)('kafkajs/src/network/connection') as {
    prototype: { processData(piece: Buffer): void }
  }
  const answers: { correlationId: number; payload: Buffer }[] = []
  const stock = Object.assign(Object.create(Connection.prototype) as { processData(piece: Buffer): void }, {
    socket: {},
    chunks: [],
    bytesBuffered: 0,
    bytesNeeded: 4,
    requestQueue: { fulfillRequest: (answer: (typeof answers)[number]) => answers.push(answer) },
  })
  const frames = Buffer.concat([framed(Buffer.from([0, 0, 0, 7, 1, 2, 3])), framed(Buffer.from([0, 0, 0, 8, 4]))])
  for (const byte of frames) stock.processData(Buffer.from([byte]))
  expect(answers.map(({ correlationId, payload }) => [correlationId, ...payload])).toEqual([
    [7, 1, 2, 3],
    [8, 4],
  ])
})
