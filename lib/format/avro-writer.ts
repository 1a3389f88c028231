/**
 * Writes Avro's primitives into one buffer that grows and is reused: no allocation per value.
 *
 *   long    zigzag LEB128, 1 to 10 bytes          string, bytes   length (long), then the bytes
 *   decimal unscaled integer, two's complement, big-endian, as few bytes as hold it (Java's BigInteger.toByteArray)
 *
 * Numbers are safe integers or bigint within int64; callers have checked ranges. Source: Avro 1.12 specification, "Binary Encoding".
 */

/** Strings up to here are written char by char, and their length prefix is one byte. */
const SHORT_TEXT = 63
const TWO_31 = 2_147_483_648

/** A growing buffer with a write position. Callers reserve before they write; `text` reserves for itself. */
export class AvroWriter {
  bytes: Buffer = Buffer.allocUnsafe(4_096)
  at = 0
  /** Bytes that stay free behind every text: room for a record's fields of fixed size. */
  readonly #slack: number

  constructor(slack: number) {
    this.#slack = slack
  }

  /** Makes room for `more` bytes at the position, keeping what is written. */
  reserve(more: number): void {
    const needed = this.at + more + this.#slack
    if (needed <= this.bytes.length) return
    const grown = Buffer.allocUnsafe(Math.max(this.bytes.length * 2, needed))
    this.bytes.copy(grown, 0, 0, this.at)
    this.bytes = grown
  }

  byte(value: number): void {
    this.bytes[this.at++] = value
  }

  /** A safe integer as Avro int or long: the same bytes. */
  long(value: number): void {
    const { bytes } = this
    let at = this.at
    // zigzag(v) = 2m + sign with m = v or -v-1: the doubled number itself may not be a safe integer.
    let rest = value < 0 ? -value - 1 : value
    const sign = value < 0 ? 1 : 0
    if (rest < 64) {
      bytes[at] = (rest << 1) | sign
      this.at = at + 1
      return
    }
    bytes[at++] = ((rest % 64) << 1) | sign | 128
    rest = Math.floor(rest / 64)
    while (rest >= TWO_31) {
      bytes[at++] = (rest % 128) | 128
      rest = Math.floor(rest / 128)
    }
    while (rest > 127) {
      bytes[at++] = (rest & 127) | 128
      rest >>>= 7
    }
    bytes[at++] = rest
    this.at = at
  }

  /** An int64 as Avro long. */
  bigLong(value: bigint): void {
    if (value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER)) {
      this.long(Number(value))
      return
    }
    let rest = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n))
    while (rest > 127n) {
      this.byte(Number(rest & 127n) | 128)
      rest >>= 7n
    }
    this.byte(Number(rest))
  }

  double(value: number): void {
    this.at = this.bytes.writeDoubleLE(value, this.at)
  }

  float(value: number): void {
    this.at = this.bytes.writeFloatLE(value, this.at)
  }

  /** A string; false, and nothing of use written, when it is not well-formed Unicode (a lone surrogate has no UTF-8). */
  text(value: string): boolean {
    const { length } = value
    this.reserve(length * 3 + 10)
    if (length > SHORT_TEXT) return this.#anyText(value)
    const { bytes, at } = this
    bytes[at] = length << 1
    for (let i = 0; i < length; i++) {
      const code = value.charCodeAt(i)
      if (code > 127) return this.#anyText(value)
      bytes[at + 1 + i] = code
    }
    this.at = at + 1 + length
    return true
  }

  #anyText(value: string): boolean {
    if (!value.isWellFormed()) return false
    this.long(Buffer.byteLength(value, 'utf8'))
    this.at += this.bytes.write(value, this.at, 'utf8')
    return true
  }

  /** Bytes given as text of code points 0 to 255 (Avro's JSON form), with their length in front unless `fixed`. */
  latin1(value: string, fixed: boolean): void {
    this.reserve(value.length + 10)
    if (!fixed) this.long(value.length)
    this.at += this.bytes.write(value, this.at, 'latin1')
  }

  /** Bytes as they are. */
  raw(value: Uint8Array): void {
    this.reserve(value.length)
    this.bytes.set(value, this.at)
    this.at += value.length
  }

  /** An unscaled decimal of at most 18 digits, in bytes with a length (`size` 0), or sign-extended to a fixed of `size` bytes. */
  decimal(unscaled: number | bigint, size: number): void {
    if (size === 0 && typeof unscaled === 'number' && unscaled >= -TWO_31 && unscaled < TWO_31) {
      const length =
        unscaled >= -128 && unscaled < 128
          ? 1
          : unscaled >= -32_768 && unscaled < 32_768
            ? 2
            : unscaled >= -8_388_608 && unscaled < 8_388_608
              ? 3
              : 4
      this.bytes[this.at++] = length << 1
      for (let shift = (length - 1) * 8; shift >= 0; shift -= 8) this.bytes[this.at++] = (unscaled >> shift) & 255
      return
    }
    const value = BigInt(unscaled)
    let length = size
    if (size === 0) {
      length = 1
      while (BigInt.asIntN(length * 8, value) !== value) length++
      this.long(length)
    }
    this.reserve(length)
    for (let i = length - 1; i >= 0; i--) this.bytes[this.at++] = Number((value >> BigInt(i * 8)) & 255n)
  }
}
