/**
 * Frames of the Kafka protocol, each in one buffer of its own size: kafkajs itself copies a request three times into zeroed
 * buffers of the next power of two, and a response twice, which costs more than all that is done with the records.
 *
 * The memory of a big response is used again for later ones once its reader gives it back: fresh memory for each costs a page fault per
 * 4 KiB, and V8 marks its heap whenever enough buffers have come and gone.
 *
 *   frame = size int32, bytes after it · request: apiKey int16, apiVersion int16, correlationId int32, clientId string, body
 *                                      · response: correlationId int32, body
 */
import { connect, type Socket } from 'node:net'

/** Bytes a socket reads at a time, into one buffer that it keeps. */
const READ_BYTES = 128 * 1024
/** A response beyond this is no response: fetches ask for a few MB, and brokers cap what is beyond it at one batch. */
const RESPONSE_BYTES_MAX = 256 * 1024 * 1024
const KEEP_ALIVE_MS = 60_000
/** Frames from here on are kept for later ones; smaller memory is cheap to get. */
const KEPT_BYTES_MIN = 256 * 1024
/** Frames kept per thread: one worked on and one on its way for each of two leaders. Beyond 16 MiB none is kept. */
const KEPT_MAX = 4
const KEPT_BYTES_MAX = 16 * 1024 * 1024
/** Room is taken in steps, so that responses of about one size share it. */
const KEPT_STEP = 1024 * 1024

/** A request's body: its head, and what follows as it is. */
export interface RequestBody {
  readonly head: Buffer
  readonly tail: Uint8Array | null
}

/** What a request says of itself. */
export interface RequestHeader {
  readonly apiKey: number
  readonly apiVersion: number
  readonly correlationId: number
  readonly clientId: string
}

/** A request as one frame. */
export function frameRequest(header: RequestHeader, { head, tail }: RequestBody): Buffer {
  const client = Buffer.from(header.clientId)
  const bodyAt = 14 + client.length
  const size = bodyAt + head.length + (tail?.length ?? 0)
  const frame = Buffer.allocUnsafeSlow(size)
  frame.writeInt32BE(size - 4, 0)
  frame.writeInt16BE(header.apiKey, 4)
  frame.writeInt16BE(header.apiVersion, 6)
  frame.writeInt32BE(header.correlationId, 8)
  frame.writeInt16BE(client.length, 12)
  frame.set(client, 14)
  frame.set(head, bodyAt)
  if (tail !== null) frame.set(tail, bodyAt + head.length)
  return frame
}

/** Smallest first, so that a frame takes the least that holds it. */
const kept: ArrayBuffer[] = []
const lent = new WeakSet<ArrayBufferLike>()

function takeFrame(size: number): Buffer {
  if (size < KEPT_BYTES_MIN || size > KEPT_BYTES_MAX) return Buffer.allocUnsafeSlow(size)
  const at = kept.findIndex((memory) => memory.byteLength >= size)
  const memory =
    at < 0
      ? (Buffer.allocUnsafeSlow(Math.ceil(size / KEPT_STEP) * KEPT_STEP).buffer as ArrayBuffer)
      : kept.splice(at, 1)[0]!
  lent.add(memory)
  return Buffer.from(memory, 0, size)
}

/**
 * Gives the memory behind `bytes`, parts of responses, to later responses of this thread: they must not be read any more. What is no
 * response's memory, or was given back already, is left alone.
 */
export function recycleFrames(bytes: readonly Uint8Array[]): void {
  for (const { buffer } of bytes) {
    if (lent.delete(buffer)) kept.push(buffer as ArrayBuffer)
  }
  kept.sort((a, b) => a.byteLength - b.byteLength)
  // Small ones from a quiet time must not keep out those of a catch-up.
  kept.splice(0, kept.length - KEPT_MAX)
}

/** Puts frames together from pieces of any size; `onFrame` gets each whole one. @throws RangeError at a size that cannot be */
export function createFrameReader(onFrame: (frame: Buffer) => void): (piece: Uint8Array) => void {
  let size = 0
  let sizeBytes = 0
  let frame: Buffer | null = null
  let filled = 0
  return (piece) => {
    for (let at = 0; at < piece.length; ) {
      if (frame === null) {
        size = (size << 8) | piece[at++]!
        if (++sizeBytes < 4) continue
        if (size < 4 || size > RESPONSE_BYTES_MAX) throw new RangeError(`a response of ${size} bytes`)
        frame = takeFrame(size + 4)
        frame.writeInt32BE(size, 0)
        filled = 4
        continue
      }
      const count = Math.min(piece.length - at, frame.length - filled)
      frame.set(piece.subarray(at, at + count), filled)
      filled += count
      at += count
      if (filled < frame.length) continue
      const whole = frame
      frame = null
      size = 0
      sizeBytes = 0
      onFrame(whole)
    }
  }
}

/** Connects; the socket's `data` events are whole frames. A broken frame ends it with an error. */
export function connectFramed(address: { host: string; port: number }, onConnect: () => void): Socket {
  const read = createFrameReader((frame) => socket.emit('data', frame))
  const callback = (count: number, buffer: Uint8Array): boolean => {
    try {
      read(buffer.subarray(0, count))
    } catch (error) {
      socket.destroy(error as Error)
    }
    return true
  }
  const socket = connect({ ...address, onread: { buffer: Buffer.allocUnsafeSlow(READ_BYTES), callback } }, onConnect)
  socket.setKeepAlive(true, KEEP_ALIVE_MS)
  return socket
}
