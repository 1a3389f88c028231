/**
 * One column of a Parquet row group: takes typed arrays, keeps encoded pages. No object per value.
 *
 *   rows ─▶ page under construction (levels, packed values or dictionary indexes) ─ full ─▶ page body ─ zstd ─▶ Page
 *
 * Numbers are PLAIN. Texts and bytes begin as dictionary indexes and turn PLAIN for the rest of the FILE at the first value
 * that does not fit the dictionary: a function of the values only, so equal input gives equal bytes.
 */
import { assert } from '#core/assert.ts'
import type { Column } from '#core/columns.ts'
import { createByteDictionary } from './parquet-dictionary.ts'
import { compressZstd, hybridBytesMax, indexWidth, writeHybrid } from './parquet-encoding.ts'

/** Physical type with its meaning: `string` is UTF-8, `decimal` an unscaled int64. */
export type ParquetType = 'boolean' | 'int32' | 'int64' | 'double' | 'string' | 'bytes' | 'decimal'

/** One column of the file. `precision` and `scale` are 0 unless `decimal`. */
export interface ParquetColumn {
  readonly name: string
  readonly type: ParquetType
  readonly nullable: boolean
  readonly precision: number
  readonly scale: number
}

/** A page body; `compressed` never rejects unhandled, whoever awaits it sees the error. */
export interface Page {
  readonly values: number
  readonly uncompressedBytes: number
  readonly encoding: 'plain' | 'dictionary'
  readonly compressed: Promise<Uint8Array>
}

/** What a row group's footer says of a column. `min`/`max` are null when there is no value or the type has none. */
export interface ColumnPages {
  readonly dictionary: Page | null
  readonly pages: readonly Page[]
  readonly rows: number
  readonly nulls: number
  readonly min: number | bigint | null
  readonly max: number | bigint | null
}

/** Rows of a page at most: six pages fill a row group. */
const PAGE_ROWS = 20_480
/** Bytes of texts after which a page ends early. */
const PAGE_TEXT_BYTES = 1024 * 1024
const TWO_32 = 4_294_967_296

function pageOf(body: Uint8Array, values: number, encoding: Page['encoding']): Page {
  const compressed = compressZstd(body)
  compressed.catch(() => undefined)
  return { values, uncompressedBytes: body.length, encoding, compressed }
}

/** Collects one column of the current row group. Appends are synchronous; compression runs beside them. */
export class ColumnBuilder {
  readonly spec: ParquetColumn
  /** Rows and encoded bytes (before compression) of the row group so far. */
  rows = 0
  bytes = 0
  #pages: Page[] = []
  #nulls = 0
  #min: number | bigint | null = null
  #max: number | bigint | null = null
  // The page under construction.
  #pageRows = 0
  #pageValues = 0
  readonly #levels: Uint8Array
  readonly #words: Int32Array
  readonly #doubles: Float64Array
  readonly #flags: Uint8Array
  readonly #indexes: Int32Array
  #texts = new Uint8Array(0)
  #textBytes = 0
  readonly #dictionary = createByteDictionary()
  #dictionaryOn: boolean

  constructor(spec: ParquetColumn) {
    this.spec = spec
    const type = spec.type
    const isText = type === 'string' || type === 'bytes'
    this.#dictionaryOn = isText
    this.#levels = new Uint8Array(spec.nullable ? PAGE_ROWS : 0)
    const cells = new ArrayBuffer(isText || type === 'boolean' ? 0 : PAGE_ROWS * (type === 'int32' ? 4 : 8))
    this.#words = new Int32Array(cells)
    this.#doubles = new Float64Array(type === 'int32' ? new ArrayBuffer(0) : cells)
    this.#flags = new Uint8Array(type === 'boolean' ? PAGE_ROWS : 0)
    this.#indexes = new Int32Array(isText ? PAGE_ROWS : 0)
  }

  /** Appends rows [from, until) of a chunk's column. */
  appendColumn(column: Column, from: number, until: number): void {
    const type = this.spec.type
    if (type === 'string' || type === 'bytes') this.appendTexts(column, from, until)
    else if (column.wide !== null) this.appendWide(column.wide, column.valid, from, until)
    else this.appendNumbers(column.f64, column.valid, from, until)
  }

  /** Appends numbers: doubles, safe integers, or 0/1 for booleans. `valid` null = no nulls. */
  appendNumbers(values: Float64Array, valid: Uint8Array | null, from: number, until: number): void {
    while (from < until) {
      const end = this.#slice(from, until)
      this.#mark(valid, from, end)
      this.#putNumbers(values, valid, from, end)
      this.#advance(end - from)
      from = end
    }
  }

