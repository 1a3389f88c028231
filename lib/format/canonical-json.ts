/** Canonical JSON: one value, one spelling. What is hashed or compared byte by byte is written by this. */

/**
 * UTF-8 JSON with keys sorted by code unit at every level, no spaces, and a line feed at the end. Undefined members are left
 * out. Numbers must be finite: JSON would write null for others and change the value.
 */
export function canonicalJson(value: unknown): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(sorted(value))}\n`)
}

function sorted(value: unknown): unknown {
  if (typeof value === 'number' && !Number.isFinite(value)) throw new RangeError(`not a JSON number: ${value}`)
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
  return Object.fromEntries(entries.map(([key, member]) => [key, sorted(member)]))
}
