/** The part of autocannon that the benches use; it ships no types. */
declare module 'autocannon' {
  /** Figures of a run; latencies in ms. */
  export interface Result {
    readonly latency: { readonly p50: number; readonly p99: number }
    readonly requests: { readonly average: number; readonly total: number }
    readonly non2xx: number
  }
  export default function autocannon(options: {
    readonly url: string
    readonly connections: number
    /** Seconds. */
    readonly duration: number
    /** Sent in turn by every connection; default: the URL alone. */
    readonly requests?: readonly {
      readonly method: 'GET' | 'POST'
      readonly path: string
      readonly headers?: Readonly<Record<string, string>>
      readonly body?: string
    }[]
  }): Promise<Result>
}
