/**
 * The answer to what Node's parser of HTTP could not read: no request exists then, so no route, hook or error handler sees it.
 * Fastify's own answer leaves out `Connection: close` and ends the connection: a client sends its next request into it, and loses it.
 */
import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'

const STATUS: Readonly<Record<string, readonly [number, string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'The request was not sent in time.'],
  HPE_HEADER_OVERFLOW: [431, 'The path and the headers of the request are too large.'],
}

/** A `clientErrorHandler` for Fastify. `bodyOf` makes the body of the answer, sent as JSON of `mediaType`. */
export function answerUnread(
  mediaType: string,
  bodyOf: (status: number, message: string) => object,
): (error: NodeJS.ErrnoException, socket: Socket) => void {
  return (error, socket) => {
    if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
    const [status, message] = STATUS[error.code ?? ''] ?? [400, 'This is not an HTTP request that can be read.']
    const body = JSON.stringify(bodyOf(status, message))
    const head = [
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
      'Connection: close',
      `Content-Type: ${mediaType}`,
      `Content-Length: ${Buffer.byteLength(body)}`,
    ]
    socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy())
  }
}