  /** Appends integers of which some are beyond ±2^53. */
  appendWide(values: BigInt64Array, valid: Uint8Array | null, from: number, until: number): void {
    assert(this.spec.type === 'int64' || this.spec.type === 'decimal', 'wide integers go to int64 and decimal columns')
    while (from < until) {
      const end = this.#slice(from, until)
      this.#mark(valid, from, end)
      for (let i = from; i < end; i++) {
        if (valid !== null && valid[i] === 0) continue
        const value = values[i]!
        this.#words[this.#pageValues * 2] = Number(BigInt.asIntN(32, value))
        this.#words[this.#pageValues * 2 + 1] = Number(value >> 32n)
        this.#pageValues++
        if (this.#min === null || value < this.#min) this.#min = value
        if (this.#max === null || value > this.#max) this.#max = value
      }
      this.#advance(end - from)
      from = end
    }
  }

  /** Appends byte ranges of a text column. */
  appendTexts(column: Pick<Column, 'valid' | 'from' | 'until' | 'bytes'>, from: number, until: number): void {
    const { valid, bytes } = column
    while (from < until) {
      let end = this.#slice(from, until)
      if (this.#dictionaryOn) {
        end = this.#putIndexes(column, from, end)
        this.#mark(valid, from, end)
        this.#advance(end - from)
        if (!this.#dictionaryOn && this.#pageRows > 0) this.#sealPage('dictionary')
      } else {
        this.#mark(valid, from, end)
        for (let i = from; i < end; i++) {
          if (valid === null || valid[i] === 1) this.#putText(bytes, column.from[i]!, column.until[i]!)
        }
        this.#advance(end - from)
      }
      from = end
    }
  }

  /** Appends `times` nulls to a nullable column. */
  appendNulls(times: number): void {
    assert(this.spec.nullable || times === 0, `column ${this.spec.name} has no nulls`)
    for (let left = times; left > 0; ) {
      const rows = this.#slice(0, left)
      this.#levels.fill(0, this.#pageRows, this.#pageRows + rows)
      this.#nulls += rows
      this.#advance(rows)
      left -= rows
    }
  }

  /** Appends one byte string `times` times to a text column. */
  appendBytes(value: Uint8Array, times: number): void {
    for (let left = times; left > 0; ) {
      const index = this.#dictionaryOn ? this.#dictionary.indexOf(value, 0, value.length) : -1
      if (index < 0 && this.#dictionaryOn) {
        this.#dictionaryOn = false
        if (this.#pageRows > 0) this.#sealPage('dictionary')
      }
      // A plain page may end early by its bytes, so plain values go in one by one.
      const rows = index < 0 ? 1 : this.#slice(0, left)
      if (this.spec.nullable) this.#levels.fill(1, this.#pageRows, this.#pageRows + rows)
      if (index < 0) this.#putText(value, 0, value.length)
      else {
        this.#indexes.fill(index, this.#pageValues, this.#pageValues + rows)
        this.#pageValues += rows
      }
      this.#advance(rows)
      left -= rows
    }
  }

  /** Ends the row group: its pages and bounds. The builder is empty afterwards. */
  take(): ColumnPages {
    if (this.#pageRows > 0) this.#sealPage(this.#dictionaryOn ? 'dictionary' : 'plain')
    const dictionary =
      this.#dictionary.count === 0 ? null : pageOf(this.#dictionary.plain(), this.#dictionary.count, 'plain')
    // A page of nulls alone may be marked `dictionary` without any entry: it then needs an empty dictionary page.
    const needsDictionary = this.#pages.some((page) => page.encoding === 'dictionary')
    const taken: ColumnPages = {
      dictionary: needsDictionary ? (dictionary ?? pageOf(new Uint8Array(0), 0, 'plain')) : null,
      pages: this.#pages,
      rows: this.rows,
      nulls: this.#nulls,
      min: this.#min,
      max: this.#max,
    }
    this.#pages = []
    this.rows = 0
    this.bytes = 0
    this.#nulls = 0
    this.#min = null
    this.#max = null
    this.#dictionary.clear()
    return taken
  }

  /** End of the part of [from, until) that fits the page. */
  #slice(from: number, until: number): number {
    return Math.min(until, from + PAGE_ROWS - this.#pageRows)
  }

  /** Writes the levels of rows [from, end) and counts their nulls. */
  #mark(valid: Uint8Array | null, from: number, end: number): void {
    if (!this.spec.nullable) {
      assert(valid === null || !valid.subarray(from, end).includes(0), `column ${this.spec.name} has no nulls`)
      return
    }
    if (valid === null) {
      this.#levels.fill(1, this.#pageRows, this.#pageRows + end - from)
      return
    }
    let nulls = 0
    for (let i = from, at = this.#pageRows; i < end; i++, at++) {
      const level = valid[i]!
      this.#levels[at] = level
      nulls += 1 - level
    }
    this.#nulls += nulls
  }

  #advance(rows: number): void {
    this.rows += rows
    this.#pageRows += rows
    if (this.#pageRows === PAGE_ROWS || this.#textBytes >= PAGE_TEXT_BYTES) {
      this.#sealPage(this.#dictionaryOn ? 'dictionary' : 'plain')
    }
  }

  #putNumbers(values: Float64Array, valid: Uint8Array | null, from: number, end: number): void {
    let at = this.#pageValues | 0
    if (this.spec.type === 'double') {
      const doubles = this.#doubles
      for (let i = from; i < end; i++) if (valid === null || valid[i] === 1) doubles[at++] = values[i]!
      this.#pageValues = at
      return
    }
    if (this.spec.type === 'boolean') {
      const flags = this.#flags
      for (let i = from; i < end; i++) if (valid === null || valid[i] === 1) flags[at++] = values[i]!
      this.#pageValues = at
      return
    }
    const words = this.#words
    const narrow = this.spec.type === 'int32'
    let min = Number.POSITIVE_INFINITY
    let max = Number.NEGATIVE_INFINITY
    for (let i = from; i < end; i++) {
      if (valid !== null && valid[i] === 0) continue
      const value = values[i]!
      if (value < min) min = value
      if (value > max) max = value
      if (narrow) words[at] = value
      else {
        words[at * 2] = value
        words[at * 2 + 1] = Math.floor(value / TWO_32)
      }
      at++
    }
    this.#pageValues = at
    if (min <= max) {
      if (this.#min === null || min < this.#min) this.#min = min
      if (this.#max === null || max > this.#max) this.#max = max
    }
  }

  /** Indexes of rows [from, end) up to the first that does not fit; turns the dictionary off there. Returns where it stopped. */
  #putIndexes(column: Pick<Column, 'valid' | 'from' | 'until' | 'bytes'>, from: number, end: number): number {
    const { valid, bytes } = column
    const dictionary = this.#dictionary
    let at = this.#pageValues
    for (let i = from; i < end; i++) {
      if (valid !== null && valid[i] === 0) continue
      const index = dictionary.indexOf(bytes, column.from[i]!, column.until[i]!)
      if (index < 0) {
        this.#dictionaryOn = false
        this.#pageValues = at
        return i
      }
      this.#indexes[at++] = index
    }
    this.#pageValues = at
    return end
  }

  #putText(bytes: Uint8Array, from: number, until: number): void {
    const length = until - from
    const at = this.#textBytes
    const end = at + 4 + length
    if (end > this.#texts.length) {
      const grown = new Uint8Array(Math.max(end, this.#texts.length * 2, 64 * 1024))
      grown.set(this.#texts.subarray(0, at))
      this.#texts = grown
    }
    const texts = this.#texts
    texts[at] = length
    texts[at + 1] = length >>> 8
    texts[at + 2] = length >>> 16
    texts[at + 3] = length >>> 24
    // A call costs more than the loop for the short values most texts are.
    if (length < 48) for (let i = from, j = at + 4; i < until; i++, j++) texts[j] = bytes[i]!
    else texts.set(bytes.subarray(from, until), at + 4)
    this.#textBytes = end
    this.#pageValues++
  }

  /** Bytes of the page's values, PLAIN. */
  #plainValues(): Uint8Array {
    const count = this.#pageValues
    switch (this.spec.type) {
      case 'boolean': {
        const packed = new Uint8Array((count + 7) >> 3)
        for (let i = 0; i < count; i++) packed[i >> 3] = packed[i >> 3]! | (this.#flags[i]! << (i & 7))
        return packed
      }
      case 'int32':
        return new Uint8Array(this.#words.buffer, 0, count * 4)
      case 'int64':
      case 'decimal':
      case 'double':
        return new Uint8Array(this.#words.buffer, 0, count * 8)
      case 'string':
      case 'bytes':
        return this.#texts.subarray(0, this.#textBytes)
    }
  }

  #indexValues(): Uint8Array {
    const width = indexWidth(this.#dictionary.count)
    const encoded = new Uint8Array(1 + hybridBytesMax(this.#pageValues, width))
    encoded[0] = width
    return encoded.subarray(0, writeHybrid(encoded, 1, this.#indexes, this.#pageValues, width))
  }

  #sealPage(encoding: Page['encoding']): void {
    const values = encoding === 'dictionary' ? this.#indexValues() : this.#plainValues()
    const levelBytes = this.spec.nullable ? 4 + hybridBytesMax(this.#pageRows, 1) : 0
    const body = new Uint8Array(levelBytes + values.length)
    let at = 0
    if (this.spec.nullable) {
      at = writeHybrid(body, 4, this.#levels, this.#pageRows, 1)
      new DataView(body.buffer).setUint32(0, at - 4, true)
    }
    body.set(values, at)
    const page = pageOf(body.subarray(0, at + values.length), this.#pageRows, encoding)
    this.#pages.push(page)
    this.bytes += page.uncompressedBytes
    this.#pageRows = 0
    this.#pageValues = 0
    this.#textBytes = 0
  }
}
