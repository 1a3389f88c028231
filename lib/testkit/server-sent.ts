/** Server-sent events, as a page reads them. */

/** One event. */
export interface ServerSentEvent {
  readonly event: string
  /** Empty when the server gave none. */
  readonly id: string
  readonly data: Readonly<Record<string, unknown>>
}

/** Reads the first `count` events with data, then hangs up. */
export async function readEvents(url: string, headers: Record<string, string>, count: number) {
  const stop = new AbortController()
  const response = await fetch(url, { headers, signal: stop.signal })
  const events: ServerSentEvent[] = []
  let text = ''
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const event = parseEvent(text.slice(0, end))
      if (event !== null) events.push(event)
      text = text.slice(end + 2)
    }
    if (events.length >= count) break
  }
  stop.abort()
  return events
}

/** Null for what has no data, as a comment that keeps a connection open. */
function parseEvent(text: string): ServerSentEvent | null {
  const lines = text.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)])
  const { event = '', id = '', data } = Object.fromEntries(lines) as Record<string, string>
  return data === undefined ? null : { event, id, data: JSON.parse(data) as ServerSentEvent['data'] }
}
